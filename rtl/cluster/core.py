"""A cluster's core: sequencer, broadcaster, filter loader, units and collector, without buffers.

What it reads lies behind ``Core.buffers``: a host's load stream fills it in a `Cluster`, memory in
a chip.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from rtl.cluster.broadcaster import Broadcaster, Reason
from rtl.cluster.collector import Collector
from rtl.cluster.layouts import LAYER, MAX_PASSES, Layouts
from rtl.cluster.loader import FilterLoader
from rtl.cluster.sequencer import Sequencer
from rtl.cluster.unit.unit import Unit
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["Core", "buffer_signature"]


def buffer_signature(layouts: Layouts) -> wiring.Signature:
    """Return the read ports of a core's buffers and tables; data come one cycle after addresses.

    Members
    -------
    index_address : Out, index_mask, index_pointer : In
        Index buffer.
    value_pointer : Out, value_rows : In
        Value buffer: the aligned even and odd row around the pointer.
    pass_address0..2 : Out, pass_row0..2 : In
        Pass table, three times.
    entry_address : Out, entries : In
        Requantisation table: a row has an entry for each lane of the collector.
    """
    config = layouts.config
    members: dict[str, wiring.Member] = {
        "index_address": Out(layouts.input_bits),
        "index_mask": In(config.chunk),
        "index_pointer": In(layouts.pointer_bits),
        "value_pointer": Out(layouts.pointer_bits),
        "value_rows": In(data.ArrayLayout(8, 2 * config.broadcast_width)),
        "entry_address": Out(bits_for_count(layouts.requantisation_rows)),
        "entries": In(data.ArrayLayout(layouts.requantisation, config.collector_width)),
    }
    for port in range(3):
        members[f"pass_address{port}"] = Out(bits_for_count(MAX_PASSES))
        members[f"pass_row{port}"] = In(layouts.pass_row)
    return wiring.Signature(members)


class Core(Component):
    """The core of a cluster.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1), layer : In(LAYER)
        Pulse: cycle 0 of a job is the next one. The layer's registers have been there for a cycle.
    keep : In(1)
        With ``start``: the units hold the filters of all passes already.
    running : Out(1)
        From cycle 0 to the last one.
    filters : In(stream of Layouts.beat_bits)
        The filter stream.
    wants : Out(1), allowed : In(1), beat : Out(1)
        A beat may be taken from those that have come; it may as far as others go; it is.
    buffers : Out(buffer_signature)
    outputs : Out(stream of Layouts.output)
        Codes in the order of ``Schedule.outputs``, for each pass and position in program order.
    starved : Out(1)
        The cycle goes by waiting for filters.
    increments : Out(ArrayLayout(32, ...)), unit_events : Out(ArrayLayout(...))
        What a cycle adds to ``CLUSTER_COUNTERS``; what it is to each unit (`rtl.lib.counters`), one
        cycle later.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        units = layouts.config.units
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "keep": In(1),
                "running": Out(1),
                "filters": In(stream.Signature(layouts.beat_bits)),
                "wants": Out(1),
                "allowed": In(1),
                "beat": Out(1),
                "buffers": Out(buffer_signature(layouts)),
                "outputs": Out(stream.Signature(layouts.output)),
                "starved": Out(1),
                "increments": Out(data.ArrayLayout(32, len(CLUSTER_COUNTERS))),
                "unit_events": Out(data.ArrayLayout(len(UNIT_COUNTERS), units)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, buffers = self._layouts, self.buffers
        m.submodules.sequencer = sequencer = Sequencer(layouts)
        m.submodules.broadcaster = broadcaster = Broadcaster(layouts)
        m.submodules.loader = loader = FilterLoader(layouts)
        m.submodules.collector = collector = Collector(layouts)
        wiring.connect(m, wiring.flipped(self.filters), loader.beats)
        wiring.connect(m, collector.outputs, wiring.flipped(self.outputs))
        with m.If(self.start):
            m.d.sync += self.running.eq(1)
        with m.Elif(collector.finished):
            m.d.sync += self.running.eq(0)
        m.d.comb += [
            loader.keep.eq(self.keep),
            self.wants.eq(loader.wants),
            loader.allowed.eq(self.allowed),
            self.beat.eq(loader.beat),
            self.starved.eq(broadcaster.starved),
            sequencer.room.eq(broadcaster.room),
            broadcaster.enter.eq(sequencer.enter),
            broadcaster.step_valid.eq(sequencer.step_valid),
            broadcaster.step.eq(sequencer.step),
            buffers.index_address.eq(broadcaster.index_address),
            broadcaster.index_mask.eq(buffers.index_mask),
            broadcaster.index_pointer.eq(buffers.index_pointer),
            buffers.value_pointer.eq(broadcaster.value_pointer),
            broadcaster.value_rows.eq(buffers.value_rows),
            broadcaster.load_done.eq(loader.done),
            buffers.entry_address.eq(collector.entry_address),
            collector.entries.eq(buffers.entries),
        ]
        for block in (sequencer, broadcaster, loader, collector):
            m.d.comb += [block.start.eq(self.start), block.layer.eq(self.layer)]
        for port, block in enumerate((sequencer, loader, collector)):
            m.d.comb += [
                getattr(buffers, f"pass_address{port}").eq(block.pass_address),
                block.pass_row.eq(getattr(buffers, f"pass_row{port}")),
            ]
        units = self._place_units(m, broadcaster, loader, collector)
        self._count(m, broadcaster, loader, collector, units)
        return m

    def _place_units(self, m: Module, broadcaster, loader, collector) -> list:
        """Make the units and wire them to the buses."""
        units, config = [], self._layouts.config
        slots = config.filters_per_unit
        for number in range(config.units):
            m.submodules[f"unit{number}"] = unit = Unit(self._layouts)
            units.append(unit)
            mine = slice(number * slots, (number + 1) * slots)
            entry_mine = loader.load.entry_unit == number
            row_mine = loader.load.row_unit == number
            m.d.comb += [
                unit.broadcast.eq(broadcaster.broadcast),
                unit.held.eq(broadcaster.held[mine]),
                unit.load.eq(loader.load),
                unit.load_entry.eq(loader.load.entry_valid & entry_mine),
                unit.load_row.eq(loader.load.row_valid & row_mine),
                unit.keep_zero_weights.eq(~self.layer.skip_weights),
                unit.signed_activations.eq(self.layer.signed_activations),
                unit.result_taken.eq(collector.taken),
                collector.valid[number].eq(unit.result_valid),
                broadcaster.retire_slots[number].eq(unit.retire_slots),
                loader.retire_buffers[number].eq(unit.retire_buffers),
            ]
            results = self._layouts.results
            for at in range(results):
                m.d.comb += collector.results[number * results + at].eq(unit.results[at])
            if self._layouts.merges:
                m.d.comb += unit.drain.eq(collector.drain)
        return units

    def _count(self, m: Module, broadcaster, loader, collector, units) -> None:
        """Events of the cluster and of each unit."""
        reason, held = broadcaster.reason, broadcaster.reason_held
        # From the broadcaster's time to that in which the units say what they did.
        for stage in range(Unit.LATENCY - Broadcaster.EXPLAIN):
            late_reason = Signal(Reason, name=f"reason{stage + 1}")
            late_held = Signal.like(held, name=f"reason_held{stage + 1}")
            m.d.sync += [late_reason.eq(reason), late_held.eq(held)]
            reason, held = late_reason, late_held
        busy = Signal(len(units))
        cluster = {
            "cycles": self.running,
            "pairs": count_ones(busy),
            "steps_delivered": broadcaster.delivered,
            "steps_skipped": broadcaster.skipped,
            "broadcast_words": broadcaster.word,
            "filter_beats": loader.beat,
            "outputs": collector.count,
            "output_nonzeros": collector.nonzeros,
        }
        for at, name in enumerate(CLUSTER_COUNTERS):
            m.d.comb += self.increments[at].eq(cluster[name])
        for number, unit in enumerate(units):
            m.d.comb += busy[number].eq(unit.busy)
            works = unit.busy | unit.bubble | unit.blocked
            waits = ~works & held[number * self._layouts.config.filters_per_unit]
            events = {
                "busy_cycles": unit.busy,
                "bubble_cycles": unit.bubble,
                "wait_memory_cycles": waits & (reason == Reason.MEMORY),
                "wait_siblings_cycles": waits & (reason == Reason.SIBLINGS),
                "wait_broadcast_cycles": waits & (reason == Reason.BROADCAST),
                "wait_collector_cycles": unit.blocked,
                "idle_cycles": Const(1),
            }
            mine = Cat(events[name] for name in UNIT_COUNTERS)
            m.d.comb += self.unit_events[number].eq(mine)
