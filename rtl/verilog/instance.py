"""A component that is written elsewhere: what a design repeats is elaborated once."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring

from rtl.lib.component import Component, ports

__all__ = ["ModuleInstance"]


class ModuleInstance(Component):
    """The same signature, an instance inside.

    Parameters
    ----------
    name : str
        Name of its Verilog module.
    members : dict
        Those of its signature.
    """

    def __init__(self, name: str, members: dict) -> None:
        self._name = name
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        given: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for name, member, value in ports(self.signature, self):
            given[f"{'o' if member.flow is wiring.Out else 'i'}_{name}"] = value
        m.submodules.unit = Instance(self._name, **given)
        return m
