"""A layer, and cluster machines sixteen by sixteen, arranged for the batch kernel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.batch.arrays import (
    WAITS,
    WORK,
    Batches,
    Deals,
    Latencies,
    Layer,
    Scratch,
    Sizes,
    Sums,
    Times,
)
from accel.machines.cluster.batch.kernel import RING
from accel.machines.cluster.batch.lanes import COLUMNS, MACHINES
from accel.machines.cluster.shared import SharedLayer, schedule_key
from golden.layer import ChunkLayout, LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing, SkipMode

__all__ = [
    "UNIT_BYTES",
    "arrange_layer",
    "arrange_machines",
    "count_drains",
    "count_pass_beats",
    "deal_of",
    "first_places",
    "latencies",
    "make_scratch",
    "make_sizes",
    "make_sums",
    "make_times",
]

#: Bytes of a cache line.
_LINE_BYTES = 64
#: Of one unit of one machine, in ``Times``.
UNIT_BYTES = 3 * 2 + (2 + len(WAITS)) * 8


def deal_of(config: AcceleratorConfig) -> tuple[int, bool]:
    """Return what decides which cluster gets which position."""
    return config.clusters, config.dealing is Dealing.TILES


def arrange_layer(config: AcceleratorConfig, shared: SharedLayer, mode: SkipMode) -> Layer:
    """Arrange a layer for the machines of a group."""
    packed, schedule, shape = shared.packed(config), shared.schedule(config), shared.layer
    layout = packed.layout
    full = _full_masks(layout)
    true_masks = packed.chunk_masks(shape.groups)
    assignment = schedule.assignment
    active: NDArray[np.bool_] = np.any(assignment >= 0, axis=2)
    units = active.sum(axis=1).astype(np.int64)
    columns = -(-int(units.max()) // COLUMNS) * COLUMNS
    by_unit = schedule.chunk_assignment
    if by_unit is None:
        by_unit = assignment[:, None]
    passes, alike, _, slots = by_unit.shape
    unit = np.zeros((passes, columns), dtype=np.int64)
    held = np.full((passes, alike, slots, columns), -1, dtype=np.int32)
    for index in range(passes):
        numbers = np.flatnonzero(active[index])
        unit[index, : len(numbers)] = numbers
        held[index, :, :, : len(numbers)] = by_unit[index][:, numbers].transpose(0, 2, 1)
    if mode.skips_weights:
        weights = _octets(packed.weights.masks).reshape(-1, layout.filter_chunks, full.shape[1])
    else:  # all filters are the same one
        weights, held = np.tile(full, (layout.taps, 1))[None], np.minimum(held, 0)
    nonzeros = shared.nonzero_outputs()
    return Layer(
        windows=shared.once(("windows", layout.im2row, layout.row_chunks),
                            lambda: _windows(shape, layout)),
        row_chunks=layout.row_chunks,
        masks=_octets(true_masks) if mode.skips_activations else full,
        dynamic=mode.skips_activations,
        skip_empty=config.skip_empty_chunks and mode.skips_activations,
        empty=np.all(true_masks == 0, axis=1).astype(np.uint8),
        filters=_gather(weights, held, _mask_bytes(layout)),
        least=(held >= 0).astype(np.uint16),
        multipliers=config.lanes,
        units=units,
        unit=unit,
        base=schedule.pass_group.astype(np.int64) * (len(true_masks) // shape.groups),
        outputs=(assignment >= 0).sum(axis=(1, 2), dtype=np.int64),
        nonzeros=np.stack(
            [nonzeros[schedule.outputs(index)].sum(axis=0, dtype=np.int32)
             for index in range(passes)]
        ),
    )  # fmt: skip


def _octets(masks: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return masks, axes ..., word, as bytes."""
    return np.ascontiguousarray(masks.astype("<u8", copy=False)).view(np.uint8)


