"""Numba kernel that runs batches of sixteen cluster machines through a layer of whole filters.

Joins are counted once for a pass and a position, and used at once by all machines, which are the
lanes of vectors of uint16. Symbols are those of ``docs/machine.md``, *Timing*; that 16 bits do is
proved in ``docs/sweeps.md``. A *column* is the place of an active unit of a pass.

All functions get the addresses of arrays, and lengths in `Sizes`; what is called for each position
is inlined.
"""

from __future__ import annotations

import numpy as np

from accel.compiled import helper, inlined, njit
from accel.machines.cluster.batch.lanes import (
    COLUMNS,
    MACHINES,
    addresses,
    count_ones,
    excess,
    largest,
    load_columns,
    load_machines,
    maximum,
    splat_columns,
    splat_machines,
    store,
    widen,
)

__all__ = ["CHECK_STEPS", "REBASE_CYCLES", "RING", "run_batches"]

#: Places of the ring of slots: a power of two, more than a machine can have.
RING = 32
#: The base moves when A is later than this, which is looked at every ``CHECK_STEPS`` steps.
REBASE_CYCLES = 16384
CHECK_STEPS = 16
#: Short sums are added up after so many steps: a step adds at most 512 of work, 256 words.
_FLUSH_STEPS = 64
#: Bytes of a mask whose ones fit a byte.
_BYTES = 16

# Rows of ``Sums.work`` and of ``Times.waits``: ``WORK`` and ``WAITS``.
_PAIRS, _BUSY, _COST = range(3)
_KINDS = 3
_SIBLINGS, _MEMORY, _COLLECTOR, _SPAN = range(4)
_WAITS = 4


@njit
def run_batches(sizes, layer, deals, batches, latency, scratch, times, sums):
    """Run machines through a layer.

    Parameters
    ----------
    sizes, layer, deals, batches, scratch, times, sums
        Of `accel.machines.cluster.batch.arrays`; the last two are written.
    latency : Latencies
    """
    layer, deals, batches = addresses(layer), addresses(deals), addresses(batches)
    scratch, times, sums = addresses(scratch), addresses(times), addresses(sums)
    work = _KINDS * sizes.columns
    for index in range(sizes.passes):
        for row in range(sizes.deal_rows):
            scratch.has_worked[row] = 0
            for at in range(work):
                scratch.pass_work[row * work + at] = 0
        for position in range(sizes.positions):
            delivered = _count(sizes, layer, scratch, index, position)
            _count_words(sizes, batches, scratch, delivered)
            for deal in range(sizes.deals):
                run = deals.run[deal]
                m = position // run if run else position % deals.clusters[deal]
                row = deals.first_row[deal] + m
                for batch in range(deals.first_batch[deal], deals.first_batch[deal + 1]):
                    state = batches.first_row[batch] + m
                    if not scratch.has_worked[row]:
                        is_first = sums.steps[row] == 0
                        _begin_pass(sizes, layer, batches, latency, times, index, batch, state,
                                    is_first)  # fmt: skip
                    _run_position(
                        sizes, layer, batches, latency, scratch, times, index, batch, state,
                        delivered, sums.delivered[row],
                    )  # fmt: skip
                    at_words = batches.bus_class[batch] * MACHINES
                    for machine in range(MACHINES):
                        times.words[state * MACHINES + machine] += scratch.words[at_words + machine]
                scratch.has_worked[row] = 1
                for at in range(work):
                    scratch.pass_work[row * work + at] += scratch.work[at]
                sums.steps[row] += sizes.filter_chunks
                sums.delivered[row] += delivered
                sums.outputs[row] += layer.outputs[index]
                sums.nonzeros[row] += layer.nonzeros[index * sizes.positions + position]
        for deal in range(sizes.deals):
            for m in range(deals.clusters[deal]):
                row = deals.first_row[deal] + m
                if not scratch.has_worked[row]:
                    continue
                for batch in range(deals.first_batch[deal], deals.first_batch[deal + 1]):
                    _end_pass(sizes, layer, latency, times, index, batches.first_row[batch] + m)
                for kind in range(_KINDS):
                    for column in range(layer.units[index]):
                        unit = layer.unit[index * sizes.columns + column]
                        counted = scratch.pass_work[row * work + kind * sizes.columns + column]
                        sums.work[(row * _KINDS + kind) * sizes.units + unit] += counted


