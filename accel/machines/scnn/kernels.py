"""Numba kernels of SCNN: stored values and the recurrence.

Symbols are those of ``docs/scnn.md``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.compiled import helper, njit
from accel.machines.scnn.banks import (
    fullest,
    is_inside,
    serve,
    spend_anywhere,
    spend_at_edge,
    spend_inside,
)
from accel.machines.scnn.columns import (
    BLOCK_FINISH,
    BLOCK_VECTORS,
    BROADCAST,
    BUSY,
    COLLECTOR,
    COST,
    FINISH,
    PAIRS,
    RESIDUE,
    SIBLINGS,
    STRAY,
    VECTOR_CYCLES,
    VECTOR_PAIRS,
)
from golden.machines.scnn import RUN_BITS

__all__ = [
    "Vectors",
    "count_stored",
    "run_passes",
    "stored_values",
]

#: Zeros and the value after them that one placeholder stands for.
_RUN = 1 << RUN_BITS


class Vectors(NamedTuple):
    """Vectors of weights or activations, segment after segment.

    A lane's coordinates are quotients by the stride, and their remainders its phase.

    Attributes
    ----------
    first : ndarray of int64, axis segment, one more than segments
        Where the vectors of each segment begin.
    place : ndarray of int32, axes vector, lane, column of `accel.machines.scnn.columns`
        Phase is -1 where there is no value; tap is that of a weight, r * kernel_width + s.
    planes : ndarray of int64, axes plane, vector
        Bit r of planes 0, 1, 2: bits of the number of lanes with residue r.
    values : ndarray of int32, axis vector
        Lanes that hold a value, placeholders left out.
    """

    first: NDArray[np.int64]
    place: NDArray[np.int32]
    planes: NDArray[np.int64]
    values: NDArray[np.int32]


@njit
def count_stored(nonzero):
    """Count the stored values of each run: non-zeros and placeholders.

    Parameters
    ----------
    nonzero : ndarray of bool, axes run, position

    Returns
    -------
    ndarray of int64, axis run
    """
    counts = np.zeros(nonzero.shape[0], dtype=np.int64)
    for run in range(nonzero.shape[0]):
        zeros = 0
        for position in range(nonzero.shape[1]):
            zeros += 1
            if nonzero[run, position]:
                counts[run] += 1 + (zeros - 1) // _RUN
                zeros = 0
    return counts


@njit
def stored_values(nonzero, places, lanes, first, place, planes, values):
    """Put the stored values of runs in vectors.

    Parameters
    ----------
    nonzero : ndarray of bool, axes run, position
    places : ndarray of int64, axes position, part of ``place``
    lanes : int
    first : ndarray of int64, axis run
        First vector of each.
    place, planes, values : ndarray
        Of `Vectors`; written.
    """
    for run in range(nonzero.shape[0]):
        zeros, stored = 0, 0
        for position in range(nonzero.shape[1]):
            zeros += 1
            if not nonzero[run, position]:
                continue
            stored += (zeros - 1) // _RUN
            zeros = 0
            vector = first[run] + stored // lanes
            lane = stored % lanes
            for part in range(place.shape[2]):
                place[vector, lane, part] = places[position, part]
            carry = np.int64(1) << places[position, RESIDUE]
            for plane in range(3):
                both = planes[plane, vector] & carry
                planes[plane, vector] ^= carry
                carry = both
            values[vector] += 1
            stored += 1


@njit
def run_passes(
    inputs,
    limits,
    taps,
    machine,
    weights,
    blocks,
    pass_blocks,
    drain,
    sums,
    waits,
    state,
    finish_max,
):
    """Run the passes of a round: T, S, c, F, Q, B, E of the specification.

    Parameters
    ----------
    inputs : Vectors
        Segments are channel and phase, PE with a pixel.
    limits : ndarray of int64
        Columns from ``ROW_MAX`` on, of `accel.machines.scnn.columns`, as all others.
    taps : ndarray of int64, axes tap, column from ``TAP_ROW`` on
        Empty where there are more than 64.
    machine : tuple of int
        banks, bank_queue, fifo_vectors, BARRIER.
    weights : Vectors
    blocks : ndarray of int64, axes block, column from ``SEGMENT`` on
    pass_blocks : ndarray of int64, axis pass, one more than passes
        Where each pass begins.
    drain : ndarray of int64, axis pass
        Cycles.
    sums : ndarray of int64, axes PE, column from ``PAIRS`` on
        Added to.
    waits : ndarray of int64, axes PE, column from ``SIBLINGS`` on
        Added to.
    state : ndarray of int64
        Columns from ``SENT`` on; carried on from round to round.
    finish_max : ndarray of int64, axes block of the layer, column from ``BLOCK_FINISH`` on
        Written; e of a later round lies in it.
    """
    banks, bank_queue, fifo_vectors, latency = machine
    pes = sums.shape[0]
    queues = np.zeros((pes, 5), dtype=np.int64)
    sent, start, drained, barrier, slowest, block, oldest, waiting = state
    for i in range(pass_blocks.size - 1):
        empty = start
        for b in range(pass_blocks[i], pass_blocks[i + 1]):
            segment, low, v = blocks[b]
            waiting += v
            while waiting > fifo_vectors:
                waiting -= finish_max[oldest, BLOCK_VECTORS]
                oldest += 1
            free = finish_max[oldest - 1, BLOCK_FINISH] if oldest > 0 else 0
            sent = max(sent, free) + v
            begin = max(start, sent - v + 1)
            held = 0
            for w in range(low, low + v):
                held += weights.values[w]
            slowest, empty = 0, start
            for m in range(pes):
                waited = _wait(m, begin, barrier, start, free, waits)
                at = segment * pes + m
                cost = _multiply(
                    m, inputs, inputs.first[at], inputs.first[at + 1], limits, taps, banks,
                    bank_queue, weights, low, low + v, held, waited, queues, sums,
                )  # fmt: skip
                waits[m, FINISH] += cost
                slowest = max(slowest, waits[m, FINISH])
                if b == pass_blocks[i + 1] - 1:
                    empty = max(empty, waits[m, FINISH] + fullest(queues[m]))
            finish_max[block, BLOCK_FINISH] = slowest
            finish_max[block, BLOCK_VECTORS] = v
            block += 1
        queues[:] = 0
        barrier = empty + latency
        start = max(barrier, drained)
        drained = max(barrier, drained) + drain[i]
    state[:] = (sent, start, drained, barrier, slowest, block, oldest, waiting)


@helper
def _wait(m, begin, barrier, start, free, waits):
    """Count a PE's wait for its next block, and let it end; return its cycles."""
    left = waits[m, FINISH]
    if begin <= left:
        return 0
    till_barrier = min(max(left, barrier), begin)
    till_start = min(max(till_barrier, start), begin)
    till_free = min(max(till_start, free), begin)
    waits[m, SIBLINGS] += till_barrier - left + till_free - till_start
    waits[m, BROADCAST] += begin - till_free
    waits[m, COLLECTOR] += till_start - till_barrier
    waits[m, FINISH] = begin
    return begin - left


