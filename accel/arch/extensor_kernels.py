"""Numba kernels of ExTensor: fibres as bit masks, intersections, the max-plus recurrence.

Symbols are those of ``docs/extensor.md``. Kernels know nothing of layers: rows and columns are
numbered through all groups, and a list names the rows that meet a column.
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
    "index_tiles",
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
    """Fibres one after another, as masks on both levels; what has no non-zero is left out.

    Parameters
    ----------
    start : ndarray of int64, axis fibre (one more than there are)
        First word of each fibre: a word is 64 tile coordinates.
    word : ndarray of int64, axis word
        Tile coordinate // 64.
    tiles : ndarray of uint64, axis word
        Bit i is tile ``64 word + i``.
    first : ndarray of int64, axis word
        First of its tiles in ``masks``.
    masks : ndarray of uint64, axes tile, word of a tile
        Bit i of word w is coordinate ``64 w + i`` within the tile.
    """

    start: NDArray[np.int64]
    word: NDArray[np.int64]
    tiles: NDArray[np.uint64]
    first: NDArray[np.int64]
    masks: NDArray[np.uint64]


class Meetings(NamedTuple):
    """Which rows each column meets: ``rows[start[n]:stop[n]]``, rising. Lists may be shared."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    rows: NDArray[np.int64]


