"""What an engine is, and how it cuts points into blocks that share work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import Outcome
from accel.sweeps.space.point import Point

__all__ = ["BLOCK_POINTS_MAX", "Engine", "Tick", "sort_points", "take_block"]

#: Called with the share of the points at hand that are done, 0..1.
Tick = Callable[[float], None]

BLOCK_POINTS_MAX = 512


class Engine(Protocol):
    """Counts points, block by block."""

    def run(
        self, network: SweptNetwork, points: Sequence[Point], tick: Tick, *, bound: bool = False
    ) -> Iterator[tuple[Sequence[Point], list[Outcome]]]:
        """Yield some of the points and what became of them, until all are done.

        Parameters
        ----------
        bound : bool
            They are not counted: it is only found what they take at least.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections."""
        ...


def sort_points(points: Sequence[Point]) -> list[Point]:
    """Return points in an order in which those that share work follow one another."""
    return sorted(points, key=Point.sharing_key)


def take_block(points: Sequence[Point], wanted: int) -> Sequence[Point]:
    """Return the first ``wanted`` of sorted points, and the rest of their group or less of it."""
    if wanted >= len(points):
        return points
    key = points[wanted].sharing_key()
    first = wanted
    while first > 0 and points[first - 1].sharing_key() == key:
        first -= 1
    if first > 0:
        return points[:first]
    last = wanted
    while last < len(points) and last < BLOCK_POINTS_MAX and points[last].sharing_key() == key:
        last += 1
    return points[:last]
