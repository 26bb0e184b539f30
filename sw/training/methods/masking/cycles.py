"""Densities by layer that save cycles rather than weights: the machine in the loop."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from golden.errors import UserError
from sw.training import masks
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.methods.masking.sensitivity import first, scan, score
from sw.training.methods.method import Task, check_density
from sw.training.pruner.weights import check_model

__all__ = ["Cycles", "choose"]

log = logging.getLogger(__name__)

#: Densities that are tried fall by this factor.
STEP = 0.5**0.5
#: Rises of the loss, in nats, that are too small to tell apart.
TINY = 1e-6

#: By layer, a figure for each density that was tried.
Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Prune step by step where most cycles are saved for the loss, then in rounds with retraining.

    Each layer is pruned alone, by magnitude and without retraining: that gives the loss on
    validation data and the layer's cycles at each density. Steps are chosen by these curves
    (``choose``), as if what layers add to the loss and to the cycles did not depend on the
    others. Densities of the rounds, and what stays, are those of ``magnitude``.

    Parameters
    ----------
    budget : float
        Share of the dense network's cycles that the pruned one may take.
    by : str
        ``cycles`` or ``weights``: what is weighed against the loss.
    of : str
        ``cycles`` or ``weights``: what the budget is a share of.
    smallest : float
        Smallest density of a layer.
    images : int
        Validation images that the loss is measured with.
    """

    name: ClassVar[str] = "cycles"
    removes: ClassVar[str] = "single weights"
    source: ClassVar[str] = "this project"
    needs: ClassVar[str] = "cycles by layer, from the simulator"

    budget: float = 0.4
    by: str = "cycles"
    of: str = "cycles"
    smallest: float = 0.02
    images: int = 1000
    rounds: int = 5

    def __post_init__(self) -> None:
        check_density(self.budget, "Budget")
        check_density(self.smallest, "Smallest density")
        for name, value in (("By", self.by), ("Of", self.of)):
            if value not in ("cycles", "weights"):
                raise UserError(f"{name} must be cycles or weights, not {value!r}")
        for name, count in (("Images", self.images), ("Rounds", self.rounds)):
            if count < 1:
                raise UserError(f"{name} must be 1 at least, not {count}")

    @property
    def grid(self) -> list[float]:
        """Densities that are tried, falling from 1 to ``smallest``."""
        powers = itertools.takewhile(
            lambda density: density > self.smallest, (STEP**power for power in itertools.count())
        )
        return [*powers, self.smallest]

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a task without the cycles of each layer where they are asked for."""
        check_model(model)
        if "cycles" in (self.by, self.of) and task.layer_cost is None:
            raise UserError("Method cycles must be given the cycles of each layer")

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Measure, choose, then prune and retrain ``rounds`` times, ``task.epochs`` epochs each.

        The curves are in ``curves.json`` in the session's folder, the choice in
        ``densities.json``.
        """
        self.check(model, task)
        densities = task.session.remember("densities", lambda: self._search(model, task))
        log.info("densities: %s", ", ".join(f"{name} {d:.3f}" for name, d in densities.items()))
        return Magnitude(densities=densities, rounds=self.rounds).prune(model, task)

    def _search(self, model: nn.Module, task: Task) -> dict[str, float]:
        curves = task.session.remember("curves", lambda: self._measure(model, task))
        return choose(self.grid, curves["loss"], curves[self.by], curves[self.of], self.budget)

    def _measure(self, model: nn.Module, task: Task) -> dict[str, Curves]:
        grid = self.grid
        curves: dict[str, Curves] = {
            "weights": {
                name: [density * masks.weight(layer).numel() for density in grid]
                for name, layer in masks.layers(model).items()
            },
        }
        cost = task.layer_cost
        if cost is not None and "cycles" in (self.by, self.of):
            curves["cycles"] = scan(model, grid, lambda each, name: cost(each).get(name, 0.0))
        data = first(task.session.validation_batches, self.images)
        curves["loss"] = scan(model, grid, lambda each, _: score(each, data).loss)
        return curves


def choose(
    grid: Sequence[float], loss: Curves, weighed: Curves, spent: Curves, budget: float
) -> dict[str, float]:
    """Return each layer's density: greedy steps along ``grid`` until the budget is met.

    A step is taken in the layer that has the most of ``weighed`` to save for the rise of the
    loss, by this step or by several: a layer whose first step saves nothing is not given up.
    Where curves are convex this is the Lagrangian optimum of the sums. Losses that fall count as
    unchanged. The last step is cut short, linearly, so that the budget is met exactly.

    Parameters
    ----------
    grid : sequence of float
        Falling densities, the first one 1.
    loss, weighed, spent : mapping of str to sequence of float
        By layer, at each density of the grid.
    budget : float
        Share of the sum of ``spent`` at density 1.

    Raises
    ------
    UserError
        There is nothing left to save, and the budget is not met.
    """
    highest = {name: list(itertools.accumulate(values, max)) for name, values in loss.items()}
    place = dict.fromkeys(loss, 0)

    def gain(name: str) -> float:
        now = place[name]
        return max(
            (
                (weighed[name][now] - weighed[name][then])
                / max(highest[name][then] - highest[name][now], TINY)
                for then in range(now + 1, len(grid))
            ),
            default=0.0,
        )

    dense = sum(values[0] for values in spent.values())
    total, densities = dense, dict.fromkeys(loss, grid[0])
    while total > budget * dense:
        name = max(place, key=gain)
        if gain(name) <= 0:
            raise UserError(
                f"Budget must be at least {total / dense:.4f}, which is what pruning to "
                f"{grid[-1]:g} leaves, not {budget:g}"
            )
        place[name] += 1
        now = place[name]
        saved = spent[name][now - 1] - spent[name][now]
        densities[name] = grid[now]
        if saved > 0 and total - saved < budget * dense:
            part = (total - budget * dense) / saved
            densities[name] = grid[now - 1] + part * (grid[now] - grid[now - 1])
        total -= saved
    return densities
