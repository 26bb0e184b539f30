"""The counters that partition the chip's cycles.

What a cycle is to the tile that waits, or works, is decided one cycle later: then it is known
whether a vector tile was done in it, whose cycle belongs to the next tile.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from rtl.chip.control.payloads import DESCRIPTOR, RECORD, RECORDS, TILE_BITS
from rtl.chip.control.sequencer import TileView
from rtl.lib.component import Component

__all__ = ["COUNTERS", "Partition"]

#: Counters by name; the first seven add up to the cycles from start to end.
COUNTERS = {
    "compute_cycles": "a job runs and not all its clusters wait for filters",
    "filter_cycles": "a job runs and every cluster in it waits for a load",
    "descriptor_cycles": "between jobs: records or tables are not there yet",
    "row_cycles": "between jobs: rows or operands are not there yet",
    "write_cycles": "between jobs, and after the last: results are on their way to memory",
    "residual_cycles": "of these, those in which the vector unit waits for a residual",
    "idle_cycles": "between jobs: latencies of the sequencer",
    "pairs": "pairs multiplied, all units",
}


class Partition(Component):
    """Count.

    Members
    -------
    start, ended : In(1)
        First and last cycle of a network. Counts begin anew with the first.
    descriptors, records, slots, record_count, table_count, ready_count : In
        As in ``rtl.chip.control.sequencer.Sequencer``, of which are also ``launching`` (launch or
        start), ``done_count``, ``tables_used``, ``tables_taken``, ``halves``.
    running, starved, stalled : In(1)
        A job runs; all its clusters wait for filters; the vector unit waits for a residual.
    pairs : In(32)
        Pairs multiplied in this cycle.
    counts : Out(ArrayLayout(32, len(COUNTERS)))
        Complete two cycles after ``ended``.
    """

    def __init__(self) -> None:
        counts = dict.fromkeys(
            ("record_count", "table_count", "ready_count", "done_count", "tables_used", "halves"),
            In(TILE_BITS),
        )
        flags = dict.fromkeys(
            ("start", "ended", "launching", "tables_taken", "running", "starved", "stalled"), In(1)
        )
        super().__init__(
            {
                "descriptors": In(data.ArrayLayout(DESCRIPTOR, 2)),
                "records": In(data.ArrayLayout(RECORD, RECORDS)),
                "slots": In(RECORDS),
                "pairs": In(32),
                "counts": Out(data.ArrayLayout(32, len(COUNTERS))),
                **counts,
                **flags,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()

        def late(value: Any) -> Signal:
            kept = Signal(len(value))
            m.d.sync += kept.eq(value)
            return kept

        active = Signal()
        with m.If(self.ended):
            m.d.sync += active.eq(0)
        with m.Elif(self.start):
            m.d.sync += active.eq(1)
        view = TileView(
            m, self, self.done_count,
            {
                "record": late(self.record_count), "table": late(self.table_count),
                "ready": late(self.ready_count), "tables_used": self.tables_used,
                "tables_taken": self.tables_taken, "halves": late(self.halves),
            },
        )  # fmt: skip
        counting = late(self.start | active)
        running, starved = late(self.running), late(self.starved)
        launching, stalled = late(self.launching), late(self.stalled)
        with m.If(self.start):
            m.d.sync += [count.eq(0) for count in self.counts]

        def count(name: str, condition: Any = 1) -> None:
            at = list(COUNTERS).index(name)
            m.d.sync += self.counts[at].eq(self.counts[at] + condition)

        # Cycles without a record: of a descriptor, if one comes; else of the end.
        writing, waiting = Signal(32), Signal(32)
        held, unknown = Signal(), Signal()
        m.d.comb += unknown.eq(~view.there & ~running & ~launching)
        with m.If(counting):
            with m.If(running):
                count("filter_cycles", starved)
                count("compute_cycles", ~starved)
            with m.Elif(launching):
                count("idle_cycles")
            with m.Elif(~view.there):
                m.d.sync += [writing.eq(writing + ~stalled), waiting.eq(waiting + stalled)]
            with m.Elif(view.is_vector):
                m.d.comb += held.eq(~view.half_free)
                count("row_cycles", view.half_free)
            with m.Elif(~view.input_ready):
                count("row_cycles")
            with m.Elif(~view.half_free):
                m.d.comb += held.eq(1)
            with m.Else():
                count("idle_cycles")
            with m.If(held):
                count("write_cycles", ~stalled)
                count("residual_cycles", stalled)
            with m.If(~unknown):
                count("descriptor_cycles", writing + waiting)
                m.d.sync += [writing.eq(0), waiting.eq(0)]
        self._finish(m, counting, writing, waiting)
        return m

    def _finish(self, m: Module, counting, writing, waiting) -> None:
        """The end's cycles are known as such when the network has ended."""
        was_counting = Signal()
        names = list(COUNTERS)
        m.d.sync += was_counting.eq(counting)
        for name, pending in (("write_cycles", writing), ("residual_cycles", waiting)):
            total = self.counts[names.index(name)]
            with m.If(was_counting & ~counting):
                m.d.sync += [total.eq(total + pending), pending.eq(0)]
        pairs = self.counts[names.index("pairs")]
        with m.If(~self.start):
            m.d.sync += pairs.eq(pairs + self.pairs)
