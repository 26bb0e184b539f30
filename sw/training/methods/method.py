"""What a pruning method is."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, Protocol

from torch import nn

from golden.errors import UserError
from sw.training.cost import Cost, LayerCost
from sw.training.loop.session import Session
from sw.training.networks.definition import Definition, Recipe

__all__ = ["Method", "Task", "check_density"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a method works with beside the model.

    Parameters
    ----------
    session : Session
        Trains, measures, remembers.
    recipe : Recipe
        Learning rates and epochs of the network.
    input_shape : tuple of int, axes c, y, x (or c)
        Of one input of the model.
    epochs : int
        Of retraining after the last step of pruning; methods with several steps say what each
        of them takes.
    definition : Definition, optional
        Where the model is one of ours; methods that try other widths need it.
    cost : Cost, optional
        Cycles of a model on a machine, for methods that ask for them.
    layer_cost : LayerCost, optional
        The same by layer.
    """

    session: Session
    recipe: Recipe
    input_shape: tuple[int, ...]
    epochs: int = 3
    definition: Definition | None = None
    cost: Cost | None = None
    layer_cost: LayerCost | None = None


class Method(Protocol):
    """A pruning method: a frozen dataclass whose fields are its options.

    Fields are checked when it is made (``UserError``). The registry has the class.
    """

    #: What is removed, where it is from, and what the network or the user must bring.
    name: ClassVar[str]
    removes: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str]

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse a model or a task that lacks what the method needs; train and change nothing.

        `accel prune` asks before it trains the dense network, ``prune`` asks again.

        Parameters
        ----------
        model : nn.Module
            Perhaps with fresh weights: what is refused may depend on its layers alone.

        Raises
        ------
        UserError
        """
        ...

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the pruned and retrained network.

        Parameters
        ----------
        model : nn.Module
            Trained; it may be changed in place and returned.

        Raises
        ------
        UserError
            As ``check``; or training failed.
        """
        ...


def check_density(value: float, of: str = "Density") -> None:
    """Refuse a share of weights that is not in (0, 1]."""
    if not isinstance(value, Real) or not 0 < value <= 1:
        raise UserError(f"{of} must be above 0 and at most 1, not {value!r}")
