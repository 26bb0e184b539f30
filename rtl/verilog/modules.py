"""A design in RTLIL, a module for each block.

Blocks that are the same hardware are one module, elaborated once. A module's ports are those of the
block's signature, and its signals have the names of the variables that hold them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import ClockSignal, Fragment, Instance, Module, ResetSignal, Signal, ValueCastable
from amaranth.lib import wiring

from rtl.lib.component import Component, VerilogPlatform, ports

__all__ = ["ModuleWriter", "module_name"]


def module_name(top: str, block: type) -> str:
    """Return the name of the module of a class of blocks, in the design with that top module."""
    words = re.findall("[A-Z]+[^A-Z]*", block.__name__)
    return "_".join([top, *words]).lower()


class ModuleWriter(VerilogPlatform):
    """Write a component, and all that it is made of, as RTLIL.

    Parameters
    ----------
    component : Component
    top : str
        Name of its module.

    Attributes
    ----------
    texts : dict of str to str
        RTLIL by name of the module; the top one, whose name all others begin with, is the last.
    """

    def __init__(self, component: Component, top: str) -> None:
        self.texts: dict[str, str] = {}
        self._written: list[tuple[Component, str]] = []
        self._open: list[Component] = []
        self._kinds: Counter[str] = Counter()
        self._top = top
        self._write(component, top)

    def place(
        self, component: Component, elaborate: Callable[[Any, Any], Module | Fragment]
    ) -> Module | Fragment:
        if component is self._open[-1]:
            return _with_names(component, lambda: elaborate(component, self))
        for other, name in self._written:
            if type(other) is type(component) and other.made_of == component.made_of:
                return self._instance(component, name)
        name = self._name_of(component)
        self._write(component, name)
        return self._instance(component, name)

    def _write(self, component: Component, name: str) -> None:
        self._open.append(component)
        text = rtlil.convert(component, name=name, platform=self, emit_src=False)
        self._open.pop()
        self.texts[name] = text
        self._written.append((component, name))

    def _name_of(self, component: Component) -> str:
        """Return a name for a block's module: its class's, and a number from the second kind on.

        Classes of one name, such as a chip's sequencer and a cluster's, are kinds of it.
        """
        base = module_name(self._top, type(component))
        count = self._kinds[base]
        self._kinds[base] += 1
        return f"{base}_{count + 1}" if count else base

    def _instance(self, component: Component, name: str) -> Instance:
        pins: dict[str, Any] = {
            f"{'o' if member.flow is wiring.Out else 'i'}_{port}": value
            for port, member, value in ports(component.signature, component)
        }
        reset = ResetSignal()
        if component.also_reset is not None:
            reset = reset | component.also_reset
        for port, signal in (("clk", ClockSignal()), ("rst", reset)):
            if re.search(rf"^  wire width 1 input \d+ +\\{port}$", self.texts[name], re.M):
                pins[f"i_{port}"] = signal
        return Instance(name, **pins)


def _with_names(component: Component, elaborate: Callable[[], Any]) -> Any:
    """Elaborate; signals that were made without a name get that of the variable that holds them.

    Amaranth finds no name where several are made in one statement.
    """

    packages = {module.partition(".")[0] for module in (__name__, type(component).__module__)}

    def on_return(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if event != "return" or package not in packages or code.co_name.startswith("<"):
            return
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        for name, value in frame.f_locals.items():
            if name not in arguments:
                _name(value, name)

    before = sys.getprofile()
    sys.setprofile(on_return)
    try:
        result = elaborate()
    finally:
        sys.setprofile(before)
    for name, value in vars(component).items():
        _name(value, name)
    return result


def _name(value: Any, name: str) -> None:
    """Name a signal, or those of a list, where it has none."""
    if isinstance(value, list | tuple):
        for number, part in enumerate(value):
            _name(part, f"{name}{number}")
        return
    if isinstance(value, ValueCastable):
        value = value.as_value()
    if isinstance(value, Signal) and value.name.startswith("$"):
        value.name = name.lstrip("_")
