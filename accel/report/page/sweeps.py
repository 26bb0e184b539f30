"""The page of a sweep: its front, its space, why points can't be, and how it was made."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accel.report.page.document import Bar, Chart, Html, Listing, bars, document
from accel.report.sweeps import area_bases
from accel.report.table import Column, Kind, Table, figure
from accel.report.tables import short_counter
from golden.counters import UNIT_COUNTERS

if TYPE_CHECKING:
    from accel.sweeps.results.study import Found, Study

__all__ = ["space_toml", "sweep_command", "sweep_page"]

#: Points beside the front that a page carries, and draws as lines: of more, some at even distances.
_POINTS_MAX, _THREADS_MAX = 4000, 800
#: Rows of the front in the chart of unit-cycles, and reasons.
_BARS_MAX, _REASONS_MAX = 30, 20
#: Columns of a point beside the fields of its configuration.
_BESIDE = ("machine", "weight_density", "weight_pattern")

_CHOSEN = """<div id="chosen"><p class="figures"></p><pre></pre>
<button type="button" data-copy="chosen" hidden>Copy</button></div>"""


def sweep_page(study: Study, command: str = "") -> str:
    """Return the page of a sweep.

    Parameters
    ----------
    study : Study
        Of at least one point.
    command : str
        That makes the page again, where there is one.
    """
    front = study.sorted_front()
    on_front = {id(each) for each in front}
    others = _thinned([x for x in study.found if x.figures and id(x) not in on_front], _POINTS_MAX)
    points = [*front, *others]
    names = [each.name for each in study.objectives]
    fields = [*_varied([each.point for each in points])]
    columns = list(dict.fromkeys([*fields, "machine", *names]))
    shared = {
        "columns": columns,
        "points": [_values(each, columns, names) for each in points],
        "front": list(range(len(front))),
        "thin": _thinned(list(range(len(front), len(points))), _THREADS_MAX),
        "fields": fields,
        "objectives": [
            {"name": each.name, "smaller": each.smaller_is_better} for each in study.objectives
        ],
        "machines": {
            each.point.machine: {"name": each.point.machine, **each.point.config} for each in points
        },
    }
    parts: list[Chart | Listing | Html | Table] = []
    if points:
        parts = [
            Chart("scatter", "Points and Pareto front", "Red points are on the front: no other one "
                  "is better in every objective. Touch or click one for its configuration."),
            Html("Chosen machine", _CHOSEN),
            Chart("parallel", "What the points have in common", "A line is a point. Drag over an "
                  "axis to keep a range of it, here and above; tap the axis to let go."),
        ]  # fmt: skip
    if front:
        parts.append(_cycles_chart(front, names, fields))
    parts += [*_reasons(study), *_provenance(study, command)]
    networks = study.described.get("networks", {})
    counts = Counter(each.status for each in study.found)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    lead = [f"{len(study)} points: {said}; {len(front)} on the Pareto front."]
    lead += [f"{each.name}: {each.summary}." for each in study.objectives]
    if any(each.is_area for each in study.objectives):
        lead += [f"Area: {basis}." for basis in area_bases(front)]
    if len(others) + len(front) < sum(bool(each.figures) for each in study.found):
        lead.append(f"Beside the front {len(others)} points are shown, taken evenly.")
    on = " and ".join(networks) or "a network"
    return document(f"Sweep of {len(study)} machines on {on}", lead, parts, shared)


def _thinned(items: list[Any], most: int) -> list[Any]:
    """Return at most so many, at even distances."""
    if len(items) <= most:
        return items
    return [items[number * len(items) // most] for number in range(most)]


def _varied(points: Sequence[Any]) -> list[str]:
    """Return the fields in which points differ, in the order of their configuration."""
    keys = dict.fromkeys(key for point in points for key in point.config)
    varied = [key for key in keys if len({str(point.config.get(key)) for point in points}) > 1]
    beside = [key for key in _BESIDE if len({getattr(point, key) for point in points}) > 1]
    return [*beside, *varied]


def _values(found: Found, columns: Sequence[str], names: Sequence[str]) -> list[Any]:
    point = found.point
    known = {**point.config, **{key: getattr(point, key) for key in _BESIDE}}
    known |= dict(zip(names, found.figures or (), strict=True))
    return [known.get(column) for column in columns]


def _cycles_chart(front: Sequence[Found], names: Sequence[str], fields: Sequence[str]) -> Chart:
    """Return where units spend their cycles, along the front: sums over networks."""
    counters = [short_counter(counter) for counter in UNIT_COUNTERS]
    rows = []
    for number in _thinned(list(range(len(front))), _BARS_MAX):
        found = front[number]
        spent = Counter()
        for row in found.rows:
            spent.update(row.figures["modes"][row.mode]["unit_cycles"])
        total = sum(spent.values()) or 1
        first = (found.figures or [0])[0] or 0
        config = found.point.config
        said = ", ".join(str(config[key]) for key in fields if key in config)
        rows.append(
            Bar(
                f"{first:,.0f} {names[0]}: {said}",
                [100 * spent[counter] / total for counter in UNIT_COUNTERS],
                number,
            )
        )
    return bars(
        "Where cycles go along the front", "% of unit-cycles", counters, rows, palette="time",
        note=f"By {names[0]}; then {', '.join(fields).replace('_', ' ')}.",
    )  # fmt: skip


def _reasons(study: Study) -> list[Html | Table]:
    """Return why points can't be, or failed: rules that differ in their numbers are one."""
    counted: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for each in study.found:
        if each.status not in ("ok", "dominated"):
            key = each.status, re.sub(r"\d[\d,.]*", "N", each.message)
            counted[key] += 1
            examples.setdefault(key, each.message)
    title = "Why points are infeasible"
    if not counted:
        return [Html(title, "<p>None is: all points could be counted.</p>")]
    table = Table("", [figure("points"), Column("", Kind.TEXT), Column("for example", Kind.TEXT)])
    for (status, message), count in counted.most_common(_REASONS_MAX):
        table.add(count, status, examples[status, message])
    return [Html(title, f'<div class="wide">{table.html()}</div>')]


