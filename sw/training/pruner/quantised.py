"""Training that knows of int8: layers compute with what their codes will stand for.

Weights have a scale for each filter and inputs one for each layer, as ``sw.quantise`` gives them;
rounding has the gradient of the identity (Jacob et al., CVPR 2018, section 3). A zero is the code
0, so that masks and codes agree.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.pruner.example import Example, run

__all__ = ["QuantisedTraining"]

LARGEST_WEIGHT, LARGEST_UNSIGNED, LARGEST_SIGNED = 127, 255, 127


class QuantisedTraining:
    """Round a model's weights and inputs of layers while it is trained, in any loop.

    Parameters stay the objects that they are: a ``Pruner`` works beside it, made before or after.

    Parameters
    ----------
    model : nn.Module
        Its ``Conv2d`` and ``Linear`` layers are rounded; others compute as they did.
    example : Example
        What the model takes: gives the first ranges of inputs. They grow with what is trained
        with.

    Raises
    ------
    UserError
        There is no such layer, one has a parametrised weight, or the model does not take the
        example.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        self._layers = {
            name: module
            for name, module in model.named_modules()
            if type(module) in (nn.Conv2d, nn.Linear)
        }
        if not self._layers:
            raise UserError(
                f"Model {type(model).__name__} must have a Conv2d or Linear layer to quantise"
            )
        for name, layer in self._layers.items():
            if "weight" not in layer._parameters:
                raise UserError(f"Layer {name} must have a plain weight to be quantised")
        self.ranges: dict[str, tuple[float, float]] = dict.fromkeys(self._layers, (0.0, 0.0))
        self._watching = True
        for name, layer in self._layers.items():
            layer.forward = MethodType(_forward(self, name), layer)
        run(model, example)
        self._watching = False

    def finish(self) -> None:
        """Let the layers compute as they did."""
        for layer in self._layers.values():
            layer.__dict__.pop("forward", None)

    def state_dict(self) -> dict[str, Any]:
        """Return the ranges, for the user's checkpoint."""
        return {"ranges": {name: list(each) for name, each in self.ranges.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the ranges of a checkpoint.

        Raises
        ------
        UserError
            They are those of another model.
        """
        if set(state.get("ranges", ())) != set(self._layers):
            raise UserError("Ranges of quantised training must be those of this model's layers")
        self.ranges = {name: (low, high) for name, (low, high) in state["ranges"].items()}

    def round_input(self, name: str, x: Tensor, training: bool) -> Tensor:
        """Return a layer's input as its codes stand for it; ranges grow while it is trained."""
        low, high = self.ranges[name]
        if training or self._watching:
            least, most = (float(each) for each in x.detach().aminmax())
            low, high = self.ranges[name] = min(low, least), max(high, most)
        if high == low == 0:
            return x
        if low >= 0:
            return _round(x, torch.tensor(high / LARGEST_UNSIGNED), 0, LARGEST_UNSIGNED)
        scale = torch.tensor(max(-low, high) / LARGEST_SIGNED)
        return _round(x, scale, -LARGEST_SIGNED - 1, LARGEST_SIGNED)


def round_weight(weight: Tensor) -> Tensor:
    """Return a weight, axis filter first, as its codes stand for it."""
    largest = weight.detach().abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
    scale = largest.clamp(min=torch.finfo(weight.dtype).tiny) / LARGEST_WEIGHT
    return _round(weight, scale, -LARGEST_WEIGHT, LARGEST_WEIGHT)


def _forward(training: QuantisedTraining, name: str) -> Any:
    def forward(layer: Any, x: Tensor) -> Tensor:
        rounded = training.round_input(name, x, layer.training)
        weight = round_weight(layer.weight)
        if isinstance(layer, nn.Linear):
            return nn.functional.linear(rounded, weight, layer.bias)
        return layer._conv_forward(rounded, weight, layer.bias)

    return forward


def _round(values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Round to multiples of a scale; the gradient is the identity's where nothing is clipped."""
    limited = torch.clamp(values / scale, low, high)
    return (limited + (limited.round() - limited).detach()) * scale
