"""When bursts are used up whose beats are counted somewhere else."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component

__all__ = ["BeatCount"]


class BeatCount(Component):
    """Keeps the beats of the bursts in a FIFO.

    Parameters
    ----------
    config : ChipConfig
    places : int
        Bursts at most.

    Members
    -------
    clear : In(1)
    take : In(1), beats : In
        A burst of so many beats is granted.
    beat : In(1), free : Out(1)
        A beat of the oldest burst is used up; it is the burst's last one.
    """

    def __init__(self, config: ChipConfig, places: int) -> None:
        self._depth = max(2, 1 << (places - 1).bit_length())
        self._bits = config.burst_bytes.bit_length()
        super().__init__(
            {
                "clear": In(1),
                "take": In(1),
                "beats": In(self._bits),
                "beat": In(1),
                "free": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Memory(shape=self._bits, depth=self._depth, init=[])
        write, read = bursts.write_port(), bursts.read_port(domain="comb")
        newest, oldest = Signal(range(self._depth)), Signal(range(self._depth))
        count = Signal(self._bits, init=1)
        m.d.comb += [
            write.en.eq(self.take),
            write.addr.eq(newest),
            write.data.eq(self.beats),
            read.addr.eq(oldest),
            self.free.eq(self.beat & (count == read.data)),
        ]
        m.d.sync += newest.eq(newest + self.take)
        with m.If(self.beat):
            m.d.sync += count.eq(count + 1)
        with m.If(self.free):
            m.d.sync += [count.eq(1), oldest.eq(oldest + 1)]
        with m.If(self.clear):
            m.d.sync += [newest.eq(0), oldest.eq(0), count.eq(1)]
        return m
