"""What the chip's kernel is given, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TILE_COUNTERS", "Bursts", "Constants", "Entries", "Layers", "Tiles", "Times"]

#: The counters that partition the chip's cycles, axis 1 of ``Times.counters``.
TILE_COUNTERS = (
    "compute_cycles",
    "filter_cycles",
    "descriptor_cycles",
    "row_cycles",
    "write_cycles",
    "residual_cycles",
    "idle_cycles",
)


class Constants(NamedTuple):
    """Latencies of the chip and of its clusters, and sizes."""

    start: int
    list: int
    entry: int
    count: int
    fill: int
    credit: int
    parse: int
    layer: int
    tile: int
    job: int
    encode: int
    vector: int
    half: int
    end: int
    cluster_start: int
    release: int
    load: int
    load_free: int
    deliver: int
    collector_free: int
    tail: int
    clusters: int
    bus_bytes: int
    burst_bytes: int
    outstanding: int
    filter_bursts: int
    row_bursts: int
    residual_bursts: int
    write_bursts: int
    filter_bus_bytes: int
    filter_buffers: int
    vector_lanes: int
    chunk: int
    skip_empty: int


class Entries(NamedTuple):
    """The transfer list with the reads of itself between: ndarrays of int64, axis entry.

    Parameters
    ----------
    block : ndarray
        The block of the list that an entry lies in; of a read of the list, the one it reads.
    """

    kind: NDArray[np.int64]
    address: NDArray[np.int64]
    length: NDArray[np.int64]
    last: NDArray[np.int64]
    tiles: NDArray[np.int64]
    writes: NDArray[np.int64]
    layer: NDArray[np.int64]
    tile: NDArray[np.int64]
    block: NDArray[np.int64]


class Tiles(NamedTuple):
    """Tiles of the network: ndarrays of int64, axis tile.

    Parameters
    ----------
    loads : ndarray
        Passes whose filters are loaded; 0 where they are resident, -1 of a vector tile.
    """

    layer: NDArray[np.int64]
    first: NDArray[np.int64]
    pixels: NDArray[np.int64]
    begins: NDArray[np.int64]
    loads: NDArray[np.int64]


class Layers(NamedTuple):
    """Layers: ndarrays of int64, axis layer.

    Parameters
    ----------
    channels, group_channels : ndarrays
        Of the input.
    write_channels, pixel_stride : ndarrays
        Of the map that is written.
    taps : ndarray
        Of the vector unit's window.
    residual : ndarray
        1 where there is one.
    """

    channels: NDArray[np.int64]
    group_channels: NDArray[np.int64]
    write_channels: NDArray[np.int64]
    pixel_stride: NDArray[np.int64]
    taps: NDArray[np.int64]
    residual: NDArray[np.int64]


class Bursts(NamedTuple):
    """Bursts in the order in which they are served: ndarrays of int64, axis burst."""

    kind: NDArray[np.int64]
    address: NDArray[np.int64]
    length: NDArray[np.int64]
    asked: NDArray[np.int64]
    there: NDArray[np.int64]


class Times(NamedTuple):
    """Events: ndarrays of int64; -1 where one is not known (yet).

    Parameters
    ----------
    record, ready, start, done, half : ndarrays, axis tile
        A of its record, ready, start, done, Z.
    layer : ndarray, axis layer
        A of its descriptor and tables.
    block : ndarray, axis block of the list
    written : ndarray, axis write entry
        W.
    filter_free : ndarray, axis filter burst: X
    row_free : ndarray, axis row burst: XR
    made : ndarray, axis write burst: P
    responded : ndarray, axis write burst: A
    stalled : ndarray, axes write burst, 2
        The vector unit's wait for a residual: from, to.
    residual_there, residual_end, residual_free : ndarrays, axis residual burst
        A, the bytes up to its end, and P of the write burst that uses the last of them.
    held : ndarray, axes tile, 2
        The wait for an assembly half: from, to.
    counters : ndarray, axes tile, ``TILE_COUNTERS``
    """

    record: NDArray[np.int64]
    ready: NDArray[np.int64]
    start: NDArray[np.int64]
    done: NDArray[np.int64]
    half: NDArray[np.int64]
    layer: NDArray[np.int64]
    block: NDArray[np.int64]
    written: NDArray[np.int64]
    filter_free: NDArray[np.int64]
    row_free: NDArray[np.int64]
    made: NDArray[np.int64]
    responded: NDArray[np.int64]
    stalled: NDArray[np.int64]
    residual_there: NDArray[np.int64]
    residual_end: NDArray[np.int64]
    residual_free: NDArray[np.int64]
    held: NDArray[np.int64]
    counters: NDArray[np.int64]
