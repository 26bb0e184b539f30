"""Numba kernel that runs batches of sixteen cluster machines through a layer of whole filters.

Joins are counted once for a pass and a position, and used at once by all machines, which are the
lanes of vectors of uint16. Symbols are those of ``docs/machine.md``, *Timing*; that 16 bits do is
proved in ``docs/sweeps.md``. A *column* is the place of an active unit of a pass.

All functions but one are inlined, so that arrays in NamedTuples cost nothing to pass on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from accel.machines.cluster.batch.lanes import (
    COLUMNS,
    MACHINES,
    count_ones,
    element,
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
#: Short sums are added up after so many steps: a step adds at most 512.
_FLUSH_STEPS = 64
#: Bytes of a mask whose ones fit a byte.
_BYTES = 16

_PAIRS, _BUSY, _COST = range(3)
_SIBLINGS, _MEMORY, _COLLECTOR, _SPAN = range(4)


@njit(nogil=True, cache=True, error_model="numpy")
def run_batches(layer, deals, batches, latency, times, sums):
    """Run machines through a layer.

    Parameters
    ----------
    layer, deals, batches, times, sums : Layer, Deals, Batches, Times, Sums
        Of `accel.machines.cluster.batch.arrays`; the last two are written.
    latency : accel.machines.cluster.arrays.Latencies
    """
    columns = layer.unit.shape[1]
    passes, positions = layer.nonzeros.shape
    chunks = layer.filters.shape[1]
    cost = np.zeros(chunks * columns, dtype=np.uint16)
    short = np.zeros(3 * columns, dtype=np.uint16)
    counted = np.zeros(3 * columns, dtype=np.int64)
    gaps = np.zeros(chunks, dtype=np.int64)
    places = np.zeros(chunks, dtype=np.int64)
    words = np.zeros((len(batches.taken), MACHINES), dtype=np.int64)
    work = np.zeros((len(sums.steps), 3 * columns), dtype=np.int64)
    works = np.zeros(len(sums.steps), dtype=np.bool_)
    for index in range(passes):
        works[:] = False
        for position in range(positions):
            delivered = _count(layer, index, position, cost, short, counted, gaps, places)
            _count_words(batches.taken, places, delivered, words)
            for deal in range(len(deals.clusters)):
                run = deals.run[deal]
                m = position // run if run else position % deals.clusters[deal]
                deal_row = deals.first_row[deal] + m
                for batch in range(deals.first_batch[deal], deals.first_batch[deal + 1]):
                    row = batches.first_row[batch] + m
                    if not works[deal_row]:
                        first = sums.steps[deal_row] == 0
                        _begin_pass(layer, batches, latency, times, index, batch, row, first)
                    _run_position(
                        layer, batches, latency, times, index, batch, row,
                        sums.delivered[deal_row], delivered, gaps, places, cost,
                    )  # fmt: skip
                    bus_class = batches.bus_class[batch]
                    for machine in range(MACHINES):
                        times.words[row, machine] += words[bus_class, machine]
                works[deal_row] = True
                for at in range(3 * columns):
                    work[deal_row, at] += counted[at]
                sums.steps[deal_row] += chunks
                sums.delivered[deal_row] += delivered
                sums.outputs[deal_row] += layer.outputs[index]
                sums.nonzeros[deal_row] += layer.nonzeros[index, position]
        for deal in range(len(deals.clusters)):
            for m in range(deals.clusters[deal]):
                deal_row = deals.first_row[deal] + m
                if not works[deal_row]:
                    continue
                for batch in range(deals.first_batch[deal], deals.first_batch[deal + 1]):
                    _end_pass(layer, latency, times, index, batches.first_row[batch] + m)
                for kind in range(3):
                    for column in range(layer.units[index]):
                        unit = layer.unit[index, column]
                        sums.work[deal_row, kind, unit] += work[deal_row, kind * columns + column]
                work[deal_row] = 0


@njit(error_model="numpy", inline="always")
def _count(layer, index, position, cost, short, counted, gaps, places):
    """Count the joins of one position in one pass; return its delivered steps.

    ``cost`` (axes delivered step, column) gets c, ``counted`` (axes ``WORK``, column) the sums,
    ``gaps`` and ``places`` the skipped steps before each delivered one, and its input chunk.
    """
    columns = layer.unit.shape[1]
    chunks, slots, mask_bytes = layer.filters.shape[1:4]
    taps = layer.windows.shape[1]
    least_chunks = layer.least.shape[1]
    zero_bytes = splat_columns(np.uint8(0))
    zero, one = splat_columns(np.uint16(0)), splat_columns(np.uint16(1))
    counted[:] = 0
    short[:] = 0
    delivered, gap, tap, piece = 0, 0, 0, 0
    for chunk in range(chunks):
        place = layer.base[index] + element(layer.windows, position * taps + tap) + piece
        at_mask = (place if layer.dynamic else piece) * layer.masks.shape[1]
        piece += 1
        if piece == layer.row_chunks:
            piece = 0
            tap += 1
        if layer.skip_empty and chunk < chunks - 1 and element(layer.empty, place):
            gap += 1
            continue
        places[delivered] = place
        gaps[delivered] = gap
        gap = 0
        at_least = (index * least_chunks + min(chunk, least_chunks - 1)) * slots * columns
        for block in range(0, columns, COLUMNS):
            step_cost, busy, pairs = zero, zero, zero
            for held in range(slots):
                at = ((index * chunks + chunk) * slots + held) * mask_bytes * columns + block
                of_filter = zero
                for first in range(0, mask_bytes, _BYTES):
                    ones = zero_bytes
                    for byte in range(first, min(first + _BYTES, mask_bytes), 2):
                        # Two at a time: the adding up waits for itself.
                        even = splat_columns(element(layer.masks, at_mask + byte))
                        odd = splat_columns(element(layer.masks, at_mask + byte + 1))
                        ones = ones + (
                            count_ones(load_columns(layer.filters, at) & even)
                            + count_ones(load_columns(layer.filters, at + columns) & odd)
                        )
                        at += 2 * columns
                    of_filter = of_filter + widen(ones)
                pairs = pairs + of_filter
                if layer.multipliers == 2:
                    of_filter = (of_filter + one) >> one
                busy = busy + of_filter
                least = load_columns(layer.least, at_least + held * columns + block)
                step_cost = step_cost + maximum(of_filter, least)
            store(cost, delivered * columns + block, step_cost)
            at = _PAIRS * columns + block
            store(short, at, load_columns(short, at) + pairs)
            at = _BUSY * columns + block
            store(short, at, load_columns(short, at) + busy)
            at = _COST * columns + block
            store(short, at, load_columns(short, at) + step_cost)
        delivered += 1
        if delivered % _FLUSH_STEPS == 0:
            _flush(short, counted)
    _flush(short, counted)
    return delivered


@njit(error_model="numpy", inline="always")
def _flush(short, counted):
    """Add up short sums, and clear them."""
    for at in range(len(counted)):
        counted[at] += short[at]
        short[at] = 0


@njit(error_model="numpy", inline="always")
def _count_words(taken, places, delivered, words):
    """Count the broadcast words of a position: ``words`` has axes bus class, machine."""
    words[:] = 0
    for bus_class in range(len(taken)):
        for step in range(delivered):
            place = places[step]
            for machine in range(MACHINES):
                words[bus_class, machine] += taken[bus_class, place, machine]


@njit(error_model="numpy", inline="always")
def _begin_pass(layer, batches, latency, times, index, batch, row, first):
    """Load a cluster's filters: the base becomes max(A, G), and units wait for it."""
    units = layer.units[index]
    for machine in range(MACHINES):
        arrived = times.base[row, machine] + np.int64(times.arrived[row, machine])
        if first:
            arrived = latency.start
        released = times.released[row, machine]
        free = released
        if batches.double_buffer[batch, machine]:
            free = times.released_before[row, machine]
        times.released_before[row, machine] = released
        beats = batches.beats[batch, index, machine]
        times.loaded[row, machine] = max(times.loaded[row, machine], free) + beats
        times.beats[row, machine] += beats
        ready = times.loaded[row, machine] + latency.load
        before = 0 if first else arrived
        base = max(arrived, ready)
        moved = base - times.base[row, machine]
        for at in range(RING):
            late = np.int64(times.ring[row, at, machine]) - moved
            times.ring[row, at, machine] = np.uint16(max(late, 0))
        late = np.int64(times.collector_free[row, machine]) - moved
        times.collector_free[row, machine] = np.uint16(max(late, 0))
        times.arrived[row, machine] = 0
        times.base[row, machine] = base
        for column in range(units):
            unit = layer.unit[index, column]
            finish = times.kept_finish[row, unit, machine]
            if not first:
                # A unit that was inactive begins to wait with the pass: before, it was idle.
                finish = max(finish, arrived)
            times.begun[row, column, machine] = finish
            waits_from = max(finish, before)
            if ready > waits_from:
                times.waits[row, _MEMORY, unit, machine] += ready - waits_from
            # What a unit waits for from here on begins at the base, or when it has finished.
            times.finish[row, column, machine] = np.uint16(max(finish - base, 0))


