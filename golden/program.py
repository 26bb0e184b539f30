"""A layer as every machine is given it, whoever runs it: simulator or hardware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.layer import LayerShape

__all__ = ["Codes", "LayerRun", "LayerTask"]

#: Activations: 8-bit codes.
Codes = NDArray[np.int8 | np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTask:
    """What all images share of a layer: dense weights, with the real zeros in them.

    Parameters
    ----------
    layer : LayerShape
    weights : ndarray of int8, axes k, r, s, c
    channel_density : ndarray of float64, axis input channel, or None
        Share of non-zero activations of each channel on calibration images, where known.
    """

    layer: LayerShape
    weights: NDArray[np.int8]
    channel_density: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """A layer with one image's input: what hardware runs.

    Parameters
    ----------
    task : LayerTask
    activations : ndarray of int8 or uint8, axes y, x, channel
    requantisation : Requantisation
    """

    task: LayerTask
    activations: Codes
    requantisation: Requantisation
