"""Operators on codes: quantisation, dequantisation, and ONNX Runtime's QLinear operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.errors import FormatError, UserError
from sw.onnx.graph.nodes import NotOnMachine, label
from sw.onnx.graph.protocol import Graph, Handler
from sw.onnx.graph.values import CODE_RANGE, Codes, Real, Weights
from sw.onnx.operators.elementwise import add_reals, multiply_reals
from sw.onnx.operators.layers import convolve, multiply
from sw.onnx.operators.movement import join
from sw.onnx.operators.pooling import POOLING

__all__ = ["QUANTISED"]


def _quantise(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Any:
    value = graph.values[node.input[0]]
    if isinstance(value, np.ndarray):
        return _quantise_constant(graph, node, found, value)
    how = graph.quantisation(node, 1, 2)
    return graph.quantise(node, graph.real(node, 0), how)


def _quantise_constant(
    graph: Graph, node: NodeProto, found: dict[str, Any], value: NDArray
) -> NDArray:
    """Quantise a constant as ONNX does: in float32, ties to even, saturated."""
    scale = graph.array(node, 1)
    zero = graph.zero_point(node, 2, "uint8")
    if str(zero.dtype) not in CODE_RANGE:
        raise UserError(f"{label(node)}: zero point must be uint8 or int8, not {zero.dtype}")
    shape = [1] * value.ndim
    axis = _axis_of(node, value, found.get("axis", 1), scale, zero)
    if scale.size > 1:
        shape[axis] = scale.size
    steps = np.rint(value.astype(np.float32) / scale.reshape(shape or ()).astype(np.float32))
    low, high = CODE_RANGE[str(zero.dtype)]
    steps = steps + (zero.reshape(shape) if zero.size > 1 else zero.reshape(-1)[0])
    return np.clip(steps, low, high).astype(zero.dtype)


def _axis_of(node: NodeProto, value: NDArray, axis: int, scale: NDArray, zero: NDArray) -> int:
    """Return the axis of scales and zero points, which must fit it."""
    many = max(scale.size, zero.size)
    if many <= 1:
        return axis % max(value.ndim, 1)
    there = -value.ndim <= axis < value.ndim
    if not there or {scale.size, zero.size} - {1, value.shape[axis]}:
        raise FormatError(
            f"{label(node)}: scales and zero points must be one, or one for each index of an axis, "
            f"not {scale.size} and {zero.size} on axis {axis} of {value.shape}"
        )
    return axis % value.ndim


def _dequantise(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Any:
    value = graph.values[node.input[0]]
    if isinstance(value, np.ndarray):
        if found.get("block_size", 0):
            raise UserError(f"{label(node)}: block_size must be 0, not {found['block_size']!r}")
        zero = graph.zero_point(node, 2, str(value.dtype))
        scale = graph.array(node, 1)
        axis = _axis_of(node, value, found.get("axis", 1), scale, zero)
        return Weights(value, scale, zero, axis)
    return graph.real_of(graph.codes_as(node, 0, 1, 2))


def _multiply(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    reals = [graph.real_of(graph.codes_as(node, first, first + 1, first + 2)) for first in (0, 3)]
    real = multiply_reals(graph, node, reals[0], reals[1])
    return graph.quantise(node, real, graph.quantisation(node, 6, 7))


def _conv(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    source = graph.codes_as(node, 0, 1, 2)
    weights = graph.packed_weights(node, 3, 4, 5, axis=0)
    bias = graph.optional(node, 8)
    if bias is not None:
        steps = source.quantisation.scale * weights.scale.reshape(-1).astype(np.float64)
        bias = bias.astype(np.float64) * steps
    real = convolve(graph, node, found, graph.real_of(source), weights, bias)
    return graph.quantise(node, real, graph.quantisation(node, 6, 7))


def _matmul(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    source = graph.codes_as(node, 0, 1, 2)
    weights = graph.packed_weights(node, 3, 4, 5, axis=1)
    real = multiply(graph, node, graph.real_of(source), weights, None, 1)
    return graph.quantise(node, real, graph.quantisation(node, 6, 7))


def _gemm(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    if found.get("transA", 0):
        raise NotOnMachine(node, "transA must be 0, not 1")
    if len(node.input) < 9 or not node.input[7]:
        raise NotOnMachine(node, "output must be quantised (y_scale, y_zero_point)")
    out_axis = 0 if found.get("transB", 0) else 1
    alpha = found.get("alpha", 1.0)
    source = graph.codes_as(node, 0, 1, 2)
    weights = graph.packed_weights(node, 3, 4, 5, axis=out_axis)
    bias = graph.optional(node, 6)
    if bias is not None:
        steps = source.quantisation.scale * weights.scale.reshape(-1).astype(np.float64)
        bias = bias.astype(np.float64) * steps * alpha
    real = multiply(graph, node, graph.real_of(source), weights, bias, out_axis, alpha)
    return graph.quantise(node, real, graph.quantisation(node, 7, 8))


def _add(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    reals: list[Real] = []
    constants: list[NDArray[np.float64]] = []
    for first in (0, 3):
        if graph.is_constant(node.input[first]):
            constants.append(graph.packed_weights(node, first, first + 1, first + 2).real)
        else:
            reals.append(graph.real_of(graph.codes_as(node, first, first + 1, first + 2)))
    real = add_reals(graph, node, reals, constants)
    return graph.quantise(node, real, graph.quantisation(node, 6, 7))


def _pool(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Any:
    if found.get("channels_last", 0):
        raise NotOnMachine(node, "channels_last must be 0, not 1")
    graph.codes_as(node, 0, 1, 2)
    real = POOLING[node.op_type.removeprefix("QLinear")](graph, node, found)
    return graph.quantise(node, real, graph.quantisation(node, 3, 4))


def _concat(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Codes:
    parts: list[Real | NDArray] = []
    for first in range(2, len(node.input), 3):
        if graph.is_constant(node.input[first]):
            parts.append(graph.packed_weights(node, first, first + 1, first + 2).real)
        else:
            parts.append(graph.real_of(graph.codes_as(node, first, first + 1, first + 2)))
    return graph.quantise(node, join(graph, node, found, parts), graph.quantisation(node, 0, 1))


#: Handlers by operator.
QUANTISED: dict[str, Handler] = {
    "DequantizeLinear": _dequantise,
    "QGemm": _gemm,
    "QLinearAdd": _add,
    "QLinearAveragePool": _pool,
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _pool,
    "QLinearMatMul": _matmul,
    "QLinearMul": _multiply,
    "QuantizeLinear": _quantise,
}
