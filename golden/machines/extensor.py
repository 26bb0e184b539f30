"""ExTensor: its configuration, and how a layer is mapped to processing elements.

The specification is ``docs/extensor.md``; after Hegde et al., MICRO'19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from golden.config import TomlConfig
from golden.counters import UNIT_COUNTERS, Counters, CounterTable
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape

__all__ = [
    "PE_COUNTERS",
    "ExTensorConfig",
    "ExTensorCounters",
    "Item",
    "Latency",
    "Mapping",
    "fibre_bytes",
    "list_bytes",
    "map_kernel",
    "map_layer",
    "pixel_bytes",
]

#: Counters of each processing element; what each one means is in ``docs/extensor.md``.
PE_COUNTERS = (
    "cycles",
    "pairs",
    "tile_pairs",
    "fibre_pairs",
    "tile_decisions",
    "load_beats",
    "outputs",
)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Constant latencies of the hardware's pipelines, in cycles; symbols of the specification."""

    lists: int = 1  # last beat of an item's lists to the first decision on them
    load: int = 3  # last beat of a tile pair to the first decision on its scalars
    load_free: int = 2  # last decision on a buffer's scalars to its reuse
    drain: int = 5  # end of an item to its first sum's read
    tail: int = 7  # last sum's read to done


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
    rows_max, columns_max : int
        Rows and columns of a tile, at most; powers of two up to 256.
    tile_bytes : int
        Bytes of a tile; a processing element holds two of each operand.
    port_bytes : int
        Bytes that a processing element takes in a cycle, a beat; a power of two, at least 2.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    PRESETS: ClassVar[str] = "presets/extensor"
    #: Latencies of this kind of machine; no choice of a design.
    LATENCY: ClassVar[Latency] = Latency()

    name: str
    pes: int
    tile: int
    rows_max: int
    columns_max: int
    tile_bytes: int
    port_bytes: int

    def check(self) -> None:
        self.require_range("pes", 1, 4096)
        self.require_range("tile", 8, 256)
        self.require_range("rows_max", 1, 256)
        self.require_range("columns_max", 1, 256)
        self.require_range("port_bytes", 2, 256)
        self.require_range("tile_bytes", 1, 1 << 40)
        for name in ("tile", "rows_max", "columns_max", "port_bytes"):
            self.require_power_of_two(name)
        if self.tile_bytes < self.dense_bytes:
            raise ConfigError(
                f"Configuration key tile_bytes must be at least {self.dense_bytes}, "
                f"a fibre without a zero, not {self.tile_bytes}"
            )

    @property
    def multipliers(self) -> int:
        """Multipliers of the whole machine."""
        return self.pes

    @property
    def dense_bytes(self) -> int:
        """Bytes of a fibre without a zero."""
        return int(fibre_bytes(np.array([self.tile]), self.port_bytes)[0])


def fibre_bytes(nonzeros: NDArray[np.int64], port_bytes: int) -> NDArray[np.int64]:
    """Return the bytes of fibres of a tile, as they are loaded and held: whole beats.

    Parameters
    ----------
    nonzeros : ndarray of int64
        Non-zeros of each; where there is none there is no fibre.
    """
    return np.where(nonzeros > 0, -(-(2 + 2 * nonzeros) // port_bytes) * port_bytes, 0)


def list_bytes(tiles: int, port_bytes: int) -> int:
    """Return the bytes of a list of tiles: a bit each, in whole beats."""
    return -(-tiles // (8 * port_bytes)) * port_bytes


def pixel_bytes(nonzero: NDArray[np.bool_], config: ExTensorConfig) -> int:
    """Return the bytes of an activation tensor in DRAM, axes y, x, channel."""
    pixels = nonzero.reshape(-1, nonzero.shape[-1])
    return int(fibre_bytes(_tile_counts(pixels, config.tile), config.port_bytes).sum())


def _tile_counts(nonzero: NDArray[np.bool_], tile: int) -> NDArray[np.int64]:
    """Count non-zeros: axes fibre, coordinate to fibre, tile."""
    starts = list(range(0, nonzero.shape[1], tile))
    return np.add.reduceat(nonzero, starts, axis=1, dtype=np.int64)


@dataclass(frozen=True)
class Item:
    """A block of the output: a block of rows and a run of columns, numbered in their group."""

    group: int
    rows: range
    columns: range


@dataclass(frozen=True)
class Mapping:
    """How a kernel is cut into items; item i is processing element i mod pes's.

    Parameters
    ----------
    groups, rows, columns : int
        Of the kernel; rows and columns of each group.
    block, run : int
        m0 and n0 of the specification.
    """

    groups: int
    rows: int
    columns: int
    block: int
    run: int

    @property
    def blocks(self) -> int:
        """Blocks of a group."""
        return -(-self.rows // self.block)

    @property
    def runs(self) -> int:
        """Runs of a group."""
        return -(-self.columns // self.run)

    @property
    def items(self) -> int:
        """Items of all groups."""
        return self.groups * self.blocks * self.runs

    def item(self, number: int) -> Item:
        """Return an item."""
        block, run = divmod(number, self.runs)
        group, block = divmod(block, self.blocks)
        row, column = block * self.block, run * self.run
        return Item(
            group,
            range(row, min(row + self.block, self.rows)),
            range(column, min(column + self.run, self.columns)),
        )


def map_kernel(
    config: ExTensorConfig,
    groups: int,
    rows: int,
    columns: int,
    block_fits: Callable[[int], bool],
    run_fits: Callable[[int], bool],
) -> Mapping:
    """Map a kernel of some groups, each with as many rows and columns, to the machine.

    Parameters
    ----------
    block_fits, run_fits : callable
        Whether all tiles of blocks of as many rows, or runs of as many columns, fit
        ``tile_bytes``.

    Raises
    ------
    CapacityError
        Not even blocks of a row and runs of a column fit.
    """
    block_fits, run_fits = cache(block_fits), cache(run_fits)
    block = np.arange(1, min(rows, config.rows_max) + 1)[:, None]
    run = np.arange(1, min(columns, config.columns_max) + 1)[None]
    items = groups * -(-rows // block) * -(-columns // run)
    cost = -(-items // config.pes) * (block * run + block + run)
    order = np.lexsort(
        tuple(np.broadcast_to(key, cost.shape).ravel() for key in (-run, -block, cost))
    )
    for index in order.tolist():
        m0, n0 = index // cost.shape[1] + 1, index % cost.shape[1] + 1
        if block_fits(m0) and run_fits(n0):
            return Mapping(groups, rows, columns, m0, n0)
    raise CapacityError(
        f"A fibre of a single row or column does not fit tile_bytes, which is {config.tile_bytes}: "
        "raise tile_bytes"
    )


def map_layer(config: ExTensorConfig, layer: LayerShape, weights: NDArray[np.int8]) -> Mapping:
    """Map a layer; weights have axes k, r, s, c."""
    length = layer.taps * layer.group_channels
    counts = _tile_counts((weights != 0).reshape(layer.out_channels, length), config.tile)
    filters = fibre_bytes(counts, config.port_bytes)
    by_row = filters.reshape(layer.groups, layer.group_filters, -1)
    column = int(fibre_bytes(np.array([min(config.tile, length)]), config.port_bytes)[0])

    def block_fits(rows: int) -> bool:
        tiles = np.add.reduceat(by_row, np.arange(0, by_row.shape[1], rows), axis=1)
        return bool(tiles.max() <= config.tile_bytes)

    return map_kernel(
        config,
        layer.groups,
        layer.group_filters,
        layer.positions,
        block_fits,
        lambda columns: columns * column <= config.tile_bytes,
    )


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
