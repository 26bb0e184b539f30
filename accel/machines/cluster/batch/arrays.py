"""What the kernel of `accel.machines.cluster.batch.kernel` is given, and what it gives back.

A *deal row* is a cluster of one dealing of positions, which machines with as many clusters share;
a *state row* is a cluster of one batch of machines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "WAITS",
    "WORK",
    "Batches",
    "Deals",
    "Latencies",
    "Layer",
    "Scratch",
    "Sizes",
    "Sums",
    "Times",
]

#: What is counted for a deal row, whatever a machine's buses and queues: axis 1 of ``Sums.work``.
WORK: tuple[str, ...] = ("pairs", "busy", "cost")
#: Sums of cycles of each unit: axis 1 of ``Times.waits``.
WAITS: tuple[str, ...] = ("siblings", "memory", "collector", "span")


class Latencies(NamedTuple):
    """Constants of ``Latency``: a kernel that is kept on disk must not hold them."""

    start: int
    release: int
    load: int
    load_free: int
    deliver: int
    collector_free: int


class Sizes(NamedTuple):
    """Lengths of axes.

    Parameters
    ----------
    passes, positions, taps, columns, units : int
    filter_chunks, input_chunks : int
    slots : int
        Filters of a unit.
    mask_bytes, filter_bytes : int
        Of an input mask and of a filter mask in memory.
    least_chunks : int
        1, or filter chunks.
    stages : int
        Powers of two in which a batch's machines differ in slots, at most.
    deals, deal_rows, bus_classes : int
    """

    passes: int
    positions: int
    taps: int
    columns: int
    units: int
    filter_chunks: int
    input_chunks: int
    slots: int
    mask_bytes: int
    filter_bytes: int
    least_chunks: int
    stages: int
    deals: int
    deal_rows: int
    bus_classes: int


class Layer(NamedTuple):
    """A layer cut for machines with one chunk size, one number of units and one schedule.

    Parameters
    ----------
    windows : ndarray of int32, axes position, tap
        First input chunk under each tap, counted from the group's first.
    row_chunks : int
    masks : ndarray of uint8, axes chunk, byte
        Effective input masks a'; with ``dynamic`` those of all chunks, else the chunks of one row.
    dynamic : bool
    skip_empty : bool
        All-zero chunks are not delivered.
    empty : ndarray of uint8, axis chunk
        The true mask has no one.
    filters : ndarray of uint8, axes pass, filter chunk, slot, byte, column
        Effective filter masks w'; bytes and columns are padded with zeros.
    least : ndarray of uint16, axes pass, filter chunk (or 1), slot, column
        Cycles that a filter takes at least: 1 where there is one, else 0.
    multipliers : int
        Of a unit.
    units, unit : ndarrays of int64, axes pass, and pass, column
        Active units, and the unit of each column.
    base : ndarray of int64, axis pass
        First input chunk of the pass's group.
    outputs : ndarray of int64, axis pass
        Filters of the pass.
    nonzeros : ndarray of int32, axes pass, position
        Non-zero codes among them.
    """

    windows: NDArray[np.int32]
    row_chunks: int
    masks: NDArray[np.uint8]
    dynamic: bool
    skip_empty: bool
    empty: NDArray[np.uint8]
    filters: NDArray[np.uint8]
    least: NDArray[np.uint16]
    multipliers: int
    units: NDArray[np.int64]
    unit: NDArray[np.int64]
    base: NDArray[np.int64]
    outputs: NDArray[np.int64]
    nonzeros: NDArray[np.int32]


class Deals(NamedTuple):
    """Ways to deal positions to clusters, axis deal.

    Parameters
    ----------
    clusters : ndarray of int64
    run : ndarray of int64
        Consecutive positions of a cluster (``tiles``); 0: position by position (``interleaved``).
    first_row : ndarray of int64, one more than deals
        Deal rows.
    first_batch : ndarray of int64, one more than deals
        Batches that deal so.
    """

    clusters: NDArray[np.int64]
    run: NDArray[np.int64]
    first_row: NDArray[np.int64]
    first_batch: NDArray[np.int64]


class Batches(NamedTuple):
    """Machines sixteen by sixteen, axis batch; the last axis is the machine.

    Parameters
    ----------
    first_row : ndarray of int64
        Of the batch's state rows.
    least_slots : ndarray of int64
        The fewest slots that a machine has.
    stages : ndarray of int64
        Powers of two in which its machines differ.
    is_delayed : ndarray of uint16, axes batch, stage, machine
        All ones where the machine's further slots have this power of two, else 0.
    taken : ndarray of uint16, axes bus class, chunk, machine
        Cycles that the broadcast of a chunk takes, at least 1.
    bus_class : ndarray of int64
    beats : ndarray of int64, axes batch, pass, machine
    double_buffer : ndarray of uint8, axes batch, machine
    drain : ndarray of uint16, axes batch, pass, machine
        From the last unit's finish of a position to a free result register.
    """

    first_row: NDArray[np.int64]
    least_slots: NDArray[np.int64]
    stages: NDArray[np.int64]
    is_delayed: NDArray[np.uint16]
    taken: NDArray[np.uint16]
    bus_class: NDArray[np.int64]
    beats: NDArray[np.int64]
    double_buffer: NDArray[np.uint8]
    drain: NDArray[np.uint16]


class Times(NamedTuple):
    """What machines remember, axes state row, ..., machine; all begin as zeros.

    Short times (uint16) are relative to ``base``, and are never more than
    ``accel.machines.cluster.batch.program.spread`` beyond it.

    Parameters
    ----------
    base : ndarray of int64
    arrived : ndarray of uint16
        A of the last step.
    collector_free : ndarray of uint16
        C of the last position.
    ring : ndarray of uint16, axes state row, delivered step modulo 32, machine
        max F' of the last delivered steps, plus RELEASE.
    stages : ndarray of uint16, axes state row, stage, delivered step modulo 32, machine
        What each stage was given that delays R of machines with more slots.
    finish : ndarray of uint16, axes state row, column, machine
        F' within a pass.
    siblings, collector : ndarrays of uint16, axes state row, column, machine
        Waits since the base was moved.
    begun : ndarray of int64, axes state row, column, machine
        When a unit's pass began.
    kept_finish : ndarray of int64, axes state row, unit, machine
        F' between passes.
    waits : ndarray of int64, axes state row, ``WAITS``, unit, machine
    loaded, released, released_before : ndarrays of int64
        LD of the last load; the last step's max F' plus LOAD_FREE, now and before the last load.
    beats, words : ndarrays of int64
        Filter beats, and broadcast words.
    """

    base: NDArray[np.int64]
    arrived: NDArray[np.uint16]
    collector_free: NDArray[np.uint16]
    ring: NDArray[np.uint16]
    stages: NDArray[np.uint16]
    finish: NDArray[np.uint16]
    siblings: NDArray[np.uint16]
    collector: NDArray[np.uint16]
    begun: NDArray[np.int64]
    kept_finish: NDArray[np.int64]
    waits: NDArray[np.int64]
    loaded: NDArray[np.int64]
    released: NDArray[np.int64]
    released_before: NDArray[np.int64]
    beats: NDArray[np.int64]
    words: NDArray[np.int64]


class Sums(NamedTuple):
    """What does not depend on times, axis deal row; all begin as zeros.

    Parameters
    ----------
    work : ndarray of int64, axes deal row, ``WORK``, unit
    steps, delivered, outputs, nonzeros : ndarrays of int64
    """

    work: NDArray[np.int64]
    steps: NDArray[np.int64]
    delivered: NDArray[np.int64]
    outputs: NDArray[np.int64]
    nonzeros: NDArray[np.int64]


class Scratch(NamedTuple):
    """What is counted of one position in one pass.

    Parameters
    ----------
    cost : ndarray of uint16, axes delivered step, column
        c.
    gaps, chunks : ndarrays of int64, axis delivered step
        Skipped steps before it, and its input chunk.
    short, work : ndarrays of uint16 and int64, axes ``WORK``, column
        Sums over a few steps, and over the position.
    short_words, words : ndarrays of uint16, axis machine, and of int64, axes bus class, machine
        Broadcast words of a few steps, and of the position.
    pass_work : ndarray of int64, axes deal row, ``WORK``, column
        Sums over the pass's positions.
    has_worked : ndarray of uint8, axis deal row
    1 where it has, in this pass.
    """

    cost: NDArray[np.uint16]
    gaps: NDArray[np.int64]
    chunks: NDArray[np.int64]
    short: NDArray[np.uint16]
    work: NDArray[np.int64]
    short_words: NDArray[np.uint16]
    words: NDArray[np.int64]
    pass_work: NDArray[np.int64]
    has_worked: NDArray[np.uint8]
