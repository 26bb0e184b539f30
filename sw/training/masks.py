"""Zeros that stay zero while the other weights are trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from golden.errors import UserError

__all__ = [
    "check_names",
    "copied",
    "density",
    "deviation",
    "fix",
    "layers",
    "left_dense",
    "mask",
    "masks",
    "weight",
]


class _Mask(nn.Module):
    """A parametrisation: what is False in ``kept`` is zero and has no gradient."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.kept


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and fully connected layers by name, in the order of definition."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def check_names(model: nn.Module, names: Iterable[str]) -> None:
    """Raise ``UserError`` for a name that no layer of the model has."""
    found = layers(model)
    for name in names:
        if name not in found:
            raise UserError(f"Layer to prune must be one of {', '.join(found)}, not {name!r}")


def weight(layer: nn.Module) -> Tensor:
    """Return the weight that a layer computes with, detached; axes as PyTorch has them."""
    return layer.weight.detach()  # type: ignore[union-attr, operator]


def mask(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Keep only some weights of layers, in place; masks set earlier are replaced.

    Parameters
    ----------
    kept : mapping of str to Tensor of bool
        By name of a layer, shaped as its weight.

    Raises
    ------
    UserError
        There is no such layer, or a mask has another shape.
    """
    found = layers(model)
    check_names(model, kept)
    for name, wanted in kept.items():
        if wanted.shape != weight(found[name]).shape:
            raise UserError(
                f"Mask of layer {name} must have shape {tuple(weight(found[name]).shape)}, "
                f"not {tuple(wanted.shape)}"
            )
    for name, wanted in kept.items():
        old = _mask_of(found[name])
        if old is None:
            parametrize.register_parametrization(found[name], "weight", _Mask(wanted.clone()))
        else:
            old.kept.copy_(wanted)


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return the masks that were set, by layer."""
    found = {name: _mask_of(layer) for name, layer in layers(model).items()}
    return {name: each.kept for name, each in found.items() if each is not None}


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy whose masks can be removed.

    A masked layer has a class of its own, which ``copy.deepcopy`` leaves to both; removing the
    mask of one would then take the weight from the other.
    """
    twin = copy.deepcopy(model)
    for module in twin.modules():
        kind = type(module)
        if parametrize.is_parametrized(module):
            own: Any = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            module.__class__ = own
    return twin


def fix(model: nn.Module) -> None:
    """Make masked weights plain ones with zeros, in place."""
    for layer in layers(model).values():
        if _mask_of(layer) is not None:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def density(model: nn.Module) -> float:
    """Return the share of all weights that are not zero, those in other layers included."""
    weights = [weight(layer) for layer in layers(model).values()]
    weights += [each.detach() for each in left_dense(model).values()]
    return sum(int(torch.count_nonzero(each)) for each in weights) / sum(
        each.numel() for each in weights
    )


def left_dense(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights, parameters of two axes or more, that no layer of ``layers`` has."""
    known = {
        id(parameter)
        for layer in layers(model).values()
        for name, parameter in layer.named_parameters()
        if name.rpartition(".")[2].startswith(("weight", "original"))
    }
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and id(parameter) not in known
    }


def deviation(weights: Tensor) -> float:
    """Return the standard deviation of the weights that are not zero; above 0.

    Of fewer than two, which have none, the largest magnitude.
    """
    found = weights[weights != 0]
    value = float(found.std()) if found.numel() > 1 else float(weights.abs().max())
    return max(value, torch.finfo(weights.dtype).tiny)


def _mask_of(layer: nn.Module) -> _Mask | None:
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    for each in layer.parametrizations["weight"]:  # type: ignore[index, union-attr]
        if isinstance(each, _Mask):
            return each
    return None
