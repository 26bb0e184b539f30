"""The filter loader: from the filter stream to the units' filter buffers, one beat a cycle.

    LD[j] = max(LD[j-1], free[j]) + L[j]

The stream has, for each load in program order, each unit, filter slot and chunk of the segment:
``mask_beats`` beats of mask, then the chunk's values, beginning with a new beat. With chunk
balancing a beat carries beside its bytes the home of the chunk's filter (``Layouts``).
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.bits import count_ones, lowest
from rtl.layouts import MAX_PASSES, WORD_BITS, Layouts, bits_for_count
from rtl.registers import layer_layout

__all__ = ["FilterLoader"]


class FilterLoader(wiring.Component):
    """Write filters into the units.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first load.
    layer : In(layer_layout())
        Layer registers.
    beats : In(stream of Layouts.beat_bits)
        The filter stream; may be valid before start.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    load : Out(Layouts.load)
        The filter load bus.
    done : Out(1)
        Pulse: a load is complete, its last write is ``ENTRY`` cycles after its last beat at most.
    retire : In(units), retire_buffer : In(units)
        A unit has finished the last step that used the load in that buffer.
    beat : Out(1)
        Pulse for the counter.
    """

    #: Cycles from the one after ``start`` to the first beat.
    START = 2
    #: Cycles from the last mask beat of a chunk to the cycle that writes its entry.
    ENTRY = 3

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        self._beat_bits = 8 * config.filter_bus_bytes
        self._mask_bits = min(self._beat_bits, config.chunk)  # of a beat
        super().__init__(
            {
                "start": In(1),
                "layer": In(layer_layout()),
                "beats": In(stream.Signature(layouts.beat_bits)),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "load": Out(layouts.load),
                "done": Out(1),
                "retire": In(config.units),
                "retire_buffer": In(config.units),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, config, layer = self._layouts, self._layouts.config, self.layer
        go = Signal()
        beat, home, beat_valid, beat_ones = self._count_ones(m, go)

        # The program: which unit-slots of which load.
        begun, filled, enabled, running = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [  # the same START whether the beats were waiting or not
            begun.eq(self.start),
            filled.eq(begun),
            enabled.eq(~self.start & (filled | enabled)),
        ]
        load_end = Signal()
        fresh = Signal()  # the next beat is the first of its load
        buffer = Signal()
        last_segment = self._walk_loads(m, load_end, running)
        rest, present, after = (Signal(layouts.held_bits) for _ in range(3))
        m.d.comb += [
            present.eq(Mux(fresh, self.pass_row.held, rest)),
            after.eq(present & (present - 1)),
        ]
        place, next_place = lowest(m, present), lowest(m, after)
        shift = config.filters_per_unit - 1
        unit, next_unit = place >> shift, next_place >> shift

        busy = Signal(data.ArrayLayout(config.units, 2))  # units that use each buffer
        held_units = self.pass_row.held[:: config.filters_per_unit]
        m.d.comb += go.eq(beat_valid & enabled & running & ~(fresh & busy[buffer].any()))
        m.d.comb += self.beat.eq(go)
        for number in range(2):
            ends = self.retire & Mux(number, self.retire_buffer, ~self.retire_buffer)
            begins = go & fresh & (buffer == number)
            m.d.sync += busy[number].eq((busy[number] & ~ends) | Mux(begins, held_units, 0))

        # The chunk: mask beats, then value beats.
        values = Signal()  # value beats follow
        left = Signal(layouts.count_bits)
        mask_end, value_end, chunk_end = Signal(), Signal(), Signal()
        ones, value_beats = Signal(layouts.count_bits), Signal(layouts.count_bits)
        mask = self._gather_mask(m, go & ~values, beat, beat_ones, mask_end, ones)
        bus_bytes = config.filter_bus_bytes
        index, row = Signal(layouts.filter_bits), Signal(layouts.value_row_bits)
        chunk = Signal(16)
        m.d.comb += [
            value_beats.eq((ones + bus_bytes - 1) >> (bus_bytes.bit_length() - 1)),
            value_end.eq(values & (left == 0)),
            chunk_end.eq(go & (value_end | (mask_end & ~ones.any()))),
        ]
        with m.If(go):
            m.d.sync += fresh.eq(load_end)
            with m.If(values):
                m.d.sync += [left.eq(left - 1), values.eq(left != 0), row.eq(row + 1)]
            with m.Elif(mask_end):
                m.d.sync += [left.eq(value_beats - 1), values.eq(ones.any())]

        # The end of a chunk, of a filter, of a load.
        other_base = ~buffer if layouts.buffers == 2 else Const(0)
        chunks = Mux(last_segment, layer.segment_short_last, layer.segment_last)
        m.d.comb += load_end.eq(chunk_end & (chunk == chunks) & ~after.any())
        with m.If(go & ~chunk_end):
            m.d.sync += rest.eq(present)
        with m.If(chunk_end):
            m.d.sync += [chunk.eq(chunk + 1), index.eq(index + 1), rest.eq(present)]
            with m.If(chunk == chunks):
                m.d.sync += [chunk.eq(0), rest.eq(after)]
                with m.If(~after.any()):
                    m.d.sync += [
                        buffer.eq(other_base),
                        index.eq(Mux(other_base, layouts.buffer_chunks, 0)),
                        row.eq(Mux(other_base, layouts.buffer_rows, 0)),
                    ]
                with m.Elif(unit != next_unit):
                    m.d.sync += [
                        index.eq(Mux(buffer, layouts.buffer_chunks, 0)),
                        row.eq(Mux(buffer, layouts.buffer_rows, 0)),
                    ]
        with m.If(self.start):
            m.d.sync += [buffer.eq(0), index.eq(0), row.eq(0), fresh.eq(1)]
        m.d.sync += self.done.eq(load_end)
        self._write(m, go & values, beat, row, unit, go & mask_end & ~values, mask, index, home)
        return m

    def _count_ones(self, m: Module, go):
        """Two stages ahead of the decision: a beat, its home, its ones, were it a mask."""
        beat, valid = self.beats.payload, self.beats.valid
        first, second = Signal(self._layouts.beat_bits), Signal(self._layouts.beat_bits)
        first_valid, second_valid = Signal(), Signal()
        ones = Signal(self._mask_bits.bit_length())
        second_ready, first_ready = ~second_valid | go, Signal()
        m.d.comb += [first_ready.eq(~first_valid | second_ready), self.beats.ready.eq(first_ready)]
        with m.If(first_ready):
            m.d.sync += [first.eq(beat), first_valid.eq(valid)]
        with m.If(second_ready):
            m.d.sync += [
                second.eq(first),
                second_valid.eq(first_valid),
                ones.eq(count_ones(first[: self._mask_bits])),
            ]
        return second[: self._beat_bits], second[self._beat_bits :], second_valid, ones

    def _walk_loads(self, m: Module, load_end, running):
        """Nested counters: pass, tile, segment; return whether the segment is the last one."""
        layer = self.layer
        number, next_number = (Signal(bits_for_count(MAX_PASSES)) for _ in range(2))
        tile, segment = Signal(24), Signal(16)
        last_segment, pass_end = segment == layer.segments_last, Signal()
        m.d.comb += [
            pass_end.eq(load_end & last_segment & (tile == layer.tiles_last)),
            next_number.eq(Mux(self.start, 0, number + pass_end)),
            self.pass_address.eq(next_number),
        ]
        m.d.sync += number.eq(next_number)
        with m.If(self.start):
            m.d.sync += [running.eq(1), tile.eq(0), segment.eq(0)]
        with m.Elif(load_end):
            m.d.sync += segment.eq(segment + 1)
            with m.If(last_segment):
                m.d.sync += [segment.eq(0), tile.eq(tile + 1)]
            with m.If(pass_end):
                m.d.sync += [tile.eq(0), running.eq(number != layer.passes_last)]
        return last_segment

    def _gather_mask(self, m: Module, go, beat, beat_ones, end, ones):
        """Collect the mask beats of a chunk; return the whole mask at the last one."""
        beats = self._layouts.config.mask_beats
        if beats == 1:
            m.d.comb += [end.eq(1), ones.eq(beat_ones)]
            return beat[: self._mask_bits]
        number = Signal(range(beats))
        parts = Signal(data.ArrayLayout(self._beat_bits, beats - 1))
        before = Signal.like(ones)
        m.d.comb += [end.eq(number == beats - 1), ones.eq(before + beat_ones)]
        with m.If(go):
            m.d.sync += [number.eq(Mux(end, 0, number + 1)), before.eq(Mux(end, 0, ones))]
            for at in range(beats - 1):
                with m.If(number == at):
                    m.d.sync += parts[at].eq(beat)
        return Cat(parts.as_value(), beat)

    def _write(self, m: Module, row_go, beat, row, unit, entry_go, mask, index, home) -> None:
        """Value rows go out one cycle later; entries once their prefix counts are there."""
        layouts, load = self._layouts, self.load
        counts = data.ArrayLayout(WORD_BITS.bit_length(), layouts.words)
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
        first, second = Signal(stage), Signal(stage)
        ones = Signal(counts)
        m.d.sync += [
            load.row_valid.eq(row_go),
            load.row_address.eq(row),
            load.row.eq(beat),
            load.row_unit.eq(unit),
            first.valid.eq(entry_go),
            first.unit.eq(unit),
            first.address.eq(index),
            first.mask.eq(mask),
            first.base.eq(row),
            second.eq(first),
            load.entry_valid.eq(second.valid),
            load.entry_unit.eq(second.unit),
            load.entry_address.eq(second.address),
            load.entry.mask.eq(second.mask),
            load.entry.base.eq(second.base),
        ]
        if layouts.merges:
            m.d.sync += [first.home.eq(home), load.entry.home.eq(second.home)]
        for word in range(layouts.words):
            bits = first.mask.word_select(word, WORD_BITS)
            m.d.sync += [
                ones[word].eq(count_ones(bits)),
                load.entry.prefixes[word].eq(sum((ones[below] for below in range(word)), 0)),
            ]
