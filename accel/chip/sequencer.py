"""A tile's way through the chip: when its job starts and ends, and what it waits for.

Symbols are those of ``docs/chip.md``, *Timing* and *Counters*.
"""

from __future__ import annotations

import numpy as np

from accel.chip.arrays import (
    ARRIVED,
    DONE,
    PASS,
)
from accel.chip.jobs import begin_job, convolution_of, run_pass
from accel.compiled import helper

__all__ = ["advance_tile", "count_held", "end_job", "half_free", "load_ready", "run_tile_pass"]


@helper
def half_free(tile, tiles, k):
    """Return the cycle from which a tile's assembly half may be filled; -1 where never."""
    if tile < 2:
        return np.int64(0)
    if tiles[tile - 2].half < 0:
        return np.int64(-1)
    return tiles[tile - 2].half + k.half


@helper
def _records_there(tile, tiles, layers, k):
    """Return d of a tile; -1 where it is not known."""
    record, layer = tiles[tile].record, layers[tiles[tile].layer].there
    if record < 0 or layer < 0:
        return np.int64(-1)
    return max(record, layer) + k.fill


@helper
def advance_tile(tile, work):
    """Begin the next tile where it loads no filters.

    Returns
    -------
    int
        Passes that are to be run; 0 of a vector tile, which is done then; -1 where the tile can't
        begin yet.
    """
    mine = work.tiles[tile]
    there, free = (
        _records_there(tile, work.tiles, work.layers, work.constants[0]),
        half_free(tile, work.tiles, work.constants[0]),
    )
    if mine.loads > 0 or there < 0 or mine.ready < 0 or free < 0:
        return np.int64(-1)
    if mine.loads == 0:
        return work.layers[mine.layer].passes if _start_job(tile, work) else np.int64(-1)
    before = work.tiles[tile - 1].done if tile > 0 else np.int64(0)
    earliest = before + 1 if tile > 0 else before
    work.tiles[tile].done = max(earliest, mine.ready, there)
    _count_waits(tile, before, work.tiles[tile].done, there, free, np.int64(0), work)
    work.counts[DONE] = tile + 1
    return np.int64(0)


@helper
def _start_job(tile, work):
    """Start a tile's job; say whether it can start."""
    k, counts = work.constants[0], work.counts
    there, free = (
        _records_there(tile, work.tiles, work.layers, work.constants[0]),
        half_free(tile, work.tiles, work.constants[0]),
    )
    if counts[DONE] != tile or there < 0 or free < 0 or work.tiles[tile].ready < 0:
        return False
    before = work.tiles[tile - 1].done if tile > 0 else np.int64(0)
    setup = max(there, before) + (k.layer if work.tiles[tile].begins else k.tile)
    start = max(setup, work.tiles[tile].ready, free) + k.job
    work.tiles[tile].start = start
    _count_waits(tile, before, start, there, free, work.tiles[tile].ready, work)
    counts[PASS] = 0
    counts[ARRIVED] = start
    return True


@helper
def load_ready(tile, work):
    """Return when a tile's next load may begin, as far as its units go; -1 where never."""
    k, counts = work.constants[0], work.counts
    if counts[DONE] != tile:
        return np.int64(-1)
    if work.tiles[tile].start < 0 and not _start_job(tile, work):
        return np.int64(-1)
    index = counts[PASS]
    if index < k.filter_buffers:
        return work.tiles[tile].start
    return work.released[index - k.filter_buffers]


@helper
def run_tile_pass(tile, index, loaded, work, tensors, clusters):
    """Run all clusters of a job through a pass whose filters are there at ``loaded``."""
    k, counts = work.constants[0], work.counts
    if index == 0:
        begin_job(work.tiles[tile].start, k.cluster_start, k.release, clusters)
    layer = convolution_of(tensors, work.tiles[tile].layer)
    latency = (k.release, k.load, k.deliver, k.collector_free)
    work.counters[tile, 1] += max(0, loaded + k.load - counts[ARRIVED])
    first, pixels = work.tiles[tile].first, work.tiles[tile].pixels
    longest, arrived = np.int64(0), np.int64(0)
    for m in range(min(k.clusters, pixels)):
        count = (pixels - m + k.clusters - 1) // k.clusters
        finish = run_pass(
            m, first + m, count, k.clusters, index, loaded, k.skip_empty > 0, layer, latency,
            clusters,
        )  # fmt: skip
        longest = max(longest, finish)
        arrived = max(arrived, clusters.scalars[m, 0])
    work.released[index] = longest + k.load_free
    counts[ARRIVED] = arrived


@helper
def end_job(tile, work, clusters):
    k = work.constants[0]
    drained = np.int64(0)
    for m in range(min(k.clusters, work.tiles[tile].pixels)):
        drained = max(drained, clusters.scalars[m, 3])
    work.tiles[tile].done = drained + k.tail
    run = work.tiles[tile].done - work.tiles[tile].start
    work.counters[tile, 0] = run - work.counters[tile, 1]
    work.counts[DONE] = tile + 1


@helper
def _count_waits(tile, before, end, there, free, ready, work):
    """Split the time before a job, or of a vector tile, by what it waits for."""
    counters = work.counters[tile]
    described = min(max(before, there), end)
    counters[2] += described - before
    if work.tiles[tile].loads < 0:
        halved = min(max(described, free), end)
        work.tiles[tile].held_from, work.tiles[tile].held_to = described, halved
        counters[3] += end - halved
        return
    parsed = min(max(described, ready), end)
    halved = min(max(parsed, free), end)
    counters[3] += parsed - described
    work.tiles[tile].held_from, work.tiles[tile].held_to = parsed, halved
    counters[6] += end - halved


@helper
def count_held(cycles, work):
    """Split the waits for the vector unit: for its residual, or else for the write."""
    tiles = len(work.tiles)
    for tile in range(tiles):
        _count_write(
            work.tiles[tile].held_from, work.tiles[tile].held_to, work.writes, work.counters[tile]
        )
    _count_write(work.tiles[tiles - 1].done, cycles, work.writes, work.counters[tiles - 1])


@helper
def _count_write(begin, end, writes, counters):
    # The vector unit's waits do not overlap, and each ends with its burst at the latest: the
    # first one that ends later is found by bisection.
    w, above = 0, len(writes)
    while w < above:
        middle = (w + above) // 2
        if writes[middle].made <= begin:
            w = middle + 1
        else:
            above = middle
    waited = np.int64(0)
    while w < len(writes) and writes[w].stalled_from < end:
        stalled_from, stalled_to = writes[w].stalled_from, writes[w].stalled_to
        waited += max(0, min(end, stalled_to) - max(begin, stalled_from))
        w += 1
    counters[5] += waited
    counters[4] += end - begin - waited
