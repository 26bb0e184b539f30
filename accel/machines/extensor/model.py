"""ExTensor: hierarchical intersection of coordinates, with skip-ahead; ``docs/extensor.md``.

After Hegde et al., MICRO'19.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.machines.extensor.kernels import (
    SUMS,
    Cut,
    Timing,
    Tree,
    compress,
    gather_windows,
    group_tiles,
    run_elements,
)
from accel.machines.machine import (
    Access,
    DramTraffic,
    LayerCounts,
    Machine,
    Program,
    layer_buffer,
    program_of,
)
from golden.counters import UNIT_COUNTERS
from golden.errors import ConfigError
from golden.layer import LayerShape
from golden.machines.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Mapping,
    fibre_bytes,
    list_bytes,
    map_layer,
    pixel_bytes,
)
from golden.program import Codes, LayerTask
from golden.tensor import popcount

__all__ = ["ExTensor", "Kernel", "count_layer", "counters_of", "make_tree", "run_kernel"]

#: Of a sum of products.
SUM_BITS = 32


@dataclass(frozen=True, eq=False)
class Kernel:
    """Z[m, n] = sum over e of A[m, e] B[e, n], ready to run; blocks are numbered through groups.

    Parameters
    ----------
    mapping : Mapping
    tiles : int
        Of the reduction axis.
    rows, columns : Tree
    outputs : ndarray of int64, axis item
        Sums that are handed out.
    sampled : bool
        Operands are dense, and fibre pairs are those of outputs.
    """

    mapping: Mapping
    tiles: int
    rows: Tree
    columns: Tree
    outputs: NDArray[np.int64]
    sampled: bool = False


def run_kernel(config: ExTensorConfig, kernel: Kernel, threads: int = 1) -> NDArray[np.int64]:
    """Count every cycle of a kernel.

    Returns
    -------
    ndarray of int64, axes pe, counter (``accel.machines.extensor.kernels.SUMS``)
    """
    sums = np.zeros((config.pes, len(SUMS)), dtype=np.int64)
    timing = Timing(
        lists=config.LATENCY.lists,
        load=config.LATENCY.load,
        load_free=config.LATENCY.load_free,
        drain=config.LATENCY.drain,
        tail=config.LATENCY.tail,
        list_bytes=list_bytes(kernel.tiles, config.port_bytes),
        port_bytes=config.port_bytes,
    )
    mapping = kernel.mapping
    cut = Cut(mapping.groups, mapping.blocks, mapping.runs)
    words_tag = (0,) * kernel.rows.masks.shape[1]

    def run(first: int, last: int) -> None:
        run_elements(
            first, last, cut, kernel.rows, kernel.columns, kernel.outputs, kernel.sampled, timing,
            words_tag, sums,
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
        return sums[:, SUMS.index({"busy_cycles": "pairs"}.get(name, name))]

    pes = np.stack([column(name) for name in PE_COUNTERS], axis=1)
    units = np.zeros((len(sums), len(UNIT_COUNTERS)), dtype=np.int64)
    for index, name in enumerate(UNIT_COUNTERS):
        if name not in ("wait_siblings_cycles", "wait_broadcast_cycles", "idle_cycles"):
            units[:, index] = column(name)
    cycles = pes[:, PE_COUNTERS.index("cycles")].max()
    units[:, UNIT_COUNTERS.index("idle_cycles")] = cycles - units.sum(axis=1)
    return ExTensorCounters(pes, units)


def make_tree(
    groups: int,
    fibres: int,
    block: int,
    compressed: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]],
    sizes: NDArray[np.int64],
) -> Tree:
    """Cut fibres into blocks, and blocks into tiles.

    Parameters
    ----------
    fibres : int
        Of each group; all lie one after another.
    block : int
        Fibres of a block, the last of a group apart.
    compressed : tuple of ndarray
        ``start, tile, masks`` of ``accel.machines.extensor.kernels.compress``.
    sizes : ndarray of int64, axis fibre's tile
        Bytes.
    """
    start, tile, masks = compressed
    first = np.arange(0, fibres, block)
    edges = (np.arange(groups)[:, None] * fibres + first).ravel()
    edges = np.concatenate([edges, [groups * fibres]]).astype(np.int64)
    starts, tiles, fibre, order = group_tiles(start, tile, edges)
    loaded = np.zeros(len(tiles), dtype=np.int64)
    if len(tiles):
        loaded = np.add.reduceat(sizes[order], fibre[:-1])
    return Tree(starts, tiles, fibre, loaded, masks[order])


@dataclass(frozen=True, eq=False)
class _Filters:
    """Filters of a layer: their mapping, tiles, and bytes in all."""

    mapping: Mapping
    tree: Tree
    bytes: int


def _prepare_rows(config: ExTensorConfig, layer: LayerShape, weights: NDArray[np.int8]) -> _Filters:
    """Compress and map the filters of a layer, axes k, r, s, c."""
    word_bits, words = _words(config)
    length = layer.taps * layer.group_channels
    nonzero = (weights != 0).reshape(layer.out_channels, length)
    tiles = _tiles(config, layer)
    masks = np.zeros((layer.out_channels, tiles * words), dtype=np.uint64)
    packed = _pack(nonzero, word_bits)
    masks[:, : packed.shape[1]] = packed
    mapping = map_layer(config, layer, weights)
    tree = _cut(config, layer.groups, mapping.rows, mapping.block, masks.reshape(-1, tiles, words))
    return _Filters(mapping, tree, int(tree.bytes.sum()))


def _prepare_columns(
    config: ExTensorConfig, layer: LayerShape, mapping: Mapping, codes: Codes
) -> Tree:
    """Compress the windows of all positions of all groups; codes have axes y, x, channel."""
    word_bits, words = _words(config)
    channels = layer.group_channels
    nonzero = (codes != 0).reshape(-1, layer.groups, channels).transpose(1, 0, 2)
    pixels = _pack(nonzero.reshape(-1, channels), word_bits)
    tiles = _tiles(config, layer)
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
    windows = windows.reshape(-1, tiles, words)
    return _cut(config, layer.groups, mapping.columns, mapping.run, windows)


def _tiles(config: ExTensorConfig, layer: LayerShape) -> int:
    """Return the tiles of the reduction axis."""
    return -(-layer.taps * layer.group_channels // config.tile)


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


def _cut(
    config: ExTensorConfig, groups: int, fibres: int, block: int, masks: NDArray[np.uint64]
) -> Tree:
    """Cut a layer's operand into blocks and tiles; masks have axes fibre, tile, word."""
    compressed = compress(masks)
    sizes = fibre_bytes(popcount(compressed[2]), config.port_bytes)
    return make_tree(groups, fibres, block, compressed, sizes)


