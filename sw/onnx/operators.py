"""Operators on reals: each takes the graph's values and returns a recipe for its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.errors import UserError
from golden.layer import LayerShape
from sw.onnx.file import layer_name
from sw.onnx.pooling import POOLING, image, label, window
from sw.onnx.sources import Accumulation, Joined, Padded, Sum
from sw.onnx.values import Codes, Dropped, Real, View, Weights

if TYPE_CHECKING:
    from sw.onnx.importer import Importer

__all__ = [
    "FINAL_OPERATORS",
    "OPERATORS",
    "add_reals",
    "convolve",
    "join",
    "multiply",
    "not_supported",
]

#: Operators that may only end a network; they are dropped.
FINAL_OPERATORS = ("Softmax", "LogSoftmax")

Handler = Callable[["Importer", NodeProto, dict[str, Any]], Any]


# -- layers -----------------------------------------------------------------------------------


def convolve(
    importer: Importer,
    node: NodeProto,
    found: dict[str, Any],
    source: Codes,
    weights: Weights,
    bias: NDArray[np.float64] | None,
) -> Real:
    """Make a convolution of codes; weights have axes k, c, r, s."""
    height, width, channels = image(node, importer.real_of(source))
    if weights.codes.ndim != 4:
        raise UserError(f"{label(node)}: weights must be 2-D, not of shape {weights.codes.shape}")
    codes, scales = weights.symmetric(label(node), 0)
    kernel, stride, pads = window(node, found, (height, width), codes.shape[2:])
    groups = found.get("group", 1)
    if codes.shape[1] * groups != channels:
        raise UserError(
            f"{label(node)}: weights must have {channels / groups:g} input channels a group, "
            f"not {codes.shape[1]}"
        )
    layer = LayerShape(
        name=layer_name(node),
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=codes.shape[0],
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=stride[0],
        stride_width=stride[1],
        pad_top=pads[0],
        pad_left=pads[1],
        pad_bottom=pads[2],
        pad_right=pads[3],
        groups=groups,
    )
    if bias is None:
        bias = np.zeros(layer.out_channels)
    krsc = np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
    result = Accumulation(layer, source.tensor, krsc, scales, bias.reshape(-1))
    shape = (layer.out_height, layer.out_width, layer.out_channels)
    return Real(node.output[0], result, View.image(shape))


def multiply(
    node: NodeProto,
    source: Codes,
    weights: Weights,
    bias: NDArray[np.float64] | None,
    out_axis: int,
    factor: float = 1.0,
) -> Real:
    """Make a fully connected layer: a convolution whose kernel covers its input."""
    if weights.codes.ndim != 2:
        raise UserError(f"{label(node)}: weights must be a matrix, not {weights.codes.shape}")
    codes, scales = weights.symmetric(label(node), out_axis)
    matrix = codes if out_axis == 0 else codes.T
    outputs, inputs = matrix.shape
    if source.view.shape[-1] != inputs or math.prod(source.view.shape) != inputs:
        raise UserError(
            f"{label(node)}: operand {source.name} must be one vector of {inputs} elements, "
            f"not of shape {source.view.shape}"
        )
    height, width, channels = source.view.tensor
    placed = np.zeros((outputs, height * width * channels), dtype=np.int8)
    placed[:, source.view.elements.reshape(-1)] = matrix
    if factor < 0:
        raise UserError(f"{label(node)}: alpha must not be negative, not {factor!r}")
    layer = LayerShape(
        name=layer_name(node),
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=outputs,
        kernel_height=height,
        kernel_width=width,
    )
    values = np.zeros(outputs) if bias is None else np.broadcast_to(bias, (1, outputs))
    result = Accumulation(
        layer,
        source.tensor,
        placed.reshape(outputs, height, width, channels),
        scales * factor,
        np.array(values, dtype=np.float64).reshape(-1),
    )
    return Real(node.output[0], result, View.vector((1, 1, outputs), len(source.view.shape)))


def _conv(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    source = importer.codes(node, 0)
    weights = importer.weights(node, 1)
    return convolve(importer, node, found, source, weights, importer.constant(node, 2))


def _gemm(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    if found.get("transA", 0):
        raise UserError(f"{label(node)}: transA must be 0, not 1")
    bias = importer.constant(node, 2)
    if bias is not None:
        bias = bias * found.get("beta", 1.0)
    out_axis = 0 if found.get("transB", 0) else 1
    source = importer.codes(node, 0)
    return multiply(
        node, source, importer.weights(node, 1), bias, out_axis, found.get("alpha", 1.0)
    )


def _matmul(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    return multiply(node, importer.codes(node, 0), importer.weights(node, 1), None, 1)


# -- elementwise ------------------------------------------------------------------------------


def _add(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    reals, constants = [], []
    for index, name in enumerate(node.input):
        if importer.is_constant(name):
            constants.append(importer.constant(node, index))
        else:
            reals.append(importer.real(node, index))
    return add_reals(importer, node, reals, constants)


def add_reals(
    importer: Importer, node: NodeProto, reals: list[Real], constants: list[NDArray[np.float64]]
) -> Real:
    """Add tensors, or constants to one tensor."""
    if constants and len(reals) == 1:
        return _add_constant(importer, node, reals[0], sum(constants))
    if constants:
        raise UserError(f"{label(node)}: operands must be one constant and one tensor, or tensors")
    first = reals[0]
    for real in reals[1:]:
        if not first.view.matches(real.view):
            raise UserError(
                f"{label(node)}: operands must be of one shape and order, "
                f"not {first.view.shape} and {real.view.shape}"
            )
    parts = tuple(importer.writer.exact(real, label(node)).tensor for real in reals)
    return Real(node.output[0], Sum(parts), first.view)


def _add_constant(importer: Importer, node: NodeProto, real: Real, values: Any) -> Real:
    """Add to a layer's bias, or make a layer of one weight a channel that adds."""
    vector = real.view.channel_vector(np.asarray(values))
    if vector is None:
        raise UserError(f"{label(node)}: constant must be one value a channel")
    source = real.source
    if isinstance(source, Accumulation) and not real.is_clipped:
        added = replace(source, bias=source.bias + vector)
        return Real(node.output[0], added, real.view)
    codes = importer.writer.exact(real, label(node))
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
    importer.writer.notes.append(f"{label(node)} adds a constant as a layer of its own")
    return Real(node.output[0], result, real.view)


