"""W: how many write entries are done, in their order."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component

__all__ = ["WriteCount"]


class WriteCount(Component):
    """Keeps for each write burst under way how many entries were through before it.

    So many are done while that burst is the oldest; all that are through where none is under way.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    clear : In(1)
    granted : In(1), ends : In(1), number : In(24)
        A write burst is granted, of the entry of this number; an entry is through: it has no
        bursts, or they are all granted.
    answered : In(1)
        The oldest burst's response.
    written : Out(16)
        Entries that are done, from the cycle after the response on.
    oldest_number : Out(24)
        The entry of the oldest burst.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._depth = max(2, 1 << (config.outstanding - 1).bit_length())
        super().__init__(
            {
                "clear": In(1),
                "granted": In(1),
                "ends": In(1),
                "number": In(24),
                "answered": In(1),
                "written": Out(16),
                "oldest_number": Out(24),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        kept = data.StructLayout({"through": 16, "number": 24})
        m.submodules.bursts = bursts = Memory(shape=kept, depth=self._depth, init=[])
        write, read = bursts.write_port(), bursts.read_port(domain="comb")
        newest, oldest = Signal(range(self._depth)), Signal(range(self._depth))
        under_way, through = Signal(range(self._depth + 1)), Signal(16)
        m.d.comb += [
            write.en.eq(self.granted),
            write.addr.eq(newest),
            write.data.through.eq(through),
            write.data.number.eq(self.number),
            read.addr.eq(oldest),
            self.written.eq(Mux(under_way.any(), read.data.through, through)),
            self.oldest_number.eq(read.data.number),
        ]
        m.d.sync += [
            newest.eq(newest + self.granted),
            oldest.eq(oldest + self.answered),
            under_way.eq(under_way + self.granted - self.answered),
            through.eq(through + self.ends),
        ]
        with m.If(self.clear):
            m.d.sync += [newest.eq(0), oldest.eq(0), under_way.eq(0), through.eq(0)]
        return m
