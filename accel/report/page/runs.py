"""Pages of a comparison of machines, and of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel.report.page.document import Bar, Chart, bars, document
from accel.report.table import plain
from accel.report.tables import heading, short_counter
from golden.counters import UNIT_COUNTERS

if TYPE_CHECKING:
    from accel.results import Run
    from accel.studies.pruning import StudyResult

__all__ = ["comparison_page", "study_page"]

_MEGA = 1e6
_PARTS = ("multiply", "add", "buffer", "dram")


def comparison_page(run: Run) -> str:
    """Return a page on how machines compare: speed by layer, time, energy."""
    base = run.baseline
    names = [machine.name for machine in run.machines]
    totals = [machine.total for machine in run.machines]
    timings = [total.timings[total.mode] for total in totals]
    speed_ups = [
        Bar(
            over.name,
            [
                over.cycles / (*machine.layers, machine.total)[number].cycles
                for machine in run.machines
            ],
        )
        for number, over in enumerate((*base.layers, base.total))
    ]
    shares = [
        Bar(name, [100 * timing.shares()[counter] for counter in UNIT_COUNTERS])
        for name, timing in zip(names, timings, strict=True)
    ]
    energies = [
        Bar(name, [getattr(timing.energy, f"{part}_pj") / _MEGA for part in _PARTS])
        for name, timing in zip(names, timings, strict=True)
    ]
    counters = [short_counter(counter).replace("-\n", "").replace("\n", " ")
                for counter in UNIT_COUNTERS]  # fmt: skip
    title, *lead = map(str, heading(run))
    return document(
        title,
        lead,
        [
            bars(f"Speed-up over {base.name}, by layer", "times", names, speed_ups,
                 palette="machines", stacked=False),
            bars("Where the time went", "% of unit-cycles", counters, shares, palette="time"),
            bars(f"Energy, {run.technology_node}", "uJ", _PARTS, energies, palette="energy",
                 note="No control logic, clock or leakage."),
        ],
    )  # fmt: skip


def study_page(result: StudyResult) -> str:
    """Return a page with a study's plots: means over seeds, spreads as bars."""
    import pandas as pd

    frame: Any = pd.DataFrame(result.rows)
    # A series has its style in all plots.
    styles: dict[str, int] = {}
    charts = []
    for plot in result.study.plots:
        means = frame.groupby([plot.series, "label"], sort=False)[[plot.x, plot.y]]
        mean, spread = means.mean(), means.std().fillna(0)
        series = []
        for name in mean.index.get_level_values(0).unique():
            line = mean.loc[name].sort_values(plot.x)
            points = [
                {
                    "x": float(row[plot.x]),
                    "y": float(row[plot.y]),
                    "spread": float(spread.loc[name].loc[label, plot.y]),
                    "label": plain(str(label)),
                }
                for label, row in line.iterrows()
            ]
            style = styles.setdefault(str(name), len(styles))
            series.append({"name": plain(str(name)), "style": style, "points": points})
        title = f"{plot.y} by {plot.x}".replace("_", " ")
        charts.append(Chart("lines", title, "", {"x": plot.x, "y": plot.y, "series": series}))
    return document(result.study.question, [], charts)
