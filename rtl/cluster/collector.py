"""The output collector: accumulators of a position to codes, mask and packed values.

    E[p] = B[p] + ceil(filters in the pass / collector_width)

It walks the held unit-slots in order, ``collector_width`` a cycle; each beat of the output has
its own slice of the mask and its non-zero codes, packed. With chunk balancing all units hold a
share of each sum (``rtl.cluster.unit.merging_mac``): they are added up on the way, in the time
that the others take from sums to result registers.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import LAYER, MAX_PASSES, Layouts
from rtl.cluster.passes import PassReader
from rtl.lib.bits import add_up, count_ones
from rtl.lib.component import Component
from rtl.lib.countdown import Countdown, constant_count, count_down
from rtl.lib.fifo import CreditFifo
from rtl.lib.requantise import Requantise
from rtl.lib.widths import bits_for_count

__all__ = ["Collector"]


def _sum(terms):
    """Add 32-bit numbers up; a carry out of 32 bits can't come to matter."""
    return add_up(terms)[:32].as_signed()


class Collector(Component):
    """Drain the result registers of the units.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin with the first pass.
    layer : In(LAYER)
        Layer registers.
    pass_address : Out, pass_row : In(Layouts.pass_row)
        Read port of the pass table, data one cycle after its address.
    entry_address : Out, entries : In
        Read port of the requantisation table, data one cycle after its address; a row has an entry
        for each lane.
    results : In(ArrayLayout(signed(32), units * Layouts.results)), valid : In(units)
        Result registers of all units, and whether they hold a completed position.
    drain : Out(Layouts.drain)
        With chunk balancing only: the sums that ``results`` shall show in the next cycle.
    taken : Out(1)
        Pulse: the position's last accumulator has been taken.
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
                "layer": In(LAYER),
                "pass_address": Out(bits_for_count(MAX_PASSES)),
                "pass_row": In(layouts.pass_row),
                "entry_address": Out(self._row_bits),
                "entries": In(data.ArrayLayout(layouts.requantisation, lanes)),
                "results": In(data.ArrayLayout(signed(32), config.units * layouts.results)),
                **({"drain": Out(layouts.drain)} if layouts.merges else {}),
                "valid": In(config.units),
                "taken": Out(1),
                "outputs": Out(stream.Signature(layouts.output)),
                "finished": Out(1),
                "count": Out(lanes.bit_length()),
                "nonzeros": Out(lanes.bit_length()),
            }
        )
        self._queued = data.StructLayout({"output": layouts.output, "final": 1})

    def elaborate(self, platform) -> Module:
        m = Module()
        config, layer = self._layouts.config, self.layer
        lanes = config.collector_width
        m.submodules.passes = passes = PassReader(self._layouts)
        m.submodules.queue = queue = CreditFifo(self._queued)
        begun = Signal()  # all results are there; registered, the walk follows
        at_last = Signal()  # and the beat is the position's last one
        take, pass_end = Signal(), Signal()

        # What is known of a pass follows its row by some cycles. They are there: a position can
        # only be complete long after the one before has been taken.
        held, active = Signal(self._layouts.held_bits), Signal(config.units)
        filters = Signal(range(self._layouts.held_bits + 1))
        more_beats = [filters > end for end in range(lanes, self._layouts.held_bits, lanes)]
        beats = Signal(Countdown(max(1, len(more_beats).bit_length())))
        beat = Signal(range(max(2, self._layouts.held_bits // lanes)))
        beats_last = Signal.like(beats.left)
        m.d.sync += [
            held.eq(passes.row.held),
            active.eq(Cat(self._slots_of(held, unit).any() for unit in range(config.units))),
            filters.eq(count_ones(held)),
            beats_last.eq(count_ones(Cat(more_beats))),
        ]
        all_positions = constant_count(m, layer.positions_last)
        all_passes = constant_count(m, layer.passes_last)
        positions, pass_count = Signal(all_positions.shape()), Signal(all_passes.shape())
        row, next_row, pass_row, following = (Signal(self._row_bits) for _ in range(4))
        all_valid = Signal()
        m.d.comb += [
            passes.start.eq(self.start),
            passes.data.eq(self.pass_row),
            self.pass_address.eq(passes.address),
            passes.next.eq(pass_end),
            take.eq(begun & queue.room),
            queue.enter.eq(take),
            self.taken.eq(at_last & queue.room),
            pass_end.eq(self.taken & positions.last),
            all_valid.eq(~(active & ~self.valid).any() & self.valid.any()),
            following.eq(row + 1),
            next_row.eq(Mux(take, Mux(beats.last & ~positions.last, pass_row, following), row)),
            self.entry_address.eq(next_row),
        ]
        m.d.sync += [begun.eq(Mux(begun, ~self.taken, all_valid)), row.eq(next_row)]
        with m.If(~begun):
            m.d.sync += [beat.eq(0), beats.left.eq(beats_last), beats.last.eq(beats_last == 0)]
            m.d.sync += at_last.eq(all_valid & (beats_last == 0))
        with m.Elif(take):
            m.d.sync += [beat.eq(beat + 1), *count_down(beats)]
            m.d.sync += at_last.eq((beats.left == 1) & ~at_last)
        with m.If(self.taken):
            m.d.sync += count_down(positions)
        with m.If(pass_end):
            m.d.sync += [positions.eq(all_positions), pass_row.eq(following)]
            m.d.sync += count_down(pass_count)
        with m.If(self.start):
            m.d.sync += [positions.eq(all_positions), pass_count.eq(all_passes), pass_row.eq(0)]
            m.d.sync += [begun.eq(0), at_last.eq(0)]
            m.d.comb += next_row.eq(0)
        entries = Signal(self.entries.shape())
        m.d.sync += entries.eq(self.entries)

        if self._layouts.merges:
            soon = Mux(begun, beat + 2, all_valid)  # the beat taken two cycles later
            chosen, exists = self._merge(m, soon, ~begun | take, filters, beat)
        else:
            chosen, exists = self._choose(m, held, beat)
        codes = []
        for lane in range(lanes):
            m.submodules[f"requantise{lane}"] = requantise = Requantise()
            m.d.comb += [
                requantise.enable.eq(1),
                requantise.accumulator.eq(chosen[lane]),
                requantise.entry.eq(entries[lane]),
                requantise.zero_point.eq(layer.zero_point),
                requantise.low.eq(layer.clamp_low),
                requantise.high.eq(layer.clamp_high),
            ]
            codes.append(requantise.code)
        mark = data.StructLayout({"valid": 1, "held": lanes, "last": 1, "final": 1})
        marks = Signal(mark)
        m.d.comb += [
            marks.valid.eq(take),
            marks.held.eq(exists),
            marks.last.eq(beats.last),
            marks.final.eq(pass_end & pass_count.last),
        ]
        for stage in range(Requantise.LATENCY):
            delayed = Signal(mark, name=f"mark{stage + 1}")
            m.d.sync += delayed.eq(marks)
            marks = delayed
        self._pack(m, queue, marks, codes)
        return m

    def _slots_of(self, held, unit: int):
        slots = self._layouts.config.filters_per_unit
        return held[unit * slots : (unit + 1) * slots]

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

    def _merge(self, m: Module, soon, enable, filters, beat):
        """Add up the units' shares: half of the tree before a register, half after it."""
        lanes, units = self._layouts.config.collector_width, self._layouts.config.units
        position = Signal(self._layouts.tile_bits)
        m.d.comb += [
            self.drain.enable.eq(enable),
            self.drain.beat.eq(soon),
            self.drain.position.eq(position),
        ]
        with m.If(self.start):
            m.d.sync += position.eq(0)
        with m.Elif(self.taken):
            last = position == self._layouts.position_slots - 1
            m.d.sync += position.eq(Mux(last, 0, position + 1))
        part = 1 << (bits_for_count(units) + 1) // 2  # units added up before the register
        chosen, exists = [], Signal(lanes)
        for lane in range(lanes):
            shares = [self.results[unit * lanes + lane] for unit in range(units)]
            parts = []
            for at in range(0, units, part):
                share = Signal(signed(32), name=f"share{lane}_{at}")
                with m.If(enable):
                    m.d.sync += share.eq(_sum(shares[at : at + part]))
                parts.append(share)
            chosen.append(Signal(signed(32), name=f"chosen{lane}"))
            m.d.comb += chosen[lane].eq(_sum(parts))
            m.d.comb += exists[lane].eq(beat * lanes + lane < filters)
        return chosen, exists

    def _pack(self, m: Module, queue, marks, codes) -> None:
        """Mask and packed values of a beat, into the FIFO, and out of it."""
        lanes = len(codes)
        mask = Signal(lanes)
        m.d.comb += mask.eq(Cat(code.any() for code in codes) & marks.held)
        packed = Signal(data.ArrayLayout(8, lanes))
        for lane in range(lanes):
            place = Signal(range(max(2, lanes)), name=f"place{lane}")
            m.d.comb += place.eq(count_ones(mask[:lane]))
            for target in range(lane + 1):
                with m.If(mask[lane] & (place == target)):
                    m.d.comb += packed[target].eq(codes[lane])
        item, output = queue.item, queue.head.output
        accepted = self.outputs.valid & self.outputs.ready
        m.d.comb += [
            queue.push.eq(marks.valid),
            item.output.mask.eq(mask),
            item.output.held.eq(marks.held),
            item.output.values.eq(packed),
            item.output.last.eq(marks.last),
            item.final.eq(marks.final),
            self.outputs.valid.eq(queue.valid),
            self.outputs.p.eq(output),
            queue.pop.eq(accepted),
            self.finished.eq(accepted & queue.head.final),
            self.count.eq(Mux(accepted, count_ones(output.held), 0)),
            self.nonzeros.eq(Mux(accepted, count_ones(output.mask), 0)),
        ]
