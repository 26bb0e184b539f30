"""The neuron selector: of a window, up to ``lanes`` selected neurons a cycle to all PEs.

    c[k] = max(1, ceil(n / lanes)),  n = ones of (block mask AND neurons that are not zero)

The selected neurons are packed together, in the order of their columns, with their offsets: the
ones of the block mask below their places in the window. A packed window is sent ``lanes`` at a
time.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import CoreLayouts
from rtl.cambricon_s.windows.pipeline import Pipeline, oldest
from rtl.lib.bits import count_ones, elements
from rtl.lib.component import Component

__all__ = ["NeuronSelector"]

#: Places whose ones are counted in a first stage, before those of all words.
_WORD = 16


def _prefix_counts(m: Module, bits, name: str) -> list:
    """Return the ones below each place of a value, and last the ones of all: parallel prefix."""
    counts = [bits[at] for at in range(len(bits))]  # ones of the places up to this one
    distance = 1
    while distance < len(bits):
        level = []
        for at in range(len(bits)):
            if at & distance:
                total = Signal(range(at + 2), name=f"{name}_{distance}_{at}")
                m.d.comb += total.eq(counts[(at & ~(distance - 1)) - 1] + counts[at])
                level.append(total)
            else:
                level.append(counts[at])
        counts = level
        distance *= 2
    return [0, *counts]


def _count_words(m: Module, take, bits, name: str):
    """Return registers: the ones below each place in its word, and the ones of each word."""
    size = min(_WORD, len(bits))
    below = Signal(data.ArrayLayout(range(size), len(bits)), name=f"{name}_below")
    totals = Signal(data.ArrayLayout(range(size + 1), len(bits) // size), name=f"{name}_totals")
    with m.If(take):
        for word in range(len(totals)):
            first = word * size
            counts = _prefix_counts(m, bits[first : first + size], f"{name}{word}")
            m.d.sync += totals[word].eq(counts[-1])
            m.d.sync += [below[first + at].eq(counts[at]) for at in range(size)]
    return below, totals


def _add_along(m: Module, totals, most: int, name: str) -> list:
    """Return the sums of the totals before each, and last of all: at most ``most``."""
    sums: list[Value] = [Const(0)]
    for word, total in enumerate(totals):
        after = Signal(range(most + 1), name=f"{name}_base{word}")
        m.d.comb += after.eq(sums[-1] + total)
        sums.append(after)
    return sums


class NeuronSelector(Component):
    """Select neurons.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    windows : In(stream of CoreLayouts.fetched)
        The steps with their neurons.
    waiting_pes_last : In
        Of the oldest step that has not come here.
    room : In(1)
        The output queue has room for another position.
    issue : Out(CoreLayouts.issue), result : Out(CoreLayouts.result)
        The bus to the PEs; with its ``commit``, the position that is complete.
    retire : Out(1)
        Pulse: the PEs have read the last row of a load.
    finish : Out(1), beats : Out, final : Out(1)
        Pulse: a position finishes; its output beats; whether it is the layer's last.
    busy, bubble, blocked : Out(1), pes_last : Out
        What this cycle is: neurons sent, none to send, a wait for the collector; none of them is
        a wait for the next step. And of the step concerned, the filters, less one.
    step : Out(1), count : Out
        Pulse: a step ends; its selected neurons.

    Notes
    -----
    ``LATENCY`` is the number of cycles from a step on ``windows`` to its first cycle; ``ISSUE``
    from a cycle to it on the bus; ``RETIRE`` from the end of a load's last step to the cycle after
    ``retire``.
    """

    LATENCY = 5
    ISSUE = 1
    RETIRE = 2

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "windows": In(stream.Signature(layouts.fetched)),
                "waiting_pes_last": In(layouts.pe_bits),
                "room": In(1),
                "issue": Out(layouts.issue),
                "result": Out(layouts.result),
                "retire": Out(1),
                "finish": Out(1),
                "beats": Out(range(layouts.beats + 1)),
                "final": Out(1),
                "busy": Out(1),
                "bubble": Out(1),
                "blocked": Out(1),
                "pes_last": Out(layouts.pe_bits),
                "step": Out(1),
                "count": Out(layouts.count_bits),
            }
        )
        window, place = layouts.config.window, layouts.place_bits
        #: What is packed: a neuron, its offset, and how far it has still to go.
        self._item = data.StructLayout({"neuron": 8, "offset": place, "distance": place})
        self._items = data.ArrayLayout(self._item, window)

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, window = self._layouts, self._layouts.config.window
        chain = Pipeline(m, self.LATENCY, self.windows.valid, self.windows.ready)
        steps = [self.windows.p.step]
        for at in range(self.LATENCY):
            step = Signal(layouts.step, name=f"step{at + 1}")
            with m.If(chain.take[at]):
                m.d.sync += step.eq(steps[-1])
            steps.append(step)

        # Marked: the columns to select.
        neurons = Signal(data.ArrayLayout(8, window))
        selected = Signal(window)
        with m.If(chain.take[0]):
            there = self.windows.p.neurons
            nonzero = Cat(there[at].any() for at in range(window))
            m.d.sync += [neurons.eq(there), selected.eq(self.windows.p.mask & nonzero)]
        offsets = self._offsets(m, chain.take, self.windows.p.mask, self.windows.p.wrapped)
        items, count = self._rank(m, chain.take[1:3], neurons, selected, offsets)
        packed, left, head_count = self._pack(m, chain.take[3:], chain.valid[-1], items, count)
        self._send(m, chain, steps[-1], packed, left, head_count)
        m.d.comb += self.pes_last.eq(
            oldest(
                [
                    (valid, step.result.pes_last)
                    for valid, step in reversed(list(zip(chain.valid, steps[1:], strict=True)))
                ],
                self.waiting_pes_last,
            )
        )
        return m

    def _offsets(self, m: Module, take, mask, wrapped) -> list:
        """Offset of every column, in three stages, the last one left to who takes it.

        Counts within words; bases of words; their sum. The columns that have wrapped to the next
        row come first here, but end the window. So of the ones in the columns before it, a column
        that has not wrapped leaves out those of wrapped ones; a wrapped column counts all of these,
        which are wrapped too, and those of the columns that have not. All modulo ``window``.
        """
        layouts, window = self._layouts, self._layouts.config.window
        below, totals = _count_words(m, take[0], mask, "masked")
        sums = _add_along(m, totals, window, "masked")
        wrapped1, wrapped2 = Signal(window), Signal(window)
        wrapped_count, kept_below = Signal(layouts.place_bits), Signal.like(below)
        bases = Signal(data.ArrayLayout(data.ArrayLayout(layouts.place_bits, 2), len(totals)))
        with m.If(take[0]):
            m.d.sync += [wrapped1.eq(wrapped), wrapped_count.eq(count_ones(mask & wrapped))]
        with m.If(take[1]):
            m.d.sync += [wrapped2.eq(wrapped1), kept_below.eq(below)]
            for base, count in zip(elements(bases), sums, strict=False):
                first = count - wrapped_count
                m.d.sync += [base[0].eq(first), base[1].eq(first + sums[-1])]
        size = window // len(totals)
        return [
            kept_below[at] + Mux(wrapped2[at], bases[at // size][1], bases[at // size][0])
            for at in range(window)
        ]

    def _rank(self, m: Module, take, neurons, selected, offsets):
        """Distance of every column, in two stages: within words, then of all words."""
        window = self._layouts.config.window
        below, totals = _count_words(m, take[0], ~selected, "unselected")
        sums = _add_along(m, totals, window, "unselected")
        size = window // len(totals)
        items, count = Signal(self._items), Signal(self._layouts.count_bits)
        kept_neurons, kept_selected = Signal.like(neurons), Signal.like(selected)
        with m.If(take[0]):
            m.d.sync += [kept_neurons.eq(neurons), kept_selected.eq(selected)]
        with m.If(take[1]):
            m.d.sync += count.eq(window - sums[-1])
            for at in range(window):
                distance = below[at] + sums[at // size]
                m.d.sync += [
                    items[at].neuron.eq(kept_neurons[at]),
                    items[at].offset.eq(offsets[at]),
                    items[at].distance.eq(Mux(kept_selected[at], distance, 0)),
                ]
        return items, count

    def _pack(self, m: Module, take, shift, items, count):
        """Move every selected place down by its distance, the low bits first: none collide."""
        layouts, lanes = self._layouts, self._layouts.config.lanes
        half = (layouts.place_bits + 1) // 2
        squeezed, squeezed_count = Signal(self._items), Signal(layouts.count_bits)
        with m.If(take[0]):
            m.d.sync += squeezed.eq(self._move(m, items, range(half)))
            m.d.sync += squeezed_count.eq(count)
        final = self._move(m, squeezed, range(half, layouts.place_bits))
        kept = data.StructLayout({"neuron": 8, "offset": layouts.place_bits})
        window = layouts.config.window
        packed = Signal(data.ArrayLayout(kept, window))
        left, head_count = Signal(layouts.count_bits), Signal(layouts.count_bits)
        with m.If(shift):
            m.d.sync += left.eq(left - lanes)
            for at in range(window - lanes):
                m.d.sync += packed[at].eq(packed[at + lanes])
        with m.If(take[1]):
            m.d.sync += [left.eq(squeezed_count), head_count.eq(squeezed_count)]
            for at in range(window):
                m.d.sync += [
                    packed[at].neuron.eq(final[at].neuron),
                    packed[at].offset.eq(final[at].offset),
                ]
        return packed, left, head_count

    def _move(self, m: Module, items, bits):
        window = self._layouts.config.window
        for bit in bits:
            moved = Signal(self._items, name=f"moved{bit}")
            for at in range(window):
                source = at + (1 << bit)
                m.d.comb += moved[at].eq(items[at])
                with m.If(items[at].distance[bit]):  # it leaves
                    m.d.comb += moved[at].distance.eq(0)
                if source < window:
                    with m.If(items[source].distance[bit]):
                        m.d.comb += moved[at].eq(items[source])
            items = moved
        return items

    def _send(self, m: Module, chain, step, packed, left, count) -> None:
        """Send the head, ``lanes`` neurons a cycle; it leaves when the collector can follow."""
        layouts, lanes = self._layouts, self._layouts.config.lanes
        valid = chain.valid[-1]
        sent = Signal()  # all neurons are sent, the step still waits
        begun = Signal()  # a cycle of this step has been sent
        reserved = Signal(layouts.beat_bits)  # cycles that the last position's codes need yet
        issuing, last, may_finish, finish = Signal(), Signal(), Signal(), Signal()
        beats_last = layouts.beats_last(step.result.pes_last)
        m.d.comb += [
            issuing.eq(valid & ~sent),
            last.eq(left <= lanes),
            may_finish.eq(~step.complete | ((reserved == 0) & self.room)),
            finish.eq(valid & (sent | last) & may_finish),
            chain.leave.eq(finish),
            self.finish.eq(finish & step.complete),
            self.beats.eq(beats_last + 1),
            self.final.eq(step.result.final),
            self.busy.eq(issuing & count.any()),
            self.bubble.eq(issuing & ~count.any()),
            self.blocked.eq(valid & sent),
            self.step.eq(finish),
            self.count.eq(count),
        ]
        m.d.sync += [
            begun.eq(valid & ~finish),
            sent.eq(valid & (sent | last) & ~finish),
            reserved.eq(Mux(self.finish, beats_last, reserved - reserved.any())),
        ]
        bus, retire = self.issue, Signal()
        m.d.sync += [
            bus.valid.eq(issuing),
            bus.row.eq(step.row),
            bus.first.eq(step.first & ~begun),
            bus.from_zero.eq(step.from_zero),
            bus.store.eq(last & step.last & ~step.complete),
            bus.psum.eq(step.psum),
            bus.commit.eq(self.finish),
            self.result.eq(step.result),
            retire.eq(finish & step.load_last),
            self.retire.eq(retire),
        ]
        for lane in range(lanes):
            there = issuing & (left > lane)
            m.d.sync += [
                bus.lanes[lane].eq(there),
                bus.neurons[lane].eq(Mux(there, packed[lane].neuron, 0)),
                bus.offsets[lane].eq(packed[lane].offset),
            ]
