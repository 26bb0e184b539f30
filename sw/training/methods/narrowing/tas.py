"""Transformable architecture search: learn widths and depths, then distil into what was found."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.loop.distillation import Distillation
from sw.training.loop.session import Phase
from sw.training.methods.method import Task
from sw.training.methods.narrowing.fresh import fresh
from sw.training.methods.narrowing.uniform import check_epochs, train, with_widths
from sw.training.search.elastic import Architecture, Supernet

__all__ = ["Tas", "cost_loss"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tas:
    """Search for the widths of layers and the blocks of stages, then train with distillation.

    The search trains a network of all sizes at once (``sw.training.search.elastic``): weights on
    one half of each batch, probabilities of sizes on the other, with a loss for what the network
    costs (section 3.2). The most probable network is then trained from fresh weights, as the
    dense one was, and to follow it (section 3.3). Of the search only the sizes are kept.

    Parameters
    ----------
    budget : float
        Multiplications of the network to be found, as a share of the dense one's.
    tolerance : float
        Costs within this share of the budget are not punished.
    shares : sequence of float
        Sizes of a width that are tried, of its full one.
    search_epochs : int
        Of the search.
    epochs : int, optional
        Of training the network found; those of the dense network's recipe by default.
    cost_weight : float
        Of the loss of cost beside the cross-entropy.
    architecture_rate : float
        Adam's learning rate for the logits of sizes.
    hottest, coldest : float
        Temperatures of the Gumbel noise at the search's start and end; linear between them.
    temperature, mixing : float
        Of distillation from the dense network. A teacher given to the session is used instead,
        with its own. Mixing 0 is without.
    """

    name: ClassVar[str] = "tas"
    removes: ClassVar[str] = "channels, residual blocks"
    source: ClassVar[str] = "Dong and Yang, NeurIPS 2019"
    needs: ClassVar[str] = "channels that can go, behind batch normalisation"

    budget: float = 0.5
    tolerance: float = 0.05
    shares: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    search_epochs: int = 5
    epochs: int | None = None
    cost_weight: float = 2.0
    architecture_rate: float = 0.02
    hottest: float = 10.0
    coldest: float = 0.1
    temperature: float = 4.0
    mixing: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise UserError(f"Budget must be above 0 and at most 1, not {self.budget}")
        if not 0 <= self.tolerance < 1:
            raise UserError(f"Tolerance must be at least 0 and below 1, not {self.tolerance}")
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise UserError(
                f"Shares must be numbers above 0 and at most 1, not {list(self.shares)}"
            )
        if self.search_epochs < 1:
            raise UserError(f"Epochs of the search must be 1 at least, not {self.search_epochs}")
        check_epochs(self.epochs)
        for words, value in (
            ("Weight of the cost", self.cost_weight),
            ("Rate of the architecture", self.architecture_rate),
            ("Coldest temperature", self.coldest),
            ("Temperature of distillation", self.temperature),
        ):
            if not value > 0:
                raise UserError(f"{words} must be above 0, not {value}")
        if not self.hottest >= self.coldest:
            raise UserError(
                f"Hottest temperature must be at least the coldest, {self.coldest}, not "
                f"{self.hottest}"
            )
        if not 0 <= self.mixing <= 1:
            raise UserError(f"Mixing must be from 0 to 1, not {self.mixing}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a network without widths, and a budget that none of its shapes is within."""
        self._supernet(model, task)

    def _supernet(self, model: nn.Module, task: Task) -> tuple[Supernet, int, float]:
        """Return the supernet, the MACs of the dense network and those aimed at."""
        torch.manual_seed(task.session.seed)
        definition = with_widths(model, task, normalised=True)
        supernet = Supernet(copy.deepcopy(model), definition, task.input_shape, self.shares)
        dense = sum(cost.unit * cost.inputs * cost.outputs for cost in supernet.costs)
        target = self.budget * dense
        least = supernet.macs(supernet.smallest())
        if least > target:
            raise UserError(
                f"Budget of {definition.name} must be {least / dense:.3f} at least with these "
                f"shares of widths, not {self.budget}"
            )
        return supernet, dense, target

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Search, and return the network found, trained; the model itself is left as it was."""
        supernet, dense, target = self._supernet(model, task)
        given = task.session.teacher
        try:
            task.session.teacher = None
            self._search(supernet, target, task)
            found = task.session.remember(
                "architecture", lambda: self._decide(supernet, target, dense)
            )
            architecture = Architecture(tuple(found["widths"]), tuple(found["depths"]))
            task.session.teacher = given or self._teacher(model)
            with fresh(task.session):
                pruned = supernet.make(architecture)
            train(pruned, task, task.recipe.epochs if self.epochs is None else self.epochs)
        finally:
            task.session.teacher = given
        return pruned

    def _search(self, supernet: Supernet, target: float, task: Task) -> None:
        def cool(_: nn.Module, progress: float) -> None:
            supernet.temperature = self.hottest + progress * (self.coldest - self.hottest)

        def penalty(_: nn.Module) -> Tensor:
            cost = supernet.macs(supernet.most_probable())
            return self.cost_weight * cost_loss(
                supernet.expected_macs(), cost, target, self.tolerance
            )

        task.session.train(
            supernet,
            Phase(
                name="search",
                epochs=self.search_epochs,
                rate=task.recipe.rate,
                weight_decay=task.recipe.weight_decay,
            ),
            loss=both_halves,
            penalty=penalty,
            before_step=cool,
            parameters=supernet.network.parameters(),
            also=torch.optim.Adam(
                [*supernet.alphas, *supernet.betas],
                self.architecture_rate,
                betas=(0.5, 0.999),
                weight_decay=1e-3,
            ),
        )

    def _decide(self, supernet: Supernet, target: float, dense: int) -> dict[str, Any]:
        searched = supernet.macs(supernet.most_probable())
        found = supernet.fit((target * (1 - self.tolerance), target * (1 + self.tolerance)))
        log.info(
            "found: widths %s, depths %s, %.1f %% of the dense MACs (the most probable: %.1f %%)",
            found.widths,
            found.depths,
            100 * supernet.macs(found) / dense,
            100 * searched / dense,
        )
        return {**asdict(found), "macs": supernet.macs(found), "most_probable_macs": searched}

    def _teacher(self, model: nn.Module) -> Distillation | None:
        return Distillation(model, self.temperature, self.mixing) if self.mixing else None


def both_halves(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the mean losses of a batch's two halves: each is of other parameters."""
    half = len(labels) // 2
    loss = nn.functional.cross_entropy
    return loss(outputs[:half], labels[:half]) + loss(outputs[half:], labels[half:])


def cost_loss(expected: Tensor, cost: float, target: float, tolerance: float) -> Tensor:
    """Return a loss that moves the cost to a target.

    It is ``log(expected / target)`` where the cost is above the target by more than the
    tolerance, the negative of it where it is below, and 0 between (section 3.2; the division
    changes no gradient).

    Parameters
    ----------
    expected : Tensor
        Mean cost over all architectures, differentiable.
    cost : float
        Of the most probable architecture, in the same unit.
    tolerance : float
        Share of the target.
    """
    if cost > target * (1 + tolerance):
        return torch.log(expected / target)
    if cost < target * (1 - tolerance):
        return -torch.log(expected / target)
    return torch.zeros(())
