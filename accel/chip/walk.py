"""The recurrences of ``docs/chip.md``, *Timing*, evaluated along the transfer list.

Everything that an entry waits for is made by entries before it, so one walk in list order knows
every time when it is asked for; one that is not known then is a list that would hang the engine.
Symbols are those of that page.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from accel.chip.jobs import begin_job, convolution_of, run_pass
from accel.chip.memory import serve_burst
from golden.chip.formats import Kind

__all__ = ["Work", "count_bursts", "walk_list"]

_LIST, _DESCRIPTOR, _TABLES, _TILE = Kind.LIST, Kind.DESCRIPTOR, Kind.TABLES, Kind.TILE
_FILTERS, _ROWS, _OPERAND = Kind.FILTERS, Kind.ROWS, Kind.OPERAND
_RESIDUAL, _WRITE = Kind.RESIDUAL, Kind.WRITE

# What the walk remembers: places of ``Work.counts``.
_CURSOR, _BURST, _DONE, _WRITTEN, _FILTER, _ROW, _MADE, _RESIDUALS, _PASS = range(9)
_USED, _GIVEN, _RELEASED, _ARRIVED, _LATEST, _RESIDUAL_BYTES, _TILE_MADE = range(9, 16)
_COUNTS = 16


class Work(NamedTuple):
    """What a walk works with; the arrays of `accel.chip.arrays` and of `accel.chip.jobs`.

    Parameters
    ----------
    counts : ndarray of int64
        Where the walk stands.
    released : ndarray of int64, axis pass
        Largest F' of each pass of the job in work, plus LOAD_FREE.
    """

    constants: tuple
    entries: tuple
    tiles: tuple
    layers: tuple
    tensors: tuple
    clusters: tuple
    times: tuple
    bursts: tuple
    memory: NDArray[np.int64]
    memory_state: NDArray[np.int64]
    counts: NDArray[np.int64]
    released: NDArray[np.int64]


@njit(cache=True, nogil=True, error_model="numpy")
def count_bursts(entries, layers, burst_bytes):
    """Count the bursts of each kind: ndarray of int64, axis kind."""
    counts = np.zeros(9, dtype=np.int64)
    for e in range(len(entries.kind)):
        runs, run, stride = _runs(e, entries, layers)
        for number in range(runs):
            address = entries.address[e] + number * stride
            if run > 0:
                last = address + run - 1
                counts[entries.kind[e]] += last // burst_bytes - address // burst_bytes + 1
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def walk_list(work):
    """Fill ``work.times`` and ``work.bursts``; return the network's cycles, -1 where it hangs."""
    k = work.constants
    work.counts[_CURSOR] = k.start - k.entry
    for e in range(len(work.entries.kind)):
        served = _served(e, work)
        if served < 0 or not _serve(e, served, work):
            return np.int64(-1)
    _finish_tiles(len(work.tiles.layer), work)
    if work.counts[_DONE] < len(work.tiles.layer):
        return np.int64(-1)
    cycles = max(work.counts[_LATEST], work.counts[_CURSOR]) + k.end
    _count_held(cycles, work)
    return cycles


@njit(cache=True, nogil=True, error_model="numpy")
def _runs(e, entries, layers):
    """Return how many runs of bytes an entry has, their length, and from one to the next."""
    length = entries.length[e]
    if entries.kind[e] != _WRITE:
        return np.int64(1), length, np.int64(0)
    layer = entries.layer[e]
    channels, stride = layers.write_channels[layer], layers.pixel_stride[layer]
    if stride == channels:
        return np.int64(1), length * channels, np.int64(0)
    return length, channels, stride


@njit(cache=True, nogil=True, error_model="numpy")
def _served(e, work):
    """Return S of an entry; -1 where what it waits for never happens."""
    k, times = work.constants, work.times
    served = work.counts[_CURSOR] + k.entry
    if work.entries.kind[e] == _LIST:
        return served
    served = max(served, times.block[work.entries.block[e]] + k.list)
    tiles, writes = work.entries.tiles[e], work.entries.writes[e]
    if tiles > 0:
        _finish_tiles(tiles, work)
        if work.counts[_DONE] < tiles:
            return np.int64(-1)
        served = max(served, times.done[tiles - 1] + k.count)
    if writes > 0:
        if work.counts[_WRITTEN] < writes:
            return np.int64(-1)
        served = max(served, times.written[writes - 1] + k.count)
    return served


