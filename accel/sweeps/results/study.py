"""What a sweep found: a row for each point, the Pareto front, tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel.sweeps.results.journal import write_journal
from accel.sweeps.results.objectives import SHORT, Objective, area_of, measure
from accel.sweeps.results.store import Row
from accel.sweeps.space.point import DENSITY, PATTERN, Point
from golden.errors import UserError, look_up

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Found", "Study", "found_points", "pareto_front"]


#: Ends of files of points, and the package that writes them.
_NEEDS = {".csv": "pandas", ".parquet": "PyArrow", ".log": "Optuna"}
#: From the best to the worst.
_STATUSES = ("ok", "dominated", "infeasible", "failed")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A point with its figures.

    Parameters
    ----------
    point : Point
    rows : tuple of Row
        One for each network.
    figures : list of float or None
        One for each objective; None where there is no estimate. None for all of them where the
        point can't be, or failed.
    """

    point: Point
    rows: tuple[Row, ...]
    figures: list[float | None] | None

    @property
    def status(self) -> str:
        """The worst of the rows' statuses."""
        return max((row.status for row in self.rows), key=_STATUSES.index)

    @property
    def message(self) -> str:
        return next((row.message for row in self.rows if row.status != "ok"), "")

    def complete(self) -> list[float] | None:
        """Return the figures where none is missing."""
        known = [figure for figure in self.figures or [] if figure is not None]
        return known if self.figures and len(known) == len(self.figures) else None

    @property
    def area_basis(self) -> str:
        """What its cells are counted from, and how good that is."""
        area = area_of(self.rows[0])
        if area is None:
            return "no estimate"
        if "cells" in self.rows[0].figures:
            return "synthesised at this size; an input buffer of 32 KB a cluster"
        if area.kind == "fit":
            return area.note
        note = f": {area.note}" if area.note else ""
        return f"{area.kind} of blocks of other sizes, error not measured{note}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """The points of a sweep, in the order in which they were proposed.

    Parameters
    ----------
    objectives : tuple of Objective
    found : tuple of Found
    described : dict of str to object
        What the sweep was asked: space, networks, search, images and the like, as plain values.
    """

    objectives: tuple[Objective, ...]
    found: tuple[Found, ...]
    described: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found)

    def __repr__(self) -> str:
        statuses = [each.status for each in self.found]
        counts = ", ".join(
            f"{statuses.count(status)} {status}"
            for status in _STATUSES
            if status != "dominated" or status in statuses
        )
        names = ", ".join(each.name for each in self.objectives)
        return f"<Study of {len(self)} points ({counts}) for {names}>"

    def front(self) -> list[Found]:
        """Return the points that no other is better than in every objective.

        Points without an estimate of some objective are left out.
        """
        measured = [each for each in self.found if each.figures and None not in each.figures]
        table = np.array([each.figures for each in measured], dtype=np.float64)
        signs = np.array([1 if each.smaller_is_better else -1 for each in self.objectives])
        if not measured:
            return []
        return [measured[index] for index in pareto_front(table * signs)]

    def sorted_front(self) -> list[Found]:
        """Return the front, best first in the first objective."""
        sign = 1 if self.objectives[0].smaller_is_better else -1

        def first(found: Found) -> float:
            figure = (found.figures or [None])[0]
            assert figure is not None, "a point of the front has all its figures"
            return sign * figure

        return sorted(self.front(), key=first)

    def narrowed(self, at_most: Mapping[str, float], best: int | None = None) -> Study:
        """Return the study of those of its points with all figures that keep some limits.

        Parameters
        ----------
        at_most : dict of str to float
            The largest figures, by objectives of the study.
        best : int, optional
            Only so many of the front that is left, the best in the first objective.

        Raises
        ------
        UserError
            The study has no such objective, or a number is bad.
        """
        places = self._places()
        limits = {
            look_up("Objective of a limit", places, name): limit for name, limit in at_most.items()
        }
        if best is not None and best < 1:
            raise UserError(f"Best points must be at least 1, not {best}")
        kept = [
            each
            for each in self.found
            if (figures := each.complete())
            and all(figures[place] <= limit for place, limit in limits.items())
        ]
        study = replace(self, found=tuple(kept))
        return study if best is None else replace(study, found=tuple(study.sorted_front()[:best]))

    def _places(self) -> dict[str, int]:
        """Return the place of each objective among the figures, by its names."""
        names = {each.name: place for place, each in enumerate(self.objectives)}
        return names | {short: names[name] for short, name in SHORT.items() if name in names}

    def pareto(self) -> pd.DataFrame:
        """Return the front as a data frame, best first in the first objective."""
        return _frame(self.sorted_front(), self.objectives)

    def to_dataframe(self) -> pd.DataFrame:
        """Return all points as a data frame: fields, status, objectives, and what was counted."""
        return _frame(self.found, self.objectives)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write all points to a file that ends in ``.csv``, ``.parquet`` or ``.log``.

        The last is an Optuna journal, for its dashboard.

        Raises
        ------
        UserError
            It ends in something else, can't be written, or what writes it is not installed.
        """
        path = Path(path)
        if path.suffix not in _NEEDS:
            raise UserError(f"Export must end in {', '.join(_NEEDS)}, not {path.name!r}")
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            if path.suffix == ".csv":
                self.to_dataframe().to_csv(beside, index=False)
            elif path.suffix == ".parquet":
                self.to_dataframe().to_parquet(beside, index=False)
            else:
                write_journal(self, beside)
            beside.replace(path)
        except ImportError:
            raise UserError(
                f"Export to {path.suffix} needs {_NEEDS[path.suffix]}, which is not installed: "
                "pip install 'innerjoin[sweep]'"
            ) from None
        except OSError as error:
            raise UserError(f"Export {path} can't be written: {error.strerror or error}") from None
        finally:
            beside.unlink(missing_ok=True)