def _relu(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    return importer.real(node, 0).clip(node.output[0], 0.0, math.inf)


def _clip(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    bounds = []
    for index, key, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        value = importer.constant(node, index)
        bounds.append(
            float(found.get(key, default)) if value is None else float(value.reshape(-1)[0])
        )
    # With min above max ONNX gives max everywhere.
    return importer.real(node, 0).clip(node.output[0], min(bounds), bounds[1])


# -- shape ------------------------------------------------------------------------------------


def _concat(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    return join(node, found, tuple(importer.real(node, i) for i in range(len(node.input))))


def join(node: NodeProto, found: dict[str, Any], reals: tuple[Real, ...]) -> Real:
    """Concatenate along channels."""
    rank = len(reals[0].view.shape)
    if found["axis"] % rank != 1:
        raise UserError(f"{label(node)}: axis must be that of channels (1), not {found['axis']!r}")
    vectors = all(real.view.matches(View.vector(real.view.tensor)) for real in reals)
    if not vectors:
        for real in reals:
            image(node, real)
    if len({real.view.tensor[:2] for real in reals}) != 1:
        raise UserError(f"{label(node)}: operands must have images of one size")
    if len(reals) == 1:
        return reals[0].seen(node.output[0], reals[0].view)
    height, width, _ = reals[0].view.tensor
    shape = (height, width, sum(real.view.tensor[2] for real in reals))
    view = View.vector(shape) if vectors else View.image(shape)
    return Real(node.output[0], Joined(reals), view)


def _pad(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    height, width, channels = image(node, real)
    if found.get("mode", "constant") != "constant":
        raise UserError(f"{label(node)}: mode must be 'constant', not {found['mode']!r}")
    pads = importer.integers(node, 1)
    pads = list(found.get("pads", [])) if pads is None else pads
    axes = importer.integers(node, 3)
    axes = list(range(4)) if axes is None else [axis % 4 for axis in axes]
    begin, end = [0] * 4, [0] * 4
    for place, axis in enumerate(axes):
        begin[axis], end[axis] = pads[place], pads[place + len(axes)]
    if any(begin[:2] + end[:2]) or min(begin + end) < 0:
        raise UserError(f"{label(node)}: pads must be of y and x, and not negative, not {pads!r}")
    value = importer.constant(node, 2)
    number = float(found.get("value", 0.0)) if value is None else float(value.reshape(-1)[0])
    border = (begin[2], begin[3], end[2], end[3])
    shape = (height + begin[2] + end[2], width + begin[3] + end[3], channels)
    return Real(node.output[0], Padded(real, border, number), View.image(shape))


def _reshaped(node: NodeProto, real: Real, shape: Sequence[int]) -> Real:
    if math.prod(shape) != math.prod(real.view.shape):
        raise UserError(
            f"{label(node)}: shape must hold {math.prod(real.view.shape)} elements, not {shape!r}"
        )
    return real.seen(node.output[0], real.view.reshape(tuple(shape)))


def _flatten(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    shape, axis = real.view.shape, found.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return _reshaped(node, real, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshape(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    wanted = importer.integers(node, 1)
    if wanted is None:
        raise UserError(f"{label(node)}: shape must be a constant")
    old = real.view.shape
    if not found.get("allowzero", 0):
        wanted = [
            old[axis] if size == 0 and axis < len(old) else size for axis, size in enumerate(wanted)
        ]
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted = [math.prod(old) // max(known, 1) if size == -1 else size for size in wanted]
    return _reshaped(node, real, wanted)


def _squeeze(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    shape = real.view.shape
    axes = importer.integers(node, 1)
    axes = found.get("axes") if axes is None else axes
    gone = (
        {axis for axis, size in enumerate(shape) if size == 1}
        if axes is None
        else {axis % len(shape) for axis in axes}
    )
    return _reshaped(node, real, [n for axis, n in enumerate(shape) if axis not in gone])


def _unsqueeze(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    axes = importer.integers(node, 1)
    axes = list(found.get("axes", [])) if axes is None else axes
    shape = list(real.view.shape)
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    return _reshaped(node, real, shape)


def _transpose(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    axes = tuple(found.get("perm", reversed(range(len(real.view.shape)))))
    return real.seen(node.output[0], real.view.transpose(axes))


def _identity(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    if node.op_type == "Dropout" and importer.is_training(node):
        raise UserError(f"{label(node)}: training_mode must be false")
    real = importer.real(node, 0)
    return real.seen(node.output[0], real.view)


def _drop(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Dropped:
    return Dropped(importer.real(node, 0), node.op_type, label(node))


#: Handlers by operator; a node not in here, nor in ``sw.onnx.quantised``, is refused.
OPERATORS: dict[str, Handler] = {
    "Add": _add,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _identity,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _identity,
    "MatMul": _matmul,
    "Pad": _pad,
    "Relu": _relu,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Sum": _add,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **POOLING,
    **dict.fromkeys(FINAL_OPERATORS, _drop),
}


def not_supported(node: NodeProto) -> str:
    """Say which node has an operator that is not supported."""
    return (
        f"{label(node)}: operator {node.op_type} is not supported; supported are "
        f"{', '.join(sorted(OPERATORS))}, batch norm and constant scaling of a float model, "
        f"and the quantised forms of these"
    )
