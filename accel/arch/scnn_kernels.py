"""Numba kernels of SCNN: products per bank, the recurrence, stored values.

Symbols are those of ``docs/scnn.md``. The banks of a vector's products are sums, modulo ``banks``, of
a *residue* of the weight and one of the activation. How many weights of a vector have each residue
is kept as three bit planes; a rotation of them by an activation's residue gives the banks that
its products go to, and bitwise addition of all rotations the products in each bank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from golden.scnn import RUN_BITS

__all__ = [
    "Vectors",
    "count_stored",
    "run_passes",
    "stored_values",
]

#: Lanes of a vector as it is kept, used or not.
LANES = 4
#: Zeros and the value after them that one placeholder stands for.
_RUN = 1 << RUN_BITS


class Vectors(NamedTuple):
    """Vectors of weights or activations, segment after segment.

    A lane's coordinates are quotients by the stride, and their remainders its phase.

    Attributes
    ----------
    first : ndarray of int64, axis segment, one more than segments
        Where the vectors of each segment begin.
    place : ndarray of int32, axes vector, lane, (residue, row, column, phase, tap)
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


@njit(nogil=True, cache=True, error_model="numpy")
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


@njit(nogil=True, cache=True, error_model="numpy")
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
            carry = np.int64(1) << places[position, 0]
            for plane in range(3):
                both = planes[plane, vector] & carry
                planes[plane, vector] ^= carry
                carry = both
            values[vector] += 1
            stored += 1


@njit(nogil=True, cache=True, error_model="numpy")
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
        Largest quotients that fall on an output: row, column; largest quotients of a tap: row,
        column; whether all taps of a block have the same phase.
    taps : ndarray of int64, axes tap, (row, column, phase)
        None where there are more than 64.
    machine : tuple of int
        banks, bank_queue, fifo_vectors, BARRIER.
    weights : Vectors
    blocks : ndarray of int64, axes block, (channel and phase, first vector, vectors)
    pass_blocks : ndarray of int64, axis pass, one more than passes
        Where each pass begins.
    drain : ndarray of int64, axis pass
        Cycles.
    sums : ndarray of int64, axes PE, (pairs, stray pairs, busy, vector pairs, their cycles, cost)
        Added to; cost is c summed.
    waits : ndarray of int64, axes PE, (siblings, broadcast, collector, finish)
        Added to; finish is F.
    state : ndarray of int64
        T, Q of the next pass, E, B, F of the last block of any PE, blocks so far, e + 1, weight
        vectors of the blocks after e; carried on from round to round.
    finish_max : ndarray of int64, axes block of the layer, (F of the slowest PE, v)
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
                waiting -= finish_max[oldest, 1]
                oldest += 1
            free = finish_max[oldest - 1, 0] if oldest > 0 else 0
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
                waits[m, 3] += cost
                slowest = max(slowest, waits[m, 3])
                if b == pass_blocks[i + 1] - 1:
                    empty = max(empty, waits[m, 3] + _fullest(queues[m]))
            finish_max[block, 0] = slowest
            finish_max[block, 1] = v
            block += 1
        queues[:] = 0
        barrier = empty + latency
        start = max(barrier, drained)
        drained = max(barrier, drained) + drain[i]
    state[:] = (sent, start, drained, barrier, slowest, block, oldest, waiting)


@njit(error_model="numpy")
def _wait(m, begin, barrier, start, free, waits):
    """Count a PE's wait for its next block, and let it end; return its cycles."""
    left = waits[m, 3]
    if begin <= left:
        return 0
    till_barrier = min(max(left, barrier), begin)
    till_start = min(max(till_barrier, start), begin)
    till_free = min(max(till_start, free), begin)
    waits[m, 0] += till_barrier - left + till_free - till_start
    waits[m, 1] += begin - till_free
    waits[m, 2] += till_start - till_barrier
    waits[m, 3] = begin
    return begin - left


