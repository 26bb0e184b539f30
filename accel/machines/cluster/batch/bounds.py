"""Cycles that a layer takes at least on cluster machines, without running them.

The proof is in ``docs/sweeps.md``, *Bounds*; symbols are those of ``docs/machine.md``, *Timing*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.batch.arrange import (
    arrange_layer,
    count_drains,
    count_pass_beats,
    deal_of,
    first_places,
    latencies,
    make_scratch,
    make_sizes,
    make_sums,
    make_times,
)
from accel.machines.cluster.batch.arrays import WORK, Batches, Deals, Layer
from accel.machines.cluster.batch.kernel import run_batches
from accel.machines.cluster.batch.lanes import MACHINES
from accel.machines.cluster.batch.program import divide
from accel.machines.cluster.shared import SharedLayer
from golden.errors import CapacityError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

__all__ = ["bound_shared"]


def bound_shared(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, mode: SkipMode
) -> list[int | CapacityError]:
    """Return cycles that a layer takes at least on machines, in their order.

    Returns
    -------
    list of int, or CapacityError
        0 where nothing is proved; the error says why the layer does not fit.
    """
    misfits, groups, alone = divide(configs, shared)
    found: dict[int, int | CapacityError] = {**misfits, **dict.fromkeys(alone, 0)}
    for indices in groups:
        bounds = _bound_group([configs[index] for index in indices], shared, mode)
        found.update(zip(indices, bounds, strict=True))
    return [found[index] for index in range(len(configs))]


def _bound_group(
    configs: Sequence[AcceleratorConfig], shared: SharedLayer, mode: SkipMode
) -> list[int]:
    """Bound the cycles of machines that have their joins in common."""
    layer = arrange_layer(configs[0], shared, mode)
    ways = sorted({deal_of(config) for config in configs})
    clusters = np.array([way[0] for way in ways], dtype=np.int64)
    positions = len(layer.windows)
    deals = Deals(
        clusters=clusters,
        run=np.array([-(-positions // n) if tiles else 0 for n, tiles in ways], dtype=np.int64),
        first_row=first_places(clusters),
        first_batch=np.zeros(len(ways) + 1, dtype=np.int64),
    )
    cost = _count_costs(layer, deals, configs[0].units)
    words: dict[tuple[int, tuple], NDArray[np.int64]] = {}
    bounds = []
    for config in configs:
        way = deal_of(config)
        rows = slice(*deals.first_row[ways.index(way) : ways.index(way) + 2])
        dealt = _dealt(positions, *way)
        width = config.broadcast_width
        if (width, way) not in words:
            per_position = _position_words(config, layer, shared)
            words[width, way] = np.bincount(dealt, per_position, config.clusters).astype(np.int64)
        bounds.append(
            _bound(
                cost[rows],
                words[width, way],
                np.bincount(dealt, minlength=config.clusters),
                count_drains(config, shared),
                count_pass_beats(config, shared),
            )
        )
    return bounds


def _bound(
    cost: NDArray[np.int64],
    words: NDArray[np.int64],
    positions: NDArray[np.int64],
    drain: NDArray[np.int64],
    beats: NDArray[np.int64],
) -> int:
    """Return cycles that the slowest cluster takes at least.

    Parameters
    ----------
    cost : ndarray of int64, axis cluster
        c of the unit that has most.
    words, positions : ndarrays of int64, axis cluster
    drain, beats : ndarrays of int64, axis pass
        DELIVER + D + COLLECTOR_FREE, and L.
    """
    latency = AcceleratorConfig.LATENCY
    end = latency.deliver + 1 + latency.tail  # from an F' to the end, a beat of outputs drained
    first = max(latency.start, int(beats[0]) + latency.load) + 1  # the first A
    least = np.stack(
        [
            first + cost + end,
            latency.start + words + 1 + end,
            first + positions * drain.sum() - latency.collector_free + latency.tail,
            np.full_like(cost, beats.sum() + latency.load + 1 + end),
        ]
    ).max(axis=0)
    return int(least[positions > 0].max(initial=0))


def _count_costs(layer: Layer, deals: Deals, units: int) -> NDArray[np.int64]:
    """Return the cycles that the unit of each cluster works that works most, axis deal row."""
    empty, lanes = np.zeros(1, dtype=np.int64), (1, 1, MACHINES)
    batches = Batches(
        first_row=empty,
        least_slots=empty,
        stages=empty,
        is_delayed=np.zeros((1, 0, MACHINES), dtype=np.uint16),
        taken=np.zeros((0, 1, MACHINES), dtype=np.uint16),
        bus_class=empty,
        beats=np.zeros(lanes, dtype=np.int64),
        double_buffer=np.zeros(lanes[1:], dtype=np.uint8),
        drain=np.zeros(lanes, dtype=np.uint16),
    )
    sums = make_sums(int(deals.first_row[-1]), units)
    sizes = make_sizes(layer, deals, batches, units)
    times = make_times(1, units, sizes.stages)
    run_batches(sizes, layer, deals, batches, latencies(), make_scratch(sizes), times, sums)
    return sums.work[:, WORK.index("cost")].max(axis=1)


def _dealt(positions: int, clusters: int, tiles: bool) -> NDArray[np.int64]:
    """Return the cluster of each position."""
    numbers = np.arange(positions)
    return numbers // -(-positions // clusters) if tiles else numbers % clusters


def _position_words(
    config: AcceleratorConfig, layer: Layer, shared: SharedLayer
) -> NDArray[np.int64]:
    """Return the cycles that the broadcast of each position takes, all passes together."""

    def count() -> NDArray[np.int64]:
        taken = np.maximum(shared.broadcast_words(config), 1).astype(np.int64)
        places = (layer.windows[:, :, None] + np.arange(layer.row_chunks)).reshape(
            len(layer.windows), -1
        )[:, : layer.filters.shape[1]]
        words = np.zeros(len(places), dtype=np.int64)
        for base, passes in zip(*np.unique(layer.base, return_counts=True), strict=True):
            delivered = taken[base + places]
            if layer.skip_empty:
                delivered[:, :-1][layer.empty[base + places[:, :-1]] != 0] = 0
            words += passes * delivered.sum(axis=1)
        return words

    # Passes differ in their number with the units and filters of a group.
    key = config.chunk, config.broadcast_width, layer.skip_empty, tuple(layer.base.tolist())
    return shared.once(("position words", *key), count)
