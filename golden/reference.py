"""Naive operators on dense tensors: the right answer that everything else is compared with.

Written for plainness, in exact integers: every sum is int64, every rounding is done on
Python integers. Only tests and the command line import this module. The arithmetic is
that of ONNX's QLinearConv with fixed-point scales, as `golden.network` states it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.errors import FormatError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Convolution,
    Network,
    Padding,
    Pooling,
    PoolingKind,
    Rescaling,
)

__all__ = [
    "accumulate",
    "add",
    "concatenate",
    "convolve",
    "pad",
    "pool",
    "requantise",
    "rescale",
    "run_network",
]

Codes = NDArray[np.int8 | np.uint8]


def accumulate(
    weights: NDArray[np.int8], activations: Codes, layer: LayerShape
) -> NDArray[np.int64]:
    """Return the convolution's exact sums, without bias.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel

    Returns
    -------
    ndarray of int64, axes p, q, k
    """
    sums = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.int64)
    for p, q in np.ndindex(layer.out_height, layer.out_width):
        for r, s in np.ndindex(layer.kernel_height, layer.kernel_width):
            y = p * layer.stride_height + r - layer.pad_top
            x = q * layer.stride_width + s - layer.pad_left
            if not (0 <= y < layer.in_height and 0 <= x < layer.in_width):
                continue
            for g in range(layer.groups):
                channels = slice(g * layer.group_channels, (g + 1) * layer.group_channels)
                filters = slice(g * layer.group_filters, (g + 1) * layer.group_filters)
                taps = weights[filters, r, s].astype(np.int64)
                sums[p, q, filters] += taps @ activations[y, x, channels].astype(np.int64)
    return sums


def requantise(sums: NDArray[np.int64], how: Requantisation) -> Codes:
    """Turn sums into codes, one value at a time; axes p, q, k in and out."""
    codes = np.zeros(sums.shape, dtype=np.int8 if how.signed else np.uint8)
    for index in np.ndindex(sums.shape):
        k = index[-1]
        total = int(sums[index]) + int(how.bias[k])
        scaled = _rounded_shift(total * int(how.multiplier[k]), int(how.shift[k]))
        codes[index] = min(max(scaled + how.zero_point, how.low), how.high)
    return codes


def convolve(
    weights: NDArray[np.int8], activations: Codes, layer: LayerShape, how: Requantisation
) -> Codes:
    """Return a convolution's output codes, axes p, q, k."""
    return requantise(accumulate(weights, activations, layer), how)


def pool(node: Pooling, codes: Codes, zero_point: int) -> Codes:
    """Max or average pooling, axes y, x, channel; ``zero_point`` is the input's."""
    height, width, channels = codes.shape
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    low, high = _code_range(node.output.dtype)
    for p, q, channel in np.ndindex(*node.output.shape[:2], channels):
        window = []
        for r, s in np.ndindex(*node.kernel):
            y = p * node.stride[0] + r - node.pads[0]
            x = q * node.stride[1] + s - node.pads[1]
            if 0 <= y < height and 0 <= x < width:
                window.append(int(codes[y, x, channel]))
        if node.kind is PoolingKind.MAX:
            result[p, q, channel] = max(window)
            continue
        count = node.kernel[0] * node.kernel[1] if node.count_include_pad else len(window)
        total = sum(code - zero_point for code in window)
        mean = _rounded_shift(total * int(node.multiplier[count]), int(node.shift[count]))
        result[p, q, channel] = min(max(mean + node.output.zero_point, low), high)
    return result


def add(node: Addition, operands: Sequence[Codes], zero_points: Sequence[int]) -> Codes:
    """Residual addition of equal shapes; ``zero_points`` are the operands'."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    for index in np.ndindex(*node.output.shape):
        total = 0
        for codes, zero_point, multiplier in zip(
            operands, zero_points, node.multipliers, strict=True
        ):
            total += (int(codes[index]) - zero_point) * multiplier
        scaled = _rounded_shift(total, node.shift) + node.output.zero_point
        result[index] = min(max(scaled, node.low), node.high)
    return result


def rescale(node: Rescaling, codes: Codes, zero_point: int) -> Codes:
    """Bring one tensor to another scale, zero point or range; ``zero_point`` is the input's."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    for index in np.ndindex(*node.output.shape):
        total = (int(codes[index]) - zero_point) * node.multiplier
        scaled = _rounded_shift(total, node.shift) + node.output.zero_point
        result[index] = min(max(scaled, node.low), node.high)
    return result


def concatenate(node: Concatenation, operands: Sequence[Codes]) -> Codes:
    """Put the channels of tensors behind one another."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    first = 0
    for codes in operands:
        result[:, :, first : first + codes.shape[2]] = codes
        first += codes.shape[2]
    return result


def pad(node: Padding, codes: Codes) -> Codes:
    """Put a border of one code around the pixels."""
    height, width, _ = codes.shape
    top, left = node.pads[:2]
    result = np.full(node.output.shape, node.value, dtype=node.output.dtype)
    result[top : top + height, left : left + width] = codes
    return result


def run_network(network: Network, image: Codes) -> dict[str, Codes]:
    """Run every node on one image.

    Parameters
    ----------
    image : ndarray of the input's dtype, axes y, x, channel

    Returns
    -------
    dict of str to ndarray of int8 or uint8, axes y, x, channel
        Every tensor's codes by its name, the input's too.

    Raises
    ------
    FormatError
        The image does not have the input's shape and type.
    """
    if image.shape != network.input.shape or image.dtype != network.input.dtype:
        raise FormatError(
            f"Image must be {network.input.dtype} of shape {network.input.shape}, "
            f"not {image.dtype} of shape {image.shape}"
        )
    tensors = {network.input.name: image}
    for node in network.nodes:
        operands = [tensors[name] for name in node.inputs]
        zero_points = [network.tensor(name).zero_point for name in node.inputs]
        if isinstance(node, Convolution):
            codes = convolve(node.weights, operands[0], node.layer, node.requantisation)
        elif isinstance(node, Pooling):
            codes = pool(node, operands[0], zero_points[0])
        elif isinstance(node, Addition):
            codes = add(node, operands, zero_points)
        elif isinstance(node, Rescaling):
            codes = rescale(node, operands[0], zero_points[0])
        elif isinstance(node, Concatenation):
            codes = concatenate(node, operands)
        else:
            codes = pad(node, operands[0])
        tensors[node.output.name] = codes
    return tensors


def _rounded_shift(value: int, shift: int) -> int:
    """Divide by ``2**shift`` to the nearest integer, ties towards plus infinity."""
    return (value + (1 << (shift - 1))) >> shift


def _code_range(dtype: str) -> tuple[int, int]:
    return (-128, 127) if dtype == "int8" else (0, 255)
