"""A processing element: loader, three levels of intersection, multiplier, sums, output."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring

from golden.counters import UNIT_COUNTERS
from golden.machines.extensor import PE_COUNTERS, ExTensorConfig, Latency
from rtl.extensor.intersection.fetch import Fetch
from rtl.extensor.intersection.fibres import FibreLevel
from rtl.extensor.intersection.scalars import ScalarLevel
from rtl.extensor.intersection.tiles import TileLevel
from rtl.extensor.layouts import Layouts, register_map
from rtl.extensor.loader import Loader
from rtl.extensor.multiply import Multiply
from rtl.extensor.output import Output
from rtl.extensor.sums import Sums
from rtl.extensor.tables import Tables
from rtl.host import host_ports
from rtl.lib.component import Component
from rtl.lib.registers import RegisterFile

__all__ = ["ProcessingElement", "latencies"]


def latencies() -> Latency:
    """Return the latencies as the blocks add up to them."""
    return Latency(
        lists=Loader.WRITE + TileLevel.READY - 1,
        load=Loader.WRITE + FibreLevel.READY + Fetch.LATENCY + ScalarLevel.LATENCY - 1,
        load_free=Multiply.FREED + Loader.FREE - 1,
        drain=Multiply.LATENCY + Sums.READY - 1,
        tail=Sums.LATENCY + Output.LATENCY,
    )


class ProcessingElement(Component):
    """One processing element of a machine.

    Parameters
    ----------
    config : ExTensorConfig

    Members
    -------
    Those of ``rtl.host.host_ports``. The load stream fills ``rtl.extensor.tables``, the filter
    stream holds lists and tile pairs (``rtl.extensor.loader``), and codes come item by item, in
    each column by column.
    """

    def __init__(self, config: ExTensorConfig) -> None:
        self.layouts = Layouts(config)
        super().__init__(host_ports(self.layouts.beat.size, self.layouts.output))

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self.layouts
        m.submodules.registers = registers = RegisterFile(register_map())
        m.submodules.tables = tables = Tables(layouts)
        m.submodules.loader = loader = Loader(layouts)
        m.submodules.tiles = tiles = TileLevel(layouts)
        m.submodules.fibres = fibres = FibreLevel(layouts)
        m.submodules.fetch = fetch = Fetch(layouts)
        m.submodules.scalars = scalars = ScalarLevel(layouts)
        m.submodules.multiply = multiply = Multiply(layouts)
        m.submodules.sums = sums = Sums(layouts)
        m.submodules.output = output = Output(layouts)
        wiring.connect(m, wiring.flipped(self.words), tables.words)
        wiring.connect(m, fetch.work, scalars.work)
        wiring.connect(m, output.outputs, wiring.flipped(self.outputs))

        running, layer = Signal(), registers.layer
        with m.If(registers.start):
            m.d.sync += [running.eq(1), self.done.eq(0)]
        with m.Elif(output.finished):
            m.d.sync += [running.eq(0), self.done.eq(1)]
        for block in (loader, tiles, fibres, fetch, scalars, multiply, sums, output):
            m.d.comb += block.start.eq(registers.start)
        for block in (fibres, fetch, multiply):
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
            registers.hold.eq(sums.clearing),
            registers.counting.eq(running),
            registers.done.eq(self.done),
            tables.target.eq(layer.load_target),
            tables.address.eq(registers.load_address),
            tables.begin.eq(registers.load_begin),
            tables.item_address.eq(loader.item_address),
            loader.item_row.eq(tables.item),
            tiles.list.eq(loader.list),
            tiles.taken.eq(loader.taken),
            loader.available.eq(tiles.available),
            loader.over.eq(tiles.over),
            loader.freed_pair.eq(multiply.freed_pair),
            loader.freed_buffer.eq(multiply.freed_buffer),
            loader.freed_end.eq(multiply.freed_end),
            fibres.begun.eq(fetch.work.valid & fetch.work.ready),
            fetch.token.eq(fibres.token),
            fetch.token_valid.eq(fibres.token_valid),
            scalars.draining.eq(sums.draining),
            scalars.final.eq(loader.ended.final),
            multiply.signed_activations.eq(layer.signed_activations),
            multiply.work.eq(scalars.work_now),
            multiply.below.eq(scalars.below),
            multiply.pair.eq(scalars.pair),
            multiply.close.eq(scalars.close),
            multiply.end.eq(scalars.end),
            sums.place.eq(multiply.place),
            sums.place_next.eq(multiply.place_next),
            sums.total.eq(multiply.total),
            sums.total_valid.eq(multiply.total_valid),
            sums.end.eq(scalars.end),
            sums.item.eq(loader.ended),
            sums.ended.eq(multiply.ended),
            sums.move.eq(output.move),
            output.sum.eq(sums.sum),
            output.sum_valid.eq(sums.sum_valid),
            output.channel.eq(sums.channel),
            output.final.eq(sums.final),
            tables.entry_address.eq(output.entry_address),
            tables.entry_enable.eq(output.move),
            output.entry.eq(tables.entry),
            output.zero_point.eq(layer.zero_point),
            output.low.eq(layer.clamp_low),
            output.high.eq(layer.clamp_high),
        ]
        self._count(m, running, registers, loader, tiles, scalars, output)
        return m

    def _count(self, m: Module, running, registers, loader, tiles, scalars, output) -> None:
        """Counters."""
        waits, held = running & scalars.idle, running & scalars.held
        events = {
            "cycles": running,
            "pairs": scalars.pair,
            "tile_pairs": tiles.match,
            "fibre_pairs": scalars.close,
            "tile_decisions": tiles.decides,
            "load_beats": loader.beat,
            "outputs": output.taken,
            "busy_cycles": scalars.pair,
            "bubble_cycles": scalars.bubble,
            "wait_memory_cycles": waits,
            "wait_siblings_cycles": Const(0, 1),
            "wait_broadcast_cycles": Const(0, 1),
            "wait_collector_cycles": held,
            "idle_cycles": Const(1),
        }
        for at, name in enumerate(PE_COUNTERS):
            m.d.comb += registers.increments[at].eq(events[name])
        m.d.comb += registers.unit_events[0].eq(Cat(events[name] for name in UNIT_COUNTERS))
