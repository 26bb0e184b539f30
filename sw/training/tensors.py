"""Layers of a PyTorch model as int8 tensors, fast enough to be asked for in every step of a search.

For decisions while training. What is reported in the end is of the network that ONNX Runtime
quantised (``sw.training.models.to_network``): its scales of activations come from many images,
here they come from one, so that a few small values become zero in one and not in the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden.errors import UserError
from golden.layer import LayerShape
from sw.training.cost import run_layers
from sw.training.masks import weight

__all__ = ["LayerTensors", "layer_tensors"]


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


def layer_tensors(model: nn.Module, image: Tensor) -> list[LayerTensors]:
    """Run a model on one image, axes c, y, x (or c), and return its layers' tensors.

    Raises
    ------
    UserError
        A convolution is dilated, which the machine has not.
    """
    found = []
    for run in run_layers(model, image):
        filters = weight(run.layer)
        inputs = run.inputs.reshape(-1, 1, 1)
        geometry: dict[str, int] = {}
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
                _codes(inputs, inputs.abs().max()).transpose(1, 2, 0),
            )
        )
    return found


def _codes(values: Tensor, largest: Tensor) -> NDArray[np.int8]:
    """Round to -127..127, the largest magnitude being 127."""
    scale = torch.clamp(largest, min=torch.finfo(values.dtype).tiny) / 127
    return np.ascontiguousarray(torch.round(values / scale).numpy().astype(np.int8))
