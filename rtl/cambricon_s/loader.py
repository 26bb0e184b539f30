"""The synapse loader: from the weight stream to index and synapse buffers, one beat a cycle.

    LD[j] = max(LD[j-1], free[j]) + L[j]

The stream has, for each load in program order and each kept window of it, ``mask_beats`` beats of
the block's mask, then for each filter of the block the codes under it, beginning with a new beat.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import LAYER, CoreLayouts
from rtl.lib.bits import count_ones
from rtl.lib.component import Component

__all__ = ["SynapseLoader"]


class SynapseLoader(Component):
    """Fill the halves of the buffers in turn.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first load.
    layer : In(LAYER)
        Layer registers.
    beats : In(stream of 8 * bus_bytes bits)
        The weight stream; may be valid before start.
    block_address : Out, block_row : In(CoreLayouts.block)
        Read port of the block table, data one cycle after its address.
    load : Out(CoreLayouts.load)
        The load bus to the synapse buffers.
    mask_valid : Out(1), mask_row : Out, mask : Out(window)
        A write to the index buffer.
    done : Out(1)
        Pulse: a load is complete; its last write is in this cycle.
    retire : In(1)
        Pulse: a load, the oldest in use, is no longer needed.
    beat : Out(1)
        Pulse for the counter.
    """

    #: Cycles from the one after ``start`` to the first beat; from ``retire`` to the next load's.
    START = 2

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        self._bus_bits = 8 * layouts.config.bus_bytes
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "beats": In(stream.Signature(self._bus_bits)),
                "block_address": Out(layouts.block_bits),
                "block_row": In(layouts.block),
                "load": Out(layouts.load),
                "mask_valid": Out(1),
                "mask_row": Out(layouts.row_bits),
                "mask": Out(layouts.config.window),
                "done": Out(1),
                "retire": In(1),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, config = self._layouts, self._layouts.config
        go = Signal()
        beat, beat_valid, beat_ones = self._count_ones(m, go)

        begun, filled, enabled, running = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [  # the same START whether the beats were waiting or not
            begun.eq(self.start),
            filled.eq(begun),
            enabled.eq(~self.start & (filled | enabled)),
        ]
        load_end, half = Signal(), Signal()
        fresh = Signal()  # the next beat is the first of its load
        last_window = self._walk_loads(m, load_end, running)
        in_use = Signal(2)  # halves that are being filled or used
        m.d.comb += [
            go.eq(beat_valid & enabled & running & ~(fresh & (in_use == 2))),
            self.beat.eq(go),
        ]
        m.d.sync += in_use.eq(in_use + (go & fresh) - self.retire)

        # A window: mask beats, then those of each filter.
        codes = Signal()  # beats of codes follow
        index = Signal(16)  # kept window in the segment
        pe, part, last_part = (
            Signal(layouts.pe_bits),
            Signal(layouts.part_bits),
            Signal(layouts.part_bits),
        )
        mask_end, window_end, filter_end = Signal(), Signal(), Signal()
        ones, beats_of = Signal(layouts.count_bits), Signal(range(layouts.row_beats + 1))
        mask = self._gather_mask(m, go & ~codes, beat, beat_ones, mask_end, ones)
        beat_codes = self._bus_bits // config.code_bits
        m.d.comb += [
            beats_of.eq((ones + beat_codes - 1) >> (beat_codes.bit_length() - 1)),
            filter_end.eq(codes & (part == last_part)),
            window_end.eq(
                go
                & Mux(
                    codes,
                    filter_end & (pe == self.block_row.pes_last),
                    mask_end & ~ones.any(),
                )
            ),
            load_end.eq(window_end & (index == last_window)),
        ]
        with m.If(go):
            m.d.sync += fresh.eq(load_end)
            with m.If(~codes & mask_end):
                m.d.sync += [codes.eq(ones.any()), last_part.eq(beats_of - 1)]
                m.d.sync += [pe.eq(0), part.eq(0)]
            with m.If(codes):
                m.d.sync += part.eq(part + 1)
                with m.If(filter_end):
                    m.d.sync += [part.eq(0), pe.eq(pe + 1)]
            with m.If(window_end):
                m.d.sync += [codes.eq(0), index.eq(Mux(load_end, 0, index + 1))]
            with m.If(load_end):
                m.d.sync += half.eq(~half)
        with m.If(self.start):
            m.d.sync += [half.eq(0), index.eq(0), fresh.eq(1), codes.eq(0), in_use.eq(0)]

        row = Signal(layouts.row_bits)
        m.d.comb += row.eq(Mux(half, config.segment_windows, 0) + index)
        load = self.load
        m.d.sync += [
            load.valid.eq(go & codes),
            load.pe.eq(pe),
            load.row.eq(row),
            load.part.eq(part),
            load.codes.eq(beat),
            self.mask_valid.eq(go & ~codes & mask_end),
            self.mask_row.eq(row),
            self.mask.eq(mask),
            self.done.eq(load_end),
        ]
        return m

    def _count_ones(self, m: Module, go):
        """Two stages ahead of the decision: a beat, and its ones, were it a mask."""
        bits = min(self._bus_bits, self._layouts.config.window)
        first, second = Signal(self._bus_bits), Signal(self._bus_bits)
        first_valid, second_valid = Signal(), Signal()
        ones = Signal(bits.bit_length())
        second_ready, first_ready = ~second_valid | go, Signal()
        m.d.comb += [first_ready.eq(~first_valid | second_ready), self.beats.ready.eq(first_ready)]
        with m.If(first_ready):
            m.d.sync += [first.eq(self.beats.payload), first_valid.eq(self.beats.valid)]
        with m.If(second_ready):
            m.d.sync += [
                second.eq(first),
                second_valid.eq(first_valid),
                ones.eq(count_ones(first[:bits])),
            ]
        return second, second_valid, ones

    def _walk_loads(self, m: Module, load_end, running):
        """Nested counters: block, tile, segment; return the last kept window of the segment."""
        layer, row = self.layer, self.block_row
        segment_windows = self._layouts.config.segment_windows
        block, next_block = (Signal(self._layouts.block_bits) for _ in range(2))
        tile, segment_start, left = Signal(24), Signal(16), Signal(16)
        single, last_segment, block_end = Signal(), Signal(), Signal()
        m.d.comb += [
            left.eq(row.windows_last - segment_start),
            single.eq(row.windows_last < segment_windows),
            last_segment.eq(left < segment_windows),
            block_end.eq(load_end & last_segment & (single | (tile == layer.tiles_last))),
            next_block.eq(Mux(self.start, 0, block + block_end)),
            self.block_address.eq(next_block),
        ]
        m.d.sync += block.eq(next_block)
        with m.If(self.start):
            m.d.sync += [running.eq(1), tile.eq(0), segment_start.eq(0)]
        with m.Elif(load_end):
            m.d.sync += segment_start.eq(segment_start + segment_windows)
            with m.If(last_segment):
                m.d.sync += [segment_start.eq(0), tile.eq(tile + 1)]
            with m.If(block_end):
                m.d.sync += [tile.eq(0), running.eq(block != layer.blocks_last)]
        return Mux(last_segment, left, segment_windows - 1)

    def _gather_mask(self, m: Module, go, beat, beat_ones, end, ones):
        """Collect the mask beats of a window; return the whole mask at the last one."""
        beats = self._layouts.config.mask_beats
        if beats == 1:
            m.d.comb += [end.eq(1), ones.eq(beat_ones)]
            return beat[: self._layouts.config.window]
        number = Signal(range(beats))
        parts = Signal(data.ArrayLayout(self._bus_bits, beats - 1))
        before = Signal.like(ones)
        m.d.comb += [end.eq(number == beats - 1), ones.eq(before + beat_ones)]
        with m.If(go):
            m.d.sync += [number.eq(Mux(end, 0, number + 1)), before.eq(Mux(end, 0, ones))]
            for at in range(beats - 1):
                with m.If(number == at):
                    m.d.sync += parts[at].eq(beat)
        return Cat(parts.as_value(), beat)
