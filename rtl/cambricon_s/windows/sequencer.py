"""The sequencer: the program of a core, one step a cycle, by increments.

for each block: for each tile: for each segment: for each position of the tile:
    for each kept window of the segment: a step
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import LAYER, CoreLayouts
from rtl.lib.component import Component

__all__ = ["Sequencer"]


class Sequencer(Component):
    """Walk the layer.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    start : In(1)
        Pulse: begin. The first step is valid in the next cycle.
    layer : In(LAYER)
        Layer registers.
    block_address : Out, block_row : In(CoreLayouts.block)
        Read port of the block table, data one cycle after its address.
    window_address : Out, window_offset : In
        Read port of the window table, likewise: where a kept window lies after the neuron
        under the position's first place.
    steps : Out(stream of CoreLayouts.sequenced)
        The steps, one a cycle.
    """

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "block_address": Out(layouts.block_bits),
                "block_row": In(layouts.block),
                "window_address": Out(layouts.window_bits),
                "window_offset": In(layouts.address_bits),
                "steps": Out(stream.Signature(layouts.sequenced)),
            }
        )
        #: Where the walk is.
        self._state = data.StructLayout(
            {
                "block": layouts.block_bits,
                "group": layouts.address_bits,  # neuron at which the group begins
                "entry": layouts.entry_bits,  # requantisation row of the block
                "half": 1,  # of the synapse buffer
                "tile": 24,  # position in the tile
                "segment_start": 16,  # kept windows of the block before this segment
                "index": 16,  # kept window in the segment
                "window": layouts.window_bits,  # row of the window table
            }
        )
        #: A position: the neuron under its first place, its column, how many follow.
        self._position = data.StructLayout({"address": layouts.address_bits, "q": 17, "left": 24})

    def elaborate(self, platform) -> Module:
        m = Module()
        layer, row = self.layer, self.block_row
        segment_windows = self._layouts.config.segment_windows
        valid, take = Signal(), Signal()
        state, after = Signal(self._state), Signal(self._state)
        position, tile_start = Signal(self._position), Signal(self._position)
        m.d.comb += take.eq(valid & self.steps.ready)

        left = Signal(16)  # kept windows of the block from this segment on, less one
        single, last_segment = Signal(), Signal()
        of_segment, of_tile, of_block = Signal(), Signal(), Signal()
        m.d.comb += [
            left.eq(row.windows_last - state.segment_start),
            single.eq(row.windows_last < segment_windows),
            last_segment.eq(left < segment_windows),
            of_segment.eq(state.index == Mux(last_segment, left, segment_windows - 1)),
            # With a single segment the tiles have no effect.
            of_tile.eq((position.left == 0) | (~single & (state.tile == layer.tile_last))),
            of_block.eq(of_segment & last_segment & (position.left == 0)),
        ]
        following, first = Signal(self._position), Signal(self._position)
        self._advance_position(m, position, following)
        next_group = Signal.like(state.group)
        m.d.comb += [
            next_group.eq(state.group + Mux(row.last_of_group, layer.group_address, 0)),
            first.address.eq(layer.first_address + Mux(self.start, 0, next_group)),
            first.q.eq(layer.first_q),
            first.left.eq(layer.positions_last),
        ]
        m.d.comb += after.eq(state)
        with m.If(self.start):
            m.d.comb += after.eq(0)
            m.d.sync += [valid.eq(1), position.eq(first), tile_start.eq(first)]
        with m.Elif(take):
            m.d.comb += [after.index.eq(state.index + 1), after.window.eq(state.window + 1)]
            with m.If(of_segment):
                m.d.comb += after.index.eq(0)
                with m.If(~of_tile):  # the next position, the same segment
                    m.d.comb += [
                        after.tile.eq(state.tile + 1),
                        after.window.eq(state.window - state.index),
                    ]
                    m.d.sync += position.eq(following)
                with m.Elif(~last_segment):  # the same tile, the next segment
                    m.d.comb += [
                        after.tile.eq(0),
                        after.half.eq(~state.half),
                        after.segment_start.eq(state.segment_start + segment_windows),
                    ]
                    m.d.sync += position.eq(tile_start)
                with m.Else():  # the next tile, or the next block
                    m.d.comb += [
                        after.tile.eq(0),
                        after.half.eq(~state.half),
                        after.segment_start.eq(0),
                        after.window.eq(state.window - state.index - state.segment_start),
                    ]
                    m.d.sync += [position.eq(following), tile_start.eq(following)]
            with m.If(of_block):
                m.d.comb += [
                    after.block.eq(state.block + 1),
                    after.group.eq(next_group),
                    after.entry.eq(state.entry + self._layouts.beats_last(row.pes_last) + 1),
                    after.window.eq(state.window + 1),
                ]
                m.d.sync += [position.eq(first), tile_start.eq(first)]
                m.d.sync += valid.eq(state.block != layer.blocks_last)
        m.d.sync += state.eq(after)
        m.d.comb += [
            self.block_address.eq(after.block),
            self.window_address.eq(after.window),
            self.steps.valid.eq(valid),
        ]
        payload = self.steps.p
        step = payload.step
        complete = of_segment & last_segment
        m.d.comb += [
            payload.address.eq(position.address + self.window_offset),
            step.row.eq(Mux(state.half, segment_windows, 0) + state.index),
            step.first.eq(state.index == 0),
            step.last.eq(of_segment),
            step.from_zero.eq(state.segment_start == 0),
            step.complete.eq(complete),
            step.psum.eq(state.tile),
            step.load_first.eq((state.index == 0) & (state.tile == 0)),
            step.load_last.eq(of_segment & of_tile),
            step.result.pes_last.eq(row.pes_last),
            step.result.entry.eq(state.entry),
            step.result.final.eq(of_block & (state.block == layer.blocks_last)),
        ]
        return m

    def _advance_position(self, m: Module, position, result) -> None:
        """The next position of this core."""
        layer = self.layer
        q, wrap = Signal(17), Signal()
        m.d.comb += [
            q.eq(position.q + layer.step_q),
            wrap.eq(q >= layer.end_q),
            result.q.eq(q - Mux(wrap, layer.end_q, 0)),
            result.address.eq(
                position.address + layer.step_address + Mux(wrap, layer.wrap_address, 0)
            ),
            result.left.eq(position.left - 1),
        ]