@njit(error_model="numpy", inline="always")
def _end_pass(layer, latency, times, index, row):
    """Keep the times of a cluster's units until its next pass."""
    _move_base(layer, times, index, row)
    for machine in range(MACHINES):
        longest = np.int64(0)
        for column in range(layer.units[index]):
            unit = layer.unit[index, column]
            finish = times.base[row, machine] + np.int64(times.finish[row, column, machine])
            longest = max(longest, finish)
            times.kept_finish[row, unit, machine] = finish
            times.waits[row, _SPAN, unit, machine] += finish - times.begun[row, column, machine]
        times.released[row, machine] = longest + latency.load_free


@njit(error_model="numpy")
def _move_base(layer, times, index, row):
    """Make A of the last step each machine's base; add up the short sums.

    No active unit has finished before A: each has taken a cycle or more for the last step.
    """
    arrived = load_machines(times.arrived, row * MACHINES)
    rows = times.finish.shape[1]
    zero = splat_machines(np.uint16(0))
    for column in range(layer.units[index]):
        unit = layer.unit[index, column]
        at = (row * rows + column) * MACHINES
        store(times.finish, at, load_machines(times.finish, at) - arrived)
        for machine in range(MACHINES):
            waits = times.siblings[row, column, machine]
            times.waits[row, _SIBLINGS, unit, machine] += waits
            waits = times.collector[row, column, machine]
            times.waits[row, _COLLECTOR, unit, machine] += waits
        store(times.siblings, at, zero)
        store(times.collector, at, zero)
    for place in range(RING):
        at = (row * RING + place) * MACHINES
        store(times.ring, at, excess(load_machines(times.ring, at), arrived))
    at = row * MACHINES
    store(times.collector_free, at, excess(load_machines(times.collector_free, at), arrived))
    for machine in range(MACHINES):
        times.base[row, machine] += times.arrived[row, machine]
    store(times.arrived, at, zero)


