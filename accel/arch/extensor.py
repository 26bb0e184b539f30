"""ExTensor: hierarchical intersection of coordinates, with skip-ahead; ``docs/extensor.md``.

After Hegde et al., MICRO'19.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accel.arch.extensor_kernels import (
    SUMS,
    Fibres,
    Meetings,
    Timing,
    compress,
    gather_windows,
    index_tiles,
    run_elements,
)
from accel.arch.machine import (
    Access,
    Codes,
    DramTraffic,
    LayerCounts,
    LayerTask,
    PreparedLayer,
    layer_buffer,
)
from golden.counters import UNIT_COUNTERS
from golden.errors import ConfigError
from golden.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Latency,
    Mapping,
    fibre_bytes,
    map_kernel,
)
from golden.layer import LayerShape
from golden.tensor import popcount

__all__ = ["ExTensor", "Kernel", "counters_of", "prepare_columns", "prepare_rows", "run_kernel"]

#: A tile coordinate and its count of non-zeros, and a coordinate within a tile.
TILE_BYTES, NONZERO_BYTES, COORDINATE_BYTES = 2, 2, 1
ACCUMULATOR_BITS = 32


@dataclass(frozen=True, eq=False)
class Kernel:
    """Z[m, n] = sum over e of A[m, e] B[e, n], ready to run; fibres are numbered through groups.

    Parameters
    ----------
    rows, columns : Fibres
    row_bytes, column_bytes : ndarray of int64, axis fibre
    items : ndarray of int64, axes item, (first row, last row, first column, last column)
        Last ones are not included.
    meetings : Meetings
        Rows that each column meets.
    """

    rows: Fibres
    columns: Fibres
    row_bytes: NDArray[np.int64]
    column_bytes: NDArray[np.int64]
    items: NDArray[np.int64]
    meetings: Meetings


def run_kernel(config: ExTensorConfig, kernel: Kernel, threads: int = 1) -> NDArray[np.int64]:
    """Count every cycle of a kernel.

    Returns
    -------
    ndarray of int64, axes pe, counter (``accel.arch.extensor_kernels.SUMS``)
    """
    sums = np.zeros((config.pes, len(SUMS)), dtype=np.int64)
    timing = Timing(
        load=Latency.LOAD,
        load_free=Latency.LOAD_FREE,
        match=Latency.MATCH,
        tail=Latency.TAIL,
        port_bytes=config.port_bytes,
        queue=config.queue,
    )
    words_tag = (0,) * kernel.rows.masks.shape[1]
    row_bytes = np.concatenate([[0], np.cumsum(kernel.row_bytes)])

    def run(first: int, last: int) -> None:
        run_elements(
            first, last, kernel.items, kernel.rows, kernel.columns, row_bytes,
            kernel.column_bytes, kernel.meetings, timing, words_tag, sums,
        )  # fmt: skip

    if threads == 1:
        run(0, config.pes)
    else:
        edges = np.linspace(0, config.pes, 4 * threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, edges[:-1], edges[1:]))
    return sums


def counters_of(sums: NDArray[np.int64]) -> ExTensorCounters:
    """Return the documented counters of what ``run_kernel`` counted."""

    def column(name: str) -> NDArray[np.int64]:
        return sums[:, SUMS.index({"busy_cycles": "pairs", "outputs": "dots"}.get(name, name))]

    pes = np.stack([column(name) for name in PE_COUNTERS], axis=1)
    units = np.zeros((len(sums), len(UNIT_COUNTERS)), dtype=np.int64)
    for index, name in enumerate(UNIT_COUNTERS):
        if name not in ("wait_siblings_cycles", "wait_collector_cycles", "idle_cycles"):
            units[:, index] = column(name)
    cycles = pes[:, PE_COUNTERS.index("cycles")].max()
    units[:, UNIT_COUNTERS.index("idle_cycles")] = cycles - units.sum(axis=1)
    return ExTensorCounters(pes, units)


def prepare_rows(
    config: ExTensorConfig, layer: LayerShape, weights: NDArray[np.int8]
) -> tuple[Fibres, NDArray[np.int64], Mapping]:
    """Compress and map the filters of a layer, axes k, r, s, c.

    Returns
    -------
    rows : Fibres
    row_bytes : ndarray of int64, axis filter
    mapping : Mapping
    """
    word_bits, words = _words(config)
    length = layer.taps * layer.group_channels
    nonzero = (weights != 0).reshape(layer.out_channels, length)
    tiles = -(-length // config.tile)
    masks = np.zeros((layer.out_channels, tiles * words), dtype=np.uint64)
    packed = _pack(nonzero, word_bits)
    masks[:, : packed.shape[1]] = packed
    fibres, row_bytes = _compress(config, masks.reshape(-1, tiles, words))
    mapping = map_kernel(
        config, layer.groups, layer.positions, row_bytes.reshape(layer.groups, -1), layer.name
    )
    return fibres, row_bytes, mapping


def prepare_columns(
    config: ExTensorConfig, layer: LayerShape, codes: Codes
) -> tuple[Fibres, NDArray[np.int64]]:
    """Compress the windows of all positions of all groups; codes have axes y, x, channel.

    Returns
    -------
    columns : Fibres
    column_bytes : ndarray of int64, axis group's position
    """
    word_bits, words = _words(config)
    channels = layer.group_channels
    nonzero = (codes != 0).reshape(-1, layer.groups, channels).transpose(1, 0, 2)
    pixels = _pack(nonzero.reshape(-1, channels), word_bits)
    tiles = -(-layer.taps * channels // config.tile)
    windows = np.zeros((layer.groups, layer.positions, tiles * words), dtype=np.uint64)
    gather_windows(
        pixels.reshape(layer.groups, -1, pixels.shape[1]),
        word_bits,
        channels,
        (layer.in_height, layer.in_width),
        (layer.out_height, layer.out_width),
        (layer.kernel_height, layer.kernel_width),
        (layer.stride_height, layer.stride_width),
        (layer.pad_top, layer.pad_left),
        windows,
    )
    return _compress(config, windows.reshape(-1, tiles, words))


def _words(config: ExTensorConfig) -> tuple[int, int]:
    """Return the bits of a word that are used, and the words of a tile."""
    return min(64, config.tile), max(1, config.tile // 64)


def _pack(nonzero: NDArray[np.bool_], word_bits: int) -> NDArray[np.uint64]:
    """Pack rows of bits to words, axes row, word; the last word is filled up with zeros."""
    rows, length = nonzero.shape
    padded = np.zeros((rows, -(-length // word_bits) * word_bits), dtype=np.bool_)
    padded[:, :length] = nonzero
    packed = np.packbits(padded, axis=1, bitorder="little")
    return packed.view(f"<u{word_bits // 8}").astype(np.uint64)


def _compress(
    config: ExTensorConfig, masks: NDArray[np.uint64]
) -> tuple[Fibres, NDArray[np.int64]]:
    """Return fibres and their bytes; masks have axes fibre, tile, word."""
    start, tile, kept = compress(masks)
    nonzeros = popcount(kept)
    return Fibres(*index_tiles(start, tile), kept), loaded_bytes(config, start, nonzeros)


def loaded_bytes(
    config: ExTensorConfig,
    start: NDArray[np.int64],
    nonzeros: NDArray[np.int64],
    tile_bytes: int = TILE_BYTES,
    nonzero_bytes: int = NONZERO_BYTES,
) -> NDArray[np.int64]:
    """Return the bytes of fibres as they are loaded: whole beats a tile, at least one a fibre.

    Parameters
    ----------
    start : ndarray of int64, axis fibre (one more than there are)
        First tile of each fibre.
    nonzeros : ndarray of int64, axis tile
    tile_bytes, nonzero_bytes : int
        What a tile and a non-zero take.

    Returns
    -------
    ndarray of int64, axis fibre
    """
    beats = -(-(tile_bytes + nonzero_bytes * nonzeros) // config.port_bytes)
    before = np.concatenate([[0], np.cumsum(beats)])
    return config.port_bytes * np.maximum(before[start[1:]] - before[start[:-1]], 1)


def _layer_kernel(
    layer: LayerShape,
    filters: tuple[Fibres, NDArray[np.int64], Mapping],
    windows: tuple[Fibres, NDArray[np.int64]],
) -> Kernel:
    rows, row_bytes, mapping = filters
    columns, column_bytes = windows
    items = np.array(
        [
            (item.rows.start, item.rows.stop, item.columns.start, item.columns.stop)
            for item in mapping.items
        ],
        dtype=np.int64,
    )
    group = np.array([item.group for item in mapping.items], dtype=np.int64)
    items[:, :2] += group[:, None] * layer.group_filters
    items[:, 2:] += group[:, None] * layer.positions
    # Every column meets all rows: of its group, since an item has no others.
    count = len(column_bytes)
    meetings = Meetings(
        np.zeros(count, dtype=np.int64),
        np.full(count, layer.out_channels, dtype=np.int64),
        np.arange(layer.out_channels),
    )
    return Kernel(rows, columns, row_bytes, column_bytes, items, meetings)


class ExTensor:
    """The machine behind the protocol of `accel.arch.machine`; a unit is a PE.

    Parameters
    ----------
    config : ExTensorConfig
    """

    name: ClassVar[str] = "extensor"
    summary: ClassVar[str] = "skips all pairs with a zero: intersects coordinates, tiles first"
    source: ClassVar[str] = "Hegde et al., MICRO'19"

    def __init__(self, config: ExTensorConfig) -> None:
        self.config = config

    @classmethod
    def with_multipliers(cls, multipliers: int) -> ExTensor:
        """Return the paper's machine with as many PEs.

        Raises
        ------
        ConfigError
            It can't have that many.
        """
        if not 1 <= multipliers <= 4096:
            raise ConfigError(
                f"Multipliers of machine extensor must be between 1 and 4096, not {multipliers!r}"
            )
        return cls(ExTensorConfig.preset("paper").replace(pes=multipliers))

    @property
    def multipliers(self) -> int:
        return self.config.multipliers

    @property
    def units(self) -> int:
        return self.config.pes

    def parameters(self) -> dict[str, Any]:
        """Return the configuration as plain values."""
        return self.config.to_dict()

    def prepare(self, task: LayerTask) -> PreparedLayer:
        """Compress and map the filters of a layer.

        Raises
        ------
        CapacityError
            A filter does not fit a PE's row buffer.
        """
        filters = prepare_rows(self.config, task.layer, task.weights)

        def count(inputs: Codes, outputs: Codes) -> LayerCounts:
            windows = prepare_columns(self.config, task.layer, inputs)
            sums = run_kernel(self.config, _layer_kernel(task.layer, filters, windows))
            return self._counts(task.layer, sums, filters[1], inputs, outputs)

        return count

    def count_layer(
        self, layer: LayerShape, weights: NDArray[np.int8], inputs: Codes
    ) -> ExTensorCounters:
        """Count a layer: weights have axes k, r, s, c, input codes y, x, channel."""
        filters = prepare_rows(self.config, layer, weights)
        windows = prepare_columns(self.config, layer, inputs)
        return counters_of(run_kernel(self.config, _layer_kernel(layer, filters, windows)))

    def _counts(
        self,
        layer: LayerShape,
        sums: NDArray[np.int64],
        row_bytes: NDArray[np.int64],
        inputs: Codes,
        outputs: Codes,
    ) -> LayerCounts:
        counters = counters_of(sums)
        total = {name: int(sums[:, index].sum()) for index, name in enumerate(SUMS)}
        pairs, dots = total["pairs"], total["dots"]
        tile, port_bytes = self.config.tile, self.config.port_bytes
        length = layer.taps * layer.group_channels
        column_buffer_bytes = 2 * (TILE_BYTES * -(-length // tile) + 2 * length)
        # A match moves both sides on by a coordinate, another decision one.
        tiles_read = total["level1_decisions"] - dots + total["tile_tokens"]
        coordinates_read = total["bubble_cycles"] - dots + 2 * pairs
        fibres_bytes = total["row_bytes"] + total["column_bytes"]
        coordinate_bits = 8 * (TILE_BYTES * tiles_read + COORDINATE_BYTES * coordinates_read)
        pixel_bytes = [
            int(fibre_bytes(codes.reshape(-1, codes.shape[-1]) != 0, tile, port_bytes).sum())
            for codes in (inputs, outputs)
        ]
        dram = DramTraffic(
            input_bytes=pixel_bytes[0],
            weight_bytes=int(row_bytes.sum()),
            output_bytes=pixel_bytes[1],
        )
        capacity = self.config.row_buffer_bytes
        return LayerCounts(
            cycles=counters.cycles,
            pairs=pairs,
            units=counters.units,
            additions=pairs,
            accesses=(
                layer_buffer(dram, fibres_bytes + pixel_bytes[1]),
                Access(
                    buffer="row buffer",
                    capacity_bytes=capacity,
                    bits=8 * (total["row_bytes"] + pairs),
                ),
                Access(
                    buffer="column buffer",
                    capacity_bytes=column_buffer_bytes,
                    bits=8 * (total["column_bytes"] + pairs),
                ),
                Access(buffer="coordinates", capacity_bytes=capacity, bits=coordinate_bits),
                Access(
                    buffer="accumulator",
                    capacity_bytes=ACCUMULATOR_BITS // 8,
                    bits=2 * ACCUMULATOR_BITS * pairs,
                ),
            ),
            dram=dram,
            details={
                name: total[name]
                for name in ("tile_tokens", "dots", "level1_decisions", "load_beats")
            },
        )
