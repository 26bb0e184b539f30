"""Network Slimming: channels whose scale the training pushed to zero go (Liu et al., ICCV 2017)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training import masks
from sw.training.loop.session import Phase
from sw.training.methods.masking.magnitude import keep_largest
from sw.training.methods.method import Task, check_density
from sw.training.search import channels

__all__ = ["Slimming", "choose", "choose_within", "scores"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Slimming:
    """Train with a penalty on batch normalisation's scales, remove channels, fine-tune.

    Layers that a residual addition joins are pruned too: a channel of theirs is one, it goes in all
    of them, and counts with the largest of its scales. Only channels are counted that can go:
    those whose layers all have a batch normalisation right behind them.

    Parameters
    ----------
    channels : float
        Share of the channels that stay, ranked over all layers; each layer keeps one at least.
    density : float, optional
        In place of ``channels``: share of the network's weights that stay. As many channels go
        as that takes.
    penalty : float
        Lambda of ``lambda * sum |scale|`` (arXiv:1708.06519, equation 1), by its sub-gradient.
    passes : int
        Of training with the penalty, removing and fine-tuning; shares fall by equal factors.
    sparse_epochs : int, optional
        Of training with the penalty in each pass, at the recipe's dense rate; as many as of
        fine-tuning by default.
    """

    name: ClassVar[str] = "slimming"
    removes: ClassVar[str] = "channels"
    source: ClassVar[str] = "Liu et al., ICCV 2017"
    needs: ClassVar[str] = "batch normalisation"

    channels: float = 0.5
    density: float | None = None
    penalty: float = 3e-3
    passes: int = 1
    sparse_epochs: int | None = None

    def __post_init__(self) -> None:
        check_density(self.channels, "Share of channels")
        if self.density is not None:
            check_density(self.density)
        if not self.penalty >= 0:
            raise UserError(f"Penalty must be 0 at least, not {self.penalty}")
        if self.passes < 1:
            raise UserError(f"Passes must be 1 at least, not {self.passes}")
        if self.sparse_epochs is not None and self.sparse_epochs < 0:
            raise UserError(f"Sparse epochs must be 0 at least, not {self.sparse_epochs}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a model from which no channels can be removed for want of batch normalisation."""
        self._groups(model, task)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Slim ``passes`` times; ``task.epochs`` epochs of fine-tuning each time."""
        self.shape(model, task)
        self._fine_tune(model, task, self.passes)
        return model

    def shape(self, model: nn.Module, task: Task) -> nn.Module:
        """Do all of it but the last fine-tuning, in place: what `Scratch` needs."""
        groups = self._groups(model, task)
        total = sum(each.numel() for each in scores(model, groups).values())
        weights = _weights(model)
        for number in range(1, self.passes + 1):
            task.session.train(
                model,
                Phase(
                    name=f"sparse-{number}",
                    epochs=task.epochs if self.sparse_epochs is None else self.sparse_epochs,
                    rate=task.recipe.rate,
                    weight_decay=task.recipe.weight_decay,
                ),
                penalty=lambda model: self.penalty * _sum_of_scales(model, groups),
            )
            progress = number / self.passes
            kept = choose(scores(model, groups), round(self.channels**progress * total))
            if self.density is not None:
                most = round(self.density**progress * weights)
                kept = choose_within(model, task.input_shape, scores(model, groups), most)
            channels.remove(model, task.input_shape, kept)
            left = ", ".join(f"{int(each.sum())} of {name}" for name, each in kept.items())
            log.info("pass %d keeps channels: %s", number, left)
            if number < self.passes:
                self._fine_tune(model, task, number)
        return model

    def _groups(self, model: nn.Module, task: Task) -> list[channels.Group]:
        groups = [group for group in channels.find(model, task.input_shape) if group.norms]
        if not groups:
            raise UserError(
                "Model to slim must have batch normalisation with a scale right behind its "
                f"convolutions, not {_describe(model)}"
            )
        return groups

    def _fine_tune(self, model: nn.Module, task: Task, number: int) -> None:
        task.session.train(
            model,
            Phase(
                name=f"fine-tune-{number}",
                epochs=task.epochs,
                rate=task.recipe.retrain_rate,
                weight_decay=task.recipe.weight_decay,
            ),
        )


def scores(model: nn.Module, groups: list[channels.Group]) -> dict[str, Tensor]:
    """Return the largest absolute scale of each channel, axis channel, by name of the group."""
    return {
        group.name: torch.stack([each.detach().abs() for each in _scales(model, group)]).amax(0)
        for group in groups
    }


def choose(scores: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return True at the largest scores over all groups, and at the largest one of each.

    As many as ``count``, or as there are groups if that is more.
    """
    ranked = []
    for each in scores.values():
        each = each.clone()
        each[each.argmax()] = torch.inf
        ranked.append(each)
    sizes = [each.numel() for each in ranked]
    kept = keep_largest(torch.cat(ranked), max(count, len(ranked)) / sum(sizes))
    return dict(zip(scores, torch.split(kept, sizes), strict=True))


def choose_within(
    model: nn.Module, input_shape: tuple[int, ...], scores: Mapping[str, Tensor], weights: int
) -> dict[str, Tensor]:
    """Return ``choose`` of as many channels as leave a network of at most so many weights.

    Raises
    ------
    UserError
        One channel of each group leaves more.
    """

    def left(kept: Mapping[str, Tensor]) -> int:
        trial = copy.deepcopy(model)
        channels.remove(trial, input_shape, kept)
        return _weights(trial)

    low, high = len(scores), sum(each.numel() for each in scores.values())
    if (least := left(choose(scores, low))) > weights:
        raise UserError(
            f"Weights that stay must be at least {least:,}, those of one channel a layer, "
            f"not {weights:,}"
        )
    while low < high:
        middle = (low + high + 1) // 2
        fits = left(choose(scores, middle)) <= weights
        low, high = (middle, high) if fits else (low, middle - 1)
    return choose(scores, low)


def _weights(model: nn.Module) -> int:
    return sum(masks.weight(layer).numel() for layer in masks.layers(model).values())


def _scales(model: nn.Module, group: channels.Group) -> list[nn.Parameter]:
    return [model.get_submodule(norm).weight for norm in group.norms]  # type: ignore[misc]


def _sum_of_scales(model: nn.Module, groups: list[channels.Group]) -> Tensor:
    return torch.stack(
        [scale.abs().sum() for group in groups for scale in _scales(model, group)]
    ).sum()


def _describe(model: nn.Module) -> str:
    norms = [name for name, each in model.named_modules() if "Norm" in type(each).__name__]
    kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in model.children()))
    return f"only {', '.join(norms)}" if norms else f"{type(model).__name__} of {kinds}"
