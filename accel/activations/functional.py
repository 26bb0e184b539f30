"""Exact activations of every layer of a network, fast: convolutions as float32 matrix products.

A float32 product of integers is exact, in any order of summation, while the sum of all magnitudes
stays below 2**24. Filters that could exceed it for the input at hand are cut into parts along
their window, whose products are added in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from accel.compiled import njit
from golden.arithmetic import Requantisation, rounded_shift
from golden.errors import UserError
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

__all__ = ["convolve", "quantise_images", "run_network", "run_node", "run_nodes"]

Codes = NDArray[np.int8 | np.uint8]

#: Below this every integer is a float32.
EXACT_FLOAT32 = 1 << 24
#: Elements of a block of windows (2 MiB of float32, which caches hold) and of a block of filters.
WINDOWS_ELEMENTS = 1 << 19
FILTERS_ELEMENTS = 1 << 22


def quantise_images(network: Network, images: NDArray[Any]) -> Codes:
    """Return images as codes of the network's input, axes n, y, x, channel.

    Parameters
    ----------
    images : ndarray, axes n, y, x, channel or y, x, channel
        Codes of the input's dtype, or floats, which are quantised.

    Raises
    ------
    UserError
        Shape or type are not the network's, or a float is not finite.
    """
    info = network.input
    images = np.asarray(images)
    if images.dtype.names is not None:  # a record an image, made by the frontend
        return images
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1:] != info.shape or len(images) == 0:
        raise UserError(
            f"Images must have axes n, y, x, channel and shape (n, {info.shape[0]}, "
            f"{info.shape[1]}, {info.shape[2]}) for network {network.name}, not {images.shape}"
        )
    if images.dtype == np.dtype(info.dtype):
        return images
    if images.dtype.kind != "f":
        raise UserError(
            f"Images must be {info.dtype} codes or floats for network {network.name}, "
            f"not {images.dtype}"
        )
    if not np.all(np.isfinite(images)):
        raise UserError("Images must be finite")
    limits = np.iinfo(info.dtype)
    codes = np.rint(images / info.scale) + info.zero_point
    return np.clip(codes, limits.min, limits.max).astype(info.dtype)


def run_network(network: Network, image: Codes) -> dict[str, Codes]:
    """Return every activation tensor of a network by name, for one image.

    Parameters
    ----------
    image : ndarray of codes, axes y, x, channel
    """
    tensors = network.input_values(image)
    for node, _, output in run_nodes(network, image):
        tensors[node.output.name] = output
    return tensors


def run_nodes(
    network: Network, image: NDArray[Any]
) -> Iterator[tuple[Node, tuple[NDArray[Any], ...], NDArray[Any]]]:
    """Run node after node; yield each with its inputs and its output.

    An image is an array, or a record of one an input. A tensor is kept no longer than a later
    node reads it. Convolutions read the network's synthetic inputs, where there are any, in
    place of what nodes made.
    """
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    infos = {info.name: info for info in network.inputs}
    infos |= {node.output.name: node.output for node in network.nodes}
    tensors = network.input_values(image)
    for index, node in enumerate(network.nodes):
        stand_ins = network.synthetic_inputs if isinstance(node, Convolution) else {}
        inputs = tuple(stand_ins.get(name, tensors[name]) for name in node.inputs)
        output = run_node(node, inputs, tuple(infos[name] for name in node.inputs))
        tensors[node.output.name] = output
        for name in {*node.inputs, node.output.name}:
            if last_use.get(name, -1) <= index:
                tensors.pop(name, None)
        yield node, inputs, output


def run_node(
    node: Node, inputs: tuple[NDArray[Any], ...], infos: tuple[TensorInfo, ...]
) -> NDArray[Any]:
    """Run one node; ``infos`` describe its inputs."""
    if isinstance(node, Convolution):
        return convolve(node.layer, node.weights, inputs[0], node.requantisation)
    if isinstance(node, Pooling):
        pool = _pool_max if node.kind is PoolingKind.MAX else _pool_average
        return pool(node, inputs[0], infos[0])
    if isinstance(node, Addition):
        multipliers = node.multipliers
        return _combine(node, inputs, infos, multipliers)
    if isinstance(node, Rescaling):
        return _combine(node, inputs, infos, (node.multiplier,))
    if isinstance(node, Concatenation):
        return np.concatenate(inputs, axis=2)
    if isinstance(node, Padding):
        top, left, bottom, right = node.pads
        pads = ((top, bottom), (left, right), (0, 0))
        return np.pad(inputs[0], pads, constant_values=node.value)
    if isinstance(node, Product):
        return _multiply(node, inputs, infos)
    if isinstance(node, Table):
        return _look_up(node, inputs[0])
    if isinstance(node, Rearrangement):
        moved = inputs[0].reshape(-1)[node.index]
        moved[node.index < 0] = node.fill
        return moved
    if isinstance(node, Constant):
        return node.codes
    if isinstance(node, HostNode):
        from accel.activations.host import run_host

        return run_host(node, inputs)
    raise TypeError(f"no way to run {type(node).__name__}")


# -- convolution ----------------------------------------------------------------------------


def convolve(
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    requantisation: Requantisation,
) -> Codes:
    """Convolve and requantise, exactly.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of codes, axes y, x, channel

    Returns
    -------
    ndarray of codes, axes p, q, k
    """
    pads = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
    output = np.empty((layer.positions, layer.out_channels), dtype=requantisation.dtype)
    largest = int(np.abs(activations.astype(np.int16)).max(initial=0))
    if layer.group_channels == 1 and layer.groups > 1:
        padded = np.pad(activations.astype(np.int32), pads)
        _convolve_depthwise(layer, weights, padded, requantisation, output)
    else:
        padded = np.pad(activations.astype(np.float32), pads)
        # On blocks of this size threads of the linear algebra wait for one another.
        with _libraries().limit(limits=1, user_api="blas"):
            for group in range(layer.groups):
                channels = slice(group * layer.group_channels, (group + 1) * layer.group_channels)
                _convolve_group(layer, group, weights, padded[..., channels], largest,
                                requantisation, output)  # fmt: skip
    return output.reshape(layer.out_height, layer.out_width, layer.out_channels)


@cache
def _libraries() -> ThreadpoolController:
    """Find the libraries whose threads can be limited, which takes a while."""
    return ThreadpoolController()


def _convolve_group(
    layer: LayerShape,
    group: int,
    weights: NDArray[np.int8],
    padded: NDArray[np.float32],
    largest: int,
    requantisation: Requantisation,
    output: Codes,
) -> None:
    """Convolve one group as products of blocks of windows with blocks of filters."""
    window = layer.taps * layer.group_channels
    filters_block = max(1, min(layer.group_filters, FILTERS_ELEMENTS // window))
    rows_block = max(1, WINDOWS_ELEMENTS // (layer.out_width * max(window, filters_block)))
    first_filter = group * layer.group_filters
    for first in range(first_filter, first_filter + layer.group_filters, filters_block):
        chosen = slice(first, min(first + filters_block, first_filter + layer.group_filters))
        matrix = weights[chosen].reshape(-1, window)
        cuts = _exact_cuts(matrix, largest)
        matrix = np.ascontiguousarray(matrix.T, dtype=np.float32)
        for top in range(0, layer.out_height, rows_block):
            bottom = min(top + rows_block, layer.out_height)
            windows = _windows(layer, padded, top, bottom).reshape(-1, window)
            if len(cuts) == 2:
                accumulator = windows @ matrix
            else:
                accumulator = np.zeros((len(windows), matrix.shape[1]))
                for low, high in itertools.pairwise(cuts):
                    accumulator += windows[:, low:high] @ matrix[low:high]
            _apply(requantisation, accumulator, output, top * layer.out_width, first)


def _windows(
    layer: LayerShape, padded: NDArray[np.float32], top: int, bottom: int
) -> NDArray[np.float32]:
    """Lay out the windows of output rows, axes p, q, r, s, c."""
    height, width, channels = bottom - top, layer.out_width, padded.shape[2]
    shape = (height, width, layer.kernel_height, layer.kernel_width, channels)
    windows = np.empty(shape, dtype=np.float32)
    for r in range(layer.kernel_height):
        first = top * layer.stride_height + r
        rows = padded[first : first + (height - 1) * layer.stride_height + 1 : layer.stride_height]
        for s in range(layer.kernel_width):
            end = s + (width - 1) * layer.stride_width + 1
            windows[:, :, r, s] = rows[:, s : end : layer.stride_width]
    return windows


def _exact_cuts(matrix: NDArray[np.int8], largest: int) -> list[int]:
    """Cut windows into parts whose products are exact in float32: the parts' bounds."""
    window = matrix.shape[1]
    # Bytes add up fast in one pass; most layers need no closer look.
    magnitudes = np.abs(matrix, dtype=np.int16)
    if int(magnitudes.sum(axis=1, dtype=np.int32).max(initial=0)) * largest < EXACT_FLOAT32:
        return [0, window]
    magnitudes = magnitudes.astype(np.int32)
    parts = 2
    while True:
        bounds = [window * part // parts for part in range(parts + 1)]
        sums = np.add.reduceat(magnitudes, bounds[:-1], axis=1)
        if int(sums.max(initial=0)) * largest < EXACT_FLOAT32 or parts == window:
            return bounds
        parts = min(2 * parts, window)


def _convolve_depthwise(
    layer: LayerShape,
    weights: NDArray[np.int8],
    padded: NDArray[np.int32],
    requantisation: Requantisation,
    output: Codes,
) -> None:
    """Convolve a layer of one channel a group, tap by tap in int32."""
    padded = np.repeat(padded, layer.group_filters, axis=2)
    accumulator = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.int32)
    for r in range(layer.kernel_height):
        y_end = r + (layer.out_height - 1) * layer.stride_height + 1
        for s in range(layer.kernel_width):
            x_end = s + (layer.out_width - 1) * layer.stride_width + 1
            pixels = padded[r : y_end : layer.stride_height, s : x_end : layer.stride_width]
            accumulator += pixels * weights[:, r, s, 0].astype(np.int32)
    _apply(requantisation, accumulator.reshape(output.shape), output)


