"""The rows of the pass table, in order, read ahead."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import MAX_PASSES, Layouts
from rtl.lib.component import Component
from rtl.lib.fifo import CreditFifo
from rtl.lib.widths import bits_for_count

__all__ = ["PassReader"]


class PassReader(Component):
    """Read row after row; more than a layer has, but nobody asks for them.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first row.
    address : Out, data : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    valid : Out(1), row : Out(Layouts.pass_row), next : In(1)
        The present row; the next one follows in the next cycle.

    Notes
    -----
    The first row is valid ``LATENCY`` cycles after the one that follows ``start``.
    """

    LATENCY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "address": Out(bits_for_count(MAX_PASSES)),
                "data": In(layouts.pass_row),
                "valid": Out(1),
                "row": Out(layouts.pass_row),
                "next": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rows = rows = CreditFifo(self._layouts.pass_row)
        running, arrives = Signal(), Signal()
        number = Signal.like(self.address)  # of the row that arrives
        m.d.comb += [
            arrives.eq(running & rows.room),
            self.address.eq(Mux(self.start, 0, number + arrives)),
            rows.clear.eq(self.start),
            rows.enter.eq(arrives),
            rows.push.eq(arrives),
            rows.item.eq(self.data),
            rows.pop.eq(self.next),
            self.valid.eq(rows.valid),
            self.row.eq(rows.head),
        ]
        m.d.sync += number.eq(self.address)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        return m
