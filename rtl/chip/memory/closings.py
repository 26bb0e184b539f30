"""When the last rows or operands of a tile have been taken."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component

__all__ = ["Closings"]


class Closings(Component):
    """Keeps which burst each tile's rows or operands end with.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    clear : In(1)
    room : Out(1)
        A tile's end can be kept.
    granted : In(1), closes : In(1), empty : In(1)
        A burst of rows or operands is granted; a tile's last entry is through: with that burst,
        or, ``empty``, with the one before it.
    used : In(1)
        A burst's last byte is taken.
    closed : Out(1)
        A tile's last byte was taken two cycles before, or its empty entry served one before.
    """

    _DEPTH = 8

    def __init__(self, config: ChipConfig) -> None:
        self._places = config.row_bursts
        super().__init__(
            {
                "clear": In(1),
                "room": Out(1),
                "granted": In(1),
                "closes": In(1),
                "empty": In(1),
                "used": In(1),
                "closed": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = (2 * self._places).bit_length()  # bursts under way are told apart
        m.submodules.ends = ends = Memory(shape=bits, depth=self._DEPTH, init=[])
        write, read = ends.write_port(), ends.read_port(domain="comb")
        newest, oldest = Signal(range(self._DEPTH)), Signal(range(self._DEPTH))
        kept = Signal(range(self._DEPTH + 1))
        granted, used = Signal(bits), Signal(bits)
        closes = Signal()
        m.d.comb += [
            write.en.eq(self.closes),
            write.addr.eq(newest),
            write.data.eq(granted + ~self.empty),
            read.addr.eq(oldest),
            self.room.eq(kept != self._DEPTH),
            closes.eq(kept.any() & ~(used - read.data)[bits - 1]),
        ]
        m.d.sync += [
            granted.eq(granted + self.granted),
            used.eq(used + self.used),
            newest.eq(newest + self.closes),
            oldest.eq(oldest + closes),
            kept.eq(kept + self.closes - closes),
            self.closed.eq(closes),
        ]
        with m.If(self.clear):
            m.d.sync += [granted.eq(0), used.eq(0), newest.eq(0), oldest.eq(0), kept.eq(0)]
            m.d.sync += self.closed.eq(0)
        return m
