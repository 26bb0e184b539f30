"""A layer arranged for the kernel, and its counters read back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.arrays import (
    CLUSTER_STATE,
    FILTER_SIDE,
    INPUT_SIDE,
    JOIN,
    RING_SLOTS,
    SPREAD_MAX,
    Columns,
    Deals,
    Inputs,
    Machine,
    Passes,
    Registers,
    Units,
)
from accel.machines.cluster.kernels import count_broadcast_words, find_chunks, run_clusters
from accel.machines.vectors import LANES
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.layer import ChunkLayout, LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.tensor import BitmaskTensor, popcount

__all__ = [
    "LayerProgram",
    "arrange_deals",
    "arrange_inputs",
    "arrange_passes",
    "prepare_layer",
    "run_layer",
]


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One layer on one machine in the kernel's arrays; what all skip modes share.

    Parameters
    ----------
    input_masks : ndarray of uint16, axes chunk, word
        True masks, each group's followed by a row of zeros.
    broadcast_words : ndarray of uint16, axis chunk
    input_chunks : ndarray of int32, axes position, filter chunk
        The input chunk that each filter chunk meets, counted from the first of its group.
    weights : BitmaskTensor
    filters : ndarray of int32, axes pass, filter chunk (or 1), slot, column
        Which filter works there, -1 for none.
    active, load_beats, nonzeros : ndarrays
        As in ``accel.machines.cluster.arrays.Passes``.
    """

    config: AcceleratorConfig
    layer: LayerShape
    layout: ChunkLayout
    schedule: Schedule
    input_masks: NDArray[np.uint16]
    broadcast_words: NDArray[np.uint16]
    input_chunks: NDArray[np.int32]
    weights: BitmaskTensor
    filters: NDArray[np.int32]
    active: NDArray[np.int64]
    load_beats: NDArray[np.int64]
    nonzeros: NDArray[np.int32]

    @property
    def columns(self) -> int:
        """Units that are active in some pass, in whole blocks of the kernel."""
        return self.filters.shape[3]

    @cached_property
    def joined_filters(self) -> NDArray[np.uint16]:
        """Filter masks, axes pass, filter chunk, slot, word, column."""
        masks = self._by_chunk(np.ascontiguousarray(self.weights.masks).view(np.uint16))
        gathered = self._gather(masks)
        gathered[np.broadcast_to(self.filters < 0, gathered.shape[:-1])] = 0
        return np.ascontiguousarray(gathered.transpose(0, 1, 2, 4, 3))

    @cached_property
    def filter_counts(self) -> NDArray[np.uint16]:
        """Ones of filter masks, axes pass, filter chunk, slot, column."""
        counts = self._by_chunk(popcount(self.weights.masks).astype(np.uint16))
        return np.ascontiguousarray(self._gather(counts) * (self.filters >= 0))

    @cached_property
    def least(self) -> NDArray[np.uint16]:
        """As in ``accel.machines.cluster.arrays.Passes``."""
        least = np.empty(self.filter_counts.shape, dtype=np.uint16)
        least[:] = self.filters >= 0
        return least

    def _by_chunk(self, weights: NDArray) -> NDArray:
        return weights.reshape(
            self.layer.out_channels, self.layout.filter_chunks, *weights.shape[2:]
        )

    def _gather(self, by_filter: NDArray) -> NDArray:
        """Arrange chunks by pass, filter chunk, slot, column; any where there is no filter."""
        chunks = np.arange(self.layout.filter_chunks)[None, :, None, None]
        return by_filter[self.filters, chunks]


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
    grouped = input_masks.reshape(layer.groups, -1, config.chunk_words)
    zeros = np.zeros((layer.groups, layout.row_chunks, config.chunk_words), dtype=np.uint64)
    true_masks = np.concatenate([grouped, zeros], axis=1).reshape(-1, config.chunk_words)
    broadcast_words = np.empty(len(true_masks), dtype=np.uint16)
    count_broadcast_words(true_masks, config.broadcast_width, broadcast_words)
    filters, active = _columns(schedule)
    return LayerProgram(
        config=config,
        layer=layer,
        layout=layout,
        schedule=schedule,
        input_masks=true_masks.view(np.uint16),
        broadcast_words=broadcast_words,
        input_chunks=_input_chunks(layer, layout),
        weights=weights,
        filters=filters,
        active=active,
        load_beats=_load_beats(config, weights, schedule, layout),
        nonzeros=_pass_nonzeros(schedule, layer, output),
    )


