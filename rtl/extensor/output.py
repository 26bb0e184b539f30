"""The output: sums to activation codes."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component
from rtl.lib.requantise import Requantise
from rtl.lib.widths import REQUANTISATION

__all__ = ["Output"]


class Output(Component):
    """Requantise sums.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    move : Out(1)
        The pipeline moves: no code waits to be taken.
    sum : In(signed(32)), sum_valid : In(1), channel : In, final : In(1)
        A sum, its output channel, and whether it is the last; taken in a moving cycle.
    entry_address : Out, entry : In(REQUANTISATION)
        Read port of the requantisation table, enabled by ``move``, data one cycle later.
    zero_point, low, high : In(signed(9))
        Constants of the layer.
    outputs : Out(stream of Layouts.output)
        Codes, in the order of the sums, ``LATENCY`` moving cycles later.
    finished, taken : Out(1)
        Pulses: a code has been accepted; it was the program's last one.
    """

    LATENCY = Requantise.LATENCY

    def __init__(self, layouts: Layouts) -> None:
        super().__init__(
            {
                "start": In(1),
                "move": Out(1),
                "sum": In(signed(32)),
                "sum_valid": In(1),
                "channel": In(layouts.channel_bits),
                "final": In(1),
                "entry_address": Out(layouts.channel_bits),
                "entry": In(REQUANTISATION),
                "zero_point": In(signed(9)),
                "low": In(signed(9)),
                "high": In(signed(9)),
                "outputs": Out(stream.Signature(layouts.output)),
                "taken": Out(1),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.requantise = requantise = Requantise()
        valid, final = self.sum_valid, self.final
        for stage in range(self.LATENCY):
            next_valid, next_final = Signal(name=f"valid{stage}"), Signal(name=f"final{stage}")
            with m.If(self.start):
                m.d.sync += next_valid.eq(0)
            with m.Elif(self.move):
                m.d.sync += [next_valid.eq(valid), next_final.eq(final)]
            valid, final = next_valid, next_final
        m.d.comb += [
            self.move.eq(~self.outputs.valid | self.outputs.ready),
            self.entry_address.eq(self.channel),
            requantise.enable.eq(self.move),
            requantise.accumulator.eq(self.sum),
            requantise.entry.eq(self.entry),
            requantise.zero_point.eq(self.zero_point),
            requantise.low.eq(self.low),
            requantise.high.eq(self.high),
            self.outputs.valid.eq(valid),
            self.outputs.p.code.eq(requantise.code),
            self.taken.eq(valid & self.outputs.ready),
            self.finished.eq(self.taken & final),
        ]
        return m
