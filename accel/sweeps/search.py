"""Ways through a space: each proposes points in groups, and is told what became of them.

All are deterministic: with the same space, seed and figures they propose the same points. So a
sweep that goes on after a stop asks again from the start, and finds in its store what it has.
"""

from __future__ import annotations

import importlib
import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from accel.sweeps.results.objectives import Objective
from accel.sweeps.space.point import Point
from accel.sweeps.space.space import Part, Space
from golden.errors import UserError

__all__ = ["SEARCHES", "Search", "make_search"]

#: Proposals that a search makes for each trial before it gives up to find points that are allowed.
_TRIES = 50
#: Points that a search proposes at once, where it learns from their figures.
_GROUP = 32
#: Groups without a new point after which such a search is done.
_STALE_GROUPS = 8


class Search(ABC):
    """A way through a space."""

    @abstractmethod
    def ask(self) -> list[Point]:
        """Return the next points, each once in a search; none where it is done."""

    def tell(self, points: Sequence[Point], figures: Sequence[Sequence[float] | None]) -> None:
        """Learn what became of the points of the last ``ask``; None: it can't be, or failed."""
        del points, figures


class _Listed(Search):
    """Points that are known from the start."""

    def __init__(self, points: list[Point]) -> None:
        self._points: list[Point] | None = points

    def ask(self) -> list[Point]:
        points, self._points = self._points, None
        return points or []


def _grid(space: Space, trials: int | None) -> list[Point]:
    points = list(space.grid())
    if trials is not None and len(points) > trials:
        raise UserError(
            f"Trials of search 'grid' must be at least {len(points)}, the points of the space, "
            f"not {trials}: or take search 'random'"
        )
    return points


def _draw_random(space: Space, trials: int, draw: random.Random) -> list[Point]:
    """Draw points evenly from the grid, each once."""
    if space.size <= _TRIES * trials:
        points = list(space.grid())
        return draw.sample(points, min(trials, len(points)))
    weights = [part.size for part in space.parts]

    def proposals() -> Iterator[Point | None]:
        while True:
            (part,) = draw.choices(space.parts, weights)
            yield part.point([draw.choice(values) for values in part.axes.values()])

    return _take(proposals(), trials)


def _draw_latin(space: Space, trials: int, draw: random.Random) -> list[Point]:
    """Draw a Latin hypercube of each part: every axis is covered evenly (McKay et al. 1979)."""
    sizes = [part.size for part in space.parts]
    shares = [max(1, round(trials * size / sum(sizes))) for size in sizes]

    def proposals() -> Iterator[Point | None]:
        while True:
            for part, share in zip(space.parts, shares, strict=True):
                columns = []
                for values in part.axes.values():
                    strata = draw.sample(range(share), share)
                    columns.append(
                        [values[int((at + draw.random()) * len(values) / share)] for at in strata]
                    )
                for number in range(share):
                    yield part.point([column[number] for column in columns])

    return _take(proposals(), trials)


def _take(proposals: Iterator[Point | None], trials: int) -> list[Point]:
    """Take so many different points that the constraints accept, or what many tries find."""
    found: dict[str, Point] = {}
    for _ in range(_TRIES * trials):
        point = next(proposals)
        if point is not None:
            found.setdefault(point.canonical(), point)
            if len(found) == trials:
                break
    return list(found.values())


class _Optuna(Search):
    """Optuna's samplers, by ask and tell, in memory.

    Numbers are axes of steps, in order; the rest are categories.
    """

    def __init__(
        self, space: Space, trials: int, seed: int, objectives: Sequence[Objective], sampler: str
    ) -> None:
        try:
            optuna = importlib.import_module("optuna")
        except ImportError:
            raise UserError(
                f"Search {sampler!r} needs Optuna, which is not installed: "
                "pip install 'innerjoin[sweep]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {
            # All axes together: one by one, each point takes its samplers three times as long.
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_GROUP, multivariate=True, group=True
            ),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=_GROUP),
        }
        self._failed = optuna.trial.TrialState.FAIL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = samplers[sampler]()
        self._study = optuna.create_study(
            sampler=made,
            directions=["minimize" if x.smaller_is_better else "maximize" for x in objectives],
        )
        self._space = space
        self._left = min(trials, space.size)
        self._asked: list[tuple[Any, str]] = []
        self._known: dict[str, Sequence[float] | None] = {}

    def ask(self) -> list[Point]:
        fresh: dict[str, Point] = {}
        stale = 0
        while not fresh and self._left > 0 and stale < _STALE_GROUPS:
            for _ in range(_GROUP):
                trial = self._study.ask()
                point = self._suggest(trial)
                if point is None:
                    self._study.tell(trial, state=self._failed)
                    continue
                key = point.canonical()
                self._asked.append((trial, key))
                if key not in self._known and len(fresh) < self._left:
                    fresh[key] = point
            if not fresh:
                # All of them are known: what they are told again leads elsewhere.
                self._answer()
                stale += 1
        self._left -= len(fresh)
        return list(fresh.values())

    def tell(self, points: Sequence[Point], figures: Sequence[Sequence[float] | None]) -> None:
        for point, each in zip(points, figures, strict=True):
            self._known[point.canonical()] = each
        self._answer()

    def _answer(self) -> None:
        for trial, key in self._asked:
            figures = self._known.get(key)
            if figures is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, list(figures))
        self._asked = []

    def _suggest(self, trial: Any) -> Point | None:
        parts = self._space.parts
        number = trial.suggest_categorical("part", range(len(parts))) if len(parts) > 1 else 0
        part: Part = parts[number]
        values = []
        for key, choices in part.axes.items():
            name = f"{number}.{key}"
            if _is_ordered(choices):
                values.append(sorted(choices)[trial.suggest_int(name, 0, len(choices) - 1)])
            else:
                values.append(trial.suggest_categorical(name, choices))
        return part.point(values)


def _is_ordered(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(type(value) in (int, float) for value in values)


#: Names of all searches.
SEARCHES = ("grid", "random", "latin", "tpe", "nsga2")


def make_search(
    name: str, space: Space, trials: int | None, seed: int, objectives: Sequence[Objective]
) -> Search:
    """Return a search by its name.

    Raises
    ------
    UserError
        There is no such search, trials are missing, too few or below 1, no point meets the
        constraints, or a package is not installed.
    """
    if name not in SEARCHES:
        raise UserError(f"Search must be one of {', '.join(SEARCHES)}, not {name!r}")
    if trials is not None and (type(trials) is not int or trials < 1):
        raise UserError(f"Trials must be at least 1, not {trials!r}")
    if name == "grid":
        points = _grid(space, trials)
    elif trials is None:
        raise UserError(f"Search {name!r} must be given its trials")
    elif trials >= space.size:
        # There is nothing to choose.
        points = list(space.grid())
    elif name in ("tpe", "nsga2"):
        return _Optuna(space, trials, seed, objectives, name)
    else:
        draw = random.Random(seed)
        points = (_draw_latin if name == "latin" else _draw_random)(space, trials, draw)
    if not points:
        raise UserError("Space must have at least one point that meets its constraints, not none")
    return _Listed(points)
