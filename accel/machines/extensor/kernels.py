"""Numba kernels of ExTensor: tiles of bit masks, intersections, the max-plus recurrence.

Symbols are those of ``docs/extensor.md``. Kernels know nothing of layers: fibres, blocks and runs
are numbered through all groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numba import extending, types
from numpy.typing import NDArray

from accel.compiled import inlined, njit
from accel.machines.vectors import element

__all__ = [
    "SUMS",
    "Cut",
    "Timing",
    "Tree",
    "compress",
    "gather_windows",
    "group_tiles",
    "intersect_masks",
    "run_elements",
]

#: Columns of what ``run_elements`` counts for each processing element.
SUMS = (
    "cycles",
    "pairs",
    "tile_pairs",
    "fibre_pairs",
    "tile_decisions",
    "load_beats",
    "outputs",
    "bubble_cycles",
    "wait_memory_cycles",
    "wait_collector_cycles",
    "row_bytes",
    "column_bytes",
    "list_bytes",
)
(
    _CYCLES, _PAIRS, _TILE_PAIRS, _FIBRE_PAIRS, _TILE_DECISIONS, _BEATS, _OUTPUTS, _BUBBLE, _MEMORY,
    _COLLECTOR, _ROW_BYTES, _COLUMN_BYTES, _LIST_BYTES,
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


class Tree(NamedTuple):
    """Blocks (or runs) of fibres, cut into tiles; what has no non-zero is left out.

    Parameters
    ----------
    start : ndarray of int64, axis block (one more than there are)
        First tile of each block.
    tile : ndarray of int64, axis tile
        Coordinate; rises in a block.
    fibre : ndarray of int64, axis tile (one more than there are)
        First fibre of each tile.
    bytes : ndarray of int64, axis tile
        Bytes that are loaded.
    masks : ndarray of uint64, axes fibre, word
        Bit i of word w is coordinate ``64 w + i`` within the tile.
    """

    start: NDArray[np.int64]
    tile: NDArray[np.int64]
    fibre: NDArray[np.int64]
    bytes: NDArray[np.int64]
    masks: NDArray[np.uint64]


class Cut(NamedTuple):
    """Items: groups, and blocks and runs of each."""

    groups: int
    blocks: int
    runs: int


class Timing(NamedTuple):
    """Latencies in cycles, and two sizes in bytes."""

    lists: int
    load: int
    load_free: int
    drain: int
    tail: int
    list_bytes: int
    port_bytes: int


@njit
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


@njit
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


@njit
def group_tiles(start, tile, edges):
    """Put the fibres of each block in order tile by tile.

    Parameters
    ----------
    start, tile : ndarray of int64
        As ``compress`` returns them: one after another, the tiles of each fibre.
    edges : ndarray of int64, axis block (one more than there are)
        First fibre of each block.

    Returns
    -------
    start, tile, fibre : ndarray of int64
        Those of a `Tree`.
    order : ndarray of int64, axis fibre
        Where each fibre of the tree was.
    """
    starts = np.zeros(len(edges), dtype=np.int64)
    tiles = np.empty(len(tile), dtype=np.int64)
    fibres = np.zeros(len(tile) + 1, dtype=np.int64)
    order = np.empty(len(tile), dtype=np.int64)
    place = np.zeros(tile.max() + 1 if len(tile) else 0, dtype=np.int64)
    count = 0
    for block in range(len(edges) - 1):
        first, last = start[edges[block]], start[edges[block + 1]]
        before = count
        for at in range(first, last):
            if place[tile[at]] == 0:
                tiles[count] = tile[at]
                count += 1
            place[tile[at]] += 1
        mine = tiles[before:count]
        mine.sort()
        at = first
        for index in range(before, count):
            fibres[index] = at
            at += place[tiles[index]]
            place[tiles[index]] = fibres[index]
        for at in range(first, last):
            order[place[tile[at]]] = at
            place[tile[at]] += 1
        for index in range(before, count):
            place[tiles[index]] = 0
        starts[block + 1] = count
    fibres[count] = len(tile)
    return starts, tiles[:count].copy(), fibres[: count + 1].copy(), order


@inlined
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


@inlined
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


@njit
def intersect_masks(first, second, words_tag):
    """Return decisions and matches of two non-empty masks, arrays of ``len(words_tag)`` uint64."""
    return _intersect(first, 0, second, 0, words_tag)


@inlined
def _meet(rows, row, columns, column, words_tag):
    """Return decisions and matches of all fibre pairs of a tile pair."""
    decisions, matches = 0, 0
    for b in range(columns.fibre[column], columns.fibre[column + 1]):
        for a in range(rows.fibre[row], rows.fibre[row + 1]):
            found, both = _intersect(rows.masks, a, columns.masks, b, words_tag)
            decisions += found
            matches += both
    return decisions, matches


@inlined
def _coordinates(tree, tile, words_tag):
    """Return the coordinates of a tile whose fibres have no zero."""
    ones = np.int64(0)
    for word in range(len(words_tag)):
        ones += _ones(tree.masks[tree.fibre[tile], word])
    return ones


@njit
def run_elements(first, last, cut, rows, columns, outputs, sampled, timing, words_tag, sums):
    """Run processing elements ``first`` to ``last - 1`` through their programs.

    Parameters
    ----------
    cut : Cut
        Item i is processing element i mod pes's.
    rows, columns : Tree
        Blocks and runs through all groups.
    outputs : ndarray of int64, axis item
        Sums that are handed out.
    sampled : bool
        Fibre pairs are those of outputs only, and fibres have no zero; items without an output
        are left out.
    timing : Timing
    words_tag : tuple, its length in words of a tile
    sums : ndarray of int64, axes pe, counter (``SUMS``)
        Written.
    """
    pes = sums.shape[0]
    lists = 2 * timing.list_bytes // timing.port_bytes
    for pe in range(first, last):
        count = sums[pe]
        loaded, finished, drained = 0, 0, 0
        # F; what there is none of frees its buffer at 0.
        pair_before = two_before = end_before = -timing.load_free
        for index in range(pe, cut.groups * cut.blocks * cut.runs, pes):
            if sampled and outputs[index] == 0:
                continue
            block = index // cut.runs
            run = block // cut.blocks * cut.runs + index % cut.runs
            loaded += lists
            count[_BEATS] += lists
            count[_LIST_BYTES] += 2 * timing.list_bytes
            decided = loaded + timing.lists
            a, b = rows.start[block], columns.start[run]
            while a < rows.start[block + 1] and b < columns.start[run + 1]:
                decided += 1
                count[_TILE_DECISIONS] += 1
                if rows.tile[a] < columns.tile[b]:
                    while a < rows.start[block + 1] and rows.tile[a] < columns.tile[b]:
                        a += 1
                    continue
                if rows.tile[a] > columns.tile[b]:
                    while b < columns.start[run + 1] and rows.tile[a] > columns.tile[b]:
                        b += 1
                    continue
                size = rows.bytes[a] + columns.bytes[b]
                beats = size // timing.port_bytes
                loaded = max(loaded, decided, two_before + timing.load_free) + beats
                if sampled:
                    met = outputs[index]
                    decisions = matches = met * _coordinates(rows, a, words_tag)
                else:
                    met = rows.fibre[a + 1] - rows.fibre[a]
                    met *= columns.fibre[b + 1] - columns.fibre[b]
                    decisions, matches = _meet(rows, a, columns, b, words_tag)
                begun = max(finished, loaded + timing.load)
                count[_MEMORY] += begun - finished
                finished = begun + decisions
                two_before, pair_before = pair_before, finished
                count[_PAIRS] += matches
                count[_BUBBLE] += decisions - matches
                count[_TILE_PAIRS] += 1
                count[_FIBRE_PAIRS] += met
                count[_BEATS] += beats
                count[_ROW_BYTES] += rows.bytes[a]
                count[_COLUMN_BYTES] += columns.bytes[b]
                a += 1
                b += 1
            loaded = max(loaded, decided, end_before + timing.load_free) + 1
            arrived = max(finished, loaded + timing.load)
            begun = max(arrived, drained)
            count[_MEMORY] += arrived - finished
            count[_COLLECTOR] += begun - arrived
            count[_BUBBLE] += 1
            count[_OUTPUTS] += outputs[index]
            finished = end_before = begun + 1
            drained = finished + timing.drain + outputs[index]
            count[_CYCLES] = drained + timing.tail
