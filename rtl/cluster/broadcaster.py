"""The broadcaster: fetches each step's chunk and sends it to all units.

    A[k] = max(A[k-1], G[k], R[k]) + max(1, rows of the chunk with a one)

Three parts, each a pipeline that does not stall into a FIFO (``rtl.lib.fifo``): steps become
chunks, chunks become rows, rows go when their filter load and their chunk slot are there.
"""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum
from amaranth.lib.wiring import In, Out

from rtl.cluster.holders import track_holders
from rtl.cluster.layouts import LAYER, Layouts
from rtl.cluster.sequencer import Sequencer
from rtl.cluster.unit.join import word_flags
from rtl.lib.bits import (
    at_most_one,
    count_ones,
    encode,
    one_hot_select,
    only_lowest,
    without_lowest,
)
from rtl.lib.component import Component
from rtl.lib.fifo import CreditFifo

__all__ = ["Broadcaster", "Reason"]

#: Bytes of a row that are expanded together.
_GROUP = 4


class Reason(enum.Enum, shape=2):
    """What the broadcaster does in a cycle, as an idle unit sees it."""

    NONE = 0
    MEMORY = 1
    SIBLINGS = 2
    BROADCAST = 3


class Broadcaster(Component):
    """Send the chunks of the steps.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse; the first step arrives ``Sequencer.LATENCY`` cycles after the next one.
    layer : In(LAYER)
        Layer registers.
    room : Out(1), enter : In(1), step_valid : In(1), step : In(Layouts.sequenced)
        A step may leave the sequencer, it does, it arrives. There must be one in each cycle with
        ``room``, from the first to the last.
    index_address : Out, index_mask, index_pointer : In
        Read port of the input index buffer.
    value_pointer : Out, value_rows : In
        Read port of the input value buffer: the aligned even and odd row around the pointer.
    load_done : In(1)
        Pulse: a filter load is complete.
    retire_slots : In(ArrayLayout(slots, units))
        A unit has finished the step in that chunk slot.
    broadcast : Out(Layouts.broadcast), held : Out(held_bits)
        The bus, and the unit-slots that take part. Each unit has the registers that it ends in.
    reason : Out(Reason), reason_held : Out(held_bits)
        What a cycle is to a unit with nothing to do, if it is active in the pass; ``EXPLAIN``
        cycles later.
    starved : Out(1)
        The oldest row waits for its filter load; so does the first one that is not there yet.
    delivered, skipped, word : Out(1)
        Pulses for the counters.

    Notes
    -----
    ``START`` is the cycle, counted from the one after ``start``, in which the first row may go.
    """

    #: Cycles from a step's arrival to its chunk's place in the FIFO, from there to the walk of its
    #: rows, and from a row's turn to its place in the FIFO.
    _CHUNK, _WALK, _ROW = 3, 1, 9
    START = Sequencer.LATENCY + _CHUNK + _WALK + _ROW
    EXPLAIN = Sequencer.LATENCY + 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        width = config.broadcast_width
        super().__init__(
            {
                "start": In(1),
                "layer": In(LAYER),
                "room": Out(1),
                "enter": In(1),
                "step_valid": In(1),
                "step": In(layouts.sequenced),
                "index_address": Out(layouts.input_bits),
                "index_mask": In(config.chunk),
                "index_pointer": In(layouts.pointer_bits),
                "value_pointer": Out(layouts.pointer_bits),
                "value_rows": In(data.ArrayLayout(8, 2 * width)),
                "load_done": In(1),
                "retire_slots": In(data.ArrayLayout(config.slots, config.units)),
                "broadcast": Out(layouts.broadcast),
                "held": Out(layouts.held_bits),
                "reason": Out(Reason),
                "reason_held": Out(layouts.held_bits),
                "starved": Out(1),
                "delivered": Out(1),
                "skipped": Out(1),
                "word": Out(1),
            }
        )
        #: A chunk whose rows are to be walked.
        self._chunk = data.StructLayout(
            {
                "sequenced": layouts.sequenced,
                "mask": config.chunk,  # true mask
                "flags": layouts.rows,  # rows with a one
                "single": 1,  # of which there is one at most
                "pointer": layouts.pointer_bits,
                "skip": 1,
            }
        )
        #: What goes with a chunk's last row.
        self._sent = data.StructLayout(
            {
                "step": layouts.step,
                "filters": layouts.sequenced["filters"].shape,
                "held": layouts.held_bits,
                "mask": config.chunk,  # effective mask
                "mask_words": layouts.words,
                "flags": layouts.rows,
            }
        )
        #: What of a row does not depend on its values.
        self._turn = data.StructLayout(
            {
                "row_valid": 1,  # it is sent
                "row": layouts.row_bits,
                "needs_load": 1,  # the first row of the first chunk that uses a filter load
                "needs_slot": 1,  # the first row of a chunk that is delivered
                "last": 1,
                "delivers": 1,  # the last row of a chunk that is delivered
                "skip": 1,
            }
        )
        self._row = data.StructLayout(
            {"turn": self._turn, "data": data.ArrayLayout(8, config.broadcast_width)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.chunks = chunks = CreditFifo(self._chunk)
        m.submodules.rows = rows = CreditFifo(self._row)
        # Never full: each chunk in it has a row on its way or in the FIFO of rows.
        m.submodules.sent = sent = CreditFifo(self._sent)
        self._fetch_index(m, chunks)
        self._walk_rows(m, chunks, rows, sent)
        self._head(m, rows, sent)
        return m

    def _fetch_index(self, m: Module, chunks) -> None:
        """From step to chunk: index row, then what is known of its mask."""
        config, layer = self._layouts.config, self.layer
        fetched, found = Signal(self._layouts.sequenced), Signal(self._layouts.sequenced)
        fetched_valid, found_valid = Signal(), Signal()
        mask, pointer = Signal(config.chunk), Signal(self._layouts.pointer_bits)
        m.d.comb += [
            self.room.eq(chunks.room),
            chunks.enter.eq(self.enter),
            self.index_address.eq(self.step.address),
        ]
        m.d.sync += [
            fetched.eq(self.step),
            fetched_valid.eq(self.step_valid),
            found.eq(fetched),
            found_valid.eq(fetched_valid),
            mask.eq(Mux(fetched.inside, self.index_mask, 0)),
            pointer.eq(self.index_pointer),
        ]
        width, item = config.broadcast_width, chunks.item
        # No signal, or Verilator takes the item's fields for a loop: some depend on others.
        flags = Cat(mask[at : at + width].any() for at in range(0, config.chunk, width))
        m.d.comb += [
            chunks.push.eq(found_valid),
            item.sequenced.eq(found),
            item.mask.eq(mask),
            item.flags.eq(flags),
            item.single.eq(at_most_one(flags)),
            item.pointer.eq(pointer),
        ]
        if config.skip_empty_chunks:
            m.d.comb += item.skip.eq(layer.skip_activations & ~flags.any() & ~found.step.last)

    def _walk_rows(self, m: Module, chunks, rows, sent) -> None:
        """From chunk to rows: those with a one, or a single empty one."""
        config = self._layouts.config
        chunk, valid = Signal(self._chunk), Signal()
        chosen, rest = Signal(self._layouts.rows), Signal(self._layouts.rows)  # chosen: one-hot
        first, last = Signal(), Signal(init=1)  # of the chunk; last also where there is none
        goes, take = Signal(), Signal()
        source = Mux(take, chunks.head.flags, rest)
        m.d.comb += [
            goes.eq(valid & rows.room),
            take.eq(~valid | (rows.room & last)),
            chunks.pop.eq(take & chunks.valid),
            rows.enter.eq(goes),
        ]
        with m.If(goes | take):
            m.d.sync += [
                first.eq(take),
                chosen.eq(only_lowest(source)),
                rest.eq(without_lowest(source)),
                last.eq(Mux(take, chunks.head.single | ~chunks.valid, at_most_one(rest))),
            ]
        with m.If(take):
            m.d.sync += [valid.eq(chunks.valid), chunk.eq(chunks.head)]
        self._send_chunk(m, goes & first, chunk, sent)

        turn = Signal(self._turn)
        width = config.broadcast_width
        row_mask = Signal(width)
        words = [chunk.mask.word_select(at, width) for at in range(self._layouts.rows)]
        base, begins, row_goes = Signal(self._layouts.pointer_bits), Signal(), Signal()
        m.d.sync += [
            turn.row_valid.eq(chosen.any() & ~chunk.skip),
            turn.row.eq(encode(chosen)),
            turn.needs_load.eq(first & chunk.sequenced.load_first),
            turn.needs_slot.eq(first & ~chunk.skip),
            turn.last.eq(last),
            turn.delivers.eq(last & ~chunk.skip),
            turn.skip.eq(chunk.skip),
            row_mask.eq(one_hot_select(words, chosen)),
            base.eq(chunk.pointer),
            begins.eq(first),
            row_goes.eq(goes),
        ]
        self._fetch_values(m, rows, turn, row_mask, base, begins, row_goes)

    def _send_chunk(self, m: Module, push, chunk, sent) -> None:
        """What the units are told of a chunk waits beside its rows."""
        config, layer, item = self._layouts.config, self.layer, sent.item
        tail = Signal(config.chunk)  # positions that exist in a ragged chunk: a layer's constant
        exists, effective = Signal(config.chunk), Signal(config.chunk)
        m.d.sync += tail.eq(Cat(layer.ragged_length > at for at in range(config.chunk)))
        m.d.comb += [
            exists.eq(tail | (~chunk.sequenced.ragged).replicate(config.chunk)),
            effective.eq(Mux(layer.skip_activations, chunk.mask, exists)),
            sent.enter.eq(push),
            sent.push.eq(push),
            item.step.eq(chunk.sequenced.step),
            item.filters.eq(chunk.sequenced.filters),
            item.held.eq(chunk.sequenced.held),
            item.mask.eq(effective),
            item.mask_words.eq(word_flags(effective)),
            item.flags.eq(chunk.flags),
        ]

    def _fetch_values(self, m: Module, rows, turn, row_mask, base, begins, goes) -> None:
        """From packed values to a row with zeros: seven stages, the last one fills the FIFO."""
        width = self._layouts.config.broadcast_width
        stage = data.StructLayout({"turn": self._turn, "mask": width, "goes": 1})
        stages = [Signal(stage, name=f"row{number}") for number in range(7)]
        counted, shifted, grouped = stages[0], stages[4], stages[6]
        m.d.sync += [counted.turn.eq(turn), counted.mask.eq(row_mask), counted.goes.eq(goes)]
        m.d.sync += [late.eq(early) for early, late in pairwise(stages)]

        # Each row's values follow those of the row before.
        count, late_base, late_begins = Signal(width.bit_length()), Signal.like(base), Signal()
        following, present = Signal.like(base), Signal.like(base)
        m.d.sync += [
            count.eq(count_ones(row_mask)),
            late_base.eq(base),
            late_begins.eq(begins),
            self.value_pointer.eq(present),
        ]
        m.d.comb += present.eq(Mux(late_begins, late_base, following))
        with m.If(counted.goes):
            m.d.sync += following.eq(present + count)

        # Two rows of the buffer, turned until they begin at the pointer: by a row, by the higher
        # half of what is left, by the lower one.
        bits = width.bit_length() - 1
        low = bits // 2
        at_fetched, at_swapped, at_shifted = (Signal(bits + 1) for _ in range(3))
        m.d.sync += [
            at_fetched.eq(self.value_pointer),
            at_swapped.eq(at_fetched),
            at_shifted.eq(at_swapped),
        ]
        window = [self.value_rows[at] for at in range(2 * width)]
        window = _turned(window, at_fetched[bits:], width, 2 * width - 1)
        window = _registered(m, window, "swapped")
        window = _turned(window, at_swapped[low:bits], 1 << low, width + (1 << low) - 1)
        window = _registered(m, window, "shifted")
        window = _registered(m, _turned(window, at_shifted[:low], 1, width), "packed")

        # A group gets the values that follow those of the groups before it, then each of its
        # bytes the one that follows those of the bytes before it.
        size = min(_GROUP, width)
        octets = []
        for at in range(0, width, size):
            before = Signal(range(at + 1), name=f"before{at}")
            m.d.sync += before.eq(count_ones(shifted.mask[:at]))
            octets += [
                _select([window[first + byte] for first in range(at + 1)], before)
                for byte in range(size)
            ]
        octets = _registered(m, octets, "grouped")
        m.d.comb += [rows.push.eq(grouped.goes), rows.item.turn.eq(grouped.turn)]
        for at in range(width):
            first = at - at % size
            octet = _select(octets[first : at + 1], count_ones(grouped.mask[first:at]))
            m.d.comb += rows.item.data[at].eq(octet & grouped.mask[at].replicate(8))

    def _head(self, m: Module, rows, sent) -> None:
        """Send the oldest row when it may go; say why where it may not."""
        config, bus = self._layouts.config, self.broadcast
        row, chunk = rows.head, sent.head
        turn = Signal(self._turn)
        loads, next_loads = Signal(2), Signal(2)  # complete and not yet begun to be used
        load_there = Signal()  # there is one
        slot = Signal(config.slots, init=1)  # one-hot: the one in turn
        slot_free = Signal(init=1)  # no unit holds it
        position = Signal(self._layouts.turn_bits)
        fresh = Signal()  # the next delivered step is the first of its (position, segment)
        load_ok, slot_ok, go, delivered = Signal(), Signal(), Signal(), Signal()
        use_load = Signal()
        m.d.comb += [
            turn.eq(row.turn),
            load_ok.eq(~turn.needs_load | load_there),
            slot_ok.eq(~turn.needs_slot | slot_free),
            go.eq(rows.valid & load_ok & slot_ok),
            rows.pop.eq(go),
            sent.pop.eq(go & turn.last),
            use_load.eq(go & turn.needs_load),
            delivered.eq(go & turn.delivers),
            self.delivered.eq(delivered),
            self.skipped.eq(go & turn.skip),
            self.word.eq(go & ~turn.skip),
        ]
        m.d.comb += next_loads.eq(loads + self.load_done - use_load)
        m.d.sync += [loads.eq(next_loads), load_there.eq(next_loads.any())]
        active = chunk.held[:: config.filters_per_unit]
        begins = [go & turn.needs_slot & slot[number] for number in range(config.slots)]
        stays_busy = track_holders(m, active, begins, self.retire_slots)
        following = slot.rotate_left(1)
        m.d.sync += slot_free.eq(~(stays_busy & Mux(delivered, following, slot)).any())
        with m.If(delivered):
            m.d.sync += [slot.eq(following), fresh.eq(chunk.step.last)]
            m.d.sync += position.eq(position + chunk.step.complete)
        with m.If(self.start):
            m.d.sync += fresh.eq(1)
        m.d.comb += [
            bus.row_valid.eq(go & turn.row_valid),
            bus.row.eq(turn.row),
            bus.data.eq(row.data),
            bus.slot.eq(encode(slot)),
            bus.step_valid.eq(delivered),
            bus.mask.eq(chunk.mask),
            bus.mask_words.eq(chunk.mask_words),
            bus.row_flags.eq(chunk.flags),
            bus.first.eq(fresh),
            bus.position.eq(position),
            bus.step.eq(chunk.step),
            bus.filters.eq(chunk.filters),
            self.held.eq(chunk.held),
        ]
        self._explain(m, rows.valid, chunk.held, load_ok, slot_ok, load_there)

    def _explain(self, m: Module, head_valid, head_held, load_ok, slot_ok, load_there) -> None:
        """The reason of a cycle; while the pipeline fills it is that of the first step."""
        filling, arrived = Signal(), Signal()
        first_held = Signal(self._layouts.held_bits)
        with m.If(self.start):
            m.d.sync += [filling.eq(1), arrived.eq(0)]
        with m.Elif(head_valid):
            m.d.sync += filling.eq(0)
        with m.If(self.step_valid & ~arrived):
            m.d.sync += [first_held.eq(self.step.held), arrived.eq(1)]
        m.d.comb += self.starved.eq(Mux(head_valid, ~load_ok, filling & ~load_there))
        explanation = data.StructLayout({"reason": Reason, "first": 1, "held": len(first_held)})
        present = Signal(explanation)
        m.d.comb += [present.first.eq(~head_valid), present.held.eq(head_held)]
        with m.If(head_valid):
            with m.If(~load_ok):
                m.d.comb += present.reason.eq(Reason.MEMORY)
            with m.Elif(~slot_ok):
                m.d.comb += present.reason.eq(Reason.SIBLINGS)
            with m.Else():
                m.d.comb += present.reason.eq(Reason.BROADCAST)
        with m.Elif(filling):
            m.d.comb += present.reason.eq(Mux(load_there, Reason.BROADCAST, Reason.MEMORY))
        for cycle in range(self.EXPLAIN):
            late = Signal(explanation, name=f"explanation{cycle + 1}")
            m.d.sync += late.eq(present)
            present = late
        m.d.comb += [
            self.reason.eq(present.reason),
            self.reason_held.eq(Mux(present.first, first_held, present.held)),
        ]


def _registered(m: Module, octets: list, name: str) -> list:
    registers = [Signal(8, name=f"{name}{at}") for at in range(len(octets))]
    m.d.sync += [register.eq(octet) for register, octet in zip(registers, octets, strict=True)]
    return registers


def _turned(octets: list, amount, step: int, count: int) -> list:
    """Return ``count`` octets from place ``step * amount`` on; after the last comes the first."""
    places = range(0, step << len(amount), step)
    return [
        _select([octets[(at + place) % len(octets)] for place in places], amount)
        for at in range(count)
    ]


def _select(items: list, number):
    """Return item ``number``, as a tree that decides on the highest bit last."""
    if len(items) == 1:
        return items[0]
    bit = (len(items) - 1).bit_length() - 1
    half = 1 << bit
    return Mux(number[bit], _select(items[half:], number), _select(items[:half], number))
