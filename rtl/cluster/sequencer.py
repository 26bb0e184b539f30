"""The sequencer: the program of a cluster, one step a cycle, by increments.

for each pass: for each tile: for each segment: for each position in the tile:
    for each chunk of the segment: a step
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import LAYER, MAX_PASSES, Layouts
from rtl.cluster.passes import PassReader
from rtl.lib.component import Component
from rtl.lib.countdown import Countdown, constant_count, count_down
from rtl.lib.widths import bits_for_count

__all__ = ["Sequencer"]


class Sequencer(Component):
    """Walk the layer.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    layer : In(LAYER)
        Layer registers.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    room : In(1), enter : Out(1)
        A step may leave; one does, and arrives ``DESCRIBE`` cycles later.
    step_valid : Out(1), step : Out(Layouts.sequenced)
        A step arrives.

    Notes
    -----
    ``LATENCY`` is the number of cycles from the one after ``start`` to the first step's arrival.
    What ends with a step, and where the window of the next position lies, is known from registers
    or one addition: the walk takes a step a cycle.
    """

    DESCRIBE = 3
    LATENCY = PassReader.LATENCY + DESCRIBE

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "room": In(1),
                "enter": Out(1),
                "step_valid": Out(1),
                "step": Out(layouts.sequenced),
            }
        )
        #: Where the walk is.
        self._state = data.StructLayout(
            {
                "segment": Countdown(16),
                "first_segment": 1,
                "tile": Countdown(24),  # positions in the tile
                "tile_at": layouts.tile_bits,  # position in the tile
                "first_position": 1,  # of the tile
                "chunk": Countdown(16),  # chunks in the segment
                "index": layouts.filter_bits,  # chunk in the segment
                "first_chunk": 1,
                "buffer": 1,  # filter buffer in use
            }
        )
        #: A position's window: its corner in the input.
        self._position = data.StructLayout(
            {
                "y": signed(16),
                "x": signed(16),
                "address": layouts.input_bits,
                "row_last": 1,  # the next one is in another row of positions
                "count": Countdown(24),  # positions of the cluster
            }
        )
        #: A chunk of a window.
        self._window_chunk = data.StructLayout(
            {
                "row": Countdown(16),
                "column": Countdown(8),
                "s": 8,
                "r": 8,
                "offset": layouts.input_bits,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layer = self.layer
        m.submodules.passes = passes = PassReader(self._layouts)
        state, group = Signal(self._state), Signal(self._layouts.input_bits)
        position, tile_start = Signal(self._position), Signal(self._position)
        chunk, segment_start = Signal(self._window_chunk), Signal(self._window_chunk)
        running, pass_count = Signal(), Signal(Countdown(16))
        take, of_segment, of_tile, of_pass = (Signal() for _ in range(4))
        m.d.comb += [
            passes.start.eq(self.start),
            passes.data.eq(self.pass_row),
            self.pass_address.eq(passes.address),
            take.eq(running & passes.valid & self.room),
            self.enter.eq(take),
            passes.next.eq(take & of_pass),
            of_segment.eq(state.chunk.last),
            of_tile.eq(state.tile.last | position.count.last),
            of_pass.eq(of_segment & state.segment.last & position.count.last),
        ]

        # Constants of the layer, and the address at which the next pass's group begins.
        all_passes, all_segments = (
            constant_count(m, count) for count in (layer.passes_last, layer.segments_last)
        )
        all_tile, all_positions = (
            constant_count(m, count) for count in (layer.tile_last, layer.positions_last)
        )
        full, short = (
            constant_count(m, count) for count in (layer.segment_last, layer.segment_short_last)
        )
        next_group, first_row_last = Signal.like(group), Signal()
        m.d.sync += first_row_last.eq(layer.first_x + layer.step_x >= layer.end_x)
        first, next_position = Signal(self._position), Signal(self._position)
        first_chunk, next_chunk = Signal(self._window_chunk), Signal(self._window_chunk)
        m.d.comb += [
            next_group.eq(group + Mux(passes.row.last_of_group, layer.group_address, 0)),
            first.y.eq(layer.first_y),
            first.x.eq(layer.first_x),
            first.address.eq(Mux(self.start, layer.first_address, next_group)),
            first.row_last.eq(first_row_last),
            first.count.eq(all_positions),
        ]
        self._advance_position(m, position, next_position)
        self._advance_chunk(m, chunk, next_chunk, first_chunk)

        # Chunks of the first segment, of this one, of the next one, each less one.
        only, present, following = (Signal(full.shape()) for _ in range(3))
        next_is_last = Signal()
        m.d.comb += [
            only.eq(Mux(all_segments.last, short, full)),
            present.eq(Mux(state.segment.last, short, full)),
            next_is_last.eq(state.segment.left == 1),
            following.eq(Mux(next_is_last, short, full)),
        ]
        with m.If(take):
            m.d.sync += [
                state.index.eq(state.index + 1),
                state.first_chunk.eq(0),
                *count_down(state.chunk),
                chunk.eq(next_chunk),
            ]
            with m.If(of_segment):
                m.d.sync += [state.index.eq(0), state.first_chunk.eq(1)]
            with m.If(of_segment & ~of_tile):  # the next position, the same segment
                m.d.sync += [
                    state.chunk.eq(present),
                    state.tile_at.eq(state.tile_at + 1),
                    state.first_position.eq(0),
                    *count_down(state.tile),
                    position.eq(next_position),
                    chunk.eq(segment_start),
                ]
            with m.Elif(of_segment):
                m.d.sync += [
                    state.tile.eq(all_tile),
                    state.tile_at.eq(0),
                    state.first_position.eq(1),
                    state.buffer.eq(~state.buffer),
                ]
                with m.If(~state.segment.last):  # the same tile, the next segment
                    m.d.sync += [
                        state.chunk.eq(following),
                        state.first_segment.eq(0),
                        *count_down(state.segment),
                        position.eq(tile_start),
                        segment_start.eq(next_chunk),
                    ]
                with m.Else():
                    m.d.sync += [
                        state.chunk.eq(only),
                        state.first_segment.eq(1),
                        state.segment.eq(all_segments),
                        position.eq(next_position),
                        tile_start.eq(next_position),
                        chunk.eq(first_chunk),
                        segment_start.eq(first_chunk),
                    ]
            with m.If(of_pass):
                m.d.sync += [
                    position.eq(first),
                    tile_start.eq(first),
                    group.eq(next_group),
                    running.eq(~pass_count.last),
                    *count_down(pass_count),
                ]
        with m.If(self.start):
            m.d.sync += [
                running.eq(1),
                pass_count.eq(all_passes),
                group.eq(layer.first_address),
                state.eq(0),
                state.segment.eq(all_segments),
                state.first_segment.eq(1),
                state.tile.eq(all_tile),
                state.first_position.eq(1),
                state.chunk.eq(only),
                state.first_chunk.eq(1),
                position.eq(first),
                tile_start.eq(first),
                chunk.eq(first_chunk),
                segment_start.eq(first_chunk),
            ]
        psum = state.tile_at
        if self._layouts.merges:
            psum = self._walk_slots(m, take & of_segment, of_tile, state.segment.last)
        ends = data.StructLayout({"of_segment": 1, "complete": 1, "load_last": 1})
        end = Signal(ends)
        m.d.comb += [
            end.of_segment.eq(of_segment),
            end.complete.eq(of_segment & state.segment.last),
            end.load_last.eq(of_segment & of_tile),
        ]
        self._describe(m, take, passes.row.held, state, end, position, chunk, psum, present.left)
        return m

    def _advance_position(self, m: Module, position, result) -> None:
        """The window of the next position of this cluster: in this row of positions, or beyond."""
        layer, bits = self.layer, self._layouts.input_bits
        # Whether the next position is the last one of its row: after a step, after a way back.
        end_step, end_back, back_x = (Signal(signed(19)) for _ in range(3))
        down_y, down_address = Signal(signed(17)), Signal(bits)
        m.d.sync += [  # constants of the layer
            end_step.eq(layer.end_x - (layer.step_x << 1)),
            end_back.eq(layer.end_x - (layer.step_x << 1) + layer.wrap_x),
            back_x.eq(layer.step_x - layer.wrap_x),
            down_y.eq(layer.step_y + layer.wrap_y),
            down_address.eq(layer.step_address + layer.wrap_address),
        ]
        wrap = position.row_last
        m.d.comb += [
            result.row_last.eq(Mux(wrap, position.x >= end_back, position.x >= end_step)),
            result.x.eq(Mux(wrap, position.x + back_x, position.x + layer.step_x)),
            result.y.eq(Mux(wrap, position.y + down_y, position.y + layer.step_y)),
            result.address.eq(
                Mux(wrap, position.address + down_address, position.address + layer.step_address)
            ),
            *count_down(position.count, result.count),
        ]

    def _advance_chunk(self, m: Module, chunk, result, first) -> None:
        """The next chunk of a window: along the row, the kernel row, then the next one."""
        layer = self.layer
        row = constant_count(m, layer.row_chunks_last)
        column = constant_count(m, layer.kernel_width_last)
        m.d.comb += [
            first.row.eq(row),
            first.column.eq(column),
            result.eq(chunk),
            *count_down(chunk.row, result.row),
            result.offset.eq(chunk.offset + 1),
        ]
        with m.If(chunk.row.last):
            m.d.comb += [
                result.row.eq(row),
                result.s.eq(chunk.s + 1),
                *count_down(chunk.column, result.column),
            ]
            with m.If(chunk.column.last):
                m.d.comb += [
                    result.s.eq(0),
                    result.column.eq(column),
                    result.r.eq(chunk.r + 1),
                    result.offset.eq(chunk.offset + layer.line_address),
                ]

    def _walk_slots(self, m: Module, ends, of_tile, last_segment) -> Signal:
        """The slot of a position's sums: one after the other, whatever the tile, in a ring."""
        present, tile_start, following = (Signal(self._layouts.tile_bits) for _ in range(3))
        last = present == self._layouts.position_slots - 1
        m.d.comb += following.eq(Mux(last, 0, present + 1))
        with m.If(self.start):
            m.d.sync += [present.eq(0), tile_start.eq(0)]
        with m.Elif(ends):
            m.d.sync += present.eq(following)
            with m.If(of_tile & last_segment):
                m.d.sync += tile_start.eq(following)
            with m.Elif(of_tile):
                m.d.sync += present.eq(tile_start)
        return present

    def _describe(
        self, m: Module, take, held, state, end, position, chunk, psum, segment_last
    ) -> None:
        """Describe a step that has left, in three stages: where the walk was, sums, comparisons."""
        layer, layouts, step = self.layer, self._layouts, self.step
        base = Signal(layouts.filter_bits)  # where the filter buffer begins
        buffer = Const(0, 1)
        if layouts.buffers == 2:
            buffer = state.buffer
            m.d.comb += base.eq(Mux(buffer, layouts.buffer_chunks, 0))
        stage = data.StructLayout(
            {
                "valid": 1,
                "sequenced": layouts.sequenced,
                "y": signed(17),
                "x": signed(17),
                "r": 8,
                "s": 8,
                "offset": layouts.input_bits,
                "segment_last": layouts.filter_bits,
            }
        )
        was, added = Signal(stage), Signal(stage)
        known = was.sequenced
        m.d.sync += [
            was.valid.eq(take),
            was.y.eq(position.y),
            was.x.eq(position.x),
            was.r.eq(chunk.r),
            was.s.eq(chunk.s),
            was.offset.eq(chunk.offset),
            was.segment_last.eq(segment_last),
            known.held.eq(held),
            known.load_first.eq(state.first_chunk & state.first_position),
            known.ragged.eq(chunk.row.last),
            known.address.eq(position.address),
            known.step.psum.eq(psum),
            known.step.from_zero.eq(state.first_segment),
            known.step.last.eq(end.of_segment),
            known.step.complete.eq(end.complete),
            known.step.load_last.eq(end.load_last),
            known.step.buffer.eq(buffer),
            known.filters[0].eq(base + state.index),
            added.eq(was),
            added.y.eq(was.y + was.r),
            added.x.eq(was.x + was.s),
            added.sequenced.address.eq(known.address + was.offset),
            self.step_valid.eq(added.valid),
            step.eq(added.sequenced),
            step.inside.eq(
                (added.y >= 0) & (added.y < layer.height) & (added.x >= 0) & (added.x < layer.width)
            ),
        ]
        if layouts.config.filters_per_unit == 2:  # its chunks follow those of slot 0
            m.d.sync += added.sequenced.filters[1].eq(known.filters[0] + was.segment_last + 1)
