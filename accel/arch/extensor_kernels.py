"""Numba kernels of ExTensor: fibres as bit masks, intersections, the max-plus recurrence.

Symbols are those of ``docs/extensor.md``. A tile of a fibre is ``words`` 64-bit words (fewer bits
where a tile is smaller); tiles without a non-zero are left out. Kernels know nothing of layers:
rows and columns are numbered through all groups, and a list names the rows that meet a column.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numba import extending, njit, types
from numpy.typing import NDArray

from accel.vectors import element

__all__ = [
    "SUMS",
    "Fibres",
    "Meetings",
    "Timing",
    "compress",
    "gather_windows",
    "intersect_masks",
    "run_elements",
]

#: Columns of what ``run_elements`` counts for each processing element.
SUMS = (
    "cycles",
    "pairs",
    "tile_tokens",
    "dots",
    "level1_decisions",
    "load_beats",
    "bubble_cycles",
    "wait_memory_cycles",
    "wait_broadcast_cycles",
    "row_bytes",
    "column_bytes",
)
(
    _CYCLES, _PAIRS, _TOKENS, _DOTS, _LEVEL1, _BEATS, _BUBBLE, _MEMORY, _BROADCAST, _ROW_BYTES,
    _COLUMN_BYTES,
) = range(len(SUMS))  # fmt: skip

_ONE = np.uint64(1)

#: Callers don't give the first parameter, the typing context, which type checkers can't know.
_intrinsic = cast(Any, extending.intrinsic)


@_intrinsic
def _ones(typingctx, word):
    """Count the ones of a uint64."""
    del typingctx, word

    def generate(context, builder, signature, arguments):
        del context, signature
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


class Fibres(NamedTuple):
    """Fibres one after another, each its tiles that have a non-zero, in order.

    Parameters
    ----------
    start : ndarray of int64, axis fibre (one more than there are)
        First tile of each fibre.
    tile : ndarray of int32, axis tile
        Coordinate.
    masks : ndarray of uint64, axes tile, word
        Bit i of word w is coordinate ``64 w + i`` within the tile.
    """

    start: NDArray[np.int64]
    tile: NDArray[np.int32]
    masks: NDArray[np.uint64]


class Meetings(NamedTuple):
    """Which rows each column meets: ``rows[start[n]:stop[n]]``, rising. Lists may be shared."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    rows: NDArray[np.int64]


class Timing(NamedTuple):
    """Latencies in cycles, and two sizes of the machine."""

    start: int
    load: int
    load_free: int
    match: int
    tail: int
    port_bytes: int
    queue: int


@njit(nogil=True, cache=True, error_model="numpy")
def gather_windows(
    pixels, word_bits, channels, in_size, out_size, kernel_size, strides, pads, windows
):
    """Write the mask of each position's window: its pixels' masks end to end, r, s, c.

    Parameters
    ----------
    pixels : ndarray of uint64, axes group, pixel, word
    word_bits : int
        Bits of a word that are used, here and in ``windows``.
    channels : int
        Bits of a pixel.
    in_size, out_size, kernel_size, strides, pads : tuple of int
        y, x.
    windows : ndarray of uint64, axes group, position, word
        Written; must be zero.
    """
    width = np.uint64(word_bits)
    ones = (~np.uint64(0)) >> np.uint64(64 - word_bits)
    for group in range(pixels.shape[0]):
        for position in range(windows.shape[1]):
            top = position // out_size[1] * strides[0] - pads[0]
            left = position % out_size[1] * strides[1] - pads[1]
            for tap in range(kernel_size[0] * kernel_size[1]):
                y, x = top + tap // kernel_size[1], left + tap % kernel_size[1]
                if not (0 <= y < in_size[0] and 0 <= x < in_size[1]):
                    continue
                first = tap * channels // word_bits
                shift = np.uint64(tap * channels % word_bits)
                for word in range(pixels.shape[2]):
                    bits = pixels[group, y * in_size[1] + x, word]
                    windows[group, position, first + word] |= (bits << shift) & ones
                    # Beyond the window's last word there are no ones.
                    if shift and bits >> (width - shift):
                        windows[group, position, first + word + 1] |= bits >> (width - shift)