def pareto_front(figures: NDArray[np.float64]) -> list[int]:
    """Return which rows no other row dominates, in their order; smaller is better.

    Of equal rows the first one stays.

    Parameters
    ----------
    figures : ndarray of float64, axes row, objective
    """
    # A row can be dominated only by one that comes before it in this order.
    order = np.lexsort(figures.T[::-1])
    front: list[int] = []
    for index in order:
        kept = figures[front]
        if not len(front) or not np.any(np.all(kept <= figures[index], axis=1)):
            front.append(int(index))
    return sorted(front)


def found_points(
    rows: Iterable[Row],
    networks: Mapping[str, float],
    objectives: Sequence[Objective],
    clock_mhz: float | None,
) -> list[Found]:
    """Return the points of which there are rows on all networks.

    Parameters
    ----------
    networks : dict of str to float
        Digests and weights.
    """
    by_point: dict[str, dict[str, Row]] = {}
    for row in rows:
        # A row that was counted later, by other code, stands for the earlier one.
        by_point.setdefault(row.point.canonical(), {})[row.network_digest] = row
    found = []
    for each in by_point.values():
        if set(networks) <= set(each):
            weighted = [(each[digest], weight) for digest, weight in networks.items()]
            figures = measure(objectives, weighted, clock_mhz)
            of_point = tuple(row for row, _ in weighted)
            found.append(Found(point=of_point[0].point, rows=of_point, figures=figures))
    return found


def _frame(found: Iterable[Found], objectives: Sequence[Objective]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_line(each, objectives) for each in found])


def _line(found: Found, objectives: Sequence[Objective]) -> dict[str, Any]:
    """Return a flat row of a point."""
    figures = found.figures or [None] * len(objectives)
    line: dict[str, Any] = {"machine": found.point.machine, **found.point.config}
    line |= {
        DENSITY: found.point.weight_density,
        PATTERN: found.point.weight_pattern,
        "status": found.status,
        "message": found.message,
    }
    line |= {each.name: figure for each, figure in zip(objectives, figures, strict=True)}
    line |= {
        "area": found.area_basis if found.status == "ok" else "",
        "cpu_seconds": sum(row.cpu_seconds for row in found.rows),
        "keys": " ".join(row.key for row in found.rows),
        "package": found.rows[0].package,
    }
    if found.status == "ok":
        for row in found.rows:
            timing = row.figures["modes"][row.mode]
            prefix = f"{row.network}." if len(found.rows) > 1 else ""
            counted = {"mode": row.mode, "total_cycles": timing["cycles"], "pairs": timing["pairs"]}
            counted |= timing["unit_cycles"] | timing["details"]
            line |= {f"{prefix}{name}": value for name, value in counted.items()}
    return line
