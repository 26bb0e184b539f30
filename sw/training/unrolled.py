"""Networks whose layers run several times for an image, quantised: no ``Network`` has loops.

The layers, matrix by vector in every step, are the machine's. What lies between them, for an
LSTM the sigmoids, the tanh and the products of the state, is the host's and counts no cycles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sw.training.tensors import LayerTensors, input_ranges, layer_tensors, rounded

__all__ = ["Unrolled", "unroll"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unrolled:
    """A quantised network by its layers' runs.

    Parameters
    ----------
    model : nn.Module
        Computes with the values of the int8 codes (``sw.training.tensors.rounded``).
    ranges : dict of str to float
        Largest input of each layer.
    """

    name: str
    source: str
    model: nn.Module
    ranges: dict[str, float]

    def run(self, image: NDArray[np.float32]) -> list[LayerTensors]:
        """Return every run of every layer for an image, axes c, y, x, in running order."""
        return layer_tensors(self.model, torch.from_numpy(image), self.ranges)


def unroll(
    model: nn.Module, calibration: NDArray[np.float32], name: str, source: str = "a PyTorch module"
) -> Unrolled:
    """Quantise a model as ``rounded`` does, its ranges from images, axes n, c, y, x."""
    ranges = input_ranges(model, torch.from_numpy(calibration))
    return Unrolled(name=name, source=source, model=rounded(model, ranges), ranges=ranges)
