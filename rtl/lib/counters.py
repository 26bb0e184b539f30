"""Counters of a part that is in one state a cycle: a memory with a row for each state.

One adder serves them all, and counts are exact from the cycle after they change.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.counters import UNIT_COUNTERS
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["STATE_BITS", "StateCounters"]

#: Width of a state: its place in ``golden.counters.UNIT_COUNTERS``.
STATE_BITS = bits_for_count(len(UNIT_COUNTERS))


class StateCounters(Component):
    """Count the cycles that a part spends in each of its states.

    Members
    -------
    start : In(1)
        Pulse: counts begin anew with the next cycle.
    running : In(1), events : In(len(UNIT_COUNTERS))
        Where ``running``, the cycle counts for the lowest event; for the last one where there
        is none.
    address : In(STATE_BITS), count : Out(32)
        A count, one cycle later; a cycle counts in the third one after it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "running": In(1),
                "events": In(len(UNIT_COUNTERS)),
                "address": In(STATE_BITS),
                "count": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.counts = counts = Memory(shape=32, depth=1 << STATE_BITS, init=[])
        write = counts.write_port()
        read, shown = (counts.read_port(domain="comb") for _ in range(2))
        known = Signal(len(UNIT_COUNTERS))  # counts of this run; the others are of another one
        idle = len(UNIT_COUNTERS) - 1
        state, counted = Signal(STATE_BITS, init=idle), Signal()
        m.d.sync += [state.eq(idle), counted.eq(self.running & ~self.start)]
        for number in reversed(range(idle)):
            with m.If(self.events[number]):
                m.d.sync += state.eq(number)
        # A count is read in one cycle and written back in the next: where the state stays, what is
        # about to be written is the count.
        count, late_state, late_counted = Signal(32), Signal.like(state), Signal()
        same = late_counted & (state == late_state)
        m.d.sync += [
            count.eq(Mux(same, count + 1, Mux(known.bit_select(state, 1), read.data, 0))),
            late_state.eq(state),
            late_counted.eq(counted & ~self.start),
        ]
        m.d.comb += [
            read.addr.eq(state),
            write.addr.eq(late_state),
            write.data.eq(count + 1),
            write.en.eq(late_counted),
            shown.addr.eq(self.address),
        ]
        m.d.sync += self.count.eq(Mux(known.bit_select(self.address, 1), shown.data, 0))
        with m.If(self.start):
            m.d.sync += known.eq(0)
        with m.Elif(late_counted):
            m.d.sync += known.bit_select(late_state, 1).eq(1)
        return m
