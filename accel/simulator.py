"""Counters of a layer on a machine: ``docs/machine.md`` through the kernel of ``accel.kernels``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.kernels import STATE, STATE_NAMES, SUM_NAMES, SUMS, count_broadcast_words, run_clusters
from golden.config import AcceleratorConfig, Dealing, Latency, SkipMode
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.errors import ConfigError
from golden.layer import ChunkLayout, LayerShape
from golden.schedule import Schedule
from golden.tensor import popcount
from golden.workload import LayerWorkload

__all__ = ["LayerProgram", "prepare_layer", "run_layer", "simulate_layer"]

#: Units are handled in blocks of this many lanes: 512 bits of 32-bit times.
LANE_BLOCK = 16
#: Times below this fit int32 with every sum that the kernel forms.
NARROW_CYCLES_MAX = 1 << 30


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One layer on one machine in the kernel's arrays; what all skip modes share.

    Parameters
    ----------
    input_masks : ndarray of uint32, axes chunk, word
        True masks with one row of zeros after them.
    broadcast_words : ndarray of uint16, axis chunk
    full_masks : ndarray of uint32, axes chunk of a row, word
        The mask v of the chunks of one row.
    filters : ndarray of int32, axes pass, filter chunk (or 1), slot, lane
        Which filter works there, -1 for none.
    active : ndarray of int64, axes pass, lane; unit of each lane
    active_count : ndarray of int64, axis pass
    load_beats : ndarray of int64, axes pass, segment
    """

    config: AcceleratorConfig
    layer: LayerShape
    layout: ChunkLayout
    schedule: Schedule
    input_masks: NDArray[np.uint32]
    broadcast_words: NDArray[np.uint16]
    weight_masks: NDArray[np.uint32]
    full_masks: NDArray[np.uint32]
    filters: NDArray[np.int32]
    active: NDArray[np.int64]
    active_count: NDArray[np.int64]
    load_beats: NDArray[np.int64]


def simulate_layer(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    output: NDArray[np.integer] | None = None,
) -> LayerCounters:
    """Count every cycle of one layer.

    Parameters
    ----------
    output : ndarray of int8 or uint8, axes p, q, k, optional
        Codes of the layer's output, for ``output_nonzeros``; None counts them as 0.

    Returns
    -------
    LayerCounters
    """
    return run_layer(prepare_layer(config, workload, schedule), skip, output)


def prepare_layer(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule
) -> LayerProgram:
    """Arrange a layer for the kernel.

    Raises
    ------
    ConfigError
        A queue is asked to deal tiles of a segmented filter with an empty schedule.
    """
    layer = workload.layer
    layout = layer.layout(config)
    words = 2 * config.chunk_words
    chunks = workload.activations.rows * layout.row_chunks
    true_masks = np.zeros((chunks + layout.row_chunks, config.chunk_words), dtype=np.uint64)
    true_masks[:chunks] = workload.activations.masks.reshape(chunks, config.chunk_words)
    weights = workload.weights.masks.reshape(layer.out_channels, layout.filter_chunks, -1)
    filters, active, active_count = _lanes(schedule)
    return LayerProgram(
        config=config,
        layer=layer,
        layout=layout,
        schedule=schedule,
        input_masks=true_masks.view(np.uint32).reshape(-1, words),
        broadcast_words=count_broadcast_words(true_masks, config.broadcast_width),
        weight_masks=np.ascontiguousarray(weights).view(np.uint32),
        full_masks=_full_masks(layout, words),
        filters=filters,
        active=active,
        active_count=active_count,
        load_beats=_load_beats(config, workload, schedule, layout),
    )


