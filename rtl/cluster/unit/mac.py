"""Multiply-accumulate with partial sums and result registers.

    sum[filter slot] = (first ? stored or 0 : sum[filter slot]) + activation * weight

The operands are read from memories outside: ``issue`` is the cycle in which their addresses
are computed, the accumulator moves ``LATENCY`` cycles later.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import Layouts
from rtl.lib.component import Component

__all__ = ["Mac", "MacStep"]


class MacStep(data.StructLayout):
    """What goes with a pair, from its issue to the accumulator.

    Members
    -------
    valid : unsigned(1)
        A pair or a bubble is issued.
    live : unsigned(1)
        There is a pair and neither operand is zero.
    slot : unsigned
        Filter slot.
    first : unsigned(1)
        First cycle of a filter in a (position, segment): the sum begins anew.
    from_zero : unsigned(1)
        It begins from zero, else from the stored partial sum.
    store : unsigned(1)
        Last cycle of a filter in a (position, segment) that does not complete its position.
    psum : unsigned
        Address of the partial sum.
    """

    def __init__(self, layouts: Layouts) -> None:
        slots = layouts.config.filters_per_unit
        super().__init__(
            {
                "valid": 1,
                "live": 1,
                "slot": max(1, slots.bit_length() - 1),
                "first": 1,
                "from_zero": 1,
                "store": 1,
                "psum": max(1, (max(1, layouts.psums) - 1).bit_length()),
            }
        )


class Mac(Component):
    """Accumulate products into the sum of a filter slot.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    issue : In(MacStep)
        The step whose operands are addressed in this cycle.
    activation : In(signed(9)), weight : In(signed(8))
        Its operands, ``OPERANDS`` cycles after issue.
    commit : In(1)
        Move the sums of all pairs issued before into the result registers.
    results : Out(ArrayLayout(signed(32), filters_per_unit))
        Result registers; they change ``LATENCY + 1`` cycles after commit.
    committed : Out(1)
        ``commit``, one cycle before the result registers change.
    """

    OPERANDS = 3
    LATENCY = 5

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "issue": In(MacStep(layouts)),
                "activation": In(signed(9)),
                "weight": In(signed(8)),
                "commit": In(1),
                "results": Out(data.ArrayLayout(signed(32), layouts.config.filters_per_unit)),
                "committed": Out(1),
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

        # Between memory, multiplier and sum there is nothing but wires: each takes most of a cycle.
        activation, weight = Signal(signed(9)), Signal(signed(8))
        product = Signal(signed(17))
        m.d.sync += [
            activation.eq(self.activation),
            weight.eq(self.weight),
            product.eq(Mux(steps[self.OPERANDS].live, activation * weight, 0)),
        ]

        stored = Const(0)
        total = Signal(signed(32))
        if depth := self._layouts.psums:
            m.submodules.psums = memory = Memory(shape=signed(32), depth=depth, init=[])
            write = memory.write_port()
            read = memory.read_port(transparent_for=(write,))
            stored = read.data
            m.d.comb += [
                read.addr.eq(steps[-2].psum),
                write.addr.eq(step.psum),
                write.data.eq(total),
                write.en.eq(step.valid & step.store),
            ]
        sums = Signal(self.results.shape())
        base = Mux(step.first, Mux(step.from_zero, 0, stored), sums[step.slot])
        m.d.comb += total.eq(base + product)
        with m.If(step.valid):
            m.d.sync += sums[step.slot].eq(total)
        with m.If(commit):
            m.d.sync += self.results.eq(sums)
        return m
