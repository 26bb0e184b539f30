"""A serial port: 8 bits, no parity, one stop bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component

__all__ = ["UartReceiver", "UartTransmitter"]


class UartTransmitter(Component):
    """Sends octets.

    Parameters
    ----------
    divider : int
        Cycles of a bit, at least 2.

    Members
    -------
    octets : In(stream of 8 bits)
    line : Out(1)
        High where nothing is sent.
    """

    def __init__(self, divider: int) -> None:
        if divider < 2:
            raise ValueError(f"Divider must be at least 2, not {divider}")
        self._divider = divider
        super().__init__({"octets": In(stream.Signature(8)), "line": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        bits, left = Signal(10, init=0x3FF), Signal(range(11))  # the lowest is on the line
        cycles = Signal(range(self._divider))
        m.d.comb += [self.line.eq(bits[0]), self.octets.ready.eq(left == 0)]
        with m.If(left != 0):
            m.d.sync += cycles.eq(cycles - 1)
            with m.If(cycles == 0):
                m.d.sync += [
                    cycles.eq(self._divider - 1),
                    bits.eq(Cat(bits[1:], Const(1, 1))),
                    left.eq(left - 1),
                ]
        with m.Elif(self.octets.valid):
            m.d.sync += [
                bits.eq(Cat(Const(0, 1), self.octets.payload, Const(1, 1))),
                left.eq(10),
                cycles.eq(self._divider - 1),
            ]
        return m


class UartReceiver(Component):
    """Takes octets.

    Parameters
    ----------
    divider : int
        Cycles of a bit, at least 8.

    Members
    -------
    line : In(1)
        From outside, of no clock.
    octets : Out(stream of 8 bits)
        One is kept until it is taken; the next one takes its place all the same.
    """

    def __init__(self, divider: int) -> None:
        if divider < 8:
            raise ValueError(f"Divider must be at least 8, not {divider}")
        self._divider = divider
        super().__init__({"line": In(1), "octets": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        line = self.line
        for rank in range(2):
            late = Signal(name=f"line{rank}", init=1)
            m.d.sync += late.eq(line)
            line = late
        was_high = Signal()  # a byte begins where the line falls
        m.d.sync += was_high.eq(line)
        cycles, left, bits = Signal(range(3 * self._divider // 2)), Signal(range(10)), Signal(8)
        with m.If(self.octets.ready):
            m.d.sync += self.octets.valid.eq(0)
        with m.If((left == 0) & was_high & ~line):  # to the middle of the first bit
            m.d.sync += [left.eq(9), cycles.eq(3 * self._divider // 2 - 1)]
        with m.Elif((left != 0) & (cycles != 0)):
            m.d.sync += cycles.eq(cycles - 1)
        with m.Elif(left != 0):
            m.d.sync += [cycles.eq(self._divider - 1), left.eq(left - 1)]
            with m.If(left != 1):
                m.d.sync += bits.eq(Cat(bits[1:], line))
            with m.Elif(line):  # without a stop bit it was none
                m.d.sync += [self.octets.valid.eq(1), self.octets.payload.eq(bits)]
        return m
