"""A sweep as it runs: what a search proposes is looked up in the store, or counted and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accel.sweeps.bounds import Bounded
from accel.sweeps.engine.blocks import Engine, Tick
from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import BOUNDED, DOMINATED, FAILED, OK, Outcome
from accel.sweeps.results.keys import code_digest, package_version, point_key
from accel.sweeps.results.objectives import Objective, measure
from accel.sweeps.results.store import Row, Store
from accel.sweeps.results.study import Found, Study
from accel.sweeps.search import Search
from accel.sweeps.space.point import Point

__all__ = ["Progress", "Sweeping"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a sweep is.

    Parameters
    ----------
    proposed : int
        Points that the search has proposed so far.
    done : int
        Of them, those whose rows are kept; ``kept_before`` were kept when the sweep began.
    kept_before : int
    share : float
        Of the present group of points, 0..1.
    """

    proposed: int
    done: int
    kept_before: int
    share: float


class Sweeping:
    """A sweep as it runs."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        networks: list[SweptNetwork],
        objectives: list[Objective],
        clock_mhz: float | None,
        bounds: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._networks = networks
        self._objectives = objectives
        self._clock_mhz = clock_mhz
        self._has_bounds = bounds
        self._progress = progress
        self._found: list[Found] = []
        #: Those that the present group of points needs, by key.
        self._rows: dict[str, Row] = {}
        self._kept_before = 0

    def run(self, way: Search) -> Study:
        while points := way.ask():
            found = self._find(points)
            self._found += found
            way.tell(points, [_complete(each.figures) for each in found])
        return Study(objectives=tuple(self._objectives), found=tuple(self._found))

    def _find(self, points: list[Point]) -> list[Found]:
        """Return what became of some points; count those that the store has not."""
        keys = [_key(network, point) for network in self._networks for point in points]
        self._rows = {
            key: row
            for key, row in self._store.rows(keys).items()
            if row.status not in (FAILED, DOMINATED)
        }
        self._kept_before += len(self._rows)
        if self._has_bounds:
            self._count_front(points)
        else:
            self._count(points, len(points))
        return [self._look_up(point) for point in points]

    def _look_up(self, point: Point, rows: Mapping[str, Row] | None = None) -> Found:
        """Return a point with its figures, from its rows on all networks."""
        known = self._rows if rows is None else rows
        # Networks of the same content share their rows, whatever they are called.
        of_point = [
            replace(known[_key(network, point)], network=network.name) for network in self._networks
        ]
        weights = [network.weight for network in self._networks]
        weighted = list(zip(of_point, weights, strict=True))
        figures = measure(self._objectives, weighted, self._clock_mhz)
        return Found(point=point, rows=tuple(of_point), figures=figures)

    def _count(self, points: Sequence[Point], total: int) -> None:
        """Count those of some points, of ``total`` in all, that have no rows yet."""
        for network in self._networks:
            left = [point for point in points if _key(network, point) not in self._rows]
            tick = self._ticker(total, len(left))
            for block, outcomes in self._engine.run(network, left, tick):
                self._keep(network, block, outcomes)

    def _keep(
        self, network: SweptNetwork, points: Sequence[Point], outcomes: Sequence[Outcome]
    ) -> None:
        rows = [_row(network, *both) for both in zip(points, outcomes, strict=True)]
        self._store.add(rows)
        self._rows |= {row.key: row for row in rows}

    def _count_front(self, points: list[Point]) -> None:
        """Count points until the others are dominated."""
        bounds = self._bound(points)
        left = [x for x in points if all(bounds[_key(n, x)].status == OK for n in self._networks)]
        figures = [self._look_up(point, bounds).figures for point in left]
        bounded = Bounded(self._signed(figures))
        counted = [all(_key(n, x) in self._rows for n in self._networks) for x in left]
        numbers = bounded.take([number for number, done in enumerate(counted) if done])
        while numbers or (numbers := bounded.next_round()):
            chosen = [left[number] for number in numbers]
            self._count(chosen, len(points))
            bounded.tell(numbers, self._signed([self._look_up(x).figures for x in chosen]))
            numbers = []
        for network in self._networks:
            dominated = []
            for number, better in bounded.dominated_by.items():
                key = _key(network, left[number])
                if key not in self._rows:
                    least = bounds[key].figures["layer_cycles"]
                    told = (
                        f"cycles are at least {sum(least.values())}: "
                        f"no better than point {_key(network, left[better])}"
                    )
                    outcome = Outcome(status=DOMINATED, message=told, layer_cycles=least)
                    dominated.append((left[number], outcome))
            if dominated:
                self._keep(network, *zip(*dominated, strict=True))

    def _bound(self, points: list[Point]) -> dict[str, Row]:
        """Return the rows that there are of some points, and bounds in place of the others."""
        found = dict(self._rows)
        for network in self._networks:
            left = [point for point in points if _key(network, point) not in self._rows]
            tick = self._ticker(len(points), 0)
            for block, outcomes in self._engine.run(network, left, tick, bound=True):
                for point, outcome in zip(block, outcomes, strict=True):
                    row = _row(network, point, outcome)
                    if outcome.status == BOUNDED:
                        cycles = sum(outcome.layer_cycles.values())
                        modes = {"modes": {BOUNDED: {"cycles": cycles}}}
                        row = replace(row, status=OK, figures={**row.figures, **modes})
                    else:
                        self._keep(network, [point], [outcome])
                    found[row.key] = row
        return found

    def _signed(self, figures: Sequence[list[float | None] | None]) -> NDArray[np.float64]:
        """Return figures of which smaller ones are better, axes point, objective; NaN for none."""
        none = [None] * len(self._objectives)
        table = np.array([each or none for each in figures], dtype=np.float64)
        signs = [1 if each.smaller_is_better else -1 for each in self._objectives]
        return table.reshape(-1, len(signs)) * signs

    def _ticker(self, points: int, missing: int) -> Tick:
        """Return what tells how far a group of points is, of which some are missing."""

        def tick(share: float) -> None:
            if self._progress:
                kept = points - missing
                self._progress(
                    Progress(
                        proposed=len(self._found) + points,
                        done=len(self._found) + kept + int(share * missing),
                        kept_before=self._kept_before,
                        share=share,
                    )
                )

        return tick


def _complete(figures: list[float | None] | None) -> list[float] | None:
    """Return figures where none is missing."""
    if figures is None:
        return None
    known = [figure for figure in figures if figure is not None]
    return known if len(known) == len(figures) else None


def _key(network: SweptNetwork, point: Point) -> str:
    modes = None if network.modes is None else [mode.value for mode in network.modes]
    return point_key(point, network.content, modes, network.technology_node)


def _row(network: SweptNetwork, point: Point, outcome: Outcome) -> Row:
    return Row(
        key=_key(network, point),
        point=point,
        network=network.name,
        network_digest=network.content,
        images=len(network.images),
        technology_node=network.technology_node,
        status=outcome.status,
        message=outcome.message,
        figures=outcome.figures(),
        cpu_seconds=outcome.cpu_seconds,
        package=package_version(),
        code=code_digest(),
    )
