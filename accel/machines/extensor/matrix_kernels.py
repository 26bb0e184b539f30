"""Numba kernels for sparse matrices: fibres from compressed rows, and their products."""

from __future__ import annotations

import numpy as np

from accel.compiled import njit

__all__ = ["compress_rows", "multiply"]


@njit
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
        As ``accel.machines.extensor.kernels.compress``.
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


@njit
def multiply(first, last, a, b, rows, counts):
    """Multiply A with columns ``first`` to ``last - 1`` of B.

    The products of a sum are added in the order of coordinates, as the machine does.

    Parameters
    ----------
    a : tuple of ndarray
        ``indptr, indices, values`` of the columns of A.
    b : tuple of ndarray
        Those of the columns of B.
    rows : int
        Of A.
    counts : ndarray of int64, axis column
        Written: sums that have a product.

    Returns
    -------
    row : ndarray of int64, axis sum
    total : ndarray of float64, axis sum
        Column by column, row by row.
    """
    row_of = np.empty(1024, dtype=np.int64)
    totals = np.empty(1024, dtype=np.float64)
    kept = 0
    column_of = np.full(rows, -1, dtype=np.int64)
    total_of = np.zeros(rows, dtype=np.float64)
    for column in range(first, last):
        before = kept
        for at in range(b[0][column], b[0][column + 1]):
            coordinate, value = b[1][at], b[2][at]
            for place in range(a[0][coordinate], a[0][coordinate + 1]):
                row = a[1][place]
                if column_of[row] != column:
                    column_of[row] = column
                    total_of[row] = 0.0
                    if kept == len(totals):
                        row_of = np.concatenate((row_of, np.empty(kept, dtype=np.int64)))
                        totals = np.concatenate((totals, np.empty(kept, dtype=np.float64)))
                    row_of[kept] = row
                    kept += 1
                total_of[row] += a[2][place] * value
        row_of[before:kept].sort()
        for at in range(before, kept):
            totals[at] = total_of[row_of[at]]
        counts[column] = kept - before
    return row_of[:kept].copy(), totals[:kept].copy()


@njit
def multiply_samples(a, b, row, column):
    """Multiply rows of A with columns of B, in the order of coordinates.

    Parameters
    ----------
    a, b : ndarray of float64, axes row (of B column), coordinate
    row, column : ndarray of int64, axis sum

    Returns
    -------
    ndarray of float64, axis sum
    """
    totals = np.zeros(len(row), dtype=np.float64)
    for at in range(len(row)):
        for coordinate in range(a.shape[1]):
            totals[at] += a[row[at], coordinate] * b[column[at], coordinate]
    return totals