@njit(nogil=True, cache=True, error_model="numpy")
def compress(masks):
    """Leave out the tiles that have no non-zero.

    Parameters
    ----------
    masks : ndarray of uint64, axes fibre, tile, word

    Returns
    -------
    start, tile, masks : ndarray
        Of `Fibres`.
    nonzeros : ndarray of int64, axis fibre
    """
    fibres, tiles, words = masks.shape
    start = np.zeros(fibres + 1, dtype=np.int64)
    nonzeros = np.zeros(fibres, dtype=np.int64)
    tile = np.empty(fibres * tiles, dtype=np.int32)
    kept = np.empty((fibres * tiles, words), dtype=np.uint64)
    count = 0
    for fibre in range(fibres):
        for index in range(tiles):
            ones = 0
            for word in range(words):
                kept[count, word] = masks[fibre, index, word]
                ones += _ones(masks[fibre, index, word])
            if ones:
                tile[count] = index
                count += 1
                nonzeros[fibre] += ones
        start[fibre + 1] = count
    return start, tile[:count].copy(), kept[:count].copy(), nonzeros


@njit(error_model="numpy")
def _intersect(first, at_first, second, at_second, words_tag):
    """Return decisions and matches of two tiles that both have a non-zero; ``intersect_masks``.

    A match is a decision, and so is each maximal run of coordinates of one side with none of the
    other's between, but for the run after one side's last. A run is its elements less those that
    follow one of their own kind; what follows is found by an addition, whose carries run across
    the gaps.
    """
    decisions, matches = np.int64(0), np.int64(0)
    carry_first, carry_second = np.uint64(0), np.uint64(0)
    open_end = False
    for word in range(len(words_tag)):
        a = element(first, at_first * len(words_tag) + word)
        b = element(second, at_second * len(words_tag) + word)
        both, apart, union = a & b, a ^ b, a | b
        only_a, only_b, gaps = a & ~b, b & ~a, ~union
        after_a = ((only_a << _ONE) | carry_first) + gaps
        after_b = ((only_b << _ONE) | carry_second) + gaps
        # A carry of the sum and a bit shifted out never come together: one element, one successor.
        carry_first = (only_a >> np.uint64(63)) | np.uint64(after_a < gaps)
        carry_second = (only_b >> np.uint64(63)) | np.uint64(after_b < gaps)
        repeated = (after_a & only_a) | (after_b & only_b)
        decisions += _ones(union) - _ones(repeated)
        matches += _ones(both)
        # The larger of two disjoint masks has the highest bit.
        open_end = apart > both if union else open_end
    return decisions - np.int64(open_end), matches


@njit(nogil=True, cache=True, error_model="numpy")
def intersect_masks(first, second, words_tag):
    """Return decisions and matches of two non-empty masks, arrays of ``len(words_tag)`` uint64."""
    return _intersect(first, 0, second, 0, words_tag)


