"""Bytes and bursts of each stream, as they are asked for."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.memory.engine import granted_layout
from rtl.chip.signatures import Kind
from rtl.lib.component import Component

__all__ = ["Traffic"]


class Traffic(Component):
    """A row of two counts for each kind of entry; one adder serves them all.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    start : In(1)
        Counts begin anew.
    granted : In(1), burst : In(granted_layout)
        A burst counts from the third cycle after it was granted on.
    kind : In(4), bytes : Out(32), bursts : Out(32)
        Counts of a kind, a cycle later.
    """

    def __init__(self, config: ChipConfig) -> None:
        super().__init__(
            {
                "start": In(1),
                "granted": In(1),
                "burst": In(granted_layout(config)),
                "kind": In(4),
                "bytes": Out(32),
                "bursts": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        row = data.StructLayout({"bytes": 32, "bursts": 32})
        m.submodules.counts = counts = Memory(shape=row, depth=16, init=[])
        write = counts.write_port()
        read, shown = (counts.read_port(domain="comb") for _ in range(2))
        known = Signal(len(Kind))  # counts of this network; the others are of another one
        kind, size, counted = Signal(4), Signal.like(self.burst.bytes), Signal()
        m.d.sync += [kind.eq(self.burst.kind), size.eq(self.burst.bytes), counted.eq(self.granted)]
        mine = known.bit_select(kind, 1)
        m.d.comb += [
            read.addr.eq(kind),
            write.addr.eq(kind),
            write.en.eq(counted),
            write.data.bytes.eq(Mux(mine, read.data.bytes, 0) + size),
            write.data.bursts.eq(Mux(mine, read.data.bursts, 0) + 1),
            shown.addr.eq(self.kind),
        ]
        there = known.bit_select(self.kind, 1)
        m.d.sync += [
            self.bytes.eq(Mux(there, shown.data.bytes, 0)),
            self.bursts.eq(Mux(there, shown.data.bursts, 0)),
        ]
        with m.If(counted):
            m.d.sync += known.bit_select(kind, 1).eq(1)
        with m.If(self.start):
            m.d.sync += known.eq(0)
        return m
