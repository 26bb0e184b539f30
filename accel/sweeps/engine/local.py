"""This process counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from accel.sweeps.engine.blocks import BLOCK_POINTS_MAX, Tick, sort_points, take_block
from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import Outcome
from accel.sweeps.space.point import Point

__all__ = ["LocalEngine"]

#: Seconds of work that end together: what a stop loses at most, more or less.
_BLOCK_SECONDS = 5.0
_BLOCK_POINTS_MIN = 16


class LocalEngine:
    """This process."""

    def __init__(self) -> None:
        self._points_a_second = 1.0

    def run(
        self, network: SweptNetwork, points: Sequence[Point], tick: Tick, *, bound: bool = False
    ) -> Iterator[tuple[Sequence[Point], list[Outcome]]]:
        left = sort_points(points)
        while left:
            block = take_block(left, self._block_points())
            done, left = len(points) - len(left), left[len(block) :]
            before, after = done / len(points), (done + len(block)) / len(points)
            begun = time.monotonic()
            evaluator = network.evaluator
            count = evaluator.bound if bound else evaluator.evaluate
            yield block, count(block, _between(tick, before, after))
            self._points_a_second = len(block) / max(time.monotonic() - begun, 1e-3)

    def close(self) -> None:
        pass

    def _block_points(self) -> int:
        wanted = int(self._points_a_second * _BLOCK_SECONDS)
        return max(_BLOCK_POINTS_MIN, min(BLOCK_POINTS_MAX, wanted))


def _between(tick: Tick, before: float, after: float) -> Callable[[int, int], None]:
    """Return what tells how far a block is, as a share of all points."""
    return lambda done, total: tick(before + (after - before) * done / total)
