"""The recurrences of ``docs/chip.md``, *Timing*, evaluated along the transfer list.

Everything that an entry waits for is made by entries before it, so one walk in list order knows
every time when it is asked for; one that is not known then is a list that would hang the engine.
Symbols are those of that page.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from accel.chip.jobs import begin_job, convolution_of, run_pass
from accel.chip.memory import serve_burst
from golden.chip.formats import Kind

__all__ = ["COUNTS", "count_bursts", "walk_list"]

_LIST, _DESCRIPTOR, _TABLES, _TILE = Kind.LIST, Kind.DESCRIPTOR, Kind.TABLES, Kind.TILE
_FILTERS, _ROWS, _OPERAND = Kind.FILTERS, Kind.ROWS, Kind.OPERAND
_RESIDUAL, _WRITE = Kind.RESIDUAL, Kind.WRITE

# What the walk remembers: places of ``Work.counts``.
_CURSOR, _BURST, _DONE, _WRITTEN, _FILTER, _ROW, _MADE, _RESIDUALS, _PASS = range(9)
_USED, _GIVEN, _FILTERED, _ARRIVED, _LATEST, _RESIDUAL_BYTES, _TILE_MADE, _BEGINS = range(9, 17)
#: Length of ``Work.counts``.
COUNTS = 17


@njit(cache=True, nogil=True, error_model="numpy")
def count_bursts(entries, layers, burst_bytes):
    """Count the bursts of each kind: ndarray of int64, axis kind."""
    counts = np.zeros(9, dtype=np.int64)
    for e in range(len(entries)):
        runs, run, stride = _runs(e, entries, layers)
        for number in range(runs):
            address = entries[e].address + number * stride
            if run > 0:
                last = address + run - 1
                counts[entries[e].kind] += last // burst_bytes - address // burst_bytes + 1
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def walk_list(work, tensors, clusters):
    """Fill the events of ``work``; return the network's cycles, -1 where it hangs."""
    k, counts, entries = work.constants[0], work.counts, work.entries
    counts[_CURSOR] = k.start - k.entry
    counts[_BEGINS] = 1
    for e in range(len(entries) + 1):
        # Tiles that load no filters run when something asks for them; at last, all of them.
        needed = _tiles_needed(e, entries) if e < len(entries) else len(work.tiles)
        while counts[_DONE] < needed:
            tile = counts[_DONE]
            passes = _advance(tile, work)
            if passes < 0:
                return np.int64(-1)
            for index in range(passes):
                _run_pass(tile, index, work.tiles[tile].start, work, tensors, clusters)
            if passes > 0:
                _end_job(tile, work, clusters)
        if e == len(entries):
            break
        served = _served(e, work)
        if served < 0 or not _serve(e, served, work):
            return np.int64(-1)
        if entries[e].kind == _FILTERS and entries[e].last:
            tile = entries[e].tile
            loaded = work.filters[counts[_FILTER] - 1].used
            _run_pass(tile, counts[_PASS], loaded, work, tensors, clusters)
            counts[_PASS] += 1
            if counts[_PASS] == work.tiles[tile].loads:
                _end_job(tile, work, clusters)
    cycles = max(counts[_LATEST], counts[_CURSOR]) + k.end
    _count_held(cycles, work)
    return cycles


@njit(cache=True, nogil=True, error_model="numpy")
def _tiles_needed(e, entries):
    """Count the tiles that must be done for an entry."""
    needed, kind = entries[e].tiles, entries[e].kind
    if kind == _FILTERS and entries[e].last:
        needed = max(needed, entries[e].tile)
    elif kind == _WRITE:
        needed = max(needed, entries[e].tile + 1)
    return needed


@njit(cache=True, nogil=True, error_model="numpy")
def _runs(e, entries, layers):
    """Return how many runs of bytes an entry has, their length, and from one to the next."""
    length = entries[e].length
    if entries[e].kind != _WRITE:
        return np.int64(1), length, np.int64(0)
    layer = entries[e].layer
    channels, stride = layers[layer].write_channels, layers[layer].pixel_stride
    if stride == channels:
        return np.int64(1), length * channels, np.int64(0)
    return length, channels, stride


