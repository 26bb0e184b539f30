"""Requantisation of one lane: from accumulator to activation code.

    clamp(round((accumulator + bias) * multiplier / 2**shift) + zero_point, low, high)

Halves go to the even neighbour: the bit below the quotient rounds it up where any bit below that
one is set, or the quotient is odd.
Each multiplier block takes a piece of the sum and one of the multiplier. As a code has no more than
9 bits, of the shifted product only 11 are wanted, and whether the others are anything but sign.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component
from rtl.lib.widths import REQUANTISATION

__all__ = ["Requantise"]

#: Width of what is kept of the shifted product: the half that is rounded, and 10 bits above it.
_KEPT = 11


class Requantise(Component):
    """Requantise a stream of accumulators.

    Members
    -------
    enable : In(1)
        The pipeline moves.
    accumulator : In(signed(32)), entry : In(REQUANTISATION)
        Operands; the entry belongs to the accumulator of one cycle before.
    zero_point, low, high : In(signed(9))
        Constants of the layer.
    code : Out(8)
        The code of the accumulator ``LATENCY`` enabled cycles before.
    """

    LATENCY = 6

    def __init__(self) -> None:
        super().__init__(
            {
                "enable": In(1),
                "accumulator": In(signed(32)),
                "entry": In(REQUANTISATION),
                "zero_point": In(signed(9)),
                "low": In(signed(9)),
                "high": In(signed(9)),
                "code": Out(8),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        taken = Signal(signed(32))
        total, multiplier, shift = Signal(signed(33)), Signal(24), Signal(6)
        below, above = total[:17], total[17:].as_signed()
        fine, coarse = multiplier[:12], multiplier[12:]
        below_fine, below_coarse = Signal(29), Signal(29)
        above_fine, above_coarse = Signal(signed(28)), Signal(signed(28))
        product = Signal(signed(58))
        drop, late_drop = Signal(6), Signal(6)  # bits below the half that is rounded
        kept, beyond, negative = Signal(_KEPT), Signal(), Signal()
        dropped = Signal()  # a one below the half
        magnitude = product ^ product[-1].replicate(len(product))
        small, over = _shift_right(magnitude[:-1], late_drop)
        code = Signal(signed(12))
        signs = negative.replicate(_KEPT)
        quotient = Cat((kept ^ signs)[1:], negative).as_signed()
        rounded = (kept ^ signs)[0] & (dropped | quotient[0])
        m.d.comb += code.eq(quotient + rounded + self.zero_point)
        least = Mux(beyond, negative, code < self.low)
        greatest = Mux(beyond, ~negative, code > self.high)
        with m.If(self.enable):
            m.d.sync += [
                taken.eq(self.accumulator),
                total.eq(taken + self.entry.bias),
                multiplier.eq(self.entry.multiplier),
                shift.eq(self.entry.shift),
                below_fine.eq(below * fine),
                below_coarse.eq(below * coarse),
                above_fine.eq(above * fine),
                above_coarse.eq(above * coarse),
                drop.eq(shift - 1),
                # The first two do not overlap.
                product.eq(
                    Cat(below_fine, above_coarse)[:58].as_signed()
                    + ((above_fine << 17) + (below_coarse << 12))
                ),
                late_drop.eq(drop),
                kept.eq(small),
                beyond.eq(over),
                dropped.eq((product & ((1 << late_drop) - 1)).any()),
                negative.eq(product[-1]),
                self.code.eq(Mux(least, self.low, Mux(greatest, self.high, code))),
            ]
        return m


def _shift_right(value, amount):
    """Return the lowest ``_KEPT`` bits of a shifted value; whether there is a one above them."""
    above = []
    for step in reversed(range(0, len(amount), 2)):  # two bits of the amount at once
        part = amount[step : step + 2]
        size = _KEPT + (1 << step) - 1  # what the steps to come can still want
        shifted = [value[distance << step :] for distance in range(4)]
        above.append(_choose([bits[size:].any() for bits in shifted], part))
        value = _choose([bits[:size] for bits in shifted], part)
    return value, Cat(above).any()


def _choose(items, number):
    return Mux(number[1], Mux(number[0], items[3], items[2]), Mux(number[0], items[1], items[0]))