class Timing(NamedTuple):
    """Latencies in cycles, and two sizes of the machine."""

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
    start : ndarray of int64, axis fibre (one more than there are)
        First tile of each fibre.
    tile : ndarray of int64, axis tile
        Coordinate.
    masks : ndarray of uint64, axes tile, word
    """
    fibres, tiles, words = masks.shape
    start = np.zeros(fibres + 1, dtype=np.int64)
    tile = np.empty(fibres * tiles, dtype=np.int64)
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
        start[fibre + 1] = count
    return start, tile[:count].copy(), kept[:count].copy()


@njit(nogil=True, cache=True, error_model="numpy")
def index_tiles(start, tile):
    """Make masks of tile coordinates: ``start, word, tiles, first`` of `Fibres`.

    Parameters
    ----------
    start, tile : ndarray of int64
        As ``compress`` returns them.
    """
    starts = np.zeros(len(start), dtype=np.int64)
    word = np.empty(len(tile), dtype=np.int64)
    tiles = np.zeros(len(tile), dtype=np.uint64)
    first = np.empty(len(tile), dtype=np.int64)
    count = 0
    for fibre in range(len(start) - 1):
        last = -1
        for at in range(start[fibre], start[fibre + 1]):
            if tile[at] // 64 != last:
                last = tile[at] // 64
                word[count] = last
                first[count] = at
                count += 1
            tiles[count - 1] |= _ONE << np.uint64(tile[at] % 64)
        starts[fibre + 1] = count
    return starts, word[:count].copy(), tiles[:count].copy(), first[:count].copy()


@njit(error_model="numpy", forceinline=True)
def _decide(a, b, carry_a, carry_b):
    """Find the decisions on 64 coordinates of two lists, but for the end of the lists.

    A match is a decision, and so is each maximal run of coordinates of one side with none of the
    other's between: the run's first. The others follow one of their own kind in the union; what
    follows is found by an addition, whose carries run across the gaps.

    Parameters
    ----------
    a, b : uint64
        Masks of coordinates.
    carry_a, carry_b : uint64
        1 where the last coordinate before was of that side only.

    Returns
    -------
    decisions : uint64
        Mask of coordinates.
    carry_a, carry_b : uint64
    """
    only_a, only_b, union = a & ~b, b & ~a, a | b
    gaps = ~union
    after_a = ((only_a << _ONE) | carry_a) + gaps
    after_b = ((only_b << _ONE) | carry_b) + gaps
    # A carry of the sum and a bit shifted out never come together: one element, one successor.
    carry_a = (only_a >> np.uint64(63)) | np.uint64(after_a < gaps)
    carry_b = (only_b >> np.uint64(63)) | np.uint64(after_b < gaps)
    return union & ~((after_a & only_a) | (after_b & only_b)), carry_a, carry_b


@njit(error_model="numpy", forceinline=True)
def _intersect(first, at_first, second, at_second, words_tag):
    """Return decisions and matches of two tiles that both have a non-zero; ``intersect_masks``."""
    decisions, matches = np.int64(0), np.int64(0)
    carry_a, carry_b = np.uint64(0), np.uint64(0)
    for word in range(len(words_tag)):
        a = element(first, at_first * len(words_tag) + word)
        b = element(second, at_second * len(words_tag) + word)
        found, carry_a, carry_b = _decide(a, b, carry_a, carry_b)
        decisions += _ones(found)
        matches += _ones(a & b)
    # After the last coordinate of one side there is nothing to decide: one run too many.
    return decisions - np.int64(carry_a | carry_b), matches


@njit(nogil=True, cache=True, error_model="numpy")
def intersect_masks(first, second, words_tag):
    """Return decisions and matches of two non-empty masks, arrays of ``len(words_tag)`` uint64."""
    return _intersect(first, 0, second, 0, words_tag)


@njit(error_model="numpy", forceinline=True)
def _token(taken, cost, times, queue, match):
    """Take a token through both levels; times are T, F, waits, and the place in the queue."""
    decided, finished, waits, slot = times
    decided = max(decided, queue[slot]) + taken
    begun = max(decided + match, finished)
    queue[slot] = begun
    waits += begun - finished
    return decided, begun + cost, waits, (slot + 1 if slot + 1 < len(queue) else 0)


@njit(error_model="numpy", forceinline=True)
def _dot(rows, row, columns, column, words_tag, times, queue, match):
    """Return the times after a dot; its tile tokens, pairs, level 0 and level 1 decisions."""
    a, a_end = rows.start[row], rows.start[row + 1]
    b, b_end = columns.start[column], columns.start[column + 1]
    carry_a, carry_b = np.uint64(0), np.uint64(0)
    decided, before, tokens, pairs, costs = 0, 0, 0, 0, 0
    while a < a_end and b < b_end:
        word_a, word_b = rows.word[a], columns.word[b]
        tiles_a = rows.tiles[a] if word_a <= word_b else np.uint64(0)
        tiles_b = columns.tiles[b] if word_b <= word_a else np.uint64(0)
        found, carry_a, carry_b = _decide(tiles_a, tiles_b, carry_a, carry_b)
        both = tiles_a & tiles_b
        while both:
            below = (both - _ONE) & ~both
            both &= both - _ONE
            at_a = rows.first[a] + _ones(tiles_a & below)
            at_b = columns.first[b] + _ones(tiles_b & below)
            cost, matches = _intersect(rows.masks, at_a, columns.masks, at_b, words_tag)
            # The match itself is a decision.
            upto = decided + _ones(found & below) + 1
            times = _token(upto - before, cost, times, queue, match)
            before = upto
            tokens += 1
            pairs += matches
            costs += cost
        decided += _ones(found)
        a += word_a <= word_b
        b += word_b <= word_a
    # A run after the last coordinate of the other side is not decided on.
    if (carry_a and b == b_end) or (carry_b and a == a_end):
        decided -= 1
    times = _token(decided - before + 1, 1, times, queue, match)
    return times, tokens, pairs, costs, decided + 1


@njit(error_model="numpy")
def _load(size, port_bytes, free, loaded, sums):
    """Load whole beats; return LD."""
    beats = size // port_bytes
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
        times = (0, 0, 0, 0)
        loaded, memory = 0, 0
        # F of last tokens; what there is none of frees its buffer at 0.
        item_before = column_before = two_before = -timing.load_free
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
                # The first token begins at S > G: all up to G is its wait for memory.
                memory += max(0, ready - times[1])
                times = (max(times[0], ready), times[1], times[2], times[3])
                while at < stop and meetings.rows[at] < high:
                    times, tokens, pairs, costs, decisions = _dot(
                        rows, meetings.rows[at], columns, column, words_tag, times, queue,
                        timing.match,
                    )  # fmt: skip
                    sums[pe, _TOKENS] += tokens
                    sums[pe, _PAIRS] += pairs
                    sums[pe, _BUBBLE] += costs - pairs + 1
                    sums[pe, _LEVEL1] += decisions
                    sums[pe, _DOTS] += 1
                    at += 1
                two_before, column_before = column_before, times[1]
            if rows_loaded:
                item_before = times[1]
        if sums[pe, _DOTS]:
            sums[pe, _CYCLES] = times[1] + timing.tail
        sums[pe, _MEMORY] = memory
        sums[pe, _BROADCAST] = times[2] - memory
