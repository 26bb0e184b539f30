"""An exact Pareto front without counting all points: what is proved dominated is left out.

A point's lower bounds are its figures with the fewest cycles that it can take. It is dominated
where a point that was counted is as good as these bounds in every objective.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accel.sweeps.results.objectives import Objective
from accel.sweeps.results.study import pareto_front
from golden.errors import UserError

__all__ = ["Bounded", "check_bounded"]

#: Points of a round, at least: enough to share joins, which each round counts anew, and few enough
#: to learn from.
_ROUND_MIN, _ROUND_SHARE = 16, 1 / 8


def check_bounded(objectives: Sequence[Objective], search: str) -> None:
    """Refuse objectives that cycles alone do not bound, and searches that propose as they go.

    Raises
    ------
    UserError
        Names the objective or search.
    """
    for each in objectives:
        if each.needs_counts:
            raise UserError(
                "Objectives of a sweep with bounds must follow from cycles and cells, "
                f"not {each.name}"
            )
    if search not in ("grid", "random", "latin"):
        raise UserError(
            f"Search of a sweep with bounds must be grid, random or latin, not {search!r}"
        )


class Bounded:
    """Points of which some are counted, in rounds, until the others are dominated.

    Parameters
    ----------
    bounds : ndarray of float64, axes point, objective
        Smaller is better; NaN where a point has no estimate: it is on no front, and counted.
    """

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        self._bounds = bounds
        self._left = list(range(len(bounds)))
        self._counted = np.empty((0, bounds.shape[1]))
        self._numbers: list[int] = []
        #: The point that was counted and is better, by each point that is dominated.
        self.dominated_by: dict[int, int] = {}

    def take(self, numbers: Sequence[int]) -> list[int]:
        """Return points that are counted already, and ask for them no more."""
        taken = set(numbers)
        self._left = [number for number in self._left if number not in taken]
        return list(numbers)

    def next_round(self) -> list[int]:
        """Return points to count next, those with the best bounds; none where all is known."""
        wanted = max(_ROUND_MIN, int(len(self._bounds) * _ROUND_SHARE))
        taken: list[int] = []
        left = list(self._left)
        while left and len(taken) < wanted:
            layer = [left[place] for place in pareto_front(self._bounds[left])]
            taken += layer
            out = set(layer)
            left = [number for number in left if number not in out]
        self._left = left
        return sorted(taken)

    def tell(self, numbers: Sequence[int], figures: NDArray[np.float64]) -> None:
        """Learn what points have, NaN where a point can't be; drop what is dominated now."""
        known = np.flatnonzero(~np.isnan(figures).any(axis=1)).tolist()
        self._counted = np.concatenate([self._counted, figures[known]])
        self._numbers += [numbers[place] for place in known]
        left = []
        for number in self._left:
            is_better = np.all(self._counted <= self._bounds[number], axis=1)
            if is_better.any():
                self.dominated_by[number] = self._numbers[int(np.argmax(is_better))]
            else:
                left.append(number)
        self._left = left