@inlined
def _count(sizes, layer, scratch, index, position):
    """Count the joins of one position in one pass; return its delivered steps."""
    columns, chunks = sizes.columns, sizes.filter_chunks
    at_window = position * sizes.taps
    base = layer.base[index]
    filter_size = sizes.filter_bytes * columns
    zero_bytes = splat_columns(np.uint8(0))
    zero, one = splat_columns(np.uint16(0)), splat_columns(np.uint16(1))
    for at in range(_KINDS * columns):
        scratch.short[at] = 0
        scratch.work[at] = 0
    delivered, gap, tap, piece = 0, 0, 0, 0
    for chunk in range(chunks):
        place = base + layer.windows[at_window + tap] + piece
        at_mask = (place if layer.dynamic else piece) * sizes.mask_bytes
        piece += 1
        if piece == layer.row_chunks:
            piece = 0
            tap += 1
        if layer.skip_empty and chunk < chunks - 1 and layer.empty[place]:
            gap += 1
            continue
        scratch.chunks[delivered] = place
        scratch.gaps[delivered] = gap
        gap = 0
        at_least = index * sizes.least_chunks + min(chunk, sizes.least_chunks - 1)
        at_least *= sizes.slots * columns
        for block in range(0, columns, COLUMNS):
            cost, busy, pairs = zero, zero, zero
            for slot in range(sizes.slots):
                at = ((index * chunks + chunk) * sizes.slots + slot) * filter_size + block
                of_filter = zero
                for first in range(0, sizes.filter_bytes, _BYTES):
                    ones = zero_bytes
                    for byte in range(first, min(first + _BYTES, sizes.filter_bytes), 4):
                        # Pairs are added first: each sum waits for the one before.
                        ones = ones + (
                            (
                                _count_byte(layer, at_mask + byte, at)
                                + _count_byte(layer, at_mask + byte + 1, at + columns)
                            )
                            + (
                                _count_byte(layer, at_mask + byte + 2, at + 2 * columns)
                                + _count_byte(layer, at_mask + byte + 3, at + 3 * columns)
                            )
                        )
                        at += 4 * columns
                    of_filter = of_filter + widen(ones)
                pairs = pairs + of_filter
                if layer.multipliers == 2:
                    of_filter = (of_filter + one) >> one
                busy = busy + of_filter
                least = load_columns(layer.least, at_least + slot * columns + block)
                cost = cost + maximum(of_filter, least)
            store(scratch.cost, delivered * columns + block, cost)
            at = _PAIRS * columns + block
            store(scratch.short, at, load_columns(scratch.short, at) + pairs)
            at = _BUSY * columns + block
            store(scratch.short, at, load_columns(scratch.short, at) + busy)
            at = _COST * columns + block
            store(scratch.short, at, load_columns(scratch.short, at) + cost)
        delivered += 1
        if delivered % _FLUSH_STEPS == 0 or chunk == chunks - 1:
            for at in range(_KINDS * columns):
                scratch.work[at] += scratch.short[at]
                scratch.short[at] = 0
    return delivered


@inlined
def _count_byte(layer, at_mask, at_filter):
    """Count the ones that a byte of an input mask has in common with those of filters."""
    byte = splat_columns(layer.masks[at_mask])
    return count_ones(load_columns(layer.filters, at_filter) & byte)


@inlined
def _count_words(sizes, batches, scratch, delivered):
    """Count the broadcast words of a position."""
    for bus_class in range(sizes.bus_classes):
        at_words = bus_class * MACHINES
        at_taken = bus_class * sizes.input_chunks
        for machine in range(MACHINES):
            scratch.words[at_words + machine] = 0
        for first in range(0, delivered, _FLUSH_STEPS):
            words = splat_machines(np.uint16(0))
            for step in range(first, min(first + _FLUSH_STEPS, delivered)):
                at = (at_taken + scratch.chunks[step]) * MACHINES
                words = words + load_machines(batches.taken, at)
            store(scratch.short_words, 0, words)
            for machine in range(MACHINES):
                scratch.words[at_words + machine] += scratch.short_words[machine]


@inlined
def _begin_pass(sizes, layer, batches, latency, times, index, batch, state, is_first):
    """Load a cluster's filters: the base becomes max(A, G), and units wait for it."""
    for machine in range(MACHINES):
        at = state * MACHINES + machine
        arrived = times.base[at] + np.int64(times.arrived[at])
        if is_first:
            arrived = latency.start
        free = times.released[at]
        if batches.double_buffer[batch * MACHINES + machine]:
            free = times.released_before[at]
        times.released_before[at] = times.released[at]
        beats = batches.beats[(batch * sizes.passes + index) * MACHINES + machine]
        times.loaded[at] = max(times.loaded[at], free) + beats
        times.beats[at] += beats
        ready = times.loaded[at] + latency.load
        base = max(arrived, ready)
        # Short times that are further back than 16 bits are before the base in any case.
        times.arrived[at] = min(base - times.base[at], 0xFFFF)
        times.base[at] = base
        for column in range(layer.units[index]):
            unit = layer.unit[index * sizes.columns + column]
            finish = times.kept_finish[(state * sizes.units + unit) * MACHINES + machine]
            if not is_first:
                # A unit that was inactive begins to wait with the pass: before, it was idle.
                finish = max(finish, arrived)
            at_column = (state * sizes.units + column) * MACHINES + machine
            times.begun[at_column] = finish
            at_wait = (state * _WAITS + _MEMORY) * sizes.units + unit
            times.waits[at_wait * MACHINES + machine] += max(ready - finish, 0)
            # What a unit waits for from here on begins at the base, or when it has finished.
            times.finish[at_column] = max(finish - base, 0)
    _move_short(sizes, times, state)