@njit
def _requantise(
    accumulator, bias, multiplier, shift, zero_point, low, high, output, first_row, first_filter
):
    """Do what ``golden.arithmetic.Requantisation.apply`` does in one pass over memory.

    Parameters
    ----------
    accumulator : ndarray, axes row, filter
    bias, multiplier, shift : ndarray of int64, axis filter
    output : ndarray of uint8, axes row, filter
        The bits of codes; written from ``first_row``, ``first_filter`` on.
    """
    for row in range(accumulator.shape[0]):
        for k in range(accumulator.shape[1]):
            # Halves go to the even code: they are rounded up where the quotient is odd.
            below_half = (np.int64(1) << (shift[k] - 1)) - 1
            product = (np.int64(accumulator[row, k]) + bias[k]) * multiplier[k]
            scaled = (product + below_half + ((product >> shift[k]) & 1)) >> shift[k]
            output[first_row + row, first_filter + k] = min(max(scaled + zero_point, low), high)


def _apply(
    requantisation: Requantisation,
    accumulator: NDArray[Any],
    output: Codes,
    first_row: int = 0,
    first_filter: int = 0,
) -> None:
    """Requantise a block of accumulators."""
    chosen = slice(first_filter, first_filter + accumulator.shape[1])
    _requantise(
        accumulator,
        requantisation.bias[chosen],
        requantisation.multiplier[chosen],
        requantisation.shift[chosen],
        requantisation.zero_point,
        requantisation.low,
        requantisation.high,
        output.view(np.uint8),
        first_row,
        first_filter,
    )


