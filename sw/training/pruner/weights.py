"""Which tensors of a module are weights, which of them can be pruned, and how they are laid out.

A weight is any parameter of two axes or more: biases and the scales of normalisations are none.
Weights of the kinds below can be pruned; all others are left alone, and are named with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune

from golden.errors import UserError
from sw.training import masks

__all__ = [
    "LeftAlone",
    "Weight",
    "adopt",
    "check_model",
    "check_module",
    "find",
    "masks_of",
    "names_of",
]


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor that can be pruned.

    Parameters
    ----------
    name : str
        Of the parameter, ``fc.weight`` or ``lstm.weight_hh_l0`` for example.
    layer : str
        Name of the module that has it; empty for the model itself.
    module : nn.Module
        That module.
    parameter : nn.Parameter
        It stays the same object, so that optimisers made before or after have it.
    """

    name: str
    layer: str
    module: nn.Module
    parameter: nn.Parameter

    @property
    def kind(self) -> str:
        """Name of the module's class."""
        return type(self.module).__name__

    @property
    def size(self) -> int:
        """Weights of the tensor, zeros included."""
        return self.parameter.numel()

    @property
    def groups(self) -> int:
        """Groups of a convolution, 1 of all else."""
        return self.module.groups if isinstance(self.module, _ConvNd) else 1

    @property
    def transposed(self) -> bool:
        """Whether the first axis is of inputs, as in transposed convolutions."""
        return isinstance(self.module, _ConvNd) and self.module.transposed

    def to_krsc(self, tensor: Tensor) -> Tensor:
        """Return a tensor shaped as the parameter with the axes k, r, s, c.

        Filters, kernel rows and columns, input channels of a group. A kernel of one axis is a
        row of columns; of three, depth and rows are one axis. Matrices have r = s = 1.
        """
        if self.transposed:
            inputs, outputs = tensor.shape[:2]
            tensor = tensor.reshape(self.groups, inputs // self.groups, *tensor.shape[1:])
            tensor = tensor.transpose(1, 2).reshape(
                self.groups * outputs, inputs // self.groups, *tensor.shape[3:]
            )
        columns = tensor.shape[-1] if tensor.ndim > 2 else 1
        return tensor.reshape(*tensor.shape[:2], -1, columns).permute(0, 2, 3, 1).contiguous()

    def from_krsc(self, tensor: Tensor) -> Tensor:
        """Return a tensor of axes k, r, s, c shaped as the parameter."""
        shape = self.parameter.shape
        tensor = tensor.permute(0, 3, 1, 2)
        if self.transposed:
            inputs, outputs = shape[:2]
            tensor = tensor.reshape(self.groups, outputs, inputs // self.groups, *shape[2:])
            tensor = tensor.transpose(1, 2)
        return tensor.reshape(shape)


@dataclass(frozen=True)
class LeftAlone:
    """A weight that is not pruned, and why."""

    name: str
    size: int
    reason: str


def check_module(model: Any) -> None:
    """Raise ``UserError`` for what is no module."""
    if isinstance(model, dict):
        raise UserError(
            "Model must be a torch.nn.Module, not a dict of weights: make the module and give "
            "it the dict by load_state_dict"
        )
    if not isinstance(model, nn.Module):
        raise UserError(f"Model must be a torch.nn.Module, not {type(model).__name__}")


def check_model(model: Any) -> None:
    """Raise ``UserError`` for what can't be pruned: no module, a compiled or quantised one."""
    check_module(model)
    from torch.ao.quantization import FakeQuantizeBase, ObserverBase

    for name, module in model.named_modules():
        where = name or type(model).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise UserError(f"Module {where} must be one of Python, not compiled by torch.jit")
        if isinstance(module, (FakeQuantizeBase, ObserverBase)):
            raise UserError(
                f"Model must not be prepared for quantisation, as {where} is: prune first, "
                "quantise afterwards"
            )
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic")):
            raise UserError(f"Module {where} must be of floats, not quantised or fused for it")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise UserError(f"Parameter {name} must have a shape: run the model once before")
    if not any(_is_weight(parameter) for parameter in model.parameters()):
        raise UserError(f"Model {type(model).__name__} must have weights, not none")


def find(model: nn.Module, ignore: Iterable[str] = ()) -> tuple[list[Weight], list[LeftAlone]]:
    """Return the weights that can be pruned, in the order of definition, and the others.

    Parameters
    ----------
    ignore : iterable of str
        Layers to leave alone, by name of the module or of the parameter; of a module that has
        others within, all of them.

    Raises
    ------
    UserError
        Nothing has an ignored name.
    """
    unused = dict.fromkeys(ignore)
    stated = tuple(unused)
    found: dict[int, Weight] = {}
    others: dict[int, LeftAlone] = {}
    for layer, module in model.named_modules():
        known = dict(_weights_of(module))
        for key, parameter in module.named_parameters(recurse=False):
            if not _is_weight(parameter):
                continue
            name = f"{layer}.{key}" if layer else key
            hit = [each for each in stated if name == each or name.startswith(f"{each}.")]
            for each in hit:
                unused.pop(each, None)
            reason = (
                "as was asked"
                if hit
                else "frozen"
                if not parameter.requires_grad
                else None
                if key in known
                else f"of {type(module).__name__}"
            )
            if reason is None and id(parameter) not in others:
                found.setdefault(id(parameter), Weight(name, layer, module, parameter))
                continue
            if (shared := found.pop(id(parameter), None)) is not None:
                reason = f"shared with {name}, {reason}"
                name = shared.name
            others.setdefault(id(parameter), LeftAlone(name, parameter.numel(), reason or "shared"))
    if unused:
        raise UserError(
            f"Layer to leave alone must be one of {', '.join(w.name for w in found.values())}, "
            f"not {next(iter(unused))!r}"
        )
    return list(found.values()), list(others.values())


def names_of(ignore: str | Iterable[str]) -> tuple[str, ...]:
    """Return names that were given as an iterable, or as one string."""
    return (ignore,) if isinstance(ignore, str) else tuple(ignore)


def masks_of(weights: Iterable[Weight]) -> dict[str, Tensor]:
    """Return True where a weight is not zero, by name; all True where all of a tensor are zero.

    Zeros of a checkpoint are taken as pruned. A tensor of zeros alone is one that was begun so,
    as the last layer of a residual block often is.
    """
    found = {}
    for weight in weights:
        kept = weight.parameter.detach() != 0
        found[weight.name] = kept if bool(kept.any()) else torch.ones_like(kept)
    return found


@torch.no_grad()
def adopt(model: nn.Module) -> None:
    """Make masks of ``torch.nn.utils.prune`` and of ``sw.training.masks`` plain zeros, in place.

    Parameters stay the same objects; those of ``torch.nn.utils.prune`` get their plain names.
    """
    masks.fix(model)
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)


def _is_weight(parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and parameter.is_floating_point()


def _weights_of(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a module that can be pruned, by their names in it."""
    names: tuple[str, ...] = ()
    if isinstance(module, (nn.Linear, _ConvNd)):
        names = ("weight",)
    elif isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
    for name, parameter in module.named_parameters(recurse=False):
        recurrent = isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and name.startswith("weight_")
        if name in names or recurrent:
            yield name, parameter
