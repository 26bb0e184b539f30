"""One layer with its tensors in chunks: what simulator, oracle and hardware are all given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig
from golden.tensor import BitmaskTensor, pack

__all__ = ["LayerWorkload", "pack_activations", "pack_weights"]


def pack_weights(
    weights: NDArray[np.int8], layer: LayerShape, chunk: int, im2row: bool
) -> BitmaskTensor:
    """Compress weights, axes k, r, s, c; with im2row r, s, c are one row of a filter."""
    if im2row:
        weights = weights.reshape(layer.out_channels, 1, -1)
    else:
        weights = weights.reshape(layer.out_channels, layer.taps, layer.group_channels)
    return pack(weights, chunk)


def pack_activations(
    activations: NDArray[np.int8 | np.uint8], layer: LayerShape, chunk: int, im2row: bool
) -> BitmaskTensor:
    """Compress activations, axes y, x, channel.

    Rows are ordered group, y, x without im2row and group, p, q with it (then a row is a
    window, ordered r, s, c, padding as zeros).
    """
    height, width, _ = activations.shape
    grouped = activations.reshape(height, width, layer.groups, layer.group_channels)
    grouped = np.ascontiguousarray(grouped.transpose(2, 0, 1, 3))
    if not im2row:
        return pack(grouped, chunk)
    padded = np.pad(
        grouped,
        ((0, 0), (layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0)),
    )
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (layer.kernel_height, layer.kernel_width), axis=(1, 2)
    )[:, :: layer.stride_height, :: layer.stride_width]
    # axes group, p, q, c, r, s -> group, p, q, (r s c)
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(
        layer.groups, layer.out_height, layer.out_width, -1
    )
    return pack(rows, chunk)


@dataclass(frozen=True, eq=False)
class LayerWorkload:
    """A layer ready to run.

    Parameters
    ----------
    layer : LayerShape
    weights : BitmaskTensor of int8
        Rows filter, tap (``ChunkLayout``).
    activations : BitmaskTensor of int8 or uint8
        Rows group, y, x (or group, p, q with im2row).
    requantisation : Requantisation
    """

    layer: LayerShape
    weights: BitmaskTensor
    activations: BitmaskTensor
    requantisation: Requantisation

    @classmethod
    def build(
        cls,
        config: AcceleratorConfig,
        layer: LayerShape,
        weights: NDArray[np.int8],
        activations: NDArray[np.int8 | np.uint8],
        requantisation: Requantisation,
    ) -> LayerWorkload:
        """Compress dense tensors; weights have axes k, r, s, c, activations y, x, channel."""
        layout = layer.layout(config)
        return cls(
            layer,
            pack_weights(weights, layer, config.chunk, layout.im2row),
            pack_activations(activations, layer, config.chunk, layout.im2row),
            requantisation,
        )