@njit(error_model="numpy")
def _multiply(
    m, inputs, first, end, limits, taps, banks, bank_queue, weights, low, high, held, waited,
    queues, sums,
):  # fmt: skip
    """Multiply a block by the activation vectors ``first`` to ``end - 1`` of a PE; return c."""
    queue = (queues[m, 0], queues[m, 1], queues[m, 2], queues[m, 3], queues[m, 4])
    limit = np.int64(bank_queue)
    for _ in range(min(waited, limit)):
        queue = _serve(queue)
    pairs, stray, busy, cycles = 0, 0, 0, 0
    for a in range(first, end):
        if _is_inside(inputs, a, limits):
            made = inputs.values[a] * held
            kept = made
            spent, useful, queue = _spend_inside(
                inputs, a, banks, limit, weights.planes, low, high, queue
            )
        else:
            made = inputs.values[a] * held
            if taps.shape[0] > 0:
                spent, useful, kept, queue = _spend_at_edge(
                    inputs, a, limits, taps, banks, limit, weights, low, high, queue
                )
            else:
                spent, useful, kept, queue = _spend_anywhere(
                    inputs, a, limits, banks, limit, weights, low, high, queue
                )
        cycles += spent
        busy += useful
        pairs += kept
        stray += made - kept
    cost = cycles
    if first == end:
        cost = 1
        queue = _serve(queue)
    for plane in range(5):
        queues[m, plane] = queue[plane]
    sums[m, 0] += pairs
    sums[m, 1] += stray
    sums[m, 2] += busy
    sums[m, 3] += (end - first) * (high - low)
    sums[m, 4] += cycles
    sums[m, 5] += cost
    return cost


@njit(error_model="numpy")
def _is_inside(inputs, a, limits):
    """Say whether every product of an activation vector falls on an output."""
    if not limits[4]:
        return False
    for lane in range(LANES):
        if inputs.place[a, lane, 3] >= 0:
            row, column = inputs.place[a, lane, 1], inputs.place[a, lane, 2]
            if row < limits[2] or row > limits[0] or column < limits[3] or column > limits[1]:
                return False
    return True


@njit(error_model="numpy")
def _serve(queue):
    """Take one product out of every queue that has one; queues are five bit planes."""
    q0, q1, q2, q3, q4 = queue
    borrow = q0 | q1 | q2 | q3 | q4
    n0 = q0 ^ borrow
    borrow &= ~q0
    n1 = q1 ^ borrow
    borrow &= ~q1
    n2 = q2 ^ borrow
    borrow &= ~q2
    n3 = q3 ^ borrow
    borrow &= ~q3
    return n0, n1, n2, n3, q4 ^ borrow


@njit(error_model="numpy")
def _overflows(queue, limit):
    """Say whether a queue has more than ``limit``, one less than a power of two."""
    q0, q1, q2, q3, q4 = queue
    if limit >= 15:
        return q4 != 0
    if limit >= 7:
        return (q3 | q4) != 0
    if limit >= 3:
        return (q2 | q3 | q4) != 0
    if limit >= 1:
        return (q1 | q2 | q3 | q4) != 0
    return (q0 | q1 | q2 | q3 | q4) != 0


@njit(error_model="numpy")
def _fullest(queue):
    """Return the most products in a queue."""
    fullest = 0
    left = np.int64(-1)
    for plane in range(4, -1, -1):
        if left & queue[plane]:
            fullest += 1 << plane
            left &= queue[plane]
    return fullest


@njit(error_model="numpy")
def _add(queue, s0, s1, s2, s3, s4):
    """Add products to queues."""
    q0, q1, q2, q3, q4 = queue
    c0 = q0 & s0
    c1 = (q1 & s1) | (c0 & (q1 ^ s1))
    c2 = (q2 & s2) | (c1 & (q2 ^ s2))
    c3 = (q3 & s3) | (c2 & (q3 ^ s3))
    return q0 ^ s0, q1 ^ s1 ^ c0, q2 ^ s2 ^ c1, q3 ^ s3 ^ c2, q4 ^ s4 ^ c3


