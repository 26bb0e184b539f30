"""What a score is: how much a weight matters, from what is seen of it while training."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

__all__ = ["Score"]


class Score(Protocol):
    """A way to rank weights: a frozen dataclass in a file of this room, and a line in ``SCORES``.

    What it sees of a weight it adds up in a *memory*, a tensor that the pruner keeps and saves.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    #: ``nothing``, ``gradients`` of the loss, or the layer's ``inputs``.
    watches: ClassVar[str]
    #: How layers are ranked by default: one of ``sw.training.pruner.selection.SPREADS``.
    spread: ClassVar[str]
    #: Whether memories begin anew when masks change.
    forgets: ClassVar[bool]
    #: Whether a weight that went may come back, with the value that it had.
    regrows: ClassVar[bool]

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        """Return the memory after one backward pass, or one run of the layer.

        Parameters
        ----------
        memory : Tensor, optional
            None at first.
        values : Tensor
            Weights, those that are masked with the values that they had.
        seen : Tensor
            Gradient, shaped as the weights; or the sum of the inputs' squares over the batch and
            all places, a value for each input channel, shaped to multiply the weights.
        """
        ...

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        """Return the scores, shaped as the weights: the larger, the more a weight matters.

        Parameters
        ----------
        memory : Tensor, optional
            None where nothing was seen of this weight.
        """
        ...
