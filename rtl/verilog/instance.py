"""A component that is written elsewhere: what a design repeats is elaborated once."""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring

__all__ = ["ModuleInstance"]


class ModuleInstance(wiring.Component):
    """The same signature, an instance inside.

    Parameters
    ----------
    name : str
        Name of its Verilog module.
    ports : dict
        Members of its signature.
    """

    def __init__(self, name: str, ports: dict) -> None:
        self._name = name
        super().__init__(ports)

    def elaborate(self, platform) -> Module:
        m = Module()
        ports: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.signature.flatten(self):
            direction = "o" if member.flow is wiring.Out else "i"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m.submodules.unit = Instance(self._name, **ports)
        return m
