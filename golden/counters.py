"""Names of the counters: one definition for oracle, simulator, hardware and reports.

What each one means is in ``docs/machine.md``, *Counters*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLUSTER_COUNTERS", "UNIT_COUNTERS", "LayerCounters", "first_difference"]

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


def first_difference(
    name: str, names: tuple[str, ...], mine: NDArray[np.int64], theirs: NDArray[np.int64]
) -> str:
    """Describe the first counter that differs, or return an empty string.

    Parameters
    ----------
    name : str
        What the axes before the last are, such as ``cluster, unit``.
    names : tuple of str
        The counters along the last axis.
    mine, theirs : ndarray of int64
        The counts; the last axis is the counter.
    """
    if mine.shape != theirs.shape:
        return f"shapes {mine.shape} and {theirs.shape}"
    if len(bad := np.argwhere(mine != theirs)):
        at = tuple(int(i) for i in bad[0])
        return f"{names[at[-1]]} of {name} {at[:-1]}: {mine[at]} and {theirs[at]}"
    return ""


@dataclass(frozen=True, eq=False)
class LayerCounters:
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

    def difference(self, other: LayerCounters) -> str:
        """Describe the first counter that differs, or return an empty string."""
        return first_difference(
            "cluster", CLUSTER_COUNTERS, self.clusters, other.clusters
        ) or first_difference("cluster, unit", UNIT_COUNTERS, self.units, other.units)
