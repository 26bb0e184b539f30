"""From a collector's beats to bytes of half an assembly buffer, at their output channels."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.chip.control.payloads import Payloads
from rtl.cluster.layouts import LAYER
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.countdown import constant_count, count_down
from rtl.lib.widths import bits_for_count

__all__ = ["Scatter"]


class Scatter(Component):
    """Follow a core's outputs through its passes and positions.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    start : In(1), layer : In(LAYER)
        As the core's.
    pixel_bytes : In(16), half : In(1)
        Output channels; the half of the job's tile.
    outputs : In(stream of rtl.cluster.layouts.Layouts.output; always ready)
    channel_row : Out, channels : In
        Read port of the table of channels.
    codes : Out(Payloads.codes)
        What is to be written at the end of the cycle, one after the beat's.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        config = payloads.config
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "pixel_bytes": In(16),
                "half": In(1),
                "outputs": In(stream.Signature(payloads.cluster.output)),
                "channel_row": Out(bits_for_count(payloads.entry_rows)),
                "channels": In(data.ArrayLayout(16, config.collector_width)),
                "codes": Out(payloads.codes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        beat, valid, codes = self.outputs.p, self.outputs.valid, self.codes
        row, pass_row, following = (Signal.like(self.channel_row) for _ in range(3))
        base = Signal(self._payloads.half_bits)
        all_positions = constant_count(m, self.layer.positions_last)
        positions = Signal(all_positions.shape())
        m.d.comb += [
            self.outputs.ready.eq(1),
            following.eq(row + 1),
            self.channel_row.eq(row),
        ]
        m.d.sync += row.eq(self.channel_row)
        with m.If(self.start):
            m.d.comb += self.channel_row.eq(0)
            m.d.sync += [pass_row.eq(0), base.eq(0), positions.eq(all_positions)]
        with m.Elif(valid):
            m.d.comb += self.channel_row.eq(following)
            with m.If(beat.last):
                m.d.sync += [*count_down(positions), base.eq(base + self.pixel_bytes)]
                with m.If(positions.last):
                    m.d.sync += [positions.eq(all_positions), base.eq(0), pass_row.eq(following)]
                with m.Else():
                    m.d.comb += self.channel_row.eq(pass_row)
        m.d.sync += codes.half.eq(self.half)
        for lane in range(len(beat.mask)):
            place = count_ones(beat.mask[:lane])
            code = Mux(beat.mask[lane], beat["values"][place], 0)
            m.d.sync += [
                codes.valid[lane].eq(valid & beat.held[lane]),
                codes.address[lane].eq(base + self.channels[lane]),
                codes.code[lane].eq(code),
            ]
        return m
