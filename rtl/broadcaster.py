"""The broadcaster: fetches each step's chunk and sends it to all units.

    A[k] = max(A[k-1], G[k], R[k]) + max(1, rows of the chunk with a one)

A rigid pipeline with one enable: sequenced step, index row, rows of the chunk, value fetch,
expansion, and the head, which goes when its filter load and its chunk slot are there.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.bits import count_ones, lowest
from rtl.join import word_flags
from rtl.layouts import Layouts
from rtl.registers import layer_layout

__all__ = ["Broadcaster", "Reason"]


class Reason(enum.Enum, shape=2):
    """What the broadcaster does in a cycle, as an idle unit sees it."""

    NONE = 0
    MEMORY = 1
    SIBLINGS = 2
    BROADCAST = 3


class Broadcaster(wiring.Component):
    """Send the chunks of the steps.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse; the first step arrives on ``steps`` in the next cycle.
    layer : In(layer_layout())
        Layer registers.
    steps : In(stream of Layouts.sequenced)
        Must be valid from the cycle after start to the last step.
    index_address, index_enable : Out, index_mask, index_pointer : In
        Read port of the input index buffer.
    value_pointer, value_enable : Out, value_rows : In
        Read port of the input value buffer: the aligned even and odd row around the pointer.
    load_done : In(1)
        Pulse: a filter load is complete.
    retire : In(units), retire_slot : In(ArrayLayout)
        Of each unit.
    broadcast : Out(Layouts.broadcast), held : Out(held_bits)
        The bus, and the unit-slots that take part.
    reason : Out(Reason), reason_held : Out(held_bits)
        What this cycle is to a unit with nothing to do, if it is active in the pass.
    delivered, skipped, word : Out(1)
        Pulses for the counters.

    Notes
    -----
    ``START`` is the cycle, counted from the one after ``start``, in which the head may go first.
    """

    START = 5

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        width = config.broadcast_width
        super().__init__(
            {
                "start": In(1),
                "layer": In(layer_layout()),
                "steps": In(stream.Signature(layouts.sequenced)),
                "index_address": Out(layouts.input_bits),
                "index_enable": Out(1),
                "index_mask": In(config.chunk),
                "index_pointer": In(layouts.pointer_bits),
                "value_pointer": Out(layouts.pointer_bits),
                "value_enable": Out(1),
                "value_rows": In(data.ArrayLayout(8, 2 * width)),
                "load_done": In(1),
                "retire": In(config.units),
                "retire_slot": In(data.ArrayLayout(layouts.slot_bits, config.units)),
                "broadcast": Out(layouts.broadcast),
                "held": Out(layouts.held_bits),
                "reason": Out(Reason),
                "reason_held": Out(layouts.held_bits),
                "delivered": Out(1),
                "skipped": Out(1),
                "word": Out(1),
            }
        )
        #: A chunk whose rows are being walked.
        self._chunk = data.StructLayout(
            {
                "sequenced": layouts.sequenced,
                "mask": config.chunk,  # true mask
                "effective": config.chunk,
                "flags": layouts.rows,
                "pointer": layouts.pointer_bits,
                "skip": 1,
            }
        )
        #: One row on its way to the bus.
        self._item = data.StructLayout(
            {
                "sequenced": layouts.sequenced,
                "effective": config.chunk,
                "flags": layouts.rows,
                "row_valid": 1,
                "row": layouts.row_bits,
                "row_mask": width,
                "sources": data.ArrayLayout(width.bit_length(), width),  # where each value lies
                "first": 1,
                "last": 1,
                "skip": 1,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        move = Signal()  # the head goes, or there is none: the pipeline moves
        take = Signal()  # the chunk walked has sent its last row: the next one enters
        chunk, chunk_valid = self._fetch_index(m, take)
        item, item_valid = self._walk_rows(m, move, take, chunk, chunk_valid)
        head, head_valid, row = self._fetch_values(m, move, item, item_valid)
        go = self._head(m, head, head_valid, row)
        m.d.comb += move.eq(~head_valid | go)
        return m

    def _fetch_index(self, m: Module, take):
        """From sequenced step to chunk: address, index row, then masks."""
        config, layer = self._layouts.config, self.layer
        fetch, found = Signal(self._layouts.sequenced), Signal(self._layouts.sequenced)
        fetch_valid, found_valid = Signal(), Signal()
        chunk, chunk_valid = Signal(self._chunk), Signal()
        m.d.comb += [
            self.steps.ready.eq(take),
            self.index_address.eq(fetch.address),
            self.index_enable.eq(take),
        ]
        tail = Signal(config.chunk)  # positions that exist in a ragged chunk
        mask, exists, flags = Signal(config.chunk), Signal(config.chunk), Signal(self._layouts.rows)
        width = config.broadcast_width
        m.d.comb += [
            tail.eq((1 << layer.ragged_length) - 1),
            mask.eq(Mux(found.inside, self.index_mask, 0)),
            exists.eq(Mux(found.ragged, tail, ~0)),
            flags.eq(Cat(mask[at : at + width].any() for at in range(0, config.chunk, width))),
        ]
        with m.If(take):
            m.d.sync += [
                fetch.eq(self.steps.p),
                fetch_valid.eq(self.steps.valid),
                found.eq(fetch),
                found_valid.eq(fetch_valid),
                chunk_valid.eq(found_valid),
                chunk.sequenced.eq(found),
                chunk.mask.eq(mask),
                chunk.effective.eq(Mux(layer.skip_activations, mask, exists)),
                chunk.flags.eq(flags),
                chunk.skip.eq(
                    layer.skip_activations & ~mask.any() & ~found.step.last
                    if config.skip_empty_chunks
                    else 0
                ),
            ]
        return chunk, chunk_valid

    def _walk_rows(self, m: Module, move, take, chunk, chunk_valid):
        """From chunk to rows: those with a one, or a single empty item."""
        width = self._layouts.config.broadcast_width
        item, item_valid = Signal(self._item), Signal()
        rest, begun = Signal(self._layouts.rows), Signal()
        present, after = Signal.like(rest), Signal.like(rest)
        pointer, present_pointer = Signal(self._layouts.pointer_bits), self.value_pointer
        m.d.comb += [
            present.eq(Mux(begun, rest, chunk.flags)),
            present_pointer.eq(Mux(begun, pointer, chunk.pointer)),
            after.eq(present & (present - 1)),
            take.eq(move & (~chunk_valid | ~after.any())),
            self.value_enable.eq(move),
        ]
        row = lowest(m, present)
        row_mask = Signal(width)
        m.d.comb += row_mask.eq(chunk.mask.word_select(row, width))
        with m.If(move):
            m.d.sync += [
                begun.eq(chunk_valid & after.any()),
                rest.eq(after),
                pointer.eq(present_pointer + count_ones(row_mask)),
                item_valid.eq(chunk_valid),
                item.sequenced.eq(chunk.sequenced),
                item.effective.eq(chunk.effective),
                item.flags.eq(chunk.flags),
                item.row_valid.eq(present.any()),
                item.row.eq(row),
                item.row_mask.eq(row_mask),
                item.first.eq(~begun),
                item.last.eq(~after.any()),
                item.skip.eq(chunk.skip),
            ]
            for at in range(width):
                m.d.sync += item.sources[at].eq(present_pointer + count_ones(row_mask[:at]))
        with m.If(take):
            m.d.sync += chunk.pointer.eq(self.index_pointer)
        return item, item_valid

    def _fetch_values(self, m: Module, move, item, item_valid):
        """From packed values to a row with zeros."""
        width = self._layouts.config.broadcast_width
        head, head_valid = Signal(self._item), Signal()
        row = Signal(data.ArrayLayout(8, width))
        with m.If(move):
            m.d.sync += [head.eq(item), head_valid.eq(item_valid)]
            for at in range(width):
                octet = self.value_rows[item.sources[at]]
                m.d.sync += row[at].eq(Mux(item.row_mask[at], octet, 0))
        return head, head_valid, row

    def _head(self, m: Module, head, head_valid, row):
        """Send the head when it may go; say why where it may not."""
        config, bus = self._layouts.config, self.broadcast
        step = head.sequenced.step
        loads = Signal(2)  # complete and not yet begun to be used
        slot = Signal(self._layouts.slot_bits)
        busy = Signal(data.ArrayLayout(config.units, config.slots))  # units that hold each slot
        position = Signal(self._layouts.turn_bits)
        fresh = Signal()  # the next delivered step is the first of its (position, segment)
        load_ok, slot_ok, go, delivered = Signal(), Signal(), Signal(), Signal()
        use_load = Signal()
        m.d.comb += [
            load_ok.eq(~(head.first & head.sequenced.load_first) | loads.any()),
            slot_ok.eq(~head.first | head.skip | ~busy[slot].any()),
            go.eq(head_valid & load_ok & slot_ok),
            use_load.eq(go & head.first & head.sequenced.load_first),
            delivered.eq(go & head.last & ~head.skip),
            self.delivered.eq(delivered),
            self.skipped.eq(go & head.skip),
            self.word.eq(go & ~head.skip),
        ]
        m.d.sync += loads.eq(loads + self.load_done - use_load)
        active = Signal(config.units)
        m.d.comb += active.eq(head.sequenced.held[:: config.filters_per_unit])
        for number in range(config.slots):
            begins = go & head.first & ~head.skip & (slot == number)
            ends = Cat(
                self.retire[unit] & (self.retire_slot[unit] == number)
                for unit in range(config.units)
            )
            m.d.sync += busy[number].eq((busy[number] & ~ends) | Mux(begins, active, 0))
        with m.If(delivered):
            m.d.sync += slot.eq(Mux(slot == config.slots - 1, 0, slot + 1))
            m.d.sync += [fresh.eq(step.last), position.eq(position + step.complete)]
        with m.If(self.start):
            m.d.sync += [fresh.eq(1), position.eq(0)]
        m.d.sync += [
            bus.row_valid.eq(go & head.row_valid & ~head.skip),
            bus.row.eq(head.row),
            bus.data.eq(row),
            bus.slot.eq(slot),
            bus.step_valid.eq(delivered),
            bus.mask.eq(head.effective),
            bus.mask_words.eq(word_flags(head.effective)),
            bus.row_flags.eq(head.flags),
            bus.first.eq(fresh),
            bus.position.eq(position),
            bus.step.eq(step),
            bus.filters.eq(head.sequenced.filters),
            self.held.eq(head.sequenced.held),
        ]
        self._explain(m, head, head_valid, load_ok, slot_ok, loads)
        return go

    def _explain(self, m: Module, head, head_valid, load_ok, slot_ok, loads) -> None:
        """The reason of this cycle; while the pipeline fills it is that of the first step."""
        filling, entering = Signal(), Signal()
        first_held = Signal(self._layouts.held_bits)
        m.d.sync += entering.eq(self.start)
        with m.If(self.start):
            m.d.sync += filling.eq(1)
        with m.Elif(head_valid):
            m.d.sync += filling.eq(0)
        with m.If(entering):
            m.d.sync += first_held.eq(self.steps.p.held)
        with m.If(head_valid):
            m.d.comb += self.reason_held.eq(head.sequenced.held)
            with m.If(~load_ok):
                m.d.comb += self.reason.eq(Reason.MEMORY)
            with m.Elif(~slot_ok):
                m.d.comb += self.reason.eq(Reason.SIBLINGS)
            with m.Else():
                m.d.comb += self.reason.eq(Reason.BROADCAST)
        with m.Elif(filling):
            m.d.comb += self.reason_held.eq(Mux(entering, self.steps.p.held, first_held))
            m.d.comb += self.reason.eq(Mux(loads.any(), Reason.BROADCAST, Reason.MEMORY))
