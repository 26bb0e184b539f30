"""Cluster machines arranged sixteen by sixteen for the kernel, and their counters read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from accel.machines.cluster.batch.arrange import (
    UNIT_BYTES,
    arrange_layer,
    arrange_machines,
    deal_of,
    latencies,
    make_scratch,
    make_sizes,
    make_sums,
    make_times,
)
from accel.machines.cluster.batch.counters import Counted, Totals
from accel.machines.cluster.batch.kernel import CHECK_STEPS, REBASE_CYCLES, RING, run_batches
from accel.machines.cluster.batch.lanes import MACHINES
from accel.machines.cluster.capacity import check_filters, check_inputs
from accel.machines.cluster.program import run_layer
from accel.machines.cluster.shared import SharedLayer
from golden.counters import LayerCounters
from golden.errors import CapacityError
from golden.layer import ChunkLayout
from golden.machines.cluster.config import AcceleratorConfig, Dealing, SkipMode
from golden.machines.cluster.schedule import Schedule

__all__ = [
    "can_batch",
    "count_batched",
    "count_shared",
    "divide",
    "group_key",
    "spread",
    "total_batched",
]

#: Machines that are left over by full batches, and faster one by one: a batch takes two to three
#: times as long as one machine.
FEW_MACHINES = 2
#: Bytes of the machines' times that are held at once.
STATE_BYTES_MAX = 256 << 20


def spread(config: AcceleratorConfig, filter_chunks: int) -> int:
    """Return how far a short time can be from its base, in cycles (``docs/sweeps.md``)."""
    latency = config.LATENCY
    step = config.filters_per_unit * -(-config.chunk // config.lanes)
    collection = -(-config.group_filters // config.collector_width)
    work = max(step, collection + latency.deliver + latency.collector_free)
    between_checks = CHECK_STEPS * (config.broadcast_words + latency.release) + filter_chunks
    return (
        REBASE_CYCLES + (config.slots + CHECK_STEPS + 1) * work + between_checks + latency.release
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


def divide(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer
) -> tuple[dict[int, CapacityError], list[list[int]], list[int]]:
    """Divide machines by how a layer is counted on them.

    Returns
    -------
    dict of int to CapacityError
        Why the layer does not fit, by machine.
    list of list of int
        Machines that are counted in batches, together those that can be (``group_key``).
    list of int
        Machines that can't be counted in batches.
    """
    misfits: dict[int, CapacityError] = {}
    groups: dict[tuple, list[int]] = {}
    alone: list[int] = []
    for index, config in enumerate(configs):
        try:
            check_filters(config, shared.layer, shared.filter_demand(config))
            check_inputs(config, shared.layer, shared.input_demand(config))
        except CapacityError as error:
            misfits[index] = error
            continue
        if can_batch(config, shared.packed(config).layout, shared.schedule(config)):
            groups.setdefault(group_key(config), []).append(index)
        else:
            alone.append(index)
    return misfits, list(groups.values()), alone


def count_shared(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, modes: Sequence[SkipMode]
) -> list[dict[SkipMode, Totals] | CapacityError]:
    """Count a layer on machines: those that can in batches, the others one by one.

    Returns
    -------
    list of dict of SkipMode to Totals, or CapacityError
        In the order of the machines; the error says why a layer does not fit.
    """
    misfits, groups, alone = divide(configs, shared)
    found: dict[int, dict[SkipMode, Totals] | CapacityError] = {**misfits}
    for indices in groups:
        few = _few([configs[index] for index in indices])
        alone += [indices[number] for number in few]
        indices = [index for number, index in enumerate(indices) if number not in few]
        if not indices:
            continue
        alike = [configs[index] for index in indices]
        counted = [total_batched(alike, shared, mode) for mode in modes]
        for index, *totals in zip(indices, *counted, strict=True):
            found[index] = dict(zip(modes, totals, strict=True))
    for index in alone:
        program = shared.program(configs[index])
        found[index] = {mode: Totals.of(run_layer(program, mode)) for mode in modes}
    return [found[index] for index in range(len(configs))]


def _few(configs: Sequence[AcceleratorConfig]) -> set[int]:
    """Return which machines of a group are better counted alone than in a batch of so few."""
    few: set[int] = set()
    for alike in _deals(configs):
        left = len(alike) % MACHINES
        if left <= FEW_MACHINES:
            few.update(alike[len(alike) - left :])
    return few


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
) -> Iterator[tuple[list[list[int]], Counted]]:
    """Run machines of one group; yield which ones some batches hold, and what was counted."""
    layer = arrange_layer(configs[0], shared, mode)
    units = configs[0].units
    for part in _parts(configs):
        deals, batches = arrange_machines([[configs[i] for i in each] for each in part], shared)
        sums = make_sums(int(deals.first_row[-1]), units)
        sizes = make_sizes(layer, deals, batches, units)
        rows = sum(configs[each[0]].clusters for each in part)
        times = make_times(rows, units, sizes.stages)
        run_batches(sizes, layer, deals, batches, latencies(), make_scratch(sizes), times, sums)
        yield part, Counted(deals, batches, times, sums)


def _deals(configs: Sequence[AcceleratorConfig]) -> Iterator[list[int]]:
    """Yield the machines that deal alike, in an order in which neighbours have much in common."""

    def order(index: int) -> tuple:
        config = configs[index]
        return deal_of(config), config.fifo_depth, config.broadcast_width, config.filter_bus_bytes

    ordered = sorted(range(len(configs)), key=order)
    for _, alike in groupby(ordered, key=lambda index: deal_of(configs[index])):
        yield list(alike)


def _parts(configs: Sequence[AcceleratorConfig]) -> Iterator[list[list[int]]]:
    """Yield lists of batches, each the indices of at most 16 machines that deal alike."""
    part: list[list[int]] = []
    held = 0
    for indices in _deals(configs):
        size = configs[indices[0]].clusters * configs[0].units * MACHINES * UNIT_BYTES
        for first in range(0, len(indices), MACHINES):
            if part and held + size > STATE_BYTES_MAX:
                yield part
                part, held = [], 0
            part.append(indices[first : first + MACHINES])
            held += size
    yield part
