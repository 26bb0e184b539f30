"""The register port of a design: layer registers, control, status, counters."""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.counters import UNIT_COUNTERS
from rtl.lib.counters import StateCounters
from rtl.lib.registers import (
    CONTROL,
    COUNTER_BASE,
    LAYER_BASE,
    UNIT_BASE,
    UNIT_STRIDE,
    RegisterMap,
    layer_layout,
)

__all__ = ["RegisterFile"]


class RegisterFile(wiring.Component):
    """Layer registers written, status and counters read; the counters themselves.

    Parameters
    ----------
    registers : RegisterMap

    Members
    -------
    address : In(16), write : In(1), write_data : In(32)
        A register is written one cycle after ``write``.
    read_data : Out(32)
        Register at ``address``, ``READ`` cycles later.
    layer : Out(layer_layout(RegisterMap.layer))
        Layer registers.
    load_begin : Out(1), load_address : Out(32)
        Pulse: that is written to ``load_address``.
    start : Out(1)
        Pulse, two cycles after control was written 1. Counters begin anew; ``done`` of the layer
        before falls ``START`` cycles after the write.
    running, done : In(1)
        Status. Counters are complete when ``done`` is.
    increments : In(ArrayLayout(32, ...))
        What is added to each counter in this cycle, in the order of their names.
    counting : In(1), unit_events : In(ArrayLayout(len(UNIT_COUNTERS), units))
        The cycles that count for the units; what such a cycle is to each (``rtl.lib.counters``).
    """

    READ = 4
    START = 3

    def __init__(self, registers: RegisterMap) -> None:
        self._registers = registers.layer
        super().__init__(
            {
                "address": In(16),
                "write": In(1),
                "write_data": In(32),
                "read_data": Out(32),
                "layer": Out(layer_layout(registers.layer)),
                "load_begin": Out(1),
                "load_address": Out(32),
                "start": Out(1),
                "running": In(1),
                "done": In(1),
                "counting": In(1),
                "increments": In(data.ArrayLayout(32, len(registers.counters))),
                "unit_events": In(data.ArrayLayout(len(UNIT_COUNTERS), registers.units)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        address, write_data = Signal(16), Signal(32)
        control, chosen = Signal(), Signal(len(self._registers))  # what is written
        begin = [one.name for one in self._registers].index("load_address")
        m.d.sync += [
            address.eq(self.address),
            write_data.eq(self.write_data),
            control.eq(self.write & (self.address == CONTROL)),
            self.start.eq(control & write_data[0] & ~self.running & ~self.start),
        ]
        for at, one in enumerate(self._registers):
            m.d.sync += chosen[at].eq(self.write & (self.address == LAYER_BASE + at))
            with m.If(chosen[at]):
                m.d.sync += self.layer[one.name].eq(write_data)
        m.d.comb += [self.load_begin.eq(chosen[begin]), self.load_address.eq(write_data)]

        stride_bits = UNIT_STRIDE.bit_length() - 1
        late_address = Signal.like(address)
        unit = (late_address - UNIT_BASE)[stride_bits:]
        counts, unit_counts = self._count(m), self._count_units(m, address[:stride_bits])
        # Counts are read, then chosen from, then one of the kinds of registers.
        count, unit_count = Signal(32), Signal(32)
        of_unit, of_cluster = Signal(), Signal()
        m.d.sync += [
            late_address.eq(address),
            count.eq(counts[late_address[:stride_bits]]),
            unit_count.eq(unit_counts[unit[:8]]),
            of_unit.eq(late_address >= UNIT_BASE),
            of_cluster.eq(late_address >= COUNTER_BASE),
        ]
        with m.If(of_unit):
            m.d.sync += self.read_data.eq(unit_count)
        with m.Elif(of_cluster):
            m.d.sync += self.read_data.eq(count)
        with m.Else():
            m.d.sync += self.read_data.eq(self.running | (self.done << 1))
        return m

    def _count(self, m: Module) -> data.View:
        """The counters that are not a unit's; registers on the way keep the sums near."""
        counts = Signal(self.increments.shape())
        for counter, increment in zip(counts, self.increments, strict=True):
            late = Signal(32)
            m.d.sync += [late.eq(increment), counter.eq(counter + late)]
            with m.If(self.start):
                m.d.sync += [late.eq(0), counter.eq(0)]
        return counts

    def _count_units(self, m: Module, index) -> data.View:
        counts = Signal(data.ArrayLayout(32, len(self.unit_events)))
        for number, events in enumerate(self.unit_events):
            m.submodules[f"unit{number}"] = counters = StateCounters()
            m.d.comb += [
                counters.start.eq(self.start),
                counters.running.eq(self.counting),
                counters.events.eq(events),
                counters.address.eq(index),
                counts[number].eq(counters.count),
            ]
        return counts
