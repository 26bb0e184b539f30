"""The scalar level: coordinates of a fibre pair to pairs of values, one decision a cycle.

S[i] = max(F[i-1], LD[i] + LOAD, W[i]), F[i] = S[i] + c[i]
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersection.intersect import Intersect
from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component

__all__ = ["ScalarLevel"]


class ScalarLevel(Component):
    """Make pairs.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    work : In(stream of Layouts.work)
        Fibre pairs and ends.
    draining : In(1)
        Sums are handed out: ends wait.
    final : In(1)
        The end that comes next is the program's last.
    work_now : Out(Layouts.work)
        What is worked on.
    pair : Out(1), below : Out(tile)
        A pair is multiplied; ones below its coordinate.
    close, end : Out(1)
        A fibre pair, or an item, has its last cycle.
    bubble, held, idle : Out(1)
        What a cycle without a pair is: another decision or an end; an end that waits; nothing to
        do, before the program's end.

    Notes
    -----
    ``LATENCY`` is the number of cycles from ``work`` to the first decision.
    """

    LATENCY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "work": In(stream.Signature(layouts.work)),
                "draining": In(1),
                "final": In(1),
                "work_now": Out(layouts.work),
                "pair": Out(1),
                "below": Out(layouts.config.tile),
                "close": Out(1),
                "end": Out(1),
                "bubble": Out(1),
                "held": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.intersect = intersect = Intersect(self._layouts.config.tile)
        valid, over = Signal(), Signal()
        now = self.work_now
        m.d.comb += [
            intersect.enable.eq(valid & ~now.is_end),
            intersect.load.eq(self.work.valid & self.work.ready),
            intersect.load_left.eq(self.work.p.row.mask),
            intersect.load_right.eq(self.work.p.column.mask),
            self.work.ready.eq(~valid | self.close | self.end),
            self.pair.eq(intersect.enable & intersect.match),
            self.below.eq(intersect.below),
            self.close.eq(intersect.enable & intersect.last),
            self.end.eq(valid & now.is_end & ~self.draining),
            self.bubble.eq((intersect.enable & ~intersect.match) | self.end),
            self.held.eq(valid & now.is_end & self.draining),
            self.idle.eq(~valid & ~over),
        ]
        with m.If(self.work.ready):
            m.d.sync += [valid.eq(self.work.valid), now.eq(self.work.p)]
        with m.If(self.end & self.final):
            m.d.sync += over.eq(1)
        with m.If(self.start):
            m.d.sync += [valid.eq(0), over.eq(0)]
        return m
