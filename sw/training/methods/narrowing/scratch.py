"""The shape that a method finds, trained from fresh weights (Liu et al., ICLR 2019).

Rethinking the Value of Network Pruning, arXiv:1810.05270: what fine-tuned weights are worth is seen
when the same shape is trained from scratch, for as many epochs as the dense network (Scratch-E) or
for as much computation (Scratch-B).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from golden.errors import UserError
from sw.training.cost import macs
from sw.training.methods.method import Method, Task
from sw.training.methods.narrowing.fresh import check_redraw, fresh, reinitialise
from sw.training.methods.narrowing.uniform import check_epochs, train

__all__ = ["ScratchB", "ScratchE"]

log = logging.getLogger(__name__)

#: The finder that takes the given model's shape.
GIVEN = "given"


@dataclass(frozen=True, kw_only=True)
class _Scratch:
    """Find a shape, draw fresh weights, train them by the recipe for dense training.

    Parameters
    ----------
    finder : str
        Method that removes channels, with ``options``; its last fine-tuning is left out if it
        has a method ``shape``. ``given`` takes the shape that the model has.
    options : mapping of str to object, optional
        Of the finder.
    epochs : int, optional
        Of the dense network's training; those of its recipe by default.
    """

    removes: ClassVar[str] = "channels"
    source: ClassVar[str] = "Liu et al., ICLR 2019"
    needs: ClassVar[str] = "what its finder needs"

    finder: str = "slimming"
    options: Mapping[str, Any] | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        self._finder()
        check_epochs(self.epochs)

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse what the finder refuses, and modules that can't be given fresh weights."""
        finder = self._finder()
        if finder is not None:
            finder.check(model, task)
        elif task.definition is None or task.definition.own:
            raise UserError(
                f"Finder {GIVEN} needs a network of ours (accel prune --list), which says how "
                f"large the dense one is, not {type(model).__name__}"
            )
        check_redraw(model)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Find the shape with ``task.epochs`` for the finder's steps, and train it afresh."""
        self.check(model, task)
        dense = self._dense_macs(model, task)
        finder = self._finder()
        if finder is not None:
            model = getattr(finder, "shape", finder.prune)(model, task)
        reinitialise(model, task.session)
        base = task.recipe.epochs if self.epochs is None else self.epochs
        epochs = self.budget(base, dense / macs(model, task.input_shape))
        log.info("%s: %d epochs, the dense network %d", type(self).__name__, epochs, base)
        train(model, task, epochs)
        return model

    def budget(self, epochs: int, ratio: float) -> int:
        """Return the epochs to train for, ``ratio`` being the dense network's MACs over ours."""
        raise NotImplementedError

    def _finder(self) -> Method | None:
        from sw.training.methods import METHODS, make

        names = [
            name
            for name, method in METHODS.items()
            if "channels" in method.removes and not issubclass(method, _Scratch)
        ]
        if self.finder not in (GIVEN, *names):
            raise UserError(
                f"Finder must be {GIVEN} or one of {', '.join(names)}, not {self.finder!r}"
            )
        if self.finder != GIVEN:
            return make(self.finder, dict(self.options or {}))
        if self.options:
            raise UserError(f"Finder {GIVEN} must have no options, not {', '.join(self.options)}")
        return None

    def _dense_macs(self, model: nn.Module, task: Task) -> int:
        if self.finder == GIVEN and task.definition is not None:
            with fresh(task.session):
                model = task.definition.make()
        return macs(model, task.input_shape)


@dataclass(frozen=True, kw_only=True)
class ScratchE(_Scratch):
    """Train the shape for as many epochs as the dense network."""

    name: ClassVar[str] = "scratch-e"

    def budget(self, epochs: int, ratio: float) -> int:
        return epochs


@dataclass(frozen=True, kw_only=True)
class ScratchB(_Scratch):
    """Train the shape for as many multiplications as the dense network, at most twice its epochs.

    The limit is the paper's where the shape has less than half of the FLOPs (recalled).
    """

    name: ClassVar[str] = "scratch-b"

    def budget(self, epochs: int, ratio: float) -> int:
        return round(epochs * min(2.0, max(1.0, ratio)))
