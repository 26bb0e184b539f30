"""Faults of a design, each switched on by a number at an input: hundreds of them in one build.

Two kinds are put into an elaborated design:

- *a bit is lost*: the highest bit of a register, of a field of one, of a memory's row or address. A
  signed one keeps the sign that the bit below it gives.
- *a mutant*: a statement or an operator of the source is another one. They are many; some are drawn
  from a seed, by place in the source, so that a block that is there many times counts once. A
  place is named by module and text, not by the number of its line, which changes.

Instances that are alike have the same source: a fault goes into the first one only.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Cat, Const, Fragment, Module, Mux, Signal, Value
from amaranth.hdl._ast import Assign, Operator, Switch, SwitchValue
from amaranth.hdl._ir import Instance, PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.hdl._xfrm import FragmentTransformer, StatementTransformer, ValueTransformer
from amaranth.lib import wiring

from rtl.lib.component import Component, VerilogPlatform, ports
from rtl.verilog.modules import _with_names
from tests.rtl.faults.fields import fields

__all__ = ["Fault", "FaultyDesign"]

_ROOT = Path(__file__).parents[3]
#: Width of the input that chooses the fault; 0 is none.
CHOICE_BITS = 16
_EXCHANGED = {
    "+": "-", "-": "+", "&": "|", "|": "&", "^": "&", "==": "!=", "!=": "==",
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "b": "r&", "r|": "r&",
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """Something wrong with a design.

    Parameters
    ----------
    name : str
        A width by its place in the hierarchy; a mutant by its place in the source.
    is_width : bool
    """

    name: str
    is_width: bool


class _Platform(VerilogPlatform):
    """Blocks stay where they are used, with names; memories are the Verilog writer's."""

    def place(self, component: Component, elaborate: Callable[..., Any]) -> Any:
        return _with_names(component, lambda: elaborate(component, self))


class _Shell(wiring.Component):
    """Reads a design's ports: so the registers in them are read, and can lose a bit."""

    def __init__(self, inner: Component) -> None:
        super().__init__(inner.signature)
        self._inner = inner

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.dut = self._inner
        for (_, member, outer), (_, _, inner) in zip(
            ports(self.signature, self), ports(self._inner.signature, self._inner), strict=True
        ):
            target, source = (outer, inner) if member.flow is wiring.Out else (inner, outer)
            m.d.comb += Value.cast(target).eq(Value.cast(source))
        return m


class FaultyDesign:
    """A design with its faults.

    Parameters
    ----------
    component : Component
    drawn : int
        How many mutants are drawn.
    seed : int
    top : str
        Name of its Verilog module.

    Attributes
    ----------
    faults : list of Fault
        Fault number ``k`` of the list is switched on by ``fault = k + 1``.
    rtlil : str
        The design, with an input ``fault`` beside its own.
    """

    def __init__(
        self,
        component: Component,
        drawn: int,
        seed: int = 1,
        top: str = "dut",
    ) -> None:
        shell = _Shell(component)
        fragment = Fragment.get(shell, _Platform())
        survey = _Inserter(None)
        survey(fragment)
        mutants = {name for name, is_width in survey.met if not is_width}
        chosen = {name for name, is_width in survey.met if is_width}
        chosen |= set(sorted(mutants, key=lambda name: _lot(seed, name))[:drawn])
        inserter = _Inserter(chosen)
        faulty = inserter(fragment)
        self.mutants = len(mutants)
        self.faults = inserter.faults
        assert len(self.faults) < 1 << CHOICE_BITS
        members = {
            name.replace("__", "_"): (
                Value.cast(value),
                PortDirection.Input if member.flow is wiring.In else PortDirection.Output,
            )
            for name, member, value in ports(shell.signature, shell)
        }
        members["fault"] = inserter.choice, PortDirection.Input
        self.rtlil = rtlil.convert(faulty, name=top, ports=members, emit_src=False)


