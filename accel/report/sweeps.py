"""Reports of sweeps: the Pareto front, and what became of the other points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accel.report.table import Column, Kind, Table, figure
from accel.report.tables import Item

if TYPE_CHECKING:
    from accel.sweeps.results.study import Found, Study

__all__ = ["area_bases", "study_report"]

#: Rows of the front, and reasons, that are shown.
_ROWS_MAX, _REASONS_MAX = 40, 5


def study_report(study: Study, beside: Sequence[Found] = ()) -> list[Item]:
    """Return the front, and why points can't be or have failed.

    Fields in which all points are alike are left out; those ``beside`` the study count too.
    """
    counts = Counter(each.status for each in study.found)
    front = study.pareto()
    names = [each.name for each in study.objectives]
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    said = f": {said}; {len(front)} on the Pareto front" if counts else ""
    items: list[Item] = [f"{len(study)} points{said}."]
    if len(front):
        points = [each.point for each in (*study.found, *beside)]
        fields = [
            key
            for key in points[0].config
            if len({str(point.config.get(key)) for point in points}) > 1
        ]
        fields += [
            key
            for key in ("machine", "weight_density", "weight_pattern")
            if len({getattr(point, key) for point in points}) > 1
        ]
        table = Table(
            "Pareto front",
            [
                *(figure(name.replace("_", "_\n")) for name in names),
                *(Column(key.replace("_", "_\n"), Kind.FIGURE) for key in fields),
            ],
        )
        for row in front.to_dict("records"):
            table.add(*(_short(row[name]) for name in names), *(row[key] for key in fields))
        items.append(table.shortened(_ROWS_MAX))
        if any(each.is_area for each in study.objectives):
            items += [f"Area: {basis}." for basis in area_bases(study.front())]
    reasons = Counter((each.status, each.message) for each in study.found
                      if each.status not in ("ok", "dominated"))  # fmt: skip
    for (status, message), count in reasons.most_common(_REASONS_MAX):
        items.append(f"{count} {status}: {message}")
    return items


def area_bases(front: Sequence[Found]) -> list[str]:
    """Say what the cells of some points are counted from."""
    return sorted({each.area_basis for each in front})


def _short(value: float) -> str:
    """Return a figure, whole where it is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value % 1 == 0 else f"{value:.6g}"
