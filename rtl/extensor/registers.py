"""The register port of a processing element: what ``rtl.registers.RegisterFile`` is made with."""

from __future__ import annotations

from golden.machines.extensor import PE_COUNTERS
from rtl.registers import RegisterTable
from rtl.registers import register_map as map_registers

__all__ = ["LAYER_REGISTERS", "LOAD_TARGETS", "register_map"]

#: Tables that the load stream fills: value of ``load_target``.
LOAD_TARGETS = ("requantisation", "items")

#: Name, width in bits, meaning.
LAYER_REGISTERS: RegisterTable = (
    ("load_target", 1, "what the load stream fills: requantisation, items"),
    ("load_address", 32, "row at which it goes on; a write begins a row anew"),
    ("signed_activations", 1, "input codes are int8, else uint8"),
    ("zero_point", 9, "output code that stands for zero, signed"),
    ("clamp_low", 9, "least output code, signed"),
    ("clamp_high", 9, "greatest output code, signed"),
)


def register_map() -> dict[str, int]:
    """Return the address of every register by name; unit counters as ``unit0.busy_cycles``."""
    return map_registers(1, LAYER_REGISTERS, PE_COUNTERS)
