"""Sparse matrices on ExTensor: SpMSpM and SDDMM, cycle by cycle; ``docs/extensor.md``.

SciPy, an extra of this project (``matrices``), is imported when it is needed.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.machines.extensor.kernels import SUMS, Tree
from accel.machines.extensor.matrix_kernels import compress_rows, multiply, multiply_samples
from accel.machines.extensor.model import Kernel, counters_of, make_tree, run_kernel
from golden.errors import CapacityError, ConfigError, FormatError, UserError
from golden.machines.extensor import ExTensorConfig, ExTensorCounters, map_kernel
from golden.tensor import popcount

__all__ = ["MatrixRun", "load_matrix", "scipy_sparse", "sddmm", "spmspm"]

#: A fibre: 32-bit number and count; a non-zero: 32-bit coordinate and 64-bit value.
FIBRE_BYTES, NONZERO_BYTES = 8, 12

#: Rows and columns that are taken: a list of them must fit memory whatever a file claims.
SIZE_MAX = 1 << 26

#: A SciPy sparse matrix or array of any format, or a dense array.
Matrix = Any


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixRun:
    """What a kernel made, and what the machine counted.

    Parameters
    ----------
    result : scipy.sparse.csr_array of float64
    counters : ExTensorCounters
    cycles : int
        Of the whole: those of the slowest PE, or of DRAM where that takes longer.
    decisions : int
        On scalars, matches included.
    dram_bytes : int
        Operands and result, each once.
    """

    result: Any
    counters: ExTensorCounters
    cycles: int
    decisions: int
    dram_bytes: int

    @property
    def matches(self) -> int:
        """Products of two values."""
        return int(self.counters.pe("pairs").sum())

    @property
    def utilisation(self) -> float:
        """Products over multipliers and cycles."""
        return self.matches / max(1, self.cycles * len(self.counters.pes))


def spmspm(
    config: ExTensorConfig, a: Matrix, b: Matrix, dram_bytes_per_cycle: float | None = None
) -> MatrixRun:
    """Multiply two sparse matrices.

    Parameters
    ----------
    a, b : SciPy sparse matrix or array
    dram_bytes_per_cycle : float, optional
        None: DRAM is as fast as needed.

    Raises
    ------
    FormatError
        A matrix is not real, or the shapes do not match.
    CapacityError
        A row of A or a column of B does not fit ``tile_bytes`` in some tile.
    ConfigError
        The bandwidth is not positive.
    UserError
        SciPy is not installed.
    """
    _check_bandwidth(dram_bytes_per_cycle)
    a, b = _sparse(a, "A"), _sparse(b, "B")
    if a.shape[1] != b.shape[0]:
        raise FormatError(f"B must have {a.shape[1]} rows, as many as A has columns, not {_of(b)}")
    shape = a.shape[0], b.shape[1]
    b_columns = b.T.tocsr()
    row_of, column_of = _occupied(a), _occupied(b_columns)
    a, b_columns = a[row_of], b_columns[column_of]
    rows = _Operand.build(config, a, "Row {} of A", row_of)
    columns = _Operand.build(config, b_columns, "Column {} of B", column_of)
    kept, at_row, values = _products(a, b_columns)
    at_column = np.repeat(np.arange(len(column_of)), kept)
    sums, ends = _run(config, rows, columns, (at_row, at_column), sampled=False)
    result = _result(shape, values, row_of[at_row], column_of[at_column])
    moved = rows.bytes + columns.bytes + _matrix_bytes(config, result)
    return _finish(sums, ends, result, moved, dram_bytes_per_cycle)


def sddmm(
    config: ExTensorConfig,
    sampling: Matrix,
    a: Matrix,
    b: Matrix,
    dram_bytes_per_cycle: float | None = None,
) -> MatrixRun:
    """Multiply two dense matrices where a sparse one has a non-zero, and by its value.

    Parameters
    ----------
    sampling : SciPy sparse matrix or array
    a, b : array, or SciPy sparse matrix or array whose zeros are multiplied too
    dram_bytes_per_cycle : float, optional
        None: DRAM is as fast as needed.

    Raises
    ------
    FormatError, CapacityError, ConfigError, UserError
        As `spmspm`.
    """
    _check_bandwidth(dram_bytes_per_cycle)
    samples = _sparse(sampling, "S")
    a, b = _dense(a, "A"), _dense(b, "B")
    if a.shape[1] != b.shape[0]:
        raise FormatError(f"B must have {a.shape[1]} rows, as many as A has columns, not {_of(b)}")
    if samples.shape != (a.shape[0], b.shape[1]):
        raise FormatError(f"S must be {a.shape[0]} x {b.shape[1]}, as A B is, not {_of(samples)}")
    row_of = _occupied(samples)
    met = samples[row_of].T.tocsr()
    column_of = _occupied(met)
    met = met[column_of]
    a, b = a[row_of], b.T[column_of]
    rows = _Operand.build(config, a, "Row {} of A", row_of)
    columns = _Operand.build(config, b, "Column {} of B", column_of)
    at_row = met.indices.astype(np.int64)
    at_column = np.repeat(np.arange(len(column_of)), np.diff(met.indptr))
    sums, ends = _run(config, rows, columns, (at_row, at_column), sampled=True)
    values = multiply_samples(np.ascontiguousarray(a), np.ascontiguousarray(b), at_row, at_column)
    result = _result(samples.shape, values * met.data, row_of[at_row], column_of[at_column])
    moved = rows.bytes + columns.bytes
    moved += _matrix_bytes(config, samples) + _matrix_bytes(config, result)
    return _finish(sums, ends, result, moved, dram_bytes_per_cycle)


def load_matrix(path: str | Path) -> Any:
    """Read a Matrix Market file: a CSR array where it is sparse, an ndarray where it is dense.

    Raises
    ------
    FormatError
        It can't be read, is not Matrix Market, or has a value that is not a finite real number.
    UserError
        SciPy is not installed.
    """
    scipy_sparse()
    from scipy.io import mmread

    path = Path(path)
    try:
        # SciPy's reader would say of a missing file what it says of a bad one.
        with path.open("rb"):
            matrix = mmread(path)
    except OSError as error:
        raise FormatError(f"Matrix {path} can't be read: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError, MemoryError, IndexError) as error:
        raise FormatError(f"Matrix {path} must be a Matrix Market file: {error}") from None
    if isinstance(matrix, np.ndarray):
        return _dense(matrix, str(path))
    return _sparse(matrix, str(path))


# -- operands -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Operand:
    """Rows of a matrix as fibres.

    Parameters
    ----------
    compressed : tuple of ndarray
        ``start, tile, masks`` of ``accel.machines.extensor.matrix_kernels.compress_rows``.
    sizes : ndarray of int64, axis fibre's tile
        Bytes.
    tiles : int
        Of the reduction axis.
    """

    compressed: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]
    sizes: NDArray[np.int64]
    tiles: int

    @classmethod
    def build(
        cls, config: ExTensorConfig, rows: Any, name: str, number: NDArray[np.int64]
    ) -> _Operand:
        """Cut rows of a CSR array, or of a dense one whose zeros count, into tiles.

        Raises
        ------
        CapacityError
            A row does not fit ``tile_bytes`` in some tile; ``name`` formats its ``number``.
        """
        if isinstance(rows, np.ndarray):
            count, length = rows.shape
            indptr = length * np.arange(count + 1, dtype=np.int64)
            indices = np.tile(np.arange(length, dtype=np.int64), count)
        else:
            indptr, indices = rows.indptr.astype(np.int64), rows.indices.astype(np.int64)
        words = max(1, config.tile // 64)
        start, tile, masks = compress_rows(indptr, indices, config.tile, words)
        sizes = _fibre_bytes(config, popcount(masks))
        if len(sizes) and sizes.max() > config.tile_bytes:
            largest = int(sizes.argmax())
            row = int(np.searchsorted(start, largest, side="right")) - 1
            raise CapacityError(
                f"{name.format(number[row])} needs {sizes[largest]} bytes in a tile, where "
                f"tile_bytes are {config.tile_bytes}: raise tile_bytes"
            )
        return cls((start, tile, masks), sizes, -(-rows.shape[1] // config.tile))

    @property
    def fibres(self) -> int:
        """Rows."""
        return len(self.compressed[0]) - 1

    @property
    def bytes(self) -> int:
        """Bytes of all fibres."""
        return int(self.sizes.sum())

    def tree(self, block: int) -> Tree:
        """Cut into blocks."""
        return make_tree(1, self.fibres, block, self.compressed, self.sizes)

    def fits(self, config: ExTensorConfig, block: int) -> bool:
        """Say whether all tiles of blocks of as many rows fit."""
        return bool((self.tree(block).bytes <= config.tile_bytes).all())


def _fibre_bytes(config: ExTensorConfig, nonzeros: NDArray[np.int64]) -> NDArray[np.int64]:
    beats = -(-(FIBRE_BYTES + NONZERO_BYTES * nonzeros) // config.port_bytes)
    return beats * config.port_bytes


def scipy_sparse() -> Any:
    """Return the module ``scipy.sparse``; raise UserError where SciPy is not installed."""
    try:
        import scipy.sparse
    except ImportError:
        raise UserError(
            "SciPy must be installed for matrices: pip install 'innerjoin[matrices]'"
        ) from None
    return scipy.sparse


def _sparse(matrix: Matrix, name: str) -> Any:
    """Return a CSR array of float64 with sorted indices and without stored zeros."""
    sparse = scipy_sparse()
    _check_numeric(matrix, name)
    matrix = sparse.csr_array(matrix, dtype=np.float64, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    _check_finite(matrix.data, name)
    return matrix


def _dense(matrix: Matrix, name: str) -> NDArray[np.float64]:
    if scipy_sparse().issparse(matrix):
        matrix = matrix.toarray()
    matrix = np.asarray(matrix)
    _check_numeric(matrix, name)
    matrix = matrix.astype(np.float64)
    _check_finite(matrix, name)
    return matrix


def _check_numeric(matrix: Matrix, name: str) -> None:
    if getattr(matrix, "ndim", 2) != 2:
        raise FormatError(f"Matrix {name} must have two axes, not {matrix.ndim}")
    if max(matrix.shape) > SIZE_MAX:
        raise FormatError(
            f"Matrix {name} must have at most {SIZE_MAX} rows and columns, not {_of(matrix)}"
        )
    if matrix.dtype.kind not in "biuf":
        raise FormatError(f"Matrix {name} must hold real numbers, not {matrix.dtype}")


def _check_finite(values: NDArray[np.float64], name: str) -> None:
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise FormatError(f"Matrix {name} must hold finite numbers, not {bad}")


def _check_bandwidth(dram_bytes_per_cycle: float | None) -> None:
    if dram_bytes_per_cycle is not None and not 0 < dram_bytes_per_cycle < math.inf:
        raise ConfigError(
            f"DRAM bytes a cycle must be positive and finite, not {dram_bytes_per_cycle!r}"
        )


def _occupied(matrix: Any) -> NDArray[np.int64]:
    """Return the rows that have a non-zero."""
    return np.flatnonzero(np.diff(matrix.indptr)).astype(np.int64)


def _of(matrix: Any) -> str:
    return f"{matrix.shape[0]} x {matrix.shape[1]}"


# -- running ------------------------------------------------------------------------------------


def _run(
    config: ExTensorConfig,
    rows: _Operand,
    columns: _Operand,
    outputs: tuple[NDArray[np.int64], NDArray[np.int64]],
    sampled: bool,
) -> tuple[NDArray[np.int64], int]:
    """Count cycles, outputs given by row and column; return what was counted, and ends."""
    if not rows.fibres or not columns.fibres:
        return np.zeros((config.pes, len(SUMS)), dtype=np.int64), 0
    mapping = map_kernel(
        config,
        1,
        rows.fibres,
        columns.fibres,
        lambda block: rows.fits(config, block),
        lambda run: columns.fits(config, run),
    )
    item = outputs[0] // mapping.block * mapping.runs + outputs[1] // mapping.run
    count = np.bincount(item, minlength=mapping.items)
    kernel = Kernel(
        mapping, rows.tiles, rows.tree(mapping.block), columns.tree(mapping.run), count, sampled
    )
    sums = run_kernel(config, kernel, os.cpu_count() or 1)
    return sums, int(np.count_nonzero(count)) if sampled else mapping.items


def _products(
    a: Any, b_columns: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Multiply; return the sums of each column that have a product, their rows, their values."""
    count = b_columns.shape[0]
    kept = np.zeros(count, dtype=np.int64)
    left, right = (
        (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
        for matrix in (a.T.tocsr(), b_columns)
    )

    def product(first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return multiply(first, last, left, right, a.shape[0], kept)

    threads = os.cpu_count() or 1
    edges = np.linspace(0, count, 4 * threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(product, edges[:-1], edges[1:]))
    at_row, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return kept, at_row, values


def _result(
    shape: tuple[int, int],
    values: NDArray[np.float64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
) -> Any:
    """Return sums as a CSR array without stored zeros."""
    result = scipy_sparse().coo_array((values, (row, column)), shape=shape).tocsr()
    result.eliminate_zeros()
    return result


def _matrix_bytes(config: ExTensorConfig, matrix: Any) -> int:
    """Return the bytes of a CSR array whose rows are cut into tiles."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    tiles = -(-matrix.shape[1] // config.tile)
    _, nonzeros = np.unique(row * tiles + matrix.indices // config.tile, return_counts=True)
    return int(_fibre_bytes(config, nonzeros).sum())


def _finish(
    sums: NDArray[np.int64],
    ends: int,
    result: Any,
    dram_bytes: int,
    dram_bytes_per_cycle: float | None,
) -> MatrixRun:
    counters = counters_of(sums)
    dram_cycles = math.ceil(dram_bytes / dram_bytes_per_cycle) if dram_bytes_per_cycle else 0
    scalars = sums[:, [SUMS.index("pairs"), SUMS.index("bubble_cycles")]]
    return MatrixRun(
        result=result,
        counters=counters,
        cycles=max(counters.cycles, dram_cycles),
        decisions=int(scalars.sum()) - ends,
        dram_bytes=dram_bytes,
    )
