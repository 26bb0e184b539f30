"""Cells of machines of any size, fitted to sizes that were synthesised for an ECP5."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from accel.machines.machine import AreaModel, Features
from golden.errors import FormatError

__all__ = ["Fit", "fit", "fit_model", "fitted_cells"]

#: Keeps features that always come together apart.
_RIDGE = 1e-3
_ROUNDS = 3000


@dataclass(frozen=True)
class Fit:
    """A linear fit, and its error on blocks that it has not seen.

    Parameters
    ----------
    coefficients : ndarray of float64, axis feature
    blocks, aside : int
        Fitted, and kept aside.
    median, worst : float
        Relative error on those kept aside, as shares.
    """

    coefficients: NDArray[np.float64]
    blocks: int
    aside: int
    median: float
    worst: float

    def of(self, features: NDArray[np.float64]) -> int:
        """Return the cells of a block."""
        return max(0, round(float(features @ self.coefficients)))


def fit(features: NDArray[np.float64], cells: NDArray[np.float64], aside: NDArray[np.bool_]) -> Fit:
    """Fit cells to features: the least squares of relative errors, no coefficient below 0.

    More of anything takes no fewer cells, so that few blocks suffice, and what lies between them
    and beyond does not swing.

    Parameters
    ----------
    features : ndarray of float64, axes block, feature
    cells : ndarray of float64, axis block
        All above 0.
    aside : ndarray of bool, axis block
        Not fitted: the error is measured on them.
    """
    scale = np.maximum(np.linalg.norm(features[~aside], axis=0), 1e-12)
    of_one = features[~aside] / scale / cells[~aside, None]
    products = of_one.T @ of_one + _RIDGE * np.diag(np.sum(of_one**2, axis=0) + 1e-12)
    wanted = of_one.sum(axis=0)
    found = np.zeros(len(wanted))
    for _ in range(_ROUNDS):  # by coordinates (Franc et al. 2005)
        before = found.copy()
        for place in range(len(found)):
            slope = products[place] @ found - wanted[place]
            found[place] = max(0.0, found[place] - slope / products[place, place])
        if np.allclose(found, before, rtol=1e-9, atol=0):
            break
    found /= scale
    errors = np.abs(features[aside] @ found / cells[aside] - 1)
    return Fit(
        coefficients=found,
        blocks=int(np.sum(~aside)),
        aside=int(np.sum(aside)),
        median=float(np.median(errors)),
        worst=float(errors.max()),
    )


def fitted_cells(model: AreaModel) -> tuple[dict[str, int], str]:
    """Return a machine's cells by kind, and what they are fitted to and how well."""
    fits = fit_model(model.table, tuple(model.features.items()))
    cells = {
        name: model.pieces * found.of(np.array(model.features[name](model.fields)))
        for name, found in fits.items()
    }
    cells |= {name: model.pieces * count for name, count in model.exact.items()}
    some = fits["lut4"]
    errors = ", ".join(
        f"{name} {100 * fits[name].median:.1f} ({100 * fits[name].worst:.1f})"
        for name in ("lut4", "ff", "dp16kd")
    )
    return cells, (
        f"fitted to {some.blocks} synthesised {model.table}; those of {some.aside} kept aside "
        f"differ by % in the median (at most): {errors}; {model.note}"
    )


@cache
def fit_model(table: str, features: tuple[tuple[str, Features], ...]) -> Mapping[str, Fit]:
    """Return the fit of each kind of cell to a table.

    Raises
    ------
    FormatError
        A value of the table is no count.
    """
    rows = _read_rows(table)
    aside = np.array([row["aside"] == 1 for row in rows])
    return {
        name: fit(
            np.array([of_cell(row) for row in rows], dtype=np.float64),
            np.array([row[name] for row in rows], dtype=np.float64),
            aside,
        )
        for name, of_cell in features
    }


def _read_rows(table: str) -> list[dict[str, int]]:
    path = resources.files("accel.costs") / "data" / f"{table}.csv"
    rows = []
    for number, line in enumerate(csv.DictReader(io.StringIO(path.read_text("utf-8"))), start=2):
        for name, value in line.items():
            if value is None or not value.isdecimal():
                raise FormatError(
                    f"Table {table}.csv, line {number}: {name} must be a count, not {value!r}"
                )
        rows.append({name: int(value) for name, value in line.items()})
    return rows
