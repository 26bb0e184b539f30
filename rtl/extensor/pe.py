"""A processing element: loader, two intersect units, multiplier, output, registers."""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.counters import UNIT_COUNTERS
from golden.extensor import PE_COUNTERS, ExTensorConfig
from rtl.extensor.fetch import Fetch
from rtl.extensor.layouts import Layouts
from rtl.extensor.level0 import Level0
from rtl.extensor.level1 import Level1
from rtl.extensor.loader import Loader
from rtl.extensor.multiply import Multiply
from rtl.extensor.output import Output
from rtl.extensor.registers import LAYER_REGISTERS
from rtl.extensor.tables import Tables
from rtl.registers import RegisterFile

__all__ = ["ProcessingElement", "latencies"]


def latencies() -> dict[str, int]:
    """Return the constants of ``golden.extensor.Latency``, added up from the blocks'."""
    return {
        "LOAD": Loader.WRITE + Level1.READY - 1,
        "LOAD_FREE": Multiply.FREED + Loader.FREE - 1,
        "MATCH": Level1.TOKEN + Fetch.LATENCY + Level0.LATENCY - 1,
        "TAIL": Multiply.LATENCY + Output.LATENCY,
    }


class ProcessingElement(wiring.Component):
    """One processing element of a machine.

    Parameters
    ----------
    config : ExTensorConfig

    Members
    -------
    address : In(16), write : In(1), write_data : In(32), read_data : Out(32)
        The register port: ``rtl.registers``, ``rtl.extensor.registers``.
    words : In(stream of 32 bits)
        What fills the tables.
    filters : In(stream of Layouts.beat, as bits)
        The load stream: rows and columns.
    outputs : Out(stream of Layouts.output)
        Codes: of each item each column's, of each column each row's.
    done : Out(1)
        The last code has been taken since the last start.
    """

    def __init__(self, config: ExTensorConfig) -> None:
        self.layouts = Layouts(config)
        super().__init__(
            {
                "address": In(16),
                "write": In(1),
                "write_data": In(32),
                "read_data": Out(32),
                "words": In(stream.Signature(32)),
                "filters": In(stream.Signature(self.layouts.beat.size)),
                "outputs": Out(stream.Signature(self.layouts.output)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self.layouts
        m.submodules.registers = registers = RegisterFile(1, LAYER_REGISTERS, PE_COUNTERS)
        m.submodules.tables = tables = Tables(layouts)
        m.submodules.loader = loader = Loader(layouts)
        m.submodules.level1 = level1 = Level1(layouts)
        m.submodules.fetch = fetch = Fetch(layouts)
        m.submodules.level0 = level0 = Level0(layouts)
        m.submodules.multiply = multiply = Multiply(layouts)
        m.submodules.output = output = Output(layouts)
        wiring.connect(m, wiring.flipped(self.words), tables.words)
        wiring.connect(m, fetch.work, level0.work)
        wiring.connect(m, output.outputs, wiring.flipped(self.outputs))

        running, layer = Signal(), registers.layer
        with m.If(registers.start):
            m.d.sync += [running.eq(1), self.done.eq(0)]
        with m.Elif(output.finished):
            m.d.sync += [running.eq(0), self.done.eq(1)]
        for block in (loader, level1, level0, multiply, output):
            m.d.comb += block.start.eq(registers.start)
        for block in (level1, fetch, multiply):
            m.d.comb += block.load.eq(loader.load)
        m.d.comb += [
            loader.beats.payload.eq(self.filters.payload),
            loader.beats.valid.eq(self.filters.valid),
            self.filters.ready.eq(loader.beats.ready),
            registers.address.eq(self.address),
            registers.write.eq(self.write),
            registers.write_data.eq(self.write_data),
            self.read_data.eq(registers.read_data),
            registers.running.eq(running),
            registers.counting.eq(running),
            registers.done.eq(self.done),
            tables.target.eq(layer.load_target),
            tables.address.eq(layer.load_address),
            tables.begin.eq(registers.load_begin),
            tables.item_address.eq(loader.item_address),
            loader.item_row.eq(tables.item),
            loader.freed.eq(multiply.freed),
            loader.freed_end.eq(multiply.freed_end),
            level1.item.eq(loader.item),
            level1.begun.eq(fetch.work.valid & fetch.work.ready),
            fetch.token.eq(level1.token),
            level0.move.eq(output.move),
            multiply.move.eq(output.move),
            multiply.signed_activations.eq(layer.signed_activations),
            multiply.work.eq(level0.work_now),
            multiply.below.eq(level0.below),
            multiply.pair.eq(level0.pair),
            multiply.end.eq(level0.end),
            output.total.eq(multiply.total),
            output.total_valid.eq(multiply.total_valid),
            output.total_end.eq(multiply.total_end),
            tables.entry_address.eq(output.entry_address),
            tables.entry_enable.eq(output.move),
            output.entry.eq(tables.entry),
            output.zero_point.eq(layer.zero_point),
            output.low.eq(layer.clamp_low),
            output.high.eq(layer.clamp_high),
        ]
        self._count(m, running, registers, loader, level1, level0, output)
        return m

    def _count(self, m: Module, running, registers, loader, level1, level0, output) -> None:
        """Counters."""
        token = level1.token
        waits = level0.idle & running
        held = running & ~output.move  # an output is not taken: only where the host stalls
        events = {
            "cycles": running,
            "pairs": level0.pair,
            "tile_tokens": token.valid & ~token.is_end,
            "dots": token.valid & token.is_end,
            "level1_decisions": level1.decides,
            "load_beats": loader.beat,
            "outputs": output.taken,
            "busy_cycles": level0.busy,
            "bubble_cycles": level0.bubble,
            "wait_memory_cycles": waits & level1.waits,
            "wait_siblings_cycles": Const(0, 1),
            "wait_broadcast_cycles": waits & ~level1.waits,
            "wait_collector_cycles": held,
            "idle_cycles": Const(1),
        }
        for at, name in enumerate(PE_COUNTERS):
            m.d.comb += registers.increments[at].eq(events[name])
        m.d.comb += registers.unit_events[0].eq(Cat(events[name] for name in UNIT_COUNTERS))
