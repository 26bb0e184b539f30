"""Training and pruning from the command line: `accel prune`, `accel study`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.cli.machine import read_change
from accel.cli.output import STANDARD_OUTPUT, check_writable, show, write_whole
from golden.errors import UserError
from golden.machines.cambricon_s import CambriconSConfig
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

if TYPE_CHECKING:
    from golden.network import Network
    from sw.training.unrolled import Unrolled

__all__ = ["list_methods", "list_studies", "prune", "study"]

#: Calibration images that a final network's cycles are the mean of.
MEASURED_IMAGES = 2
#: The same while searching.
SEARCH_IMAGES = 2
#: Of the series of a plot (Plotly's own first ten).
COLOURS = (
    "#636efa", "#ef553b", "#00cc96", "#ab63fa", "#ffa15a",
    "#19d3f3", "#ff6692", "#b6e880", "#ff97ff", "#fecb52",
)  # fmt: skip
#: Dash and marker, for each turn through the colours.
DASHES = (("solid", "circle"), ("dash", "diamond-open"), ("dot", "x"))


def prune(
    network: str,
    *,
    method: str,
    options: dict[str, Any],
    changes: Sequence[str],
    machine: AcceleratorConfig,
    data: Path | None,
    images: int | None,
    output: Path | None,
    name: str | None,
    seed: int,
    epochs: int,
    dense: Path | None,
    dense_epochs: int | None,
    teacher: Path | None,
    temperature: float,
    mixing: float,
) -> None:
    """Train, prune and compress a network; say what became of it.

    Parameters
    ----------
    options : dict of str to object
        Options of the method that have an option of the command; None is left out.
    changes : sequence of str
        Other options of the method as ``key=value``, the value as in TOML.
    """
    _need_torch()
    from sw.training import methods, networks, pipeline

    definition = networks.find(network)
    wanted = {key: value for key, value in options.items() if value is not None}
    chosen = methods.make(method, wanted | dict(read_change(text) for text in changes))
    for option, count in (("epochs", epochs), ("dense-epochs", dense_epochs), ("images", images)):
        if count is not None and count < 1:
            raise UserError(f"Option --{option} must be 1 at least, not {count}")
    if name is not None and Path(name).name != name:
        raise UserError(f"Name must be that of a file, without a folder, not {name!r}")
    for path in (dense, teacher):
        if path is not None and not path.is_file():
            raise UserError(f"Model {path} must be a file")
    _log()
    split = _split(data, images)
    layer_cost = _layer_cost(machine, split.calibration)
    outcome = pipeline.prune(
        definition,
        chosen,
        split,
        output or Path("build/pruned") / (name or f"{network}-{method}"),
        seed=seed,
        name=name,
        epochs=epochs,
        dense=dense,
        dense_epochs=dense_epochs,
        teacher=teacher,
        temperature=temperature,
        mixing=mixing,
        cost=_total(layer_cost),
        layer_cost=layer_cost,
        images=images,
    )
    show(*_report(outcome, _measure(machine, split.calibration)))


def study(
    name: str,
    *,
    machine: AcceleratorConfig,
    data: Path | None,
    images: int | None,
    output: Path | None,
    seeds: int,
    scale: float,
    plot: Path | None,
    json: str | None,
    csv: str | None,
) -> None:
    """Run a study and print its table, or write JSON, CSV and a page."""
    _need_torch()
    from sw.training import studies
    from sw.training.studies.study import StudyTask, summarise

    chosen = studies.find(name)
    for path in (plot, json, csv):
        check_writable(path)
    if seeds < 1 or not scale > 0:
        raise UserError(f"Seeds must be 1 at least and scale above 0, not {seeds} and {scale}")
    _log()
    split = _split(data, images)
    layer_cost = _layer_cost(machine, split.calibration)
    rows = chosen.rows(
        StudyTask(
            data=split,
            folder=output or Path("build/studies"),
            seeds=tuple(range(1, seeds + 1)),
            scale=scale,
            measure=_measure_both(machine, split.calibration),
            cost=_total(layer_cost),
            layer_cost=layer_cost,
            measure_on=lambda **changes: _measure(machine.replace(**changes), split.calibration),
            images=images,
        )
    )
    if csv is not None:
        from accel.results import csv_text

        write_whole(csv, csv_text(rows))
    if json is not None:
        import json as library

        document = {"study": name, "machine": machine.to_dict(), "rows": rows}
        write_whole(json, library.dumps(document, indent=1) + "\n")
    if plot is not None:
        write_whole(plot, _page(chosen, rows))
    if STANDARD_OUTPUT in (json, csv):
        return
    from rich.table import Table

    frame = summarise(rows, chosen.columns)
    table = Table("network", "what", "seeds", title=chosen.question, title_justify="left")
    for column in chosen.columns:
        table.add_column(column.replace("_", "\n"), justify="right")
    for line in frame.to_dict("records"):
        cells = [_spread(line[column], line[f"{column}_std"]) for column in chosen.columns]
        table.add_row(line["network"], line["label"], str(line["seeds"]), *cells)
    show(table, f"± is the standard deviation over seeds. {chosen.notes}".strip())


def list_methods() -> None:
    """Print what each method removes, its source, what it needs and its options."""
    _need_torch()
    import dataclasses

    from rich.table import Table

    from sw.training.methods import METHODS
    from sw.training.networks import DEFINITIONS

    table = Table("method", "removes", "source", "needs", "options")
    for name, method in METHODS.items():
        fields = ", ".join(field.name for field in dataclasses.fields(method))  # type: ignore[arg-type]
        table.add_row(name, method.removes, method.source, method.needs, fields)
    networks = Table("network", "what it is")
    for name, definition in DEFINITIONS.items():
        networks.add_row(name, definition.summary)
    show(table, networks)


def list_studies() -> None:
    """Print the studies and their questions."""
    _need_torch()
    from rich.table import Table

    from sw.training.studies import STUDIES

    table = Table("study", "question")
    for name, each in STUDIES.items():
        table.add_row(name, each.question)
    show(table)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError(
            "Training needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None


def _log() -> None:
    """Say on standard error what is being trained."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def _split(folder: Path | None, images: int | None) -> Any:
    from sw.training.data import split
    from sw.training.dataset import FOLDER, load_dataset

    return split(load_dataset(folder or FOLDER), images)


