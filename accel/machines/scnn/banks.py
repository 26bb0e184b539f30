"""Numba kernels of SCNN's accumulator banks: what a pair of vectors costs; ``docs/scnn.md``.

A product's bank is the sum, modulo ``banks``, of a *residue* of the weight and of the activation.
How many weights of a vector have each residue is kept as three bit planes; rotated by an
activation's residue they are the banks that its products go to. A queue of products at each bank
is five bit planes; rotations are added to them bitwise, all banks at once.

Arguments are those of `accel.machines.scnn.kernels.run_passes`: ``inputs`` and ``weights`` are its
`Vectors`, ``a`` is an activation vector, ``low`` to ``high - 1`` are weight vectors, ``limit`` is
bank_queue.
"""

from __future__ import annotations

import numpy as np

from accel.compiled import helper
from accel.machines.scnn.columns import (
    COLUMN,
    COLUMN_MAX,
    ONE_PHASE,
    PHASE,
    RESIDUE,
    ROW,
    ROW_MAX,
    TAP,
    TAP_COLUMN,
    TAP_COLUMN_MAX,
    TAP_PHASE,
    TAP_ROW,
    TAP_ROW_MAX,
)

__all__ = [
    "LANES",
    "fullest",
    "is_inside",
    "serve",
    "spend_anywhere",
    "spend_at_edge",
    "spend_inside",
]

#: Lanes of a vector as it is kept, used or not.
LANES = 4


@helper
def is_inside(inputs, a, limits):
    """Say whether every product of an activation vector falls on an output."""
    if not limits[ONE_PHASE]:
        return False
    for lane in range(LANES):
        if inputs.place[a, lane, PHASE] >= 0:
            row, column = inputs.place[a, lane, ROW], inputs.place[a, lane, COLUMN]
            if row < limits[TAP_ROW_MAX] or row > limits[ROW_MAX]:
                return False
            if column < limits[TAP_COLUMN_MAX] or column > limits[COLUMN_MAX]:
                return False
    return True


@helper
def spend_inside(inputs, a, banks, limit, planes, low, high, queue):
    """Cycles, busy cycles and queues of an activation vector, none of whose products is stray."""
    full = (np.int64(1) << banks) - 1
    place = inputs.place
    by0, by1 = place[a, 0, RESIDUE], place[a, 1, RESIDUE]
    by2, by3 = place[a, 2, RESIDUE], place[a, 3, RESIDUE]
    on0 = full if place[a, 0, PHASE] >= 0 else np.int64(0)
    on1 = full if place[a, 1, PHASE] >= 0 else np.int64(0)
    on2 = full if place[a, 2, PHASE] >= 0 else np.int64(0)
    on3 = full if place[a, 3, PHASE] >= 0 else np.int64(0)
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
        queue = serve(queue)
        cycles += 1
        while _overflows(queue, limit):
            queue = serve(queue)
            cycles += 1
    if inputs.values[a] == 0:
        busy = 0
    return cycles, busy, queue


@helper
def spend_at_edge(inputs, a, limits, taps, banks, limit, weights, low, high, queue):
    """Cycles, busy cycles, products on outputs and queues of an activation vector at the edge."""
    full = (np.int64(1) << banks) - 1
    place = inputs.place
    by0, by1 = place[a, 0, RESIDUE], place[a, 1, RESIDUE]
    by2, by3 = place[a, 2, RESIDUE], place[a, 3, RESIDUE]
    on0, on1 = _taps_of(inputs, a, 0, limits, taps), _taps_of(inputs, a, 1, limits, taps)
    on2, on3 = _taps_of(inputs, a, 2, limits, taps), _taps_of(inputs, a, 3, limits, taps)
    cycles, busy, kept = 0, 0, 0
    for w in range(low, high):
        if (weights.planes[1, w] | weights.planes[2, w]) != 0:
            spent, useful, belong, queue = spend_anywhere(
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
            if weights.place[w, f, PHASE] < 0:
                continue
            residue, tap = weights.place[w, f, RESIDUE], weights.place[w, f, TAP]
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
        queue = serve(queue)
        cycles += 1
        while _overflows(queue, limit):
            queue = serve(queue)
            cycles += 1
    return cycles, busy, kept, queue


@helper
def spend_anywhere(inputs, a, limits, banks, limit, weights, low, high, queue):
    """Cycles, busy cycles, products on outputs and queues of any activation vector."""
    cycles, busy, kept = 0, 0, 0
    for w in range(low, high):
        belong = 0
        q0, q1, q2, q3, q4 = queue
        for f in range(LANES):
            phase = weights.place[w, f, PHASE]
            if phase < 0:
                continue
            for i in range(LANES):
                if inputs.place[a, i, PHASE] != phase:
                    continue
                row = inputs.place[a, i, ROW] - weights.place[w, f, ROW]
                column = inputs.place[a, i, COLUMN] - weights.place[w, f, COLUMN]
                if row < 0 or row > limits[ROW_MAX] or column < 0 or column > limits[COLUMN_MAX]:
                    continue
                belong += 1
                bank = (inputs.place[a, i, RESIDUE] + weights.place[w, f, RESIDUE]) & (banks - 1)
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
        queue = serve((q0, q1, q2, q3, q4))
        cycles += 1
        while _overflows(queue, limit):
            queue = serve(queue)
            cycles += 1
    return cycles, busy, kept, queue


@helper
def serve(queue):
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


@helper
def fullest(queue):
    """Return the most products in a queue."""
    most = 0
    left = np.int64(-1)
    for plane in range(4, -1, -1):
        if left & queue[plane]:
            most += 1 << plane
            left &= queue[plane]
    return most


@helper
def _taps_of(inputs, a, lane, limits, taps):
    """Return the taps, as bits, under which an activation belongs to an output."""
    found = np.int64(0)
    phase = inputs.place[a, lane, PHASE]
    if phase < 0:
        return found
    for tap in range(taps.shape[0]):
        row = inputs.place[a, lane, ROW] - taps[tap, TAP_ROW]
        column = inputs.place[a, lane, COLUMN] - taps[tap, TAP_COLUMN]
        if (
            phase == taps[tap, TAP_PHASE]
            and row >= 0
            and row <= limits[ROW_MAX]
            and column >= 0
            and column <= limits[COLUMN_MAX]
        ):
            found |= np.int64(1) << tap
    return found


@helper
def _rotate(bits, by, banks, ones):
    """Rotate ``banks`` bits; ``ones`` is 0 for a lane without a value."""
    wide = bits << by
    return (wide | (wide >> banks)) & ones


@helper
def _add(queue, s0, s1, s2, s3, s4):
    """Add products to queues."""
    q0, q1, q2, q3, q4 = queue
    c0 = q0 & s0
    c1 = (q1 & s1) | (c0 & (q1 ^ s1))
    c2 = (q2 & s2) | (c1 & (q2 ^ s2))
    c3 = (q3 & s3) | (c2 & (q3 ^ s3))
    return q0 ^ s0, q1 ^ s1 ^ c0, q2 ^ s2 ^ c1, q3 ^ s3 ^ c2, q4 ^ s4 ^ c3


@helper
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