class _Inserter(FragmentTransformer, ValueTransformer, StatementTransformer):
    """Rewrites a design; without a choice of faults it only lists what there could be."""

    def __init__(self, chosen: set[str] | None) -> None:
        self._chosen = chosen
        self.choice = Signal(CHOICE_BITS, name="fault")
        self.met: list[tuple[str, bool]] = []
        self.faults: list[Fault] = []
        self._path: list[str] = []
        self._cuts: dict[int, Value] = {}  # what stands for a register where it is read
        self._alike: set[str] = set()
        self._known: set[str] = set()

    # -- faults by number ---------------------------------------------------------------------

    def _meet(self, name: str, is_width: bool, alike: str) -> Value | None:
        """Return whether a fault is on; None where it is not put in."""
        if alike in self._alike:
            return None
        self._alike.add(alike)
        self.met.append((name, is_width))
        if self._chosen is None or name not in self._chosen:
            return None
        self.faults.append(Fault(name, is_width))
        return self.choice == len(self.faults)

    def _without_tops(self, name: str, value: Value) -> Value:
        """Return a value that loses the top bit of one of its fields where that is chosen."""
        bits = [value[at] for at in range(len(value))]
        changed = False
        for path, offset, width, is_signed in fields(value):
            full = f"{name}{path}"
            on = self._meet(full, True, re.sub(r"\d+", "#", full))
            if on is None:
                continue
            top, changed = offset + width - 1, True
            instead = value[top - 1] if is_signed and width > 1 else Const(0, 1)
            bits[top] = Mux(on, instead, bits[top])
        if not changed:
            return value
        result = Cat(bits)
        return result.as_signed() if value.shape().signed else result

    # -- registers and memories ---------------------------------------------------------------

    def map_subfragments(self, fragment: Fragment, new_fragment: Fragment) -> None:
        for number, (part, name, src_loc) in enumerate(fragment.subfragments):
            self._path.append(name or f"U{number}")
            new_fragment.add_subfragment(self(part), name, src_loc=src_loc)
            self._path.pop()

    def on_fragment(self, fragment: Fragment) -> Fragment:
        if not self._path:
            self._find_cuts(fragment, [])
        new = super().on_fragment(fragment)
        path = ".".join(self._path[1:])
        if isinstance(new, MemoryInstance):
            for at, port in enumerate([*new._write_ports, *new._read_ports]):
                port._addr = self._without_tops(f"{path}.address{at}", Value.cast(port._addr))
            for port in new._write_ports:
                port._data = self._without_tops(f"{path}.row", Value.cast(port._data))
        elif isinstance(new, Instance):
            for name in ("write_address", "read_address", "write_data"):
                value, direction = new.ports[name]
                new.ports[name] = self._without_tops(f"{path}.{name}", value), direction
        for cut, value in self._cut_of.get(id(fragment), ()):
            new.add_statements("comb", cut.eq(value))
        return new

    def _find_cuts(self, fragment: Fragment, path: list[str]) -> None:
        """Make for each register what stands for it where it is read."""
        if not path:
            self._cut_of: dict[int, list[tuple[Signal, Value]]] = {}
        used: dict[str, int] = {}
        for domain, statements in fragment.statements.items():
            if domain == "comb":
                continue
            for signal in sorted(statements._lhs_signals(), key=lambda signal: signal.name):
                if id(signal) in self._cuts:
                    continue
                name = ".".join([*path[1:], signal.name])
                count = used[name] = used.get(name, 0) + 1
                name += "'" * (count - 1)  # others of that name
                value = self._without_tops(name, signal)
                if value is not signal:
                    cut = Signal(signal.shape(), name=f"{signal.name}$cut")
                    self._cuts[id(signal)] = cut
                    self._cut_of.setdefault(id(fragment), []).append((cut, value))
        for number, (part, name, _) in enumerate(fragment.subfragments):
            self._find_cuts(part, [*path, name or f"U{number}"])

    # -- mutants ------------------------------------------------------------------------------

    def map_memory_ports(self, fragment: Fragment, new_fragment: Any) -> None:
        for port in new_fragment._read_ports:
            port._en, port._addr = self.on_value(port._en), self.on_value(port._addr)
        for port in new_fragment._write_ports:
            port._en, port._addr = self.on_value(port._en), self.on_value(port._addr)
            port._data = self.on_value(port._data)

    def map_ports(self, fragment: Any, new_fragment: Any) -> None:
        for name, (value, direction) in fragment.ports.items():
            is_input = direction is PortDirection.Input
            new_fragment.ports[name] = self.on_value(value) if is_input else value, direction

    def on_Signal(self, value: Signal) -> Value:
        return self._cuts.get(id(value), value)

    def on_Operator(self, value: Operator) -> Value:
        right = Operator(value.operator, [self.on_value(one) for one in value.operands])
        operator = value.operator if len(value.operands) > 1 or value.operator in "br|" else None
        if (other := _EXCHANGED.get(operator or "")) is None:
            return right
        on = self._mutant(value.src_loc, f"'{operator}' is '{other}'")
        if on is None:
            return right
        wrong = Operator(other, right.operands)
        return _like(right, Mux(on, wrong, right))

    def on_SwitchValue(self, value: SwitchValue) -> Value:
        test = self.on_value(value.test)
        cases = [(patterns, self.on_value(one)) for patterns, one in value.cases]
        if len(value.test) == 1 and len(cases) == 2:
            on = self._mutant(value.src_loc, "the choice is the other one")
            if on is not None:
                test = test ^ on
        return SwitchValue(test, cases)

    def on_Assign(self, stmt: Assign) -> Any:
        new = Assign(stmt.lhs, self.on_value(stmt.rhs))
        target = re.sub(r"\d+", "#", "".join(sorted(s.name for s in stmt._lhs_signals())))
        on = self._mutant(stmt.src_loc, f"nothing goes to {target}")
        if on is None:
            return new
        return Switch(on, [(0, [new], None), (None, [], None)])

    def on_Switch(self, stmt: Switch) -> Any:
        test = self.on_value(stmt.test)
        if len(stmt.test) == 1:
            on = self._mutant(stmt.src_loc, "the condition never holds")
            if on is not None:
                test = test & ~on
        cases = [(patterns, self.on_statement(one), loc) for patterns, one, loc in stmt.cases]
        return Switch(test, cases, src_loc=stmt.src_loc)

    def _mutant(self, src_loc: Any, what: str) -> Value | None:
        if src_loc is None:
            return None
        path = Path(src_loc[0])
        if not path.is_relative_to(_ROOT / "rtl"):
            return None
        name = f"{path.relative_to(_ROOT)}: {_texts(path)[src_loc[1] - 1]}: {what}"
        return self._meet(name, False, name)


@cache
def _texts(path: Path) -> tuple[str, ...]:
    """Return what names each line of a source: its text, and which of those with it it is."""
    seen: Counter[str] = Counter()
    result = []
    for line in path.read_text("utf-8").splitlines():
        text = line.strip()
        seen[text] += 1
        result.append(f"{text} (no. {seen[text]})" if seen[text] > 1 else text)
    return tuple(result)


def _lot(seed: int, name: str) -> bytes:
    """Return what a mutant drew: another one's coming or going changes nothing in it."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _like(right: Value, value: Value) -> Value:
    """Return a value in the shape of another one."""
    part = value[: len(right)] if len(value) >= len(right) else value
    return part.as_signed() if right.shape().signed else part
