"""Operators that run on the machine: convolutions and matrix products with constant weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.layer import LayerShape
from sw.onnx.graph.nodes import NotOnMachine, label, layer_name, window
from sw.onnx.graph.protocol import Graph, Handler
from sw.onnx.graph.sources import Accumulation
from sw.onnx.graph.values import Real, View, Weights

__all__ = ["LAYERS", "add_constant", "convolve", "multiply"]


def convolve(
    graph: Graph,
    node: NodeProto,
    found: dict[str, Any],
    real: Real,
    weights: Weights,
    bias: NDArray[np.float64] | None,
) -> Real:
    """Make a convolution; weights have axes k, c, r, s (or k, c, s)."""
    rank = weights.codes.ndim - 2
    if rank not in (1, 2):
        raise NotOnMachine(node, f"a window of {rank} axes has no form on the machine")
    centred, scales = weights.centred(label(node), 0)
    if rank == 1:
        centred = centred[:, :, None]
    source, groups = _as_image(graph, node, real, rank), found.get("group", 1)
    height, width, channels = source.view.tensor
    _, stride, dilation, pads = window(node, found, (height, width), weights.codes.shape[2:])
    if centred.shape[1] * groups != channels or centred.shape[0] % groups:
        raise NotOnMachine(
            node,
            f"weights must have {channels / groups:g} input channels a group, "
            f"not {centred.shape[1]}",
        )
    axes = [
        _Axis.of([-1] * pads[axis] + list(range(size)) + [-1] * pads[axis + 2])
        for axis, size in enumerate((height, width))
    ]
    krsc = np.ascontiguousarray(centred.transpose(0, 2, 3, 1))
    result = _layer(graph, node, source, krsc, scales, bias, groups, axes, stride, dilation, pads)
    return result if rank == 2 else _without_height(result)


def _conv_transpose(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    """Make a convolution of the input with zeros between its pixels, and the kernel turned."""
    weights, groups = graph.weights(node, 1), found.get("group", 1)
    if weights.codes.ndim not in (3, 4) or "output_shape" in found:
        raise NotOnMachine(node, "a window of 3 axes, or an output_shape, has no form here")
    out_axis = 1
    if weights.scale.size > 1 and groups > 1:
        raise NotOnMachine(node, "weights with a scale a channel must be of one group")
    centred, scales = weights.centred(label(node), out_axis)
    rank = centred.ndim - 2
    if rank == 1:
        centred = centred[:, :, None]
    source = _as_image(graph, node, graph.real(node, 0), rank)
    height, width, channels = source.view.tensor
    if found.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotOnMachine(node, "auto_pad has no form on the machine")
    kernel, stride, dilation, pads = window(node, found, (height, width), weights.codes.shape[2:])
    extra = (0,) * (2 - rank) + tuple(found.get("output_padding", (0,) * rank))
    axes = []
    for axis, size in enumerate((height, width)):
        reach = dilation[axis] * (kernel[axis] - 1)
        before, after = reach - pads[axis], reach - pads[axis + 2] + extra[axis]
        spread = [-1] * ((size - 1) * stride[axis] + 1)
        spread[:: stride[axis]] = range(size)
        rows = [-1] * max(before, 0) + spread + [-1] * max(after, 0)
        axes.append(_Axis.of(rows[max(-before, 0) : len(rows) - max(-after, 0)]))
    # Axes c, k / g, r, s of the weights to k, r, s, c / g, the kernel turned round.
    turned = centred[:, :, ::-1, ::-1].reshape(groups, channels // groups, *centred.shape[1:])
    krsc = turned.transpose(0, 2, 3, 4, 1).reshape(-1, *kernel, channels // groups)
    scales = np.tile(scales, groups)
    bias = graph.constant(node, 2)
    krsc = np.ascontiguousarray(krsc)
    result = _layer(graph, node, source, krsc, scales, bias, groups, axes, (1, 1), dilation, None)
    return result if rank == 2 else _without_height(result)


class _Axis:
    """Which rows (or columns) of an image a kernel walks over, and which outputs count.

    Attributes
    ----------
    rows : list of int
        Rows of the image in their new order; -1 is a row of zeros.
    stride : int
    picked : list of int or None
        Outputs that are wanted, in order; None means all.
    """

    def __init__(self, rows: list[int], stride: int, picked: list[int] | None) -> None:
        self.rows, self.stride, self.picked = rows, stride, picked

    @classmethod
    def of(cls, rows: list[int]) -> _Axis:
        return cls(rows, 1, None)

    def outputs(self, kernel: int) -> int:
        return (len(self.rows) - kernel) // self.stride + 1

    def walked(self, kernel: int, stride: int, dilation: int) -> _Axis:
        """Let a dilated kernel walk over these rows as a plain one over others.

        Rows that one output reads are ``dilation`` apart, so that rows of one remainder are
        laid behind one another; windows that reach from one part into the next don't count.
        """
        if dilation == 1 or kernel == 1:
            return _Axis(self.rows, stride, None)
        count = (len(self.rows) - (kernel - 1) * dilation - 1) // stride + 1
        step = stride // math.gcd(stride, dilation)
        rows: list[int] = []
        picked = [0] * max(count, 0)
        first: dict[int, int] = {}
        for output in range(count):
            first.setdefault(output * stride % dilation, output)
        for remainder, begin in first.items():
            mine = range(begin, count, dilation // math.gcd(stride, dilation))
            rows += [-1] * (-len(rows) % step)
            for place, output in enumerate(mine):
                picked[output] = len(rows) // step + place
            part = self.rows[remainder::dilation][begin * stride // dilation :]
            rows += part[: (len(mine) - 1) * step + kernel]
        return _Axis(rows, step, picked)


def _layer(
    graph: Graph,
    node: NodeProto,
    source: Real,
    weights: NDArray[np.int16],
    scales: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
    groups: int,
    axes: list[_Axis],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int] | None,
) -> Real:
    """Make a layer of weights k, r, s, c on an image, whose rows and columns may move."""
    kernel = weights.shape[1], weights.shape[2]
    walks = [
        axis.walked(size, step, apart)
        for axis, size, step, apart in zip(axes, kernel, stride, dilation, strict=True)
    ]
    if min(walk.outputs(size) for walk, size in zip(walks, kernel, strict=True)) < 1:
        raise NotOnMachine(node, "the kernel is larger than its padded input")
    narrow, chosen = _terms(weights, groups)
    height, width, channels = source.view.tensor
    is_plain = pads is not None and all(apart == 1 for apart in dilation)
    if chosen is not None or not is_plain:
        wanted = np.arange(channels) if chosen is None else chosen
        rows = np.arange(height) if is_plain else np.array(walks[0].rows)
        columns = np.arange(width) if is_plain else np.array(walks[1].rows)
        index = (rows[:, None, None] * width + columns[None, :, None]) * channels + wanted
        index[(rows < 0)] = -1
        index[:, columns < 0] = -1
        source = graph.moved(source, index, View.image(index.shape))
        if not is_plain:
            pads = None
    if chosen is not None:
        graph.note(f"weights of {label(node)} of 9 bits, as terms of 8 on repeated channels")
    codes = graph.exact(source, node)
    top, left, bottom, right = pads or (0, 0, 0, 0)
    layer = LayerShape(
        name=layer_name(node),
        in_channels=codes.tensor.shape[2],
        in_height=codes.tensor.shape[0],
        in_width=codes.tensor.shape[1],
        out_channels=len(narrow),
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=walks[0].stride,
        stride_width=walks[1].stride,
        pad_top=top,
        pad_left=left,
        pad_bottom=bottom,
        pad_right=right,
        groups=groups,
    )
    vector = np.zeros(len(narrow)) if bias is None else bias.reshape(-1)
    if vector.size != len(narrow):
        raise NotOnMachine(node, f"bias must have {len(narrow)} values, not {vector.size}")
    result = Accumulation(layer, codes.tensor, narrow, scales, vector)
    shape = (layer.out_height, layer.out_width, layer.out_channels)
    view = View.image(shape)
    if any(walk.picked is not None for walk in walks):
        y, x = (
            np.arange(size) if walk.picked is None else np.array(walk.picked)
            for walk, size in zip(walks, shape, strict=False)
        )
        order = view.elements[:, :, y][:, :, :, x]
        view = View(shape, order.shape, order)
    return Real(node.output[0], result, view)


def _terms(
    weights: NDArray[np.int16], groups: int
) -> tuple[NDArray[np.int8], NDArray[np.int64] | None]:
    """Write weights beyond 8 bits as sums of terms, each on a copy of its channel.

    Returns
    -------
    weights : ndarray of int8, axes k, r, s, c
    channels : ndarray of int64, or None
        Which channel of the input each one of the layer's copies; None where all are there once.
    """
    held = np.clip(weights, -128, 127)
    terms, rest = [held.astype(np.int8)], weights - held
    share = weights.shape[3]
    own = np.arange(share)
    copies = [own]
    while rest.any():
        needed = np.flatnonzero(rest.any(axis=(0, 1, 2)))
        part = np.clip(rest[..., needed], -128, 127)
        terms.append(part.astype(np.int8))
        copies.append(needed)
        rest = rest.copy()
        rest[..., needed] -= part
    if len(terms) == 1:
        return terms[0], None
    within = np.concatenate(copies)
    channels = (np.arange(groups)[:, None] * share + within).reshape(-1)
    return np.concatenate(terms, axis=3), channels


def _as_image(graph: Graph, node: NodeProto, real: Real, rank: int) -> Real:
    """Return an operand as n, c, y, x; one of axes n, c, x as an image of height 1."""
    if rank == 1 and len(real.view.shape) == 3:
        batch, channels, width = real.view.shape
        real = real.seen(real.name, real.view.reshape((batch, channels, 1, width)))
    return graph.image(node, real)


def _without_height(real: Real) -> Real:
    batch, channels, _, width = real.view.shape
    return real.seen(real.name, real.view.reshape((batch, channels, width)))


def multiply(
    graph: Graph,
    node: NodeProto,
    real: Real,
    weights: Weights,
    bias: NDArray[np.float64] | None,
    out_axis: int,
    factor: float = 1.0,
) -> Real:
    """Make a fully connected layer.

    Of one vector it is a convolution whose kernel covers its input, of several (the tokens of
    a sequence) one of 1 x 1 over them.
    """
    if weights.codes.ndim != 2:
        raise NotOnMachine(node, f"weights must be a matrix, not of shape {weights.codes.shape}")
    if not (math.isfinite(factor) and factor >= 0):
        raise NotOnMachine(node, f"alpha must be finite and not negative, not {factor:g}")
    centred, scales = weights.centred(label(node), out_axis)
    matrix = centred if out_axis == 0 else centred.T
    outputs, inputs = matrix.shape
    shape = real.view.shape
    if shape[-1] != inputs:
        raise NotOnMachine(node, f"operand must have vectors of {inputs}, not shape {shape}")
    if bias is not None:
        if bias.size not in (1, outputs):
            raise NotOnMachine(node, f"bias must have {outputs} values, not {bias.size}")
        bias = np.broadcast_to(bias.reshape(-1), (outputs,)).astype(np.float64)
    count = math.prod(shape[:-1])
    if count > 1:
        index = real.view.elements.reshape(count, 1, inputs)
        source = graph.moved(real, index, View.image(index.shape))
        krsc = np.ascontiguousarray(matrix).reshape(outputs, 1, 1, inputs)
    else:
        source = real
        if not source.view.is_whole:
            source = graph.moved(real, real.view.elements.reshape(1, 1, -1), View.flat(shape))
        height, width, channels = source.view.tensor
        placed = np.zeros((outputs, inputs), dtype=np.int16)
        placed[:, source.view.elements.reshape(-1)] = matrix
        krsc = placed.reshape(outputs, height, width, channels)
        source = source.seen(source.name, View.image(source.view.tensor))
    height, width, _ = source.view.tensor
    axes = [_Axis.of(list(range(height))), _Axis.of(list(range(width)))]
    result = _layer(
        graph, node, source, krsc, scales * factor, bias, 1, axes, (1, 1), (1, 1), (0, 0, 0, 0)
    )
    wide = (*shape[:-1], outputs)
    order = np.arange(count * outputs, dtype=np.int64).reshape(wide)
    return result.seen(node.output[0], View((count, 1, outputs), wide, order))


def add_constant(graph: Graph, node: NodeProto, real: Real, values: NDArray) -> Real:
    """Add to a layer's bias, or make a layer of one weight a channel that adds."""
    vector = real.view.channel_vector(np.asarray(values))
    if vector is None:
        raise NotOnMachine(node, "constant must be one value a channel")
    source = real.source
    if isinstance(source, Accumulation) and not real.is_clipped:
        added = replace(source, bias=source.bias + vector)
        return Real(node.output[0], added, real.view)
    if not real.view.is_whole:
        raise NotOnMachine(node, "constant must be added to a whole tensor")
    codes = graph.exact(real, node)
    height, width, channels = codes.tensor.shape
    layer = LayerShape(
        name=layer_name(node),
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=channels,
        kernel_height=1,
        kernel_width=1,
        groups=channels,
    )
    # 127 / 127 is one, and leaves the bias steps of 1/127 of the operand's.
    weights = np.full((channels, 1, 1, 1), 127, dtype=np.int8)
    result = Accumulation(layer, codes.tensor, weights, np.full(channels, 1 / 127), vector)
    graph.note(f"{label(node)} adds a constant as a layer of its own")
    return Real(node.output[0], result, real.view)


def _conv(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    weights, real = graph.weights(node, 1), graph.real(node, 0)
    return convolve(graph, node, found, real, weights, graph.constant(node, 2))


def _gemm(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    if found.get("transA", 0):
        raise NotOnMachine(node, "transA must be 0, not 1")
    bias = graph.constant(node, 2)
    if bias is not None:
        bias = bias * found.get("beta", 1.0)
    out_axis = 0 if found.get("transB", 0) else 1
    weights, real = graph.weights(node, 1), graph.real(node, 0)
    return multiply(graph, node, real, weights, bias, out_axis, found.get("alpha", 1.0))


def _matmul(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    return multiply(graph, node, graph.real(node, 0), graph.weights(node, 1), None, 1)


#: Handlers by operator.
LAYERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