@njit(error_model="numpy")
def _load(size, port_bytes, free, loaded, sums):
    """Load bytes; return LD."""
    beats = max(1, -(-size // port_bytes))
    sums[_BEATS] += beats
    return max(loaded, free) + beats


@njit(nogil=True, cache=True, error_model="numpy")
def run_elements(
    first, last, items, rows, columns, row_bytes, column_bytes, meetings, timing, words_tag, sums
):
    """Run processing elements ``first`` to ``last - 1`` through their programs.

    Parameters
    ----------
    items : ndarray of int64, axes item, (first row, last row, first column, last column)
        Last ones are not included. Item i is processing element i mod pes's.
    rows, columns : Fibres
    row_bytes : ndarray of int64, axis row (one more than there are)
        Bytes of all rows before.
    column_bytes : ndarray of int64, axis column
    meetings : Meetings
        A column that meets no row of a block is not loaded for it, nor is a block that no column
        of its run meets.
    timing : Timing
    words_tag : tuple, its length in words of a tile
    sums : ndarray of int64, axes pe, counter (``SUMS``)
        Written.
    """
    pes = sums.shape[0]
    queue = np.zeros(timing.queue, dtype=np.int64)
    for pe in range(first, last):
        queue[:] = 0
        slot = 0
        loaded, finished, column_before, two_before = 0, 0, -timing.load_free, -timing.load_free
        decided = timing.start
        item_before = -timing.load_free
        pairs, tokens, dots, decisions, costs, memory, waits = 0, 0, 0, 0, 0, 0, 0
        for index in range(pe, items.shape[0], pes):
            low, high = items[index, 0], items[index, 1]
            rows_loaded = False
            for column in range(items[index, 2], items[index, 3]):
                at, stop = meetings.start[column], meetings.stop[column]
                at += np.searchsorted(meetings.rows[at:stop], low)
                if at == stop or meetings.rows[at] >= high:
                    continue
                if not rows_loaded:
                    rows_loaded = True
                    size = row_bytes[high] - row_bytes[low]
                    free = item_before + timing.load_free
                    loaded = _load(size, timing.port_bytes, free, loaded, sums[pe])
                    sums[pe, _ROW_BYTES] += size
                size = column_bytes[column]
                free = two_before + timing.load_free
                loaded = _load(size, timing.port_bytes, free, loaded, sums[pe])
                sums[pe, _COLUMN_BYTES] += size
                ready = loaded + timing.load
                # The first token begins at S > G, so that its wait for memory is all up to G.
                memory += max(0, ready - finished)
                waits -= max(0, ready - finished)
                decided = max(decided, ready)
                while at < stop and meetings.rows[at] < high:
                    row = meetings.rows[at]
                    at += 1
                    dots += 1
                    a, a_end = rows.start[row], rows.start[row + 1]
                    b, b_end = columns.start[column], columns.start[column + 1]
                    taken = 0
                    while a < a_end and b < b_end:
                        taken += 1
                        tile_a, tile_b = rows.tile[a], columns.tile[b]
                        if tile_a < tile_b:
                            while a < a_end and rows.tile[a] < tile_b:
                                a += 1
                            continue
                        if tile_b < tile_a:
                            while b < b_end and columns.tile[b] < tile_a:
                                b += 1
                            continue
                        cost, matches = _intersect(rows.masks, a, columns.masks, b, words_tag)
                        a += 1
                        b += 1
                        tokens += 1
                        pairs += matches
                        costs += cost
                        decisions += taken
                        decided = max(decided, queue[slot]) + taken
                        begun = max(decided + timing.match, finished)
                        waits += begun - finished
                        finished = begun + cost
                        queue[slot] = begun
                        slot = slot + 1 if slot + 1 < timing.queue else 0
                        taken = 0
                    decisions += taken + 1
                    decided = max(decided, queue[slot]) + taken + 1
                    begun = max(decided + timing.match, finished)
                    waits += begun - finished
                    finished = begun + 1
                    queue[slot] = begun
                    slot = slot + 1 if slot + 1 < timing.queue else 0
                two_before, column_before = column_before, finished
            if rows_loaded:
                item_before = finished
        if dots:
            sums[pe, _CYCLES] = finished + timing.tail
        sums[pe, _PAIRS] = pairs
        sums[pe, _TOKENS] = tokens
        sums[pe, _DOTS] = dots
        sums[pe, _LEVEL1] = decisions
        sums[pe, _BUBBLE] = costs - pairs + dots
        sums[pe, _MEMORY] = memory
        sums[pe, _BROADCAST] = waits
