"""Numba kernel of the machine's timing: joins of chunks and the max-plus recurrence.

Symbols are those of ``docs/machine.md``, *Timing*. A *column* is the place of an active unit of a
pass in the vectors.
"""

from __future__ import annotations

import numpy as np

from accel.compiled import inlined, njit
from accel.machines.cluster.arrays import RING_SLOTS, ROOM, Work
from accel.machines.cluster.segments import add_short_sums, run_blocks, run_one_block
from accel.machines.vectors import HALF_BLOCK, LANES, WHOLE_BLOCK, element, put, record, row, rows

__all__ = ["count_broadcast_words", "find_chunks", "run_clusters"]


@njit
def count_broadcast_words(masks, width, counts):
    """Count the ``width``-position words of each mask that hold a one.

    Parameters
    ----------
    masks : ndarray of uint64, axes chunk, word
    width : int
        A power of two.
    counts : ndarray of uint16, axis chunk
        Written; 0 for an all-zero chunk, for which the broadcaster takes a cycle all the same.
    """
    chunks, words = masks.shape
    group = max(1, width // 64)
    ones = ~np.uint64(0) >> np.uint64(64 - min(width, 64))
    for chunk in range(chunks):
        count = 0
        for first in range(0, words, group):
            bits = np.uint64(0)
            for word in range(first, min(first + group, words)):
                bits |= masks[chunk, word]
            # In two shifts: one of 64 is undefined.
            while bits:
                count += (bits & ones) != 0
                bits = bits >> np.uint64(1) >> np.uint64(min(width, 64) - 1)
        counts[chunk] = count


@njit
def find_chunks(chunks, out_width, kernel_width, in_size, strides, pads, row_chunks):
    """Find the input chunk that each filter chunk meets at each position.

    Parameters
    ----------
    chunks : ndarray of int32, axes position, filter chunk
        Written; a tap outside the input gets the row that follows all of its group.
    in_size, strides, pads : tuple of int
        y, x.
    """
    height, width = in_size
    for position in range(chunks.shape[0]):
        top = position // out_width * strides[0] - pads[0]
        left = position % out_width * strides[1] - pads[1]
        for tap in range(chunks.shape[1] // row_chunks):
            y, x = top + tap // kernel_width, left + tap % kernel_width
            inside = 0 <= y < height and 0 <= x < width
            row_at = y * width + x if inside else height * width
            for piece in range(row_chunks):
                chunks[position, tap * row_chunks + piece] = row_at * row_chunks + piece


@njit
def run_clusters(machine, passes, inputs, deals, registers):
    """Run all clusters through a layer.

    Parameters
    ----------
    machine, passes, inputs, deals, registers : Machine, Passes, Inputs, Deals, Registers
        Of `accel.machines.cluster.arrays`; only the registers are written.
    """
    clusters, ring, columns, units = registers
    for m in range(machine.clusters):
        clusters[m].arrived = machine.start
        clusters[m].room = ROOM
        ring[m, :] = -machine.release
    _run_passes(
        machine, rows(passes, 0), rows(inputs, 0), rows(deals, 0), row(clusters, 0), row(ring, 0),
        rows(columns, 0), rows(units, 0),
    )  # fmt: skip


@inlined
def _run_passes(machine, passes, inputs, deals, clusters, ring, columns, units):
    """Run all clusters through all passes."""
    turns = machine.clusters * deals.count
    if deals.queue:
        turns = -(-passes.positions // deals.queue_positions)
    for index in range(passes.passes):
        work = _work(index, machine, passes)
        for turn in range(turns):
            m, first, positions = _deal(turn, machine, passes, deals, clusters)
            if positions > 0:
                at = m * machine.columns
                _run_deal(
                    first, positions, deals.stride, machine, work, inputs, record(clusters, m),
                    row(ring, m * RING_SLOTS), rows(columns, at), rows(units, at),
                )  # fmt: skip
        for m in range(machine.clusters):
            if record(clusters, m).works:
                at = m * machine.columns
                _end_pass(machine, work, record(clusters, m), rows(columns, at), rows(units, at))


@inlined
def _work(index, machine, passes):
    """Return one pass."""
    at = index * passes.filter_chunks * machine.filters_per_unit * machine.columns
    return Work(
        source=passes.source,
        filter_chunks=passes.filter_chunks,
        segments=passes.segments,
        segment_chunks=passes.segment_chunks,
        filters=row(passes.filters, at * machine.words),
        counts=row(passes.counts, at),
        least=row(passes.least, at),
        active=element(passes.active, index),
        base=element(passes.base, index),
        load_beats=row(passes.load_beats, index * passes.segments),
        outputs=element(passes.outputs, index),
        drain_cycles=element(passes.drain_cycles, index),
        nonzeros=row(passes.nonzeros, index * passes.positions),
    )


@inlined
def _deal(turn, machine, passes, deals, clusters):
    """Choose the next cluster and its positions: cluster, first position, how many."""
    if deals.queue:
        m = 0
        for other in range(1, machine.clusters):
            if record(clusters, other).drained < record(clusters, m).drained:
                m = other
        first = turn * deals.queue_positions
        return m, first, min(deals.queue_positions, passes.positions - first)
    return turn // deals.count, element(deals.first, turn), element(deals.positions, turn)


@inlined
def _run_deal(first, positions, stride, machine, work, inputs, cluster, ring, columns, units):
    """Run a cluster through some positions, segment after segment."""
    begins = cluster.works == 0
    if begins:
        _begin_pass(machine, work, cluster, columns, units)
    for segment in range(work.segments):
        # A whole filter is loaded once a pass.
        if work.segments > 1 or begins:
            _load_filters(segment, machine, work, cluster, columns, units)
        if machine.columns == LANES:
            run_one_block(
                first, positions, stride, segment, machine, work, inputs, cluster, ring, columns,
                units, HALF_BLOCK,
            )  # fmt: skip
        elif machine.columns == 2 * LANES:
            run_one_block(
                first, positions, stride, segment, machine, work, inputs, cluster, ring, columns,
                units, WHOLE_BLOCK,
            )  # fmt: skip
        else:
            run_blocks(
                first, positions, stride, segment, machine, work, inputs, cluster, ring, columns,
                units, WHOLE_BLOCK,
            )  # fmt: skip
        cluster.released = cluster.longest + machine.load_free


@inlined
def _begin_pass(machine, work, cluster, columns, units):
    """Let the active units begin."""
    cluster.works = 1
    for column in range(machine.columns):
        put(columns.late, column, np.uint16(0))
    for unit in range(work.active):
        begun = element(units.finish, unit)
        if cluster.filter_beats > 0:
            # A unit that was inactive begins to wait with the pass: before, it was idle.
            begun = max(begun, cluster.arrived)
            put(columns.late, unit, np.uint16(begun - cluster.arrived))
        put(units.span, unit, element(units.span, unit) - begun)


@inlined
def _load_filters(segment, machine, work, cluster, columns, units):
    """Load a segment: LD, G of *Timing*; count the waits for it."""
    beats = element(work.load_beats, segment)
    # Nothing precedes the first load: units wait from 0 on.
    before = cluster.arrived if cluster.filter_beats > 0 else 0
    free = cluster.released_before if machine.double_buffer else cluster.released
    cluster.released_before = cluster.released
    cluster.loaded = max(cluster.loaded, free) + beats
    cluster.filter_beats += beats
    ready = cluster.loaded + machine.load
    wait = ready - before
    if wait <= 0:
        return
    for unit in range(work.active):
        late = np.int64(element(columns.late, unit))
        put(units.memory, unit, element(units.memory, unit) + max(wait - late, 0))
    # Other columns too: after a wait for the collector they are as late as units.
    for column in range(machine.columns):
        late = np.int64(element(columns.late, column))
        put(columns.late, column, np.uint16(max(late - wait, 0)))
    cluster.arrived = max(cluster.arrived, ready)


@inlined
def _end_pass(machine, work, cluster, columns, units):
    """Let the active units end."""
    cluster.works = 0
    cluster.room = ROOM
    add_short_sums(machine, work, columns, units)
    for unit in range(work.active):
        finish = cluster.arrived + np.int64(element(columns.late, unit))
        put(units.finish, unit, finish)
        put(units.span, unit, element(units.span, unit) + finish)