# -- what the host does -----------------------------------------------------------------------


def _window_slices(node: Pooling, size: int, axis: int) -> tuple[int, int, int]:
    """Return output size, padding before, and padding needed after, along y or x."""
    outputs = node.output.shape[axis]
    before = node.pads[axis]
    needed = (outputs - 1) * node.stride[axis] + node.kernel[axis]
    return outputs, before, max(0, needed - before - size)


def _pool(node: Pooling, padded: NDArray[Any], operation: np.ufunc) -> Any:
    """Reduce the windows of a padded tensor."""
    height, width, _ = node.output.shape
    result = None
    for r in range(node.kernel[0]):
        y_end = r + (height - 1) * node.stride[0] + 1
        for s in range(node.kernel[1]):
            x_end = s + (width - 1) * node.stride[1] + 1
            pixels = padded[r : y_end : node.stride[0], s : x_end : node.stride[1]]
            result = pixels.copy() if result is None else operation(result, pixels, out=result)
    return result


def _pool_max(node: Pooling, source: Codes, info: TensorInfo) -> Codes:
    del info
    pads = [_window_slices(node, source.shape[axis], axis)[1:] for axis in (0, 1)]
    lowest = np.iinfo(source.dtype).min
    return _pool(node, np.pad(source, (*pads, (0, 0)), constant_values=lowest), np.maximum)


