"""Which machine a command means: a preset or a file, and what was changed in it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from golden.config import TomlConfig
from golden.errors import ConfigError
from golden.machines.cluster.config import AcceleratorConfig, Balance, preset_names

__all__ = ["DEFAULT_PRESET", "choose", "kind_of", "list_presets"]

Config = TypeVar("Config", bound=TomlConfig)

#: The machine where none is named: this project's own 1024 multipliers.
DEFAULT_PRESET = "output-major"


def choose(
    preset: str | None,
    config: Path | None,
    changes: list[str],
    balance: Balance | None = None,
    default: str = DEFAULT_PRESET,
    kind: type[Config] = AcceleratorConfig,
) -> Config:
    """Return the machine that the options of a command describe.

    Parameters
    ----------
    kind : type
        The configuration's class.
    changes : list of str
        ``key=value``, later ones win; they are added to the machine's name.

    Raises
    ------
    ConfigError
        Both a preset and a file are given, or a key or value is bad.
    """
    if preset is not None and config is not None:
        raise ConfigError("A machine must be given by --preset or by --config, not by both")
    machine = kind.from_toml(config) if config is not None else kind.preset(preset or default)
    changed = dict(read_change(text) for text in changes)
    if balance is not None:
        changed["balance"] = balance.value
    if not changed:
        return machine
    fields = {**machine.to_dict(), **changed}
    if "name" not in changed:
        described = ", ".join(f"{key}={value}" for key, value in changed.items())
        fields["name"] = f"{fields['name']} with {described}"
    return kind.from_dict(fields, where="--set")


def kind_of(machine: str) -> type[TomlConfig]:
    """Return the configuration's class of a machine with hardware of its own.

    Raises
    ------
    ConfigError
        The machine has none.
    """
    from golden.machines.cambricon_s import CambriconSConfig
    from golden.machines.extensor import ExTensorConfig

    kinds: dict[str, type[TomlConfig]] = {
        "cambricon-s": CambriconSConfig,
        "extensor": ExTensorConfig,
    }
    if machine not in kinds:
        raise ConfigError(
            f"Machine must be cluster or one of {', '.join(kinds)}, which have hardware, "
            f"not {machine!r}"
        )
    return kinds[machine]


def read_change(text: str) -> tuple[str, Any]:
    """Read ``key=value``: the value as in TOML, or else as a bare word."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"Option --set must be key=value, not {text!r}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def list_presets() -> None:
    """Print the table of shipped machines."""
    from rich.table import Table

    from accel.cli.output import show

    table = Table()
    for heading in ("machine", "balance", "dealing"):
        table.add_column(heading, no_wrap=True)
    for heading in ("clusters\nx units", "lanes", "MACs", "chunk", "FIFO", "filters\na unit",
                    "segment", "tile", "filter bytes\na unit"):  # fmt: skip
        table.add_column(heading, justify="right")
    for name in preset_names():
        machine = AcceleratorConfig.preset(name)
        table.add_row(
            name,
            machine.balance.value,
            machine.dealing.value,
            f"{machine.clusters} x {machine.units}",
            str(machine.lanes),
            str(machine.multipliers),
            str(machine.chunk),
            str(machine.fifo_depth),
            str(machine.filters_per_unit),
            str(machine.segment_chunks or "whole"),
            str(machine.tile_positions),
            str(machine.filter_buffer_bytes),
        )
    show(table, *_other_presets())


def _other_presets() -> list[Any]:
    """Return a table for each other kind of machine: its presets and what is special of each."""
    from rich.table import Table

    from golden.machines.cambricon_s import CambriconSConfig
    from golden.machines.extensor import ExTensorConfig
    from golden.machines.scnn import ScnnConfig

    tables = []
    for title, kind in (
        ("cambricon-s", CambriconSConfig),
        ("extensor", ExTensorConfig),
        ("scnn", ScnnConfig),
    ):
        table = Table(title=title, title_justify="left")
        machines = [kind.preset(name) for name in kind.preset_names()]
        table.add_column("key", no_wrap=True)
        for machine in machines:
            table.add_column(machine.name, justify="right")
        rows = [machine.to_dict() for machine in machines]
        for key in rows[0]:
            if key != "name":
                table.add_row(key, *(str(row[key]) for row in rows))
        tables.append(table)
    return tables
