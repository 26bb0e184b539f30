"""ExTensor: its configuration, and how a layer is mapped to processing elements.

The specification is ``docs/extensor.md``; after Hegde et al., MICRO'19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS, Counters, CounterTable
from golden.errors import CapacityError
from golden.toml_config import TomlConfig

__all__ = [
    "PE_COUNTERS",
    "ExTensorConfig",
    "ExTensorCounters",
    "Item",
    "Latency",
    "Mapping",
    "fibre_bytes",
    "map_kernel",
]

#: Counters of each processing element; what each one means is in ``docs/extensor.md``.
PE_COUNTERS = (
    "cycles",
    "pairs",
    "tile_tokens",
    "dots",
    "level1_decisions",
    "load_beats",
    "outputs",
)


class Latency:
    """Constant latencies of the hardware's pipelines, in cycles; symbols of the specification."""

    LOAD = 2  # last beat of a column to level 1's first decision on it
    LOAD_FREE = 2  # last token that uses a buffer to its reuse
    MATCH = 2  # level 1's token to level 0's first decision on it
    TAIL = 12  # last end token to done


@dataclass(frozen=True, kw_only=True)
class ExTensorConfig(TomlConfig):
    """A machine of ``pes`` processing elements, one multiplier each; ``docs/extensor.md``.

    Parameters
    ----------
    name : str
        What reports call the machine.
    pes : int
        Processing elements.
    tile : int
        Coordinates of the reduction axis in a tile; a power of two up to 256.
    rows_max : int
        Row fibres that a processing element holds; a power of two.
    row_buffer_bytes : int
        Bytes of row fibres that a processing element holds.
    port_bytes : int
        Bytes that a processing element takes in a cycle, a beat; a power of two, at least 2.
    queue : int
        Matched tiles that may lie between level 1 and level 0.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    PRESETS: ClassVar[str] = "presets/extensor"

    name: str
    pes: int
    tile: int
    rows_max: int
    row_buffer_bytes: int
    port_bytes: int
    queue: int

    def check(self) -> None:
        self.require_range("pes", 1, 4096)
        self.require_range("tile", 8, 256)
        self.require_range("rows_max", 1, 1024)
        self.require_range("row_buffer_bytes", 1, 1 << 40)
        self.require_range("port_bytes", 2, 256)
        self.require_range("queue", 1, 64)
        for name in ("tile", "rows_max", "port_bytes"):
            self.require_power_of_two(name)

    @property
    def multipliers(self) -> int:
        """Multipliers of the whole machine."""
        return self.pes


def fibre_bytes(nonzero: NDArray[np.bool_], tile: int, port_bytes: int) -> NDArray[np.int64]:
    """Return the bytes of fibres as they are loaded and held: whole beats, at least one.

    A tile that has a non-zero takes 2 bytes and 2 a non-zero, and begins with a new beat.

    Parameters
    ----------
    nonzero : ndarray of bool, axes fibre, coordinate

    Returns
    -------
    ndarray of int64, axis fibre
    """
    starts = np.arange(0, nonzero.shape[1], tile)
    counts = np.add.reduceat(nonzero, starts, axis=1, dtype=np.int64)
    beats = np.where(counts > 0, -(-(2 + 2 * counts) // port_bytes), 0).sum(axis=1)
    return port_bytes * np.maximum(1, beats)


@dataclass(frozen=True)
class Item:
    """What a processing element does in one go: a block of rows against a run of columns."""

    group: int
    rows: range
    columns: range


@dataclass(frozen=True)
class Mapping:
    """Items in order; item i is processing element i mod pes's.

    Parameters
    ----------
    rows, columns : int
        m0 and n0 of the specification.
    items : tuple of Item
        Rows and columns are numbered within their group.
    """

    rows: int
    columns: int
    items: tuple[Item, ...]


def map_kernel(
    config: ExTensorConfig, groups: int, columns: int, row_bytes: NDArray[np.int64], name: str
) -> Mapping:
    """Map a kernel of some groups, each with as many rows and columns, to the machine.

    Parameters
    ----------
    columns : int
        Columns of each group.
    row_bytes : ndarray of int64, axes group, row
        Bytes of each row fibre.
    name : str
        What an error calls the layer.

    Raises
    ------
    CapacityError
        A single row does not fit ``row_buffer_bytes``.
    """
    largest = int(row_bytes.max())
    if largest > config.row_buffer_bytes:
        raise CapacityError(
            f"Layer {name} needs {largest} bytes in row_buffer_bytes for one filter, which holds "
            f"{config.row_buffer_bytes}: raise row_buffer_bytes"
        )
    best: tuple[int, int, int, int] | None = None
    count = row_bytes.shape[1]
    m0 = 1
    while m0 <= config.rows_max:
        sums = np.add.reduceat(row_bytes, np.arange(0, count, m0), axis=1)
        if sums.max() <= config.row_buffer_bytes:
            blocks = groups * sums.shape[1]
            n0 = -(-columns // min(columns, max(1, config.pes // blocks)))
            items = blocks * -(-columns // n0)
            cost = -(-items // config.pes) * m0 * n0
            best = min(best or (cost, -m0, m0, n0), (cost, -m0, m0, n0))
        m0 *= 2
    assert best is not None  # m0 = 1 fits
    _, _, m0, n0 = best
    items = tuple(
        Item(
            group,
            range(row, min(row + m0, count)),
            range(column, min(column + n0, columns)),
        )
        for group in range(groups)
        for row in range(0, count, m0)
        for column in range(0, columns, n0)
    )
    return Mapping(m0, n0, items)


@dataclass(frozen=True, eq=False)
class ExTensorCounters(Counters):
    """What the machine counted while it ran one kernel.

    Parameters
    ----------
    pes : ndarray of int64, axes pe, counter (``PE_COUNTERS``)
    units : ndarray of int64, axes pe, counter (``UNIT_COUNTERS``)
        Every row adds up to the machine's ``cycles``.
    """

    pes: NDArray[np.int64]
    units: NDArray[np.int64]

    @property
    def cycles(self) -> int:
        """Cycles of the kernel: those of the slowest processing element."""
        return int(self.pes[:, 0].max())

    def pe(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every processing element, by name."""
        return self.pes[:, PE_COUNTERS.index(name)]

    def unit(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every processing element's multiplier, by name."""
        return self.units[:, UNIT_COUNTERS.index(name)]

    def tables(self) -> tuple[CounterTable, ...]:
        return (
            CounterTable("pe", PE_COUNTERS, self.pes),
            CounterTable("pe unit", UNIT_COUNTERS, self.units),
        )