def run_layer(
    program: LayerProgram, skip: SkipMode, output: NDArray[np.integer] | None = None
) -> LayerCounters:
    """Count every cycle of a prepared layer in one skip mode."""
    config, layer, layout = program.config, program.layer, program.layout
    schedule = program.schedule
    masks = program.input_masks if skip.skips_activations else program.full_masks
    filter_masks = _gather_filters(program, skip.skips_weights)
    deal_first, deal_count, deal_stride = _deals(config, schedule, layer.positions)
    pass_outputs = np.array(
        [len(schedule.outputs(index)) for index in range(len(schedule.assignment))], dtype=np.int64
    )
    pass_drain = -(-pass_outputs // config.collector_width)
    rows_per_group = program.input_masks.shape[0] // layout.row_chunks - 1
    pass_base = schedule.pass_group.astype(np.int64) * (rows_per_group // layer.groups)
    time = np.int32 if _cycles_bound(program) < NARROW_CYCLES_MAX else np.int64
    clusters, units = config.clusters, config.units
    lanes = filter_masks.shape[-1]
    state = np.zeros((clusters, len(STATE_NAMES)), dtype=np.int64)
    finished = np.zeros((clusters, units), dtype=time)
    sums = np.zeros((clusters, len(SUM_NAMES), units), dtype=np.int64)
    minimum = np.zeros((*program.filters.shape[:3], lanes), dtype=time)
    minimum[:] = program.filters >= 0
    run_clusters(
        (0, clusters),
        deal_first,
        deal_count,
        deal_stride,
        config.dealing is Dealing.QUEUE,
        layer.positions,
        schedule.segment_chunks,
        layout.row_chunks,
        (
            layer.out_width,
            layer.kernel_width,
            layer.in_height,
            layer.in_width,
            layer.stride_height,
            layer.stride_width,
            layer.pad_top,
            layer.pad_left,
            int(layout.im2row),
        ),
        config.skip_empty_chunks and skip.skips_activations,
        masks,
        skip.skips_activations,
        program.broadcast_words,
        pass_base,
        rows_per_group,
        filter_masks,
        minimum,
        int(program.filters.shape[1] > 1),
        program.active,
        program.active_count,
        program.load_beats,
        config.filter_double_buffer,
        pass_outputs,
        pass_drain,
        _pass_nonzeros(schedule, layer, output),
        (
            Latency.START,
            Latency.RELEASE,
            Latency.LOAD,
            Latency.LOAD_FREE,
            Latency.DELIVER,
            Latency.COLLECTOR_FREE,
        ),
        (0,) * config.filters_per_unit,
        (0,) * masks.shape[1],
        (0,) * config.lanes,
        state,
        np.zeros((clusters, config.slots), dtype=time),
        finished,
        np.zeros((clusters, lanes), dtype=time),
        np.zeros((clusters, len(SUM_NAMES), lanes), dtype=time),
        sums,
    )
    return _counters(config, state, sums)


def _lanes(
    schedule: Schedule,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Give each pass's active units consecutive lanes, padded to whole blocks."""
    passes, units, slots = schedule.assignment.shape
    is_active = (schedule.assignment >= 0).any(axis=2)
    active_count = is_active.sum(axis=1).astype(np.int64)
    lanes = -(-int(active_count.max()) // LANE_BLOCK) * LANE_BLOCK
    if schedule.chunk_assignment is None:
        by_unit = schedule.assignment[:, None]
    else:
        by_unit = schedule.chunk_assignment
    active = np.zeros((passes, lanes), dtype=np.int64)
    filters = np.full((passes, by_unit.shape[1], slots, lanes), -1, dtype=np.int32)
    for index in range(passes):
        held = np.flatnonzero(is_active[index])
        active[index, : len(held)] = held
        filters[index, :, :, : len(held)] = by_unit[index][:, held].transpose(0, 2, 1)
    return filters, active, active_count


def _full_masks(layout: ChunkLayout, words: int) -> NDArray[np.uint32]:
    """Masks v of the chunks of one row: ones where a position exists."""
    lengths = np.array([layout.chunk_length(i) for i in range(layout.row_chunks)])
    ones = np.arange(words * 32) < lengths[:, None]
    return np.packbits(ones, axis=-1, bitorder="little").view(np.uint32)


def _gather_filters(program: LayerProgram, skip_weights: bool) -> NDArray[np.uint32]:
    """Effective filter masks w', axes pass, filter chunk, slot, word, lane."""
    filters = program.filters
    chunks = np.arange(program.layout.filter_chunks)[None, :, None, None]
    if skip_weights:
        masks = program.weight_masks[filters, chunks]
    else:
        masks = program.full_masks[chunks % program.layout.row_chunks]
    masks = np.where((filters >= 0)[..., None], masks, np.uint32(0))
    return np.ascontiguousarray(masks.transpose(0, 1, 2, 4, 3))


def _load_beats(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule, layout: ChunkLayout
) -> NDArray[np.int64]:
    """Beats L of each pass and segment."""
    values = popcount(workload.weights.masks).reshape(-1, layout.filter_chunks)
    beats = config.mask_beats + -(-values // config.filter_bus_bytes)
    starts = np.arange(schedule.segments) * schedule.segment_chunks
    by_segment = np.add.reduceat(beats, starts, axis=1)
    passes = range(len(schedule.assignment))
    return np.stack([by_segment[schedule.outputs(index)].sum(axis=0) for index in passes])


def _deals(
    config: AcceleratorConfig, schedule: Schedule, positions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of positions that each cluster takes one after another: first, count, stride."""
    clusters = config.clusters
    whole = schedule.segments == 1
    if config.dealing is Dealing.QUEUE:
        tile = np.array([[1 if whole else schedule.tile_positions]], dtype=np.int64)
        return np.zeros_like(tile), tile, np.ones_like(tile)
    m = np.arange(clusters, dtype=np.int64)
    if config.dealing is Dealing.TILES:
        size = -(-positions // clusters)
        first, stride = m * size, 1
        held = np.clip(positions - first, 0, size)
    else:
        first, stride = m, clusters
        held = -(-np.maximum(positions - first, 0) // clusters)
    tile = max(1, int(held.max())) if whole else schedule.tile_positions
    begins = np.arange(0, max(1, int(held.max())), tile, dtype=np.int64)
    return (
        first[:, None] + begins * stride,
        np.clip(held[:, None] - begins, 0, tile),
        np.full((clusters, len(begins)), stride, dtype=np.int64),
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


def _counters(
    config: AcceleratorConfig, state: NDArray[np.int64], sums: NDArray[np.int64]
) -> LayerCounters:
    """Turn the kernel's state and sums into counters."""
    drained = state[:, STATE["drained"]]
    cycles = np.where(state[:, STATE["outputs"]] > 0, drained + Latency.TAIL, 0)
    busy, cost, span = (sums[:, SUMS[name]] for name in ("busy", "cost", "span"))
    pairs = sums[:, SUMS["pairs"]] if config.lanes == 2 else busy
    by_unit = {
        "busy_cycles": busy,
        "bubble_cycles": cost - busy,
        "wait_memory_cycles": sums[:, SUMS["memory"]],
        "wait_siblings_cycles": sums[:, SUMS["siblings"]],
        "wait_collector_cycles": sums[:, SUMS["collector"]],
    }
    # A pass spans a unit's costs and waits; the wait that is nothing else is the broadcast.
    by_unit["wait_broadcast_cycles"] = span - sum(by_unit.values())
    by_unit["idle_cycles"] = cycles[:, None] - span
    by_cluster = {"cycles": cycles, "pairs": pairs.sum(axis=1)} | {
        name: state[:, STATE[name]] for name in ("filter_beats", "outputs", "output_nonzeros")
    }
    by_cluster["steps_delivered"] = state[:, STATE["delivered"]]
    by_cluster["steps_skipped"] = state[:, STATE["skipped"]]
    by_cluster["broadcast_words"] = state[:, STATE["broadcast_words"]]
    return LayerCounters(
        clusters=np.stack([by_cluster[name] for name in CLUSTER_COUNTERS], axis=-1),
        units=np.stack([by_unit[name] for name in UNIT_COUNTERS], axis=-1),
    )