@njit(cache=True, nogil=True, error_model="numpy")
def _served(e, work):
    """Return S of an entry; -1 where what it waits for never happens."""
    k = work.constants[0]
    served = work.counts[_CURSOR] + k.entry
    if work.entries[e].kind == _LIST:
        return served
    served = max(served, work.blocks[work.entries[e].block] + k.list)
    tiles, writes = work.entries[e].tiles, work.entries[e].writes
    if tiles > 0:
        served = max(served, work.tiles[tiles - 1].done + k.count)
    if writes > 0:
        if work.counts[_WRITTEN] < writes:
            return np.int64(-1)
        served = max(served, work.written[writes - 1] + k.count)
    return served


@njit(cache=True, nogil=True, error_model="numpy")
def _serve(e, served, work):
    """Serve an entry from its first burst to its last; say whether it comes to an end."""
    k, entries = work.constants[0], work.entries
    kind, tile = entries[e].kind, entries[e].tile
    ready = np.int64(0)
    if kind == _FILTERS:
        ready = np.int64(-1)
        if entries[e].last:
            ready = _load_ready(tile, work)
            if ready < 0:
                return False
            _use_filters(ready, work)
    elif kind == _OPERAND:
        free = _half_free(tile, work.tiles, work.constants[0])
        if free < 0:
            return False
        ready = free
    runs, run, stride = _runs(e, entries, work.layers)
    base, there = entries[e].address, np.int64(-1)
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
    k, counts, bursts = work.constants[0], work.counts, work.bursts
    i = counts[_BURST]
    asked = cursor
    if i >= k.outstanding:
        asked = max(asked, bursts[i - k.outstanding].there + k.credit)
    there = serve_burst(
        asked, address, length, np.int64(kind == _WRITE), k.bus_bytes, work.memory,
        work.memory_state,
    )  # fmt: skip
    bursts[i].kind, bursts[i].address, bursts[i].length = kind, address, length
    bursts[i].asked, bursts[i].there = asked, there
    counts[_BURST] = i + 1
    counts[_CURSOR] = asked
    counts[_LATEST] = max(counts[_LATEST], there)
    return there


