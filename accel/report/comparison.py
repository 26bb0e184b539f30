"""Tables and pictures of a comparison of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from accel.comparison import Comparison
from accel.report.network import percent, ratio, short_counter, titled_table
from golden.counters import UNIT_COUNTERS
from golden.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["heading", "html_page", "layers_table", "machines_table", "time_table"]

_MEGA = 1e6


def heading(comparison: Comparison) -> list[str]:
    """Say what ran; where weights and activations come from is always stated."""
    sizes = sorted({comparison.total(name).multipliers for name in comparison.machines})
    images = "1 image" if comparison.images == 1 else f"{comparison.images} images"
    return [
        f"{comparison.network} on {len(comparison.machines)} machines of "
        f"{' or '.join(map(str, sizes))} multipliers; {images}",
        f"Source: {comparison.source}",
    ]


def machines_table(comparison: Comparison) -> Table:
    """Return the whole network on each machine."""
    table = Table("machine", title="All layers", title_justify="left", title_style="bold")
    titles = ("\ncycles", f"times\n{comparison.baseline}", "% of own\nideal", "utili-\nsation %",
              "Mpairs", "DRAM\nMB", "on-chip\nuJ", "with\nDRAM uJ")  # fmt: skip
    for title in titles:
        table.add_column(title, justify="right")
    for name in comparison.machines:
        total = comparison.total(name)
        table.add_row(
            name,
            str(total.cycles),
            ratio(comparison.speed_up(name)),
            percent(total.own_ideal_share),
            percent(total.utilisation),
            f"{total.pairs / _MEGA:.1f}",
            f"{total.dram_bytes / _MEGA:.2f}",
            f"{total.energy.on_chip_pj / _MEGA:.1f}",
            f"{total.energy.total_pj / _MEGA:.1f}",
        )
    return table


def time_table(comparison: Comparison) -> Table:
    """Return where unit-cycles went on each machine, in percent."""
    table = Table(
        "machine",
        title="Where the time went, % of unit-cycles",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("units", justify="right")
    for name in UNIT_COUNTERS:
        table.add_column(short_counter(name), justify="right")
    for name in comparison.machines:
        total = comparison.total(name)
        shares = total.shares().values()
        table.add_row(name, str(total.units), *(percent(share) for share in shares))
    return table


def layers_table(comparison: Comparison) -> Table:
    """Return each layer's speed-up on each machine over the baseline."""
    table = titled_table(f"Times {comparison.baseline}, by layer")
    for name in comparison.machines:
        table.add_column(_folded(name), justify="right")
    base = comparison.layers[comparison.baseline]
    for index, layer in enumerate(base):
        cycles = (comparison.layers[name][index].cycles for name in comparison.machines)
        table.add_row(layer.layer, *(ratio(layer.cycles / count) for count in cycles))
    table.add_section()
    table.add_row("total", *(ratio(comparison.speed_up(name)) for name in comparison.machines))
    return table


def _folded(name: str) -> str:
    """Write a machine's name on up to three lines."""
    return "\n".join(name.split("-", 2))


def html_page(comparison: Comparison) -> str:
    """Return a page with plots of the comparison that needs no network.

    Raises
    ------
    UserError
        plotly is not installed.
    """
    try:
        from plotly import graph_objects as go
        from plotly.subplots import make_subplots
    except ModuleNotFoundError:
        raise UserError(
            "Plots need plotly, which is not installed: pip install 'innerjoin[plot]'"
        ) from None
    names = comparison.machines
    figure = make_subplots(
        rows=3,
        cols=1,
        vertical_spacing=0.1,
        subplot_titles=(
            f"Speed-up over {comparison.baseline}, by layer",
            "Where the time went, % of unit-cycles",
            f"Energy, uJ, {comparison.node} (no control logic, clock or leakage)",
        ),
    )
    base = comparison.layers[comparison.baseline]
    labels = [layer.layer for layer in base] + ["total"]
    for index, name in enumerate(names):
        speeds = [
            mine.cycles / layer.cycles
            for mine, layer in zip(base, comparison.layers[name], strict=True)
        ]
        _bar(
            go, figure, 1, labels, [*speeds, comparison.speed_up(name)], name, _COLOURS[index % 10]
        )
    for index, counter in enumerate(UNIT_COUNTERS):
        shares = [100 * comparison.total(name).shares()[counter] for name in names]
        _bar(go, figure, 2, names, shares, short_counter(counter), _COLOURS[index], stack="time")
    for index, part in enumerate(("multiply", "add", "buffer", "dram")):
        energies = [getattr(comparison.total(name).energy, f"{part}_pj") / _MEGA for name in names]
        _bar(go, figure, 3, names, energies, part, _COLOURS[index], stack="energy")
    figure.update_layout(
        title="<br>".join(heading(comparison)),
        height=1300,
        margin={"t": 140},
        template="plotly_white",
        bargap=0.25,
        barmode="stack",
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="comparison")


#: Ten colours that can be told apart, also by most who do not see all colours.
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb",
            "#000000", "#997700", "#ee99aa")  # fmt: skip


def _bar(
    go,
    figure,
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
