"""Evolutionary search of a network's widths.

Our own loop, not a library's: candidates over the budget and repeated ones are rejected, and a
generation is a plain function of those before it, so that a search goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Candidate", "Evolution", "Widths", "best"]

#: Channels, in the order of ``Definition.widths``.
Widths = tuple[int, ...]
#: Draws of a candidate that is wanted, before it is done without.
TRIES = 20


@dataclass(frozen=True)
class Candidate:
    """Widths, and the accuracy that was measured for them."""

    widths: Widths
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """How candidates are drawn.

    Parameters
    ----------
    narrowest, full : tuple of int
        Range of each width, both included.
    fits : function
        Whether widths are within the budget. It is asked often.
    population : int
        Candidates of a generation.
    parents : int
        The best of all generations so far, from which the next one is made.
    mutation : float
        Probability of each width to be drawn anew.
    """

    narrowest: Widths
    full: Widths
    fits: Callable[[Widths], bool]
    population: int
    parents: int
    mutation: float

    def propose(self, known: Sequence[Candidate], generator: np.random.Generator) -> list[Widths]:
        """Return the next generation: within the budget, different from each other and from known.

        The first is random. Later ones are half mutations of parents and half crossovers of
        two, each width of either; random ones where these gave too few. There are fewer than
        ``population`` where drawing finds no more.
        """
        parents = [each.widths for each in best(known, self.parents)]
        seen = {each.widths for each in known}
        found: list[Widths] = []

        def extend(draw: Callable[[np.random.Generator], Widths], size: int) -> None:
            for _ in range(TRIES * (size - len(found))):
                if len(found) == size:
                    return
                widths = draw(generator)
                if widths not in seen and self.fits(widths):
                    seen.add(widths)
                    found.append(widths)

        if parents:
            extend(lambda generator: self._mutate(parents, generator), self.population // 2)
            extend(lambda generator: self._cross(parents, generator), self.population)
        extend(self._random, self.population)
        return found

    def _random(self, generator: np.random.Generator) -> Widths:
        """Draw all widths; then any one of them again, below itself, until the budget holds."""
        widths = generator.integers(self.narrowest, self.full, endpoint=True)
        for _ in range(TRIES * len(widths)):
            if self.fits(tuple(widths.tolist())):
                break
            place = generator.integers(len(widths))
            widths[place] = generator.integers(self.narrowest[place], widths[place], endpoint=True)
        return tuple(widths.tolist())

    def _mutate(self, parents: list[Widths], generator: np.random.Generator) -> Widths:
        parent = np.array(parents[generator.integers(len(parents))])
        drawn = generator.integers(self.narrowest, self.full, endpoint=True)
        changed = generator.random(len(parent)) < self.mutation
        return tuple(np.where(changed, drawn, parent).tolist())

    def _cross(self, parents: list[Widths], generator: np.random.Generator) -> Widths:
        one, other = (parents[i] for i in generator.integers(len(parents), size=2))
        return tuple(np.where(generator.random(len(one)) < 0.5, one, other).tolist())


def best(known: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the most accurate candidates, of equal ones those found first."""
    return sorted(known, key=lambda candidate: -candidate.accuracy)[:count]
