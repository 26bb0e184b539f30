"""A compute unit: chunk slots, filter buffers, join and multiply-accumulate.

    cost of a step = sum over its filters of max(1, pairs)

A step enters from the broadcast bus, waits in the step FIFO, is paired with each of the unit's
filters in slot order and leaves with ``retire``; the cycle before was its last one. A step that
completes its position retires only when the result registers are free.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.join import InnerJoin, word_flags
from rtl.layouts import Layouts
from rtl.mac import Mac
from rtl.ram import Ram

__all__ = ["Unit", "unit_ports"]


def unit_ports(layouts: Layouts) -> dict:
    """Return the members of a unit's signature."""
    slots = layouts.config.filters_per_unit
    return {
        "broadcast": In(layouts.broadcast),
        "held": In(slots),
        "load": In(layouts.load),
        "load_entry": In(1),
        "load_row": In(1),
        "keep_zero_weights": In(1),
        "signed_activations": In(1),
        "results": Out(data.ArrayLayout(signed(32), slots)),
        "result_valid": Out(1),
        "result_taken": In(1),
        "turn": In(layouts.turn_bits),
        "retire": Out(1),
        "retire_slot": Out(layouts.slot_bits),
        "retire_load": Out(1),
        "retire_buffer": Out(1),
        "busy": Out(1),
        "bubble": Out(1),
        "blocked": Out(1),
    }