def _layer_kernel(
    config: ExTensorConfig, layer: LayerShape, filters: _Filters, inputs: Codes
) -> Kernel:
    """Return the kernel of a layer on an image."""
    mapping = filters.mapping
    columns = _prepare_columns(config, layer, mapping, inputs)
    sums = np.outer(
        _lengths(mapping.rows, mapping.block), _lengths(mapping.columns, mapping.run)
    ).ravel()
    outputs = np.tile(sums, mapping.groups)
    return Kernel(mapping, _tiles(config, layer), filters.tree, columns, outputs)


def _lengths(count: int, block: int) -> NDArray[np.int64]:
    """Return how many each block has."""
    return np.diff(np.append(np.arange(0, count, block), count))


def count_layer(
    config: ExTensorConfig, layer: LayerShape, weights: NDArray[np.int8], inputs: Codes
) -> ExTensorCounters:
    """Count a layer: weights have axes k, r, s, c, input codes y, x, channel."""
    filters = _prepare_rows(config, layer, weights)
    return counters_of(run_kernel(config, _layer_kernel(config, layer, filters, inputs)))


class ExTensor(Machine):
    """The machine behind the protocol of `accel.machines.machine`; a unit is a PE."""

    name = "extensor"
    summary = "skips all pairs with a zero: intersects coordinates, tiles first"
    source = "Hegde et al., MICRO'19"
    preset = "paper"

    config: ExTensorConfig

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
        return cls(ExTensorConfig.preset("paper").replace(name=cls.name, pes=multipliers))

    @property
    def units(self) -> int:
        return self.config.pes

    @property
    def size(self) -> str:
        return f"{self.config.pes} PEs"

    def prepare(self, task: LayerTask) -> Program:
        """Compress and map the filters of a layer."""
        filters = _prepare_rows(self.config, task.layer, task.weights)

        def count(inputs: Codes, outputs: Codes) -> LayerCounts:
            kernel = _layer_kernel(self.config, task.layer, filters, inputs)
            sums = run_kernel(self.config, kernel)
            return self._counts(sums, filters, inputs, outputs)

        return program_of(count)

    def _counts(
        self, sums: NDArray[np.int64], filters: _Filters, inputs: Codes, outputs: Codes
    ) -> LayerCounts:
        config = self.config
        counters = counters_of(sums)
        total = {name: int(sums[:, index].sum()) for index, name in enumerate(SUMS)}
        pairs, ends = total["pairs"], filters.mapping.items
        # A match moves both sides on by a coordinate, another decision one.
        coordinates = total["bubble_cycles"] - ends + 2 * pairs
        loaded = total["row_bytes"] + total["column_bytes"] + total["list_bytes"]
        dram = DramTraffic(
            input_bytes=pixel_bytes(inputs != 0, config),
            weight_bytes=filters.bytes,
            output_bytes=pixel_bytes(outputs != 0, config),
        )

        def access(buffer: str, capacity_bytes: int, bits: int) -> Access:
            return Access(buffer=buffer, capacity_bytes=capacity_bytes, bits=bits)

        sum_bytes = SUM_BITS // 8
        all_sums_bytes = 2 * config.rows_max * config.columns_max * sum_bytes
        tiles_bytes = 2 * config.tile_bytes
        return LayerCounts(
            cycles=counters.cycles,
            pairs=pairs,
            units=counters.units,
            additions=pairs + total["fibre_pairs"],
            accesses=(
                layer_buffer(dram, loaded + dram.output_bytes),
                access("row tiles", tiles_bytes, 8 * (total["row_bytes"] + pairs)),
                access("column tiles", tiles_bytes, 8 * (total["column_bytes"] + pairs)),
                access("coordinates", tiles_bytes, 8 * (total["list_bytes"] + coordinates)),
                access("accumulator", sum_bytes, 2 * SUM_BITS * pairs),
                access(
                    "sums",
                    all_sums_bytes,
                    2 * SUM_BITS * (total["fibre_pairs"] + total["outputs"]),
                ),
            ),
            dram=dram,
            details={
                name: total[name]
                for name in ("tile_pairs", "fibre_pairs", "tile_decisions", "load_beats")
            },
            counters=counters,
        )
