"""Layers of a PyTorch model as int8 tensors, fast enough to be asked for in every step of a search.

For decisions while training. What is reported in the end is of the network that ONNX Runtime
quantised (``sw.training.models.to_network``): its scales of activations come from many images,
here they come from one, so that a few small values become zero in one and not in the other.
Of networks that have loops, what is reported is of ``rounded`` with the ranges of many images.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden.errors import UserError
from golden.layer import LayerShape
from sw.training.cost import run_layers
from sw.training.masks import fix, layers, weight

__all__ = ["LayerTensors", "input_ranges", "layer_tensors", "rounded"]


@dataclass(frozen=True, eq=False)
class LayerTensors:
    """A layer as it ran on one input.

    Parameters
    ----------
    layer : LayerShape
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8, axes y, x, channel
    """

    layer: LayerShape
    weights: NDArray[np.int8]
    activations: NDArray[np.int8]


def layer_tensors(
    model: nn.Module, image: Tensor, ranges: Mapping[str, float] | None = None
) -> list[LayerTensors]:
    """Run a model on one image, axes c, y, x (or c), and return its layers' tensors.

    A layer that runs several times is there as often, all with one scale of activations.

    Parameters
    ----------
    ranges : mapping of str to float, optional
        Input of magnitude 127 by layer (``input_ranges``); of this image alone by default.

    Raises
    ------
    UserError
        A convolution is dilated, which the machine has not.
    """
    ranges = input_ranges(model, image[None]) if ranges is None else ranges
    found = []
    for run in run_layers(model, image):
        filters = weight(run.layer)
        inputs = run.inputs.reshape(-1, 1, 1)
        geometry: dict[str, Any] = {}
        if isinstance(run.layer, nn.Conv2d):
            layer = run.layer
            if layer.dilation != (1, 1) or isinstance(layer.padding, str):
                raise UserError(f"Convolution {run.name} must have dilation 1 and padding sizes")
            inputs = run.inputs
            (down, right), (rows, columns) = layer.padding, layer.stride
            geometry = {
                "pad_top": down,
                "pad_bottom": down,
                "pad_left": right,
                "pad_right": right,
                "stride_height": rows,
                "stride_width": columns,
                "groups": layer.groups,
            }
        elif run.inputs.ndim > 1:
            raise UserError(f"Layer {run.name} must have one row of inputs for an image")
        else:
            shape = run.flattened or inputs.shape
            inputs, filters = inputs.reshape(shape), filters.reshape(-1, *shape)
        found.append(
            LayerTensors(
                LayerShape(
                    name=run.name,
                    in_channels=inputs.shape[0],
                    in_height=inputs.shape[1],
                    in_width=inputs.shape[2],
                    out_channels=filters.shape[0],
                    kernel_height=filters.shape[2],
                    kernel_width=filters.shape[3],
                    **geometry,
                ),
                _codes(filters, filters.abs().amax((1, 2, 3), keepdim=True)).transpose(0, 2, 3, 1),
                _codes(inputs, torch.tensor(ranges[run.name])).transpose(1, 2, 0),
            )
        )
    return found


@torch.no_grad()
def input_ranges(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the largest magnitude of each layer's inputs, over images and runs.

    Parameters
    ----------
    images : Tensor, axes n, c, y, x (or n, c)
    """
    ranges: dict[str, float] = {}

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        ranges[name] = max(ranges.get(name, 0.0), float(inputs[0].abs().max()))

    handles = [
        layer.register_forward_pre_hook(partial(hook, name))
        for name, layer in layers(model).items()
    ]
    try:
        model.eval()
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return ranges


def rounded(model: nn.Module, ranges: Mapping[str, float]) -> nn.Module:
    """Return a copy whose layers multiply what int8 codes stand for, scales exact.

    Weights have a scale for each filter, inputs one for each layer. Biases and all between the
    layers stay float32. ``layer_tensors`` of the copy, with the same ranges, are the codes.
    Masks become zeros of the model, in place.

    Parameters
    ----------
    ranges : mapping of str to float
        By layer (``input_ranges``); larger inputs are clipped.
    """

    def hook(largest: Tensor, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return (_round(inputs[0], largest) * _scale(largest),)

    fix(model)
    model = copy.deepcopy(model).eval()
    for name, layer in layers(model).items():
        filters = weight(layer)
        largest = filters.abs().amax(tuple(range(1, filters.ndim)), keepdim=True)
        layer.weight = nn.Parameter(_round(filters, largest) * _scale(largest))
        layer.register_forward_pre_hook(partial(hook, torch.tensor(ranges[name])))
    return model


def _codes(values: Tensor, largest: Tensor) -> NDArray[np.int8]:
    return np.ascontiguousarray(_round(values, largest).numpy().astype(np.int8))


def _round(values: Tensor, largest: Tensor) -> Tensor:
    """Round to -127..127, ``largest`` being 127."""
    return torch.clamp(torch.round(values / _scale(largest)), -127, 127)


def _scale(largest: Tensor) -> Tensor:
    return torch.clamp(largest, min=torch.finfo(largest.dtype).tiny) / 127
