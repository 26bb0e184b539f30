"""Numba kernels for sparse matrices: fibres from compressed rows, and products by intersection."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["compress_rows", "multiply"]


@njit(nogil=True, cache=True, error_model="numpy")
def compress_rows(indptr, indices, tile, words):
    """Cut the rows of a CSR matrix into tiles.

    Parameters
    ----------
    indptr, indices : ndarray of int64
        Indices rise in each row.
    tile, words : int
        Coordinates and 64-bit words of a tile.

    Returns
    -------
    start, tile, masks : ndarray
        Of ``accel.arch.extensor_kernels.Fibres``.
    first : ndarray of int64, axis tile
        First value of each tile, and their number.
    """
    rows = len(indptr) - 1
    start = np.zeros(rows + 1, dtype=np.int64)
    tiles = np.empty(len(indices), dtype=np.int32)
    masks = np.zeros((len(indices), words), dtype=np.uint64)
    first = np.empty(len(indices) + 1, dtype=np.int64)
    count = 0
    for row in range(rows):
        last = -1
        for at in range(indptr[row], indptr[row + 1]):
            if indices[at] // tile != last:
                last = indices[at] // tile
                tiles[count] = last
                first[count] = at
                count += 1
            place = indices[at] % tile
            masks[count - 1, place // 64] |= np.uint64(1) << np.uint64(place % 64)
        start[row + 1] = count
    first[count] = len(indices)
    return start, tiles[:count].copy(), masks[:count].copy(), first[: count + 1].copy()


@njit(error_model="numpy")
def _multiply_tiles(rows, a, a_first, a_values, columns, b, b_first, b_values, total):
    """Add the products of two tiles to a sum, in the order of coordinates; count them."""
    at_a, at_b = a_first[a], b_first[b]
    matches = 0
    for word in range(rows.masks.shape[1]):
        ones_a, ones_b = rows.masks[a, word], columns.masks[b, word]
        union = ones_a | ones_b
        while union:
            lowest = union & (~union + np.uint64(1))
            union ^= lowest
            in_a, in_b = (ones_a & lowest) != 0, (ones_b & lowest) != 0
            if in_a and in_b:
                total += a_values[at_a] * b_values[at_b]
                matches += 1
            at_a += in_a
            at_b += in_b
    return total, matches


@njit(nogil=True, cache=True, error_model="numpy")
def multiply(
    first, last, rows, a_first, a_values, columns, b_first, b_values, meetings, keep_all, counts
):
    """Multiply columns ``first`` to ``last - 1`` with the rows that they meet.

    Parameters
    ----------
    rows, columns : Fibres
    a_first, b_first : ndarray of int64, axis tile
        First value of each tile.
    a_values, b_values : ndarray of float64
    meetings : Meetings
    keep_all : bool
        Keep sums without a product too.
    counts : ndarray of int64, axis column
        Written: sums that are kept.

    Returns
    -------
    row : ndarray of int64, axis sum
    total : ndarray of float64, axis sum
        Column by column, row by row.
    """
    row_of = np.empty(1024, dtype=np.int64)
    totals = np.empty(1024, dtype=np.float64)
    kept = 0
    for column in range(first, last):
        before = kept
        for at in range(meetings.start[column], meetings.stop[column]):
            row = meetings.rows[at]
            a, a_end = rows.start[row], rows.start[row + 1]
            b, b_end = columns.start[column], columns.start[column + 1]
            total, pairs = 0.0, 0
            while a < a_end and b < b_end:
                if rows.tile[a] < columns.tile[b]:
                    a += 1
                elif columns.tile[b] < rows.tile[a]:
                    b += 1
                else:
                    total, matches = _multiply_tiles(
                        rows, a, a_first, a_values, columns, b, b_first, b_values, total
                    )
                    pairs += matches
                    a += 1
                    b += 1
            if not (pairs or keep_all):
                continue
            if kept == len(totals):
                row_of = np.concatenate((row_of, np.empty(kept, dtype=np.int64)))
                totals = np.concatenate((totals, np.empty(kept, dtype=np.float64)))
            row_of[kept] = row
            totals[kept] = total
            kept += 1
        counts[column] = kept - before
    return row_of[:kept].copy(), totals[:kept].copy()
