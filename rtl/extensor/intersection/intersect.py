"""The skip-ahead intersect unit: one decision a cycle on two sorted lists of coordinates.

    equal: a match, both move on by one; else the smaller skips to the other's, or past it

Lists are masks of what is left of them, so that a skip, however far, is an AND: a list loses all
that lies below the other's lowest coordinate. This is the content-addressed scanner of the paper.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component

__all__ = ["Intersect", "from_lowest"]


#: Places that one carry chain covers.
_SEGMENT_BITS = 32


def from_lowest(m: Module, bits) -> Signal:
    """Return for each bit whether it or one below it is one: a carry chain in each segment."""
    result = Signal(len(bits))
    segments = [bits[at : at + _SEGMENT_BITS] for at in range(0, len(bits), _SEGMENT_BITS)]
    some = Signal(len(segments))
    m.d.comb += some.eq(Cat(segment.any() for segment in segments))
    for number, segment in enumerate(segments):
        here = Signal(len(segment))
        m.d.comb += here.eq(segment | -segment)
        at = number * _SEGMENT_BITS
        before = some[:number].any() if number else Const(0, 1)
        m.d.comb += result[at : at + len(segment)].eq(here | before.replicate(len(segment)))
    return result


class Intersect(Component):
    """Intersect two lists.

    Parameters
    ----------
    width : int
        Coordinates are 0 to ``width - 1``.

    Members
    -------
    load : In(1), load_left, load_right : In(width)
        The lists, as masks; the first decision may be made in the next cycle.
    enable : In(1)
        Make a decision; neither list may be used up.
    used_up : Out(1)
        At least one list is used up.
    last : Out(1)
        This cycle's decision uses a list up.
    match : Out(1)
        This cycle's decision is a match.
    hit, below : Out(width)
        Its coordinate, one-hot, and ones below it.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                "load": In(1),
                "load_left": In(width),
                "load_right": In(width),
                "enable": In(1),
                "used_up": Out(1),
                "last": Out(1),
                "match": Out(1),
                "hit": Out(width),
                "below": Out(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left, right = Signal(self._width), Signal(self._width)
        # Places from each list's lowest one on: kept, because they begin every decision.
        from_left, from_right = Signal(self._width), Signal(self._width)
        m.d.comb += [
            self.match.eq(~(left & ~from_right).any() & ~(right & ~from_left).any()),
            self.used_up.eq(~from_left[-1] | ~from_right[-1]),
            self.below.eq(~from_left),
            self.hit.eq(left & ~Cat(0, from_left[:-1])),
        ]
        # What is left, were it a match or not: both at once, then the choice.
        ends = []
        for mine, mine_from, other_from, loaded in (
            (left, from_left, from_right, self.load_left),
            (right, from_right, from_left, self.load_right),
        ):
            matched, skipped = Signal(self._width), Signal(self._width)
            m.d.comb += [matched.eq(mine & Cat(0, other_from[:-1])), skipped.eq(mine & other_from)]
            from_matched, from_skipped = from_lowest(m, matched), from_lowest(m, skipped)
            ends.append(Mux(self.match, ~from_matched[-1], ~from_skipped[-1]))
            with m.If(self.load):
                m.d.sync += [mine.eq(loaded), mine_from.eq(from_lowest(m, loaded))]
            with m.Elif(self.enable):
                m.d.sync += [
                    mine.eq(Mux(self.match, matched, skipped)),
                    mine_from.eq(Mux(self.match, from_matched, from_skipped)),
                ]
        m.d.comb += self.last.eq(ends[0] | ends[1])
        return m
