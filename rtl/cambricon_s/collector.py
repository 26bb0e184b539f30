"""The output collector: results of a position to codes, ``output_width`` a cycle.

It never waits: the neuron selector lets a position finish only when the results before it have
been taken and the output queue has room.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import LAYER, CoreLayouts
from rtl.lib.bits import count_ones
from rtl.lib.component import Component
from rtl.lib.requantise import Requantise

__all__ = ["Collector"]


class Collector(Component):
    """Drain the results of the PEs.

    Parameters
    ----------
    layouts : CoreLayouts
    in_flight : int
        Cycles from a position's finish to its first code in the output queue, at most.

    Members
    -------
    layer : In(LAYER)
        Layer registers.
    begin : In(1), result : In(CoreLayouts.result)
        Pulse: in the next cycle the results are those of this position.
    results : In(ArrayLayout(signed(32), pes))
        Of each PE.
    promised : In
        Output beats of the position that finishes in this cycle, 0 where none does.
    room : Out(1)
        Another position may finish.
    entry_address : Out, entries : In(CoreLayouts.entries)
        Read port of the requantisation table, data one cycle later.
    outputs : Out(stream of CoreLayouts.output)
        Codes in the order of the filters, for each block and position in program order.
    finished : Out(1)
        Pulse: the last beat of the layer has been accepted.
    count : Out
        Codes in the beat accepted in this cycle.

    Notes
    -----
    ``TAIL`` is the number of cycles from the one after the last results are taken to ``finished``,
    where nobody stalls ``outputs``.
    """

    TAIL = Requantise.LATENCY

    def __init__(self, layouts: CoreLayouts, in_flight: int) -> None:
        self._layouts = layouts
        # What is promised while one position is in flight behind another and a third one drains.
        self._depth = in_flight + self.TAIL + 2 + 3 * layouts.beats
        config = layouts.config
        super().__init__(
            {
                "layer": In(LAYER),
                "begin": In(1),
                "result": In(layouts.result),
                "results": In(data.ArrayLayout(signed(32), config.pes)),
                "promised": In(range(layouts.beats + 1)),
                "room": Out(1),
                "entry_address": Out(layouts.entry_bits),
                "entries": In(layouts.entries),
                "outputs": Out(stream.Signature(layouts.output)),
                "finished": Out(1),
                "count": Out(range(config.output_width + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, width = self._layouts, self._layouts.config.output_width
        active, beat = Signal(), Signal(layouts.beat_bits)
        result = Signal(layouts.result)
        last = Signal()
        m.d.comb += [
            last.eq(beat == layouts.beats_last(result.pes_last)),
            self.entry_address.eq(result.entry + beat),
        ]
        m.d.sync += beat.eq(beat + 1)
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(self.begin):
            m.d.sync += [active.eq(1), beat.eq(0), result.eq(self.result)]

        mark = Signal(data.StructLayout({"valid": 1, "held": width, "last": 1, "final": 1}))
        m.d.comb += [mark.valid.eq(active), mark.last.eq(last), mark.final.eq(last & result.final)]
        codes = []
        for lane in range(width):
            places = range(lane, layouts.config.pes, width)
            mine = Signal(data.ArrayLayout(signed(32), len(places)), name=f"mine{lane}")
            m.d.comb += [mine[at].eq(self.results[place]) for at, place in enumerate(places)]
            m.d.comb += mark.held[lane].eq(beat * width + lane <= result.pes_last)
            m.submodules[f"requantise{lane}"] = requantise = Requantise()
            m.d.comb += [
                requantise.enable.eq(1),
                requantise.accumulator.eq(mine[beat]),
                requantise.entry.eq(self.entries[lane]),
                requantise.zero_point.eq(self.layer.zero_point),
                requantise.low.eq(self.layer.clamp_low),
                requantise.high.eq(self.layer.clamp_high),
            ]
            codes.append(requantise.code)
        for stage in range(Requantise.LATENCY):
            delayed = Signal(mark.shape(), name=f"mark{stage + 1}")
            m.d.sync += delayed.eq(mark)
            mark = delayed
        self._queue(m, mark, codes)
        return m

    def _queue(self, m: Module, mark, codes) -> None:
        """The output queue: what is promised always fits."""
        output = Signal(self._layouts.output)
        m.d.comb += [output.held.eq(mark.held), output.last.eq(mark.last)]
        for lane, code in enumerate(codes):
            m.d.comb += output.codes[lane].eq(Mux(mark.held[lane], code, 0))
        bits = len(output.as_value())
        m.submodules.queue = queue = SyncFIFO(width=bits + 1, depth=self._depth)
        accepted = Signal()
        promised = Signal(range(self._depth + 1))
        m.d.comb += [
            queue.w_en.eq(mark.valid),
            queue.w_data.eq(Cat(output.as_value(), mark.final)),
            self.outputs.valid.eq(queue.r_rdy),
            self.outputs.p.as_value().eq(queue.r_data),
            queue.r_en.eq(self.outputs.ready),
            accepted.eq(self.outputs.valid & self.outputs.ready),
            self.room.eq(promised <= self._depth - self._layouts.beats),
            self.finished.eq(accepted & queue.r_data[bits]),
            self.count.eq(Mux(accepted, count_ones(self.outputs.p.held), 0)),
        ]
        m.d.sync += promised.eq(promised + self.promised - accepted)
