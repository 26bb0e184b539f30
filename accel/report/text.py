"""Reports as plain text and as HTML: for a terminal, a pipe, a notebook, or ``print``."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from accel.report import tables
from accel.report.table import LINE_LIMIT, Column, Kind, Table, figure, plain
from accel.report.tables import Item

if TYPE_CHECKING:
    from accel.chip.results import ChipResult
    from accel.results import Run
    from accel.verification.chip import ChipVerification
    from accel.verification.layers import Verification

__all__ = [
    "WIDTH",
    "chip_report",
    "chip_text",
    "chip_verification_report",
    "render",
    "run_html",
    "run_text",
    "verification_report",
    "verification_text",
]

#: Columns where nobody says how many there are.
WIDTH = 80

_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"


def render(items: Iterable[Item], width: int = WIDTH, *, styled: bool = False) -> str:
    """Return a report as text, each line ended.

    Parameters
    ----------
    width : int
        No line is wider, unless a single word or figure is.
    styled : bool
        Set titles in bold and draw rules, for a terminal.
    """
    lines: list[str] = []
    for item in items:
        if isinstance(item, str):
            lines += textwrap.wrap(
                plain(item, limit=2 * LINE_LIMIT),
                width,
                break_long_words=False,
                break_on_hyphens=False,
            ) or [""]
            continue
        if lines:
            lines.append("")
        title = textwrap.wrap(plain(item.title), width)
        lines += [f"{_BOLD}{line}{_NORMAL}" for line in title] if styled else title
        lines += item.lines(width, rules=styled)
    return "".join(f"{line}\n" for line in lines)


def run_text(run: Run) -> str:
    """Return a run in short: layers, then totals."""
    return render(tables.run_summary(run)).removesuffix("\n")


def run_html(run: Run) -> str:
    """Return a run in short, as HTML."""
    return "".join(
        item.html() if isinstance(item, Table) else f"<p>{html.escape(plain(item))}</p>"
        for item in tables.run_summary(run)
    )


def chip_text(result: ChipResult) -> str:
    """Return a network's cycles on a chip."""
    return render(chip_report(result)).removesuffix("\n")


def chip_report(result: ChipResult) -> list[Item]:
    """Return a network's cycles on a chip by layer and what waited, and its traffic by stream."""
    names = list(result.counters)
    columns = [figure(name.removesuffix("_cycles").replace("descriptor", "descrip-\ntor"))
               for name in names]  # fmt: skip
    layers = Table("Cycles, by what the clusters did or waited for",
                   [Column("layer", Kind.NAME), figure("tiles"), figure("cycles"), *columns],
                   total=True)  # fmt: skip
    for layer in result.layers:
        counts = (layer.counters[name] for name in names)
        layers.add(layer.name, len(layer.tile_ends), layer.cycles, *counts)
    tiles = sum(len(layer.tile_ends) for layer in result.layers)
    layers.add("total", tiles, result.cycles, *result.counters.values())
    streams = Table("Traffic", [Column("stream", Kind.NAME), figure("bytes"), figure("bursts")])
    for name, stream in result.streams.items():
        streams.add(name, stream.bytes, stream.bursts)
    busy = 100 * result.dma_busy_cycles / result.cycles
    used = 100 * result.pairs / (result.multipliers * result.cycles)
    return [
        f"{result.network} on {result.chip}, {result.multipliers} multipliers, memory "
        f"{result.memory}: {result.cycles} cycles",
        f"Source: {result.source}",
        layers,
        streams,
        f"{result.bytes} bytes; the memory is busy {busy:.1f} % of the time, the multipliers "
        f"{used:.1f} %; {result.frames_per_second(100e6):.1f} images a second at 100 MHz.",
    ]


def chip_verification_report(found: ChipVerification) -> list[Item]:
    """Return all that was compared of a network on a chip, what differs first, the verdict."""
    columns = [figure(name) for name in ("golden", "simulator", "hardware", "differ")]
    table = Table("Bits and cycles", [Column("", Kind.TEXT), *columns])
    for row in found.rows:
        table.add(row.what, row.golden, row.simulator, row.hardware, row.differ)
    return [
        f"{found.network}, image {found.image}, on {found.chip}: {found.multipliers} multipliers, "
        f"memory {found.memory}, under {found.simulator}",
        f"Source: {found.source}",
        table,
        *found.first,
        "All equal." if found.equal else "Hardware and models DIFFER.",
    ]


def verification_text(verification: Verification) -> str:
    """Return what was compared, and the verdict."""
    return render(verification_report(verification)).removesuffix("\n")


def verification_report(verification: Verification) -> list[Item]:
    """Return a table for each mode, what differs first, and the verdict."""
    found = verification
    items: list[Item] = [
        f"{found.network}, layer {found.layer}, {found.out_rows} of {found.layer_rows} output "
        f"rows, image {found.image}, on {found.machine}: {found.size} under {found.simulator}",
        f"Source: {found.source}",
    ]
    for mode in found.modes:
        columns = [figure(name) for name in ("golden", "simulator", "hardware", "differ")]
        table = Table(f"Skip mode {mode.mode.value}", [Column("", Kind.TEXT), *columns])
        for row in mode.rows:
            table.add(row.what, row.golden, row.simulator, row.hardware, row.differ)
        items += [table, *mode.first]
    return [*items, "All equal." if found.equal else "Hardware and models DIFFER."]
