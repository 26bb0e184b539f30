"""Pages of plots that need no network: of a comparison of machines, and of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accel.report.table import plain
from accel.report.tables import heading, short_counter
from golden.counters import UNIT_COUNTERS
from golden.errors import UserError

if TYPE_CHECKING:
    from accel.results import Run
    from accel.studies.pruning import StudyResult

__all__ = ["comparison_page", "series_style", "study_page"]

_MEGA = 1e6

#: Ten colours that can be told apart, also by most who do not see all colours.
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb",
            "#000000", "#997700", "#ee99aa")  # fmt: skip
#: Dash and marker, for each turn through the colours.
_DASHES = (("solid", "circle"), ("dash", "diamond-open"), ("dot", "x"))


def _plotly() -> tuple[Any, Any]:
    """Return plotly's graph objects, and its function that makes subplots.

    Raises
    ------
    UserError
        plotly is not installed.
    """
    try:
        from plotly import graph_objects
        from plotly.subplots import make_subplots
    except ModuleNotFoundError:
        raise UserError(
            "Plots need plotly, which is not installed: pip install 'innerjoin[plot]'"
        ) from None
    return graph_objects, make_subplots


def comparison_page(run: Run) -> str:
    """Return a page on how machines compare: speed by layer, time, energy.

    Raises
    ------
    UserError
        plotly is not installed.
    """
    go, make_subplots = _plotly()
    base = run.baseline
    figure = make_subplots(
        rows=3,
        cols=1,
        vertical_spacing=0.1,
        subplot_titles=(
            f"Speed-up over {plain(base.name)}, by layer",
            "Where the time went, % of unit-cycles",
            f"Energy, uJ, {run.technology_node} (no control logic, clock or leakage)",
        ),
    )
    names = [plain(machine.name) for machine in run.machines]
    totals = [machine.total for machine in run.machines]
    timings = [total.timings[total.mode] for total in totals]
    over = (*base.layers, base.total)
    labels = [plain(layer.name) for layer in over]
    for index, (machine, total) in enumerate(zip(run.machines, totals, strict=True)):
        mine = (*machine.layers, total)
        speeds = [one.cycles / other.cycles for one, other in zip(over, mine, strict=True)]
        _add_bars(go, figure, 1, labels, speeds, names[index], _COLOURS[index % len(_COLOURS)])
    for index, counter in enumerate(UNIT_COUNTERS):
        shares = [100 * timing.shares()[counter] for timing in timings]
        _add_bars(go, figure, 2, names, shares, short_counter(counter), _COLOURS[index], "time")
    for index, part in enumerate(("multiply", "add", "buffer", "dram")):
        energies = [getattr(timing.energy, f"{part}_pj") / _MEGA for timing in timings]
        _add_bars(go, figure, 3, names, energies, part, _COLOURS[index], "energy")
    figure.update_layout(
        title="<br>".join(plain(str(line)) for line in heading(run)),
        height=1300,
        margin={"t": 140},
        template="plotly_white",
        bargap=0.25,
        barmode="stack",
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="comparison")


def _add_bars(
    go: Any,
    figure: Any,
    row: int,
    labels: Sequence[str],
    values: Sequence[float],
    name: str,
    colour: str,
    stack: str | None = None,
) -> None:
    """Add bars; those of one stack lie on one another, others side by side."""
    figure.add_trace(
        go.Bar(
            x=labels,
            y=values,
            name=name,
            marker_color=colour,
            legendgroup=f"row {row}",
            legendgrouptitle_text=("machine", "unit-cycles", "energy")[row - 1],
            offsetgroup=stack or name,
        ),
        row=row,
        col=1,
    )


def series_style(number: int) -> dict[str, Any]:
    """Return line and marker of a series: the ten colours, then the same with other dashes."""
    turn, colour = divmod(number, len(_COLOURS))
    dash, symbol = _DASHES[turn % len(_DASHES)]
    return {"line": {"color": _COLOURS[colour], "dash": dash}, "marker": {"symbol": symbol}}


def study_page(result: StudyResult) -> str:
    """Return a page with a study's plots: means over seeds, spreads as bars.

    Raises
    ------
    UserError
        plotly is not installed.
    """
    go, make_subplots = _plotly()
    import pandas as pd

    study = result.study
    figure = make_subplots(
        rows=len(study.plots),
        cols=1,
        vertical_spacing=0.25 / len(study.plots),
        subplot_titles=[f"{p.y} by {p.x}".replace("_", " ") for p in study.plots],
    )
    # A series has its style in all plots.
    styles: dict[str, dict[str, Any]] = {}
    frame: Any = pd.DataFrame(result.rows)
    for number, plot in enumerate(study.plots, start=1):
        means = frame.groupby([plot.series, "label"], sort=False)[[plot.x, plot.y]]
        mean, spread = means.mean(), means.std().fillna(0)
        for series in mean.index.get_level_values(0).unique():
            line, bars = mean.loc[series].sort_values(plot.x), spread.loc[series]
            known = str(series) in styles
            style = styles.setdefault(str(series), series_style(len(styles)))
            figure.add_trace(
                go.Scatter(
                    x=line[plot.x],
                    y=line[plot.y],
                    text=line.index,
                    error_y={"array": bars.loc[line.index, plot.y]},
                    mode="lines+markers",
                    name=str(series),
                    legendgroup=str(series),
                    **style,
                    showlegend=not known,
                ),
                row=number,
                col=1,
            )
        figure.update_xaxes(title_text=plot.x.replace("_", " "), row=number, col=1)
        figure.update_yaxes(title_text=plot.y.replace("_", " "), row=number, col=1)
    figure.update_layout(
        title=study.question, template="plotly_white", height=150 + 450 * len(study.plots)
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="study")
