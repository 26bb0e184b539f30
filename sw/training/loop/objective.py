"""What a network is trained for: a loss of its outputs, and a score that is reported.

Classification is one; another is an object of these methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from golden.errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "CLASSIFICATION",
    "Batches",
    "Loss",
    "Objective",
    "accuracy",
    "check_labels",
    "device_of",
    "pair",
]

#: Inputs, batch first, and labels, int64 of axis n.
Batches = Iterable[tuple[Tensor, Tensor]]
#: Of outputs, axes n, class, and labels, axis n.
Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """A loss to make small, and a score to make large."""

    @property
    def score_name(self) -> str:
        """Return what the score is, for reports."""
        ...

    def loss(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the loss of a batch.

        Raises
        ------
        UserError
            Outputs or labels are not what this is for.
        """
        ...

    def score(self, model: nn.Module, batches: Batches) -> float:
        """Return the score; the model is left in eval."""
        ...

    def score_int8(self, model: ModelProto, batches: Any) -> float:
        """Return the score of a quantised model under ONNX Runtime."""
        ...


class _Classification:
    score_name = "accuracy"

    def loss(self, outputs: Any, labels: Tensor) -> Tensor:
        check_labels(outputs, labels)
        return nn.functional.cross_entropy(outputs, labels)

    def score(self, model: nn.Module, batches: Batches) -> float:
        return accuracy(model, batches)

    def score_int8(self, model: ModelProto, batches: Any) -> float:
        from sw.training.models import onnx_accuracy

        return onnx_accuracy(model, batches)


CLASSIFICATION: Objective = _Classification()


@torch.no_grad()
def accuracy(model: nn.Module, batches: Batches) -> float:
    """Return the share of data whose largest output is their label; the model is left in eval.

    Raises
    ------
    UserError
        There are no data, or they are not of classes.
    """
    model.eval()
    device = device_of(model)
    hits = count = 0
    for inputs, labels in map(pair, batches):
        outputs = model(inputs.to(device))
        labels = labels.to(device)
        check_labels(outputs, labels)
        hits += int((outputs.argmax(1) == labels).sum())
        count += labels.numel()
    if not count:
        raise UserError("Data to measure accuracy with must not be empty")
    return hits / count


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's first parameter is; the CPU where it has none."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    """Return a batch's inputs and labels.

    Raises
    ------
    UserError
        It is something else, a dict for example, which would unpack to its keys.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        found = f"a dict of {', '.join(map(str, batch))}" if isinstance(batch, dict) else None
        raise UserError(
            f"Batch must be a pair of inputs and labels, not {found or type(batch).__name__}; "
            "sw.training.Pruner prunes in a loop of your own"
        )
    return batch[0], batch[1]


def check_labels(outputs: Tensor, labels: Tensor) -> None:
    """Raise ``UserError`` for outputs that are no classes, or labels that are not among them.

    Parameters
    ----------
    outputs : Tensor, axes n, class, and perhaps places
    labels : Tensor of integers, axes n, and the same places
        -100 is no label, as cross-entropy has it.
    """
    hint = "give a loss of your own, or prune by sw.training.Pruner"
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[1] < 2:
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise UserError(f"Outputs must have axes n, class, and two classes, not {found}: {hint}")
    wanted = (outputs.shape[0], *outputs.shape[2:])
    if labels.is_floating_point() or labels.shape != wanted:
        raise UserError(
            f"Labels must be integers of shape {wanted}, not {labels.dtype} of shape "
            f"{tuple(labels.shape)}: {hint}"
        )
    stated = labels[labels != -100]
    lowest, highest = (int(each) for each in stated.aminmax()) if stated.numel() else (0, 0)
    if lowest < 0 or highest >= outputs.shape[1]:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"Labels must be from 0 to {outputs.shape[1] - 1}, not {wrong}")
