"""Names of the counters: one definition for oracle, simulator, hardware and reports.

What each one means is in ``docs/machine.md``, *Counters*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLUSTER_COUNTERS", "UNIT_COUNTERS", "CounterTable", "Counters", "LayerCounters"]

#: Counters of each unit; for every unit they add up to its cluster's ``cycles``.
UNIT_COUNTERS = (
    "busy_cycles",
    "bubble_cycles",
    "wait_memory_cycles",
    "wait_siblings_cycles",
    "wait_broadcast_cycles",
    "wait_collector_cycles",
    "idle_cycles",
)

#: Counters of each cluster.
CLUSTER_COUNTERS = (
    "cycles",
    "pairs",
    "steps_delivered",
    "steps_skipped",
    "broadcast_words",
    "filter_beats",
    "outputs",
    "output_nonzeros",
)


class CounterTable(NamedTuple):
    """Counters of one kind of part.

    Parameters
    ----------
    what : str
        What the axes before the last are, such as ``cluster, unit``.
    names : tuple of str
        The counters along the last axis.
    counts : ndarray of int64
        The last axis is the counter.
    """

    what: str
    names: tuple[str, ...]
    counts: NDArray[np.int64]


class Counters:
    """What any machine's counters can do: be listed, and be compared."""

    def tables(self) -> tuple[CounterTable, ...]:
        """Return all counters by kind of part."""
        raise NotImplementedError

    def difference(self, other: Counters) -> str:
        """Describe the first counter that differs, or return an empty string."""
        for mine, theirs in zip(self.tables(), other.tables(), strict=True):
            if mine.counts.shape != theirs.counts.shape:
                return f"shapes {mine.counts.shape} and {theirs.counts.shape}"
            if len(bad := np.argwhere(mine.counts != theirs.counts)):
                at = tuple(int(i) for i in bad[0])
                return (
                    f"{mine.names[at[-1]]} of {mine.what} {at[:-1]}: "
                    f"{mine.counts[at]} and {theirs.counts[at]}"
                )
        return ""


@dataclass(frozen=True, eq=False)
class LayerCounters(Counters):
    """What a machine counted while it ran one layer for one image.

    Parameters
    ----------
    clusters : ndarray of int64, axes cluster, counter (``CLUSTER_COUNTERS``)
    units : ndarray of int64, axes cluster, unit, counter (``UNIT_COUNTERS``)
    """

    clusters: NDArray[np.int64]
    units: NDArray[np.int64]

    @property
    def cycles(self) -> int:
        """Cycles of the layer: those of the slowest cluster."""
        return int(self.clusters[:, 0].max())

    def cluster(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every cluster, by name."""
        return self.clusters[:, CLUSTER_COUNTERS.index(name)]

    def unit(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every unit, axes cluster, unit, by name."""
        return self.units[:, :, UNIT_COUNTERS.index(name)]

    def tables(self) -> tuple[CounterTable, ...]:
        return (
            CounterTable("cluster", CLUSTER_COUNTERS, self.clusters),
            CounterTable("cluster, unit", UNIT_COUNTERS, self.units),
        )
