"""A layer arranged for the kernel, and its counters read back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.arrays import (
    STATE_NAMES,
    SUM_NAMES,
    Deals,
    Latencies,
    Passes,
    Registers,
)
from accel.machines.cluster.kernels import count_broadcast_words, find_windows, run_clusters
from accel.machines.vectors import LANE_BLOCK
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.layer import ChunkLayout, LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing, Latency, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.tensor import BitmaskTensor, popcount

__all__ = ["LayerProgram", "prepare_layer", "run_layer"]

#: Times below this fit int32 with every sum that the kernel forms.
NARROW_CYCLES_MAX = 1 << 30


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One layer on one machine in the kernel's arrays; what all skip modes share.

    Parameters
    ----------
    input_masks : ndarray of uint32, axes chunk, word
        True masks, each group's followed by a row of zeros.
    broadcast_words : ndarray of uint16, axis chunk
    windows : ndarray of int32, axes position, tap
        First input chunk under each tap.
    true_filters, full_filters : ndarray of uint32, axes pass, filter chunk, slot, word, column
        Effective filter masks of the modes that skip weights, and of the others.
    full_masks : ndarray of uint32, axes chunk of a row, word
        The mask v of the chunks of one row.
    filters : ndarray of int32, axes pass, filter chunk (or 1), slot, column
        Which filter works there, -1 for none.
    unit, units, load_beats, nonzeros : ndarrays
        As in ``accel.machines.cluster.arrays.Passes``.
    """

    config: AcceleratorConfig
    layer: LayerShape
    layout: ChunkLayout
    schedule: Schedule
    input_masks: NDArray[np.uint32]
    broadcast_words: NDArray[np.uint16]
    windows: NDArray[np.int32]
    true_filters: NDArray[np.uint32]
    full_filters: NDArray[np.uint32]
    full_masks: NDArray[np.uint32]
    filters: NDArray[np.int32]
    unit: NDArray[np.int64]
    units: NDArray[np.int64]
    load_beats: NDArray[np.int64]
    nonzeros: NDArray[np.int32]


def prepare_layer(
    config: AcceleratorConfig,
    layer: LayerShape,
    weights: BitmaskTensor,
    input_masks: NDArray[np.uint64],
    schedule: Schedule,
    output: NDArray[np.integer] | None = None,
) -> LayerProgram:
    """Arrange a layer for the kernel.

    Parameters
    ----------
    input_masks : ndarray of uint64, axes row, chunk of the row, word
        Masks of ``golden.machines.cluster.workload.pack_activations``.
    output : ndarray of int8 or uint8, axes p, q, k, optional
        Codes of the layer's output, for ``output_nonzeros``; None counts them as 0.
    """
    layout = layer.layout(config)
    words = 2 * config.chunk_words
    grouped = input_masks.reshape(layer.groups, -1, config.chunk_words)
    zeros = np.zeros((layer.groups, layout.row_chunks, config.chunk_words), dtype=np.uint64)
    true_masks = np.concatenate([grouped, zeros], axis=1).reshape(-1, config.chunk_words)
    chunks = layout.filter_chunks
    weight_masks = np.ascontiguousarray(weights.masks).view(np.uint32)
    weight_masks = weight_masks.reshape(layer.out_channels, chunks, words)
    full_masks = _full_masks(layout, words)
    filters, unit, units = _columns(schedule)
    # In modes that do not skip weights all filters are the same one.
    same = np.tile(full_masks, (layout.taps, 1))[None]
    return LayerProgram(
        config=config,
        layer=layer,
        layout=layout,
        schedule=schedule,
        input_masks=true_masks.view(np.uint32),
        broadcast_words=count_broadcast_words(true_masks, config.broadcast_width),
        windows=_windows(layer, layout),
        true_filters=_gather_filters(weight_masks, filters, chunks),
        full_filters=_gather_filters(same, np.minimum(filters, 0), chunks),
        full_masks=full_masks,
        filters=filters,
        unit=unit,
        units=units,
        load_beats=_load_beats(config, weights, schedule, layout),
        nonzeros=_pass_nonzeros(schedule, layer, output),
    )


