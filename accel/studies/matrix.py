"""Sparse matrix products on ExTensor, each checked against SciPy's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accel.machines.extensor import sparse_kernels
from accel.machines.extensor.sparse_kernels import MatrixRun, load_matrix, scipy_sparse
from golden.machines.extensor import ExTensorConfig

__all__ = ["TOLERANCE", "CheckedProduct", "choose_machine", "sddmm", "spmspm"]

#: Largest difference from SciPy's result, as a share of the sum of the products' magnitudes.
TOLERANCE = 1e-12

#: Samples that SciPy's result is worked out for at a time.
_SAMPLES = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedProduct:
    """A product of matrices on a machine, beside SciPy's.

    Parameters
    ----------
    kernel : str
        ``spmspm`` or ``sddmm``.
    config : ExTensorConfig
    operands : dict of str to matrix
        By name; a dense one is an ndarray.
    dram_bytes_per_cycle : float, optional
        None where DRAM is never waited for.
    run : MatrixRun
    difference : float
        The largest difference from SciPy's result, as a share of the largest sum of magnitudes.
    """

    kernel: str
    config: ExTensorConfig
    operands: Mapping[str, Any]
    dram_bytes_per_cycle: float | None
    run: MatrixRun
    difference: float

    @property
    def equal(self) -> bool:
        """Whether the result is SciPy's, but for rounding."""
        return self.difference <= TOLERANCE


def choose_machine(pes: int | None) -> ExTensorConfig:
    """Return the paper's machine, or one with another number of processing elements."""
    config = ExTensorConfig.preset("paper")
    return config if pes is None else config.replace(pes=pes)


def spmspm(
    config: ExTensorConfig,
    a: Path,
    b: Path | None = None,
    dram_bytes_per_cycle: float | None = None,
) -> CheckedProduct:
    """Multiply two sparse matrices; A by itself where there is no B.

    Parameters
    ----------
    a, b : path
        Matrix Market files.

    Raises
    ------
    UserError
        A file can't be read, the shapes do not match, or SciPy is not installed.
    """
    sparse = scipy_sparse()
    left = sparse.csr_array(load_matrix(a))
    right = left if b is None else sparse.csr_array(load_matrix(b))
    run = sparse_kernels.spmspm(config, left, right, dram_bytes_per_cycle)
    wanted, bound = left @ right, abs(left) @ abs(right)
    return CheckedProduct(
        kernel="spmspm",
        config=config,
        operands={"A": left, "B": right},
        dram_bytes_per_cycle=dram_bytes_per_cycle,
        run=run,
        difference=_largest(abs(run.result - wanted)) / (_largest(bound) or 1.0),
    )


def sddmm(
    config: ExTensorConfig,
    s: Path,
    a: Path,
    b: Path,
    dram_bytes_per_cycle: float | None = None,
) -> CheckedProduct:
    """Multiply dense A and B where sparse S is not zero.

    Parameters
    ----------
    s, a, b : path
        Matrix Market files.

    Raises
    ------
    UserError
        A file can't be read, the shapes do not match, or SciPy is not installed.
    """
    sparse = scipy_sparse()
    samples = sparse.csr_array(load_matrix(s))
    left, right = (
        matrix.toarray() if sparse.issparse(matrix) else matrix
        for matrix in map(load_matrix, (a, b))
    )
    run = sparse_kernels.sddmm(config, samples, left, right, dram_bytes_per_cycle)
    wanted = samples.tocoo()
    values, bound = np.zeros_like(wanted.data), 0.0
    for first in range(0, wanted.nnz, _SAMPLES):
        part = slice(first, first + _SAMPLES)
        products = left[wanted.row[part]] * right.T[wanted.col[part]]
        products *= wanted.data[part, None]
        values[part] = products.sum(axis=1)
        bound = max(bound, float(abs(products).sum(axis=1).max()))
    wanted.data = values
    return CheckedProduct(
        kernel="sddmm",
        config=config,
        operands={"S": samples, "A": left, "B": right},
        dram_bytes_per_cycle=dram_bytes_per_cycle,
        run=run,
        difference=_largest(abs(run.result - wanted)) / (bound or 1.0),
    )


def _largest(matrix: Any) -> float:
    return float(matrix.max()) if matrix.nnz else 0.0
