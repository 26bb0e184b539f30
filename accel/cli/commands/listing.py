"""What there is: `accel networks`, `accel machines`, `accel presets` and `accel doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from accel.cli.options import examples
from accel.cli.output import show
from golden.errors import ConfigError

if TYPE_CHECKING:
    from accel.report.tables import Item
    from golden.config import TomlConfig

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode=None)


@commands.command(epilog=examples("accel networks", "accel run resnet8"))
def networks() -> None:
    """List the shipped networks: accuracy, size, densities."""
    from accel import api
    from accel.report.table import Column, Kind, Table, figure
    from accel.report.tables import percent

    heads = ("accuracy\n%", "layers", "weights", "million\nMACs", "weights\n%", "inputs\n%")
    table = Table("", [Column("network", Kind.NAME), *map(figure, heads)])
    missing = []
    for name, found in api.networks().items():
        if found is None:
            missing.append(name)
            table.add(name, *[None] * len(heads))
            continue
        table.add(
            name,
            None if found.accuracy is None else f"{100 * found.accuracy:.2f}",
            found.layers,
            found.weights,
            f"{found.macs / 1e6:.1f}",
            percent(found.weight_density),
            percent(found.activation_density),
        )
    notes = ["Shares are those of weights, and of what layers read, that are not zero."]
    if missing:
        notes.append(f"Made when first used: {', '.join(missing)} (make vgg16).")
    show(table, *notes)


@commands.command(epilog=examples("accel machines", "accel machines --area 256"))
def machines(
    area: Annotated[
        int | None,
        typer.Option(help="Show the cells on an ECP5 of so many multipliers.", metavar="N", min=1),
    ] = None,
) -> None:
    """List the machines, or what they cost."""
    if area is not None:
        show(*_areas(area))
        return
    from accel.report.table import Column, Kind, Table
    from golden.machines import registry

    table = Table(
        "",
        [
            Column("machine", Kind.NAME),
            Column("what it is", Kind.TEXT),
            Column("source", Kind.TEXT),
            Column("hardware", Kind.NAME),
        ],
    )
    for name, kind in registry.MACHINES.items():
        model = kind.load_model()
        table.add(name, model.summary, model.source, "yes" if kind.hardware else "")
    show(table)


def _areas(multipliers: int) -> list[Item]:
    """Return the table of areas and its notes."""
    from accel.costs.area import AreaTable
    from accel.report.table import Column, Kind, Table, figure
    from golden.machines import registry

    areas = AreaTable.load()
    heads = ("LUT4", "FF", "LUT4 /\nmult.", "FF /\nmult.", "RAM\n16 x 4", "RAM\n18 kbit",
             "18 x 18\nmult.")  # fmt: skip
    table = Table(
        f"Cells of {multipliers} multipliers on an ECP5, by yosys",
        [
            Column("machine", Kind.NAME),
            Column("from", Kind.NAME),
            *map(figure, heads),
        ],
    )
    notes = []
    for number, (name, kind) in enumerate(registry.MACHINES.items(), 1):
        try:
            found = areas.area(kind.load_model().with_multipliers(multipliers))
        except ConfigError as error:
            notes.append(f"{number}. {error}.")
            found = None
        else:
            note = found.note if found else "not measured at this size, and no estimate"
            notes += [f"{number}. {note}."] if note else []
        if found is None:
            table.add(f"{number} {name}", *[None] * (len(heads) + 1))
            continue
        cells = found.cells
        table.add(
            f"{number} {name}",
            found.kind,
            cells.lut4,
            cells.ff,
            round(cells.lut4 / multipliers),
            round(cells.ff / multipliers),
            cells.dpr16x4,
            cells.dp16kd,
            cells.mult18,
        )
    return [table, *notes]


@commands.command(epilog=examples("accel presets", "accel run resnet8 --preset small"))
def presets() -> None:
    """List the shipped configurations of machines."""
    from golden.machines import registry

    machines_of: dict[type[TomlConfig], list[str]] = {}
    for name, kind in registry.MACHINES.items():
        machines_of.setdefault(kind.load_config(), []).append(name)
    show(*(_presets_table(config, names) for config, names in machines_of.items()))


def _presets_table(config: type[TomlConfig], machines: list[str]) -> Item:
    """Return a kind of machine's presets side by side."""
    from accel.report.table import Column, Kind, Table, figure

    names = config.preset_names()
    rows = [config.preset(name).to_dict() for name in names]
    table = Table(", ".join(machines), [Column("key", Kind.TEXT), *map(figure, names)])
    for key in rows[0]:
        if key != "name":
            table.add(key, *(_toml(row[key]) for row in rows))
    return table


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@commands.command(epilog=examples("accel doctor"))
def doctor() -> None:
    """Show which tools are here, and how to get others."""
    from accel.report.table import Column, Kind, Table
    from accel.tools import TOOLS, find_version

    table = Table(
        "",
        [
            Column("tool", Kind.NAME),
            Column("version", Kind.NAME),
            Column("needed for", Kind.TEXT),
        ],
    )
    versions = {tool: find_version(tool) for tool in TOOLS}
    for tool, version in versions.items():
        table.add(tool.name, version or "missing", tool.purpose)
    missing = [tool for tool, version in versions.items() if version is None]
    show(
        table,
        f"{len(TOOLS) - len(missing)} of {len(TOOLS)} tools are here.",
        *(f"To get {tool.name}: {tool.get}" for tool in missing),
    )
