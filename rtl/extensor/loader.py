"""The loader: lists and tile pairs from the load stream to masks and packed values.

LD[j] = max(LD[j-1], R[j]) + b[j]
pair: R = max(T, F[pair two before] + LOAD_FREE), end: R = max(E, F[end before] + LOAD_FREE)
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import MAX_ITEMS, Layouts
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["Loader"]

#: Width of a fibre's pairs of bytes: up to 256 non-zeros, and its number and count.
_COUNT_BITS = 9


class Loader(Component):
    """Take the load stream, and write what it holds into the buffers.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first item.
    beats : In(stream of Layouts.beat)
        The load stream; taken from the cycle after start on.
    item_address : Out, item_row : In(Layouts.item)
        Read port of the item table, data one cycle after its address.
    list : Out(Layouts.list)
        A list as it arrives.
    available, over : In(1)
        The tile level has a match that is not taken; it has no more of this item.
    taken : Out(1)
        Pulse: a tile pair begins.
    load : Out(Layouts.load)
        What is written.
    ended : Out(Layouts.item)
        The item of the end that is under way.
    freed_pair, freed_buffer, freed_end : In(1)
        Pulses: the last values of a tile pair, in this buffer, or of an item have been read.
    beat : Out(1)
        Pulse for the counter.

    Notes
    -----
    ``WRITE`` is the number of cycles from a beat to ``load`` or ``list``, ``FREE`` from
    ``freed_pair`` to the first beat that may take the room.
    """

    WRITE = 1
    FREE = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "beats": In(stream.Signature(layouts.beat)),
                "item_address": Out(bits_for_count(MAX_ITEMS)),
                "item_row": In(layouts.item),
                "list": Out(layouts.list),
                "available": In(1),
                "over": In(1),
                "taken": Out(1),
                "load": Out(layouts.load),
                "ended": Out(layouts.item),
                "freed_pair": In(1),
                "freed_buffer": In(1),
                "freed_end": In(1),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, beat = self._layouts, self.beats.p
        go, ends, in_lists, of_columns, buffer = (Signal() for _ in range(5))
        self._walk(m, go, ends, in_lists, of_columns, buffer)

        # The fibre: its first beat says how long it is.
        first, fibre_end = Signal(), Signal()
        left, pairs = Signal(_COUNT_BITS), Signal(_COUNT_BITS)
        address = Signal(layouts.base_bits)
        place, rows_last = Signal(layouts.fibre_bits), Signal(layouts.row_bits)
        next_half = Mux(of_columns ^ buffer, layouts.tile_beats, 0)
        m.d.comb += [
            pairs.eq(Mux(first, beat.pairs[0].value + 2, left)),
            fibre_end.eq(Mux(in_lists, beat.last, pairs <= layouts.lanes)),
        ]
        with m.If(self.start):
            m.d.sync += [first.eq(1), address.eq(0), place.eq(0)]
        with m.Elif(go):
            m.d.sync += [first.eq(fibre_end), left.eq(pairs - layouts.lanes)]
            with m.If(~in_lists):
                m.d.sync += [
                    address.eq(Mux(beat.last, next_half, address + 1)),
                    place.eq(Mux(beat.last, 0, place + fibre_end)),
                ]
                with m.If(~of_columns):
                    m.d.sync += rows_last.eq(place)
        with m.If(ends):
            m.d.sync += self.ended.eq(self.item_row)
        taken = data.StructLayout(
            {
                "valid": 1,
                "ends": 1,
                "in_lists": 1,
                "beat": layouts.beat,
                "of_columns": 1,
                "buffer": 1,
                "first": 1,
                "fibre_end": 1,
                "pairs": _COUNT_BITS,
                "address": layouts.base_bits,
                "place": layouts.fibre_bits,
            }
        )
        stage = Signal(taken)
        m.d.sync += [
            stage.valid.eq(go),
            stage.ends.eq(ends),
            stage.in_lists.eq(in_lists),
            stage.beat.eq(beat),
            stage.of_columns.eq(of_columns),
            stage.buffer.eq(buffer),
            stage.first.eq(first),
            stage.fibre_end.eq(fibre_end),
            stage.pairs.eq(pairs),
            stage.address.eq(address),
            stage.place.eq(place),
        ]
        m.d.comb += [
            self.beat.eq(go),
            self.list.valid.eq(stage.valid & stage.in_lists),
            self.list.bits.eq(stage.beat.pairs),
            self.list.first.eq(stage.first),
            self.list.last.eq(stage.beat.last),
            self.list.of_columns.eq(stage.of_columns),
        ]
        self._write(m, stage, rows_last)
        return m

    def _walk(self, m: Module, go, ends, in_lists, of_columns, buffer) -> None:
        """Where the program is, and whether its next beat may be taken."""
        running, fresh = Signal(), Signal()  # fresh: between tile pairs
        number, next_number = (Signal(bits_for_count(MAX_ITEMS)) for _ in range(2))
        busy, end_busy = Signal(2), Signal()
        load_end = go & self.beats.p.last & of_columns
        may_begin = self.available & ~busy.bit_select(buffer, 1)
        m.d.comb += [
            self.beats.ready.eq(running & (in_lists | ~fresh | may_begin)),
            go.eq(self.beats.valid & self.beats.ready),
            self.taken.eq(go & ~in_lists & fresh),
            ends.eq(running & ~in_lists & fresh & self.over & ~end_busy),
            next_number.eq(Mux(self.start, 0, number + ends)),
            self.item_address.eq(next_number),
        ]
        m.d.sync += number.eq(next_number)
        with m.If(self.freed_pair):
            m.d.sync += busy.bit_select(self.freed_buffer, 1).eq(0)
        with m.If(self.freed_end):
            m.d.sync += end_busy.eq(0)
        with m.If(go):
            m.d.sync += of_columns.eq(of_columns ^ self.beats.p.last)
            with m.If(load_end & in_lists):
                m.d.sync += in_lists.eq(0)
            with m.If(~in_lists):
                m.d.sync += fresh.eq(load_end)
                with m.If(load_end):
                    m.d.sync += buffer.eq(~buffer)
        with m.If(self.taken):
            m.d.sync += busy.bit_select(buffer, 1).eq(1)
        with m.If(ends):
            m.d.sync += [in_lists.eq(1), end_busy.eq(1), running.eq(~self.item_row.final)]
        with m.If(self.start):
            m.d.sync += [running.eq(1), fresh.eq(1), in_lists.eq(1), of_columns.eq(0)]
            m.d.sync += [buffer.eq(0), busy.eq(0), end_busy.eq(0)]

    def _write(self, m: Module, stage, rows_last) -> None:
        """Coordinates to masks."""
        layouts, load = self._layouts, self.load
        before, now = Signal(layouts.fibre), load.fibre
        present = stage.valid & ~stage.in_lists
        coordinates = 0
        for lane in range(layouts.lanes):
            here = (stage.pairs > lane) & (~stage.first if lane == 0 else 1)
            coordinates |= Mux(here, 1 << stage.beat.pairs[lane].coordinate, 0)
        m.d.comb += [
            now.mask.eq(coordinates | Mux(stage.first, 0, before.mask)),
            now.base.eq(Mux(stage.first, stage.address, before.base)),
            now.number.eq(Mux(stage.first, stage.beat.pairs[0].coordinate, before.number)),
            load.of_columns.eq(stage.of_columns),
            load.buffer.eq(stage.buffer),
            load.values_valid.eq(present),
            load.values.eq(Cat(pair.value for pair in stage.beat.pairs)),
            load.beat.eq(stage.address),
            load.fibre_valid.eq(present & stage.fibre_end),
            load.place.eq(stage.place),
            load.task_valid.eq(stage.ends | (present & stage.of_columns & stage.beat.last)),
            load.task.is_end.eq(stage.ends),
            load.task.buffer.eq(stage.buffer),
            load.task.rows_last.eq(rows_last),
            load.task.columns_last.eq(stage.place),
        ]
        with m.If(stage.valid):
            m.d.sync += before.eq(now)
