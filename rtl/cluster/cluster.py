"""A cluster as a host drives it: registers, buffers that a load stream fills, and the core.

Latencies between the blocks add up to the constants of ``golden.machines.cluster.config.Latency``
(``Cluster.latency``).
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from golden.machines.cluster.config import AcceleratorConfig, Latency
from rtl.cluster.broadcaster import Broadcaster
from rtl.cluster.collector import Collector
from rtl.cluster.core import Core
from rtl.cluster.input_buffer import InputBuffer
from rtl.cluster.layouts import Layouts, register_map
from rtl.cluster.loader import FilterLoader
from rtl.cluster.unit.unit import Unit
from rtl.host import host_ports
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
        m.submodules.registers = registers = RegisterFile(register_map(self._config))
        m.submodules.buffer = buffer = InputBuffer(self.layouts)
        m.submodules.core = core = Core(self.layouts)
        wiring.connect(m, wiring.flipped(self.words), buffer.words)
        wiring.connect(m, wiring.flipped(self.filters), core.filters)
        wiring.connect(m, core.outputs, wiring.flipped(self.outputs))
        wiring.connect(m, core.buffers, buffer.core)
        was_running = Signal()  # when the units say what they did
        m.d.sync += was_running.eq(core.running)
        with m.If(registers.start):
            m.d.sync += self.done.eq(0)
        with m.Elif(was_running & ~core.running):
            m.d.sync += self.done.eq(1)
        m.d.comb += [
            core.start.eq(registers.start),
            core.layer.eq(registers.layer),
            core.allowed.eq(1),
            registers.address.eq(self.address),
            registers.write.eq(self.write),
            registers.write_data.eq(self.write_data),
            self.read_data.eq(registers.read_data),
            registers.running.eq(core.running),
            registers.counting.eq(was_running),
            registers.done.eq(self.done),
            registers.increments.eq(core.increments),
            registers.unit_events.eq(core.unit_events),
            buffer.target.eq(registers.layer.load_target),
            buffer.address.eq(registers.load_address),
            buffer.begin.eq(registers.load_begin),
        ]
        return m
