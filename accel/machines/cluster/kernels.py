"""Numba kernel of the machine's timing: joins of chunks and the max-plus recurrence.

One call runs some clusters through a whole layer. All units of a cluster are one vector
(`accel.machines.vectors`): filter masks lie unit by unit in memory, a step of a cluster is a few
vector instructions, and the units' times and sums stay in registers while a cluster works on a
deal.
Symbols are those of ``docs/machine.md``, *Timing*. A *column* is the place of an active unit of a
pass in the vectors.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from accel.machines.vectors import (
    LANE_BLOCK,
    element,
    largest,
    load,
    maximum,
    popcount,
    splat,
    store,
)

__all__ = ["count_broadcast_words", "find_windows", "run_clusters"]

# Columns of ``Registers.state``, and rows of its sums: ``STATE_NAMES`` and ``SUM_NAMES``.
_ARRIVED, _LOADED, _RELEASED, _RELEASED_BEFORE, _COLLECTOR_FREE, _DRAINED, _SLOT = range(7)
_STEPS, _DELIVERED, _SKIPPED, _WORDS, _BEATS, _OUTPUTS, _NONZEROS = range(7, 14)
_PAIRS, _BUSY, _COST, _SIBLINGS, _MEMORY, _COLLECTOR, _SPAN = range(7)


@njit(nogil=True, cache=True)
def count_broadcast_words(masks, width):
    """Count the ``width``-position words of each mask that hold a one.

    Parameters
    ----------
    masks : ndarray of uint64, axes chunk, word
    width : int
        A power of two.

    Returns
    -------
    ndarray of uint16, axis chunk
        0 for an all-zero chunk; the broadcaster takes a cycle for it all the same.
    """
    chunks, words = masks.shape
    counts = np.zeros(chunks, dtype=np.uint16)
    if width >= 64:
        group = width // 64
        for chunk in range(chunks):
            for first in range(0, words, group):
                union = np.uint64(0)
                for word in range(first, min(first + group, words)):
                    union |= masks[chunk, word]
                counts[chunk] += np.uint16(union != 0)
        return counts
    ones = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    for chunk in range(chunks):
        for word in range(words):
            bits = masks[chunk, word]
            while bits:
                counts[chunk] += np.uint16((bits & ones) != 0)
                bits >>= np.uint64(width)
    return counts


@njit(nogil=True, cache=True, error_model="numpy")
def run_clusters(
    clusters,
    windows,
    row_chunks,
    deals,
    latency,
    masks,
    dynamic,
    skip_empty,
    broadcast_words,
    passes,
    double_buffer,
    columns_tag,
    words_tag,
    slots_tag,
    multipliers_tag,
    registers,
):
    """Run clusters ``clusters[0]`` to ``clusters[1] - 1`` through a layer.

    One long function, so that times and sums stay in the processor's registers from step to step.
    Times have the dtype of ``registers.finish``; the caller proves that they fit. A tag is a tuple
    whose *length* is the number: that is known when the kernel is compiled.

    Parameters
    ----------
    windows : ndarray of int32, axes position, tap
        First input chunk under each tap (``find_windows``), counted from the group's first.
    row_chunks : int
    deals, latency, passes : Deals, Latencies, Passes
        Of `accel.machines.cluster.arrays`, as is ``registers``.
    masks : ndarray of uint32, axes chunk, word
        Effective input masks a'; with ``dynamic`` those of all chunks, each group's rows followed
        by a row of zeros, else the chunks of one row.
    skip_empty : bool
        All-zero chunks are not delivered.
    broadcast_words : ndarray of uint16, axis chunk
        Of the true masks (``count_broadcast_words``).
    columns_tag : tuple, its length in blocks of ``accel.machines.vectors.LANE_BLOCK``
    words_tag, slots_tag, multipliers_tag : tuple
        Words of a mask, filters of a unit, multipliers of a unit.
    registers : Registers
    """
    ring, pass_finish, pass_sums, finish_of, state, _ = registers
    time = finish_of.dtype.type
    columns = pass_finish.shape[1]
    words, slots, multipliers = len(words_tag), len(slots_tag), len(multipliers_tag)
    filter_chunks = passes.filters.shape[1]
    filter_words = slots * words * columns
    least_chunks = passes.least.shape[1]
    segments = passes.load_beats.shape[1]
    low, high = clusters
    for m in range(low, high):
        state[m, _ARRIVED] = latency.start
        ring[m, :] = time(-latency.release)

    for index in range(len(passes.filters)):
        for m in range(low, high):
            _begin_pass(m, passes.unit[index], passes.units[index], registers)
        if deals.queue:
            turns = -(-deals.positions // deals.count[0, 0])
        else:
            turns = (high - low) * deals.count.shape[1]
        for turn in range(turns):
            m, first, count = _deal(turn, low, high, deals, state)
            if count == 0:
                continue
            at = m * pass_sums.shape[1] * columns
            finish = load(pass_finish, m * columns, columns_tag)
            pairs_sum = load(pass_sums, at + _PAIRS * columns, columns_tag)
            busy_sum = load(pass_sums, at + _BUSY * columns, columns_tag)
            cost_sum = load(pass_sums, at + _COST * columns, columns_tag)
            siblings_sum = load(pass_sums, at + _SIBLINGS * columns, columns_tag)
            at_ring = m * ring.shape[1]
            base = passes.base[index]
            arrived = time(state[m, _ARRIVED])
            slot = state[m, _SLOT]
            collector_free = time(state[m, _COLLECTOR_FREE])
            longest = time(0)
            skipped, delivered, sent_words = 0, 0, 0
            # A whole filter is loaded once a pass: nobody has worked in it yet.
            idle_yet = pass_sums[m, _COST, 0] == 0
            for segment in range(segments):
                first_chunk = segment * passes.segment_chunks
                last_chunk = min(first_chunk + passes.segment_chunks, filter_chunks) - 1
                first_tap = first_chunk // row_chunks
                first_piece = first_chunk - first_tap * row_chunks
                if segments > 1 or idle_yet:
                    beats = passes.load_beats[index, segment]
                    ready = time(_load_filters(m, beats, double_buffer, state) + latency.load)
                    before = arrived
                    if state[m, _STEPS] + skipped + delivered == 0:
                        before = time(0)
                    if ready > before:
                        arrived = max(arrived, ready)
                        finish = _wait_for_load(
                            m, before, ready, arrived, finish, pass_sums, columns_tag
                        )
                for step in range(count):
                    position = first + step * deals.stride
                    tap, piece = first_tap, first_piece
                    at_window = position * windows.shape[1]
                    at_filter = (index * filter_chunks + first_chunk) * filter_words
                    for chunk in range(first_chunk, last_chunk + 1):
                        at = base + element(windows, at_window + tap) + piece
                        taken = element(broadcast_words, at)
                        if not dynamic:
                            at = piece
                        piece += 1
                        if piece == row_chunks:
                            piece = 0
                            tap += 1
                        if taken == 0:
                            if skip_empty and chunk < last_chunk:
                                # The units wait, at the latest from the last arrival on.
                                arrived = time(arrived + 1)
                                finish = maximum(finish, splat(arrived, finish))
                                skipped += 1
                                at_filter += filter_words
                                continue
                            taken = np.uint16(1)
                        sent = max(arrived, time(element(ring, at_ring + slot) + latency.release))
                        arrived = time(sent + taken)
                        at_least = index * least_chunks + min(chunk, least_chunks - 1)
                        cost, busy, pairs = _join(
                            passes, masks, at * words, at_filter, at_least * slots * columns,
                            finish, columns_tag, words_tag, slots_tag, multipliers_tag,
                        )  # fmt: skip
                        at_filter += filter_words
                        busy_sum = busy_sum + busy
                        if multipliers == 2:
                            pairs_sum = pairs_sum + pairs
                        cost_sum = cost_sum + cost
                        siblings_sum = siblings_sum + (
                            maximum(finish, splat(sent, finish)) - finish
                        )
                        finish = maximum(finish, splat(arrived, finish)) + cost
                        longest = largest(finish)
                        if chunk == filter_chunks - 1:
                            if collector_free > arrived:
                                finish = _wait_for_collector(
                                    m, collector_free, finish, pass_sums, columns_tag
                                )
                                longest = max(longest, collector_free)
                            drained = longest + latency.deliver + passes.drain_cycles[index]
                            state[m, _DRAINED] = drained
                            collector_free = time(drained + latency.collector_free)
                            state[m, _OUTPUTS] += passes.outputs[index]
                            state[m, _NONZEROS] += passes.nonzeros[index, position]
                        ring[m, slot] = longest
                        slot += 1
                        if slot == ring.shape[1]:
                            slot = 0
                        sent_words += taken
                        delivered += 1
                state[m, _RELEASED] = longest + latency.load_free
            at = m * pass_sums.shape[1] * columns
            store(pass_finish, m * columns, finish)
            store(pass_sums, at + _PAIRS * columns, pairs_sum)
            store(pass_sums, at + _BUSY * columns, busy_sum)
            store(pass_sums, at + _COST * columns, cost_sum)
            store(pass_sums, at + _SIBLINGS * columns, siblings_sum)
            state[m, _ARRIVED] = arrived
            state[m, _COLLECTOR_FREE] = collector_free
            state[m, _SLOT] = slot
            state[m, _STEPS] += skipped + delivered
            state[m, _DELIVERED] += delivered
            state[m, _SKIPPED] += skipped
            state[m, _WORDS] += sent_words
        for m in range(low, high):
            _end_pass(m, passes.unit[index], passes.units[index], registers)


@njit(nogil=True, cache=True, error_model="numpy")
def find_windows(windows, out_width, kernel_width, in_size, strides, pads, row_chunks):
    """Find the first input chunk under each tap of each position's window.

    Parameters
    ----------
    windows : ndarray of int32, axes position, tap
        Written; a tap outside the input gets the row that follows all of its group.
    in_size, strides, pads : tuple of int
        y, x.
    """
    height, width = in_size
    for position in range(windows.shape[0]):
        top = position // out_width * strides[0] - pads[0]
        left = position % out_width * strides[1] - pads[1]
        for tap in range(windows.shape[1]):
            y, x = top + tap // kernel_width, left + tap % kernel_width
            inside = 0 <= y < height and 0 <= x < width
            row = y * width + x if inside else height * width
            windows[position, tap] = row * row_chunks


@njit(error_model="numpy")
def _join(
    passes, masks, at_mask, at_filter, at_least, like, columns_tag, words_tag, slots_tag,
    multipliers_tag,
):  # fmt: skip
    """Join one input chunk with every unit's filters: cost, busy cycles and pairs of each unit."""
    one = splat(1, like)
    zero = one - one
    cost, busy, pairs = zero, zero, zero
    columns = len(columns_tag) * LANE_BLOCK
    for held in range(len(slots_tag)):
        of_filter = zero
        for word in range(len(words_tag)):
            weights = load(passes.filters, at_filter, columns_tag)
            both = weights & splat(element(masks, at_mask + word), weights)
            of_filter = of_filter + popcount(both, like)
            at_filter += columns
        pairs = pairs + of_filter
        if len(multipliers_tag) == 2:
            of_filter = (of_filter + one) >> one
        least = load(passes.least, at_least + held * columns, columns_tag)
        busy = busy + of_filter
        cost = cost + maximum(of_filter, least)
    return cost, busy, pairs