@njit(error_model="numpy", inline="always")
def _freed(batches, times, batch, row, number):
    """Return R of the delivered step of that number."""
    kinds = batches.slots.shape[1]
    freed = splat_machines(np.uint16(0))
    for kind in range(kinds):
        slots = element(batches.slots, batch * kinds + kind)
        if slots == 0:
            break
        at = (row * RING + ((number - slots) & (RING - 1))) * MACHINES
        mask = load_machines(batches.has_slots, (batch * kinds + kind) * MACHINES)
        freed = maximum(freed, load_machines(times.ring, at) & mask)
    return freed


@njit(error_model="numpy", inline="always")
def _run_position(
    layer, batches, latency, times, index, batch, row, number, delivered, gaps, places, cost
):
    """Run a cluster of sixteen machines through one position: A, S, F, F', B, E, C.

    Two steps are taken at a time: with two slots or more the second one's R is known before the
    first. ``number`` is that of the first delivered step.
    """
    columns = layer.unit.shape[1]
    units = layer.units[index]
    release = splat_machines(np.uint16(latency.release))
    at_units = row * times.finish.shape[1] * MACHINES
    at_ring = row * RING * MACHINES
    at_taken = batches.bus_class[batch] * batches.taken.shape[1] * MACHINES
    arrived = load_machines(times.arrived, row * MACHINES)
    longest = splat_machines(np.uint16(0))
    step = 0
    while step < delivered:
        if step % CHECK_STEPS == 0 and largest(arrived) > REBASE_CYCLES:
            store(times.arrived, row * MACHINES, arrived)
            _move_base(layer, times, index, row)
            arrived = splat_machines(np.uint16(0))
        # Units wait until a skipped step is over, for nobody's sake.
        floor = arrived + splat_machines(np.uint16(gaps[step]))
        sent = maximum(floor, _freed(batches, times, batch, row, number))
        arrived = sent + load_machines(batches.taken, at_taken + places[step] * MACHINES)
        at_cost = step * columns
        at = at_units
        if step + 1 == delivered:
            longest = splat_machines(np.uint16(0))
            for column in range(units):
                finish = maximum(load_machines(times.finish, at), floor)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                store(times.siblings, at, waits)
                finish = maximum(finish, arrived) + splat_machines(element(cost, at_cost + column))
                store(times.finish, at, finish)
                longest = maximum(longest, finish)
                at += MACHINES
            store(times.ring, at_ring + (number & (RING - 1)) * MACHINES, longest + release)
            number += 1
            step += 1
            continue
        next_floor = arrived + splat_machines(np.uint16(gaps[step + 1]))
        next_sent = maximum(next_floor, _freed(batches, times, batch, row, number + 1))
        next_arrived = next_sent + load_machines(
            batches.taken, at_taken + places[step + 1] * MACHINES
        )
        at_next = at_cost + columns
        first_longest = splat_machines(np.uint16(0))
        longest = splat_machines(np.uint16(0))
        if gaps[step] + gaps[step + 1] > 0:
            for column in range(units):
                finish = maximum(load_machines(times.finish, at), floor)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                finish = maximum(finish, arrived) + splat_machines(element(cost, at_cost + column))
                first_longest = maximum(first_longest, finish)
                finish = maximum(finish, next_floor)
                store(times.siblings, at, waits + excess(next_sent, finish))
                finish = maximum(finish, next_arrived) + splat_machines(
                    element(cost, at_next + column)
                )
                longest = maximum(longest, finish)
                store(times.finish, at, finish)
                at += MACHINES
        else:
            # The same, where a unit has nothing to wait for but A.
            for column in range(units):
                finish = load_machines(times.finish, at)
                waits = load_machines(times.siblings, at) + excess(sent, finish)
                finish = maximum(finish, arrived) + splat_machines(element(cost, at_cost + column))
                first_longest = maximum(first_longest, finish)
                store(times.siblings, at, waits + excess(next_sent, finish))
                finish = maximum(finish, next_arrived) + splat_machines(
                    element(cost, at_next + column)
                )
                longest = maximum(longest, finish)
                store(times.finish, at, finish)
                at += MACHINES
        store(times.ring, at_ring + (number & (RING - 1)) * MACHINES, first_longest + release)
        store(times.ring, at_ring + ((number + 1) & (RING - 1)) * MACHINES, longest + release)
        arrived = next_arrived
        number += 2
        step += 2
    free = load_machines(times.collector_free, row * MACHINES)
    if largest(excess(free, arrived)) > 0:
        at = at_units
        for column in range(units):
            finish = load_machines(times.finish, at)
            waits = load_machines(times.collector, at) + excess(free, finish)
            store(times.collector, at, waits)
            store(times.finish, at, maximum(finish, free))
            at += MACHINES
        longest = maximum(longest, free)
        at = at_ring + ((number - 1) & (RING - 1)) * MACHINES
        store(times.ring, at, longest + release)
    drain = load_machines(batches.drain, (batch * layer.units.shape[0] + index) * MACHINES)
    store(times.collector_free, row * MACHINES, longest + drain)
    store(times.arrived, row * MACHINES, arrived)
