"""A program and an image as the arrays of the chip's kernel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.chip.arrays import (
    BURST,
    CONSTANTS,
    COUNTS,
    ENTRY,
    FILTER,
    LAYER,
    RESIDUAL,
    TILE,
    TILE_COUNTERS,
    WRITE,
    Work,
)
from accel.chip.jobs import ClusterState, Tensors
from accel.chip.memory import memory_parameters, memory_state
from accel.chip.walk import count_bursts
from accel.machines.cluster.kernels import count_broadcast_words
from accel.machines.cluster.packing import activation_masks
from golden.chip.config import ChipConfig, ChipLatency
from golden.chip.formats import ENTRY_BYTES, Kind
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram, CompiledLayer, form_windows
from golden.layer import LayerShape
from golden.program import Codes

__all__ = ["arrange_clusters", "arrange_tensors", "arrange_walk"]


def arrange_walk(program: ChipProgram, memory: Memory, latency: ChipLatency) -> Work:
    """Return what ``walk_list`` walks, at its beginning."""
    config = program.config
    entries, layers = _entries(program), _layers(program)
    counts = count_bursts(entries, layers, config.burst_bytes)
    passes = int(layers["passes"].max())

    def unknown(size: int, record: np.dtype) -> NDArray[np.void]:
        result = np.zeros(size, dtype=record)
        for name in record.names or ():
            result[name] = -1
        return result

    def times(size: int) -> NDArray[np.int64]:
        return np.full(size, -1, dtype=np.int64)

    tiles = _tiles(program)
    return Work(
        constants=_constants(config, latency, program),
        entries=entries,
        tiles=tiles,
        layers=layers,
        bursts=unknown(int(counts.sum()), BURST),
        writes=unknown(counts[Kind.WRITE], WRITE),
        residuals=unknown(counts[Kind.RESIDUAL], RESIDUAL),
        blocks=times(counts[Kind.LIST]),
        written=times(int((entries["kind"] == Kind.WRITE).sum())),
        filters=unknown(counts[Kind.FILTERS], FILTER),
        rows=times(counts[Kind.ROWS] + counts[Kind.OPERAND]),
        counters=np.zeros((len(tiles), len(TILE_COUNTERS)), dtype=np.int64),
        released=np.zeros(passes, dtype=np.int64),
        memory=memory_parameters(memory),
        memory_state=memory_state(memory),
        counts=np.zeros(COUNTS, dtype=np.int64),
    )


def arrange_clusters(config: ChipConfig) -> ClusterState:
    """Return the state of clusters before a job."""
    return ClusterState(
        finish=np.zeros((config.clusters, config.units), dtype=np.int64),
        ring=np.zeros((config.clusters, config.slots), dtype=np.int64),
        scalars=np.zeros((config.clusters, 5), dtype=np.int64),
        cost=np.zeros(config.units, dtype=np.int64),
    )


def arrange_tensors(program: ChipProgram, read: dict[str, Codes]) -> Tensors:
    """Return the filters and the input masks of a network's convolutions for one image.

    Parameters
    ----------
    read : dict of str to ndarray of int8 or uint8, axes y, x, channel
        Each convolution's input by the layer's name, as the network has it.
    """
    places = np.zeros((len(program.layers), 11), dtype=np.int64)
    shapes = np.zeros((len(program.layers), 10), dtype=np.int64)
    parts: list[list[NDArray]] = [[] for _ in range(7)]
    sizes = [0, 0, 0, 0, 0]  # filters, holds, passes, masks, words
    for number, compiled in enumerate(program.layers):
        if compiled.filters is None or compiled.layer.shape is None:
            continue
        shape = compiled.layer.shape
        arrays = _layer_arrays(program.config, compiled, read[compiled.layer.name])
        filters, _, active, _, _, masks, _ = arrays
        places[number] = (*sizes, len(active), *filters.shape[1:], len(masks))
        shapes[number] = (
            shape.kernel_height, shape.kernel_width, shape.stride_height, shape.stride_width,
            shape.pad_top, shape.pad_left, shape.in_height, shape.in_width,
            shape.layout(program.config).row_chunks, shape.out_width,
        )  # fmt: skip
        for kept, array in zip(parts, arrays, strict=True):
            kept.append(array.reshape(-1))
        sizes = [size + arrays[at].size for size, at in zip(sizes, (0, 1, 2, 5, 6), strict=True)]
    kinds = (np.uint64, np.int64, np.int64, np.int64, np.int64, np.uint64, np.uint16)
    flat: list[Any] = [
        np.concatenate(kept) if kept else np.zeros(0, dtype=kind)
        for kept, kind in zip(parts, kinds, strict=True)
    ]
    return Tensors(*flat, places=places, shapes=shapes)


def _layer_arrays(config: ChipConfig, compiled: CompiledLayer, codes: Codes) -> tuple[NDArray, ...]:
    """Return a layer's parts in the order of ``Convolution``."""
    layer, filters = compiled.layer, compiled.filters
    assert layer.shape is not None
    assert layer.node is not None
    assert filters is not None
    shape, schedule = layer.shape, filters.schedule
    if layer.windows:
        codes = form_windows(layer.node.layer, codes)
    layout, words = shape.layout(config), config.chunk_words
    full = _full_masks(shape, config)  # axes chunk of a row, word
    chunks = layout.filter_chunks
    weights = filters.weights.masks.reshape(shape.out_channels, chunks, words)
    if not compiled.descriptor["skip_weights"]:
        weights = np.broadcast_to(np.tile(full, (layout.taps, 1)), weights.shape)
    assignment = schedule.assignment  # axes pass, unit, slot
    held = (assignment >= 0).transpose(0, 2, 1)
    gathered = weights[assignment] * (assignment >= 0)[..., None, None].astype(np.uint64)
    # axes pass, unit, slot, chunk, word -> pass, chunk, slot, word, unit
    gathered = np.ascontiguousarray(gathered.transpose(0, 3, 2, 4, 1))
    outputs = held.sum(axis=(1, 2))
    true = activation_masks(config, shape, codes).reshape(shape.groups, -1, words)
    padding = np.zeros((shape.groups, layout.row_chunks, words), dtype=np.uint64)
    masks = np.concatenate([true, padding], axis=1)
    broadcast = np.empty(masks.shape[0] * masks.shape[1], dtype=np.uint16)
    count_broadcast_words(masks.reshape(-1, words), config.broadcast_width, broadcast)
    if not compiled.descriptor["skip_activations"]:
        masks = np.broadcast_to(
            np.tile(full, (masks.shape[1] // layout.row_chunks, 1)), masks.shape
        )
    return (
        gathered,
        np.ascontiguousarray(held, dtype=np.int64),
        held.any(axis=1).sum(axis=1).astype(np.int64),
        -(-outputs // config.collector_width),
        schedule.pass_group.astype(np.int64) * masks.shape[1],
        np.ascontiguousarray(masks).reshape(-1, words),
        broadcast,
    )


def _full_masks(shape: LayerShape, config: ChipConfig) -> NDArray[np.uint64]:
    """Masks v of the chunks of one row: ones where a position exists."""
    layout = shape.layout(config)
    lengths = np.array([layout.chunk_length(i) for i in range(layout.row_chunks)])
    ones = np.arange(64 * config.chunk_words) < lengths[:, None]
    return np.packbits(ones, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def _constants(config: ChipConfig, latency: ChipLatency, program: ChipProgram) -> NDArray[np.void]:
    skips = program.layers[0].descriptor["skip_activations"]
    cluster = {
        "cluster_start": config.LATENCY.start, "release": config.LATENCY.release,
        "load": config.LATENCY.load, "load_free": config.LATENCY.load_free,
        "deliver": config.LATENCY.deliver, "collector_free": config.LATENCY.collector_free,
        "tail": config.LATENCY.tail,
    }  # fmt: skip
    known = asdict(latency) | cluster
    known["skip_empty"] = int(config.skip_empty_chunks and skips)
    names = CONSTANTS.names or ()
    values = [known[name] if name in known else getattr(config, name) for name in names]
    return np.array([tuple(values)], dtype=CONSTANTS)


def _entries(program: ChipProgram) -> NDArray[np.void]:
    """Return the list with the reads of its blocks between."""
    per_block = program.config.burst_bytes // ENTRY_BYTES
    total = len(program.entries)
    blocks = -(-total // per_block)

    def read(block: int) -> tuple[int, ...]:
        size = ENTRY_BYTES * min(per_block, total - block * per_block)
        address = program.list_address + ENTRY_BYTES * block * per_block
        return (int(Kind.LIST), address, size, 0, 0, 0, 0, 0, block)

    rows = [read(block) for block in range(min(2, blocks))]
    for at, e in enumerate(program.entries):
        rows.append(
            (int(e.kind), e.address, e.length, int(e.last), e.tiles, e.writes, e.layer, e.tile,
             at // per_block)
        )  # fmt: skip
        if (at + 1) % per_block == 0 and at // per_block + 2 < blocks:
            rows.append(read(at // per_block + 2))
    return np.array(rows, dtype=ENTRY)


def _tiles(program: ChipProgram) -> NDArray[np.void]:
    rows = []
    for number, compiled in enumerate(program.layers):
        for at, tile in enumerate(compiled.tiles):
            loads = -1
            if compiled.filters is not None:
                loads = len(compiled.filters.loads) * compiled.loads(compiled.first_tile + at)
            rows.append((number, tile.first, tile.pixels, int(at == 0), loads, *[-1] * 7))
    return np.array(rows, dtype=TILE)


def _layers(program: ChipProgram) -> NDArray[np.void]:
    rows = []
    for compiled in program.layers:
        d = compiled.descriptor
        rows.append(
            (d["in_channels"], d["in_channels"] // d["groups"], d["out_channels"],
             d["pixel_stride"], d["window_height"] * d["window_width"], d["residual"],
             d["passes"], -1)
        )  # fmt: skip
    return np.array(rows, dtype=LAYER)
