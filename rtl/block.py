"""What can be measured: a machine names its own blocks (``rtl.host.Hardware.blocks``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from golden.config import TomlConfig
from rtl.lib.component import Component

__all__ = ["SHORT_PLACER", "TIMED_PLACER", "Block", "RamPlace", "keep"]

#: The placer, as it is, cares more for the length of all wires than for the slowest path.
TIMED_PLACER = ("--placer-heap-timingweight", "120", "--placer-heap-critexp", "4")
#: The one for the shortest wires takes less account of time, but leaves no seed far behind.
SHORT_PLACER = ("--placer", "static")


def keep(config: TomlConfig) -> dict[str, Any]:
    """Change nothing of a machine."""
    return {}


@dataclass(frozen=True)
class RamPlace:
    """Where block RAMs go on the device.

    Parameters
    ----------
    pattern : str
        Regular expression: how the names of their cells begin.
    row : int
        A row of tiles that has block RAMs.
    first, last : int
        Columns, counted in block RAMs.
    """

    pattern: str
    row: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of a machine, or one of its designs as a whole.

    Parameters
    ----------
    config : type
        Its kind of configuration.
    make : callable
        Makes the component from a configuration. Raises ConfigError where the hardware can't be
        that machine.
    target_mhz : int
        What place and route is asked for where nothing is named: more than a small block reaches,
        so that it does not rest; what a big one just reaches, or its router goes on for 1,500
        rounds.
    preset : str
        The configuration where none is named.
    fit : callable
        Returns the fields of a configuration that change to fit the device, by name.
    whole : tuple of type
        Blocks that it has several of, which stay whole in synthesis.
    placer : tuple of str
        Options of the placer, where it is a big block.
    sparse : bool
        Its multiplexers want more wires than there are above the tables that they fill: some rows
        of tiles stay free.
    places : tuple of RamPlace
        Where its block RAMs go, if the placer must be told; a cell goes by the first that fits.
    """

    config: type[TomlConfig]
    make: Callable[[Any], Component]
    target_mhz: int
    preset: str
    fit: Callable[[Any], dict[str, Any]] = keep
    whole: tuple[type, ...] = ()
    placer: tuple[str, ...] = TIMED_PLACER
    sparse: bool = False
    places: tuple[RamPlace, ...] = ()
