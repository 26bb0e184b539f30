"""Masks of activations and weights, 64 positions at a time.

They are those of `golden.tensor.pack` in the layout of `golden.machines.cluster.workload`, which
packs for all other purposes; here no values of activations are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.compiled import njit
from accel.machines.vectors import nonzero_mask
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig
from golden.tensor import BitmaskTensor, popcount

__all__ = ["activation_masks", "pack_filters"]


def activation_masks(
    config: AcceleratorConfig, layer: LayerShape, activations: NDArray[np.int8 | np.uint8]
) -> NDArray[np.uint64]:
    """Return the masks that `golden.machines.cluster.workload.pack_activations` makes.

    Parameters
    ----------
    activations : ndarray of codes, axes y, x, channel

    Returns
    -------
    ndarray of uint64, axes row, chunk of the row, word
    """
    layout = layer.layout(config)
    per_group = layer.positions if layout.im2row else layer.in_height * layer.in_width
    shape = (layer.groups * per_group, layout.row_chunks, config.chunk_words)
    masks = np.zeros(shape, dtype=np.uint64)
    source = np.ascontiguousarray(activations).reshape(-1).view(np.uint8)
    if layout.im2row:
        geometry = (layer.out_width, layer.kernel_height, layer.kernel_width, layer.in_height,
                    layer.in_width, layer.stride_height, layer.stride_width, layer.pad_top,
                    layer.pad_left)  # fmt: skip
        window = np.zeros(layer.taps * layer.group_channels, dtype=np.uint8)
        _pack_windows(
            source, window, masks, config.chunk, layer.groups, layer.group_channels, geometry
        )
    else:
        for group in range(layer.groups):
            part = masks[group * per_group : (group + 1) * per_group]
            first = group * layer.group_channels
            _pack_rows(source, first, layer.in_channels, layer.group_channels, config.chunk, part)
    return masks


def pack_filters(
    config: AcceleratorConfig, layer: LayerShape, weights: NDArray[np.int8]
) -> BitmaskTensor:
    """Return what ``workload.pack_weights`` returns; weights have axes k, r, s, c."""
    layout = layer.layout(config)
    rows = layer.out_channels * layout.taps
    masks = np.zeros((rows, layout.row_chunks, config.chunk_words), dtype=np.uint64)
    source = np.ascontiguousarray(weights).reshape(-1).view(np.uint8)
    _pack_rows(source, 0, layout.row_length, layout.row_length, config.chunk, masks)
    pointers = np.zeros(rows * layout.row_chunks + 1, dtype=np.int64)
    np.cumsum(popcount(masks).ravel(), out=pointers[1:])
    # One more, where what follows the last value may be written.
    values = np.empty(pointers[-1] + 1, dtype=np.int8)
    _compress(source, values.view(np.uint8))
    shape = (layer.out_channels, layout.taps, layout.row_length)
    return BitmaskTensor(shape, config.chunk, masks, pointers, values[:-1])


@njit
def _compress(source, values):
    """Copy the non-zero elements, without a branch that would often be guessed wrong."""
    at = 0
    for element in source:
        values[at] = element
        at += element != 0


@njit
def _pack_rows(source, first, stride, length, chunk, masks):
    """Set the mask of rows of ``length`` elements that begin every ``stride`` elements."""
    for row in range(masks.shape[0]):
        for index in range(masks.shape[1]):
            for word in range(masks.shape[2]):
                low = index * chunk + word * 64
                high = min(low + 64, (index + 1) * chunk, length)
                at = first + row * stride + low
                if high - low == 64:
                    masks[row, index, word] = nonzero_mask(source, at)
                    continue
                bits = np.uint64(0)
                for position in range(high - low):
                    bits |= np.uint64(source[at + position] != 0) << np.uint64(position)
                masks[row, index, word] = bits


@njit
def _pack_windows(source, window, masks, chunk, groups, channels, geometry):
    """Set the mask of whole windows (im2row), ordered r, s, c."""
    out_width, kernel_height, kernel_width, height, width, stride_y, stride_x, top, left = geometry
    positions = masks.shape[0] // groups
    for row in range(masks.shape[0]):
        group, position = row // positions, row % positions
        window[:] = 0
        for r in range(kernel_height):
            y = position // out_width * stride_y - top + r
            if not 0 <= y < height:
                continue
            for s in range(kernel_width):
                x = position % out_width * stride_x - left + s
                if 0 <= x < width:
                    into = (r * kernel_width + s) * channels
                    at = ((y * width + x) * groups + group) * channels
                    for c in range(channels):
                        window[into + c] = source[at + c]
        _pack_rows(window, 0, 0, window.size, chunk, masks[row : row + 1])
