"""Requantisation of one lane: from accumulator to activation code.

    clamp(((accumulator + bias) * multiplier + 2**(shift - 1) >> shift) + zero_point, low, high)

The product is split in two 17-bit wide halves of the sum, so that multiplier blocks take it.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.layouts import REQUANTISATION

__all__ = ["Requantise"]


class Requantise(wiring.Component):
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
        total = Signal(signed(33))
        multiplier, shift = Signal(24), Signal(6)
        below, above = Signal(signed(42)), Signal(signed(41))
        shift_product, shift_sum = Signal(6), Signal(6)
        product = Signal(signed(58))
        scaled = Signal(signed(58))
        m.d.comb += scaled.eq(((product >> (shift_sum - 1)[:6]) + 1) >> 1)
        rounded = Signal(signed(58))
        code = Signal(signed(59))
        m.d.comb += code.eq(rounded + self.zero_point)
        with m.If(self.enable):
            m.d.sync += [
                taken.eq(self.accumulator),
                total.eq(taken + self.entry.bias),
                multiplier.eq(self.entry.multiplier),
                shift.eq(self.entry.shift),
                below.eq(total[:17] * multiplier),
                above.eq((total >> 17) * multiplier),
                shift_product.eq(shift),
                product.eq((above << 17) + below),
                shift_sum.eq(shift_product),
                rounded.eq(scaled),
                self.code.eq(
                    Mux(code < self.low, self.low, Mux(code > self.high, self.high, code))
                ),
            ]
        return m
