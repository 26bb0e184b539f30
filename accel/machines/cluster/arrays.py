"""What the kernel of `accel.machines.cluster.kernels` is given, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATE_NAMES", "SUM_NAMES", "Deals", "Latencies", "Passes", "Registers"]

#: What a cluster remembers between deals, and its counters: columns of ``Registers.state``.
STATE_NAMES = (
    "arrived",  # A of the last step
    "loaded",  # LD of the last load
    "released",  # max F' of the last delivered step, plus LOAD_FREE
    "released_before",  # the same when the last load began
    "collector_free",  # C of the last position
    "drained",  # E of the last position
    "slot",  # where the ring of slots stands
    "steps",  # steps so far, skipped ones too
    "steps_delivered",
    "steps_skipped",
    "broadcast_words",
    "filter_beats",
    "outputs",
    "output_nonzeros",
)
#: Sums over steps of each unit: axis 1 of ``Registers.sums``.
SUM_NAMES = ("pairs", "busy", "cost", "siblings", "memory", "collector", "span")


class Deals(NamedTuple):
    """Runs of positions that clusters take: axes cluster, deal.

    With a queue only ``count[0, 0]`` is read: the positions of one deal.
    """

    queue: bool
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    stride: int
    #: Positions of the layer.
    positions: int


class Latencies(NamedTuple):
    """Constants of ``Latency``: a kernel that is kept on disk must not hold them."""

    start: int
    release: int
    load: int
    load_free: int
    deliver: int
    collector_free: int


class Passes(NamedTuple):
    """What each pass works on.

    Parameters
    ----------
    filters : ndarray of uint32, axes pass, filter chunk, slot, word, column
        Effective filter masks w'.
    least : ndarray of int32 or int64, axes pass, filter chunk (or 1), slot, column
        Cycles that a filter takes at least: 1 where there is one, else 0.
    unit : ndarray of int64, axes pass, column
        The unit of each column.
    units : ndarray of int64, axis pass
        Active units.
    base : ndarray of int64, axis pass
        First input chunk of the pass's group.
    load_beats : ndarray of int64, axes pass, segment
    segment_chunks : int
    outputs, drain_cycles : ndarrays of int64, axis pass
        Filters of the pass, and cycles D that the collector takes for them.
    nonzeros : ndarray of int32, axes pass, position
        Non-zero codes among them.
    """

    filters: NDArray[np.uint32]
    least: NDArray[np.integer]
    unit: NDArray[np.int64]
    units: NDArray[np.int64]
    base: NDArray[np.int64]
    load_beats: NDArray[np.int64]
    segment_chunks: int
    outputs: NDArray[np.int64]
    drain_cycles: NDArray[np.int64]
    nonzeros: NDArray[np.int32]


class Registers(NamedTuple):
    """What a machine remembers; all begin as zeros, and the last three are results.

    Parameters
    ----------
    ring : ndarray of time, axes cluster, slot
        Largest F' of the last delivered steps.
    pass_finish : ndarray of time, axes cluster, column
        F' of each unit within a pass.
    pass_sums : ndarray of time, axes cluster, sum, column
    finish : ndarray of time, axes cluster, unit
    state : ndarray of int64, axes cluster, ``STATE_NAMES``
    sums : ndarray of int64, axes cluster, ``SUM_NAMES``, unit
    """

    ring: NDArray[np.integer]
    pass_finish: NDArray[np.integer]
    pass_sums: NDArray[np.integer]
    finish: NDArray[np.integer]
    state: NDArray[np.int64]
    sums: NDArray[np.int64]
