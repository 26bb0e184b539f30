"""Which units hold each of a few places: chunk slots, filter buffers."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data

__all__ = ["track_holders"]


def track_holders(m: Module, units, begins: list, retired) -> Signal:
    """Return for each place whether a unit that held it has not retired from it by now.

    Parameters
    ----------
    units : unsigned(units)
        Who holds a place from the next cycle on where it begins.
    begins : list of unsigned(1)
        By place: it begins to be held.
    retired : ArrayLayout(places, units)
        Pulses, of each unit.
    """
    busy = Signal(data.ArrayLayout(len(units), len(begins)))
    stays_busy = Signal(len(begins))
    for number, begin in enumerate(begins):
        left = busy[number] & ~Cat(places[number] for places in retired)
        m.d.comb += stays_busy[number].eq(left.any())
        m.d.sync += busy[number].eq(left | Mux(begin, units, 0))
    return stays_busy