def _layer_cost(machine: AcceleratorConfig, images: Any) -> Callable[[Any], dict[str, float]]:
    """Return a function that counts a PyTorch model's cycles by layer, means of a few images."""
    import torch

    from accel.layers import count_cycles
    from sw.training.tensors import layer_tensors

    chosen = torch.from_numpy(images[:SEARCH_IMAGES])

    def cost(model: Any) -> dict[str, float]:
        counts = [count_cycles(machine, layer_tensors(model, image)) for image in chosen]
        return {name: sum(each[name] for each in counts) / len(counts) for name in counts[0]}

    return cost


def _total(layer_cost: Callable[[Any], dict[str, float]]) -> Callable[[Any], float]:
    return lambda model: sum(layer_cost(model).values())


def _measure(
    machine: AcceleratorConfig, images: Any
) -> Callable[[Network | Unrolled], dict[str, float]]:
    """Return a function that simulates a final network on a few calibration images.

    Of an unrolled network only the cycles of ``machine`` are counted.
    """
    from accel.layers import count_cycles
    from accel.simulator import simulate
    from golden.network import Network

    chosen = images[:MEASURED_IMAGES]

    def figures(cycles: dict[SkipMode, int]) -> dict[str, float]:
        both = cycles[SkipMode.BOTH]
        return {
            "cycles": both / len(chosen),
            "speed_up_over_dense": cycles[SkipMode.DENSE] / both,
            "speed_up_over_static": cycles[SkipMode.STATIC] / both,
            "speed_up_over_dynamic": cycles[SkipMode.DYNAMIC] / both,
        }

    def measure(network: Network | Unrolled) -> dict[str, float]:
        if not isinstance(network, Network):
            runs = [run for image in chosen for run in network.run(image)]
            modes = {skip: sum(count_cycles(machine, runs, skip).values()) for skip in SkipMode}
            return figures(modes)
        total = simulate(machine, network, chosen.transpose(0, 2, 3, 1)).total
        return {
            **figures({skip: mode.cycles for skip, mode in total.modes.items()}),
            "utilisation": total.utilisation(SkipMode.BOTH),
        }

    return measure


