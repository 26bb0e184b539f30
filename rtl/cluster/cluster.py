"""A cluster: buffers, sequencer, broadcaster, filter loader, units, collector, counters.

Latencies between the blocks add up to the constants of ``golden.machines.cluster.config.Latency``
(``Cluster.latency``).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from golden.machines.cluster.config import AcceleratorConfig, Latency
from rtl.cluster.broadcaster import Broadcaster, Reason
from rtl.cluster.collector import Collector
from rtl.cluster.input_buffer import InputBuffer
from rtl.cluster.layouts import Layouts, register_map
from rtl.cluster.loader import FilterLoader
from rtl.cluster.sequencer import Sequencer
from rtl.cluster.unit.unit import Unit
from rtl.host import host_ports
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.registers import RegisterFile

__all__ = ["Cluster", "latencies"]


def latencies() -> Latency:
    """Return the latencies as the blocks add up to them.

    A unit lives ``Unit.LATENCY`` cycles after the broadcaster's decisions, the collector too;
    the loader ``FilterLoader.START`` cycles after them.
    """
    unit, loader = Unit.LATENCY, FilterLoader.START
    return Latency(
        start=Broadcaster.START,
        release=unit,
        load=loader + 1,
        load_free=unit - loader,
        deliver=Unit.RESULT + Collector.BEGIN,
        collector_free=1,
        tail=unit + Collector.TAIL,
    )


class Cluster(Component):
    """One cluster of a machine.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    Those of ``rtl.host.host_ports``. What the streams hold: ``rtl.cluster.input_buffer``,
    ``rtl.cluster.loader``, ``rtl.cluster.collector``.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self.layouts = layouts = Layouts(config)
        super().__init__(host_ports(layouts.beat_bits, layouts.output))

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self.layouts
        m.submodules.registers = registers = RegisterFile(register_map(self._config))
        m.submodules.buffer = buffer = InputBuffer(layouts)
        m.submodules.sequencer = sequencer = Sequencer(layouts)
        m.submodules.broadcaster = broadcaster = Broadcaster(layouts)
        m.submodules.loader = loader = FilterLoader(layouts)
        m.submodules.collector = collector = Collector(layouts)
        wiring.connect(m, wiring.flipped(self.words), buffer.words)
        wiring.connect(m, wiring.flipped(self.filters), loader.beats)
        wiring.connect(m, collector.outputs, wiring.flipped(self.outputs))

        start, running = Signal(), Signal()
        was_running = Signal()  # when the units say what they did
        m.d.sync += was_running.eq(running)
        with m.If(start):
            m.d.sync += [running.eq(1), self.done.eq(0)]
        with m.Elif(collector.finished):
            m.d.sync += running.eq(0)
        with m.Elif(was_running & ~running):
            m.d.sync += self.done.eq(1)
        m.d.comb += [
            start.eq(registers.start),
            registers.address.eq(self.address),
            registers.write.eq(self.write),
            registers.write_data.eq(self.write_data),
            self.read_data.eq(registers.read_data),
            registers.running.eq(running),
            registers.counting.eq(was_running),
            registers.done.eq(self.done),
            buffer.target.eq(registers.layer.load_target),
            buffer.address.eq(registers.load_address),
            buffer.begin.eq(registers.load_begin),
            sequencer.room.eq(broadcaster.room),
            broadcaster.enter.eq(sequencer.enter),
            broadcaster.step_valid.eq(sequencer.step_valid),
            broadcaster.step.eq(sequencer.step),
            buffer.index_address.eq(broadcaster.index_address),
            broadcaster.index_mask.eq(buffer.index_mask),
            broadcaster.index_pointer.eq(buffer.index_pointer),
            buffer.value_pointer.eq(broadcaster.value_pointer),
            broadcaster.value_rows.eq(buffer.value_rows),
            broadcaster.load_done.eq(loader.done),
            buffer.entry_address.eq(collector.entry_address),
            collector.entries.eq(buffer.entries),
        ]
        for block in (sequencer, broadcaster, loader, collector):
            m.d.comb += [block.start.eq(start), block.layer.eq(registers.layer)]
        for port, block in enumerate((sequencer, loader, collector)):
            m.d.comb += [
                getattr(buffer, f"pass_address{port}").eq(block.pass_address),
                block.pass_row.eq(getattr(buffer, f"pass_row{port}")),
            ]
        units = self._place_units(m, registers, broadcaster, loader, collector)
        self._count(m, running, registers, broadcaster, loader, collector, units)
        return m

    def _place_units(self, m: Module, registers, broadcaster, loader, collector) -> list:
        """Make the units and wire them to the buses."""
        units, slots = [], self._config.filters_per_unit
        for number in range(self._config.units):
            m.submodules[f"unit{number}"] = unit = Unit(self.layouts)
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
                unit.keep_zero_weights.eq(~registers.layer.skip_weights),
                unit.signed_activations.eq(registers.layer.signed_activations),
                unit.result_taken.eq(collector.taken),
                collector.valid[number].eq(unit.result_valid),
                broadcaster.retire_slots[number].eq(unit.retire_slots),
                loader.retire_buffers[number].eq(unit.retire_buffers),
            ]
            results = self.layouts.results
            for at in range(results):
                m.d.comb += collector.results[number * results + at].eq(unit.results[at])
            if self.layouts.merges:
                m.d.comb += unit.drain.eq(collector.drain)
        return units

    def _count(self, m: Module, running, registers, broadcaster, loader, collector, units) -> None:
        """Counters of the cluster and of each unit."""
        reason, held = broadcaster.reason, broadcaster.reason_held
        # From the broadcaster's time to that in which the units say what they did.
        for stage in range(Unit.LATENCY - Broadcaster.EXPLAIN):
            late_reason = Signal(Reason, name=f"reason{stage + 1}")
            late_held = Signal.like(held, name=f"reason_held{stage + 1}")
            m.d.sync += [late_reason.eq(reason), late_held.eq(held)]
            reason, held = late_reason, late_held
        busy = Signal(len(units))
        cluster = {
            "cycles": running,
            "pairs": count_ones(busy),
            "steps_delivered": broadcaster.delivered,
            "steps_skipped": broadcaster.skipped,
            "broadcast_words": broadcaster.word,
            "filter_beats": loader.beat,
            "outputs": collector.count,
            "output_nonzeros": collector.nonzeros,
        }
        for at, name in enumerate(CLUSTER_COUNTERS):
            m.d.comb += registers.increments[at].eq(cluster[name])
        for number, unit in enumerate(units):
            m.d.comb += busy[number].eq(unit.busy)
            works = unit.busy | unit.bubble | unit.blocked
            waits = ~works & held[number * self._config.filters_per_unit]
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
            m.d.comb += registers.unit_events[number].eq(mine)
