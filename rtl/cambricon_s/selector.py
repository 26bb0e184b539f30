"""The neuron selector: of a window, up to ``lanes`` selected neurons a cycle to all PEs.

    c[k] = max(1, ceil(n / lanes)),  n = ones of (block mask AND neurons that are not zero)

The selected neurons are packed together, in order, with their offsets: the ones of the block mask
below them. A packed window is sent ``lanes`` at a time.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import CoreLayouts
from rtl.cambricon_s.pipeline import Pipeline, oldest

__all__ = ["NeuronSelector", "prefix_counts"]

#: Places whose ones are counted in the first of two stages.
_WORD = 16


def prefix_counts(m: Module, bits, name: str) -> list:
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


class NeuronSelector(wiring.Component):
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

        # Marked: the places to select.
        neurons = Signal(data.ArrayLayout(8, window))
        mask, selected = Signal(window), Signal(window)
        with m.If(chain.take[0]):
            there = self.windows.p.neurons
            nonzero = Cat(there[at].any() for at in range(window))
            m.d.sync += [
                neurons.eq(there),
                mask.eq(self.windows.p.mask),
                selected.eq(self.windows.p.mask & nonzero),
            ]
        items, count = self._rank(m, chain.take[1:3], neurons, mask, selected)
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

    def _rank(self, m: Module, take, neurons, mask, selected):
        """Distance and offset of every place, in two stages: within words, then of all words."""
        layouts, window = self._layouts, self._layouts.config.window
        size = min(_WORD, window)
        words = range(0, window, size)
        places = data.ArrayLayout(range(size + 1), window)
        totals = data.ArrayLayout(range(size + 1), len(words))
        items, count = Signal(self._items), Signal(layouts.count_bits)
        kept_neurons, kept_selected = Signal.like(neurons), Signal.like(selected)
        found = {}
        for name, bits in (("unselected", ~selected), ("masked", mask)):
            below = Signal(places, name=f"{name}_below")
            total = Signal(totals, name=f"{name}_total")
            with m.If(take[0]):
                for word, first in enumerate(words):
                    counts = prefix_counts(m, bits[first : first + size], f"{name}{word}")
                    m.d.sync += total[word].eq(counts[-1])
                    m.d.sync += [below[first + at].eq(counts[at]) for at in range(size)]
            bases, base = [], 0
            for word in range(len(words)):
                bases.append(base)
                after = Signal(range(window + 1), name=f"{name}_base{word}")
                m.d.comb += after.eq(base + total[word])
                base = after
            found[name] = below, bases, base
        with m.If(take[0]):
            m.d.sync += [kept_neurons.eq(neurons), kept_selected.eq(selected)]
        with m.If(take[1]):
            distances, distance_bases, unselected = found["unselected"]
            offsets, offset_bases, _ = found["masked"]
            m.d.sync += count.eq(window - unselected)
            for at in range(window):
                distance = distances[at] + distance_bases[at // size]
                m.d.sync += [
                    items[at].neuron.eq(kept_neurons[at]),
                    items[at].offset.eq(offsets[at] + offset_bases[at // size]),
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