@helper
def _multiply(
    m, inputs, first, end, limits, taps, banks, bank_queue, weights, low, high, held, waited,
    queues, sums,
):  # fmt: skip
    """Multiply a block by the activation vectors ``first`` to ``end - 1`` of a PE; return c."""
    queue = (queues[m, 0], queues[m, 1], queues[m, 2], queues[m, 3], queues[m, 4])
    limit = np.int64(bank_queue)
    for _ in range(min(waited, limit)):
        queue = serve(queue)
    pairs, stray, busy, cycles = 0, 0, 0, 0
    for a in range(first, end):
        if is_inside(inputs, a, limits):
            made = inputs.values[a] * held
            kept = made
            spent, useful, queue = spend_inside(
                inputs, a, banks, limit, weights.planes, low, high, queue
            )
        else:
            made = inputs.values[a] * held
            if taps.shape[0] > 0:
                spent, useful, kept, queue = spend_at_edge(
                    inputs, a, limits, taps, banks, limit, weights, low, high, queue
                )
            else:
                spent, useful, kept, queue = spend_anywhere(
                    inputs, a, limits, banks, limit, weights, low, high, queue
                )
        cycles += spent
        busy += useful
        pairs += kept
        stray += made - kept
    cost = cycles
    if first == end:
        cost = 1
        queue = serve(queue)
    for plane in range(5):
        queues[m, plane] = queue[plane]
    sums[m, PAIRS] += pairs
    sums[m, STRAY] += stray
    sums[m, BUSY] += busy
    sums[m, VECTOR_PAIRS] += (end - first) * (high - low)
    sums[m, VECTOR_CYCLES] += cycles
    sums[m, COST] += cost
    return cost
