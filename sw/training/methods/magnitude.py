"""Train, prune, retrain: small weights go, in rounds (Han et al., NeurIPS 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training import masks
from sw.training.methods.method import Task, check_density
from sw.training.session import Phase

__all__ = [
    "Magnitude",
    "keep_by_layer",
    "keep_largest",
    "prune_in_rounds",
    "rescale_dropout",
    "threshold",
]


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """Prune in rounds, each followed by retraining with the masks on.

    Parameters
    ----------
    density : float
        Share of all weights that stay, shared out by ``spread``.
    densities : mapping of str to float
        Shares by layer, in place of ``density`` for these.
    quality : float, optional
        In place of ``density``: prune below ``quality`` times the standard deviation of a
        layer's weights (section 3), growing over the rounds.
    spread : str
        ``global`` ranks all layers' weights together, each as a multiple of its layer's standard
        deviation; ``uniform`` gives each layer the same share.
    rounds : int
        Densities of the rounds fall by equal factors.
    """

    name: ClassVar[str] = "magnitude"
    removes: ClassVar[str] = "single weights"
    source: ClassVar[str] = "Han et al., NeurIPS 2015"
    needs: ClassVar[str] = "-"

    density: float = 0.1
    densities: Mapping[str, float] | None = None
    quality: float | None = None
    spread: str = "global"
    rounds: int = 5

    def __post_init__(self) -> None:
        check_density(self.density)
        for layer, value in (self.densities or {}).items():
            check_density(value, f"Density of layer {layer}")
        if self.quality is not None and not self.quality > 0:
            raise UserError(f"Quality must be above 0, not {self.quality}")
        if self.spread not in ("global", "uniform"):
            raise UserError(f"Spread must be global or uniform, not {self.spread!r}")
        if self.rounds < 1:
            raise UserError(f"Rounds must be 1 at least, not {self.rounds}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse names of layers that there are not."""
        masks.check_names(model, self.densities or {})

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Prune and retrain ``rounds`` times; ``task.epochs`` epochs each time."""
        self.check(model, task)
        return prune_in_rounds(model, task, self.rounds, self._choose)

    def _choose(self, model: nn.Module, progress: float) -> dict[str, Tensor]:
        weights = {name: masks.weight(layer) for name, layer in masks.layers(model).items()}
        if self.quality is not None:
            limit = self.quality * progress
            return {name: each.abs() > threshold(each, limit) for name, each in weights.items()}
        scores = {name: each.abs() / masks.deviation(each) for name, each in weights.items()}
        return keep_by_layer(scores, self.density, self.densities, self.spread, progress)


def keep_by_layer(
    scores: Mapping[str, Tensor],
    density: float,
    densities: Mapping[str, float] | None = None,
    spread: str = "global",
    progress: float = 1.0,
) -> dict[str, Tensor]:
    """Return True at the largest scores of each layer, shaped as the scores.

    Parameters
    ----------
    density, densities, spread
        As ``Magnitude`` has them.
    progress : float
        Shares are raised to this power: 1 in the last round.
    """
    stated = dict(densities or {})
    if spread == "uniform":
        stated = {name: stated.get(name, density) for name in scores}
    kept = {name: keep_largest(scores[name], share**progress) for name, share in stated.items()}
    rest = {name: each for name, each in scores.items() if name not in stated}
    if rest:
        chosen = keep_largest(
            torch.cat([each.flatten() for each in rest.values()]), density**progress
        )
        parts = torch.split(chosen, [each.numel() for each in rest.values()])
        kept |= {
            name: part.reshape(rest[name].shape) for name, part in zip(rest, parts, strict=True)
        }
    return kept


def prune_in_rounds(
    model: nn.Module,
    task: Task,
    rounds: int,
    choose: Callable[[nn.Module, float], dict[str, Tensor]],
) -> nn.Module:
    """Mask and retrain in turns, in place; dropout falls with density.

    Parameters
    ----------
    choose : function
        Returns the masks for a model and a share of the rounds, ``1 / rounds`` to 1.
    """
    dropout = {id(m): m.p for m in model.modules() if isinstance(m, nn.Dropout)}
    for number in range(1, rounds + 1):
        masks.mask(model, choose(model, number / rounds))
        rescale_dropout(model, dropout)
        task.session.train(
            model,
            Phase(
                name=f"round-{number}",
                epochs=task.epochs,
                rate=task.recipe.retrain_rate,
                weight_decay=task.recipe.weight_decay,
            ),
        )
    return model


def threshold(weights: Tensor, quality: float) -> float:
    """Return ``quality`` times the standard deviation of the weights that are not zero."""
    return quality * masks.deviation(weights)


def keep_largest(scores: Tensor, share: float) -> Tensor:
    """Return True at the ``round(share * size)`` largest scores; of equal ones at the earlier.

    One is kept at least.
    """
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    count = max(1, round(share * scores.numel()))
    kept[torch.sort(scores.flatten(), descending=True, stable=True).indices[:count]] = True
    return kept.reshape(scores.shape)


def rescale_dropout(model: nn.Module, original: Mapping[int, float]) -> None:
    """Lower each dropout rate to ``rate * sqrt(density)`` of the next layer (section 3.2).

    Parameters
    ----------
    original : mapping of int to float
        The rates of the dense network, by the ``id`` of its ``nn.Dropout``.
    """
    waiting: list[nn.Dropout] = []
    for module in model.modules():
        if isinstance(module, nn.Dropout) and id(module) in original:
            waiting.append(module)
        elif waiting and isinstance(module, (nn.Conv2d, nn.Linear)):
            values = masks.weight(module)
            share = int(torch.count_nonzero(values)) / values.numel()
            for dropout in waiting:
                dropout.p = original[id(dropout)] * math.sqrt(share)
            waiting = []
