"""Operators on elements: functions of one tensor, which become tables, sums, products, clips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.errors import UserError
from sw.onnx.graph.nodes import NotOnMachine, label
from sw.onnx.graph.protocol import Graph, Handler
from sw.onnx.graph.sources import Accumulation, Function, Multiplied, Sum
from sw.onnx.graph.values import Real, View
from sw.onnx.operators.layers import add_constant
from sw.onnx.runtime import run_node

__all__ = ["ELEMENTWISE", "FUNCTIONS", "add_reals", "multiply_reals"]

#: Operators whose result has at each element a function of the operands' elements there.
FUNCTIONS = frozenset(
    """
    Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Div Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish LeakyRelu Log Max Min Mish Mod Mul Neg PRelu Pow QuickGelu Reciprocal
    Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Swish Tan Tanh
    ThresholdedRelu
    """.split()
)


def _values(graph: Graph, node: NodeProto, real: Real) -> tuple[Any, NDArray[np.float32]]:
    """Return the tensor of codes that a real is a function of, and its value at each code."""
    source = real.source
    if isinstance(source, Function):
        part, values = source.part, source.values
    else:
        codes = graph.exact(Real(real.name, source, real.view), node)
        part, values = codes.tensor, codes.quantisation.values[None]
    return part, np.clip(values, np.float32(real.low), np.float32(real.high))


def _function(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    """Tabulate a node whose operands are functions of one tensor and constants."""
    feeds: dict[str, NDArray[np.float32]] = {}
    part, first = None, None
    for index, name in enumerate(node.input):
        if not name or graph.is_constant(name):
            continue
        real = graph.real(node, index)
        mine, values = _values(graph, node, real)
        if first is None:
            part, first = mine, real
        elif part is not mine or not real.view.matches(first.view):
            raise NotOnMachine(node, "operands must be functions of one tensor")
        feeds[name] = values
    if first is None or part is None:
        raise NotOnMachine(node, "operands must not all be constants")
    for index, name in enumerate(node.input):
        if name and name not in feeds:
            constant = graph.constant(node, index)
            assert constant is not None
            vector = None if constant.ndim else constant.reshape(1)
            if vector is None:
                vector = first.view.channel_vector(constant)
            if vector is None:
                raise NotOnMachine(node, "constants must be one value, or one a channel")
            vector = vector[:1] if np.all(vector == vector[:1]) else vector
            feeds[name] = vector.astype(np.float32).reshape(-1, 1)
    words = f"{label(node)} can't be tabulated"
    with np.errstate(all="ignore"):
        (result,) = run_node(node, feeds, graph.opsets, words)
    return Real(node.output[0], Function(part, result), first.view)


def add_reals(
    graph: Graph,
    node: NodeProto,
    reals: list[Real],
    constants: list[NDArray[np.float64]],
    signs: tuple[int, ...] | None = None,
) -> Real:
    """Add tensors, or constants to one tensor."""
    if constants and len(reals) == 1:
        return add_constant(graph, node, reals[0], np.asarray(sum(constants)))
    if constants:
        raise NotOnMachine(node, "operands must be one constant and one tensor, or tensors")
    try:
        shape = np.broadcast_shapes(*(real.view.shape for real in reals))
    except ValueError:
        raise UserError(f"{label(node)}: operands must have shapes that fit one another") from None
    first = next((real for real in reals if real.view.shape == shape), None)
    if first is None:
        raise NotOnMachine(node, "one operand must have the result's shape")
    if not first.view.is_whole:
        first = _rearranged(graph, first, first.view)
    parts = []
    for real in reals:
        real = real if real.view.shape == first.view.shape else _spread(real, shape)
        if not real.view.matches(first.view):
            real = _rearranged(graph, real, first.view)
        parts.append(graph.exact(real, node).tensor)
    how = signs or (1,) * len(parts)
    return Real(node.output[0], Sum(tuple(parts), how), first.view)


def _spread(real: Real, shape: tuple[int, ...]) -> Real:
    """Repeat a real to a larger shape, as ONNX broadcasts it."""
    order = np.broadcast_to(real.view.elements, shape)
    return real.seen(real.name, View(real.view.tensor, shape, order))


def _rearranged(graph: Graph, real: Real, view: View) -> Real:
    """Move a real's elements so that it has another's view of a tensor of that one's shape."""
    if not view.is_whole:
        view = View.flat(view.shape)
    index = np.empty(math.prod(view.tensor), dtype=np.int64)
    index[view.elements.reshape(-1)] = real.view.elements.reshape(-1)
    return graph.moved(real, index.reshape(view.tensor), view)


def _add(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    signs = (1, -1) if node.op_type == "Sub" else (1,) * len(node.input)
    reals, constants, of_reals = [], [], []
    for index, name in enumerate(node.input):
        if graph.is_constant(name):
            constant = graph.constant(node, index)
            assert constant is not None
            constants.append(constant * signs[index])
        else:
            reals.append(graph.real(node, index))
            of_reals.append(signs[index])
    sources = {id(real.source) for real in reals}
    is_function = len(sources) == 1 and (len(reals) > 1 or constants)
    if is_function and not isinstance(reals[0].source, Accumulation):
        try:
            return _function(graph, node, found)
        except NotOnMachine:
            if isinstance(reals[0].source, Function):
                raise
    if constants and of_reals == [-1]:
        raise NotOnMachine(node, "a tensor subtracted from a constant must be in codes")
    return add_reals(graph, node, reals, constants, tuple(of_reals))


def _multiply(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    """Multiply by a function of the same tensor, or by another tensor."""
    try:
        return _function(graph, node, found)
    except NotOnMachine:
        if any(graph.is_constant(name) for name in node.input):
            raise
    return multiply_reals(graph, node, graph.real(node, 0), graph.real(node, 1))


def multiply_reals(graph: Graph, node: NodeProto, first: Real, second: Real) -> Real:
    """Multiply two tensors; one of them may have one pixel, which scales channels."""
    if math.prod(first.view.shape) < math.prod(second.view.shape):
        first, second = second, first
    shape = first.view.shape
    if np.broadcast_shapes(shape, second.view.shape) != shape:
        raise NotOnMachine(node, "one operand must have the result's shape")
    if not first.view.is_whole:
        first = _rearranged(graph, first, first.view)
    scales_channels = first.view.is_image and second.view.shape == (1, shape[1], 1, 1)
    if scales_channels:
        if second.view.tensor != (1, 1, shape[1]) or not second.view.is_whole:
            second = graph.image(node, second)
    else:
        if second.view.shape != shape:
            second = _spread(second, shape)
        if not second.view.matches(first.view):
            second = _rearranged(graph, second, first.view)
    parts = [graph.exact(real, node).tensor for real in (first, second)]
    return Real(node.output[0], Multiplied(*parts), first.view)


def _relu(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    return graph.real(node, 0).clip(node.output[0], 0.0, math.inf)


def _clip(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    bounds = []
    for index, key, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        value = graph.constant(node, index)
        bounds.append(
            float(found.get(key, default)) if value is None else float(value.reshape(-1)[0])
        )
    if any(math.isnan(bound) for bound in bounds):
        raise UserError(f"{label(node)}: bounds must be numbers, not NaN")
    # With min above max ONNX gives max everywhere.
    return graph.real(node, 0).clip(node.output[0], min(bounds), bounds[1])


#: Handlers by operator.
ELEMENTWISE: dict[str, Handler] = {
    **dict.fromkeys(FUNCTIONS, _function),
    "Add": _add,
    "Clip": _clip,
    "Mul": _multiply,
    "Relu": _relu,
    "Sub": _add,
    "Sum": _add,
}