def _measure_both(
    machine: AcceleratorConfig, images: Any
) -> Callable[[Network | Unrolled], dict[str, float]]:
    """Return what ``_measure`` does, with the cycles of Cambricon-S where it has some."""
    from accel.comparison import compare
    from accel.costs.energy import EnergyTable
    from accel.machines.cambricon_s.model import CambriconS
    from golden.network import Network

    measure_one = _measure(machine, images)
    cambricon_s = CambriconS(CambriconSConfig.preset("paper"))
    table = EnergyTable.load("45nm")
    chosen = images[:MEASURED_IMAGES].transpose(0, 2, 3, 1)

    def measure(network: Network | Unrolled) -> dict[str, float]:
        figures = measure_one(network)
        if isinstance(network, Network):
            total = compare([cambricon_s], network, chosen, table).total(cambricon_s.name)
            figures["cambricon_s_cycles"] = total.cycles / len(chosen)
        return figures

    return measure


def _report(outcome: Any, measure: Callable[[Network | Unrolled], dict[str, float]]) -> list[Any]:
    """Return what is printed of a pruned network."""
    from rich.table import Table

    figures = measure(outcome.network)
    table = Table("", "dense", "pruned")
    for column in table.columns[1:]:
        column.justify = "right"
    kept = round(outcome.density * outcome.weights)
    table.add_row(
        "accuracy on test data",
        f"{100 * outcome.accuracy['dense']:.2f} %",
        f"{100 * outcome.accuracy['pruned']:.2f} %",
    )
    table.add_row("accuracy in int8", "", f"{100 * outcome.accuracy['int8']:.2f} %")
    table.add_row("weights", f"{outcome.dense_weights:,}", f"{outcome.weights:,}")
    table.add_row("weights that are not zero", "", f"{kept:,}")
    table.add_row("share of the dense network's", "", f"{100 * kept / outcome.dense_weights:.2f} %")
    table.add_row("MACs, zeros included", f"{outcome.dense_macs:,}", f"{outcome.macs:,}")
    table.add_row("cycles an image", "", f"{figures['cycles']:,.0f}")
    speed_ups = [
        f"{figures[f'speed_up_over_{mode}']:.2f} over {words}"
        for mode, words in (
            ("dense", "dense"),
            ("static", "weights' zeros alone"),
            ("dynamic", "activations' zeros alone"),
        )
    ]
    return [
        f"{outcome.network.name}: {outcome.network.source}",
        table,
        f"Speed-up of skipping both: {', '.join(speed_ups)} (this network, same machine).",
        *(f"wrote {path}" for path in outcome.files),
    ]


def _spread(mean: float, deviation: float) -> str:
    if mean != mean:
        return "-"
    digits = max(0, 4 - len(str(int(abs(mean)))))
    text = f"{mean:,.{digits}f}"
    return text if deviation != deviation else f"{text} ±{deviation:,.{digits}f}"


def _style(number: int) -> dict[str, Any]:
    """Return line and marker of a series: the ten colours, then the same with other dashes."""
    turn, colour = divmod(number, len(COLOURS))
    dash, symbol = DASHES[turn % len(DASHES)]
    return {"line": {"color": COLOURS[colour], "dash": dash}, "marker": {"symbol": symbol}}


def _page(study: Any, rows: list[dict[str, Any]]) -> str:
    """Return a page with the study's plots: means over seeds, spreads as bars."""
    try:
        from plotly import graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError:
        raise UserError(
            "Plots need plotly, which is not installed: pip install 'innerjoin[plot]'"
        ) from None
    import pandas as pd

    figure = make_subplots(
        rows=len(study.plots),
        cols=1,
        vertical_spacing=0.25 / len(study.plots),
        subplot_titles=[f"{p.y} by {p.x}".replace("_", " ") for p in study.plots],
    )
    # A series has its style in all plots.
    styles: dict[str, dict[str, Any]] = {}
    frame: Any = pd.DataFrame(rows)
    for number, plot in enumerate(study.plots, start=1):
        means = frame.groupby([plot.series, "label"], sort=False)[[plot.x, plot.y]]
        mean, spread = means.mean(), means.std().fillna(0)
        for series in mean.index.get_level_values(0).unique():
            line, bars = mean.loc[series].sort_values(plot.x), spread.loc[series]
            known = str(series) in styles
            style = styles.setdefault(str(series), _style(len(styles)))
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
