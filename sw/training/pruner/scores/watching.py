"""What scores see of a training: gradients as they arise, inputs as layers take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from sw.training.pruner.weights import Weight

__all__ = ["hide_gradients", "input_seen", "watch_inputs"]

#: Takes a weight and what is seen of it.
See = Callable[[Weight, Tensor], None]


def hide_gradients(weight: Weight, kept: Callable[[], Tensor], see: See | None) -> RemovableHandle:
    """Make a weight's gradient zero where it is masked; ``see`` gets it before, as it arises."""

    def hook(gradient: Tensor) -> Tensor:
        if see is not None:
            with torch.no_grad():
                # Loss scaling overflows now and then; such a batch counts for nothing.
                see(weight, torch.nan_to_num(gradient.detach(), 0.0, 0.0, 0.0))
        return gradient * kept()

    return weight.parameter.register_hook(hook)


def input_seen(weight: Weight) -> bool:
    """Tell whether a layer's inputs can be seen where it is called."""
    module = weight.module
    key = weight.name.rpartition(".")[2]
    if isinstance(module, nn.RNNBase):
        return key.startswith("weight_ih_l0")
    if isinstance(module, nn.RNNCellBase):
        return key == "weight_ih"
    # Attention takes the weights of its output projection and never calls it.
    return not isinstance(module, NonDynamicallyQuantizableLinear)


def watch_inputs(weights: Iterable[Weight], see: See) -> list[RemovableHandle]:
    """Give ``see`` the sum of squares of each layer's inputs, whenever it runs."""
    return [
        weight.module.register_forward_pre_hook(_hook(weight, see), with_kwargs=True)
        for weight in weights
        if input_seen(weight)
    ]


def _hook(weight: Weight, see: See) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch.no_grad():
            see(weight, _squares(weight, module, args, kwargs))

    return hook


def _squares(
    weight: Weight, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Return sums of squares of inputs, shaped to multiply the weight."""
    if isinstance(module, nn.MultiheadAttention):
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        sums = [_last_axis(given[name]) for name in ("query", "key", "value")]
        key = weight.name.rpartition(".")[2]
        if key != "in_proj_weight":
            return sums["qkv".index(key[0])]
        return torch.stack(sums).repeat_interleave(weight.parameter.shape[1], 0)
    inputs = args[0] if args else next(iter(kwargs.values()))
    if isinstance(inputs, PackedSequence):
        inputs = inputs.data
    if not isinstance(module, _ConvNd):
        return _last_axis(inputs)
    spatial = len(module.kernel_size)
    channels = inputs.float().square().transpose(0, -spatial - 1).flatten(1).sum(1)
    ones = (1,) * spatial
    if weight.transposed:
        return channels.reshape(-1, 1, *ones)
    of_groups = channels.reshape(module.groups, -1)
    filters = module.out_channels // module.groups
    return of_groups.repeat_interleave(filters, 0).reshape(module.out_channels, -1, *ones)


def _last_axis(inputs: Tensor) -> Tensor:
    return inputs.float().square().flatten(0, -2).sum(0)
