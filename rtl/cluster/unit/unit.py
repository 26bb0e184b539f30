"""A compute unit: chunk slots, filter buffers, join and multiply-accumulate.

    cost of a step = sum over its filters of max(1, pairs)

A step enters from the broadcast bus, waits in the step FIFO, is paired with each of the unit's
filters in slot order and retires; the cycle before was its last one. A step that completes its
position retires only when the result registers are free.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import Layouts
from rtl.cluster.unit.join import ChunkPair, InnerJoin
from rtl.cluster.unit.mac import Mac
from rtl.cluster.unit.merging_mac import MergingMac
from rtl.lib.component import Component
from rtl.lib.ram import ByteRam, Ram

__all__ = ["Unit"]


class Unit(Component):
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
    results : Out(ArrayLayout(signed(32), Layouts.results)), result_valid : Out(1)
        Accumulators of the last completed position, until ``result_taken``.
    drain : In(Layouts.drain)
        With chunk balancing only: which of them ``results`` shows
        (``rtl.cluster.unit.merging_mac``).
    result_taken : In(1)
        Pulse: the collector has taken the results of all units for a position. A position completes
        when all before it have been taken.
    retire_slots : Out(slots), retire_buffers : Out(2)
        A step is finished: pulse of its chunk slot; if it was the last one of a filter load, also
        of the filter buffer of that load.
    busy : Out(1), bubble : Out(1), blocked : Out(1)
        What the last cycle was: a pair, a chunk pair without pairs, a wait for the result
        registers.

    Notes
    -----
    ``LATENCY`` is the number of cycles from the last broadcast word on the bus to the first pair
    of an idle unit; ``RESULT`` from the retirement of a step to a valid result.
    """

    LATENCY = 4 + InnerJoin.LATENCY
    RESULT = Mac.LATENCY + 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        slots = layouts.config.filters_per_unit
        super().__init__(
            {
                **({"drain": In(layouts.drain)} if layouts.merges else {}),
                "broadcast": In(layouts.broadcast),
                "held": In(slots),
                "load": In(layouts.load),
                "load_entry": In(1),
                "load_row": In(1),
                "keep_zero_weights": In(1),
                "signed_activations": In(1),
                "results": Out(data.ArrayLayout(signed(32), layouts.results)),
                "result_valid": Out(1),
                "result_taken": In(1),
                "retire_slots": Out(layouts.config.slots),
                "retire_buffers": Out(2),
                "busy": Out(1),
                "bubble": Out(1),
                "blocked": Out(1),
            }
        )
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
                **({"home": layouts.home_bits} if layouts.merges else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        tag_bits = self._tag.size
        m.submodules.join = join = InnerJoin(self._layouts.config.chunk, tag_bits)
        m.submodules.mac = mac = (MergingMac if self._layouts.merges else Mac)(self._layouts)
        # The buses come from afar: they end in registers.
        self._bus, self._held = Signal(self._layouts.broadcast), Signal.like(self.held)
        self._late_load = Signal(self._layouts.load)
        m.d.sync += [
            self._bus.eq(self.broadcast),
            self._held.eq(self.held),
            self._late_load.eq(self.load),
            self._late_load.entry_valid.eq(self.load_entry),
            self._late_load.row_valid.eq(self.load_row),
        ]
        self._fetch(m, join)

        step = join.steps.p
        tag = data.View(self._tag, step.tag)
        issue = Signal()  # a pair or a bubble leaves the join in this cycle
        m.d.comb += issue.eq(join.steps.valid & join.steps.ready)
        blocked = self._retire(m, join, mac, tag, issue)

        width = self._layouts.config.broadcast_width
        row = Signal(self._layouts.row_bits)
        m.d.comb += row.eq(step.position >> (width.bit_length() - 1))
        sent = tag.row_flags.bit_select(row, 1)
        first = Signal(init=1)  # the next issue is the first one of its chunk pair
        psum = tag.step.psum
        begins, from_zero = tag.first & first, tag.step.from_zero
        store = step.last & tag.step.last & ~tag.step.complete
        if self._layouts.merges:  # every chunk pair fetches and stores the sum of its filter
            psum = Cat(tag.home, psum)
            begins, from_zero = first, from_zero & tag.first & ~tag.filter_slot
            store = step.last
            m.d.comb += [mac.drain.eq(self.drain), mac.valid.eq(self.result_valid)]
        elif self._layouts.config.filters_per_unit == 2:
            psum = Cat(tag.filter_slot, psum)
        m.d.comb += [
            mac.issue.valid.eq(issue),
            mac.issue.live.eq(step.pair & sent & step.weight_nonzero),
            mac.issue.slot.eq(tag.filter_slot),
            mac.issue.first.eq(begins),
            mac.issue.from_zero.eq(from_zero),
            mac.issue.store.eq(store),
            mac.issue.psum.eq(psum),
        ]
        with m.If(issue):
            m.d.sync += first.eq(step.last)
        self._operands(m, mac, step, tag)
        m.d.comb += [
            self.results.eq(mac.results),
        ]
        m.d.sync += [
            self.busy.eq(issue & step.pair),
            self.bubble.eq(issue & ~step.pair),
            self.blocked.eq(blocked),
        ]
        return m

    def _fetch(self, m: Module, join: InnerJoin) -> None:
        """Step FIFO, index buffer and the pairing of a step with each filter."""
        layouts, bus, load = self._layouts, self._bus, self._late_load
        waiting = data.StructLayout(
            {
                "mask": layouts.config.chunk,
                "mask_words": layouts.words,
                "row_flags": layouts.rows,
                "chunk_slot": layouts.slot_bits,
                "held": layouts.config.filters_per_unit,
                "filters": layouts.broadcast["filters"].shape,
                "first": 1,
                "position": layouts.turn_bits,
                "step": layouts.step,
            }
        )
        entering = Signal(waiting)
        m.d.comb += [
            entering.mask.eq(bus.mask),
            entering.mask_words.eq(bus.mask_words),
            entering.row_flags.eq(bus.row_flags),
            entering.chunk_slot.eq(bus.slot),
            entering.held.eq(self._held),
            entering.filters.eq(bus.filters),
            entering.first.eq(bus.first),
            entering.position.eq(bus.position),
            entering.step.eq(bus.step),
        ]
        pop = Signal()
        head, head_valid = self._queue(m, entering, bus.step_valid & self._held.any(), pop)
        depth = layouts.buffers * layouts.buffer_chunks
        m.submodules.entries = entries = Ram(layouts.filter_entry, depth)
        m.d.comb += [
            entries.write_address.eq(load.entry_address),
            entries.write_data.eq(load.entry),
            entries.write_enable.eq(load.entry_valid),
        ]

        # Fetched: what was waiting beside the entry that block RAM gives; then both once more in
        # registers, because block RAM is too slow to be joined in the same cycle.
        filter_slot, last_filter = Signal(), Signal(init=1)
        if layouts.config.filters_per_unit == 2:
            m.d.comb += last_filter.eq(filter_slot == head.held[1])
        fetch, fetched_valid, pair_valid = Signal(), Signal(), Signal()
        fetched, fetched_slot, fetched_last = Signal(waiting), Signal(), Signal()
        pair = Signal(ChunkPair(join.chunk, join.tag_bits))
        pair_ready = Signal()
        # Each is join.chunks.ready or a hole on the way. Kept, so that no tool makes one of the
        # other: the join's decision is late, and enables block RAM far away.
        pair_hole, fetch_hole = (Signal(attrs={"keep": 1}) for _ in range(2))
        m.d.comb += [
            pair_hole.eq(join.free | ~pair_valid),
            fetch_hole.eq(join.free | ~pair_valid | ~fetched_valid),
            pair_ready.eq(join.takes | pair_hole),
            fetch.eq(join.takes | fetch_hole),
            entries.read_address.eq(head.filters[filter_slot]),
            entries.read_enable.eq(fetch),
            pop.eq(fetch & head_valid & last_filter),
        ]
        with m.If(fetch):
            m.d.sync += [
                fetched_valid.eq(head_valid),
                fetched.eq(head),
                fetched_slot.eq(filter_slot),
                fetched_last.eq(last_filter),
            ]
            if layouts.config.filters_per_unit == 2:
                m.d.sync += filter_slot.eq(head_valid & ~last_filter)
        entry, tag = entries.read_data, data.View(self._tag, pair.tag)
        with m.If(pair_ready):
            m.d.sync += [
                pair_valid.eq(fetched_valid),
                pair.activation_mask.eq(fetched.mask),
                pair.activation_words.eq(fetched.mask_words),
                pair.activation_filled.eq(~0),  # rows have flags of their own
                pair.weight_mask.eq(entry.mask),
                pair.weight_prefix.eq(entry.prefixes),
                tag.base.eq(entry.base),
                tag.row_flags.eq(fetched.row_flags),
                tag.chunk_slot.eq(fetched.chunk_slot),
                tag.filter_slot.eq(fetched_slot),
                tag.last_filter.eq(fetched_last),
                tag.first.eq(fetched.first),
                tag.position.eq(fetched.position),
                tag.step.eq(fetched.step),
            ]
            if layouts.merges:
                m.d.sync += tag.home.eq(entry.home)
        keep_zero_weights = Signal()  # of the layer: a copy that is near
        m.d.sync += keep_zero_weights.eq(self.keep_zero_weights)
        m.d.comb += [
            join.chunks.valid.eq(pair_valid),
            join.chunks.p.eq(pair),
            join.chunks.p.keep_zero_weights.eq(keep_zero_weights),
        ]

    def _queue(self, m: Module, entering, push, pop):
        """Steps that wait: distributed RAM, read in the same cycle. It never overflows."""
        depth = 1 << self._layouts.slot_bits
        m.submodules.queue = memory = Memory(shape=entering.shape(), depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        newest, oldest = Signal(range(2 * depth)), Signal(range(2 * depth))
        m.d.sync += [newest.eq(newest + push), oldest.eq(oldest + pop)]
        m.d.comb += [
            write.en.eq(push),
            write.addr.eq(newest),
            write.data.eq(entering),
            read.addr.eq(oldest),
        ]
        return read.data, newest != oldest

    def _retire(self, m: Module, join: InnerJoin, mac: Mac | MergingMac, tag, issue) -> Signal:
        """The end of a step; return whether it waits for the result registers."""
        slots = self._layouts.config.slots
        complete, position = Signal(), Signal(self._layouts.turn_bits)
        turn = Signal(self._layouts.turn_bits)  # positions taken
        retire, retired = Signal(), Signal()
        frees = data.StructLayout({"slots": slots, "buffers": 2})  # what a step frees
        mine, kept = Signal(frees), Signal(frees)
        m.d.comb += [
            mine.slots.eq(Cat(tag.chunk_slot == slot for slot in range(slots))),
            mine.buffers.eq(tag.step.load_last << tag.step.buffer),
        ]
        # Registered, because the whole join waits for it: a turn is seen one cycle later.
        blocked = Signal()
        m.d.comb += [
            join.steps.ready.eq(~blocked),
            mac.commit.eq(retired & complete),
        ]
        with m.If(self.result_taken):
            m.d.sync += turn.eq(turn + 1)
        freed = Signal(frees)
        with m.If(blocked):
            waits = position != turn
            m.d.comb += [retire.eq(~waits), freed.eq(kept)]
            m.d.sync += blocked.eq(waits)
        with m.Else():
            ends = issue & join.steps.p.last & tag.last_filter
            waits = tag.step.complete & (tag.position != turn)
            m.d.comb += [retire.eq(ends & ~waits), freed.eq(mine)]
            m.d.sync += [
                blocked.eq(ends & waits),
                complete.eq(tag.step.complete),
                position.eq(tag.position),
                kept.eq(mine),
            ]
        m.d.sync += [
            retired.eq(retire),
            self.retire_slots.eq(freed.slots & retire.replicate(slots)),
            self.retire_buffers.eq(freed.buffers & retire.replicate(2)),
        ]
        with m.If(mac.committed):
            m.d.sync += self.result_valid.eq(1)
        with m.Elif(self.result_taken):
            m.d.sync += self.result_valid.eq(0)
        return blocked

    def _operands(self, m: Module, mac: Mac | MergingMac, step, tag) -> None:
        """Value memories and the operands' addresses."""
        layouts, config = self._layouts, self._layouts.config
        width, bus_bytes = config.broadcast_width, config.filter_bus_bytes
        m.submodules.activations = activations = ByteRam(width, config.slots * layouts.rows)
        m.submodules.weights = weights = ByteRam(bus_bytes, layouts.buffers * layouts.buffer_rows)
        address_a = self._bus.slot
        if layouts.rows > 1:
            address_a = Cat(self._bus.row, self._bus.slot)
        m.d.comb += [
            activations.write_address.eq(address_a),
            activations.write_data.eq(self._bus.data),
            activations.write_enable.eq(self._bus.row_valid),
            weights.write_address.eq(self._late_load.row_address),
            weights.write_data.eq(self._late_load.row),
            weights.write_enable.eq(self._late_load.row_valid),
            activations.read_enable.eq(1),
            weights.read_enable.eq(1),
        ]
        base = tag.base << (bus_bytes.bit_length() - 1)
        m.d.sync += [
            activations.read_address.eq(Cat(step.position, tag.chunk_slot)),
            weights.read_address.eq(base + step.weight_prefix + step.weight_count),
        ]
        # Straight into registers: block RAM leaves time for nothing else.
        octet, signed_activations = Signal(8), Signal()
        m.d.sync += [
            octet.eq(activations.read_data),
            mac.weight.eq(weights.read_data),
            signed_activations.eq(self.signed_activations),
        ]
        m.d.comb += mac.activation.eq(Cat(octet, signed_activations & octet[7]))
