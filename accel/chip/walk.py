"""The recurrences of ``docs/chip.md``, *Timing*, evaluated along the transfer list.

Everything that an entry waits for is made by entries before it, so one walk in list order knows
every time when it is asked for; one that is not known then is a list that would hang the engine.
Symbols are those of that page.
"""

from __future__ import annotations

import numpy as np

from accel.chip.arrays import (
    BEGINS,
    BURSTS,
    CURSOR,
    DONE,
    FILTERED,
    FILTERS,
    FREE,
    GIVEN,
    LATEST,
    MADE,
    PASS,
    RESIDUAL_BYTES,
    RESIDUALS,
    ROWS,
    TILE_MADE,
    USED,
    WRITTEN,
)
from accel.chip.memory import serve_burst
from accel.chip.sequencer import (
    advance_tile,
    count_held,
    end_job,
    half_free,
    load_ready,
    run_tile_pass,
)
from accel.compiled import helper, njit
from golden.chip.formats import Kind

__all__ = ["count_bursts", "walk_list"]

_LIST, _DESCRIPTOR, _TABLES, _TILE = Kind.LIST, Kind.DESCRIPTOR, Kind.TABLES, Kind.TILE
_FILTERS, _ROWS, _OPERAND = Kind.FILTERS, Kind.ROWS, Kind.OPERAND
_RESIDUAL, _WRITE = Kind.RESIDUAL, Kind.WRITE


@njit
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


@njit
def walk_list(work, tensors, clusters):
    """Fill the events of ``work``; return the network's cycles, -1 where it hangs."""
    k, counts, entries = work.constants[0], work.counts, work.entries
    counts[CURSOR] = k.start - k.entry
    counts[BEGINS] = 1
    for e in range(len(entries) + 1):
        # Tiles that load no filters run when something asks for them; at last, all of them.
        needed = _tiles_needed(e, entries) if e < len(entries) else len(work.tiles)
        while counts[DONE] < needed:
            tile = counts[DONE]
            passes = advance_tile(tile, work)
            if passes < 0:
                return np.int64(-1)
            for index in range(passes):
                run_tile_pass(tile, index, work.tiles[tile].start, work, tensors, clusters)
            if passes > 0:
                end_job(tile, work, clusters)
        if e == len(entries):
            break
        served = _served(e, work)
        if served < 0 or not _serve(e, served, work):
            return np.int64(-1)
        if entries[e].kind == _FILTERS and entries[e].last:
            tile = entries[e].tile
            loaded = work.filters[counts[FILTERS] - 1].used
            run_tile_pass(tile, counts[PASS], loaded, work, tensors, clusters)
            counts[PASS] += 1
            if counts[PASS] == work.tiles[tile].loads:
                end_job(tile, work, clusters)
    cycles = max(counts[LATEST], counts[CURSOR]) + k.end
    count_held(cycles, work)
    return cycles


@helper
def _tiles_needed(e, entries):
    """Count the tiles that must be done for an entry."""
    needed, kind = entries[e].tiles, entries[e].kind
    if kind == _FILTERS and entries[e].last:
        needed = max(needed, entries[e].tile)
    elif kind == _WRITE:
        needed = max(needed, entries[e].tile + 1)
    return needed


@helper
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


@helper
def _served(e, work):
    """Return S of an entry; -1 where what it waits for never happens."""
    k = work.constants[0]
    served = work.counts[CURSOR] + k.entry
    if work.entries[e].kind == _LIST:
        return served
    served = max(served, work.blocks[work.entries[e].block] + k.list)
    tiles, writes = work.entries[e].tiles, work.entries[e].writes
    if tiles > 0:
        served = max(served, work.tiles[tiles - 1].done + k.count)
    if writes > 0:
        if work.counts[WRITTEN] < writes:
            return np.int64(-1)
        served = max(served, work.written[writes - 1] + k.count)
    return served


@helper
def _serve(e, served, work):
    """Serve an entry from its first burst to its last; say whether it comes to an end."""
    k, entries = work.constants[0], work.entries
    kind, tile = entries[e].kind, entries[e].tile
    ready = np.int64(0)
    if kind == _FILTERS:
        ready = np.int64(-1)
        if entries[e].last:
            ready = load_ready(tile, work)
            if ready < 0:
                return False
            _use_filters(ready, work)
    elif kind == _OPERAND:
        free = half_free(tile, work.tiles, work.constants[0])
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
            cursor = work.counts[CURSOR] + 1
            address = stop
    if there < 0:
        work.counts[CURSOR] = served
    _end_entry(e, served, there, work)
    return True


@helper
def _request(kind, address, length, cursor, work):
    """Ask for a burst at ``cursor`` or later; return A."""
    k, counts, bursts = work.constants[0], work.counts, work.bursts
    i = counts[BURSTS]
    asked = cursor
    if i >= k.outstanding:
        asked = max(asked, bursts[i - k.outstanding].there + k.credit)
    there = serve_burst(
        asked, address, length, np.int64(kind == _WRITE), k.bus_bytes, work.memory,
        work.memory_state,
    )  # fmt: skip
    bursts[i].kind, bursts[i].address, bursts[i].length = kind, address, length
    bursts[i].asked, bursts[i].there = asked, there
    counts[BURSTS] = i + 1
    counts[CURSOR] = asked
    counts[LATEST] = max(counts[LATEST], there)
    return there