@inlined
def _end_pass(sizes, layer, latency, times, index, state):
    """Keep the times of a cluster's units until its next pass."""
    _move_base(sizes, layer, times, index, state)
    for machine in range(MACHINES):
        at = state * MACHINES + machine
        longest = np.int64(0)
        for column in range(layer.units[index]):
            unit = layer.unit[index * sizes.columns + column]
            at_column = (state * sizes.units + column) * MACHINES + machine
            finish = times.base[at] + np.int64(times.finish[at_column])
            longest = max(longest, finish)
            times.kept_finish[(state * sizes.units + unit) * MACHINES + machine] = finish
            at_wait = (state * _WAITS + _SPAN) * sizes.units + unit
            times.waits[at_wait * MACHINES + machine] += finish - times.begun[at_column]
        times.released[at] = longest + latency.load_free


@helper
def _move_base(sizes, layer, times, index, state):
    """Make A of the last step each machine's base; add up the short sums.

    No active unit has finished before A: each has taken a cycle or more for the last step.
    """
    arrived = load_machines(times.arrived, state * MACHINES)
    zero = splat_machines(np.uint16(0))
    at_waits = state * _WAITS
    for column in range(layer.units[index]):
        unit = layer.unit[index * sizes.columns + column]
        at = (state * sizes.units + column) * MACHINES
        store(times.finish, at, load_machines(times.finish, at) - arrived)
        at_siblings = ((at_waits + _SIBLINGS) * sizes.units + unit) * MACHINES
        at_collector = ((at_waits + _COLLECTOR) * sizes.units + unit) * MACHINES
        for machine in range(MACHINES):
            times.waits[at_siblings + machine] += times.siblings[at + machine]
            times.waits[at_collector + machine] += times.collector[at + machine]
        store(times.siblings, at, zero)
        store(times.collector, at, zero)
    for machine in range(MACHINES):
        times.base[state * MACHINES + machine] += times.arrived[state * MACHINES + machine]
    _move_short(sizes, times, state)


@helper
def _move_short(sizes, times, state):
    """Take A from the short times that no unit has, and from itself."""
    at_arrived = state * MACHINES
    arrived = load_machines(times.arrived, at_arrived)
    free = load_machines(times.collector_free, at_arrived)
    store(times.collector_free, at_arrived, excess(free, arrived))
    for place in range(RING):
        at = (state * RING + place) * MACHINES
        store(times.ring, at, excess(load_machines(times.ring, at), arrived))
    for place in range(sizes.stages * RING):
        at = (state * sizes.stages * RING + place) * MACHINES
        store(times.stages, at, excess(load_machines(times.stages, at), arrived))
    store(times.arrived, at_arrived, splat_machines(np.uint16(0)))


@inlined
def _freed(sizes, batches, times, batch, state, number):
    """Return R of the delivered step of that number, and of the next one.

    A machine's slots are the fewest of its batch and a sum of powers of two: a stage delays those
    machines once more that have its power. Each remembers what it was given. All machines have two
    slots or more, so that both steps' times are known.
    """
    place = number - batches.least_slots[batch]
    at_ring = state * RING
    freed = load_machines(times.ring, (at_ring + (place & (RING - 1))) * MACHINES)
    next_freed = load_machines(times.ring, (at_ring + ((place + 1) & (RING - 1))) * MACHINES)
    at_stage = state * sizes.stages * RING
    at_delayed = batch * sizes.stages
    for stage in range(batches.stages[batch]):
        at = (at_stage + (number & (RING - 1))) * MACHINES
        at_next = (at_stage + ((number + 1) & (RING - 1))) * MACHINES
        store(times.stages, at, freed)
        store(times.stages, at_next, next_freed)
        earlier = number - (1 << stage)
        # With a delay of one step, what the next step needs is at hand: it is not loaded again.
        next_earlier = freed
        if stage > 0:
            at_next = (at_stage + ((earlier + 1) & (RING - 1))) * MACHINES
            next_earlier = load_machines(times.stages, at_next)
        at = (at_stage + (earlier & (RING - 1))) * MACHINES
        is_delayed = load_machines(batches.is_delayed, (at_delayed + stage) * MACHINES)
        freed = freed ^ ((freed ^ load_machines(times.stages, at)) & is_delayed)
        next_freed = next_freed ^ ((next_freed ^ next_earlier) & is_delayed)
        at_stage += RING
    return freed, next_freed


