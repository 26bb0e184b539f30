"""The loader: from the load stream to row and column buffer, one beat a cycle.

    LD[j] = max(LD[j-1], free[j]) + bytes / port_bytes

It walks the item table: rows of the block, then columns of the run. Coordinates become masks as
they arrive; values stay packed, at the place in the buffer that they have in their beat.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import MAX_ITEMS, Layouts
from rtl.layouts import bits_for_count

__all__ = ["Loader"]

#: Width of a tile's pairs of bytes: up to 256 non-zeros, and its coordinate and count.
_COUNT_BITS = 9


class Loader(wiring.Component):
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
    item : Out(Layouts.item)
        The item whose rows are in the row buffer.
    load : Out(Layouts.load)
        What is written.
    freed : In(1), freed_end : In(Layouts.end)
        Pulse: the last dot of a column has read its last value; which dot it is.
    beat : Out(1)
        Pulse for the counter.

    Notes
    -----
    ``WRITE`` is the number of cycles from a beat to ``load`` in which it is written, ``FREE`` from
    ``freed`` to the first beat that may take the room.
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
                "item": Out(layouts.item),
                "load": Out(layouts.load),
                "freed": In(1),
                "freed_end": In(layouts.end),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, beat = self._layouts, self.beats.p
        go = Signal()
        to_rows, buffer, row = Signal(), Signal(), Signal(layouts.row_bits)
        load_end, fibre_end = Signal(), Signal()
        run_end = self._walk_loads(m, go, load_end, fibre_end, to_rows, buffer, row)

        # The tile: its first beat says how long it is.
        first, fibre_first = Signal(), Signal()
        left, pairs, tile_end = Signal(_COUNT_BITS), Signal(_COUNT_BITS), Signal()
        address = Signal(self.load.beat.shape())
        half = Mux(to_rows, buffer, ~buffer)  # of the column buffer, that is loaded next
        m.d.comb += [
            pairs.eq(Mux(first, beat.pairs[0].value + 2, left)),
            tile_end.eq(beat.empty | (pairs <= layouts.lanes)),
            fibre_end.eq(tile_end & beat.last),
            load_end.eq(fibre_end & (~to_rows | (row == self.item_row.rows_last))),
            self.beat.eq(go),
        ]
        with m.If(self.start):
            m.d.sync += [first.eq(1), fibre_first.eq(1), address.eq(0)]
        with m.Elif(go):
            m.d.sync += [
                first.eq(tile_end),
                fibre_first.eq(fibre_end),
                left.eq(pairs - layouts.lanes),
                address.eq(address + 1),
            ]
            with m.If(load_end):
                m.d.sync += address.eq(Mux(half & ~run_end, layouts.column_beats, 0))
        taken = data.StructLayout(
            {
                "valid": 1,
                "beat": layouts.beat,
                "to_rows": 1,
                "buffer": 1,
                "row": layouts.row_bits,
                "first": 1,
                "fibre_first": 1,
                "tile_end": 1,
                "fibre_end": 1,
                "pairs": _COUNT_BITS,
                "address": len(address),
            }
        )
        stage = Signal(taken)
        m.d.sync += [
            stage.valid.eq(go),
            stage.beat.eq(beat),
            stage.to_rows.eq(to_rows),
            stage.buffer.eq(buffer),
            stage.row.eq(row),
            stage.first.eq(first),
            stage.fibre_first.eq(fibre_first),
            stage.tile_end.eq(tile_end),
            stage.fibre_end.eq(fibre_end),
            stage.pairs.eq(pairs),
            stage.address.eq(address),
        ]
        self._write(m, stage)
        return m

    def _walk_loads(self, m: Module, go, load_end, fibre_end, to_rows, buffer, row):
        """Where the program is, and whether its next beat may be taken; return a run's end."""
        item = self.item_row
        running, fresh = Signal(), Signal()  # fresh: the next beat is the first of its load
        number, next_number = (Signal(bits_for_count(MAX_ITEMS)) for _ in range(2))
        column, run_end = Signal(24), Signal()
        rows_busy, columns_busy = Signal(), Signal(2)
        busy = Mux(to_rows, rows_busy, columns_busy.bit_select(buffer, 1))
        m.d.comb += [
            self.beats.ready.eq(running & ~(fresh & busy)),
            go.eq(self.beats.valid & self.beats.ready),
            run_end.eq(go & load_end & ~to_rows & (column == item.columns_last)),
            next_number.eq(Mux(self.start, 0, number + run_end)),
            self.item_address.eq(next_number),
        ]
        m.d.sync += number.eq(next_number)
        with m.If(self.freed):
            m.d.sync += columns_busy.bit_select(self.freed_end.buffer, 1).eq(0)
            with m.If(self.freed_end.item_last):
                m.d.sync += rows_busy.eq(0)
        with m.If(self.start):
            m.d.sync += [running.eq(1), fresh.eq(1), to_rows.eq(1), buffer.eq(0)]
            m.d.sync += [row.eq(0), column.eq(0), rows_busy.eq(0), columns_busy.eq(0)]
        with m.Elif(go):
            m.d.sync += fresh.eq(load_end)
            with m.If(fresh & to_rows):
                m.d.sync += rows_busy.eq(1)
            with m.If(fresh & ~to_rows):
                m.d.sync += columns_busy.bit_select(buffer, 1).eq(1)
            with m.If(fibre_end & to_rows):
                m.d.sync += row.eq(Mux(load_end, 0, row + 1))
            with m.If(load_end & to_rows):
                m.d.sync += [to_rows.eq(0), self.item.eq(item)]
            with m.If(load_end & ~to_rows):
                m.d.sync += [buffer.eq(~buffer), column.eq(column + 1)]
            with m.If(run_end):
                m.d.sync += [to_rows.eq(1), column.eq(0), running.eq(~item.final)]
        return run_end

    def _write(self, m: Module, stage) -> None:
        """Coordinates to masks."""
        layouts, load = self._layouts, self.load
        tile, base = Signal(8), Signal(load.base.shape())
        mask, tiles = Signal(load.mask.shape()), Signal(layouts.tiles)
        now_tile, now_mask = Signal.like(tile), Signal.like(mask)
        present = stage.valid & ~stage.beat.empty
        coordinates = 0
        for lane in range(layouts.lanes):
            here = (stage.pairs > lane) & (~stage.first if lane == 0 else 1)
            coordinates |= Mux(here, 1 << stage.beat.pairs[lane].coordinate, 0)
        m.d.comb += [
            now_tile.eq(Mux(stage.first, stage.beat.pairs[0].coordinate, tile)),
            now_mask.eq(coordinates | Mux(stage.first, 0, mask)),
            load.to_rows.eq(stage.to_rows),
            load.row.eq(stage.row),
            load.buffer.eq(stage.buffer),
            load.values_valid.eq(present),
            load.values.eq(Cat(pair.value for pair in stage.beat.pairs)),
            load.beat.eq(stage.address),
            load.tile_valid.eq(present & stage.tile_end),
            load.tile.eq(now_tile),
            load.mask.eq(now_mask),
            load.base.eq(Mux(stage.first, stage.address, base)),
            load.fibre_valid.eq(stage.valid & stage.fibre_end),
            load.tiles.eq(
                Mux(stage.beat.empty, 0, 1 << now_tile) | Mux(stage.fibre_first, 0, tiles)
            ),
        ]
        with m.If(stage.valid):
            m.d.sync += [
                tile.eq(now_tile),
                mask.eq(now_mask),
                base.eq(load.base),
                tiles.eq(load.tiles),
            ]
