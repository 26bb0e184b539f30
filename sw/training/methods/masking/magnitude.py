"""Train, prune, retrain: small weights go, in rounds (Han et al., NeurIPS 2015)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training import masks
from sw.training.loop.parts import Features, Head, in_two_parts
from sw.training.loop.session import Phase
from sw.training.methods.method import Task, check_density
from sw.training.pruner import dropout
from sw.training.pruner.weights import check_model
from sw.training.search.neurons import links, without_dead

__all__ = [
    "Magnitude",
    "keep_by_layer",
    "keep_largest",
    "prune_in_rounds",
]

log = logging.getLogger(__name__)


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
        layer's weights before all pruning (section 3), growing over the rounds.
    spread : str
        ``global`` ranks all layers' weights together, each as a multiple of its layer's standard
        deviation; ``uniform`` gives each layer the same share.
    rounds : int
        Densities of the rounds fall by equal factors.
    convolution_rounds : int, optional
        Prune the convolutions first, in so many rounds, with the fully connected layers as they
        are; then these, in ``rounds``, with the convolutions as they are (section 3.3). Images
        are augmented once for the latter. ``density`` is of each part. Together by default.
    convolution_epochs : int, optional
        Of retraining after each of these rounds; those of the others by default.
    connected_batch : int, optional
        Images of a batch of the latter, whose weights cost more to move than to use; as of the
        former by default.
    rate_share : float, optional
        Learning rate of retraining as a share of the dense network's, 0.1 in the paper (section
        3.3); the recipe's own rate by default.
    dead_neurons : bool
        After each choice, remove all weights of neurons that none leads to, or from (section 3.5).
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
    convolution_rounds: int | None = None
    convolution_epochs: int | None = None
    connected_batch: int | None = None
    rate_share: float | None = None
    dead_neurons: bool = False

    def __post_init__(self) -> None:
        check_density(self.density)
        for layer, value in (self.densities or {}).items():
            check_density(value, f"Density of layer {layer}")
        if self.quality is not None and not self.quality > 0:
            raise UserError(f"Quality must be above 0, not {self.quality}")
        if self.spread not in ("global", "uniform"):
            raise UserError(f"Spread must be global or uniform, not {self.spread!r}")
        for what, count in (
            ("Rounds", self.rounds),
            ("Rounds of convolutions", self.convolution_rounds),
            ("Batch of the fully connected layers", self.connected_batch),
        ):
            if count is not None and count < 1:
                raise UserError(f"{what} must be at least 1, not {count}")
        if self.convolution_epochs is not None and self.convolution_epochs < 0:
            raise UserError(
                f"Epochs of convolutions must be at least 0, not {self.convolution_epochs}"
            )
        if self.rate_share is not None and not self.rate_share > 0:
            raise UserError(f"Share of the rate must be above 0, not {self.rate_share}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse what no method can prune, and names of layers that there are not."""
        check_model(model)
        masks.check_names(model, self.densities or {})
        if self.convolution_rounds is not None:
            in_two_parts(model)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Prune and retrain ``rounds`` times; ``task.epochs`` epochs each time."""
        self.check(model, task)
        first = {
            name: masks.deviation(masks.weight(layer))
            for name, layer in masks.layers(model).items()
        }
        rate = self.rate_share and self.rate_share * task.recipe.rate
        rounds = partial(prune_in_rounds, model, task, rate=rate, dead_neurons=self.dead_neurons)
        if self.convolution_rounds is None:
            return rounds(self.rounds, partial(self._choose, first))
        rounds(
            self.convolution_rounds,
            partial(self._choose, first, kind=nn.Conv2d),
            train=partial(_train_convolutions, task, self.convolution_epochs),
        )
        features = Features(model, task.session.train_batches, 0, self.connected_batch)
        return rounds(
            self.rounds,
            partial(self._choose, first, kind=nn.Linear),
            train=partial(_train_head, task, features),
        )

    def _choose(
        self,
        first: Mapping[str, float],
        model: nn.Module,
        progress: float,
        kind: type[nn.Module] = nn.Module,
    ) -> dict[str, Tensor]:
        layers = masks.layers(model)
        weights = {n: masks.weight(each) for n, each in layers.items() if isinstance(each, kind)}
        if self.quality is not None:
            limit = self.quality * progress
            return {name: each.abs() > limit * first[name] for name, each in weights.items()}
        scores = {name: each.abs() / masks.deviation(each) for name, each in weights.items()}
        stated = {n: share for n, share in (self.densities or {}).items() if n in scores}
        return keep_by_layer(scores, self.density, stated, self.spread, progress)


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
    *,
    rate: float | None = None,
    dead_neurons: bool = False,
    train: Callable[[nn.Module, Phase], None] | None = None,
) -> nn.Module:
    """Mask and retrain in turns, in place; dropout falls with density.

    Zeros that the model has stay zeros. Weights of other layers than ``masks.layers`` are left
    dense, and named in the log.

    Parameters
    ----------
    choose : function
        Returns the masks for a model and a share of the rounds, ``1 / rounds`` to 1.
    rate : float, optional
        Of retraining; the recipe's by default.
    dead_neurons : bool
        Remove what leads to or from dead neurons (``sw.training.search.neurons``).
    train : function, optional
        In place of ``task.session.train``; it may give the phase another name.

    Raises
    ------
    UserError
        The model has nothing to prune, or can't be pruned (``check_model``).
    """
    check_model(model)
    if not masks.layers(model):
        raise UserError(
            f"Model {type(model).__name__} must have a Conv2d or Linear layer to prune; "
            "sw.training.Pruner knows more kinds"
        )
    if others := masks.left_dense(model):
        log.warning("left dense: %s", ", ".join(others))
    there = {name: masks.weight(layer) != 0 for name, layer in masks.layers(model).items()}
    linked = links(model, task.input_shape) if dead_neurons else []
    rates = dropout.rates(model)
    example = torch.zeros((1, *task.input_shape))
    reading = dropout.readers(model, example, masks.layers(model)) if rates else {}
    for number in range(1, rounds + 1):
        chosen = choose(model, number / rounds)
        # A tensor of zeros alone was begun so; no checkpoint pruned it.
        kept = {n: each & there[n] if there[n].any() else each for n, each in chosen.items()}
        if linked:
            whole = {n: masks.weight(layer) != 0 for n, layer in masks.layers(model).items()}
            kept = without_dead(linked, whole | kept)
        masks.mask(model, kept)
        dropout.rescale(model, rates, reading, partial(_count, model))
        (train or task.session.train)(
            model,
            Phase(
                name=f"round-{number}",
                epochs=task.epochs,
                rate=rate or task.recipe.retrain_rate,
                weight_decay=task.recipe.weight_decay,
            ),
        )
    return model


def _train_convolutions(task: Task, epochs: int | None, model: nn.Module, phase: Phase) -> None:
    """Train all but the fully connected layers."""
    still = {
        id(parameter)
        for layer in masks.layers(model).values()
        if isinstance(layer, nn.Linear)
        for parameter in layer.parameters()
    }
    task.session.train(
        model,
        replace(
            phase,
            name=f"convolutions-{phase.name}",
            epochs=phase.epochs if epochs is None else epochs,
        ),
        parameters=[each for each in model.parameters() if id(each) not in still],
    )


def _train_head(task: Task, features: Features, model: nn.Module, phase: Phase) -> None:
    """Train the fully connected layers on the features that the others make."""
    task.session.train(
        Head(model),
        phase,
        parameters=[
            parameter
            for layer in masks.layers(model).values()
            if isinstance(layer, nn.Linear)
            for parameter in layer.parameters()
        ],
        batches=features,
    )


def keep_largest(scores: Tensor, share: float) -> Tensor:
    """Return True at the ``round(share * size)`` largest scores; of equal ones at the earlier.

    One is kept at least.
    """
    flat = scores.flatten()
    count = max(1, round(share * flat.numel()))
    # Not by sorting, which takes ten times as long for the weights of AlexNet.
    least = torch.kthvalue(flat, flat.numel() - count + 1).values
    kept = flat > least
    equal = torch.nonzero(flat == least).flatten()
    kept[equal[: count - int(kept.sum())]] = True
    return kept.reshape(scores.shape)


def _count(model: nn.Module, layer: str) -> tuple[int, int]:
    """Return a layer's weights that are not zero, and all of them."""
    values = masks.weight(model.get_submodule(layer))
    return int(torch.count_nonzero(values)), values.numel()