@njit(cache=True, nogil=True, error_model="numpy")
def _serve(e, served, work):
    """Serve an entry from its first burst to its last; say whether it comes to an end."""
    k, entries, times = work.constants, work.entries, work.times
    kind, tile = entries.kind[e], entries.tile[e]
    ready = np.int64(0)
    if kind == _FILTERS:
        ready = _load_ready(tile, work)
        if ready < 0:
            return False
    elif kind == _OPERAND:
        free = _half_free(tile, work)
        if free < 0:
            return False
        ready = free
    elif kind == _WRITE:
        _finish_tiles(tile + 1, work)
        if work.counts[_DONE] <= tile:
            return False
    runs, run, stride = _runs(e, entries, work.layers)
    base, there = entries.address[e], np.int64(-1)
    cursor = served
    for number in range(runs):
        address = base + number * stride
        end = address + run
        while address < end:
            stop = min(end, (address // k.burst_bytes + 1) * k.burst_bytes)
            free = _place_free(e, address - base, stop - address, ready, work)
            if free < 0:
                return False
            cursor = max(cursor, free)
            there = _request(kind, address, stop - address, cursor, work)
            _receive(e, address - base, stop - address, there, ready, work)
            cursor = work.counts[_CURSOR] + 1
            address = stop
    if there < 0:
        work.counts[_CURSOR] = served
    _end_entry(e, served, there, work)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _request(kind, address, length, cursor, work):
    """Ask for a burst at ``cursor`` or later; return A."""
    k, counts, bursts = work.constants, work.counts, work.bursts
    i = counts[_BURST]
    asked = cursor
    if i >= k.outstanding:
        asked = max(asked, bursts.there[i - k.outstanding] + k.credit)
    there = serve_burst(
        asked, address, length, np.int64(kind == _WRITE), k.bus_bytes, work.memory,
        work.memory_state,
    )  # fmt: skip
    bursts.kind[i], bursts.address[i], bursts.length[i] = kind, address, length
    bursts.asked[i], bursts.there[i] = asked, there
    counts[_BURST] = i + 1
    counts[_CURSOR] = asked
    counts[_LATEST] = max(counts[_LATEST], there)
    return there


@njit(cache=True, nogil=True, error_model="numpy")
def _place_free(e, offset, length, ready, work):
    """Return the cycle from which a burst may be asked for as far as its places go; -1: never."""
    k, counts, times = work.constants, work.counts, work.times
    kind = work.entries.kind[e]
    if kind == _FILTERS:
        at = counts[_FILTER] - k.filter_bursts
        return times.filter_free[at] + k.credit if at >= 0 else np.int64(0)
    if kind == _ROWS or kind == _OPERAND:
        at = counts[_ROW] - k.row_bursts
        free = times.row_free[at] + k.credit if at >= 0 else np.int64(0)
        return max(free, ready)
    if kind == _RESIDUAL:
        at = counts[_RESIDUALS] - k.residual_bursts
        if at < 0:
            return np.int64(0)
        if times.residual_free[at] < 0:
            return np.int64(-1)
        return times.residual_free[at] + k.credit
    if kind == _WRITE:
        return _make_burst(e, offset, length, work)
    return np.int64(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _make_burst(e, offset, length, work):
    """Let the vector unit make a write burst: P; return the cycle of its request; -1: never."""
    k, counts, times, layers = work.constants, work.counts, work.times, work.layers
    layer, tile = work.entries.layer[e], work.entries.tile[e]
    w = counts[_MADE]
    begun = times.done[tile] + k.encode
    if w > 0:
        begun = max(begun, times.made[w - 1])
    if w >= k.write_bursts:
        begun = max(begun, times.responded[w - k.write_bursts] + k.credit)
    times.stalled[w, :] = begun
    if layers.residual[layer]:
        counts[_USED] += length
        v = counts[_GIVEN]
        while v < counts[_RESIDUALS] and times.residual_end[v] < counts[_USED]:
            v += 1
        if v == counts[_RESIDUALS]:
            return np.int64(-1)
        there = times.residual_there[v] + k.fill
        times.stalled[w, 1] = max(begun, there)
        begun = max(begun, there)
    # A write's runs, one a pixel or one in all, begin with a pixel.
    channels, stride = layers.write_channels[layer], layers.pixel_stride[layer]
    place = offset % stride if stride != channels else offset
    pieces = _pieces(place, length, channels, channels, channels, k.vector_lanes)
    made = begun + pieces * layers.taps[layer]
    times.made[w] = made
    if layers.residual[layer]:
        v = counts[_GIVEN]
        while v < counts[_RESIDUALS] and times.residual_end[v] <= counts[_USED]:
            times.residual_free[v] = made
            v += 1
        counts[_GIVEN] = v
    counts[_MADE] = w + 1
    return made + k.vector


@njit(cache=True, nogil=True, error_model="numpy")
def _pieces(offset, length, pixel, group, chunk, piece):
    """Count pieces: they end with chunks of groups of pixels, and after ``piece`` bytes."""
    count, at, end = 0, offset, offset + length
    while at < end:
        in_group = at % pixel % group
        chunk_end = min(group, (in_group // chunk + 1) * chunk)
        at += min(end - at, piece, chunk_end - in_group)
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _receive(e, offset, length, there, ready, work):
    """Hand a burst to its FIFO, where it has one."""
    k, counts, times = work.constants, work.counts, work.times
    kind, layer = work.entries.kind[e], work.entries.layer[e]
    if kind == _FILTERS:
        f = counts[_FILTER]
        begun = there + k.fill
        if f > 0:
            begun = max(begun, times.filter_free[f - 1])
        if offset == 0:
            begun = max(begun, ready)
        times.filter_free[f] = begun + length // k.filter_bus_bytes
        counts[_FILTER] = f + 1
    elif kind == _ROWS or kind == _OPERAND:
        r = counts[_ROW]
        begun = there + k.fill
        if r > 0:
            begun = max(begun, times.row_free[r - 1])
        channels = work.layers.channels[layer]
        group, chunk = work.layers.group_channels[layer], k.chunk
        if kind == _OPERAND:
            group, chunk = channels, channels
        times.row_free[r] = begun + _pieces(offset, length, channels, group, chunk, k.bus_bytes)
        counts[_ROW] = r + 1
    elif kind == _RESIDUAL:
        v = counts[_RESIDUALS]
        counts[_RESIDUAL_BYTES] += length
        times.residual_there[v] = there
        times.residual_end[v] = counts[_RESIDUAL_BYTES]
        counts[_RESIDUALS] = v + 1
    elif kind == _WRITE:
        times.responded[counts[_MADE] - 1] = there


@njit(cache=True, nogil=True, error_model="numpy")
def _end_entry(e, served, there, work):
    """Note what an entry has done; ``there`` is A of its last burst, -1 where it has none."""
    k, counts, times, entries = work.constants, work.counts, work.times, work.entries
    kind, layer, tile = entries.kind[e], entries.layer[e], entries.tile[e]
    if kind == _LIST:
        times.block[entries.block[e]] = there
    elif kind == _DESCRIPTOR or kind == _TABLES:
        times.layer[layer] = there
    elif kind == _TILE:
        times.record[tile] = there
    elif kind == _FILTERS:
        _run_pass(tile, counts[_PASS], times.filter_free[counts[_FILTER] - 1], work)
        counts[_PASS] += 1
        if counts[_PASS] == work.tiles.loads[tile]:
            _end_job(tile, work)
    elif (kind == _ROWS or kind == _OPERAND) and entries.last[e]:
        free = times.row_free[counts[_ROW] - 1] if counts[_ROW] > 0 else np.int64(0)
        times.ready[tile] = (free if there >= 0 else max(free, served)) + k.parse
    elif kind == _WRITE:
        written = counts[_WRITTEN]
        done = there if there >= 0 else served
        times.written[written] = max(done, times.written[written - 1]) if written > 0 else done
        counts[_WRITTEN] = written + 1
        if entries.last[e]:
            made = times.made[counts[_MADE] - 1] if counts[_MADE] > 0 else np.int64(0)
            if counts[_MADE] == counts[_TILE_MADE]:
                made = max(made, times.done[tile] + k.encode)
            counts[_TILE_MADE] = counts[_MADE]
            times.half[tile] = made


@njit(cache=True, nogil=True, error_model="numpy")
def _half_free(tile, work):
    """Return the cycle from which a tile's assembly half may be filled; -1 where never."""
    if tile < 2:
        return np.int64(0)
    if work.times.half[tile - 2] < 0:
        return np.int64(-1)
    return work.times.half[tile - 2] + work.constants.half


@njit(cache=True, nogil=True, error_model="numpy")
def _records_there(tile, work):
    """Return d of a tile; -1 where it is not known."""
    record, layer = work.times.record[tile], work.times.layer[work.tiles.layer[tile]]
    if record < 0 or layer < 0:
        return np.int64(-1)
    return max(record, layer) + work.constants.fill


@njit(cache=True, nogil=True, error_model="numpy")
def _finish_tiles(count, work):
    """Let tiles that load no filters be done, up to the one that ``count`` counts."""
    times, counts, k = work.times, work.counts, work.constants
    while counts[_DONE] < count:
        tile = counts[_DONE]
        if work.tiles.loads[tile] > 0:
            return
        there, ready, free = _records_there(tile, work), times.ready[tile], _half_free(tile, work)
        if there < 0 or ready < 0 or free < 0:
            return
        if work.tiles.loads[tile] == 0:
            if not _start_job(tile, work):
                return
            passes = work.tensors.places[work.tiles.layer[tile], 5]
            for index in range(passes):
                _run_pass(tile, index, times.start[tile], work)
            _end_job(tile, work)
            continue
        before = times.done[tile - 1] if tile > 0 else np.int64(0)
        times.done[tile] = max(before, ready, there)
        _count_waits(tile, before, times.done[tile], there, free, k.parse, work)
        counts[_DONE] = tile + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _start_job(tile, work):
    """Start a tile's job; say whether it can start."""
    k, times, counts = work.constants, work.times, work.counts
    there, free = _records_there(tile, work), _half_free(tile, work)
    if counts[_DONE] != tile or there < 0 or free < 0 or times.ready[tile] < 0:
        return False
    before = times.done[tile - 1] if tile > 0 else np.int64(0)
    setup = max(there, before) + (k.layer if work.tiles.begins[tile] else k.tile)
    start = max(setup, times.ready[tile], free) + k.job
    times.start[tile] = start
    _count_waits(tile, before, start, there, free, times.ready[tile], work)
    begin_job(start, k.cluster_start, k.release, work.clusters)
    counts[_PASS] = 0
    counts[_ARRIVED] = start
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _load_ready(tile, work):
    """Return when a tile's next load may begin, as far as its units go; -1 where never."""
    k, counts = work.constants, work.counts
    _finish_tiles(tile, work)
    if counts[_DONE] != tile:
        return np.int64(-1)
    if work.times.start[tile] < 0 and not _start_job(tile, work):
        return np.int64(-1)
    index = counts[_PASS]
    if index < k.filter_buffers:
        return work.times.start[tile]
    return work.released[index - k.filter_buffers]


@njit(cache=True, nogil=True, error_model="numpy")
def _run_pass(tile, index, loaded, work):
    """Run all clusters of a job through a pass whose filters are there at ``loaded``."""
    k, counts, clusters = work.constants, work.counts, work.clusters
    layer = convolution_of(work.tensors, work.tiles.layer[tile])
    latency = (k.release, k.load, k.deliver, k.collector_free)
    work.times.counters[tile, 1] += max(0, loaded + k.load - counts[_ARRIVED])
    first, pixels = work.tiles.first[tile], work.tiles.pixels[tile]
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
    counts[_ARRIVED] = arrived


@njit(cache=True, nogil=True, error_model="numpy")
def _end_job(tile, work):
    k, times, clusters = work.constants, work.times, work.clusters
    drained = np.int64(0)
    for m in range(min(k.clusters, work.tiles.pixels[tile])):
        drained = max(drained, clusters.scalars[m, 3])
    times.done[tile] = drained + k.tail
    run = times.done[tile] - times.start[tile]
    times.counters[tile, 0] = run - times.counters[tile, 1]
    work.counts[_DONE] = tile + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _count_waits(tile, before, end, there, free, ready, work):
    """Split the time before a job, or of a vector tile, by what it waits for."""
    counters = work.times.counters[tile]
    described = min(max(before, there), end)
    counters[2] += described - before
    if work.tiles.loads[tile] < 0:
        halved = min(max(described, free), end)
        work.times.held[tile, 0], work.times.held[tile, 1] = described, halved
        counters[3] += end - halved
        return
    parsed = min(max(described, ready), end)
    halved = min(max(parsed, free), end)
    counters[3] += parsed - described
    work.times.held[tile, 0], work.times.held[tile, 1] = parsed, halved
    counters[6] += end - halved


@njit(cache=True, nogil=True, error_model="numpy")
def _count_held(cycles, work):
    """Split the waits for the vector unit: for its residual, or else for the write."""
    times, tiles = work.times, len(work.tiles.layer)
    for tile in range(tiles):
        _count_write(tile, times.held[tile, 0], times.held[tile, 1], work)
    _count_write(tiles - 1, times.done[tiles - 1], cycles, work)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_write(tile, begin, end, work):
    counters, stalled, made = work.times.counters[tile], work.times.stalled, work.times.made
    waited = np.int64(0)
    # The vector unit's waits do not overlap, and each ends with its burst at the latest.
    w = np.searchsorted(made, begin, side="right")
    while w < len(made) and stalled[w, 0] < end:
        waited += max(0, min(end, stalled[w, 1]) - max(begin, stalled[w, 0]))
        w += 1
    counters[5] += waited
    counters[4] += end - begin - waited