def _pool_average(node: Pooling, source: Codes, info: TensorInfo) -> Codes:
    pads = [_window_slices(node, source.shape[axis], axis)[1:] for axis in (0, 1)]
    centred = source.astype(np.int16) - info.zero_point
    if node.count_include_pad:
        counts = np.array(node.kernel[0] * node.kernel[1])
    else:
        inside = np.pad(np.ones((*source.shape[:2], 1), dtype=np.int64), (*pads, (0, 0)))
        counts = _add_windows(node, inside)
    limits = np.iinfo(node.output.dtype)
    if len(node.multiplier):
        total = _add_windows(node, np.pad(centred.astype(np.int64), (*pads, (0, 0))))
        steps = rounded_shift(total * node.multiplier[counts], node.shift[counts])
        codes = np.clip(steps + node.output.zero_point, limits.min, limits.max)
        return codes.astype(node.output.dtype)
    values = centred.astype(np.float32) * np.float32(info.scale)
    total = _add_windows(node, np.pad(values, (*pads, (0, 0))))
    steps = np.rint(total / counts.astype(np.float32) / np.float32(node.output.scale))
    codes = np.clip(steps + np.float32(node.output.zero_point), limits.min, limits.max)
    return codes.astype(node.output.dtype)


def _add_windows(node: Pooling, padded: NDArray[Any]) -> NDArray[Any]:
    """Add up windows: each column from top to bottom, then these sums from left to right."""
    height, width = node.output.shape[:2]
    y_span, x_span = (height - 1) * node.stride[0] + 1, (width - 1) * node.stride[1] + 1
    columns = padded[: y_span : node.stride[0]].copy()
    for r in range(1, node.kernel[0]):
        columns += padded[r : r + y_span : node.stride[0]]
    total = columns[:, : x_span : node.stride[1]].copy()
    for s in range(1, node.kernel[1]):
        total += columns[:, s : s + x_span : node.stride[1]]
    return total


def _multiply(node: Product, inputs: tuple[Codes, ...], infos: tuple[TensorInfo, ...]) -> Codes:
    first, second = (
        source.astype(np.int64) - info.zero_point
        for source, info in zip(inputs, infos, strict=True)
    )
    scaled = rounded_shift(first * second * node.multiplier, node.shift)
    codes = np.clip(scaled + node.output.zero_point, node.low, node.high)
    return codes.astype(node.output.dtype)


def _look_up(node: Table, source: Codes) -> Codes:
    places = source.astype(np.int16) - np.iinfo(source.dtype).min
    if len(node.codes) == 1:
        return node.codes[0][places]
    return node.codes[np.arange(source.shape[2]), places]


def _combine(
    node: Addition | Rescaling,
    inputs: tuple[Codes, ...],
    infos: tuple[TensorInfo, ...],
    multipliers: tuple[int, ...],
) -> Codes:
    total = np.zeros(inputs[0].shape, dtype=np.int64)
    for source, info, multiplier in zip(inputs, infos, multipliers, strict=True):
        total += (source.astype(np.int64) - info.zero_point) * multiplier
    scaled = rounded_shift(total, node.shift)
    codes = np.clip(scaled + node.output.zero_point, node.low, node.high)
    return codes.astype(node.output.dtype)
