"""Multiply-accumulate for chunk balancing: a unit's share of the sum of every filter of a pass.

    sum[position, home] = (has a sum ? sum[position, home] : 0) + products of a chunk pair

The filters of a unit change with every chunk, so that a filter's sum is spread over the units.
The collector asks all of them for the same filters, and adds up; a unit that has worked on none
of a filter's chunks gives 0. Sums need no clearing: flags say which of a position's exist.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import Layouts
from rtl.cluster.unit.mac import Mac, MacStep
from rtl.lib.component import Component
from rtl.lib.ram import Ram

__all__ = ["MergingMac"]


class MergingMac(Component):
    """Accumulate products into the sum of a filter of the pass.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    issue : In(MacStep)
        The step whose operands are addressed in this cycle. ``first`` and ``store`` are the first
        and last cycle of each chunk pair; ``from_zero`` is the very first one of a position: none
        of its sums exists. ``psum`` is position slot and home.
    activation : In(signed(9)), weight : In(signed(8))
        Its operands, ``OPERANDS`` cycles after issue.
    commit : In(1), committed : Out(1)
        A position is complete; ``LATENCY`` cycles later, when all that was issued before is in
        the memories that ``drain`` reads.
    drain : In(Layouts.drain), valid : In(1)
        Which sums to show; the unit has completed that position, else it has no part in it, and
        its flags may be of another one.
    results : Out(ArrayLayout(signed(32), collector_width))
        Sums of the position's filters ``beat * collector_width + lane``, one cycle after an
        enabled ``drain``; 0 where the unit has none.
    """

    OPERANDS = Mac.OPERANDS
    LATENCY = Mac.LATENCY

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "issue": In(MacStep(layouts)),
                "activation": In(signed(9)),
                "weight": In(signed(8)),
                "commit": In(1),
                "committed": Out(1),
                "drain": In(layouts.drain),
                "valid": In(1),
                "results": Out(data.ArrayLayout(signed(32), layouts.results)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step, commit = self.issue, self.commit
        steps = []
        for stage in range(self.LATENCY):
            delayed = Signal(MacStep(self._layouts), name=f"step{stage + 1}")
            delayed_commit = Signal(name=f"commit{stage + 1}")
            m.d.sync += [delayed.eq(step), delayed_commit.eq(commit)]
            step, commit = delayed, delayed_commit
            steps.append(step)
        m.d.comb += self.committed.eq(commit)

        activation, weight = Signal(signed(9)), Signal(signed(8))
        product = Signal(signed(17))
        m.d.sync += [
            activation.eq(self.activation),
            weight.eq(self.weight),
            product.eq(Mux(steps[self.OPERANDS].live, activation * weight, 0)),
        ]

        # A stage ahead of the sum: the stored one is read, or is just being written.
        ahead = steps[-2]
        m.submodules.psums = psums = Ram(signed(32), self._layouts.psums)
        store, forward = Signal(), Signal()
        running, total, base = (Signal(signed(32)) for _ in range(3))
        m.d.comb += [
            store.eq(step.valid & step.store),
            psums.read_address.eq(ahead.psum),
            psums.read_enable.eq(1),
            psums.write_address.eq(step.psum),
            psums.write_data.eq(total),
            psums.write_enable.eq(store),
        ]
        exists = Signal()
        m.d.sync += [
            forward.eq(store & (step.psum == ahead.psum)),
            exists.eq(self._flag(m, ahead)),
        ]
        with m.If(~step.first | (exists & forward)):
            m.d.comb += base.eq(running)
        with m.Elif(exists):
            m.d.comb += base.eq(psums.read_data)
        m.d.comb += total.eq(base + product)
        with m.If(step.valid):
            m.d.sync += running.eq(total)
        self._show(m, step.psum, total, store)
        return m

    def _flag(self, m: Module, step):
        """Note that a sum exists; return whether it did before.

        A row of flags for each position slot, one a home.
        """
        layouts = self._layouts
        homes = 1 << layouts.home_bits
        m.submodules.flags = flags = Memory(shape=homes, depth=layouts.position_slots, init=[])
        write, read = flags.write_port(), flags.read_port(domain="comb")
        shown = flags.read_port(domain="comb")
        home, position = step.psum[: layouts.home_bits], step.psum[layouts.home_bits :]
        before = Signal(homes)
        m.d.comb += [
            read.addr.eq(position),
            before.eq(Mux(step.from_zero, 0, read.data)),
            write.addr.eq(position),
            write.data.eq(before | (1 << home)),
            write.en.eq(step.valid & step.first),
            shown.addr.eq(self.drain.position),
        ]
        self._shown = Signal(1 << layouts.lane_bits)
        with m.If(self.drain.enable):
            m.d.sync += self._shown.eq(shown.data.word_select(self.drain.beat, len(self._shown)))
        return before.bit_select(home, 1)

    def _show(self, m: Module, psum, total, store) -> None:
        """A copy of the sums, a memory for each collector lane."""
        layouts = self._layouts
        lane_bits = layouts.lane_bits
        for lane in range(layouts.results):
            memory = Ram(signed(32), layouts.psums >> lane_bits)
            m.submodules[f"shown{lane}"] = memory
            m.d.comb += [
                memory.write_address.eq(psum >> lane_bits),
                memory.write_data.eq(total),
                memory.write_enable.eq(store & (psum[:lane_bits] == lane if lane_bits else 1)),
                memory.read_address.eq(Cat(self.drain.beat, self.drain.position)),
                memory.read_enable.eq(self.drain.enable),
                self.results[lane].eq(Mux(self._shown[lane] & self.valid, memory.read_data, 0)),
            ]