@njit(error_model="numpy")
def _wait_for_load(m, before, ready, arrived, finish, pass_sums, columns_tag):
    """Count the units' waits for memory; return when they begin to wait for the next step."""
    columns = pass_sums.shape[2]
    at = (m * pass_sums.shape[1] + _MEMORY) * columns
    begun = maximum(finish, splat(before, finish))
    waited = maximum(begun, splat(ready, finish)) - begun
    store(pass_sums, at, load(pass_sums, at, columns_tag) + waited)
    return maximum(begun, splat(arrived, finish))


@njit(error_model="numpy")
def _wait_for_collector(m, collector_free, finish, pass_sums, columns_tag):
    """Count the units' waits for their result registers; return F'."""
    columns = pass_sums.shape[2]
    at = (m * pass_sums.shape[1] + _COLLECTOR) * columns
    late = maximum(finish, splat(collector_free, finish))
    store(pass_sums, at, load(pass_sums, at, columns_tag) + (late - finish))
    return late


@njit(error_model="numpy")
def _begin_pass(m, unit, units, registers):
    """Give the active units of a pass their columns."""
    for column in range(registers.pass_finish.shape[1]):
        registers.pass_finish[m, column] = 0
        for row in range(registers.pass_sums.shape[1]):
            registers.pass_sums[m, row, column] = 0
    for column in range(units):
        begun = np.int64(registers.finish[m, unit[column]])
        if registers.state[m, _STEPS] > 0:
            # A unit that was inactive begins to wait with the pass: before, it was idle.
            begun = max(begun, registers.state[m, _ARRIVED])
        registers.pass_finish[m, column] = begun
        registers.pass_sums[m, _SPAN, column] = -begun