@njit(error_model="numpy")
def _rotate(bits, by, banks, ones):
    """Rotate ``banks`` bits; ``ones`` is 0 for a lane without a value."""
    wide = bits << by
    return (wide | (wide >> banks)) & ones


@njit(error_model="numpy")
def _spend_inside(inputs, a, banks, limit, planes, low, high, queue):
    """Cycles, busy cycles and queues of an activation vector, none of whose products is stray."""
    full = (np.int64(1) << banks) - 1
    place = inputs.place
    by0, by1, by2, by3 = place[a, 0, 0], place[a, 1, 0], place[a, 2, 0], place[a, 3, 0]
    on0 = full if place[a, 0, 3] >= 0 else np.int64(0)
    on1 = full if place[a, 1, 3] >= 0 else np.int64(0)
    on2 = full if place[a, 2, 3] >= 0 else np.int64(0)
    on3 = full if place[a, 3, 3] >= 0 else np.int64(0)
    cycles, busy = 0, 0
    for w in range(low, high):
        one, two, four = planes[0, w], planes[1, w], planes[2, w]
        a0, b0 = _rotate(one, by0, banks, on0), _rotate(one, by1, banks, on1)
        d0, e0 = _rotate(one, by2, banks, on2), _rotate(one, by3, banks, on3)
        x0, x1 = a0 ^ b0, a0 & b0
        y0, y1 = d0 ^ e0, d0 & e0
        if (two | four) == 0:
            # No two weights share a bank: at most four products in a bank.
            c0 = x0 & y0
            both = x1 & y1 | c0 & (x1 ^ y1)
            queue = _add(queue, x0 ^ y0, x1 ^ y1 ^ c0, both, np.int64(0), np.int64(0))
        else:
            a1, b1 = _rotate(two, by0, banks, on0), _rotate(two, by1, banks, on1)
            a2, b2 = _rotate(four, by0, banks, on0), _rotate(four, by1, banks, on1)
            c1 = (a1 & b1) | (x1 & (a1 ^ b1))
            x1, x2 = a1 ^ b1 ^ x1, a2 ^ b2 ^ c1
            x3 = (a2 & b2) | (c1 & (a2 ^ b2))
            a1, b1 = _rotate(two, by2, banks, on2), _rotate(two, by3, banks, on3)
            a2, b2 = _rotate(four, by2, banks, on2), _rotate(four, by3, banks, on3)
            c1 = (a1 & b1) | (y1 & (a1 ^ b1))
            y1, y2 = a1 ^ b1 ^ y1, a2 ^ b2 ^ c1
            y3 = (a2 & b2) | (c1 & (a2 ^ b2))
            queue = _add(queue, x0, x1, x2, x3, np.int64(0))
            queue = _add(queue, y0, y1, y2, y3, np.int64(0))
        busy += 1 if (one | two | four) != 0 else 0
        queue = _serve(queue)
        cycles += 1
        while _overflows(queue, limit):
            queue = _serve(queue)
            cycles += 1
    if inputs.values[a] == 0:
        busy = 0
    return cycles, busy, queue


@njit(error_model="numpy")
def _taps_of(inputs, a, lane, limits, taps):
    """Return the taps, as bits, under which an activation belongs to an output."""
    found = np.int64(0)
    phase = inputs.place[a, lane, 3]
    if phase < 0:
        return found
    for tap in range(taps.shape[0]):
        row = inputs.place[a, lane, 1] - taps[tap, 0]
        column = inputs.place[a, lane, 2] - taps[tap, 1]
        if (
            phase == taps[tap, 2]
            and row >= 0
            and row <= limits[0]
            and column >= 0
            and column <= limits[1]
        ):
            found |= np.int64(1) << tap
    return found


