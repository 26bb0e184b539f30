"""Sparse matrices on the command line: what ran, its cycles, and whether the result is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from accel.cli.output import show, status
from accel.machines.extensor import sparse_kernels
from accel.machines.extensor.sparse_kernels import MatrixRun, load_matrix, scipy_sparse
from golden.counters import UNIT_COUNTERS
from golden.machines.extensor import ExTensorConfig

__all__ = ["sddmm", "spmspm"]

#: Largest difference from SciPy's result, as a share of the sum of the products' magnitudes.
TOLERANCE = 1e-12

#: Samples that SciPy's result is worked out for at a time.
_SAMPLES = 4096


def spmspm(a: Path, b: Path | None, pes: int | None, dram_bytes_per_cycle: float | None) -> bool:
    """Multiply A by B, or by itself; say whether the result is SciPy's."""
    sparse = scipy_sparse()
    config = _machine(pes)
    left = sparse.csr_array(load_matrix(a))
    right = left if b is None else sparse.csr_array(load_matrix(b))
    with status("multiplying"):
        run = sparse_kernels.spmspm(config, left, right, dram_bytes_per_cycle)
    wanted, bound = left @ right, abs(left) @ abs(right)
    worst = _largest(abs(run.result - wanted)) / (_largest(bound) or 1.0)
    _report("spmspm", config, {"A": left, "B": right}, run, dram_bytes_per_cycle, worst)
    return worst <= TOLERANCE


def sddmm(s: Path, a: Path, b: Path, pes: int | None, dram_bytes_per_cycle: float | None) -> bool:
    """Multiply A by B where S is not zero; say whether the result is SciPy's."""
    sparse = scipy_sparse()
    config = _machine(pes)
    samples = sparse.csr_array(load_matrix(s))
    left, right = (
        matrix.toarray() if sparse.issparse(matrix) else matrix
        for matrix in map(load_matrix, (a, b))
    )
    with status("multiplying"):
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
    worst = _largest(abs(run.result - wanted)) / (bound or 1.0)
    _report(
        "sddmm", config, {"S": samples, "A": left, "B": right}, run, dram_bytes_per_cycle, worst
    )
    return worst <= TOLERANCE


def _machine(pes: int | None) -> ExTensorConfig:
    config = ExTensorConfig.preset("paper")
    return config if pes is None else config.replace(pes=pes)


def _largest(matrix: Any) -> float:
    return float(matrix.max()) if matrix.nnz else 0.0


def _report(
    kernel: str,
    config: ExTensorConfig,
    operands: dict[str, Any],
    run: MatrixRun,
    dram_bytes_per_cycle: float | None,
    worst: float,
) -> None:
    counters = run.counters
    described = ", ".join(
        f"{name} {matrix.shape[0]} x {matrix.shape[1]}"
        + (" dense" if isinstance(matrix, np.ndarray) else f" with {matrix.nnz} non-zeros")
        for name, matrix in operands.items()
    )
    bound = ""
    if dram_bytes_per_cycle is not None:
        who = "DRAM" if run.cycles > counters.cycles else "processing elements"
        bound = f"bound by {who} at {dram_bytes_per_cycle:g} bytes a cycle"
    table = Table("counter")
    table.add_column("", justify="right")
    table.add_column("")
    for name, value, note in (
        ("cycles", run.cycles, bound),
        ("cycles of the slowest element", counters.cycles, ""),
        ("tile decisions", counters.pe("tile_decisions").sum(), ""),
        ("tile pairs", counters.pe("tile_pairs").sum(), "tiles with a coordinate in common"),
        ("fibre pairs", counters.pe("fibre_pairs").sum(), "a row with a column in a tile pair"),
        ("decisions", run.decisions, "on scalars"),
        ("matches", run.matches, "multiplications"),
        ("utilisation %", f"{100 * run.utilisation:.1f}", "matches / elements / cycles"),
        ("load beats", counters.pe("load_beats").sum(), f"of {config.port_bytes} bytes"),
        ("DRAM bytes", run.dram_bytes, "operands and result, each once"),
        ("non-zeros of the result", run.result.nnz, ""),
    ):
        table.add_row(name, str(value), note)
    shares = Table("where the time went")
    shares.add_column("% of element-cycles", justify="right")
    spent = counters.units.sum(axis=0) / max(1, counters.units.sum())
    for name, share in zip(UNIT_COUNTERS, spent, strict=True):
        if name not in ("wait_siblings_cycles", "wait_broadcast_cycles"):
            label = name.removesuffix("_cycles").replace("_", " ")
            shares.add_row(label, f"{100 * share:.1f}")
    verdict = "equals" if worst <= TOLERANCE else "DIFFERS FROM"
    show(
        f"{kernel} on {config.name}: {config.pes} processing elements",
        described,
        table,
        shares,
        f"The result {verdict} SciPy's: largest difference {worst:.1e} of the largest sum.",
    )
