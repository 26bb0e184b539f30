"""One segment of a pass on one cluster, step by step: A, S, F, C of ``docs/machine.md``, *Timing*.

Times of units are 16 bits, relative to the cluster's A, and so are the sums of what they do until
these are added to sums of 64 bits: a vector holds all units of most clusters, in registers.

However long a layer takes, F' and C are no further from A than 16 bits tell. A step waits for the
slot of the step ``slots`` before it, so at its A all units have finished that one. Each later step
adds its largest cost and, where it completes a position, a drain, DELIVER and COLLECTOR_FREE: in
the largest machine there can be that is 17 * (512 + 512 + DELIVER + COLLECTOR_FREE) cycles. A wait
for a slot is longer by RELEASE at most. ``SPREAD_MAX`` bounds all of these.
"""

from __future__ import annotations

import numpy as np

from accel.compiled import helper, inlined
from accel.machines.cluster.arrays import RING_SLOTS, ROOM, SHORT_MAX
from accel.machines.cluster.joins import count_pairs
from accel.machines.vectors import (
    LANES,
    element,
    excess,
    largest,
    load,
    maximum,
    put,
    splat,
    store,
)

__all__ = ["add_short_sums", "run_blocks", "run_one_block"]


@helper
def run_one_block(
    first, positions, stride, segment, machine, work, inputs, cluster, ring, columns, units, tag
):
    """Run a segment at some positions where all columns are one block: A, S, F, C of *Timing*.

    Parameters
    ----------
    first, positions, stride : int
        The first position, how many, and from one to the next.
    segment : int
    machine, work, inputs : Machine, Work, Inputs
        Of `accel.machines.cluster.arrays`, as are ``columns`` and ``units``; their arrays are
        given as `rows`.
    cluster : record of ``CLUSTER_STATE``
        Changed, as is what follows it.
    ring : row of int64
    columns, units : Columns, Units
        Of this cluster.
    tag : tuple
        Of the block.
    """
    first_chunk, chunks = _chunks_of(segment, work)
    arrived, longest = cluster.arrived, cluster.longest
    steps, room = cluster.steps_delivered, cluster.room
    late, siblings = load(columns.late, 0, tag), load(columns.siblings, 0, tag)
    busy_sum, cost_sum = load(columns.busy, 0, tag), load(columns.cost, 0, tag)
    for position in range(first, first + positions * stride, stride):
        at_chunk = position * work.filter_chunks + first_chunk
        last_chunk = at_chunk + chunks - 1
        at = first_chunk * machine.filters_per_unit * len(tag) * LANES
        skipped = 0
        while at_chunk <= last_chunk:
            at_input = work.base + element(inputs.chunks, at_chunk)
            words = np.int64(element(inputs.broadcast_words, at_input))
            # The last step of a segment is always delivered.
            if words == 0 and inputs.skip_empty and at_chunk < last_chunk:
                arrived += 1
                skipped += 1
                cluster.steps_skipped += 1
            else:
                words = max(words, 1)
                if room < 0:
                    store(columns.siblings, 0, siblings)
                    store(columns.busy, 0, busy_sum)
                    store(columns.cost, 0, cost_sum)
                    add_short_sums(machine, work, columns, units)
                    siblings, busy_sum, cost_sum = splat(0, tag), splat(0, tag), splat(0, tag)
                    room = ROOM
                wait = _wait_for_slot(steps, arrived, machine, ring)
                room -= wait + machine.step_cost_max
                busy, cost = count_pairs(at_input, at, 0, machine, work, inputs, columns, tag)
                busy_sum, cost_sum = busy_sum + busy, cost_sum + cost
                if skipped:
                    late = excess(late, splat(min(skipped, SHORT_MAX), tag))
                    skipped = 0
                siblings = siblings + excess(splat(wait, tag), late)
                late = excess(late, splat(wait + words, tag)) + cost
                arrived += wait + words
                longest = arrived + largest(late)
                put(ring, steps % RING_SLOTS, longest)
                steps += 1
                cluster.broadcast_words += words
            at_chunk += 1
            at += machine.filters_per_unit * len(tag) * LANES
        if first_chunk + chunks == work.filter_chunks:
            wait = cluster.collector_free - arrived
            if wait > 0:
                room -= wait
                held_by = splat(wait, tag)
                store(columns.collector, 0, load(columns.collector, 0, tag) + excess(held_by, late))
                late = maximum(late, held_by)
                longest = max(longest, cluster.collector_free)
                put(ring, (steps - 1) % RING_SLOTS, longest)
            _complete(position, longest, machine, work, cluster)
    store(columns.late, 0, late)
    store(columns.siblings, 0, siblings)
    store(columns.busy, 0, busy_sum)
    store(columns.cost, 0, cost_sum)
    cluster.arrived, cluster.longest = arrived, longest
    cluster.steps_delivered, cluster.room = steps, room


