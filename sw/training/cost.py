"""What running a model costs: multiplications, and layers as a simulator takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.training.masks import layers, weight

__all__ = ["Cost", "LayerRun", "macs", "run_layers"]

#: What a model costs, in a unit of its own.
Cost = Callable[[nn.Module], float]


@dataclass(frozen=True, eq=False)
class LayerRun:
    """A layer as it ran on one input.

    Parameters
    ----------
    name : str
    layer : nn.Module
        A ``Conv2d`` or ``Linear``.
    inputs, outputs : Tensor, axes c, y, x (or c)
        With gradients off.
    """

    name: str
    layer: nn.Module
    inputs: Tensor
    outputs: Tensor

    @property
    def macs(self) -> int:
        """Multiplications of the layer, zeros included."""
        filters = weight(self.layer)
        places = self.outputs.numel() // filters.shape[0]
        return filters.numel() * places


@torch.no_grad()
def run_layers(model: nn.Module, image: Tensor) -> list[LayerRun]:
    """Run a model on one image, axes c, y, x (or c), and return its layers in running order.

    A layer that runs several times is there as often. The model is left in eval.
    """
    runs: list[LayerRun] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def seen(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs.append(LayerRun(name, layer, inputs[0][0].clone(), output[0].clone()))

        return seen

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers(model).items()]
    try:
        model.eval()
        model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    return runs


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return a model's multiplications for one input, zeros included.

    Parameters
    ----------
    input_shape : tuple of int, axes c, y, x (or c)
    """
    return sum(run.macs for run in run_layers(model, torch.zeros(input_shape)))