@njit(cache=True, nogil=True, error_model="numpy")
def _place_free(e, offset, length, ready, work):
    """Return the cycle from which a burst may be asked for as far as its places go; -1: never."""
    k, counts = work.constants[0], work.counts
    kind = work.entries[e].kind
    if kind == _FILTERS:
        at = counts[_FILTER] - k.filter_bursts
        if at < 0:
            return np.int64(0)
        # Filters whose job can't begin yet are not used up.
        return work.filters[at].used + k.credit if at < counts[_FILTERED] else np.int64(-1)
    if kind == _ROWS or kind == _OPERAND:
        at = counts[_ROW] - k.row_bursts
        free = work.rows[at] + k.credit if at >= 0 else np.int64(0)
        return max(free, ready)
    if kind == _RESIDUAL:
        at = counts[_RESIDUALS] - k.residual_bursts
        if at < 0:
            return np.int64(0)
        if work.residuals[at].used < 0:
            return np.int64(-1)
        return work.residuals[at].used + k.credit
    if kind == _WRITE:
        return _make_burst(e, offset, length, work)
    return np.int64(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _make_burst(e, offset, length, work):
    """Let the vector unit make a write burst: P; return the cycle of its request; -1: never."""
    k, counts, layers = work.constants[0], work.counts, work.layers
    layer, tile = work.entries[e].layer, work.entries[e].tile
    w = counts[_MADE]
    begun = work.tiles[tile].done + k.encode
    if w > 0:
        begun = max(begun, work.writes[w - 1].made)
    if w >= k.write_bursts:
        begun = max(begun, work.writes[w - k.write_bursts].responded + k.credit)
    work.writes[w].stalled_from = begun
    work.writes[w].stalled_to = begun
    if layers[layer].residual:
        counts[_USED] += length
        v = counts[_GIVEN]
        while v < counts[_RESIDUALS] and work.residuals[v].end < counts[_USED]:
            v += 1
        if v == counts[_RESIDUALS]:
            return np.int64(-1)
        there = work.residuals[v].there + k.fill
        work.writes[w].stalled_to = max(begun, there)
        begun = max(begun, there)
    # A write's runs, one a pixel or one in all, begin with a pixel.
    channels, stride = layers[layer].write_channels, layers[layer].pixel_stride
    place = offset % stride if stride != channels else offset
    pieces = _pieces(place, length, channels, channels, channels, k.vector_lanes)
    made = begun + pieces * layers[layer].taps
    work.writes[w].made = made
    if layers[layer].residual:
        v = counts[_GIVEN]
        while v < counts[_RESIDUALS] and work.residuals[v].end <= counts[_USED]:
            work.residuals[v].used = made
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
    k, counts = work.constants[0], work.counts
    kind, layer = work.entries[e].kind, work.entries[e].layer
    if kind == _FILTERS:
        f = counts[_FILTER]
        work.filters[f].there = there
        work.filters[f].beats = length // k.filter_bus_bytes
        work.filters[f].begins = counts[_BEGINS]
        counts[_BEGINS] = 0
        counts[_FILTER] = f + 1
        if ready >= 0:
            _use_filters(ready, work)
    elif kind == _ROWS or kind == _OPERAND:
        r = counts[_ROW]
        begun = there + k.fill
        if r > 0:
            begun = max(begun, work.rows[r - 1])
        channels = work.layers[layer].channels
        group, chunk = work.layers[layer].group_channels, k.chunk
        if kind == _OPERAND:
            group, chunk = channels, channels
        work.rows[r] = begun + _pieces(offset, length, channels, group, chunk, k.bus_bytes)
        counts[_ROW] = r + 1
    elif kind == _RESIDUAL:
        v = counts[_RESIDUALS]
        counts[_RESIDUAL_BYTES] += length
        work.residuals[v].there = there
        work.residuals[v].end = counts[_RESIDUAL_BYTES]
        counts[_RESIDUALS] = v + 1
    elif kind == _WRITE:
        work.writes[counts[_MADE] - 1].responded = there


@njit(cache=True, nogil=True, error_model="numpy")
def _use_filters(ready, work):
    """Let the units take the filter bursts that are there: X; their load may begin at ``ready``."""
    k, counts, filters = work.constants[0], work.counts, work.filters
    for f in range(counts[_FILTERED], counts[_FILTER]):
        begun = filters[f].there + k.fill
        if f > 0:
            begun = max(begun, filters[f - 1].used)
        if filters[f].begins:
            begun = max(begun, ready)
        filters[f].used = begun + filters[f].beats
    counts[_FILTERED] = counts[_FILTER]


@njit(cache=True, nogil=True, error_model="numpy")
def _end_entry(e, served, there, work):
    """Note what an entry has done; ``there`` is A of its last burst, -1 where it has none."""
    k, counts, entries = work.constants[0], work.counts, work.entries
    kind, layer, tile = entries[e].kind, entries[e].layer, entries[e].tile
    if kind == _LIST:
        work.blocks[entries[e].block] = there
    elif kind == _DESCRIPTOR or kind == _TABLES:
        work.layers[layer].there = there
    elif kind == _TILE:
        work.tiles[tile].record = there
    elif kind == _FILTERS and entries[e].last:
        counts[_BEGINS] = 1
    elif (kind == _ROWS or kind == _OPERAND) and entries[e].last:
        free = work.rows[counts[_ROW] - 1] if counts[_ROW] > 0 else np.int64(0)
        work.tiles[tile].ready = (free if there >= 0 else max(free, served)) + k.parse
    elif kind == _WRITE:
        written = counts[_WRITTEN]
        done = there if there >= 0 else served
        work.written[written] = max(done, work.written[written - 1]) if written > 0 else done
        counts[_WRITTEN] = written + 1
        if entries[e].last:
            made = work.writes[counts[_MADE] - 1].made if counts[_MADE] > 0 else np.int64(0)
            if counts[_MADE] == counts[_TILE_MADE]:
                made = max(made, work.tiles[tile].done + k.encode)
            counts[_TILE_MADE] = counts[_MADE]
            work.tiles[tile].half = made


@njit(cache=True, nogil=True, error_model="numpy")
def _half_free(tile, tiles, k):
    """Return the cycle from which a tile's assembly half may be filled; -1 where never."""
    if tile < 2:
        return np.int64(0)
    if tiles[tile - 2].half < 0:
        return np.int64(-1)
    return tiles[tile - 2].half + k.half


@njit(cache=True, nogil=True, error_model="numpy")
def _records_there(tile, tiles, layers, k):
    """Return d of a tile; -1 where it is not known."""
    record, layer = tiles[tile].record, layers[tiles[tile].layer].there
    if record < 0 or layer < 0:
        return np.int64(-1)
    return max(record, layer) + k.fill


@njit(cache=True, nogil=True, error_model="numpy")
def _advance(tile, work):
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
        _half_free(tile, work.tiles, work.constants[0]),
    )
    if mine.loads > 0 or there < 0 or mine.ready < 0 or free < 0:
        return np.int64(-1)
    if mine.loads == 0:
        return work.layers[mine.layer].passes if _start_job(tile, work) else np.int64(-1)
    before = work.tiles[tile - 1].done if tile > 0 else np.int64(0)
    work.tiles[tile].done = max(before, mine.ready, there)
    _count_waits(tile, before, work.tiles[tile].done, there, free, np.int64(0), work)
    work.counts[_DONE] = tile + 1
    return np.int64(0)


