"""Numba kernels for sparse matrices: fibres from compressed rows, and their products."""

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
        As ``accel.arch.extensor_kernels.compress``.
    """
    rows = len(indptr) - 1
    start = np.zeros(rows + 1, dtype=np.int64)
    tiles = np.empty(len(indices), dtype=np.int64)
    masks = np.zeros((len(indices), words), dtype=np.uint64)
    count = 0
    for row in range(rows):
        last = -1
        for at in range(indptr[row], indptr[row + 1]):
            if indices[at] // tile != last:
                last = indices[at] // tile
                tiles[count] = last
                count += 1
            place = indices[at] % tile
            masks[count - 1, place // 64] |= np.uint64(1) << np.uint64(place % 64)
        start[row + 1] = count
    return start, tiles[:count].copy(), masks[:count].copy()


@njit(nogil=True, cache=True, error_model="numpy")
def multiply(first, last, a, b, length, meetings, keep_all, counts):
    """Multiply columns ``first`` to ``last - 1`` with the rows that they meet.

    The products of a sum are added in the order of coordinates, as the machine does. A column is
    laid out by coordinate, so that a row's values find theirs without a merge.

    Parameters
    ----------
    a, b : tuple of ndarray
        ``indptr, indices, values`` of the rows and of the columns; indices rise in each.
    length : int
        Coordinates.
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
    column_of = np.full(length, -1, dtype=np.int64)
    value_of = np.empty(length, dtype=np.float64)
    for column in range(first, last):
        for at in range(b[0][column], b[0][column + 1]):
            column_of[b[1][at]] = column
            value_of[b[1][at]] = b[2][at]
        before = kept
        for at in range(meetings.start[column], meetings.stop[column]):
            row = meetings.rows[at]
            total, pairs = 0.0, 0
            for place in range(a[0][row], a[0][row + 1]):
                coordinate = a[1][place]
                if column_of[coordinate] == column:
                    total += a[2][place] * value_of[coordinate]
                    pairs += 1
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
