"""Operators on codes: quantisation, dequantisation, and ONNX Runtime's QLinear operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.errors import UserError
from sw.onnx.operators import OPERATORS, add_reals, convolve, join, multiply
from sw.onnx.pooling import label
from sw.onnx.values import CODE_RANGE, Codes, Dropped, Real, Weights

if TYPE_CHECKING:
    from sw.onnx.importer import Importer

__all__ = ["QUANTISED"]


def _quantise(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Any:
    value = importer.values[node.input[0]]
    if isinstance(value, Dropped):
        return value
    if isinstance(value, np.ndarray):
        return _quantise_constant(importer, node, found, value)
    how = importer.quantisation(node, 1, 2)
    return importer.quantise(node, importer.real(node, 0), how)


def _quantise_constant(
    importer: Importer, node: NodeProto, found: dict[str, Any], value: NDArray
) -> NDArray:
    """Quantise a constant as ONNX does: in float32, ties to even, saturated."""
    scale = importer.array(node, 1)
    zero = importer.zero_point(node, 2, "uint8")
    if str(zero.dtype) not in CODE_RANGE:
        raise UserError(f"{label(node)}: zero point must be uint8 or int8, not {zero.dtype}")
    shape = [1] * value.ndim
    if scale.size > 1:
        shape[found.get("axis", 1)] = scale.size
    steps = np.rint(value.astype(np.float32) / scale.reshape(shape or ()).astype(np.float32))
    low, high = CODE_RANGE[str(zero.dtype)]
    steps = steps + (zero.reshape(shape) if zero.size > 1 else zero.reshape(-1)[0])
    return np.clip(steps, low, high).astype(zero.dtype)


def _dequantise(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Any:
    value = importer.values[node.input[0]]
    if isinstance(value, Dropped):
        return value
    if isinstance(value, np.ndarray):
        if found.get("block_size", 0):
            raise UserError(f"{label(node)}: block_size must be 0, not {found['block_size']!r}")
        zero = importer.zero_point(node, 2, str(value.dtype))
        axis = found.get("axis", 1)
        return Weights(value, importer.array(node, 1), zero, axis % max(value.ndim, 1))
    return importer.real_of(importer.codes_as(node, 0, 1, 2))


def _conv(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Codes:
    source = importer.codes_as(node, 0, 1, 2)
    weights = importer.packed_weights(node, 3, 4, 5, axis=0)
    bias = importer.optional(node, 8)
    if bias is not None:
        steps = source.quantisation.scale * weights.scale.reshape(-1).astype(np.float64)
        bias = bias.astype(np.float64) * steps
    real = convolve(importer, node, found, source, weights, bias)
    return importer.quantise(node, real, importer.quantisation(node, 6, 7))


def _matmul(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Codes:
    source = importer.codes_as(node, 0, 1, 2)
    weights = importer.packed_weights(node, 3, 4, 5, axis=1)
    real = multiply(node, source, weights, None, 1)
    return importer.quantise(node, real, importer.quantisation(node, 6, 7))


def _gemm(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Codes:
    if found.get("transA", 0):
        raise UserError(f"{label(node)}: transA must be 0, not 1")
    if len(node.input) < 9 or not node.input[7]:
        raise UserError(f"{label(node)}: output must be quantised (y_scale, y_zero_point)")
    out_axis = 0 if found.get("transB", 0) else 1
    alpha = found.get("alpha", 1.0)
    source = importer.codes_as(node, 0, 1, 2)
    weights = importer.packed_weights(node, 3, 4, 5, axis=out_axis)
    bias = importer.optional(node, 6)
    if bias is not None:
        steps = source.quantisation.scale * weights.scale.reshape(-1).astype(np.float64)
        bias = bias.astype(np.float64) * steps * alpha
    real = multiply(node, source, weights, bias, out_axis, alpha)
    return importer.quantise(node, real, importer.quantisation(node, 7, 8))


def _add(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Codes:
    reals: list[Real] = []
    constants: list[NDArray[np.float64]] = []
    for first in (0, 3):
        if importer.is_constant(node.input[first]):
            constants.append(importer.packed_weights(node, first, first + 1, first + 2).real)
        else:
            reals.append(importer.real_of(importer.codes_as(node, first, first + 1, first + 2)))
    real = add_reals(importer, node, reals, constants)
    return importer.quantise(node, real, importer.quantisation(node, 6, 7))


def _pool(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Any:
    if found.get("channels_last", 0):
        raise UserError(f"{label(node)}: channels_last must be 0, not 1")
    importer.codes_as(node, 0, 1, 2)
    real = OPERATORS[node.op_type.removeprefix("QLinear")](importer, node, found)
    return importer.quantise(node, real, importer.quantisation(node, 3, 4))


def _concat(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Codes:
    reals = tuple(
        importer.real_of(importer.codes_as(node, first, first + 1, first + 2))
        for first in range(2, len(node.input), 3)
    )
    return importer.quantise(node, join(node, found, reals), importer.quantisation(node, 0, 1))


def _softmax(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Dropped:
    codes = importer.codes_as(node, 0, 1, 2)
    return Dropped(importer.real_of(codes), node.op_type, label(node))


#: Handlers by operator.
QUANTISED: dict[str, Callable[[Importer, NodeProto, dict[str, Any]], Any]] = {
    "DequantizeLinear": _dequantise,
    "QGemm": _gemm,
    "QLinearAdd": _add,
    "QLinearAveragePool": _pool,
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _pool,
    "QLinearMatMul": _matmul,
    "QLinearSoftmax": _softmax,
    "QuantizeLinear": _quantise,
}