@inlined
def _run_position(
    sizes, layer, batches, latency, scratch, times, index, batch, state, delivered, number
):
    """Run a cluster of sixteen machines through one position: A, S, F, F', B, E, C.

    Two steps are taken at a time: with two slots or more the second one's R is known before the
    first. ``number`` is that of the first delivered step.
    """
    columns, units = sizes.columns, layer.units[index]
    release = splat_machines(np.uint16(latency.release))
    zero = splat_machines(np.uint16(0))
    at_units = state * sizes.units * MACHINES
    at_ring = state * RING
    at_taken = batches.bus_class[batch] * sizes.input_chunks
    arrived = load_machines(times.arrived, state * MACHINES)
    longest = zero
    step = 0
    while step < delivered:
        if step % CHECK_STEPS == 0 and largest(arrived) > REBASE_CYCLES:
            store(times.arrived, state * MACHINES, arrived)
            _move_base(sizes, layer, times, index, state)
            arrived = zero
        # Units wait until a skipped step is over, for nobody's sake.
        floor = arrived + splat_machines(np.uint16(scratch.gaps[step]))
        freed, next_freed = _freed(sizes, batches, times, batch, state, number)
        sent = maximum(floor, freed)
        at = (at_taken + scratch.chunks[step]) * MACHINES
        arrived = sent + load_machines(batches.taken, at)
        at_cost = step * columns
        at_place = (at_ring + (number & (RING - 1))) * MACHINES
        at = at_units
        if step + 1 == delivered:
            longest = zero
            for column in range(units):
                finish = maximum(load_machines(times.finish, at), floor)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                store(times.siblings, at, waits)
                finish = maximum(finish, arrived) + splat_machines(scratch.cost[at_cost + column])
                store(times.finish, at, finish)
                longest = maximum(longest, finish)
                at += MACHINES
            store(times.ring, at_place, longest + release)
            number += 1
            break
        next_floor = arrived + splat_machines(np.uint16(scratch.gaps[step + 1]))
        next_sent = maximum(next_floor, next_freed)
        at_chunk = (at_taken + scratch.chunks[step + 1]) * MACHINES
        next_arrived = next_sent + load_machines(batches.taken, at_chunk)
        at_next_cost = at_cost + columns
        first_longest = zero
        longest = zero
        if scratch.gaps[step] + scratch.gaps[step + 1] > 0:
            for column in range(units):
                finish = maximum(load_machines(times.finish, at), floor)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                finish = maximum(finish, arrived) + splat_machines(scratch.cost[at_cost + column])
                first_longest = maximum(first_longest, finish)
                finish = maximum(finish, next_floor)
                store(times.siblings, at, waits + excess(next_sent, finish))
                finish = maximum(finish, next_arrived) + splat_machines(
                    scratch.cost[at_next_cost + column]
                )
                longest = maximum(longest, finish)
                store(times.finish, at, finish)
                at += MACHINES
        else:
            # The same, where a unit has nothing to wait for but A.
            for column in range(units):
                finish = load_machines(times.finish, at)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                finish = maximum(finish, arrived) + splat_machines(scratch.cost[at_cost + column])
                first_longest = maximum(first_longest, finish)
                store(times.siblings, at, waits + excess(next_sent, finish))
                finish = maximum(finish, next_arrived) + splat_machines(
                    scratch.cost[at_next_cost + column]
                )
                longest = maximum(longest, finish)
                store(times.finish, at, finish)
                at += MACHINES
        store(times.ring, at_place, first_longest + release)
        at_place = (at_ring + ((number + 1) & (RING - 1))) * MACHINES
        store(times.ring, at_place, longest + release)
        arrived = next_arrived
        number += 2
        step += 2
    free = load_machines(times.collector_free, state * MACHINES)
    if largest(excess(free, arrived)) > 0:
        for column in range(units):
            at = at_units + column * MACHINES
            finish = load_machines(times.finish, at)
            waits = load_machines(times.collector, at) + excess(free, finish)
            store(times.collector, at, waits)
            store(times.finish, at, maximum(finish, free))
        longest = maximum(longest, free)
        at_place = (at_ring + ((number - 1) & (RING - 1))) * MACHINES
        store(times.ring, at_place, longest + release)
    drain = load_machines(batches.drain, (batch * sizes.passes + index) * MACHINES)
    store(times.collector_free, state * MACHINES, longest + drain)
    store(times.arrived, state * MACHINES, arrived)