def _mask_bytes(layout: ChunkLayout) -> int:
    """Return how many bytes of a mask can hold a one, rounded up to what is counted at once."""
    return -(-min(layout.chunk, layout.row_length) // 32) * 4


def _full_masks(layout: ChunkLayout) -> NDArray[np.uint8]:
    """Return the masks v of the chunks of one row, axes chunk, byte: ones where positions exist."""
    lengths = np.array([layout.chunk_length(index) for index in range(layout.row_chunks)])
    ones = np.arange(-(-layout.chunk // 64) * 64) < lengths[:, None]
    return np.packbits(ones, axis=-1, bitorder="little")


def _gather(
    weights: NDArray[np.uint8], held: NDArray[np.int32], mask_bytes: int
) -> NDArray[np.uint8]:
    """Gather filters, axes filter, chunk, byte, by pass, filter chunk, slot, byte, column."""
    chunks = weights.shape[1]
    gathered = weights[held, np.arange(chunks)[None, :, None, None], :mask_bytes]
    gathered[np.broadcast_to(held < 0, gathered.shape[:-1])] = 0
    return np.ascontiguousarray(gathered.transpose(0, 1, 2, 4, 3))


def _windows(layer: LayerShape, layout: ChunkLayout) -> NDArray[np.int32]:
    """Return the first input chunk under each tap, axes position, tap.

    A tap outside the input has the row of zeros after its group.
    """
    position = np.arange(layer.positions)[:, None]
    if layout.im2row:
        return (position * layout.row_chunks).astype(np.int32)
    tap = np.arange(layer.taps)
    y = (
        position // layer.out_width * layer.stride_height
        - layer.pad_top
        + tap // layer.kernel_width
    )
    x = position % layer.out_width * layer.stride_width - layer.pad_left + tap % layer.kernel_width
    inside = (y >= 0) & (y < layer.in_height) & (x >= 0) & (x < layer.in_width)
    row = np.where(inside, y * layer.in_width + x, layer.in_height * layer.in_width)
    return (row * layout.row_chunks).astype(np.int32)


def arrange_machines(
    machines: list[list[AcceleratorConfig]], shared: SharedLayer
) -> tuple[Deals, Batches]:
    """Arrange batches of machines; the lanes that are left over repeat the last one."""
    machines = [each + each[-1:] * (MACHINES - len(each)) for each in machines]
    firsts = [each[0] for each in machines]
    ways = [(*way, len(list(same))) for way, same in groupby(firsts, key=deal_of)]
    clusters = np.array([way[0] for way in ways], dtype=np.int64)
    run = np.array(
        [-(-shared.layer.positions // way[0]) if way[1] else 0 for way in ways], dtype=np.int64
    )
    least_slots, stages, is_delayed = _delays(
        [[config.slots for config in each] for each in machines]
    )
    widths = [tuple(config.broadcast_width for config in each) for each in machines]
    classes = {width: number for number, width in enumerate(dict.fromkeys(widths))}
    taken = [
        np.stack([shared.broadcast_words(config) for config in machines[widths.index(width)]], -1)
        for width in classes
    ]
    return Deals(
        clusters=clusters,
        run=run,
        first_row=first_places(clusters),
        first_batch=first_places(np.array([way[2] for way in ways], dtype=np.int64)),
    ), Batches(
        first_row=first_places(np.array([x.clusters for x in firsts], dtype=np.int64))[:-1],
        least_slots=least_slots,
        stages=stages,
        is_delayed=is_delayed,
        taken=np.maximum(np.stack(taken), 1),
        bus_class=np.array([classes[width] for width in widths], dtype=np.int64),
        beats=_by_pass(machines, shared, count_pass_beats, np.int64),
        double_buffer=np.array(
            [[x.filter_double_buffer for x in each] for each in machines], dtype=np.uint8
        ),
        drain=_by_pass(machines, shared, count_drains, np.uint16),
    )  # fmt: skip


def _delays(
    slots: list[list[int]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
    """Return ``least_slots``, ``stages`` and ``is_delayed`` of `Batches`."""
    table = np.array(slots, dtype=np.int64)
    least = table.min(axis=1)
    more = table - least[:, None]
    powers = np.arange(int(more.max()).bit_length())
    has_power = (more[:, None, :] >> powers[:, None]) & 1 > 0
    stages = np.array([int(most).bit_length() for most in more.max(axis=1)], dtype=np.int64)
    return least, stages, np.where(has_power, 0xFFFF, 0).astype(np.uint16)


def count_pass_beats(config: AcceleratorConfig, shared: SharedLayer) -> NDArray[np.int64]:
    """Return L of each pass."""

    def count() -> NDArray[np.int64]:
        beats, schedule = shared.load_beats(config), shared.schedule(config)
        passes = range(len(schedule.assignment))
        return np.array([beats[schedule.outputs(index)].sum() for index in passes])

    return shared.once(("pass beats", *schedule_key(config), config.filter_bus_bytes), count)


def count_drains(config: AcceleratorConfig, shared: SharedLayer) -> NDArray[np.int64]:
    """Return the cycles from the last F' of a position to C, in each pass."""

    def count() -> NDArray[np.int64]:
        outputs = (shared.schedule(config).assignment >= 0).sum(axis=(1, 2))
        latency = config.LATENCY
        return latency.deliver + latency.collector_free - (-outputs // config.collector_width)

    return shared.once(("drains", *schedule_key(config), config.collector_width), count)


def _by_pass(
    machines: list[list[AcceleratorConfig]],
    shared: SharedLayer,
    count: Callable[[AcceleratorConfig, SharedLayer], NDArray[np.int64]],
    dtype: type,
) -> NDArray:
    """Count for each machine of some batches, axes batch, pass, machine."""
    counted = [[count(config, shared) for config in each] for each in machines]
    return np.array(counted, dtype=dtype).transpose(0, 2, 1).copy()


def first_places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of some runs begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def make_sizes(layer: Layer, deals: Deals, batches: Batches, units: int) -> Sizes:
    passes, filter_chunks, slots, filter_bytes, columns = layer.filters.shape
    positions, taps = layer.windows.shape
    return Sizes(
        passes=passes,
        positions=positions,
        taps=taps,
        columns=columns,
        units=units,
        filter_chunks=filter_chunks,
        input_chunks=batches.taken.shape[1],
        slots=slots,
        mask_bytes=layer.masks.shape[1],
        filter_bytes=filter_bytes,
        least_chunks=layer.least.shape[1],
        stages=batches.is_delayed.shape[1],
        deals=len(deals.clusters),
        deal_rows=int(deals.first_row[-1]),
        bus_classes=len(batches.taken),
    )


def make_scratch(sizes: Sizes) -> Scratch:
    work = len(WORK) * sizes.columns
    return Scratch(
        cost=np.zeros(sizes.filter_chunks * sizes.columns, dtype=np.uint16),
        gaps=np.zeros(sizes.filter_chunks, dtype=np.int64),
        chunks=np.zeros(sizes.filter_chunks, dtype=np.int64),
        short=np.zeros(work, dtype=np.uint16),
        work=np.zeros(work, dtype=np.int64),
        short_words=np.zeros(MACHINES, dtype=np.uint16),
        words=np.zeros(sizes.bus_classes * MACHINES, dtype=np.int64),
        pass_work=np.zeros(sizes.deal_rows * work, dtype=np.int64),
        has_worked=np.zeros(sizes.deal_rows, dtype=np.uint8),
    )


def make_times(rows: int, units: int, stages: int) -> Times:
    def make(dtype: type, *axes: int) -> NDArray:
        return _aligned((rows, *axes, MACHINES), dtype)

    short, long = np.uint16, np.int64
    return Times(
        base=make(long),
        arrived=make(short),
        collector_free=make(short),
        ring=make(short, RING),
        stages=make(short, stages, RING),
        finish=make(short, units),
        siblings=make(short, units),
        collector=make(short, units),
        begun=make(long, units),
        kept_finish=make(long, units),
        waits=make(long, len(WAITS), units),
        loaded=make(long),
        released=make(long),
        released_before=make(long),
        beats=make(long),
        words=make(long),
    )


def _aligned(shape: tuple[int, ...], dtype: type) -> NDArray:
    """Return zeros that begin with a cache line: no vector of theirs lies in two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + _LINE_BYTES, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE_BYTES
    return memory[first : first + size].view(dtype).reshape(shape)


def make_sums(rows: int, units: int) -> Sums:
    return Sums(
        np.zeros((rows, len(WORK), units), dtype=np.int64),
        *(np.zeros(rows, dtype=np.int64) for _ in range(4)),
    )


def latencies() -> Latencies:
    latency = AcceleratorConfig.LATENCY
    return Latencies(
        start=latency.start,
        release=latency.release,
        load=latency.load,
        load_free=latency.load_free,
        deliver=latency.deliver,
        collector_free=latency.collector_free,
    )
