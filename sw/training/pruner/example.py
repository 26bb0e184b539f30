"""The example that a model is tried with: what it takes, a tensor, several, or a dict of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from golden.errors import UserError

__all__ = ["Example", "evaluating", "run", "single"]

#: One tensor, batch first; or positional arguments; or named ones.
Example: TypeAlias = "Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]"


@contextmanager
def evaluating(model: nn.Module):
    """Run what is within without gradients and in eval, and leave no trace in the model's modes."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            yield
    finally:
        for module, training in modes:
            module.training = training


def run(model: nn.Module, example: Example) -> Any:
    """Run a model on an example, in eval, as ``evaluating`` has it.

    Raises
    ------
    UserError
        The model fails.
    """
    with evaluating(model):
        try:
            if isinstance(example, Mapping):
                return model(**example)
            if isinstance(example, (tuple, list)):
                return model(*example)
            return model(example)
        except UserError:
            raise
        # The user's code may raise anything.
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"Example must be what {type(model).__name__} takes, not "
                f"{_describe(example)}: {reason}"
            ) from None


def single(example: Example) -> Tensor:
    """Return the one tensor of float images, axes n, c, y, x (or n, c), that an example is.

    Raises
    ------
    UserError
        It is something else, of which no network for the machine can be made.
    """
    if isinstance(example, (tuple, list)) and len(example) == 1:
        example = example[0]
    if isinstance(example, Mapping) and len(example) == 1:
        example = next(iter(example.values()))
    if (
        not isinstance(example, Tensor)
        or not example.is_floating_point()
        or example.ndim not in (2, 4)
    ):
        raise UserError(
            "Example must be one float tensor of axes n, c, y, x (or n, c) to make a network of "
            f"the model, not {_describe(example)}"
        )
    return example.detach().cpu().float()


def _describe(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"a tensor of shape {tuple(example.shape)} and {example.dtype}"
    if isinstance(example, Mapping):
        return f"a dict of {', '.join(map(str, example)) or 'nothing'}"
    if isinstance(example, (tuple, list)):
        return f"{len(example)} arguments"
    return f"an object of type {type(example).__name__}"