@helper
def run_blocks(
    first, positions, stride, segment, machine, work, inputs, cluster, ring, columns, units, tag
):
    """Do what `run_one_block` does, block after block in every step, with all state in memory."""
    first_chunk, chunks = _chunks_of(segment, work)
    arrived, longest = cluster.arrived, cluster.longest
    steps, room = cluster.steps_delivered, cluster.room
    lanes = len(tag) * LANES
    for position in range(first, first + positions * stride, stride):
        at_chunk = position * work.filter_chunks + first_chunk
        last_chunk = at_chunk + chunks - 1
        at = first_chunk * machine.filters_per_unit * machine.columns
        skipped = 0
        while at_chunk <= last_chunk:
            at_input = work.base + element(inputs.chunks, at_chunk)
            words = np.int64(element(inputs.broadcast_words, at_input))
            # The last step of a segment is always delivered.
            if words == 0 and inputs.skip_empty and at_chunk < last_chunk:
                arrived += 1
                skipped += 1
                cluster.steps_skipped += 1
            else:
                words = max(words, 1)
                if room < 0:
                    add_short_sums(machine, work, columns, units)
                    room = ROOM
                wait = _wait_for_slot(steps, arrived, machine, ring)
                room -= wait + machine.step_cost_max
                skipped_by = splat(min(skipped, SHORT_MAX), tag)
                waited_by, moved_by = splat(wait, tag), splat(wait + words, tag)
                most = splat(0, tag)
                for block in range(0, machine.columns, lanes):
                    busy, cost = count_pairs(
                        at_input, at + block, block, machine, work, inputs, columns, tag
                    )
                    _add(columns.busy, block, busy, tag)
                    _add(columns.cost, block, cost, tag)
                    late = excess(load(columns.late, block, tag), skipped_by)
                    _add(columns.siblings, block, excess(waited_by, late), tag)
                    late = excess(late, moved_by) + cost
                    store(columns.late, block, late)
                    most = maximum(most, late)
                skipped = 0
                arrived += wait + words
                longest = arrived + largest(most)
                put(ring, steps % RING_SLOTS, longest)
                steps += 1
                cluster.broadcast_words += words
            at_chunk += 1
            at += machine.filters_per_unit * machine.columns
        if first_chunk + chunks == work.filter_chunks:
            wait = cluster.collector_free - arrived
            if wait > 0:
                room -= wait
                held_by = splat(wait, tag)
                for block in range(0, machine.columns, lanes):
                    late = load(columns.late, block, tag)
                    _add(columns.collector, block, excess(held_by, late), tag)
                    store(columns.late, block, maximum(late, held_by))
                longest = max(longest, cluster.collector_free)
                put(ring, (steps - 1) % RING_SLOTS, longest)
            _complete(position, longest, machine, work, cluster)
    cluster.arrived, cluster.longest = arrived, longest
    cluster.steps_delivered, cluster.room = steps, room


@inlined
def _chunks_of(segment, work):
    """Return the first filter chunk of a segment, and how many it has."""
    first = segment * work.segment_chunks
    return first, min(work.segment_chunks, work.filter_chunks - first)


@inlined
def _wait_for_slot(steps, arrived, machine, ring):
    """Return for how many cycles a step waits for its slot: R of *Timing*."""
    finished = element(ring, (steps - machine.slots) % RING_SLOTS)
    return max(finished + machine.release - arrived, 0)


@inlined
def _complete(position, longest, machine, work, cluster):
    """Complete a position: B, E, C of *Timing*."""
    cluster.drained = longest + machine.deliver + work.drain_cycles
    cluster.collector_free = cluster.drained + machine.collector_free
    cluster.outputs += work.outputs
    cluster.output_nonzeros += element(work.nonzeros, position)


@inlined
def _add(row, at, vector, tag):
    """Add a vector to elements of a row."""
    store(row, at, load(row, at, tag) + vector)


@helper
def add_short_sums(machine, work, columns, units):
    """Add the short sums of a cluster's columns to the sums of its units, and begin anew."""
    _add_short_sum(machine, work, columns.pairs, units.pairs)
    _add_short_sum(machine, work, columns.busy, units.busy)
    _add_short_sum(machine, work, columns.cost, units.cost)
    _add_short_sum(machine, work, columns.siblings, units.siblings)
    _add_short_sum(machine, work, columns.collector, units.collector)


@helper
def _add_short_sum(machine, work, short, total):
    """Add one of them: of active units only, as other columns wait like them."""
    for unit in range(work.active):
        put(total, unit, element(total, unit) + np.int64(element(short, unit)))
    for column in range(machine.columns):
        put(short, column, np.uint16(0))