@helper
def _place_free(e, offset, length, ready, work):
    """Return the cycle from which a burst may be asked for as far as its places go; -1: never."""
    k, counts = work.constants[0], work.counts
    kind = work.entries[e].kind
    if kind == _FILTERS:
        at = counts[FILTERS] - k.filter_bursts
        if at < 0:
            return np.int64(0)
        # Filters whose job can't begin yet are not used up.
        return work.filters[at].used + k.feed + k.credit if at < counts[FILTERED] else np.int64(-1)
    if kind == _ROWS or kind == _OPERAND:
        at = counts[ROWS] - k.row_bursts
        free = work.rows[at] + k.credit if at >= 0 else np.int64(0)
        return max(free, ready)
    if kind == _RESIDUAL:
        at = counts[RESIDUALS] - k.residual_bursts
        if at < 0:
            return np.int64(0)
        if work.residuals[at].used < 0:
            return np.int64(-1)
        return work.residuals[at].used + k.credit
    if kind == _WRITE:
        return _make_burst(e, offset, length, work)
    return np.int64(0)


@helper
def _make_burst(e, offset, length, work):
    """Let the vector unit make a write burst: P; return the cycle of its request; -1: never."""
    k, counts, layers = work.constants[0], work.counts, work.layers
    layer, tile = work.entries[e].layer, work.entries[e].tile
    w = counts[MADE]
    begun = max(work.tiles[tile].done + k.encode, counts[FREE])
    if w >= k.write_bursts:
        begun = max(begun, work.writes[w - k.write_bursts].responded + k.credit)
    work.writes[w].stalled_from = begun
    work.writes[w].stalled_to = begun
    if layers[layer].residual:
        counts[USED] += length
        v = counts[GIVEN]
        while v < counts[RESIDUALS] and work.residuals[v].end < counts[USED]:
            v += 1
        if v == counts[RESIDUALS]:
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
        v = counts[GIVEN]
        while v < counts[RESIDUALS] and work.residuals[v].end <= counts[USED]:
            work.residuals[v].used = made
            v += 1
        counts[GIVEN] = v
    counts[MADE] = w + 1
    counts[FREE] = made
    return made + k.vector


@helper
def _pieces(offset, length, pixel, group, chunk, piece):
    """Count pieces: they end with chunks of groups of pixels, and after ``piece`` bytes."""
    count, at, end = 0, offset, offset + length
    while at < end:
        in_group = at % pixel % group
        chunk_end = min(group, (in_group // chunk + 1) * chunk)
        at += min(end - at, piece, chunk_end - in_group)
        count += 1
    return count


@helper
def _receive(e, offset, length, there, ready, work):
    """Hand a burst to its FIFO, where it has one."""
    k, counts = work.constants[0], work.counts
    kind, layer = work.entries[e].kind, work.entries[e].layer
    if kind == _FILTERS:
        f = counts[FILTERS]
        work.filters[f].there = there
        work.filters[f].beats = length // k.filter_bus_bytes
        work.filters[f].begins = counts[BEGINS]
        counts[BEGINS] = 0
        counts[FILTERS] = f + 1
        if ready >= 0:
            _use_filters(ready, work)
    elif kind == _ROWS or kind == _OPERAND:
        r = counts[ROWS]
        begun = there + k.fill
        if r > 0:
            begun = max(begun, work.rows[r - 1])
        channels = work.layers[layer].channels
        group, chunk = work.layers[layer].group_channels, k.chunk
        if kind == _OPERAND:
            group, chunk = channels, channels
        work.rows[r] = begun + _pieces(offset, length, channels, group, chunk, k.bus_bytes)
        counts[ROWS] = r + 1
    elif kind == _RESIDUAL:
        v = counts[RESIDUALS]
        counts[RESIDUAL_BYTES] += length
        work.residuals[v].there = there
        work.residuals[v].end = counts[RESIDUAL_BYTES]
        counts[RESIDUALS] = v + 1
    elif kind == _WRITE:
        work.writes[counts[MADE] - 1].responded = there


@helper
def _use_filters(ready, work):
    """Let the units take the filter bursts that are there: X; their load may begin at ``ready``."""
    k, counts, filters = work.constants[0], work.counts, work.filters
    for f in range(counts[FILTERED], counts[FILTERS]):
        begun = filters[f].there + k.fill + k.feed
        if f > 0:
            begun = max(begun, filters[f - 1].used)
        if filters[f].begins:
            begun = max(begun, ready)
        filters[f].used = begun + filters[f].beats
    counts[FILTERED] = counts[FILTERS]


@helper
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
        counts[BEGINS] = 1
    elif (kind == _ROWS or kind == _OPERAND) and entries[e].last:
        free = work.rows[counts[ROWS] - 1] if counts[ROWS] > 0 else np.int64(0)
        work.tiles[tile].ready = (free if there >= 0 else max(free, served)) + k.parse
    elif kind == _WRITE:
        written = counts[WRITTEN]
        done = there if there >= 0 else served
        work.written[written] = max(done, work.written[written - 1]) if written > 0 else done
        counts[WRITTEN] = written + 1
        if entries[e].last:
            if counts[MADE] == counts[TILE_MADE]:
                counts[FREE] = max(counts[FREE], work.tiles[tile].done + k.encode) + 1
            counts[TILE_MADE] = counts[MADE]
            work.tiles[tile].half = counts[FREE]
