"""The sequencer: starts tile after tile as a job of the clusters.

setup[t] = max(d[t], done[t-1]) + (LAYER or TILE)
start[t] = max(setup[t], ready[t], Z[t-2] + HALF) + JOB
done[t]  = start[t] + the longest cluster's cycles
done[t]  = max(done[t-1] + 1, ready[t], d[t])  of a vector tile
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.chip.config import CHIP_LATENCY
from golden.chip.formats import VectorOp
from rtl.chip.control.payloads import DESCRIPTOR, RECORD, RECORDS, TILE_BITS
from rtl.lib.component import Component

__all__ = ["Sequencer", "TileView"]


class TileView:
    """A tile as it waits: its descriptor and record, and what of it is there.

    Parameters
    ----------
    m : Module
    store : ProgramStore or Sequencer
        It shows ``descriptors``, ``records`` and ``slots``.
    tile : Value
        Its number.
    counts : mapping of str to Value
        ``record``, ``table``, ``ready``: how many are there; ``tables_used``, ``tables_taken``:
        layers' tables that tiles have begun with, and whether this tile has; ``halves``: tiles
        whose half may be filled.
    """

    def __init__(self, m: Module, store: Any, tile: Any, counts: Mapping[str, Any]) -> None:
        index = tile[: (RECORDS - 1).bit_length()]
        self.record, self.descriptor = Signal(RECORD), Signal(DESCRIPTOR)
        self.is_vector, self.takes_tables, self.there = Signal(), Signal(), Signal()
        self.input_ready, self.half_free = Signal(), Signal()
        d, record = self.descriptor, self.record
        tables_there = (counts["table"] != counts["tables_used"]) | counts["tables_taken"]
        m.d.comb += [
            record.eq(store.records[index]),
            d.eq(store.descriptors[store.slots.bit_select(index, 1)]),
            self.is_vector.eq(d.op),
            self.takes_tables.eq(record.first & (~d.op | (d.vector_op == VectorOp.AVERAGE))),
            self.there.eq((counts["record"] != tile) & (~self.takes_tables | tables_there)),
            self.input_ready.eq(counts["ready"] != tile),
            self.half_free.eq(counts["halves"] != tile),
        ]


class Sequencer(Component):
    """Follow the tiles.

    Members
    -------
    descriptors, records, slots, record_count, table_count : In
        Of ``rtl.chip.control.program_store.ProgramStore``.
    ready_count : In(TILE_BITS), half_read : In(1)
        Of the parser, of the vector unit.
    running : In(1)
        A cluster works on the job.
    descriptor : Out(DESCRIPTOR), record : Out(RECORD), waited : Out(6)
        Of the next job, for the clusters' registers, and for how many cycles it has been known.
    launch, start : Out(1)
        Pulses: two cycles before cycle 0 of a job, and one.
    keep : Out(1), half : Out(1)
        The units hold the job's filters; its half.
    tile_done : Out(1), done_count : Out(TILE_BITS)
        done[t]; tiles that are done, from done[t] + 1 on.
    tables_used : Out(TILE_BITS), tables_taken : Out(1), halves : Out(TILE_BITS)
        As in ``TileView``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "descriptors": In(data.ArrayLayout(DESCRIPTOR, 2)),
                "records": In(data.ArrayLayout(RECORD, RECORDS)),
                "slots": In(RECORDS),
                "record_count": In(TILE_BITS),
                "table_count": In(TILE_BITS),
                "ready_count": In(TILE_BITS),
                "half_read": In(1),
                "running": In(1),
                "descriptor": Out(DESCRIPTOR),
                "record": Out(RECORD),
                "waited": Out(6),
                "launch": Out(1),
                "start": Out(1),
                "keep": Out(1),
                "half": Out(1),
                "tile_done": Out(1),
                "done_count": Out(TILE_BITS),
                "tables_used": Out(TILE_BITS),
                "tables_taken": Out(1),
                "halves": Out(TILE_BITS, init=2),  # pyright: ignore[reportCallIssue]
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        working, job_done, vector_done = Signal(), Signal(), Signal()
        busy, waits, go = Signal(), Signal(), Signal()
        tile, waited = Signal(TILE_BITS), Signal(6)
        view = TileView(
            m, self, tile,
            {
                "record": self.record_count, "table": self.table_count, "ready": self.ready_count,
                "tables_used": self.tables_used, "tables_taken": self.tables_taken & ~job_done,
                "halves": self.halves,
            },
        )  # fmt: skip
        setup = Mux(view.record.first, CHIP_LATENCY.layer, CHIP_LATENCY.tile)
        m.d.comb += [
            job_done.eq(working & ~self.running),
            # In the cycle of done[t-1] it is tile t that waits.
            tile.eq(self.done_count + job_done),
            self.record.eq(view.record),
            self.descriptor.eq(view.descriptor),
            self.half.eq(self.done_count[0]),
            busy.eq(self.launch | self.start | (working & self.running)),
            waits.eq(view.there & ~view.is_vector & ~busy),
            self.waited.eq(Mux(job_done, 0, waited)),
            go.eq(waits & (self.waited == setup) & view.input_ready & view.half_free),
            vector_done.eq(view.there & view.is_vector & view.input_ready & ~busy & ~job_done),
            self.tile_done.eq(job_done | vector_done),
        ]
        m.d.sync += [
            waited.eq(0),
            self.launch.eq(go),
            self.start.eq(self.launch),
            working.eq(self.start | (working & self.running)),
        ]
        with m.If(waits):
            m.d.sync += waited.eq(Mux(self.waited == setup, setup, self.waited + 1))
        with m.If(self.tile_done):
            m.d.sync += self.done_count.eq(self.done_count + 1)
        with m.If(job_done):
            m.d.sync += self.tables_taken.eq(0)
        with m.If(go):
            m.d.sync += self.keep.eq(view.descriptor.resident & ~view.record.first)
            m.d.sync += self.tables_taken.eq(1)
        with m.If((go | vector_done) & view.takes_tables):
            m.d.sync += self.tables_used.eq(self.tables_used + 1)
        # From Z, in whose cycle it is said, to Z + HALF.
        read = self.half_read
        for stage in range(CHIP_LATENCY.half - 1):
            late = Signal(name=f"read{stage}")
            m.d.sync += late.eq(read)
            read = late
        with m.If(read):
            m.d.sync += self.halves.eq(self.halves + 1)
        return m
