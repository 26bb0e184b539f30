"""The sequencer: the program of a cluster, one step a cycle, by increments.

for each pass: for each tile: for each segment: for each position in the tile:
    for each chunk of the segment: a step
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.layouts import MAX_PASSES, Layouts, bits_for_count
from rtl.registers import layer_layout

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Walk the layer.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin. The first step is valid in the next cycle.
    layer : In(layer_layout())
        Layer registers.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    steps : Out(stream of Layouts.sequenced)
        The steps, one a cycle.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "layer": In(layer_layout()),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "steps": Out(stream.Signature(layouts.sequenced)),
            }
        )
        #: Where the walk is.
        self._state = data.StructLayout(
            {
                "number": bits_for_count(MAX_PASSES),  # of the pass
                "group": layouts.input_bits,  # index row at which the group begins
                "tile": 24,  # position in the tile
                "segment": 16,
                "index": 16,  # chunk in the segment
                "buffer": 1,  # filter buffer in use
            }
        )
        self._ends = data.StructLayout(
            {
                "last_segment": 1,  # this is the last segment
                "segment_last": 16,  # chunks in this segment, less one
                "of_segment": 1,  # the step is the last of its (position, segment)
                "of_tile": 1,  # the position is the last of its tile
                "of_pass": 1,  # the step is the last of its pass
            }
        )
        #: A position's window: its corner in the input.
        self._position = data.StructLayout(
            {"y": signed(16), "x": signed(16), "address": layouts.input_bits, "left": 24}
        )
        #: A chunk of a window.
        self._chunk = data.StructLayout(
            {"row_chunk": 16, "s": 8, "r": 8, "offset": layouts.input_bits}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layer = self.layer
        valid, take = Signal(), Signal()
        state, ends = Signal(self._state), Signal(self._ends)
        position, tile_start = Signal(self._position), Signal(self._position)
        chunk, segment_start = Signal(self._chunk), Signal(self._chunk)
        m.d.comb += take.eq(valid & self.steps.ready)
        self._find_ends(m, state, position, ends)
        next_position, next_chunk = Signal(self._position), Signal(self._chunk)
        self._advance_position(m, position, next_position)
        self._advance_chunk(m, chunk, next_chunk)

        next_number, next_group = Signal.like(state.number), Signal.like(state.group)
        first = Signal(self._position)  # of the next pass
        m.d.comb += [
            next_number.eq(Mux(self.start, 0, state.number + (take & ends.of_pass))),
            self.pass_address.eq(next_number),
            next_group.eq(state.group + Mux(self.pass_row.last_of_group, layer.group_address, 0)),
            first.y.eq(layer.first_y),
            first.x.eq(layer.first_x),
            first.address.eq(layer.first_address + Mux(self.start, 0, next_group)),
            first.left.eq(layer.positions_last),
        ]
        with m.If(self.start):
            m.d.sync += [valid.eq(1), state.eq(0), chunk.eq(0), segment_start.eq(0)]
            m.d.sync += [position.eq(first), tile_start.eq(first)]
        with m.Elif(take):
            m.d.sync += [
                state.index.eq(Mux(ends.of_segment, 0, state.index + 1)),
                chunk.eq(next_chunk),
            ]
            with m.If(ends.of_segment & ~ends.of_tile):  # the next position, the same segment
                m.d.sync += [state.tile.eq(state.tile + 1), position.eq(next_position)]
                m.d.sync += chunk.eq(segment_start)
            with m.Elif(ends.of_segment):
                m.d.sync += [state.tile.eq(0), state.buffer.eq(~state.buffer)]
                with m.If(~ends.last_segment):  # the same tile, the next segment
                    m.d.sync += [state.segment.eq(state.segment + 1), position.eq(tile_start)]
                    m.d.sync += segment_start.eq(next_chunk)
                with m.Else():
                    m.d.sync += [state.segment.eq(0), chunk.eq(0), segment_start.eq(0)]
                    m.d.sync += [position.eq(next_position), tile_start.eq(next_position)]
            with m.If(ends.of_pass):
                m.d.sync += [position.eq(first), tile_start.eq(first), state.group.eq(next_group)]
                m.d.sync += valid.eq(state.number != layer.passes_last)
        m.d.sync += state.number.eq(next_number)
        m.d.comb += self.steps.valid.eq(valid)
        psum = self._walk_slots(m, take, ends) if self._layouts.merges else state.tile
        self._describe(m, state, ends, position, chunk, psum)
        return m

    def _find_ends(self, m: Module, state, position, ends) -> None:
        """What ends with the present step."""
        layer = self.layer
        m.d.comb += [
            ends.last_segment.eq(state.segment == layer.segments_last),
            ends.segment_last.eq(
                Mux(ends.last_segment, layer.segment_short_last, layer.segment_last)
            ),
            ends.of_segment.eq(state.index == ends.segment_last),
            ends.of_tile.eq((state.tile == layer.tile_last) | (position.left == 0)),
            ends.of_pass.eq(ends.of_segment & ends.last_segment & (position.left == 0)),
        ]

    def _advance_position(self, m: Module, position, result) -> None:
        """The window of the next position of this cluster."""
        layer = self.layer
        x = Signal(signed(17))
        wrap = Signal()
        m.d.comb += [
            x.eq(position.x + layer.step_x),
            wrap.eq(x >= layer.end_x),
            result.x.eq(x - Mux(wrap, layer.wrap_x, 0)),
            result.y.eq(position.y + layer.step_y + Mux(wrap, layer.wrap_y, 0)),
            result.address.eq(
                position.address + layer.step_address + Mux(wrap, layer.wrap_address, 0)
            ),
            result.left.eq(position.left - 1),
        ]

    def _advance_chunk(self, m: Module, chunk, result) -> None:
        """The next chunk of a window: along the row, the kernel row, then the next one."""
        layer = self.layer
        m.d.comb += [result.eq(chunk), result.offset.eq(chunk.offset + 1)]
        with m.If(chunk.row_chunk != layer.row_chunks_last):
            m.d.comb += result.row_chunk.eq(chunk.row_chunk + 1)
        with m.Else():
            m.d.comb += [result.row_chunk.eq(0), result.s.eq(chunk.s + 1)]
            with m.If(chunk.s == layer.kernel_width_last):
                m.d.comb += [
                    result.s.eq(0),
                    result.r.eq(chunk.r + 1),
                    result.offset.eq(chunk.offset + layer.line_address),
                ]

    def _walk_slots(self, m: Module, take, ends) -> Signal:
        """The slot of a position's sums: one after the other, whatever the tile, in a ring."""
        present, tile_start, following = (Signal(self._layouts.tile_bits) for _ in range(3))
        last = present == self._layouts.position_slots - 1
        m.d.comb += following.eq(Mux(last, 0, present + 1))
        with m.If(self.start):
            m.d.sync += [present.eq(0), tile_start.eq(0)]
        with m.Elif(take & ends.of_segment):
            m.d.sync += present.eq(following)
            with m.If(ends.of_tile & ends.last_segment):
                m.d.sync += tile_start.eq(following)
            with m.Elif(ends.of_tile):
                m.d.sync += present.eq(tile_start)
        return present

    def _describe(self, m: Module, state, ends, position, chunk, psum) -> None:
        """Describe the present step."""
        layer, layouts, payload = self.layer, self._layouts, self.steps.p
        y, x = Signal(signed(18)), Signal(signed(18))
        base = Signal(layouts.filter_bits)  # where the filter buffer begins
        buffer = Const(0)
        if layouts.buffers == 2:
            buffer = state.buffer
            m.d.comb += base.eq(Mux(buffer, layouts.buffer_chunks, 0))
        m.d.comb += [
            y.eq(position.y + chunk.r),
            x.eq(position.x + chunk.s),
            payload.held.eq(self.pass_row.held),
            payload.load_first.eq((state.index == 0) & (state.tile == 0)),
            payload.inside.eq((y >= 0) & (y < layer.height) & (x >= 0) & (x < layer.width)),
            payload.ragged.eq(chunk.row_chunk == layer.row_chunks_last),
            payload.address.eq(position.address + chunk.offset),
            payload.step.psum.eq(psum),
            payload.step.from_zero.eq(state.segment == 0),
            payload.step.last.eq(ends.of_segment),
            payload.step.complete.eq(ends.of_segment & ends.last_segment),
            payload.step.load_last.eq(ends.of_segment & ends.of_tile),
            payload.step.buffer.eq(buffer),
            payload.filters[0].eq(base + state.index),
        ]
        if layouts.config.filters_per_unit == 2:  # its chunks follow those of slot 0
            m.d.comb += payload.filters[1].eq(base + state.index + ends.segment_last + 1)
