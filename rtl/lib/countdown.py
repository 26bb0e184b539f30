"""Counters that go down to zero and know it from a register, one cycle ahead of a comparison."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data

__all__ = ["Countdown", "constant_count", "count_down"]


class Countdown(data.StructLayout):
    """What is left of something.

    Members
    -------
    left : unsigned(bits)
        How many come after the present one.
    last : unsigned(1)
        ``left`` is zero.
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"left": bits, "last": 1})


def constant_count(m: Module, amount) -> data.View[Countdown]:
    """Return a count that begins with a layer register, one cycle after that is written."""
    count = Signal(Countdown(len(amount)))
    m.d.sync += [count.left.eq(amount), count.last.eq(amount == 0)]
    return count


def count_down(count, result=None) -> list:
    """Return the statements that make ``result``, or the count itself, one less than the count."""
    result = count if result is None else result
    return [result.left.eq(count.left - 1), result.last.eq(count.left == 1)]
