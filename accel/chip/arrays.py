"""What the chip's kernel is given, and what it gives back: records, all of int64.

One array of records in place of an array a field keeps the kernel's compilation short.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BURST",
    "CONSTANTS",
    "ENTRY",
    "FILTER",
    "LAYER",
    "RESIDUAL",
    "TILE",
    "TILE_COUNTERS",
    "WRITE",
    "Work",
]

#: The counters that partition the chip's cycles, axis 1 of ``Work.counters``.
TILE_COUNTERS = (
    "compute_cycles",
    "filter_cycles",
    "descriptor_cycles",
    "row_cycles",
    "write_cycles",
    "residual_cycles",
    "idle_cycles",
)


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


#: Latencies of the chip, then of its clusters, then sizes.
CONSTANTS = _record(
    "start", "list", "entry", "count", "fill", "feed", "credit", "parse", "layer", "tile", "job",
    "encode", "vector", "half", "end", "cluster_start", "release", "load", "load_free", "deliver",
    "collector_free", "tail", "clusters", "bus_bytes", "burst_bytes", "outstanding",
    "filter_bursts", "row_bursts", "residual_bursts", "write_bursts", "filter_bus_bytes",
    "filter_buffers", "vector_lanes", "chunk", "skip_empty",
)  # fmt: skip
#: The transfer list with the reads of itself between. ``block`` is the block of the list that an
#: entry lies in, or that it reads.
ENTRY = _record(
    "kind", "address", "length", "last", "tiles", "writes", "layer", "tile", "block"
)  # fmt: skip
#: A tile: ``loads`` are the passes whose filters are loaded, 0 where they are resident, -1 of a
#: vector tile. Then events, -1 while unknown: A of its record, ready, start, done, Z, and from
#: when to when its half was waited for.
TILE = _record(
    "layer", "first", "pixels", "begins", "loads",
    "record", "ready", "start", "done", "half", "held_from", "held_to",
)  # fmt: skip
#: A layer: sizes of its input, of the map that it writes, the vector unit's taps, 1 with a
#: residual, passes; A of its descriptor and tables.
LAYER = _record(
    "channels", "group_channels", "write_channels", "pixel_stride", "taps", "residual", "passes",
    "there"
)  # fmt: skip
#: A burst, in the order in which they are served.
BURST = _record("kind", "address", "length", "asked", "there")
#: A filter burst: A, the beats that it holds, whether it begins a load, and X.
FILTER = _record("there", "beats", "begins", "used")
#: A write burst: P, A, and the vector unit's wait for a residual, from and to.
WRITE = _record("made", "responded", "stalled_from", "stalled_to")
#: A residual burst: A, the bytes up to its end, and P of the write burst that uses the last.
RESIDUAL = _record("there", "end", "used")

#: Where a walk stands, by the place in ``Work.counts``: the last request; numbers of bursts, tiles
#: done, writes done, bursts of filters, of rows, of writes, of residuals; the next pass; bytes of
#: residuals used; residual bursts and filter bursts used up; the largest A of the last pass; the
#: latest response; bytes of residuals; write bursts up to the last tile; whether the next filter
#: burst begins a load; when the vector unit is free.
(CURSOR, BURSTS, DONE, WRITTEN, FILTERS, ROWS, MADE, RESIDUALS, PASS, USED, GIVEN, FILTERED,
 ARRIVED, LATEST, RESIDUAL_BYTES, TILE_MADE, BEGINS, FREE) = range(18)  # fmt: skip
#: Length of ``Work.counts``.
COUNTS = 18


class Work(NamedTuple):
    """What ``accel.chip.walk`` works with.

    Parameters
    ----------
    constants : ndarray of ``CONSTANTS``, one of them
    entries, tiles, layers, bursts, writes, residuals, filters : ndarrays of the records above
    blocks, written : ndarrays of int64, axes block of the list, write entry
        A, W.
    rows : ndarray of int64, axis burst of rows and operands
        XR.
    counters : ndarray of int64, axes tile, ``TILE_COUNTERS``
    released : ndarray of int64, axis pass
        Largest F' of each pass of the job in work, plus LOAD_FREE.
    memory, memory_state : ndarrays of int64
        Of `accel.chip.memory`.
    counts : ndarray of int64
        Where the walk stands.
    """

    constants: NDArray[np.void]
    entries: NDArray[np.void]
    tiles: NDArray[np.void]
    layers: NDArray[np.void]
    bursts: NDArray[np.void]
    writes: NDArray[np.void]
    residuals: NDArray[np.void]
    blocks: NDArray[np.int64]
    written: NDArray[np.int64]
    filters: NDArray[np.void]
    rows: NDArray[np.int64]
    counters: NDArray[np.int64]
    released: NDArray[np.int64]
    memory: NDArray[np.int64]
    memory_state: NDArray[np.int64]
    counts: NDArray[np.int64]