@njit(error_model="numpy")
def _spend_at_edge(inputs, a, limits, taps, banks, limit, weights, low, high, queue):
    """Cycles, busy cycles, products on outputs and queues of an activation vector at the edge."""
    full = (np.int64(1) << banks) - 1
    place = inputs.place
    by0, by1, by2, by3 = place[a, 0, 0], place[a, 1, 0], place[a, 2, 0], place[a, 3, 0]
    on0, on1 = _taps_of(inputs, a, 0, limits, taps), _taps_of(inputs, a, 1, limits, taps)
    on2, on3 = _taps_of(inputs, a, 2, limits, taps), _taps_of(inputs, a, 3, limits, taps)
    cycles, busy, kept = 0, 0, 0
    for w in range(low, high):
        if (weights.planes[1, w] | weights.planes[2, w]) != 0:
            spent, useful, belong, queue = _spend_anywhere(
                inputs, a, limits, banks, limit, weights, w, w + 1, queue
            )
            cycles += spent
            busy += useful
            kept += belong
            continue
        # No two weights share a residue: those that each activation meets, as bits.
        m0, m1, m2, m3 = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        belong = np.int64(0)
        for f in range(LANES):
            if weights.place[w, f, 3] < 0:
                continue
            residue, tap = weights.place[w, f, 0], weights.place[w, f, 4]
            v0, v1, v2, v3 = (on0 >> tap) & 1, (on1 >> tap) & 1, (on2 >> tap) & 1, (on3 >> tap) & 1
            belong += v0 + v1 + v2 + v3
            m0 |= v0 << residue
            m1 |= v1 << residue
            m2 |= v2 << residue
            m3 |= v3 << residue
        a0, b0 = _rotate(m0, by0, banks, full), _rotate(m1, by1, banks, full)
        d0, e0 = _rotate(m2, by2, banks, full), _rotate(m3, by3, banks, full)
        x0, x1 = a0 ^ b0, a0 & b0
        y0, y1 = d0 ^ e0, d0 & e0
        c0 = x0 & y0
        queue = _add(
            queue, x0 ^ y0, x1 ^ y1 ^ c0, x1 & y1 | c0 & (x1 ^ y1), np.int64(0), np.int64(0)
        )
        kept += belong
        busy += 1 if belong > 0 else 0
        queue = _serve(queue)
        cycles += 1
        while _overflows(queue, limit):
            queue = _serve(queue)
            cycles += 1
    return cycles, busy, kept, queue


@njit(error_model="numpy")
def _spend_anywhere(inputs, a, limits, banks, limit, weights, low, high, queue):
    """Cycles, busy cycles, products on outputs and queues of any activation vector."""
    cycles, busy, kept = 0, 0, 0
    for w in range(low, high):
        belong = 0
        q0, q1, q2, q3, q4 = queue
        for f in range(LANES):
            phase = weights.place[w, f, 3]
            if phase < 0:
                continue
            for i in range(LANES):
                if inputs.place[a, i, 3] != phase:
                    continue
                row = inputs.place[a, i, 1] - weights.place[w, f, 1]
                column = inputs.place[a, i, 2] - weights.place[w, f, 2]
                if row < 0 or row > limits[0] or column < 0 or column > limits[1]:
                    continue
                belong += 1
                bank = (inputs.place[a, i, 0] + weights.place[w, f, 0]) & (banks - 1)
                carry = np.int64(1) << bank
                q0 ^= carry
                if q0 & carry == 0:
                    q1 ^= carry
                    if q1 & carry == 0:
                        q2 ^= carry
                        if q2 & carry == 0:
                            q3 ^= carry
                            if q3 & carry == 0:
                                q4 ^= carry
        kept += belong
        busy += min(belong, 1)
        queue = _serve((q0, q1, q2, q3, q4))
        cycles += 1
        while _overflows(queue, limit):
            queue = _serve(queue)
            cycles += 1
    return cycles, busy, kept, queue