@njit(cache=True, nogil=True, error_model="numpy")
def _start_job(tile, work):
    """Start a tile's job; say whether it can start."""
    k, counts = work.constants[0], work.counts
    there, free = (
        _records_there(tile, work.tiles, work.layers, work.constants[0]),
        _half_free(tile, work.tiles, work.constants[0]),
    )
    if counts[_DONE] != tile or there < 0 or free < 0 or work.tiles[tile].ready < 0:
        return False
    before = work.tiles[tile - 1].done if tile > 0 else np.int64(0)
    setup = max(there, before) + (k.layer if work.tiles[tile].begins else k.tile)
    start = max(setup, work.tiles[tile].ready, free) + k.job
    work.tiles[tile].start = start
    _count_waits(tile, before, start, there, free, work.tiles[tile].ready, work)
    counts[_PASS] = 0
    counts[_ARRIVED] = start
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _load_ready(tile, work):
    """Return when a tile's next load may begin, as far as its units go; -1 where never."""
    k, counts = work.constants[0], work.counts
    if counts[_DONE] != tile:
        return np.int64(-1)
    if work.tiles[tile].start < 0 and not _start_job(tile, work):
        return np.int64(-1)
    index = counts[_PASS]
    if index < k.filter_buffers:
        return work.tiles[tile].start
    return work.released[index - k.filter_buffers]


@njit(cache=True, nogil=True, error_model="numpy")
def _run_pass(tile, index, loaded, work, tensors, clusters):
    """Run all clusters of a job through a pass whose filters are there at ``loaded``."""
    k, counts = work.constants[0], work.counts
    if index == 0:
        begin_job(work.tiles[tile].start, k.cluster_start, k.release, clusters)
    layer = convolution_of(tensors, work.tiles[tile].layer)
    latency = (k.release, k.load, k.deliver, k.collector_free)
    work.counters[tile, 1] += max(0, loaded + k.load - counts[_ARRIVED])
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
    counts[_ARRIVED] = arrived


@njit(cache=True, nogil=True, error_model="numpy")
def _end_job(tile, work, clusters):
    k = work.constants[0]
    drained = np.int64(0)
    for m in range(min(k.clusters, work.tiles[tile].pixels)):
        drained = max(drained, clusters.scalars[m, 3])
    work.tiles[tile].done = drained + k.tail
    run = work.tiles[tile].done - work.tiles[tile].start
    work.counters[tile, 0] = run - work.counters[tile, 1]
    work.counts[_DONE] = tile + 1


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _count_held(cycles, work):
    """Split the waits for the vector unit: for its residual, or else for the write."""
    tiles = len(work.tiles)
    for tile in range(tiles):
        _count_write(
            work.tiles[tile].held_from, work.tiles[tile].held_to, work.writes, work.counters[tile]
        )
    _count_write(work.tiles[tiles - 1].done, cycles, work.writes, work.counters[tiles - 1])


@njit(cache=True, nogil=True, error_model="numpy")
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
