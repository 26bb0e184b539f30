"""Several machines from the command line: compared on one network, and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel.cli import network as cli_network
from accel.cli.output import (
    STANDARD_OUTPUT,
    check_writable,
    progress_bar,
    show,
    status,
    write_whole,
)
from golden.errors import ConfigError, UserError

__all__ = ["compare", "list_machines", "reproduce"]


def compare(
    name: str,
    *,
    machines: str,
    multipliers: int,
    images: Path | None,
    limit: int,
    density: float | None,
    node: str,
    plot: Path | None,
    json: str | None,
    csv: str | None,
) -> None:
    """Run a network on several machines and print tables, or write JSON, CSV and a page.

    Parameters
    ----------
    machines : str
        Names separated by commas, or ``all``.
    """
    outputs = [str(path) for path in (plot, json, csv) if path is not None]
    if len(set(outputs)) < len(outputs):
        raise UserError(f"Outputs of --plot, --json and --csv must differ, not {outputs}")
    for path in outputs:
        check_writable(path)
    from accel.comparison import compare as run
    from accel.costs.energy import EnergyTable
    from accel.machines import registry
    from accel.report import comparison as report

    names = list(registry.MACHINES) if machines == "all" else machines.split(",")
    chosen = [registry.load(each).with_multipliers(multipliers) for each in names]
    table = EnergyTable.load(node)
    with status(f"Loading {name}"):
        network, codes = cli_network.load(name, images, density)
    with progress_bar(f"Comparing on {network.name}") as progress:
        comparison = run(chosen, network, codes[:limit], table, progress)
    if json is not None:
        write_whole(json, comparison.to_json() + "\n")
    if csv is not None:
        write_whole(csv, comparison.to_csv())
    if plot is not None:
        write_whole(plot, report.html_page(comparison))
    if STANDARD_OUTPUT in (json, csv):
        return
    show(
        *report.heading(comparison),
        report.machines_table(comparison),
        report.time_table(comparison),
        report.layers_table(comparison),
        f"Energy: {table.node}, multiplications, additions, buffers and DRAM; no control logic, "
        "clock or leakage.",
    )


def list_machines(area_multipliers: int | None = None) -> None:
    """Print the table of machines, or that of their areas at a number of multipliers."""
    if area_multipliers is not None:
        show(*_areas(area_multipliers))
        return
    from rich.table import Table

    from accel.machines import registry

    table = Table("machine", "what it is", "source")
    for name in registry.MACHINES:
        machine = registry.load(name)
        table.add_row(name, machine.summary, machine.source)
    show(table)


def _areas(multipliers: int) -> list[Any]:
    """Return the table of areas and its notes."""
    from rich.table import Table

    from accel.costs.area import AreaTable
    from accel.machines import registry

    areas = AreaTable.load()
    table = Table("", "machine", "from", title_justify="left",
                  title=f"Cells of {multipliers} multipliers on an ECP5, by yosys")  # fmt: skip
    for title in ("LUT4", "FF", "LUT4 /\nmult.", "FF /\nmult.", "RAM\n16 x 4", "RAM\n18 kbit",
                  "18 x 18\nmult."):  # fmt: skip
        table.add_column(title, justify="right")
    notes = []
    for number, name in enumerate(registry.MACHINES, 1):
        try:
            found = areas.area(registry.load(name).with_multipliers(multipliers))
        except ConfigError as error:
            notes.append(f"{number}. {error}.")
            found = None
        else:
            note = found.note if found else "not measured at this size, and no estimate"
            notes += [f"{number}. {note}."] if note else []
        if found is None:
            table.add_row(str(number), name, "-")
            continue
        cells = found.cells
        figures = (cells.lut4, cells.ff, *(round(x / multipliers) for x in (cells.lut4, cells.ff)),
                   cells.dpr16x4, cells.dp16kd, cells.mult18)  # fmt: skip
        table.add_row(str(number), name, found.kind, *map(str, figures))
    return [table, *notes]


def reproduce(paper: str) -> None:
    """Print a paper's figures beside those found here."""
    from rich.table import Table

    from accel.studies.reproduce import Workbench
    from accel.studies.reproduce import reproduce as measure

    def load(name: str):
        return cli_network.load(name, None, None)

    with progress_bar(f"Reproducing {paper}") as progress:
        findings = measure(paper, Workbench(load, progress))
    table = Table("", "what", title=f"Reproducing {paper}", title_justify="left")
    for title in ("paper", "ours", "ours /\npaper"):
        table.add_column(title, justify="right")
    notes = []
    for number, finding in enumerate(findings, 1):
        claim = finding.claim
        both = (f"{x:,.0f}" if x >= 1000 else f"{x:.2f}" for x in (claim.figure, finding.ours))
        figures = (*both, f"{finding.ratio:.2f}")
        table.add_row(str(number), claim.what, *figures)
        notes.append(f"{number}. {claim.source}. {claim.differs}".rstrip() + ".")
    show(table, *notes)
