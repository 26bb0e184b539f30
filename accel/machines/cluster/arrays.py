"""What the kernel of `accel.machines.cluster.kernels` is given, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLUSTER_STATE",
    "FILTER_SIDE",
    "INPUT_SIDE",
    "JOIN",
    "RING_SLOTS",
    "ROOM",
    "SHORT_MAX",
    "SPREAD_MAX",
    "Columns",
    "Deals",
    "Inputs",
    "Machine",
    "Passes",
    "Registers",
    "Units",
    "Work",
]

#: Where a step's pairs come from: a join of masks, or the count of one side, where the other
#: one's effective masks are full.
JOIN, FILTER_SIDE, INPUT_SIDE = range(3)

#: What a short sum can hold.
SHORT_MAX = (1 << 16) - 1

#: How far a unit may be behind its cluster at most (`accel.machines.cluster.segments`), in cycles.
SPREAD_MAX = 20_000

#: What is added to short sums before they are added to long ones. The last step's waits, for its
#: slot and for the collector, and its cost come on top.
ROOM = SHORT_MAX - 2 * SPREAD_MAX - 512

#: Steps of which the finish is remembered: a power of two, more than the slots of a unit.
RING_SLOTS = 32

#: What a cluster remembers, and its counters; all begin as zeros.
CLUSTER_STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "arrived",  # A of the last step
            "loaded",  # LD of the last load
            "released",  # max F' of the last delivered step, plus LOAD_FREE
            "released_before",  # the same when the last load began
            "longest",  # max F' of the last delivered step
            "collector_free",  # C of the last position
            "drained",  # E of the last position
            "works",  # whether it has worked in this pass
            "room",  # what may yet be added to short sums: see ``ROOM``
            "steps_delivered",
            "steps_skipped",
            "broadcast_words",
            "filter_beats",
            "outputs",
            "output_nonzeros",
        )
    ]
)


class Deals(NamedTuple):
    """Runs of positions that clusters take.

    Parameters
    ----------
    queue : bool
        Whoever is free first takes the next ``queue_positions``; what follows is not read.
    count : int
        Deals of a cluster in a pass.
    stride : int
        From one position of a run to the next.
    first, positions : ndarrays of int64, axes cluster, deal
    """

    queue: bool
    queue_positions: int
    count: int
    stride: int
    first: NDArray[np.int64]
    positions: NDArray[np.int64]


class Machine(NamedTuple):
    """Numbers of a machine, of ``golden.machines.cluster.config.Latency`` and of a layer's arrays.

    A kernel that is kept on disk must not hold them.

    Parameters
    ----------
    clusters, columns : int
        Columns are units that are active in some pass, in whole blocks of lanes.
    slots : int
        Chunks that a unit holds, beside one another in time.
    filters_per_unit, words, multipliers : int
        Words are those of a mask, whole fours.
    step_cost_max : int
        Largest cost of a step.
    """

    clusters: int
    columns: int
    slots: int
    filters_per_unit: int
    words: int
    multipliers: int
    double_buffer: bool
    start: int
    release: int
    load: int
    load_free: int
    deliver: int
    collector_free: int
    step_cost_max: int


class Inputs(NamedTuple):
    """The input chunks of a layer in one skip mode.

    Parameters
    ----------
    chunks : ndarray of int32, axes position, filter chunk
        The input chunk that each filter chunk meets, counted from the first of its group.
    masks : ndarray of uint16, axes input chunk, word
        Effective masks a'; each group's rows are followed by a row of zeros. Read by ``JOIN``.
    counts : ndarray of uint16, axis input chunk
        Ones of effective masks; read by ``INPUT_SIDE``.
    skip_empty : bool
        All-zero chunks are not delivered.
    broadcast_words : ndarray of uint16, axis input chunk
        Of the true masks (``count_broadcast_words``).
    """

    chunks: NDArray[np.int32]
    masks: NDArray[np.uint16]
    counts: NDArray[np.uint16]
    skip_empty: bool
    broadcast_words: NDArray[np.uint16]


class Passes(NamedTuple):
    """What each pass works on in one skip mode.

    Parameters
    ----------
    passes, positions, filter_chunks, segments, segment_chunks : int
        Passes, and what each consists of.
    source : int
        ``JOIN``, ``FILTER_SIDE`` or ``INPUT_SIDE``.
    filters : ndarray of uint16, axes pass, filter chunk, slot, word, column
        Effective filter masks w'; read by ``JOIN``.
    counts : ndarray of uint16, axes pass, filter chunk, slot, column
        Their ones; read by ``FILTER_SIDE``.
    least : ndarray of uint16, axes pass, filter chunk, slot, column
        Cycles that a filter takes at least: 1 where there is one, else 0.
    active : ndarray of int64, axis pass
        Active units, the first ones.
    base : ndarray of int64, axis pass
        First input chunk of the pass's group.
    load_beats : ndarray of int64, axes pass, segment
    outputs, drain_cycles : ndarrays of int64, axis pass
        Filters of the pass, and cycles D that the collector takes for them.
    nonzeros : ndarray of int32, axes pass, position
        Non-zero codes among them.
    """

    passes: int
    positions: int
    filter_chunks: int
    segments: int
    segment_chunks: int
    source: int
    filters: NDArray[np.uint16]
    counts: NDArray[np.uint16]
    least: NDArray[np.uint16]
    active: NDArray[np.int64]
    base: NDArray[np.int64]
    load_beats: NDArray[np.int64]
    outputs: NDArray[np.int64]
    drain_cycles: NDArray[np.int64]
    nonzeros: NDArray[np.int32]


class Work(NamedTuple):
    """One pass of `Passes`: its row of each array, or its element."""

    source: int
    filter_chunks: int
    segments: int
    segment_chunks: int
    filters: NDArray[np.uint16]
    counts: NDArray[np.uint16]
    least: NDArray[np.uint16]
    active: int
    base: int
    load_beats: NDArray[np.int64]
    outputs: int
    drain_cycles: int
    nonzeros: NDArray[np.int32]


class Columns(NamedTuple):
    """What is kept of the units of a cluster while they are active: ndarrays of uint16, axes
    cluster, column.

    ``late`` is F' less the cluster's A, the others are sums not yet added to those of `Units`.
    """

    late: NDArray[np.uint16]
    pairs: NDArray[np.uint16]
    busy: NDArray[np.uint16]
    cost: NDArray[np.uint16]
    siblings: NDArray[np.uint16]
    collector: NDArray[np.uint16]


class Units(NamedTuple):
    """What is kept of every unit: ndarrays of int64, axes cluster, column.

    ``finish`` is F' at the end of the unit's last pass, the others are sums.
    """

    finish: NDArray[np.int64]
    pairs: NDArray[np.int64]
    busy: NDArray[np.int64]
    cost: NDArray[np.int64]
    siblings: NDArray[np.int64]
    collector: NDArray[np.int64]
    memory: NDArray[np.int64]
    span: NDArray[np.int64]


class Registers(NamedTuple):
    """What a machine remembers; all begin as zeros.

    Parameters
    ----------
    clusters : ndarray of ``CLUSTER_STATE``, axis cluster
    ring : ndarray of int64, axes cluster, delivered step modulo ``RING_SLOTS``
        Largest F' of the last delivered steps.
    columns, units : Columns, Units
    """

    clusters: NDArray[np.void]
    ring: NDArray[np.int64]
    columns: Columns
    units: Units