@njit(error_model="numpy")
def _end_pass(m, unit, units, registers):
    """Return the columns to their units, where the cluster worked in the pass."""
    if registers.pass_sums[m, _COST, 0] == 0:
        return
    for column in range(units):
        finish = registers.pass_finish[m, column]
        registers.finish[m, unit[column]] = finish
        registers.pass_sums[m, _SPAN, column] += finish
        for row in range(registers.pass_sums.shape[1]):
            registers.sums[m, row, unit[column]] += registers.pass_sums[m, row, column]


@njit(error_model="numpy")
def _deal(turn, low, high, deals, state):
    """Choose the next cluster and its positions: cluster, first position, count."""
    if deals.queue:
        m = low
        for other in range(low + 1, high):
            if state[other, _DRAINED] < state[m, _DRAINED]:
                m = other
        first = turn * deals.count[0, 0]
        return m, first, min(deals.count[0, 0], deals.positions - first)
    m = low + turn // deals.count.shape[1]
    at = turn % deals.count.shape[1]
    return m, deals.first[m, at], deals.count[m, at]


@njit(error_model="numpy")
def _load_filters(m, beats, double_buffer, state):
    """Load a segment; return LD."""
    free = state[m, _RELEASED_BEFORE] if double_buffer else state[m, _RELEASED]
    state[m, _RELEASED_BEFORE] = state[m, _RELEASED]
    state[m, _LOADED] = max(state[m, _LOADED], free) + beats
    state[m, _BEATS] += beats
    return state[m, _LOADED]
