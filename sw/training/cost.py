"""What running a model costs: multiplications, and layers as a simulator takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from sw.training.masks import layers, weight

__all__ = ["Cost", "LayerCost", "LayerRun", "macs", "run_layers"]

#: What a model costs, in a unit of its own.
Cost = Callable[[nn.Module], float]
#: The same by layer; layers that did not run are left out.
LayerCost = Callable[[nn.Module], dict[str, float]]


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
    flattened : tuple of int, axes c, y, x, optional
        Shape that a ``Linear``'s inputs had before they were flattened, where they were: as a
        convolution, the layer's kernel covers it.
    """

    name: str
    layer: nn.Module
    inputs: Tensor
    outputs: Tensor
    flattened: tuple[int, ...] | None = None

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
    watch = _Watch()

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def seen(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shape = watch.shapes.get(inputs[0])
            runs.append(LayerRun(name, layer, inputs[0][0].clone(), output[0].clone(), shape))

        return seen

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers(model).items()]
    try:
        model.eval()
        with watch:
            model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    return runs


class _Watch(TorchFunctionMode):
    """Notes what shape each flattened picture had."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim == 2 and args:
            first = args[0]
            if isinstance(first, Tensor) and first.ndim == 4 and first.numel() == result.numel():
                self.shapes[result] = tuple(first.shape[1:])
        return result


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return a model's multiplications for one input, zeros included.

    Parameters
    ----------
    input_shape : tuple of int, axes c, y, x (or c)
    """
    return sum(run.macs for run in run_layers(model, torch.zeros(input_shape)))
