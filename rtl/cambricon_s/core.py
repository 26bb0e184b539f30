"""A core of Cambricon-S: buffers, sequencer, window fetch, neuron selector, PEs, collector.

Latencies of the blocks add up to the constants of its ``Latency`` (``latencies``).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring

from golden.counters import UNIT_COUNTERS
from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig, Latency
from rtl.cambricon_s.buffers import CoreBuffers
from rtl.cambricon_s.collector import Collector
from rtl.cambricon_s.layouts import CoreLayouts, register_map
from rtl.cambricon_s.loader import SynapseLoader
from rtl.cambricon_s.pe import ProcessingElement
from rtl.cambricon_s.windows.fetch import WindowFetch
from rtl.cambricon_s.windows.selector import NeuronSelector
from rtl.cambricon_s.windows.sequencer import Sequencer
from rtl.host import host_ports
from rtl.lib.component import Component
from rtl.lib.ram import Ram
from rtl.lib.registers import RegisterFile

__all__ = ["Core", "latencies"]

#: From a load's ``done`` to the first cycle of the step that needs it.
_LOADED = WindowFetch.LOAD + NeuronSelector.LATENCY
#: From the end of a position's last step to its results.
_RESULT = NeuronSelector.ISSUE - 1 + ProcessingElement.LATENCY


def latencies() -> Latency:
    """Return the latencies as the blocks add up to them.

    The loader lives ``SynapseLoader.START`` cycles after the rest.
    """
    return Latency(
        start=WindowFetch.LATENCY + NeuronSelector.LATENCY,
        load=SynapseLoader.START + _LOADED,
        load_free=NeuronSelector.RETIRE - SynapseLoader.START,
        deliver=_RESULT,
        collector_free=-_RESULT,
        tail=Collector.TAIL + 1,
    )


class Core(Component):
    """One core of a machine.

    Parameters
    ----------
    config : CambriconSConfig

    Members
    -------
    Those of ``rtl.host.host_ports``. What the streams hold: ``rtl.cambricon_s.buffers``,
    ``rtl.cambricon_s.loader``, ``rtl.cambricon_s.collector``.
    """

    def __init__(self, config: CambriconSConfig) -> None:
        self.layouts = layouts = CoreLayouts(config)
        super().__init__(host_ports(8 * config.bus_bytes, layouts.output))

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self.layouts
        config = layouts.config
        m.submodules.registers = registers = RegisterFile(register_map(config))
        m.submodules.buffers = buffers = CoreBuffers(layouts)
        m.submodules.sequencer = sequencer = Sequencer(layouts)
        m.submodules.loader = loader = SynapseLoader(layouts)
        m.submodules.fetch = fetch = WindowFetch(layouts)
        m.submodules.selector = selector = NeuronSelector(layouts)
        m.submodules.collector = collector = Collector(layouts, _RESULT)
        m.submodules.index = index = Ram(config.window, layouts.rows)
        wiring.connect(m, wiring.flipped(self.words), buffers.words)
        wiring.connect(m, wiring.flipped(self.filters), loader.beats)
        wiring.connect(m, sequencer.steps, fetch.steps)
        wiring.connect(m, fetch.windows, selector.windows)
        wiring.connect(m, collector.outputs, wiring.flipped(self.outputs))

        start, running = Signal(), Signal()
        with m.If(start):
            m.d.sync += [running.eq(1), self.done.eq(0)]
        with m.Elif(collector.finished):
            m.d.sync += [running.eq(0), self.done.eq(1)]
        m.d.comb += [
            start.eq(registers.start),
            registers.address.eq(self.address),
            registers.write.eq(self.write),
            registers.write_data.eq(self.write_data),
            self.read_data.eq(registers.read_data),
            registers.running.eq(running),
            registers.counting.eq(running),
            registers.done.eq(self.done),
            sequencer.start.eq(start),
            loader.start.eq(start),
            sequencer.layer.eq(registers.layer),
            loader.layer.eq(registers.layer),
            collector.layer.eq(registers.layer),
            buffers.target.eq(registers.layer.load_target),
            buffers.address.eq(registers.load_address),
            buffers.begin.eq(registers.load_begin),
            buffers.block_address0.eq(sequencer.block_address),
            sequencer.block_row.eq(buffers.block_row0),
            buffers.block_address1.eq(loader.block_address),
            loader.block_row.eq(buffers.block_row1),
            buffers.window_address.eq(sequencer.window_address),
            sequencer.window_offset.eq(buffers.window_offset),
            buffers.neuron_address.eq(fetch.neuron_address),
            buffers.neuron_enable.eq(fetch.neuron_enable),
            fetch.neuron_rows.eq(buffers.neuron_rows),
            buffers.entry_address.eq(collector.entry_address),
            collector.entries.eq(buffers.entries),
            index.write_enable.eq(loader.mask_valid),
            index.write_address.eq(loader.mask_row),
            index.write_data.eq(loader.mask),
            index.read_enable.eq(fetch.mask_enable),
            index.read_address.eq(fetch.mask_address),
            fetch.mask.eq(index.read_data),
            fetch.load_done.eq(loader.done),
            loader.retire.eq(selector.retire),
            selector.waiting_pes_last.eq(fetch.pes_last),
            selector.room.eq(collector.room),
            collector.promised.eq(Mux(selector.finish, selector.beats, 0)),
        ]
        self._place_pes(m, registers, buffers, loader, selector, collector)
        self._count(m, start, running, registers, loader, selector, collector)
        return m

    def _place_pes(self, m: Module, registers, buffers, loader, selector, collector) -> None:
        """Make the PEs, wire them to the buses, and tell the collector when they have results."""
        for number in range(self.layouts.config.pes):
            m.submodules[f"pe{number}"] = pe = ProcessingElement(self.layouts)
            m.d.comb += [
                pe.issue.eq(selector.issue),
                pe.load.eq(loader.load),
                pe.load_mine.eq(loader.load.pe == number),
                pe.codebook.eq(buffers.codebook),
                pe.signed_activations.eq(registers.layer.signed_activations),
                collector.results[number].eq(pe.result),
            ]
        begin, result = selector.issue.commit, selector.result
        for stage in range(ProcessingElement.LATENCY - 1):
            late_begin = Signal(name=f"begin{stage + 1}")
            late_result = Signal(self.layouts.result, name=f"result{stage + 1}")
            m.d.sync += [late_begin.eq(begin), late_result.eq(result)]
            begin, result = late_begin, late_result
        m.d.comb += [collector.begin.eq(begin), collector.result.eq(result)]

    def _count(self, m: Module, start, running, registers, loader, selector, collector) -> None:
        """Counters of the core and of each PE."""
        layouts = self.layouts
        working = selector.busy | selector.bubble | selector.blocked
        begun, filled = Signal(), Signal()  # a step has begun; the first load is there
        ended, end = Signal(), Signal()  # the last step is over
        m.d.comb += end.eq(selector.finish & selector.final)
        arrived = loader.done
        for stage in range(_LOADED - 1):
            late = Signal(name=f"arrived{stage + 1}")
            m.d.sync += late.eq(arrived)
            arrived = late
        m.d.sync += [
            begun.eq(~start & (begun | working)),
            filled.eq(~start & (filled | arrived)),
            ended.eq(~start & (ended | end)),
        ]
        waits = running & ~working & ~ended
        memory = begun | ~filled  # later waits are all for memory
        pairs, step, selected = Signal(32), Signal(), Signal(layouts.count_bits)
        m.d.sync += [
            step.eq(selector.step),
            selected.eq(Mux(selector.step, selector.count, 0)),
            pairs.eq(Mux(selector.step, selector.count * (selector.pes_last + 1), 0)),
        ]
        core = {
            "cycles": running,
            "pairs": pairs,
            "steps": step,
            "load_beats": loader.beat,
            "outputs": collector.count,
            "selected": selected,
        }
        for at, name in enumerate(CORE_COUNTERS):
            m.d.comb += registers.increments[at].eq(core[name])
        for number in range(layouts.config.pes):
            mine = selector.pes_last >= number if number else 1
            events = {
                "busy_cycles": selector.busy & mine,
                "bubble_cycles": selector.bubble & mine,
                "wait_memory_cycles": waits & memory & mine,
                "wait_siblings_cycles": Const(0, 1),
                "wait_broadcast_cycles": waits & ~memory & mine,
                "wait_collector_cycles": selector.blocked & mine,
                "idle_cycles": Const(1),
            }
            cycle = Cat(events[name] for name in UNIT_COUNTERS)
            m.d.comb += registers.unit_events[number].eq(cycle)
