"""Small combinational functions of bit vectors."""

# Amaranth is not annotated:
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal

__all__ = ["count_ones", "lowest"]


def count_ones(bits):
    """Return the number of ones of a value, as a balanced tree."""
    if len(bits) == 0:
        return Const(0, 1)
    if len(bits) == 1:
        return bits[0]
    half = len(bits) // 2
    return count_ones(bits[:half]) + count_ones(bits[half:])


def lowest(m: Module, bits) -> Signal:
    """Return the index of the lowest one of a value; 0 where it has none."""
    result = Signal(range(max(2, len(bits))))
    for index in reversed(range(len(bits))):
        with m.If(bits[index]):
            m.d.comb += result.eq(index)
    return result