class Unit(wiring.Component):
    """One compute unit of a cluster.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    broadcast : In(Layouts.broadcast)
        The broadcast bus.
    held : In(filters_per_unit)
        Filter slots that hold a filter for the step on the bus; 0 means the unit is inactive.
    load : In(Layouts.load), load_entry : In(1), load_row : In(1)
        The filter load bus, and whether its entry, its row of values, is for this unit.
    keep_zero_weights : In(1)
        The skip mode does not skip weights.
    signed_activations : In(1)
        Activations are int8, else uint8.
    results : Out(ArrayLayout(signed(32), filters_per_unit)), result_valid : Out(1)
        Accumulators of the last completed position, until ``result_taken``.
    result_taken : In(1), turn : In
        Pulse: the results have been taken; how many positions the collector has taken so far,
        wrapping. A position completes when all before it have been taken.
    retire : Out(1), retire_slot : Out, retire_load : Out(1), retire_buffer : Out(1)
        A step is finished; its chunk slot; whether it was the last one of a filter load, and
        the filter buffer of that load.
    busy : Out(1), bubble : Out(1), blocked : Out(1)
        What this cycle is: a pair, a chunk pair without pairs, a wait for the result registers.

    Notes
    -----
    ``LATENCY`` is the number of cycles from the last broadcast word on the bus to the first pair
    of an idle unit; ``RESULT`` from ``retire`` to a valid result.
    """

    LATENCY = 2 + InnerJoin.LATENCY
    RESULT = Mac.LATENCY + 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(unit_ports(layouts))
        #: What goes through the join with a chunk pair.
        self._tag = data.StructLayout(
            {
                "base": layouts.value_row_bits,
                "row_flags": layouts.rows,
                "chunk_slot": layouts.slot_bits,
                "filter_slot": 1,
                "last_filter": 1,
                "first": 1,
                "position": layouts.turn_bits,
                "step": layouts.step,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        tag_bits = self._tag.size
        m.submodules.join = join = InnerJoin(self._layouts.config.chunk, 1, tag_bits)
        m.submodules.mac = mac = Mac(self._layouts)
        self._fetch(m, join)

        step = join.steps.p
        tag = data.View(self._tag, step.tag)
        issue = Signal()  # a pair or a bubble leaves the join in this cycle
        m.d.comb += issue.eq(join.steps.valid & join.steps.ready)
        self._retire(m, join, mac, tag, issue)

        lane = step.lanes[0]
        width = self._layouts.config.broadcast_width
        row = Signal(self._layouts.row_bits)
        m.d.comb += row.eq(lane.position >> (width.bit_length() - 1))
        sent = tag.row_flags.bit_select(row, 1)
        first = Signal(init=1)  # the next issue is the first one of its chunk pair
        psum = tag.step.psum
        if self._layouts.config.filters_per_unit == 2:
            psum = Cat(tag.filter_slot, psum)
        m.d.comb += [
            mac.issue.valid.eq(issue),
            mac.issue.live.eq(lane.pair & sent & lane.weight_nonzero),
            mac.issue.slot.eq(tag.filter_slot),
            mac.issue.first.eq(tag.first & first),
            mac.issue.from_zero.eq(tag.step.from_zero),
            mac.issue.store.eq(step.last & tag.step.last & ~tag.step.complete),
            mac.issue.psum.eq(psum),
        ]
        with m.If(issue):
            m.d.sync += first.eq(step.last)
        self._operands(m, mac, lane, tag, row)
        m.d.comb += [
            self.results.eq(mac.results),
            self.busy.eq(issue & lane.pair),
            self.bubble.eq(issue & ~lane.pair),
        ]
        return m

    def _fetch(self, m: Module, join: InnerJoin) -> None:
        """Step FIFO, index buffer and the pairing of a step with each filter."""
        layouts, bus = self._layouts, self.broadcast
        waiting = data.StructLayout(
            {
                "mask": layouts.config.chunk,
                "row_flags": layouts.rows,
                "chunk_slot": layouts.slot_bits,
                "held": layouts.config.filters_per_unit,
                "filters": layouts.broadcast["filters"].shape,
                "first": 1,
                "position": layouts.turn_bits,
                "step": layouts.step,
            }
        )
        m.submodules.steps = fifo = SyncFIFO(width=waiting.size, depth=layouts.config.slots)
        entering = data.View(waiting, fifo.w_data)
        m.d.comb += [
            fifo.w_en.eq(bus.step_valid & self.held.any()),
            entering.mask.eq(bus.mask),
            entering.row_flags.eq(bus.row_flags),
            entering.chunk_slot.eq(bus.slot),
            entering.held.eq(self.held),
            entering.filters.eq(bus.filters),
            entering.first.eq(bus.first),
            entering.position.eq(bus.position),
            entering.step.eq(bus.step),
        ]
        depth = layouts.buffers * layouts.buffer_chunks
        m.submodules.entries = entries = Ram(layouts.filter_entry, depth)
        m.d.comb += [
            entries.write_address.eq(self.load.entry_address),
            entries.write_data.eq(self.load.entry),
            entries.write_enable.eq(self.load_entry),
        ]

        head = data.View(waiting, fifo.r_data)
        valid, ready = Signal(), Signal()  # the second stage: mask and entry side by side
        filter_slot, last_filter = Signal(), Signal(init=1)
        if layouts.config.filters_per_unit == 2:
            m.d.comb += last_filter.eq(filter_slot == head.held[1])
        held = Signal(waiting)
        slot, last = Signal(), Signal()
        m.d.comb += [
            ready.eq(~valid | join.chunks.ready),
            entries.read_address.eq(head.filters[filter_slot]),
            entries.read_enable.eq(ready),
            fifo.r_en.eq(ready & last_filter),
        ]
        with m.If(ready):
            m.d.sync += [
                valid.eq(fifo.r_rdy),
                held.eq(head),
                slot.eq(filter_slot),
                last.eq(last_filter),
            ]
            if layouts.config.filters_per_unit == 2:
                m.d.sync += filter_slot.eq(fifo.r_rdy & ~last_filter)
        entry, chunk = entries.read_data, join.chunks.p
        tag = data.View(self._tag, chunk.tag)
        m.d.comb += [
            join.chunks.valid.eq(valid),
            chunk.activation_mask.eq(held.mask),
            chunk.activation_words.eq(word_flags(held.mask)),
            chunk.activation_filled.eq(~0),  # rows have flags of their own
            chunk.weight_mask.eq(entry.mask),
            chunk.weight_prefix.eq(entry.prefixes),
            chunk.keep_zero_weights.eq(self.keep_zero_weights),
            tag.base.eq(entry.base),
            tag.row_flags.eq(held.row_flags),
            tag.chunk_slot.eq(held.chunk_slot),
            tag.filter_slot.eq(slot),
            tag.last_filter.eq(last),
            tag.first.eq(held.first),
            tag.position.eq(held.position),
            tag.step.eq(held.step),
        ]

    def _retire(self, m: Module, join: InnerJoin, mac: Mac, tag, issue) -> None:
        """The end of a step, and the wait for the result registers."""
        done = Signal()  # all pairs of a step have been issued
        complete, blocked, position = Signal(), Signal(), Signal(self._layouts.turn_bits)
        m.d.comb += [
            blocked.eq(done & complete & (position != self.turn)),
            self.blocked.eq(blocked),
            self.retire.eq(done & ~blocked),
            join.steps.ready.eq(~blocked),
            mac.commit.eq(self.retire & complete),
        ]
        with m.If(~blocked):
            m.d.sync += done.eq(issue & join.steps.p.last & tag.last_filter)
            m.d.sync += [
                complete.eq(tag.step.complete),
                position.eq(tag.position),
                self.retire_slot.eq(tag.chunk_slot),
                self.retire_load.eq(tag.step.load_last),
                self.retire_buffer.eq(tag.step.buffer),
            ]
        with m.If(mac.committed):
            m.d.sync += self.result_valid.eq(1)
        with m.Elif(self.result_taken):
            m.d.sync += self.result_valid.eq(0)

    def _operands(self, m: Module, mac: Mac, lane, tag, row) -> None:
        """Value memories: addresses, rows, and the operand picked from its row."""
        layouts, config = self._layouts, self._layouts.config
        width, bus_bytes = config.broadcast_width, config.filter_bus_bytes
        rows = layouts.rows
        m.submodules.activations = activations = Ram(
            data.ArrayLayout(8, width), config.slots * rows
        )
        m.submodules.weights = weights = Ram(
            data.ArrayLayout(8, bus_bytes), layouts.buffers * layouts.buffer_rows
        )
        address_a = self.broadcast.slot
        if rows > 1:
            address_a = Cat(self.broadcast.row, self.broadcast.slot)
        m.d.comb += [
            activations.write_address.eq(address_a),
            activations.write_data.eq(self.broadcast.data),
            activations.write_enable.eq(self.broadcast.row_valid),
            weights.write_address.eq(self.load.row_address),
            weights.write_data.eq(self.load.row),
            weights.write_enable.eq(self.load_row),
        ]
        shift_a, shift_w = width.bit_length() - 1, bus_bytes.bit_length() - 1
        byte_address = Signal(layouts.value_row_bits + shift_w)
        byte_a, byte_w = Signal(max(1, shift_a)), Signal(max(1, shift_w))
        pick_a, pick_w = Signal.like(byte_a), Signal.like(byte_w)
        row_a = Signal.like(activations.read_address)
        row_w = Signal.like(weights.read_address)
        m.d.comb += byte_address.eq((tag.base << shift_w) + lane.weight_offset)
        m.d.sync += [
            row_a.eq(Cat(row, tag.chunk_slot) if rows > 1 else tag.chunk_slot),
            byte_a.eq(lane.position[:shift_a]),
            row_w.eq(byte_address >> shift_w),
            byte_w.eq(byte_address[:shift_w]),
            pick_a.eq(byte_a),
            pick_w.eq(byte_w),
        ]
        m.d.comb += [
            activations.read_enable.eq(1),
            activations.read_address.eq(row_a),
            weights.read_enable.eq(1),
            weights.read_address.eq(row_w),
        ]
        octet_a = activations.read_data[pick_a] if shift_a else activations.read_data[0]
        octet_w = weights.read_data[pick_w] if shift_w else weights.read_data[0]
        sign = self.signed_activations & octet_a[7]
        m.d.sync += [mac.activation.eq(Cat(octet_a, sign)), mac.weight.eq(octet_w)]
