"""The sequencer: the program of a cluster, one step a cycle, by increments.

    for each pass: for each tile: for each segment: for each position in the tile:
        for each chunk of the segment: a step
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
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
        layer, layouts = self.layer, self._layouts
        valid = Signal()
        number = Signal(bits_for_count(MAX_PASSES))  # of the pass
        position, tile_start = Signal(self._position), Signal(self._position)
        chunk, segment_start = Signal(self._chunk), Signal(self._chunk)
        group = Signal(layouts.input_bits)  # index row at which the group begins
        tile, segment, index = Signal(24), Signal(16), Signal(16)
        buffer = Signal()

        segment_is_last = segment == layer.segments_last
        index_end = Signal()
        m.d.comb += index_end.eq(
            index == Mux(segment_is_last, layer.segment_short_last, layer.segment_last)
        )
        tile_end = Signal()
        m.d.comb += tile_end.eq((tile == layer.tile_last) | (position.left == 0))
        pass_end = Signal()
        m.d.comb += pass_end.eq(index_end & tile_end & segment_is_last & (position.left == 0))

        next_group = Signal.like(group)
        m.d.comb += next_group.eq(
            group + Mux(self.pass_row.last_of_group, layer.group_address, 0)
        )
        next_position, first = Signal(self._position), Signal(self._position)
        self._advance_position(m, position, next_position)
        m.d.comb += [
            first.y.eq(layer.first_y),
            first.x.eq(layer.first_x),
            first.address.eq(layer.first_address + Mux(self.start, 0, next_group)),
            first.left.eq(layer.positions_last),
        ]
        next_chunk = Signal(self._chunk)
        self._advance_chunk(m, chunk, next_chunk)

        take = Signal()
        m.d.comb += take.eq(valid & self.steps.ready)
        next_number = Signal.like(number)
        m.d.comb += [
            next_number.eq(Mux(self.start, 0, number + (take & pass_end))),
            self.pass_address.eq(next_number),
        ]
        m.d.sync += number.eq(next_number)
        with m.If(self.start):
            m.d.sync += [
                valid.eq(1),
                position.eq(first),
                tile_start.eq(first),
                chunk.eq(0),
                segment_start.eq(0),
                group.eq(0),
                tile.eq(0),
                segment.eq(0),
                index.eq(0),
                buffer.eq(0),
            ]
        with m.Elif(take):
            m.d.sync += [index.eq(index + 1), chunk.eq(next_chunk)]
            with m.If(index_end):
                m.d.sync += index.eq(0)
                with m.If(~tile_end):
                    m.d.sync += [
                        tile.eq(tile + 1),
                        position.eq(next_position),
                        chunk.eq(segment_start),
                    ]
                with m.Else():
                    m.d.sync += [tile.eq(0), buffer.eq(~buffer)]
                    with m.If(~segment_is_last):
                        m.d.sync += [
                            segment.eq(segment + 1),
                            position.eq(tile_start),
                            segment_start.eq(next_chunk),
                        ]
                    with m.Else():
                        m.d.sync += [segment.eq(0), chunk.eq(0), segment_start.eq(0)]
                        with m.If(~pass_end):
                            m.d.sync += [position.eq(next_position), tile_start.eq(next_position)]
                        with m.Else():
                            m.d.sync += [
                                position.eq(first),
                                tile_start.eq(first),
                                group.eq(next_group),
                                valid.eq(number != layer.passes_last),
                            ]
        self._describe(m, locals())
        return m

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

    def _describe(self, m: Module, state) -> None:
        """Describe the present step."""
        layer, layouts = self.layer, self._layouts
        payload = self.steps.p
        position, chunk, index = state["position"], state["chunk"], state["index"]
        index_end, tile_end, tile = state["index_end"], state["tile_end"], state["tile"]
        buffer, segment_is_last = state["buffer"], state["segment_is_last"]
        y, x = Signal(signed(18)), Signal(signed(18))
        length = Signal(16)  # chunks in this segment
        base = Signal(layouts.filter_bits)
        if layouts.buffers == 2:
            m.d.comb += base.eq(Mux(buffer, layouts.buffer_chunks, 0))
        m.d.comb += [
            y.eq(position.y + chunk.r),
            x.eq(position.x + chunk.s),
            length.eq(Mux(segment_is_last, layer.segment_short_last, layer.segment_last) + 1),
            self.steps.valid.eq(state["valid"]),
            payload.held.eq(self.pass_row.held),
            payload.load_first.eq((index == 0) & (tile == 0)),
            payload.inside.eq((y >= 0) & (y < layer.height) & (x >= 0) & (x < layer.width)),
            payload.ragged.eq(chunk.row_chunk == layer.row_chunks_last),
            payload.address.eq(position.address + chunk.offset),
            payload.step.psum.eq(tile),
            payload.step.from_zero.eq(state["segment"] == 0),
            payload.step.last.eq(index_end),
            payload.step.complete.eq(index_end & segment_is_last),
            payload.step.load_last.eq(index_end & tile_end),
            payload.step.buffer.eq(buffer if layouts.buffers == 2 else 0),
        ]
        for slot in range(layouts.config.filters_per_unit):
            m.d.comb += payload.filters[slot].eq(base + index + (length if slot else 0))