def _provenance(study: Study, command: str) -> list[Listing]:
    if not study.described:
        return []
    versions = sorted({each.rows[0].package for each in study.found})
    return [
        Listing(
            "How it was made",
            "\n".join([sweep_command(study.described), *([command] if command else [])]),
            f"With version {', '.join(versions)} of this package; space.toml is below.",
        ),
        Listing("space.toml", space_toml(study.described["space"])),
    ]


def sweep_command(described: Mapping[str, Any]) -> str:
    """Return a command that does what a sweep was asked."""
    words = ["accel", "sweep", "space.toml"]
    for name, weight in described["networks"].items():
        words += ["--network", name if weight == 1 else f"{name}={weight:g}"]
    words += ["--objectives", ",".join(described["objectives"])]
    words += ["--search", described["search"]]
    for option, key, usual in (
        ("--trials", "trials", None),
        ("--limit", "images", 1),
        ("--clock", "clock_mhz", None),
        ("--node", "technology_node", "45nm"),
        ("--seed", "seed", 0),
    ):
        if described[key] != usual:
            words += [option, str(described[key])]
    return shlex.join([*words, *["--bounds"] * described["bounds"]])


def space_toml(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return a space as the file that describes it."""
    texts = []
    for part in parts:
        keys: dict[str, Any] = {}
        if "machine" not in part["axes"]:
            keys["machine"] = next(iter(part["bases"]))
        if part["preset"] is not None:
            keys["preset"] = part["preset"]
        for key, values in part["axes"].items():
            keys[key] = values[0] if len(values) == 1 else values
        keys |= {key: f"= {text.strip()}" for key, text in part["derived"].items()}
        if part["constraints"]:
            keys["constraints"] = part["constraints"]
        # Plain values are written in TOML as in JSON.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
        texts.append("\n".join(["[[space]]"] * (len(parts) > 1) + lines))
    return "\n\n".join(texts)
