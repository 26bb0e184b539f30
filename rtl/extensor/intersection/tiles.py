"""The tile level: the lists of an item's block and run to tile pairs, one decision a cycle.

    T[pair] = LD[lists] + LISTS + decisions up to and with its match

Decisions run ahead of the loads: all that the loader need know is how many matches there are that
it has not taken, since the load stream has the pairs in order.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersection.intersect import Intersect
from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component

__all__ = ["TileLevel"]


class TileLevel(Component):
    """Find tile pairs.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    list : In(Layouts.list)
        Lists as they arrive; that of the run is the second.
    taken : In(1)
        Pulse: the loader begins a tile pair.
    available : Out(1)
        There is a match that has not been taken.
    over : Out(1)
        There is none, and there will be none of this item.
    decides, match : Out(1)
        A decision is made in this cycle; it is a match.

    Notes
    -----
    ``READY`` is the number of cycles from ``list`` to the first decision.
    """

    READY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "list": In(layouts.list),
                "taken": In(1),
                "available": Out(1),
                "over": Out(1),
                "decides": Out(1),
                "match": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        tiles, part = self._layouts.tiles, self.list
        m.submodules.intersect = intersect = Intersect(tiles)
        width = len(part.bits)
        count = max(1, tiles // width)
        before, now, left = Signal(tiles), Signal(tiles), Signal(tiles)
        next_place, place = Signal(range(count + 1)), Signal(range(count + 1))
        spread = Cat(Mux(place == at, part.bits, 0)[:width] for at in range(count))
        matches = Signal(range(tiles + 1))  # not taken
        m.d.comb += [
            place.eq(Mux(part.first, 0, next_place)),
            now.eq(Mux(part.first, 0, before) | spread),
            intersect.load.eq(part.valid & part.last & part.of_columns),
            intersect.load_left.eq(left),
            intersect.load_right.eq(now),
            intersect.enable.eq(self.decides),
            self.decides.eq(~intersect.used_up),
            self.match.eq(self.decides & intersect.match),
            self.available.eq(matches != 0),
            self.over.eq((matches == 0) & intersect.used_up & ~intersect.load),
        ]
        m.d.sync += matches.eq(Mux(self.start, 0, matches + self.match - self.taken))
        with m.If(part.valid):
            m.d.sync += [before.eq(now), next_place.eq(place + 1)]
            with m.If(part.last & ~part.of_columns):
                m.d.sync += left.eq(now)
        return m
