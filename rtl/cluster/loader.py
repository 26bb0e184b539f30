"""The filter loader: from the filter stream to the units' filter buffers, one beat a cycle.

    LD[j] = max(LD[j-1], free[j]) + L[j]

The stream has, for each load in program order, each unit, filter slot and chunk of the segment:
``mask_beats`` beats of mask, then the chunk's values, beginning with a new beat. With chunk
balancing a beat carries beside its bytes the home of the chunk's filter (``Layouts``).
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cluster.holders import track_holders
from rtl.cluster.layouts import LAYER, MAX_PASSES, WORD_BITS, Layouts
from rtl.cluster.passes import PassReader
from rtl.lib.bits import (
    add_up,
    at_most_one,
    count_ones,
    elements,
    encode,
    only_lowest,
    without_lowest,
)
from rtl.lib.component import Component
from rtl.lib.countdown import Countdown, constant_count, count_down
from rtl.lib.fifo import CreditFifo
from rtl.lib.widths import bits_for_count

__all__ = ["FilterLoader"]


class FilterLoader(Component):
    """Write filters into the units.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first load.
    layer : In(LAYER)
        Layer registers.
    keep : In(1)
        With ``start``: the units hold the filters of all passes already, of one for each buffer.
    wants : Out(1), allowed : In(1)
        A beat can be taken; it may, as far as others go.
    beats : In(stream of Layouts.beat_bits)
        The filter stream; may be valid before start.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    load : Out(Layouts.load)
        The filter load bus.
    done : Out(1)
        Pulse: a load is complete, its last write is on the bus ``ENTRY`` cycles after its last beat
        at most.
    retire_buffers : In(ArrayLayout(2, units))
        A unit has finished the last step that used the load in that buffer.
    beat : Out(1)
        Pulse for the counter.
    """

    #: Cycles from the one after ``start`` to the first beat.
    START = 2
    #: Cycles from the last mask beat of a chunk to the cycle in which its entry is on the bus.
    ENTRY = 2

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        self._beat_bits = 8 * config.filter_bus_bytes
        self._mask_bits = min(self._beat_bits, config.chunk)  # of a beat
        self._part_bits = min(WORD_BITS, self._mask_bits)  # of which ones are counted
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "keep": In(1),
                "wants": Out(1),
                "allowed": In(1),
                "beats": In(stream.Signature(layouts.beat_bits)),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "load": Out(layouts.load),
                "done": Out(1),
                "retire_buffers": In(data.ArrayLayout(2, config.units)),
                "beat": Out(1),
            }
        )

        #: A filter of a load, by its unit-slot.
        self._filter = data.StructLayout(
            {
                "first": layouts.held_bits,  # one-hot
                "after": layouts.held_bits,  # those that follow in the load
                "last": 1,  # none follows
                "same_unit": 1,  # the next one is the other one of the same unit
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, config = self._layouts, self._layouts.config
        go = Signal()
        head_valid, head = self._parse_beats(m, go)
        beat, home = head.beat[: self._beat_bits], head.beat[self._beat_bits :]
        beat_ones = head.ones.as_value()

        # The program: which unit-slots of which load.
        begun, filled, enabled = Signal(), Signal(), Signal()
        m.d.sync += [  # the same START whether the beats were waiting or not
            begun.eq(self.start),
            filled.eq(begun),
            enabled.eq(~self.start & (filled | enabled)),
        ]
        load_end, filter_end, chunk_end = Signal(), Signal(), Signal()
        fresh = Signal()  # the next beat is the first of its load
        buffer = Signal()
        held, primed, chunks, present = self._walk_loads(m, filter_end, load_end, chunk_end)
        unit = Signal(bits_for_count(config.units))
        slots = config.filters_per_unit
        units = range(0, layouts.held_bits, slots)
        m.d.comb += [
            filter_end.eq(chunk_end & chunks.last),
            load_end.eq(filter_end & present.last),
            unit.eq(encode([present.first[at : at + slots].any() for at in units])),
        ]

        # Only the first beat of a load may have to wait, for its buffer: known a cycle ahead.
        other_buffer = ~buffer if layouts.buffers == 2 else Const(0)
        waits, may_go = Signal(), Signal()
        m.d.comb += [
            self.wants.eq(head_valid & primed & may_go),
            go.eq(self.wants & self.allowed),
            self.beat.eq(go),
        ]
        m.d.sync += may_go.eq(~self.start & (filled | enabled) & ~waits)
        begins = [go & fresh & (buffer == number) for number in range(2)]
        stays_busy = track_holders(m, held[::slots], begins, self.retire_buffers)
        with m.If(load_end):
            m.d.comb += waits.eq(stays_busy.bit_select(other_buffer, 1))
            if layouts.buffers == 1:
                with m.If(fresh):  # a load of one beat
                    m.d.comb += waits.eq(1)
        with m.Else():
            m.d.comb += waits.eq(fresh & ~go & stays_busy.bit_select(buffer, 1))

        index, row = Signal(layouts.filter_bits), Signal(layouts.value_row_bits)
        m.d.comb += chunk_end.eq(go & head.chunk_end)
        with m.If(go):
            m.d.sync += [
                fresh.eq(load_end),
                row.eq(row + head.values),
            ]

        # The end of a chunk, of a filter, of a load.
        with m.If(chunk_end):
            m.d.sync += index.eq(index + 1)
            with m.If(chunks.last):
                with m.If(present.last):
                    m.d.sync += [
                        buffer.eq(other_buffer),
                        index.eq(Mux(other_buffer, layouts.buffer_chunks, 0)),
                        row.eq(Mux(other_buffer, layouts.buffer_rows, 0)),
                    ]
                with m.Elif(~present.same_unit):
                    m.d.sync += [
                        index.eq(Mux(buffer, layouts.buffer_chunks, 0)),
                        row.eq(Mux(buffer, layouts.buffer_rows, 0)),
                    ]
        with m.If(self.start):
            m.d.sync += [buffer.eq(0), index.eq(0), row.eq(0), fresh.eq(1)]
        self._report_loads(m, load_end, filled)
        gather = go & ~head.values
        mask = self._gather(m, gather, beat[: self._mask_bits])
        ones = self._gather(m, gather, beat_ones)
        entry_go = go & head.mask_end
        self._write(m, go & head.values, beat, row, unit, entry_go, mask, ones, index, home)
        return m

    def _report_loads(self, m: Module, load_end, filled) -> None:
        """Say that a load is complete; that all are at once, where they stay from the last job."""
        keeps, again = Signal(), Signal()
        with m.If(self.start):
            m.d.sync += keeps.eq(self.keep)
        m.d.sync += again.eq(filled)
        both = again & self.layer.passes_last.any()
        m.d.sync += self.done.eq(load_end | (keeps & (filled | both)))

    def _parse_beats(self, m: Module, go):
        """Ahead of the decision: what each beat is, in a FIFO; return its head."""
        bits, width, config = self._layouts.beat_bits, self._mask_bits, self._layouts.config
        part = self._part_bits
        parts_shape = data.ArrayLayout(part.bit_length(), width // part)
        item = data.StructLayout(
            {
                "beat": bits,
                "ones": parts_shape,  # of each part of a mask
                "values": 1,  # values, else mask
                "mask_end": 1,  # the last one of a mask
                "chunk_end": 1,  # the last one of a chunk
            }
        )
        m.submodules.queue = queue = CreditFifo(item)
        first, second, third = Signal(bits), Signal(bits), Signal(bits)
        first_valid, second_valid, third_valid = Signal(), Signal(), Signal()
        parts, late_parts = Signal(parts_shape), Signal(parts_shape)
        beat_ones = Signal(width.bit_length())  # were it a mask
        m.d.comb += [
            self.beats.ready.eq(queue.room),
            queue.enter.eq(self.beats.valid & queue.room),
        ]
        m.d.sync += [
            first.eq(self.beats.payload),
            first_valid.eq(queue.enter),
            second.eq(first),
            second_valid.eq(first_valid),
            *(
                parts[at].eq(count_ones(first[at * part : (at + 1) * part]))
                for at in range(width // part)
            ),
            third.eq(second),
            third_valid.eq(second_valid),
            late_parts.eq(parts),
            beat_ones.eq(add_up(elements(parts))),
        ]

        values, mask_end = Signal(), Signal()
        number = Signal(range(max(2, config.mask_beats)))  # of the mask's beat
        before, ones = (Signal(self._layouts.count_bits) for _ in range(2))
        left = Signal(Countdown(self._layouts.count_bits))
        bus_bytes = config.filter_bus_bytes
        m.d.comb += [
            ones.eq(before + beat_ones),
            mask_end.eq(~values & (number == config.mask_beats - 1)),
            queue.push.eq(third_valid),
            queue.item.beat.eq(third),
            queue.item.ones.eq(late_parts),
            queue.item.values.eq(values),
            queue.item.mask_end.eq(mask_end),
            queue.item.chunk_end.eq(Mux(values, left.last, mask_end & ~ones.any())),
            queue.pop.eq(go),
        ]
        with m.If(third_valid):
            with m.If(values):
                m.d.sync += [*count_down(left), values.eq(~left.last)]
            with m.Elif(mask_end):
                m.d.sync += [
                    left.left.eq((ones - 1) >> (bus_bytes.bit_length() - 1)),
                    left.last.eq(ones <= bus_bytes),
                    values.eq(ones.any()),
                    number.eq(0),
                    before.eq(0),
                ]
            with m.Else():
                m.d.sync += [number.eq(number + 1), before.eq(ones)]
        return queue.valid, queue.head

    def _walk_loads(self, m: Module, filter_end, load_end, chunk_end):
        """Nested counters: pass, tile, segment, filter, chunk.

        Return the unit-slots of the pass, whether there is a load, the chunks left, the filter.
        """
        layer = self.layer
        m.submodules.passes = passes = PassReader(self._layouts)
        all_passes, all_tiles, all_segments, full, short = (
            constant_count(m, amount)
            for amount in (
                layer.passes_last,
                layer.tiles_last,
                layer.segments_last,
                layer.segment_last,
                layer.segment_short_last,
            )
        )
        pass_count, tile = Signal(all_passes.shape()), Signal(all_tiles.shape())
        segment, chunk = Signal(all_segments.shape()), Signal(full.shape())
        running, primed, pass_end = Signal(), Signal(), Signal()
        held = Signal(self._layouts.held_bits)
        only, present, following = (Signal(full.shape()) for _ in range(3))
        next_is_last = segment.left == 1
        last_load = Signal()  # of the pass
        m.d.comb += [
            passes.start.eq(self.start),
            self.pass_address.eq(passes.address),
            passes.data.eq(self.pass_row),
            passes.next.eq(running & passes.valid & (pass_end | ~primed)),
            pass_end.eq(load_end & last_load),
            only.eq(Mux(all_segments.last, short, full)),
            present.eq(Mux(segment.last, short, full)),
            following.eq(Mux(next_is_last, short, full)),
        ]
        with m.If(chunk_end):
            m.d.sync += count_down(chunk)
            with m.If(chunk.last):
                m.d.sync += chunk.eq(present)
        with m.If(load_end):
            m.d.sync += [*count_down(segment), chunk.eq(following)]
            m.d.sync += last_load.eq(next_is_last & tile.last)
            with m.If(segment.last):
                tile_is_last = Mux(tile.last, all_tiles.last, tile.left == 1)
                m.d.sync += [segment.eq(all_segments), *count_down(tile), chunk.eq(only)]
                m.d.sync += last_load.eq(all_segments.last & tile_is_last)
            with m.If(pass_end):
                m.d.sync += [
                    tile.eq(all_tiles),
                    running.eq(~pass_count.last),
                    *count_down(pass_count),
                ]
        # The filter in work, beside what comes after it: the next one of this pass, the first one
        # of this pass again, or of the next one.
        filter_, other, again, new = (Signal(self._filter) for _ in range(4))
        self._choose_filter(m, filter_.after, other)
        self._choose_filter(m, held, again)
        self._choose_filter(m, passes.row.held, new)
        with m.If(filter_end):
            m.d.sync += filter_.eq(other)
        with m.If(load_end):
            m.d.sync += filter_.eq(again)
        with m.If(pass_end | ~primed):
            m.d.sync += [filter_.eq(new), held.eq(passes.row.held)]
            m.d.sync += primed.eq(passes.next & ~(primed & pass_count.last))
        with m.If(self.start):
            m.d.sync += [
                running.eq(~self.keep),
                primed.eq(0),
                pass_count.eq(all_passes),
                tile.eq(all_tiles),
                segment.eq(all_segments),
                last_load.eq(all_segments.last & all_tiles.last),
                chunk.eq(only),
            ]
        return held, primed, chunk, filter_

    def _choose_filter(self, m: Module, left, result) -> None:
        """The first one of the unit-slots that are left."""
        m.d.comb += [
            result.first.eq(only_lowest(left)),
            result.after.eq(without_lowest(left)),
            result.last.eq(at_most_one(left)),
        ]
        if self._layouts.config.filters_per_unit == 2:
            m.d.comb += result.same_unit.eq((only_lowest(left)[::2] & left[1::2]).any())

    def _gather(self, m: Module, go, part):
        """Return the parts of all mask beats at the last one, those before it being kept."""
        earlier = self._layouts.config.mask_beats - 1
        if not earlier:
            return part
        kept = Signal(earlier * len(part))  # the newest one is the highest
        with m.If(go):
            m.d.sync += kept.eq(Cat(kept, part)[len(part) :])
        return Cat(kept, part)

    def _write(self, m: Module, row_go, beat, row, unit, entry_go, mask, ones, index, home) -> None:
        """Value rows go out one cycle later; entries once their prefix counts are there."""
        layouts, load = self._layouts, self.load
        stage = data.StructLayout(
            {
                "valid": 1,
                "unit": load.entry_unit.shape(),
                "address": layouts.filter_bits,
                "mask": layouts.config.chunk,
                "base": layouts.value_row_bits,
                **({"home": layouts.home_bits} if layouts.merges else {}),
            }
        )
        counted = Signal(stage)
        m.d.sync += [
            load.row_valid.eq(row_go),
            load.row_address.eq(row),
            load.row.eq(beat),
            load.row_unit.eq(unit),
            counted.valid.eq(entry_go),
            counted.unit.eq(unit),
            counted.address.eq(index),
            counted.mask.eq(mask),
            counted.base.eq(row),
            load.entry_valid.eq(counted.valid),
            load.entry_unit.eq(counted.unit),
            load.entry_address.eq(counted.address),
            load.entry.mask.eq(counted.mask),
            load.entry.base.eq(counted.base),
        ]
        if layouts.merges:
            m.d.sync += [counted.home.eq(home), load.entry.home.eq(counted.home)]
        # Ones below each word: those of its half of the mask, and those of the lower half.
        width = self._part_bits.bit_length()
        per_word = WORD_BITS // self._part_bits
        counts = [
            add_up([ones.word_select(word * per_word + at, width) for at in range(per_word)])
            for word in range(layouts.words)
        ]
        half = layouts.words // 2
        below = Signal(data.ArrayLayout(layouts.position_bits, layouts.words))
        lower = Signal(layouts.position_bits)
        m.d.sync += lower.eq(add_up(counts[:half]))
        for word in range(layouts.words):
            m.d.sync += below[word].eq(add_up(counts[half if word >= half else 0 : word]))
            total = below[word] + lower if word >= half else below[word]
            m.d.sync += load.entry.prefixes[word].eq(total)
