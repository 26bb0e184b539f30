"""Cluster machines arranged sixteen by sixteen for the kernel, and their counters read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.arrays import Latencies
from accel.machines.cluster.batch.arrays import (
    WAITS,
    WORK,
    Batches,
    Deals,
    Layer,
    Scratch,
    Sizes,
    Sums,
    Times,
)
from accel.machines.cluster.batch.kernel import CHECK_STEPS, REBASE_CYCLES, RING, run_batches
from accel.machines.cluster.batch.lanes import COLUMNS, MACHINES
from accel.machines.cluster.capacity import check_filters, check_inputs
from accel.machines.cluster.program import run_layer
from accel.machines.cluster.shared import SharedLayer
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.errors import CapacityError
from golden.layer import ChunkLayout, LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing, Latency, SkipMode
from golden.machines.cluster.schedule import Schedule

__all__ = [
    "Totals",
    "can_batch",
    "count_batched",
    "count_shared",
    "group_key",
    "spread",
    "total_batched",
]

#: Bytes of the machines' times that are held at once.
STATE_BYTES_MAX = 256 << 20
#: Bytes of a cache line.
_LINE_BYTES = 64
#: Of one unit of one machine, in ``Times``.
_UNIT_BYTES = 3 * 2 + (2 + len(WAITS)) * 8


def spread(config: AcceleratorConfig, filter_chunks: int) -> int:
    """Return how far a short time can be from its base, in cycles (``docs/sweeps.md``)."""
    step = config.filters_per_unit * -(-config.chunk // config.lanes)
    collection = -(-config.group_filters // config.collector_width)
    work = max(step, collection + Latency.DELIVER + Latency.COLLECTOR_FREE)
    between_checks = CHECK_STEPS * (config.broadcast_words + Latency.RELEASE) + filter_chunks
    return (
        REBASE_CYCLES + (config.slots + CHECK_STEPS + 1) * work + between_checks + Latency.RELEASE
    )


def can_batch(config: AcceleratorConfig, layout: ChunkLayout, schedule: Schedule) -> bool:
    """Say whether the batch kernel can count a layer on a machine."""
    return (
        schedule.segments == 1
        and config.dealing is not Dealing.QUEUE
        and config.slots < RING
        and spread(config, layout.filter_chunks) <= np.iinfo(np.uint16).max
    )


def group_key(config: AcceleratorConfig) -> tuple:
    """Return what machines must have in common that are counted together."""
    return (
        config.chunk,
        config.units,
        config.filters_per_unit,
        config.balance,
        config.lanes,
        config.skip_empty_chunks,
    )


def count_shared(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, modes: Sequence[SkipMode]
) -> list[dict[SkipMode, Totals] | CapacityError]:
    """Count a layer on machines: those that can in batches, the others one by one.

    Returns
    -------
    list of dict of SkipMode to Totals, or CapacityError
        In the order of the machines; the error says why a layer does not fit.
    """
    found: dict[int, dict[SkipMode, Totals] | CapacityError] = {}
    groups: dict[tuple, list[int]] = {}
    for index, config in enumerate(configs):
        try:
            check_filters(config, shared.layer, shared.filter_demand(config))
            check_inputs(config, shared.layer, shared.input_demand(config))
        except CapacityError as error:
            found[index] = error
            continue
        batched = can_batch(config, shared.packed(config).layout, shared.schedule(config))
        key = group_key(config) if batched else (index,)
        groups.setdefault(key, []).append(index)
    for indices in groups.values():
        alike = [configs[index] for index in indices]
        if len(alike) > 1:
            counted = [total_batched(alike, shared, mode) for mode in modes]
            for index, *totals in zip(indices, *counted, strict=True):
                found[index] = dict(zip(modes, totals, strict=True))
        else:
            program = shared.program(alike[0])
            found[indices[0]] = {mode: Totals.of(run_layer(program, mode)) for mode in modes}
    return [found[index] for index in range(len(configs))]


class Totals(NamedTuple):
    """Counters of a machine, its clusters and units added up.

    Parameters
    ----------
    cycles : int
        Of the slowest cluster.
    clusters : dict of str to int
        Each of ``CLUSTER_COUNTERS`` but the cycles.
    units : ndarray of int64, axis ``UNIT_COUNTERS``
        A cluster that is done before the slowest is idle: all together are units * cycles.
    """

    cycles: int
    clusters: dict[str, int]
    units: NDArray[np.int64]

    @classmethod
    def of(cls, counters: LayerCounters) -> Totals:
        """Add up counters."""
        units = counters.units.sum(axis=(0, 1))
        missing = counters.cycles - counters.cluster("cycles")
        units[UNIT_COUNTERS.index("idle_cycles")] += missing.sum() * counters.units.shape[1]
        sums = counters.clusters.sum(axis=0)
        clusters = {
            name: int(total)
            for name, total in zip(CLUSTER_COUNTERS, sums, strict=True)
            if name != "cycles"
        }
        return cls(counters.cycles, clusters, units)


def count_batched(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, mode: SkipMode
) -> list[LayerCounters]:
    """Count a layer on machines of one group (``group_key``), all of which ``can_batch``.

    Returns
    -------
    list of LayerCounters
        In the order of the machines.
    """
    found: dict[int, LayerCounters] = {}
    for part, counted in _run(configs, shared, mode):
        for number, indices in enumerate(part):
            found.update(zip(indices, counted.counters(number), strict=False))
    return [found[index] for index in range(len(configs))]


def total_batched(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, mode: SkipMode
) -> list[Totals]:
    """Do what ``count_batched`` does, and add the counters up."""
    found: dict[int, Totals] = {}
    for part, counted in _run(configs, shared, mode):
        for indices, totals in zip(part, counted.totals(part), strict=True):
            found.update(zip(indices, totals, strict=True))
    return [found[index] for index in range(len(configs))]


def _run(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, mode: SkipMode
) -> Iterator[tuple[list[list[int]], _Counted]]:
    """Run machines of one group; yield which ones some batches hold, and what was counted."""
    layer = _arrange_layer(configs[0], shared, mode)
    units = configs[0].units
    for part in _parts(configs):
        deals, batches = _arrange_machines([[configs[i] for i in each] for each in part], shared)
        times = _times(sum(configs[each[0]].clusters for each in part), units)
        sums = _sums(int(deals.first_row[-1]), units)
        sizes = _sizes(layer, deals, batches, units)
        run_batches(sizes, layer, deals, batches, _latencies(), _scratch(sizes), times, sums)
        yield part, _Counted(deals, batches, times, sums)


class _Counted:
    """What was counted of some batches; a shared sum has a machine axis of one."""

    def __init__(self, deals: Deals, batches: Batches, times: Times, sums: Sums) -> None:
        self._states = batches.first_row
        self._deal = np.searchsorted(deals.first_batch, np.arange(len(self._states)), "right") - 1
        self._rows = deals.first_row[:-1]
        self._clusters = deals.clusters[self._deal]
        # The deal row of each state row.
        offset = np.repeat(self._rows[self._deal] - self._states, self._clusters)
        row = offset + np.arange(len(offset))
        drained = times.base + times.collector_free - Latency.COLLECTOR_FREE + Latency.TAIL
        self._cycles = np.where(sums.outputs[row, None] > 0, drained, 0)
        self._waits, self._work = times.waits, sums.work
        self._by_state = {"broadcast_words": times.words, "filter_beats": times.beats}
        self._by_row = {
            "pairs": self._work[:, WORK.index("pairs")].sum(axis=1),
            "steps_delivered": sums.delivered,
            "steps_skipped": sums.steps - sums.delivered,
            "outputs": sums.outputs,
            "output_nonzeros": sums.nonzeros,
        }

    def counters(self, batch: int) -> list[LayerCounters]:
        """Return the counters of each machine of a batch."""
        states = slice(self._states[batch], self._states[batch] + self._clusters[batch])
        first = self._rows[self._deal[batch]]
        rows = slice(first, first + self._clusters[batch])
        cycles = self._cycles[states].T  # axes machine, cluster
        work = dict(zip(WORK, self._work[rows].transpose(1, 0, 2), strict=True))
        waits = dict(zip(WAITS, self._waits[states].transpose(1, 3, 0, 2), strict=True))
        by_unit = _unit_counters(work, waits)
        by_unit["idle_cycles"] = cycles[:, :, None] - waits["span"]
        by_cluster = {"cycles": cycles}
        by_cluster |= {name: counts[states].T for name, counts in self._by_state.items()}
        by_cluster |= {name: counts[rows] for name, counts in self._by_row.items()}
        clusters = _stack(by_cluster, CLUSTER_COUNTERS, cycles.shape)
        units = _stack(by_unit, UNIT_COUNTERS, waits["span"].shape)
        return [LayerCounters(*both) for both in zip(clusters, units, strict=True)]

    def totals(self, part: list[list[int]]) -> list[list[Totals]]:
        """Return the sums over clusters and units of each machine of each batch."""
        cycles = np.maximum.reduceat(self._cycles, self._states, axis=0)  # axes batch, machine
        work = np.add.reduceat(self._work.sum(axis=2), self._rows, axis=0)[self._deal]
        waits = np.add.reduceat(self._waits.sum(axis=2), self._states, axis=0)
        by_wait = dict(zip(WAITS, waits.transpose(1, 0, 2), strict=True))
        by_unit = _unit_counters(dict(zip(WORK, work.T[:, :, None], strict=True)), by_wait)
        unit_cycles = cycles * (self._clusters * self._waits.shape[2])[:, None]
        by_unit["idle_cycles"] = unit_cycles - by_wait["span"]
        units = _stack(by_unit, UNIT_COUNTERS, cycles.shape)
        sums = {
            name: np.add.reduceat(counts, self._states, axis=0)
            for name, counts in self._by_state.items()
        }
        for name, counts in self._by_row.items():
            by_batch = np.add.reduceat(counts, self._rows)[self._deal, None]
            sums[name] = np.broadcast_to(by_batch, cycles.shape)
        listed = np.stack(list(sums.values()), axis=-1).tolist()
        return [
            [
                Totals(most, dict(zip(sums, of_clusters, strict=True)), of_units)
                for _, most, of_clusters, of_units in zip(indices, *of_batch, strict=False)
            ]
            for indices, *of_batch in zip(part, cycles.tolist(), listed, units, strict=True)
        ]


def _unit_counters(
    work: Mapping[str, NDArray[np.int64]], waits: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """Return all counters of units but the idle cycles."""
    by_unit = {
        "busy_cycles": work["busy"],
        "bubble_cycles": work["cost"] - work["busy"],
        "wait_memory_cycles": waits["memory"],
        "wait_siblings_cycles": waits["siblings"],
        "wait_collector_cycles": waits["collector"],
    }
    # A pass spans a unit's costs and waits; the wait that is nothing else is the broadcast.
    by_unit["wait_broadcast_cycles"] = waits["span"] - sum(by_unit.values())
    return by_unit


def _latencies() -> Latencies:
    return Latencies(
        start=Latency.START,
        release=Latency.RELEASE,
        load=Latency.LOAD,
        load_free=Latency.LOAD_FREE,
        deliver=Latency.DELIVER,
        collector_free=Latency.COLLECTOR_FREE,
    )


def _parts(configs: Sequence[AcceleratorConfig]) -> Iterator[list[list[int]]]:
    """Yield lists of batches, each the indices of at most 16 machines that deal alike."""

    def order(index: int) -> tuple:
        config = configs[index]
        return _deal(config), config.fifo_depth, config.broadcast_width, config.filter_bus_bytes

    part: list[list[int]] = []
    held = 0
    ordered = sorted(range(len(configs)), key=order)
    for (clusters, _), alike in groupby(ordered, key=lambda index: _deal(configs[index])):
        indices = list(alike)
        for first in range(0, len(indices), MACHINES):
            size = clusters * configs[0].units * MACHINES * _UNIT_BYTES
            if part and held + size > STATE_BYTES_MAX:
                yield part
                part, held = [], 0
            part.append(indices[first : first + MACHINES])
            held += size
    yield part


def _deal(config: AcceleratorConfig) -> tuple[int, bool]:
    """Return what decides which cluster gets which position."""
    return config.clusters, config.dealing is Dealing.TILES


def _arrange_layer(config: AcceleratorConfig, shared: SharedLayer, mode: SkipMode) -> Layer:
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
    """Return how many bytes of a mask can hold a one; even."""
    return -(-min(layout.chunk, layout.row_length) // 16) * 2


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


def _arrange_machines(
    machines: list[list[AcceleratorConfig]], shared: SharedLayer
) -> tuple[Deals, Batches]:
    """Arrange batches of machines; the lanes that are left over repeat the last one."""
    machines = [each + each[-1:] * (MACHINES - len(each)) for each in machines]
    firsts = [each[0] for each in machines]
    ways = [(*way, len(list(same))) for way, same in groupby(firsts, key=_deal)]
    clusters = np.array([way[0] for way in ways], dtype=np.int64)
    run = np.array(
        [-(-shared.layer.positions // way[0]) if way[1] else 0 for way in ways], dtype=np.int64
    )
    slots = [sorted({config.slots for config in each}) for each in machines]
    kinds = max(map(len, slots))
    has_slots = np.zeros((len(machines), kinds, MACHINES), dtype=np.uint16)
    for number, each in enumerate(machines):
        for kind, count in enumerate(slots[number]):
            has_slots[number, kind] = [0xFFFF if x.slots == count else 0 for x in each]
    widths = [tuple(config.broadcast_width for config in each) for each in machines]
    classes = {width: number for number, width in enumerate(dict.fromkeys(widths))}
    taken = [
        np.stack([shared.broadcast_words(config) for config in machines[widths.index(width)]], -1)
        for width in classes
    ]
    schedule = shared.schedule(firsts[0])
    outputs = [schedule.outputs(index) for index in range(len(schedule.assignment))]
    counts = np.array([len(held) for held in outputs])
    by_bus = {
        config.filter_bus_bytes: [shared.load_beats(config)[held].sum() for held in outputs]
        for each in machines
        for config in {config.filter_bus_bytes: config for config in each}.values()
    }
    collection = Latency.DELIVER + Latency.COLLECTOR_FREE
    return Deals(
        clusters=clusters,
        run=run,
        first_row=_firsts(clusters),
        first_batch=_firsts(np.array([way[2] for way in ways], dtype=np.int64)),
    ), Batches(
        first_row=_firsts(np.array([config.clusters for config in firsts], dtype=np.int64))[:-1],
        slots=np.array([each + [0] * (kinds - len(each)) for each in slots], dtype=np.int64),
        has_slots=has_slots,
        taken=np.maximum(np.stack(taken), 1),
        bus_class=np.array([classes[width] for width in widths], dtype=np.int64),
        beats=np.array(
            [[by_bus[config.filter_bus_bytes] for config in each] for each in machines],
            dtype=np.int64,
        ).transpose(0, 2, 1).copy(),
        double_buffer=np.array(
            [[x.filter_double_buffer for x in each] for each in machines], dtype=np.uint8
        ),
        drain=np.array(
            [[collection - (-counts // config.collector_width) for config in each]
             for each in machines],
            dtype=np.uint16,
        ).transpose(0, 2, 1).copy(),
    )  # fmt: skip


def _firsts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of some runs begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _sizes(layer: Layer, deals: Deals, batches: Batches, units: int) -> Sizes:
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
        slot_kinds=batches.slots.shape[1],
        deals=len(deals.clusters),
        deal_rows=int(deals.first_row[-1]),
        bus_classes=len(batches.taken),
    )


def _scratch(sizes: Sizes) -> Scratch:
    work = len(WORK) * sizes.columns
    return Scratch(
        cost=np.zeros(sizes.filter_chunks * sizes.columns, dtype=np.uint16),
        gaps=np.zeros(sizes.filter_chunks, dtype=np.int64),
        chunks=np.zeros(sizes.filter_chunks, dtype=np.int64),
        short=np.zeros(work, dtype=np.uint16),
        work=np.zeros(work, dtype=np.int64),
        words=np.zeros(sizes.bus_classes * MACHINES, dtype=np.int64),
        pass_work=np.zeros(sizes.deal_rows * work, dtype=np.int64),
        has_worked=np.zeros(sizes.deal_rows, dtype=np.uint8),
    )


def _times(rows: int, units: int) -> Times:
    def make(dtype: type, *axes: int) -> NDArray:
        return _aligned((rows, *axes, MACHINES), dtype)

    short, long = np.uint16, np.int64
    return Times(
        base=make(long),
        arrived=make(short),
        collector_free=make(short),
        ring=make(short, RING),
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


def _sums(rows: int, units: int) -> Sums:
    return Sums(
        np.zeros((rows, len(WORK), units), dtype=np.int64),
        *(np.zeros(rows, dtype=np.int64) for _ in range(4)),
    )


def _stack(
    counters: dict[str, NDArray[np.int64]], names: tuple[str, ...], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Put counters side by side on a last axis; the first axis is the machine."""
    return np.stack([np.broadcast_to(counters[name], shape) for name in names], axis=-1)
