"""The memory side of a chip: from the transfer list to the streams of the compute side.

Constants of ``docs/chip.md``, *Timing*, that it keeps: START, LIST, ENTRY, COUNT, FILL, CREDIT,
END, and HALF.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.memory.beat_count import BeatCount
from rtl.chip.memory.burst_fifo import BurstFifo
from rtl.chip.memory.closings import Closings
from rtl.chip.memory.engine import Engine
from rtl.chip.memory.list_reader import ListReader
from rtl.chip.memory.read_router import ReadRouter
from rtl.chip.memory.traffic import Traffic
from rtl.chip.memory.write_buffer import WriteBuffer
from rtl.chip.memory.write_count import WriteCount
from rtl.chip.signatures import Kind, axi_signature, core_signature
from rtl.chip.status import Code
from rtl.lib.component import Component

__all__ = ["MemorySide"]

_ROW_TAG = data.StructLayout({"operand": 1, "first": 1, "gap": 16, "tile": 4})


class MemorySide(Component):
    """Engine, FIFOs, write buffer.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    axi : Out(axi_signature)
    core : In(core_signature)
        The compute side.
    start : In(1), list_address : In(32), list_entries : In(24)
        Cycle 0 of a network, while not ``running``; where its list lies.
    stop : In(1)
        The host wants an end: what is under way ends, nothing else begins.
    running : Out(1)
    ended : Out(1)
        The last cycle, of a network or of what an error has left.
    code : Out(8), entry : Out(24)
        Why the last network ended (``rtl.chip.status.Code``), and the number of the list's entry
        that failed.
    kind : In(4), bytes : Out(32), bursts : Out(32)
        Counts of a stream, a cycle later.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "axi": Out(axi_signature(config)),
                "core": In(core_signature(config)),
                "start": In(1),
                "list_address": In(32),
                "list_entries": In(24),
                "stop": In(1),
                "running": Out(1),
                "ended": Out(1),
                "code": Out(8),
                "entry": Out(24),
                "kind": In(4),
                "bytes": Out(32),
                "bursts": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, core = self._config, self.core
        m.submodules.list = reader = ListReader(config)
        m.submodules.engine = engine = Engine(config)
        m.submodules.router = router = ReadRouter(config)
        m.submodules.closings = closings = Closings(config)
        m.submodules.buffer = buffer = WriteBuffer(config)
        m.submodules.writes = writes = WriteCount(config)
        m.submodules.traffic = traffic = Traffic(config)
        clear = Signal()
        wiring.connect(m, reader.entries, engine.entries)
        wiring.connect(m, buffer.made, engine.made)
        wiring.connect(m, wiring.flipped(core.pieces), buffer.pieces)
        wiring.connect(m, wiring.flipped(core.bursts), buffer.bursts)
        wiring.connect(m, router.control, wiring.flipped(core.control))
        writes_one = engine.granted & (engine.burst.kind == Kind.WRITE.value)
        responds = self.axi.bvalid & self.axi.bready
        m.d.comb += [
            reader.start.eq(self.start),
            reader.address.eq(self.list_address),
            reader.length.eq(self.list_entries),
            reader.beat.eq(router.beat),
            reader.beat_valid.eq(router.list_valid),
            engine.start.eq(self.start),
            engine.tile_done.eq(core.tile_done),
            engine.half_read.eq(core.half_read),
            engine.written.eq(writes.written),
            engine.room.closings.eq(closings.room),
            engine.answered.eq(router.answered + responds),
            router.granted.eq(engine.granted),
            router.burst.eq(engine.burst),
            buffer.granted.eq(writes_one),
            writes.granted.eq(writes_one),
            writes.ends.eq(engine.write_ends),
            writes.number.eq(engine.number),
            writes.answered.eq(responds),
            traffic.start.eq(self.start),
            traffic.granted.eq(engine.granted),
            traffic.burst.eq(engine.burst),
            traffic.kind.eq(self.kind),
            self.bytes.eq(traffic.bytes),
            self.bursts.eq(traffic.bursts),
            core.start.eq(self.start),
            core.clear.eq(clear),
        ]
        for block in (engine, router, closings, buffer, writes):
            m.d.comb += block.clear.eq(clear)
        m.d.sync += core.write_free.eq(responds)
        filters, rows, residual = self._make_fifos(m, engine, router, clear)
        self._give_filters(m, engine, filters)
        self._give_rows(m, engine, rows, closings)
        self._give_residual(m, engine, residual)
        self._drive_bus(m, engine, router, buffer)
        self._end(m, engine, (reader, router, buffer, writes), clear)
        return m

    def _make_fifos(self, m: Module, engine, router, clear) -> list[BurstFifo]:
        config = self._config
        fifos = [
            BurstFifo(config, config.filter_bursts, config.filter_bus_bytes, 1, aligned=True),
            BurstFifo(config, config.row_bursts, config.bus_bytes, _ROW_TAG),
            BurstFifo(config, config.residual_bursts, config.vector_lanes, 1, spans=True),
        ]
        kinds = ([Kind.FILTERS], [Kind.ROWS, Kind.OPERAND], [Kind.RESIDUAL])
        for name, fifo, mine in zip(("filters", "rows", "residual"), fifos, kinds, strict=True):
            m.submodules[name] = fifo
            chosen = sum((engine.burst.kind == kind.value for kind in mine), start=0)
            m.d.comb += [
                fifo.clear.eq(clear),
                engine.room[name].eq(fifo.room),
                fifo.take.eq(engine.granted & (chosen != 0)),
                fifo.offset.eq(engine.burst.address),
                fifo.bytes.eq(engine.burst.bytes),
                fifo.beat.eq(router.beat),
                fifo.beat_valid.eq(getattr(router, f"{name}_valid")),
            ]
        return fifos

    def _give_filters(self, m: Module, engine, fifo) -> None:
        out, width = self.core.filters, self._config.filter_bus_bytes
        m.submodules.filters_used = used = BeatCount(self._config, self._config.filter_bursts)
        m.d.comb += [
            used.clear.eq(self.core.clear),
            used.take.eq(fifo.take),
            used.beats.eq(fifo.bytes >> (width.bit_length() - 1)),
            used.beat.eq(self.core.filters_used),
            fifo.free.eq(used.free),
            fifo.tag.eq(engine.burst.begins),
            out.valid.eq(fifo.valid),
            out.payload.data.eq(fifo.window.as_value()),
            out.payload.first.eq(fifo.window_tag & fifo.fresh),
            fifo.taken.eq(Mux(out.valid & out.ready, width, 0)),
        ]

    def _give_rows(self, m: Module, engine, fifo, closings) -> None:
        out, core = self.core.rows, self.core
        tile = Signal(4)
        m.d.sync += tile.eq(tile + engine.closes)
        with m.If(core.clear):
            m.d.sync += tile.eq(0)
        is_rows = (engine.burst.kind == Kind.ROWS.value) | (engine.burst.kind == Kind.OPERAND.value)
        m.d.comb += [
            fifo.tag.operand.eq(engine.burst.kind == Kind.OPERAND.value),
            fifo.tag.first.eq(engine.burst.first),
            fifo.tag.gap.eq(engine.burst.gap),
            fifo.tag.tile.eq(tile),
            out.valid.eq(fifo.valid),
            out.payload.data.eq(fifo.window),
            out.payload.count.eq(fifo.count),
            out.payload.operand.eq(fifo.window_tag.operand),
            out.payload.first.eq(fifo.window_tag.first & fifo.fresh),
            out.payload.gap.eq(fifo.window_tag.gap),
            out.payload.tile.eq(fifo.window_tag.tile),
            fifo.taken.eq(Mux(out.valid & out.ready, core.rows_taken, 0)),
            closings.granted.eq(engine.granted & is_rows),
            closings.closes.eq(engine.closes),
            closings.empty.eq(engine.closes_empty),
            closings.used.eq(fifo.used),
            core.rows_closed.eq(closings.closed),
        ]
        m.d.sync += fifo.free.eq(fifo.used)

    def _give_residual(self, m: Module, engine, fifo) -> None:
        out, core = self.core.residual, self.core
        used = Signal(range(self._config.residual_bursts + 1))  # but not released
        m.d.comb += [
            out.valid.eq(fifo.valid),
            out.payload.eq(fifo.window),
            core.residual_arrived.eq(fifo.arrived),
            fifo.taken.eq(Mux(out.valid & out.ready, core.residual_taken, 0)),
            fifo.free.eq(Mux(core.residual_release, used, 0)),
        ]
        m.d.sync += used.eq(used + fifo.used - fifo.free)
        with m.If(core.clear):
            m.d.sync += used.eq(0)

    def _drive_bus(self, m: Module, engine, router, buffer) -> None:
        axi, request = self.axi, engine.requests
        bus_bits = self._config.bus_bytes.bit_length() - 1
        payload = request.payload
        beats = (payload.address[:bus_bits] + payload.bytes - 1) >> bus_bits
        for channel, mine in (("ar", ~payload.write), ("aw", payload.write)):
            m.d.comb += [
                getattr(axi, f"{channel}valid").eq(request.valid & mine),
                getattr(axi, f"{channel}addr").eq(payload.address),
                getattr(axi, f"{channel}len").eq(beats),
                getattr(axi, f"{channel}size").eq(bus_bits),
                getattr(axi, f"{channel}burst").eq(1),
                getattr(axi, f"{channel}user").eq(payload.bytes - 1),
            ]
        m.d.comb += [
            request.ready.eq(Mux(payload.write, axi.awready, axi.arready)),
            axi.rready.eq(1),
            axi.bready.eq(1),
        ]
        for name in ("rdata", "rresp", "rlast", "rvalid"):
            m.d.comb += getattr(router, name).eq(getattr(axi, name))
        for name in ("wdata", "wstrb", "wlast", "wvalid"):
            m.d.comb += getattr(axi, name).eq(getattr(buffer, name))
        m.d.comb += buffer.wready.eq(axi.wready)

    def _end(self, m: Module, engine, blocks, clear) -> None:
        """End with the last response; or, after an error, with that of what is under way."""
        reader, router, buffer, writes = blocks
        exhausted, failed = Signal(), Signal()
        bad_read, bad_write = router.error, self.axi.bvalid & self.axi.bresp[1]
        causes = (
            (bad_read, Code.READ, router.number),
            (bad_write, Code.WRITE, writes.oldest_number),
            (engine.code != 0, engine.code, engine.number),
            (self.core.fault != 0, self.core.fault, engine.number),
            (self.stop, Code.STOPPED, engine.number),
        )
        m.d.sync += exhausted.eq(self.running & reader.exhausted & ~engine.in_work)
        m.d.comb += [
            engine.halt.eq(failed | clear),  # so that no request is made while all is cleared
            self.ended.eq(self.running & engine.idle & buffer.idle & (exhausted | failed)),
            self.core.ended.eq(self.ended),
        ]
        m.d.sync += clear.eq(self.ended)
        with m.If(self.running & ~failed):
            for happens, code, number in reversed(causes):
                with m.If(happens):
                    m.d.sync += [failed.eq(1), self.code.eq(code), self.entry.eq(number)]
        with m.If(self.ended):
            m.d.sync += [self.running.eq(0), failed.eq(0), exhausted.eq(0)]
        with m.If(self.start):
            m.d.sync += [self.running.eq(1), self.code.eq(Code.NONE), self.entry.eq(0)]
