"""Level 0: intersects the coordinates of two tiles, token after token.

    F[i] = S[i] + c[i]

The last decision on a token, or its end, loads the next token's lists.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersect import Intersect
from rtl.extensor.layouts import Layouts

__all__ = ["Level0"]


class Level0(wiring.Component):
    """Make pairs.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    move : In(1)
        The pipeline moves.
    work : In(stream of Layouts.work)
        Tokens, each with the tiles that it matched.
    work_now : Out(Layouts.work)
        The token that is worked on.
    pair, end : Out(1)
        A pair is multiplied; a dot ends. Only where the pipeline moves.
    below : Out(tile)
        Ones below the pair's coordinate.
    busy, bubble, idle : Out(1)
        What this cycle is: a pair; another decision or an end; none, before the program's end.

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
                "move": In(1),
                "work": In(stream.Signature(layouts.work)),
                "work_now": Out(layouts.work),
                "pair": Out(1),
                "end": Out(1),
                "below": Out(layouts.config.tile),
                "busy": Out(1),
                "bubble": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.intersect = intersect = Intersect(self._layouts.config.tile)
        valid, over, works = Signal(), Signal(), Signal()
        now = self.work_now
        m.d.comb += [
            works.eq(valid & self.move),
            intersect.enable.eq(works & ~now.is_end),
            self.work.ready.eq(self.move & (~valid | now.is_end | intersect.last)),
            intersect.load.eq(self.work.valid & self.work.ready),
            intersect.load_left.eq(self.work.p.row.mask),
            intersect.load_right.eq(self.work.p.column.mask),
            self.pair.eq(intersect.enable & intersect.match),
            self.end.eq(works & now.is_end),
            self.below.eq(intersect.below),
            self.busy.eq(self.pair),
            self.bubble.eq(works & ~self.pair),
            self.idle.eq(self.move & ~valid & ~over),
        ]
        with m.If(self.work.ready):
            m.d.sync += [valid.eq(self.work.valid), now.eq(self.work.p)]
        with m.If(self.end & now.end.final):
            m.d.sync += over.eq(1)
        with m.If(self.start):
            m.d.sync += [valid.eq(0), over.eq(0)]
        return m
