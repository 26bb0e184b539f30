"""The output collector: accumulators of a position to codes, mask and packed values.

    E[p] = B[p] + ceil(filters in the pass / collector_width)

It walks the held unit-slots in order, ``collector_width`` a cycle; each beat of the output has
its own slice of the mask and its non-zero codes, packed.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.bits import count_ones
from rtl.layouts import MAX_PASSES, Layouts, bits_for_count
from rtl.registers import layer_layout
from rtl.requantise import Requantise

__all__ = ["Collector"]


class Collector(wiring.Component):
    """Drain the result registers of the units.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first pass.
    layer : In(layer_layout())
        Layer registers.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    entry_address : Out, entry_enable : Out(1), entries : In
        Read port of the requantisation table; a row has an entry for each lane.
    results : In(ArrayLayout(signed(32), held_bits)), valid : In(units)
        Result registers of all units, and whether they hold a completed position.
    taken : Out(1), turn : Out
        Pulse: the position's last accumulator has been taken; positions taken, wrapping.
    outputs : Out(stream of Layouts.output)
        Codes in the order of ``Schedule.outputs``, for each pass and position in program order.
    finished : Out(1)
        Pulse: the last beat of the layer has been accepted.
    count, nonzeros : Out
        Codes in the beat accepted in this cycle, and those of them that are not zero.

    Notes
    -----
    ``BEGIN`` is the number of cycles from the first with all results valid to the one in which
    the first accumulators are taken; ``TAIL`` from the one after the last ones are taken to
    ``finished``. Stalls of ``outputs`` stop the walk.
    """

    BEGIN = 1
    TAIL = Requantise.LATENCY

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        lanes = config.collector_width
        self._row_bits = bits_for_count(layouts.requantisation_rows)
        super().__init__(
            {
                "start": In(1),
                "layer": In(layer_layout()),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "entry_address": Out(self._row_bits),
                "entry_enable": Out(1),
                "entries": In(data.ArrayLayout(layouts.requantisation, lanes)),
                "results": In(data.ArrayLayout(signed(32), layouts.held_bits)),
                "valid": In(config.units),
                "taken": Out(1),
                "turn": Out(layouts.turn_bits),
                "outputs": Out(stream.Signature(layouts.output)),
                "finished": Out(1),
                "count": Out(lanes.bit_length()),
                "nonzeros": Out(lanes.bit_length()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, layer = self._layouts.config, self.layer
        lanes = config.collector_width
        move = Signal()
        m.d.comb += move.eq(~self.outputs.valid | self.outputs.ready)

        number, next_number = (Signal(bits_for_count(MAX_PASSES)) for _ in range(2))
        position = Signal(24)
        begun = Signal()  # all results are there; registered, the walk follows
        held = self.pass_row.held
        active = held[:: config.filters_per_unit]
        beat = Signal(range(max(2, self._layouts.held_bits // lanes)))
        filters = count_ones(held)
        beat_end, take = Signal(), Signal()
        m.d.comb += [
            take.eq(move & begun),
            beat_end.eq((beat + 1) * lanes >= filters),
            self.taken.eq(take & beat_end),
        ]
        pass_end = Signal()
        m.d.comb += [
            pass_end.eq(self.taken & (position == layer.positions_last)),
            next_number.eq(Mux(self.start, 0, number + pass_end)),
            self.pass_address.eq(next_number),
        ]
        row, pass_row = Signal(self._row_bits), Signal(self._row_bits)
        m.d.sync += number.eq(next_number)
        all_valid = Signal()
        m.d.comb += all_valid.eq(((self.valid & active) == active) & self.valid.any())
        m.d.sync += begun.eq(Mux(begun, ~self.taken, all_valid))
        with m.If(take):
            m.d.sync += [beat.eq(Mux(beat_end, 0, beat + 1)), row.eq(row + 1)]
        with m.If(self.taken):
            m.d.sync += [position.eq(position + 1), row.eq(pass_row), self.turn.eq(self.turn + 1)]
        with m.If(pass_end):
            m.d.sync += [position.eq(0), pass_row.eq(row + 1), row.eq(row + 1)]
        with m.If(self.start):
            m.d.sync += [position.eq(0), row.eq(0), pass_row.eq(0), beat.eq(0), begun.eq(0)]
            m.d.sync += self.turn.eq(0)
        m.d.comb += [self.entry_address.eq(row), self.entry_enable.eq(move)]

        chosen, exists = self._choose(m, held, beat)
        codes = []
        for lane in range(lanes):
            m.submodules[f"requantise{lane}"] = requantise = Requantise()
            m.d.comb += [
                requantise.enable.eq(move),
                requantise.accumulator.eq(chosen[lane]),
                requantise.entry.eq(self.entries[lane]),
                requantise.zero_point.eq(layer.zero_point),
                requantise.low.eq(layer.clamp_low),
                requantise.high.eq(layer.clamp_high),
            ]
            codes.append(requantise.code)
        last = pass_end & (number == layer.passes_last)
        mark = data.StructLayout({"valid": 1, "held": lanes, "last": 1, "final": 1})
        marks = Signal(mark)
        m.d.comb += [
            marks.valid.eq(take),
            marks.held.eq(exists),
            marks.last.eq(beat_end),
            marks.final.eq(last),
        ]
        for stage in range(Requantise.LATENCY):
            delayed = Signal(mark, name=f"mark{stage + 1}")
            with m.If(move):
                m.d.sync += delayed.eq(marks)
            marks = delayed
        self._pack(m, move, marks, codes)
        return m

    def _choose(self, m: Module, held, beat):
        """Select the accumulators of a beat: held unit-slot number ``beat * lanes + lane``."""
        lanes = self._layouts.config.collector_width
        chosen = [Signal(signed(32), name=f"chosen{lane}") for lane in range(lanes)]
        exists = Signal(lanes)
        if self._layouts.config.filters_per_unit == 1:  # held units are the first ones
            for lane in range(lanes):
                places = range(lane, self._layouts.held_bits, lanes)
                mine = data.ArrayLayout(signed(32), len(places))
                table = Signal(mine, name=f"mine{lane}")
                m.d.comb += [table[at].eq(self.results[place]) for at, place in enumerate(places)]
                m.d.comb += chosen[lane].eq(table[beat])
                flags = Cat(held[place] for place in places)
                m.d.comb += exists[lane].eq(flags.bit_select(beat, 1))
            return chosen, exists
        ranks = [count_ones(held[:place]) for place in range(self._layouts.held_bits)]
        for place, rank in enumerate(ranks):
            known = Signal(range(self._layouts.held_bits + 1), name=f"rank{place}")
            m.d.sync += known.eq(rank)
            for lane in range(lanes):
                with m.If(held[place] & (known == beat * lanes + lane)):
                    m.d.comb += [chosen[lane].eq(self.results[place]), exists[lane].eq(1)]
        return chosen, exists

    def _pack(self, m: Module, move, marks, codes) -> None:
        """Mask and packed values of a beat."""
        lanes = len(codes)
        output = self.outputs.p
        mask = Signal(lanes)
        m.d.comb += mask.eq(Cat(code.any() for code in codes) & marks.held)
        packed = Signal(data.ArrayLayout(8, lanes))
        for lane in range(lanes):
            place = Signal(range(max(2, lanes)), name=f"place{lane}")
            m.d.comb += place.eq(count_ones(mask[:lane]))
            for target in range(lane + 1):
                with m.If(mask[lane] & (place == target)):
                    m.d.comb += packed[target].eq(codes[lane])
        final = Signal()
        with m.If(move):
            m.d.sync += [
                self.outputs.valid.eq(marks.valid),
                output.mask.eq(mask),
                output.held.eq(marks.held),
                output.values.eq(packed),
                output.last.eq(marks.last),
                final.eq(marks.final),
            ]
        accepted = self.outputs.valid & self.outputs.ready
        m.d.comb += [
            self.finished.eq(accepted & final),
            self.count.eq(Mux(accepted, count_ones(output.held), 0)),
            self.nonzeros.eq(Mux(accepted, count_ones(output.mask), 0)),
        ]
