"""What the batch kernel counted, as counters of each machine, or added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.batch.arrays import WAITS, WORK, Batches, Deals, Sums, Times
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.machines.cluster.config import AcceleratorConfig

__all__ = ["Counted", "Totals"]


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


class Counted:
    """What was counted of some batches; a shared sum has a machine axis of one."""

    def __init__(self, deals: Deals, batches: Batches, times: Times, sums: Sums) -> None:
        self._states = batches.first_row
        self._deal = np.searchsorted(deals.first_batch, np.arange(len(self._states)), "right") - 1
        self._rows = deals.first_row[:-1]
        self._clusters = deals.clusters[self._deal]
        # The deal row of each state row.
        offset = np.repeat(self._rows[self._deal] - self._states, self._clusters)
        row = offset + np.arange(len(offset))
        latency = AcceleratorConfig.LATENCY
        drained = times.base + times.collector_free - latency.collector_free + latency.tail
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


def _stack(
    counters: dict[str, NDArray[np.int64]], names: tuple[str, ...], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Put counters side by side on a last axis; the first axis is the machine."""
    return np.stack([np.broadcast_to(counters[name], shape) for name in names], axis=-1)
