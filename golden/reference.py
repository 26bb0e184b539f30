"""Naive operators on dense tensors: the right answer that everything else is compared with.

Written for plainness, in exact integers: every sum is int64, every rounding is done on
Python integers. Only tests and the command line import this module. The arithmetic is
that of ONNX's QLinearConv with fixed-point scales, as `golden.network` states it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.errors import FormatError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Constant,
    Convolution,
    HostNode,
    Network,
    Node,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Rescaling,
    Table,
    TensorInfo,
)

__all__ = [
    "accumulate",
    "add",
    "concatenate",
    "convolve",
    "look_up",
    "multiply",
    "pad",
    "pool",
    "rearrange",
    "requantise",
    "rescale",
    "run_network",
    "run_node",
]

Codes = NDArray[np.int8 | np.uint8]

#: Runs a host node on its inputs' arrays (``golden`` can't: ONNX Runtime does).
Host = Callable[[HostNode, Sequence[NDArray[Any]]], NDArray[Any]]


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


def pool(node: Pooling, codes: Codes, source: TensorInfo) -> Codes:
    """Max or average pooling, axes y, x, channel; ``source`` describes the input."""
    height, width, channels = codes.shape
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    low, high = _code_range(node.output.dtype)
    for p, q, channel in np.ndindex(*node.output.shape[:2], channels):
        columns: list[list[int]] = []
        for s in range(node.kernel[1]):
            x = q * node.stride[1] + s - node.pads[1]
            rows = (p * node.stride[0] + r - node.pads[0] for r in range(node.kernel[0]))
            if 0 <= x < width:
                columns.append([int(codes[y, x, channel]) for y in rows if 0 <= y < height])
        if node.kind is PoolingKind.MAX:
            result[p, q, channel] = max(code for column in columns for code in column)
            continue
        inside = sum(len(column) for column in columns)
        count = node.kernel[0] * node.kernel[1] if node.count_include_pad else inside
        if len(node.multiplier):
            whole = sum(code - source.zero_point for column in columns for code in column)
            mean = _rounded_shift(whole * int(node.multiplier[count]), int(node.shift[count]))
            result[p, q, channel] = min(max(mean + node.output.zero_point, low), high)
            continue
        total = np.float32(0)
        for column in columns:
            part = np.float32(0)
            for code in column:
                part += np.float32(code - source.zero_point) * np.float32(source.scale)
            total += part
        steps = int(np.rint(total / np.float32(count) / np.float32(node.output.scale)))
        result[p, q, channel] = min(max(steps + node.output.zero_point, low), high)
    return result


def multiply(node: Product, operands: Sequence[Codes], zero_points: Sequence[int]) -> Codes:
    """Multiply two tensors; the second may have one pixel."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    one_pixel = operands[1].shape[:2] == (1, 1)
    for y, x, channel in np.ndindex(*node.output.shape):
        first = int(operands[0][y, x, channel]) - zero_points[0]
        place = (0, 0, channel) if one_pixel else (y, x, channel)
        product = first * (int(operands[1][place]) - zero_points[1]) * node.multiplier
        scaled = _rounded_shift(product, node.shift) + node.output.zero_point
        result[y, x, channel] = min(max(scaled, node.low), node.high)
    return result


def look_up(node: Table, codes: Codes) -> Codes:
    """Replace each code by its channel's table's."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    lowest = -128 if codes.dtype == np.int8 else 0
    for y, x, channel in np.ndindex(*codes.shape):
        table = node.codes[channel if len(node.codes) > 1 else 0]
        result[y, x, channel] = table[int(codes[y, x, channel]) - lowest]
    return result


def rearrange(node: Rearrangement, codes: Codes) -> Codes:
    """Put elements in other places."""
    result = np.zeros(node.output.shape, dtype=node.output.dtype)
    flat = codes.reshape(-1)
    for place in np.ndindex(*node.output.shape):
        index = int(node.index[place])
        result[place] = node.fill if index < 0 else flat[index]
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


def run_node(
    node: Node,
    operands: Sequence[NDArray[Any]],
    sources: Sequence[TensorInfo],
    host: Host | None = None,
) -> NDArray[Any]:
    """Run one node; ``sources`` describe its operands."""
    zero_points = [source.zero_point for source in sources]
    match node:
        case Convolution():
            return convolve(node.weights, operands[0], node.layer, node.requantisation)
        case Pooling():
            return pool(node, operands[0], sources[0])
        case Addition():
            return add(node, operands, zero_points)
        case Product():
            return multiply(node, operands, zero_points)
        case Rescaling():
            return rescale(node, operands[0], zero_points[0])
        case Table():
            return look_up(node, operands[0])
        case Concatenation():
            return concatenate(node, operands)
        case Padding():
            return pad(node, operands[0])
        case Rearrangement():
            return rearrange(node, operands[0])
        case Constant():
            return node.codes
        case HostNode():
            if host is None:
                raise FormatError(f"Node {node.name} must be given a host that runs it")
            return host(node, operands)


def run_network(
    network: Network, image: NDArray[Any], host: Host | None = None
) -> dict[str, NDArray[Any]]:
    """Run every node on one image.

    Parameters
    ----------
    image : ndarray of the input's dtype, axes y, x, channel; or a record of one an input
    host : function, optional
        Runs host nodes.

    Returns
    -------
    dict of str to ndarray of int8 or uint8, axes y, x, channel
        Every tensor's codes by its name, the input's too.

    Raises
    ------
    FormatError
        The image does not have the input's shape and type.
    """
    tensors = network.input_values(image)
    for info in network.inputs:
        value = tensors[info.name]
        if value.shape != info.shape or value.dtype != info.dtype:
            raise FormatError(
                f"Image must be {info.dtype} of shape {info.shape}, "
                f"not {value.dtype} of shape {value.shape}"
            )
    for node in network.nodes:
        operands = [tensors[name] for name in node.inputs]
        sources = [network.tensor(name) for name in node.inputs]
        tensors[node.output.name] = run_node(node, operands, sources, host)
    return tensors


def _rounded_shift(value: int, shift: int) -> int:
    """Divide by ``2**shift`` to the nearest integer, halves to the even one."""
    quotient, rest = divmod(value, 1 << shift)
    half = 1 << (shift - 1)
    return quotient + (rest > half or (rest == half and quotient % 2 == 1))


def _code_range(dtype: str) -> tuple[int, int]:
    return (-128, 127) if dtype == "int8" else (0, 255)