def run_layer(program: LayerProgram, skip: SkipMode) -> LayerCounters:
    """Count every cycle of a prepared layer in one skip mode."""
    config, layer, layout = program.config, program.layer, program.layout
    dynamic = skip.skips_activations
    time = np.int32 if _cycles_bound(program) < NARROW_CYCLES_MAX else np.int64
    columns = program.unit.shape[1]
    registers = Registers(
        ring=np.zeros((config.clusters, config.slots), dtype=time),
        pass_finish=np.zeros((config.clusters, columns), dtype=time),
        pass_sums=np.zeros((config.clusters, len(SUM_NAMES), columns), dtype=time),
        finish=np.zeros((config.clusters, config.units), dtype=time),
        state=np.zeros((config.clusters, len(STATE_NAMES)), dtype=np.int64),
        sums=np.zeros((config.clusters, len(SUM_NAMES), config.units), dtype=np.int64),
    )
    run_clusters(
        (0, config.clusters),
        program.windows,
        layout.row_chunks,
        _deals(config, program.schedule, layer.positions),
        Latencies(
            start=Latency.START,
            release=Latency.RELEASE,
            load=Latency.LOAD,
            load_free=Latency.LOAD_FREE,
            deliver=Latency.DELIVER,
            collector_free=Latency.COLLECTOR_FREE,
        ),
        program.input_masks if dynamic else program.full_masks,
        dynamic,
        config.skip_empty_chunks and dynamic,
        program.broadcast_words,
        _passes(program, skip, time),
        config.filter_double_buffer,
        (0,) * (columns // LANE_BLOCK),
        (0,) * program.input_masks.shape[1],
        (0,) * config.filters_per_unit,
        (0,) * config.lanes,
        registers,
    )
    return _counters(config, registers)


def _passes(program: LayerProgram, skip: SkipMode, time: type[np.signedinteger]) -> Passes:
    """Arrange what each pass works on in one skip mode."""
    schedule = program.schedule
    chunks_per_group = len(program.input_masks) // program.layer.groups
    outputs = (schedule.assignment >= 0).sum(axis=(1, 2), dtype=np.int64)
    return Passes(
        filters=program.true_filters if skip.skips_weights else program.full_filters,
        least=(program.filters >= 0).astype(time),
        unit=program.unit,
        units=program.units,
        base=schedule.pass_group.astype(np.int64) * chunks_per_group,
        load_beats=program.load_beats,
        segment_chunks=schedule.segment_chunks,
        outputs=outputs,
        drain_cycles=-(-outputs // program.config.collector_width),
        nonzeros=program.nonzeros,
    )


def _windows(layer: LayerShape, layout: ChunkLayout) -> NDArray[np.int32]:
    """First input chunk under each tap of each position."""
    windows = np.empty((layer.positions, layout.taps), dtype=np.int32)
    if layout.im2row:
        windows[:, 0] = np.arange(layer.positions) * layout.row_chunks
        return windows
    find_windows(
        windows,
        layer.out_width,
        layer.kernel_width,
        (layer.in_height, layer.in_width),
        (layer.stride_height, layer.stride_width),
        (layer.pad_top, layer.pad_left),
        layout.row_chunks,
    )
    return windows


def _columns(
    schedule: Schedule,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Give each pass's active units consecutive columns, padded to whole blocks."""
    passes, _, slots = schedule.assignment.shape
    is_active: NDArray[np.bool_] = np.any(schedule.assignment >= 0, axis=2)
    units = is_active.sum(axis=1).astype(np.int64)
    columns = -(-int(units.max()) // LANE_BLOCK) * LANE_BLOCK
    if schedule.chunk_assignment is None:
        by_unit = schedule.assignment[:, None]
    else:
        by_unit = schedule.chunk_assignment
    unit = np.zeros((passes, columns), dtype=np.int64)
    filters = np.full((passes, by_unit.shape[1], slots, columns), -1, dtype=np.int32)
    for index in range(passes):
        held = np.flatnonzero(is_active[index])
        unit[index, : len(held)] = held
        filters[index, :, :, : len(held)] = by_unit[index][:, held].transpose(0, 2, 1)
    return filters, unit, units


def _full_masks(layout: ChunkLayout, words: int) -> NDArray[np.uint32]:
    """Masks v of the chunks of one row: ones where a position exists."""
    lengths = np.array([layout.chunk_length(i) for i in range(layout.row_chunks)])
    ones = np.arange(words * 32) < lengths[:, None]
    return np.packbits(ones, axis=-1, bitorder="little").view(np.uint32)


def _gather_filters(
    masks: NDArray[np.uint32], filters: NDArray[np.int32], chunks: int
) -> NDArray[np.uint32]:
    """Gather filter masks, axes filter, chunk, word, by pass, filter chunk, slot, word, column."""
    gathered = masks[filters, np.arange(chunks)[None, :, None, None]]
    gathered[np.broadcast_to(filters < 0, gathered.shape[:-1])] = 0
    return np.ascontiguousarray(gathered.transpose(0, 1, 2, 4, 3))


def _load_beats(
    config: AcceleratorConfig, weights: BitmaskTensor, schedule: Schedule, layout: ChunkLayout
) -> NDArray[np.int64]:
    """Beats L of each pass and segment."""
    values = popcount(weights.masks).reshape(-1, layout.filter_chunks)
    beats = config.mask_beats + -(-values // config.filter_bus_bytes)
    starts = np.arange(schedule.segments) * schedule.segment_chunks
    by_segment = np.add.reduceat(beats, starts, axis=1)
    passes = range(len(schedule.assignment))
    return np.stack([by_segment[schedule.outputs(index)].sum(axis=0) for index in passes])


def _deals(config: AcceleratorConfig, schedule: Schedule, positions: int) -> Deals:
    """Runs of positions that each cluster takes one after another."""
    whole = schedule.segments == 1
    if config.dealing is Dealing.QUEUE:
        tile = np.array([[1 if whole else schedule.tile_positions]], dtype=np.int64)
        return Deals(True, np.zeros_like(tile), tile, 1, positions)
    m = np.arange(config.clusters, dtype=np.int64)
    if config.dealing is Dealing.TILES:
        size = -(-positions // config.clusters)
        first, stride = m * size, 1
        held = np.clip(positions - first, 0, size)
    else:
        first, stride = m, config.clusters
        held = -(-np.maximum(positions - first, 0) // config.clusters)
    tile = int(held.max()) if whole else schedule.tile_positions
    begins = np.arange(0, int(held.max()), tile, dtype=np.int64)
    return Deals(
        queue=False,
        first=first[:, None] + begins * stride,
        count=np.clip(held[:, None] - begins, 0, tile),
        stride=stride,
        positions=positions,
    )


def _pass_nonzeros(
    schedule: Schedule, layer: LayerShape, output: NDArray[np.integer] | None
) -> NDArray[np.int32]:
    """Non-zero codes that each pass drains at each position."""
    passes = len(schedule.assignment)
    counts = np.zeros((passes, layer.positions), dtype=np.int32)
    if output is None:
        return counts
    nonzero = output.reshape(layer.positions, layer.out_channels) != 0
    for index in range(passes):
        counts[index] = nonzero[:, schedule.outputs(index)].sum(axis=1)
    return counts


def _cycles_bound(program: LayerProgram) -> int:
    """Cycles that no cluster can exceed: everything it does, one thing after another.

    Every time in the equations is a maximum of earlier ones plus a term of the step, load or
    position at hand, so by induction it is at most the sum of all terms so far.
    """
    config, schedule = program.config, program.schedule
    positions, passes = program.layer.positions, len(schedule.assignment)
    tiles = 1 if schedule.segments == 1 else -(-positions // schedule.tile_positions)
    step = config.broadcast_words + config.chunk * config.filters_per_unit + Latency.RELEASE
    position = config.group_filters + Latency.DELIVER + Latency.COLLECTOR_FREE
    loads = int(program.load_beats.sum()) + passes * schedule.segments * (
        Latency.LOAD + Latency.LOAD_FREE
    )
    steps = positions * program.layout.filter_chunks
    return Latency.START + passes * (steps * step + positions * position) + tiles * loads


def _counters(config: AcceleratorConfig, registers: Registers) -> LayerCounters:
    """Turn the kernel's state and sums into counters."""
    by_cluster = dict(zip(STATE_NAMES, registers.state.T, strict=True))
    worked = by_cluster["outputs"] > 0
    cycles = np.where(worked, by_cluster["drained"] + Latency.TAIL, 0)
    sums = dict(zip(SUM_NAMES, registers.sums.transpose(1, 0, 2), strict=True))
    pairs = sums["pairs"] if config.lanes == 2 else sums["busy"]
    by_cluster |= {"cycles": cycles, "pairs": pairs.sum(axis=1)}
    by_unit = {
        "busy_cycles": sums["busy"],
        "bubble_cycles": sums["cost"] - sums["busy"],
        "wait_memory_cycles": sums["memory"],
        "wait_siblings_cycles": sums["siblings"],
        "wait_collector_cycles": sums["collector"],
    }
    # A pass spans a unit's costs and waits; the wait that is nothing else is the broadcast.
    by_unit["wait_broadcast_cycles"] = sums["span"] - sum(by_unit.values())
    by_unit["idle_cycles"] = cycles[:, None] - sums["span"]
    return LayerCounters(
        clusters=np.stack([by_cluster[name] for name in CLUSTER_COUNTERS], axis=-1),
        units=np.stack([by_unit[name] for name in UNIT_COUNTERS], axis=-1),
    )
