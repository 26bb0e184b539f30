"""The registers of each cluster's job, from the layer's descriptor and the tile's record.

Cluster m works on positions m, m + clusters, ... of the tile. Where its first window lies is found
by walking from one cluster's first position to the next one's, several clusters a cycle.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.chip.config import CHIP_LATENCY
from rtl.chip.control.payloads import DESCRIPTOR, RECORD, Payloads
from rtl.chip.datapath.vector_pipeline import divide
from rtl.cluster.layouts import LAYER
from rtl.lib.component import Component

__all__ = ["JobRegisters"]


class JobRegisters(Component):
    """Derive registers.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    descriptor : In(DESCRIPTOR), record : In(RECORD)
        Of the next job.
    waited : In(6)
        Cycles for which they have been there; it begins anew for every tile.
    layers : Out(ArrayLayout(LAYER, clusters)), active : Out(clusters)
        Registers, and which clusters have a position; complete after ``TILE`` cycles.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        clusters = payloads.config.clusters
        super().__init__(
            {
                "descriptor": In(DESCRIPTOR),
                "record": In(RECORD),
                "waited": In(6),
                "layers": Out(data.ArrayLayout(LAYER, clusters)),
                "active": Out(clusters),
            }
        )
        #: A position's window: its column among positions, corner, index place.
        self._window = data.StructLayout(
            {"column": 16, "y": signed(16), "x": signed(16), "place": 32}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._share(m)
        self._count_positions(m)
        self._walk(m)
        return m

    def _share(self, m: Module) -> None:
        """What is the same for all clusters."""
        d, chunk = self.descriptor, self._payloads.config.chunk
        ragged = d.group_channels[: chunk.bit_length() - 1]
        values = {
            "skip_activations": d.skip_activations,
            "skip_weights": d.skip_weights,
            "signed_activations": d.signed_activations,
            "signed_outputs": d.signed_outputs,
            "zero_point": d.zero_point,
            "clamp_low": d.clamp_low,
            "clamp_high": d.clamp_high,
            "passes_last": d.passes - 1,
            "segment_last": d.filter_chunks - 1,
            "segment_short_last": d.filter_chunks - 1,
            "row_chunks_last": d.row_chunks - 1,
            "kernel_width_last": d.kernel_width - 1,
            "ragged_length": Mux(ragged == 0, chunk, ragged),
            "height": d.in_height,
            "width": d.in_width,
            "step_x": d.step_x,
            "step_y": d.step_y,
            "step_address": d.step_places,
            "end_x": d.wrap_columns - d.pad_left,
            "wrap_x": d.wrap_columns,
            "wrap_y": d.stride_height,
            "wrap_address": d.wrap_places,
            "line_address": d.line_step,
            "group_address": d.line_places,
        }
        for layer in self.layers:
            m.d.sync += [layer[name].eq(value) for name, value in values.items()]

    def _count_positions(self, m: Module) -> None:
        clusters = self._payloads.config.clusters
        pixels = Signal(24)
        m.d.sync += pixels.eq(self.record.pixels)
        turns, rest = divide(pixels, clusters)
        late_turns, late_rest = Signal(24), Signal(len(rest))
        m.d.sync += [late_turns.eq(turns), late_rest.eq(rest)]
        for number, layer in enumerate(self.layers):
            count = Signal(24, name=f"count{number}")
            m.d.comb += count.eq(late_turns + (late_rest > number))
            m.d.sync += [
                layer.positions_last.eq(count - 1),
                layer.tile_last.eq(count - 1),
                self.active[number].eq(count.any()),
            ]

    def _walk(self, m: Module) -> None:
        d, record, config = self.descriptor, self.record, self._payloads.config
        first, present = Signal(self._window), Signal(self._window)
        down, right = Signal(32), Signal(32)
        m.d.sync += [
            first.column.eq(record.first_x),
            first.y.eq(record.first_y * d.stride_height - d.pad_top),
            first.x.eq(record.first_x * d.stride_width - d.pad_left),
            down.eq(first.y * d.row_places),
            right.eq(first.x * d.row_chunks + record.ring_row),
            first.place.eq(down + right),
        ]
        begin = 4
        step = -(-config.clusters // (CHIP_LATENCY.tile - begin))
        with m.If(self.waited < begin):
            m.d.sync += present.eq(first)
        for at in range(0, config.clusters, step):
            with m.If(self.waited == begin + at // step):
                window = present
                for number in range(at, min(at + step, config.clusters)):
                    layer = self.layers[number]
                    m.d.sync += [
                        layer.first_y.eq(window.y),
                        layer.first_x.eq(window.x),
                        layer.first_address.eq(window.place),
                    ]
                    following = Signal(self._window, name=f"window{number + 1}")
                    self._advance(m, window, following)
                    window = following
                m.d.sync += present.eq(window)

    def _advance(self, m: Module, window, following) -> None:
        """The window of the next position, whichever cluster's it is."""
        d = self.descriptor
        m.d.comb += [
            following.column.eq(window.column + 1),
            following.y.eq(window.y),
            following.x.eq(window.x + d.stride_width),
            following.place.eq(window.place + d.column_places),
        ]
        with m.If(window.column == d.out_width - 1):
            m.d.comb += [
                following.column.eq(0),
                following.y.eq(window.y + d.stride_height),
                following.x.eq(window.x + d.stride_width - d.wrap_columns),
                following.place.eq(window.place + d.column_places + d.wrap_places),
            ]