def run_layer(program: LayerProgram, skip: SkipMode) -> LayerCounters:
    """Count every cycle of a prepared layer in one skip mode."""
    config = program.config
    by_column = (config.clusters, program.columns)
    registers = Registers(
        clusters=np.zeros(config.clusters, dtype=CLUSTER_STATE),
        ring=np.zeros((config.clusters, RING_SLOTS), dtype=np.int64),
        columns=Columns(*(np.zeros(by_column, dtype=np.uint16) for _ in Columns._fields)),
        units=Units(*(np.zeros(by_column, dtype=np.int64) for _ in Units._fields)),
    )
    run_clusters(
        _machine(program),
        arrange_passes(program, skip),
        arrange_inputs(program, skip),
        arrange_deals(config, program.schedule, program.layer.positions),
        registers,
    )
    return _counters(config, registers)


def _machine(program: LayerProgram) -> Machine:
    """Collect the numbers of a machine.

    Raises
    ------
    ValueError
        Units might be further behind their cluster than the kernel can tell: latencies are far
        longer than any hardware's.
    """
    config = program.config
    drain = -(-config.group_filters // config.collector_width)
    step_cost_max = config.filters_per_unit * config.chunk
    each = step_cost_max + drain + config.LATENCY.deliver + config.LATENCY.collector_free
    if config.slots * each + config.LATENCY.release > SPREAD_MAX:
        raise ValueError("latencies must be shorter")
    return Machine(
        clusters=config.clusters,
        columns=program.columns,
        slots=config.slots,
        filters_per_unit=config.filters_per_unit,
        words=program.input_masks.shape[1],
        multipliers=config.lanes,
        double_buffer=config.filter_double_buffer,
        start=config.LATENCY.start,
        release=config.LATENCY.release,
        load=config.LATENCY.load,
        load_free=config.LATENCY.load_free,
        deliver=config.LATENCY.deliver,
        collector_free=config.LATENCY.collector_free,
        step_cost_max=step_cost_max,
    )


def arrange_inputs(program: LayerProgram, skip: SkipMode) -> Inputs:
    """Arrange the input chunks in one skip mode."""
    layout = program.layout
    counts = np.zeros(1, dtype=np.uint16)
    if skip is SkipMode.DYNAMIC:
        counts = popcount(program.input_masks.view(np.uint64)).astype(np.uint16)
    elif skip is SkipMode.DENSE:
        lengths = [layout.chunk_length(i) for i in range(layout.row_chunks)]
        rows = len(program.input_masks) // layout.row_chunks
        counts = np.tile(np.array(lengths, dtype=np.uint16), rows)
    return Inputs(
        chunks=program.input_chunks,
        masks=program.input_masks,
        counts=counts,
        skip_empty=program.config.skip_empty_chunks and skip.skips_activations,
        broadcast_words=program.broadcast_words,
    )


def arrange_passes(program: LayerProgram, skip: SkipMode) -> Passes:
    """Arrange what each pass works on in one skip mode."""
    schedule = program.schedule
    chunks_per_group = len(program.input_masks) // program.layer.groups
    outputs = (schedule.assignment >= 0).sum(axis=(1, 2), dtype=np.int64)
    source = {SkipMode.BOTH: JOIN, SkipMode.STATIC: FILTER_SIDE}.get(skip, INPUT_SIDE)
    return Passes(
        passes=len(program.active),
        positions=program.layer.positions,
        filter_chunks=program.layout.filter_chunks,
        segments=schedule.segments,
        segment_chunks=schedule.segment_chunks,
        source=source,
        filters=program.joined_filters if source == JOIN else np.zeros((1,) * 5, dtype=np.uint16),
        counts=program.filter_counts,
        least=program.least,
        active=program.active,
        base=schedule.pass_group.astype(np.int64) * chunks_per_group,
        load_beats=program.load_beats,
        outputs=outputs,
        drain_cycles=-(-outputs // program.config.collector_width),
        nonzeros=program.nonzeros,
    )


def _input_chunks(layer: LayerShape, layout: ChunkLayout) -> NDArray[np.int32]:
    """Find the input chunk that each filter chunk meets at each position."""
    chunks = np.empty((layer.positions, layout.filter_chunks), dtype=np.int32)
    if layout.im2row:
        chunks[:] = np.arange(chunks.size).reshape(chunks.shape)
        return chunks
    find_chunks(
        chunks,
        layer.out_width,
        layer.kernel_width,
        (layer.in_height, layer.in_width),
        (layer.stride_height, layer.stride_width),
        (layer.pad_top, layer.pad_left),
        layout.row_chunks,
    )
    return chunks


def _columns(schedule: Schedule) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Lay out filters with units innermost, in whole blocks; count each pass's active units.

    Raises
    ------
    ValueError
        The active units of a pass are not its first ones.
    """
    is_active: NDArray[np.bool_] = np.any(schedule.assignment >= 0, axis=2)
    active = is_active.sum(axis=1).astype(np.int64)
    most = int(active.max())
    if np.any(is_active != (np.arange(is_active.shape[1]) < active[:, None])):
        raise ValueError("the active units of a pass must be its first ones")
    columns = LANES if most <= LANES else -(-most // (2 * LANES)) * 2 * LANES
    if schedule.chunk_assignment is None:
        by_unit = schedule.assignment[:, None, :most]
    else:
        by_unit = schedule.chunk_assignment[:, :, :most]
    filters = np.full((*by_unit.shape[:2], by_unit.shape[3], columns), -1, dtype=np.int32)
    filters[..., :most] = by_unit.transpose(0, 1, 3, 2)
    return filters, active


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


def arrange_deals(config: AcceleratorConfig, schedule: Schedule, positions: int) -> Deals:
    """Runs of positions that each cluster takes one after another."""
    whole = schedule.segments == 1
    if config.dealing is Dealing.QUEUE:
        none = np.zeros((1, 1), dtype=np.int64)
        return Deals(True, 1 if whole else schedule.tile_positions, 0, 1, none, none)
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
        queue_positions=0,
        count=len(begins),
        stride=stride,
        first=first[:, None] + begins * stride,
        positions=np.clip(held[:, None] - begins, 0, tile),
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


def _counters(config: AcceleratorConfig, registers: Registers) -> LayerCounters:
    """Turn the kernel's registers into counters."""
    clusters = registers.clusters
    sums = registers.units
    cycles = np.where(clusters["outputs"] > 0, clusters["drained"] + config.LATENCY.tail, 0)
    pairs = sums.pairs if config.lanes == 2 else sums.busy
    by_cluster = {name: clusters[name] for name in CLUSTER_STATE.names or ()}
    by_cluster |= {"cycles": cycles, "pairs": pairs.sum(axis=1)}
    by_unit = {
        "busy_cycles": sums.busy,
        "bubble_cycles": sums.cost - sums.busy,
        "wait_memory_cycles": sums.memory,
        "wait_siblings_cycles": sums.siblings,
        "wait_collector_cycles": sums.collector,
    }
    # A pass spans a unit's costs and waits; the wait that is nothing else is the broadcast.
    by_unit["wait_broadcast_cycles"] = sums.span - sum(by_unit.values())
    by_unit["idle_cycles"] = cycles[:, None] - sums.span
    units = np.zeros((config.clusters, config.units, len(UNIT_COUNTERS)), dtype=np.int64)
    # Units that are active in no pass have no column: they are idle.
    units[..., UNIT_COUNTERS.index("idle_cycles")] = cycles[:, None]
    held = min(config.units, sums.span.shape[1])
    for index, name in enumerate(UNIT_COUNTERS):
        units[:, :held, index] = by_unit[name][:, :held]
    return LayerCounters(
        clusters=np.stack([by_cluster[name] for name in CLUSTER_COUNTERS], axis=-1), units=units
    )
