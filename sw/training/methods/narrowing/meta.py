"""Find a network's widths with generated weights, then train it afresh (Liu et al., ICCV 2019)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from golden.errors import UserError
from sw.training.cost import macs
from sw.training.loop.objective import accuracy
from sw.training.loop.session import Phase
from sw.training.methods.method import Task, check_density
from sw.training.methods.narrowing.uniform import with_widths
from sw.training.networks.definition import Definition
from sw.training.search.evolution import Candidate, Evolution, Widths, best
from sw.training.search.pruning_net import PruningNet, recalibrate

__all__ = ["MetaPruning"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MetaPruning:
    """Train a PruningNet on random widths, search by its weights, train the widths found.

    Parameters
    ----------
    budget : float
        Share of the dense network's cost that the network found may have.
    by : str
        The cost: ``macs``, or ``cycles`` of the machine, counted with generated weights both of
        the candidate and of the full network.
    smallest : float
        Share of each width that stays at least.
    generations, population : int
        Of the search; a candidate takes some inference.
    parents : int
        The best candidates so far, which mutate and are crossed.
    mutation : float
        Probability of each width of a parent to be drawn anew.
    net_epochs : int, optional
        Of the PruningNet's training; as many as of the final training by default.
    hidden : int
        Size of the PruningNet's blocks.
    recalibration : int
        Training batches over which a candidate's batch normalisation is measured.
    validation : int
        Validation batches over which its accuracy is.
    """

    name: ClassVar[str] = "meta"
    removes: ClassVar[str] = "channels, by a search for the widths"
    source: ClassVar[str] = "Liu et al., ICCV 2019"
    needs: ClassVar[str] = "channels that can go"

    budget: float = 0.5
    by: str = "macs"
    smallest: float = 0.1
    generations: int = 8
    population: int = 20
    parents: int = 8
    mutation: float = 0.2
    net_epochs: int | None = None
    hidden: int = 32
    recalibration: int = 8
    validation: int = 4

    def __post_init__(self) -> None:
        check_density(self.budget, "Budget")
        check_density(self.smallest, "Smallest")
        if self.by not in ("macs", "cycles"):
            raise UserError(f"By must be macs or cycles, not {self.by!r}")
        if not 0 < self.mutation <= 1:
            raise UserError(f"Mutation must be above 0 and at most 1, not {self.mutation}")
        for name in (
            "generations",
            "population",
            "parents",
            "net_epochs",
            "hidden",
            "recalibration",
            "validation",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"Option {name} must be 1 at least, not {value}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a network without channels to remove, and a budget below its narrowest."""
        self._pruning_net(model, task)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a network of the widths found, trained from scratch for ``task.epochs``.

        The model given is not changed; only the widths follow from the search, no weights.
        """
        (net, definition), recipe = self._pruning_net(model, task), task.recipe
        task.session.train(
            net,
            Phase(
                name="pruning-net",
                epochs=self.net_epochs or task.epochs,
                rate=recipe.rate,
                weight_decay=recipe.weight_decay,
            ),
        )
        widths = self._search(net, definition, task)
        torch.manual_seed(task.session.seed)
        model = net.make(widths=widths)
        task.session.train(
            model,
            Phase(
                name="train",
                epochs=task.epochs,
                rate=recipe.rate,
                weight_decay=recipe.weight_decay,
            ),
        )
        return model

    def _pruning_net(self, model: nn.Module, task: Task) -> tuple[PruningNet, Definition]:
        if self.by == "cycles" and task.cost is None:
            raise UserError("Method meta by cycles must have a machine to count them, not none")
        torch.manual_seed(task.session.seed)
        definition = with_widths(model, task)
        net = PruningNet(definition, hidden=self.hidden, smallest=self.smallest)
        self._check_reach(net, definition, task)
        return net, definition

    def _search(self, net: PruningNet, definition: Definition, task: Task) -> Widths:
        """Return the most accurate widths within the budget; each generation is remembered."""
        known: list[Candidate] = []
        for number in range(1, self.generations + 1):
            found = task.session.remember(
                f"generation-{number}",
                functools.partial(self._generation, net, definition, task, known),
            )
            known += [Candidate(tuple(widths), score) for widths, score in found]
            if not known:
                raise UserError(
                    f"Budget must be one that widths within it can be drawn for, not {self.budget}"
                )
            log.info(
                "generation %d of %d: %d candidates, the best so far %s with %.4f",
                number,
                self.generations,
                len(found),
                best(known, 1)[0].widths,
                best(known, 1)[0].accuracy,
            )
        return best(known, 1)[0].widths

    def _generation(
        self, net: PruningNet, definition: Definition, task: Task, known: list[Candidate]
    ) -> list[tuple[Widths, float]]:
        session = task.session
        generator = np.random.default_rng(torch.initial_seed())
        # The same batches for all candidates.
        train = list(islice(session.train_batches, self.recalibration))
        held = list(islice(session.validation_batches, self.validation))

        def candidate(widths: Widths) -> nn.Module:
            network = net.network(widths)
            recalibrate(network, train)
            return network

        cost = self._cost(definition, task, candidate)
        limit = self.budget * cost(net.full)
        evolution = Evolution(
            narrowest=net.narrowest,
            full=net.full,
            fits=lambda widths: cost(widths) <= limit,
            population=self.population,
            parents=self.parents,
            mutation=self.mutation,
        )
        proposed = evolution.propose(known, generator)
        return [(widths, accuracy(candidate(widths), held)) for widths in proposed]

    def _cost(
        self, definition: Definition, task: Task, network: Callable[[Widths], nn.Module]
    ) -> Callable[[Widths], float]:
        """Return the cost of widths, remembered; ``network`` makes what cycles are counted of."""

        def cost(widths: Widths) -> float:
            if task.cost is not None and self.by == "cycles":
                return task.cost(network(widths))
            return macs(definition.make(widths=widths), task.input_shape)

        return functools.cache(cost)

    def _check_reach(self, net: PruningNet, definition: Definition, task: Task) -> None:
        """Refuse a budget below the narrowest network; its cycles are those of fresh weights."""
        cost = self._cost(definition, task, net.network)
        least = cost(net.narrowest) / cost(net.full)
        if least > self.budget:
            raise UserError(
                f"Budget must be at least {least:.3f}, the share of {self.by} of the narrowest "
                f"network (smallest={self.smallest}), not {self.budget}"
            )
