"""The baseline of structured pruning: all layers narrowed alike, trained from fresh weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from golden.errors import UserError
from sw.training.loop.session import Phase
from sw.training.methods.method import Task, check_density
from sw.training.methods.narrowing.fresh import fresh
from sw.training.networks.definition import Definition
from sw.training.search.narrow import narrowable

__all__ = ["Uniform", "check_epochs", "train", "with_widths"]


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Scale all widths of a network by a share and train it; the given weights are not used.

    Parameters
    ----------
    channels : float
        Share of each width that stays, rounded; one channel at least.
    epochs : int, optional
        Of training; those of the network's recipe by default.
    """

    name: ClassVar[str] = "uniform"
    removes: ClassVar[str] = "channels"
    source: ClassVar[str] = "baseline: uniform widths"
    needs: ClassVar[str] = "channels that can go"

    channels: float = 0.5
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_density(self.channels, "Share of channels")
        check_epochs(self.epochs)

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a network that has no channels to remove."""
        self._widths(model, task)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Make the narrow network and train it by the recipe for dense training."""
        model = self.shape(model, task)
        train(model, task, task.recipe.epochs if self.epochs is None else self.epochs)
        return model

    def shape(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the narrow network with fresh weights."""
        definition, widths = self._widths(model, task)
        with fresh(task.session):
            return definition.make(widths)

    def _widths(self, model: nn.Module, task: Task) -> tuple[Definition, tuple[int, ...]]:
        definition = with_widths(model, task)
        assert definition.widths is not None
        widths = tuple(max(1, round(self.channels * width)) for width in definition.widths)
        return definition, widths


def train(model: nn.Module, task: Task, epochs: int) -> None:
    """Train as the dense network was (phase ``scratch``)."""
    recipe = task.recipe
    task.session.train(
        model,
        Phase(name="scratch", epochs=epochs, rate=recipe.rate, weight_decay=recipe.weight_decay),
    )


def with_widths(model: nn.Module, task: Task, *, normalised: bool = False) -> Definition:
    """Return the definition of a network of ours that has widths, or make one of the module.

    Parameters
    ----------
    normalised : bool
        As ``narrowable`` has it.

    Raises
    ------
    UserError
        As ``narrowable``.
    """
    given = task.definition
    if given is not None and given.widths is not None:
        return given
    name = given.name if given else None
    return narrowable(model, task.input_shape, task.recipe, name, normalised=normalised)


def check_epochs(epochs: int | None) -> None:
    """Refuse numbers of epochs below 1; None is the recipe's."""
    if epochs is not None and epochs < 1:
        raise UserError(f"Epochs must be 1 at least, not {epochs}")
