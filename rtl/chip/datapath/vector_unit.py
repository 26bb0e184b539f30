"""The vector unit's walk: write bursts, their pieces, and the taps of a piece, one a cycle.

    P[w] = max(P[w-1], done[t] + ENCODE, A[v] + FILL, A[w - write_bursts] + CREDIT) + pieces(w) taps

Bursts follow from the tile's record and its layer's descriptor, so the unit is ahead of the list.
What a tap's bytes become: ``rtl.chip.datapath.vector_pipeline``.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.chip.config import CHIP_LATENCY
from golden.chip.formats import VectorOp
from rtl.chip.control.payloads import DESCRIPTOR, RECORD, RECORDS, TILE_BITS, Payloads
from rtl.lib.component import Component

__all__ = ["VectorUnit", "tap_layout"]


def tap_layout(payloads: Payloads) -> data.StructLayout:
    """Return a tap of a piece: one cycle of the vector unit.

    ``y``, ``x`` in the half's map; ``channel`` of the piece's first byte; ``first`` and ``last``
    tap of the piece; ``size`` of the piece; ``offset`` of its burst, whose last piece it is with
    ``burst_last``; ``slot`` of the descriptor, ``place`` of the record.
    """
    config = payloads.config
    return data.StructLayout(
        {
            "valid": 1,
            "y": signed(18),
            "x": signed(18),
            "channel": 16,
            "first": 1,
            "last": 1,
            "size": range(config.vector_lanes + 1),
            "offset": (config.burst_bytes - 1).bit_length(),
            "burst_last": 1,
            "half": 1,
            "slot": 1,
            "place": (RECORDS - 1).bit_length(),
        }
    )


class VectorUnit(Component):
    """Walk through tile after tile.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    descriptors, records, slots, record_count : In
        Of ``rtl.chip.control.program_store.ProgramStore``.
    done_count : In(TILE_BITS)
        Tiles that are done: from done[t] + 1 on.
    residual_arrived : In(24), residual_taken : Out, residual_ready : Out(1),
    residual_release : Out(1), write_free : In(1), half_read : Out(1)
        As in ``rtl.chip.signatures.core_signature``.
    tap : Out(tap_layout)
        What the pipeline is to do.
    burst : Out(1), burst_bytes : Out, burst_step : Out(17), burst_last : Out(1)
        A burst is at its last tap: its bytes, the step to the next one, whether its entry ends.
    stalled : Out(1)
        Only a residual is missing.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        config = payloads.config
        super().__init__(
            {
                "descriptors": In(data.ArrayLayout(DESCRIPTOR, 2)),
                "records": In(data.ArrayLayout(RECORD, RECORDS)),
                "slots": In(RECORDS),
                "record_count": In(TILE_BITS),
                "done_count": In(TILE_BITS),
                "residual_arrived": In(24),
                "residual_ready": Out(1),
                "residual_taken": Out(range(config.vector_lanes + 1)),
                "residual_release": Out(1),
                "write_free": In(1),
                "half_read": Out(1),
                "tap": Out(tap_layout(payloads)),
                "burst": Out(1),
                "burst_bytes": Out(range(config.burst_bytes + 1)),
                "burst_step": Out(17),
                "burst_last": Out(1),
                "stalled": Out(1),
            }
        )
        offset_bits = (config.burst_bytes - 1).bit_length()
        #: Where the walk stands; kept from tile to tile of a layer but for what is left.
        self._place = data.StructLayout(
            {
                "column": 16,  # of the output pixel
                "y": signed(18),  # window's corner
                "x": signed(18),
                "offset": offset_bits,  # next byte's address modulo burst_bytes
                "pixel_left": 16,
                "entry_left": 24,
                "tile_left": 32,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._tile, self._loaded = Signal(TILE_BITS), Signal()
        tile_index = self._tile[: (RECORDS - 1).bit_length()]
        slot = Signal()
        layer = Signal(DESCRIPTOR)
        m.d.comb += [
            slot.eq(self.slots.bit_select(tile_index, 1)),
            layer.eq(self.descriptors[slot]),
        ]
        place, after = Signal(self._place), Signal(self._place)
        burst_left, size, can_go = Signal(self.burst_bytes.shape()), Signal(16), Signal()
        piece_end, burst_end, tile_end = Signal(), Signal(), Signal()
        computed, empty, tapping = Signal(), Signal(), Signal()
        fresh = Signal(init=1)  # the next tap is its burst's first
        length, kept_left = Signal.like(burst_left), Signal.like(burst_left)
        begin_offset, offset = Signal.like(place.offset), Signal.like(place.offset)
        contiguous = layer.pixel_stride == layer.out_channels
        lanes = self._payloads.config.vector_lanes
        run_left = Mux(contiguous, place.entry_left, place.pixel_left)
        to_edge = self._payloads.config.burst_bytes - place.offset
        m.d.comb += [
            length.eq(Mux(run_left < to_edge, run_left, to_edge)),
            burst_left.eq(Mux(fresh, length, kept_left)),
            offset.eq(Mux(fresh, place.offset, begin_offset)),
            size.eq(lanes),
        ]
        with m.If((place.pixel_left <= burst_left) & (place.pixel_left < lanes)):
            m.d.comb += size.eq(place.pixel_left)
        with m.Elif(burst_left < lanes):
            m.d.comb += size.eq(burst_left)
        burst_length = Signal.like(length)
        m.d.comb += [
            empty.eq(self._loaded & (place.tile_left == 0)),
            tapping.eq(self._loaded & ~empty & (~fresh | can_go)),
            burst_end.eq(piece_end & (burst_left == size)),
            tile_end.eq((piece_end & (place.tile_left == size)) | (empty & computed)),
        ]
        with m.If(tapping):
            m.d.sync += fresh.eq(burst_end)
            with m.If(fresh):
                m.d.sync += [begin_offset.eq(place.offset), burst_length.eq(length)]
            m.d.sync += kept_left.eq(burst_left - Mux(piece_end, size, 0))
        with m.If(piece_end):
            m.d.sync += place.eq(after)
        pixel_end = self._advance(m, layer, place, size, after)
        self._walk_taps(m, layer, place, tapping, size, piece_end)
        self._load(m, place, after, piece_end, tile_end)
        self._may_begin(m, layer, length, fresh, empty, can_go, computed, burst_end)
        gap = layer.pixel_stride - layer.out_channels
        bytes_now = Mux(fresh, length, burst_length)
        m.d.comb += [
            self.tap.channel.eq(layer.out_channels - place.pixel_left),
            self.tap.size.eq(size),
            self.tap.offset.eq(offset),
            self.tap.burst_last.eq(burst_left == size),
            self.tap.half.eq(self._tile[0]),
            self.tap.slot.eq(slot),
            self.tap.place.eq(tile_index),
            self.burst.eq(burst_end),
            self.burst_bytes.eq(bytes_now),
            self.burst_step.eq(bytes_now + Mux(pixel_end, gap, 0)),
            self.burst_last.eq(place.entry_left == size),
            self.residual_taken.eq(size),
        ]
        m.d.sync += [
            self.half_read.eq(tile_end),
            self.residual_release.eq(burst_end & self._residual(layer)),
        ]
        return m

    def _residual(self, layer):
        return layer.residual & (layer.vector_op == VectorOp.SCALE)

    def _advance(self, m: Module, layer, place, size, after) -> Signal:
        """Say where the walk stands after a piece; return whether its pixel ends."""
        pixel_end, left = Signal(), Signal.like(place.tile_left)
        gap = layer.pixel_stride - layer.out_channels
        m.d.comb += [
            pixel_end.eq(place.pixel_left == size),
            left.eq(place.tile_left - size),
            after.eq(place),
            after.offset.eq(place.offset + size + Mux(pixel_end, gap, 0)),
            after.tile_left.eq(left),
            after.entry_left.eq(place.entry_left - size),
            after.pixel_left.eq(place.pixel_left - size),
        ]
        with m.If(place.entry_left == size):
            m.d.comb += after.entry_left.eq(Mux(left < layer.write_bytes, left, layer.write_bytes))
        with m.If(pixel_end):
            m.d.comb += [
                after.pixel_left.eq(layer.out_channels),
                after.column.eq(place.column + 1),
                after.x.eq(place.x + layer.window_stride_width),
            ]
            with m.If(place.column == layer.map_width - 1):
                m.d.comb += [
                    after.column.eq(0),
                    after.x.eq(-layer.window_left),
                    after.y.eq(place.y + layer.window_stride_height),
                ]
        return pixel_end

    def _walk_taps(self, m: Module, layer, place, tapping, size, piece_end) -> None:
        """A piece takes a cycle for each tap of the window, row by row."""
        row, column = Signal(8), Signal(8)
        row_last, column_last = Signal(), Signal()
        m.d.comb += [
            column_last.eq(column == layer.window_width - 1),
            row_last.eq(row == layer.window_height - 1),
            piece_end.eq(tapping & row_last & column_last),
            self.tap.valid.eq(tapping),
            self.tap.y.eq(place.y + row),
            self.tap.x.eq(place.x + column),
            self.tap.first.eq((row == 0) & (column == 0)),
            self.tap.last.eq(row_last & column_last),
            self.residual_ready.eq(tapping & self._residual(layer)),
        ]
        with m.If(tapping):
            m.d.sync += column.eq(column + 1)
            with m.If(column_last):
                m.d.sync += [column.eq(0), row.eq(Mux(row_last, 0, row + 1))]

    def _load(self, m: Module, place, after, piece_end, tile_end) -> None:
        """Go on to the next tile as soon as its record is there."""
        following, coming = Signal(TILE_BITS), Signal(DESCRIPTOR)
        index = following[: (RECORDS - 1).bit_length()]
        record = Signal(RECORD)
        left = Signal.like(place.tile_left)
        m.d.comb += [
            following.eq(self._tile + tile_end),
            record.eq(self.records[index]),
            coming.eq(self.descriptors[self.slots.bit_select(index, 1)]),
            left.eq(record.outputs * coming.out_channels),
        ]
        m.d.sync += self._tile.eq(following)
        with m.If(tile_end):
            m.d.sync += self._loaded.eq(0)
        with m.If((tile_end | ~self._loaded) & (self.record_count != following)):
            m.d.sync += [
                self._loaded.eq(1),
                place.tile_left.eq(left),
                place.entry_left.eq(Mux(left < coming.write_bytes, left, coming.write_bytes)),
            ]
            with m.If(record.first):
                m.d.sync += [
                    place.column.eq(0),
                    place.x.eq(-coming.window_left),
                    place.y.eq(-coming.window_top),
                    place.offset.eq(coming.map_offset),
                    place.pixel_left.eq(coming.out_channels),
                ]

    def _may_begin(
        self, m: Module, layer, length, fresh, empty, can_go, computed, burst_end
    ) -> None:
        """Say whether what a burst waits for is there."""
        config = self._payloads.config
        late_count = self.done_count  # from done[t] + 1 on
        for stage in range(CHIP_LATENCY.encode - 1):
            late = Signal(TILE_BITS, name=f"done_count{stage}")
            m.d.sync += late.eq(late_count)
            late_count = late
        places = Signal(range(config.write_bursts + 1), init=config.write_bursts)
        begins = Signal()
        arrived, taken = Signal(24), Signal(24)
        ahead = Signal(24)
        needed = self._residual(layer)
        others, there = Signal(), Signal()
        m.d.comb += [
            computed.eq(late_count != self._tile),
            ahead.eq(arrived - taken),
            there.eq(~needed | (ahead >= length)),
            others.eq(computed & places.any()),
            can_go.eq(others & there),
            begins.eq(self._loaded & ~empty & fresh & can_go),
            self.stalled.eq(self._loaded & ~empty & fresh & others & ~there),
        ]
        m.d.sync += [
            arrived.eq(self.residual_arrived),
            places.eq(places + self.write_free - begins),
        ]
        with m.If(begins & needed):
            m.d.sync += taken.eq(taken + length)
