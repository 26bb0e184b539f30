"""The multiplier: value fetch, product, sum.

    sum += row value * column value; an end hands the sum on and begins anew

Values are packed: a value lies one place, that of the tile's coordinate and count, and as many
places as there are coordinates below its own, behind the place where its tile begins.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.bits import count_ones
from rtl.extensor.layouts import Layouts
from rtl.ram import ByteRam

__all__ = ["Multiply"]

#: Places of a mask that are counted in one stage.
_WORD_BITS = 16


class Multiply(wiring.Component):
    """Accumulate products.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    move : In(1)
        The pipeline moves.
    load : In(Layouts.load)
        What the loader writes; values are kept here.
    signed_activations : In(1)
        Column values are int8, else uint8.
    work : In(Layouts.work), below : In(tile), pair : In(1), end : In(1)
        Level 0's cycle.
    freed : Out(1), freed_end : Out(Layouts.end)
        Pulse: the last dot of a column has read its last value; which dot it is.
    total : Out(signed(32)), total_valid : Out(1), total_end : Out(Layouts.end)
        The sum of a dot, ``LATENCY`` moving cycles after its end.

    Notes
    -----
    ``FREED`` is the number of cycles from an end to ``freed``.
    """

    FREED = 2
    LATENCY = 6

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "move": In(1),
                "load": In(layouts.load),
                "signed_activations": In(1),
                "work": In(layouts.work),
                "below": In(layouts.config.tile),
                "pair": In(1),
                "end": In(1),
                "freed": Out(1),
                "freed_end": Out(layouts.end),
                "total": Out(signed(32)),
                "total_valid": Out(1),
                "total_end": Out(layouts.end),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pairs, ends, which = [self.pair], [self.end], [self.work.end]
        for stage in range(1, self.LATENCY + 1):
            pair, end = Signal(name=f"pair{stage}"), Signal(name=f"end{stage}")
            dot = Signal(self._layouts.end, name=f"dot{stage}")
            with m.If(self.start):
                m.d.sync += [pair.eq(0), end.eq(0)]
            with m.Elif(self.move):
                m.d.sync += [pair.eq(pairs[-1]), end.eq(ends[-1]), dot.eq(which[-1])]
            pairs.append(pair)
            ends.append(end)
            which.append(dot)
        # Values of all pairs before have been read when the end leaves this stage.
        freed = ends[self.FREED] & which[self.FREED].column_last
        m.d.comb += [self.freed.eq(freed & self.move), self.freed_end.eq(which[self.FREED])]

        row_value = self._value(m, "row", self.work.row, self.load.to_rows)
        column_value = self._value(m, "column", self.work.column, ~self.load.to_rows)
        weight, activation = Signal(signed(8)), Signal(signed(9))
        product, total = Signal(signed(17)), Signal(signed(32))
        with m.If(self.move):
            m.d.sync += [
                weight.eq(row_value),
                activation.eq(Cat(column_value, self.signed_activations & column_value[7])),
                product.eq(Mux(pairs[-2], weight * activation, 0)),
                total.eq(Mux(ends[-1], 0, total + product)),
            ]
        with m.If(self.start):
            m.d.sync += total.eq(0)
        m.d.comb += [
            self.total.eq(total),
            self.total_valid.eq(ends[-1]),
            self.total_end.eq(which[-1]),
        ]
        return m

    def _value(self, m: Module, name: str, tile, mine):
        """Return the value of the pair three stages before, from the row or column buffer."""
        layouts, load = self._layouts, self.load
        depth = layouts.row_beats if name == "row" else 2 * layouts.column_beats
        m.submodules[f"{name}_values"] = ram = ByteRam(layouts.lanes, depth)
        base_bits, words = len(tile.base), -(-layouts.config.tile // _WORD_BITS)
        lower = Signal(layouts.config.tile, name=f"{name}_lower")
        bases = [Signal(base_bits, name=f"{name}_base{stage}") for stage in (1, 2)]
        counts = Signal(data.ArrayLayout(_WORD_BITS.bit_length(), words), name=f"{name}_counts")
        address = Signal(ram.read_address.shape(), name=f"{name}_address")
        with m.If(self.move):
            m.d.sync += [
                lower.eq(tile.mask & self.below),
                bases[0].eq(tile.base),
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
            ram.read_enable.eq(self.move),
            ram.read_address.eq(address),
        ]
        return ram.read_data
