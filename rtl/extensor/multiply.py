"""The multiplier: value fetch, product, and the sum of a fibre pair.

Values are packed: a value lies one place, that of the fibre's number and count, and as many
places as there are coordinates below its own, behind the place where its fibre begins.
"""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import Layouts
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.ram import ByteRam

__all__ = ["Multiply"]

#: Places of a mask that are counted in one stage.
_WORD_BITS = 16


class Multiply(Component):
    """Multiply.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    load : In(Layouts.load)
        What the loader writes; values are kept here.
    signed_activations : In(1)
        Column values are int8, else uint8.
    work : In(Layouts.work), below : In(tile), pair, close, end : In(1)
        The scalar level's cycle.
    freed_pair, freed_buffer, freed_end : Out(1)
        Pulses: the last values of a tile pair, in this buffer, or of an item have been read.
    place : Out(Layouts.place), place_next : Out(1)
        Which sum ``total`` will belong to in the next cycle, if there is one.
    total : Out(signed(32)), total_valid : Out(1)
        The sum of a fibre pair.
    ended : Out(1)
        All sums of the item have been valid.

    Notes
    -----
    ``FREED`` is the number of cycles from ``close`` or ``end`` to ``freed``, ``LATENCY`` to
    ``total_valid`` or ``ended``.
    """

    FREED = 2
    LATENCY = 6

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "load": In(layouts.load),
                "signed_activations": In(1),
                "work": In(layouts.work),
                "below": In(layouts.config.tile),
                "pair": In(1),
                "close": In(1),
                "end": In(1),
                "freed_pair": Out(1),
                "freed_buffer": Out(1),
                "freed_end": Out(1),
                "place": Out(layouts.place),
                "place_next": Out(1),
                "total": Out(signed(32)),
                "total_valid": Out(1),
                "ended": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        flags = data.StructLayout(
            {
                "pair": 1,
                "close": 1,
                "end": 1,
                "last": 1,
                "buffer": 1,
                "place": self._layouts.place,
            }
        )
        stages = [Signal(flags, name=f"stage{at}") for at in range(self.LATENCY + 1)]
        m.d.comb += [
            stages[0].pair.eq(self.pair),
            stages[0].close.eq(self.close),
            stages[0].end.eq(self.end),
            stages[0].last.eq(self.work.last),
            stages[0].buffer.eq(self.work.buffer),
            stages[0].place.row.eq(self.work.row.number),
            stages[0].place.column.eq(self.work.column.number),
        ]
        for before, after in pairwise(stages):
            m.d.sync += after.eq(Mux(self.start, 0, before))
        # Values of all pairs before have been read when this stage is left.
        freed, late, now = stages[self.FREED], stages[-2], stages[-1]

        row_value = self._value(m, "row", self.work.row, ~self.load.of_columns)
        column_value = self._value(m, "column", self.work.column, self.load.of_columns)
        weight, activation = Signal(signed(8)), Signal(signed(9))
        product, before = Signal(signed(17)), Signal(signed(32))
        m.d.sync += [
            weight.eq(row_value),
            activation.eq(Cat(column_value, self.signed_activations & column_value[7])),
            product.eq(Mux(late.pair, weight * activation, 0)),
            before.eq(Mux(self.start | now.close, 0, self.total)),
        ]
        m.d.comb += [
            self.freed_pair.eq(freed.close & freed.last),
            self.freed_buffer.eq(freed.buffer),
            self.freed_end.eq(freed.end),
            self.place.eq(late.place),
            self.place_next.eq(late.close),
            self.total.eq(before + product),
            self.total_valid.eq(now.close),
            self.ended.eq(now.end),
        ]
        return m

    def _value(self, m: Module, name: str, fibre, mine):
        """Return the value of the pair three stages before, from the row or column buffer."""
        layouts, load = self._layouts, self.load
        m.submodules[f"{name}_values"] = ram = ByteRam(layouts.lanes, 2 * layouts.tile_beats)
        base_bits, words = layouts.base_bits, -(-layouts.config.tile // _WORD_BITS)
        lower = Signal(layouts.config.tile, name=f"{name}_lower")
        bases = [Signal(base_bits, name=f"{name}_base{stage}") for stage in (1, 2)]
        counts = Signal(data.ArrayLayout(_WORD_BITS.bit_length(), words), name=f"{name}_counts")
        address = Signal(ram.read_address.shape(), name=f"{name}_address")
        m.d.sync += [
            lower.eq(fibre.mask & self.below),
            bases[0].eq(fibre.base),
            bases[1].eq(bases[0]),
            address.eq(
                Cat(Const(0, layouts.lane_bits), bases[1])
                + 1
                + sum((counts[word] for word in range(words)), 0)
            ),
        ]
        m.d.sync += [
            counts[word].eq(count_ones(lower[_WORD_BITS * word :][:_WORD_BITS]))
            for word in range(words)
        ]
        m.d.comb += [
            ram.write_enable.eq(load.values_valid & mine),
            ram.write_address.eq(load.beat),
            ram.write_data.eq(load.values),
            ram.read_enable.eq(1),
            ram.read_address.eq(address),
        ]
        return ram.read_data
