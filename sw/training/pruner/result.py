"""What a pruner leaves: densities by layer, and the model as ONNX, as a network, in cycles."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from golden.errors import UserError
from golden.network import Network
from sw.training.pruner.example import Example, single
from sw.training.pruner.weights import LeftAlone, Weight

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Cycles", "LayerDensity", "Pruned", "layer_densities", "table"]

#: Cycles of a network on a machine, a mean over images of axes n, c, y, x.
Cycles = Callable[[Network, NDArray[np.float32]], float]


@dataclass(frozen=True)
class LayerDensity:
    """A weight tensor and what stays of it.

    Parameters
    ----------
    name, kind : str
        Of the parameter; of its module's class.
    size, kept : int
        All weights; those that are not zero.
    """

    name: str
    kind: str
    size: int
    kept: int

    @property
    def density(self) -> float:
        return self.kept / self.size


@dataclass(frozen=True, eq=False, kw_only=True)
class Pruned:
    """A pruned model, its masks folded in.

    Parameters
    ----------
    model : nn.Module
        The user's own, plain again.
    layers : tuple of LayerDensity
    left_alone : tuple of LeftAlone
        Weights that were not pruned, and why.
    density : float
        Share of all weights, those left alone too, that are not zero.
    example : Example
        What the model takes; also calibrates unless ``calibration`` is given.
    calibration : ndarray of float32, axes n, c, y, x (or n, c), optional
        Inputs that give the ranges of activations.
    count : Cycles, optional
        Counts a network's cycles on a machine.
    """

    model: nn.Module
    layers: tuple[LayerDensity, ...]
    left_alone: tuple[LeftAlone, ...]
    density: float
    example: Example = field(repr=False)
    calibration: NDArray[np.float32] | None = field(default=None, repr=False)
    count: Cycles | None = field(default=None, repr=False)
    name: str = "pruned"

    @cached_property
    def onnx(self) -> ModelProto:
        """The model as ONNX, batch 1.

        Raises
        ------
        UserError
            It can't be exported, or the example is not one float tensor.
        """
        from sw.training.models import to_onnx

        images = self._images
        return to_onnx(self._copy(), images.shape[1:], self.name)

    @cached_property
    def qdq(self) -> ModelProto:
        """The int8 model as ONNX with QuantizeLinear and DequantizeLinear, batch 1.

        Raises
        ------
        UserError
            As ``onnx``; or ONNX Runtime can't quantise it.
        """
        from sw.onnx.prepare import prepare
        from sw.quantise import quantise

        return quantise(prepare(self.onnx), self._images)

    @cached_property
    def network(self) -> Network:
        """The int8 network that golden model, simulator and hardware run.

        Raises
        ------
        UserError
            As ``onnx``; or the machine lacks an operator.
        """
        from sw.compress import compress

        return compress(self.onnx, self._images, name=self.name, source="a PyTorch module")

    @cached_property
    def cycles(self) -> float:
        """Cycles an image, by the function that was given.

        Raises
        ------
        UserError
            As ``network``; or no function was given.
        """
        if self.count is None:
            raise UserError("Cycles need a function that counts them: finish(cycles=...)")
        return self.count(self.network, self._images)

    def __str__(self) -> str:
        return table(self.layers, self.left_alone, self.density)

    @property
    def _images(self) -> NDArray[np.float32]:
        given = self.example if self.calibration is None else torch.as_tensor(self.calibration)
        return single(given).numpy()

    def _copy(self) -> nn.Module:
        return copy.deepcopy(self.model).cpu().float()


def layer_densities(weights: Sequence[Weight]) -> tuple[LayerDensity, ...]:
    """Return what stays of each weight, as it is now."""
    return tuple(
        LayerDensity(w.name, w.kind, w.size, int(torch.count_nonzero(w.parameter.detach())))
        for w in weights
    )


def table(layers: Sequence[LayerDensity], left_alone: Sequence[LeftAlone], density: float) -> str:
    """Return densities by layer as text, with a line for each layer left alone."""
    rows: list[tuple[Any, ...]] = [
        (each.name, each.kind, f"{each.kept:,} of {each.size:,}", f"{each.density:.4f}")
        for each in layers
    ]
    rows += [(each.name, "left alone", f"{each.size:,}", each.reason) for each in left_alone]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {count:>{widths[2]}}  {last}"
        for name, kind, count, last in rows
    ]
    return "\n".join([*lines, f"density of all weights: {density:.4f}"])
