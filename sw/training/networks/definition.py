"""What a network is, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from sw.training.data.batches import Split
    from sw.training.loop.objective import Objective

__all__ = ["Definition", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained before and after something is pruned.

    Parameters
    ----------
    epochs : int
        Of dense training.
    rate, retrain_rate : float
        Learning rates at the start of dense training, of retraining.
    adam : bool
        Adam in place of stochastic gradient descent.
    """

    epochs: int
    rate: float
    retrain_rate: float
    weight_decay: float = 5e-4
    adam: bool = False


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A network by name.

    Parameters
    ----------
    make : function
        Returns it with fresh weights, drawn from PyTorch's generator. Where ``widths`` is not
        None it takes numbers of channels in their place.
    input_shape : tuple of int, axes c, y, x
    classes : int
        Outputs.
    widths : tuple of int, optional
        Channels that can be chosen freely, in the order in which ``make`` takes them, at full
        size. A width may stand for several layers that must agree.
    any_images : bool
        Images of any size are resized to ``input_shape``, and ``make`` takes a number of
        ``classes``.
    objective : function, optional
        Makes what it is trained for; classification where left out.
    data : function, optional
        Of a number of images an epoch and of a batch: makes the data that it is trained with,
        where they are no data set of classes.
    recurrent : bool
        Layers run several times for an input, in a loop that no ``golden.network.Network`` has:
        it is measured as ``sw.training.unrolled`` says.
    own : bool
        The user's, not one of ``DEFINITIONS``.
    """

    name: str
    summary: str
    make: Callable[..., nn.Module]
    recipe: Recipe
    input_shape: tuple[int, int, int] = (1, 28, 28)
    classes: int = 10
    widths: tuple[int, ...] | None = None
    any_images: bool = False
    objective: Callable[[], Objective] | None = None
    data: Callable[..., Split] | None = None
    recurrent: bool = False
    own: bool = False

    def with_classes(self, classes: int) -> Definition:
        """Return it with so many outputs, if it takes any images; else as it is."""
        if not self.any_images or classes == self.classes:
            return self
        return replace(self, make=partial(self.make, classes=classes), classes=classes)
