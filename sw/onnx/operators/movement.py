"""Operators that only move elements: slices, reshapes, shuffles, borders, repeated pixels.

What such an operator does to a tensor, it does to the tensor of its elements' numbers: ONNX
Runtime runs it on these, and the result says where each element comes from.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import NodeProto

from golden.errors import FormatError, UserError
from sw.onnx.graph.nodes import NotOnMachine, label
from sw.onnx.graph.protocol import Graph, Handler
from sw.onnx.graph.sources import Fixed, Joined, Padded
from sw.onnx.graph.values import Real, View
from sw.onnx.runtime import run_node

__all__ = ["MOVEMENT", "MOVES", "join"]

#: Operators that move elements, whatever their attributes.
MOVES = frozenset(
    """
    DepthToSpace Expand Flatten Gather GatherElements Reshape Slice SpaceToDepth Split Squeeze
    Tile Transpose Unsqueeze
    """.split()
)

#: Numbers up to here are exact in float32, the type that every one of the operators takes.
_NUMBERS_MAX = 1 << 24


def _move(graph: Graph, node: NodeProto, found: dict[str, Any]) -> list[Real]:
    """Apply a node to the numbers of its first operand's elements."""
    real = graph.real(node, 0)
    if math.prod(real.view.tensor) > _NUMBERS_MAX:
        raise NotOnMachine(node, "tensors that are moved must have 16,777,216 elements at most")
    feeds = {node.input[0]: real.view.elements.astype(np.float32)}
    for index, name in enumerate(node.input):
        if index and name and name not in feeds:
            feeds[name] = graph.array(node, index)
    copy = NodeProto()
    copy.CopyFrom(node)
    results = run_node(copy, feeds, graph.opsets, f"{label(node)} can't be applied")
    names = [name for name in node.output if name]
    if any(result.size == 0 for result in results):
        raise UserError(f"{label(node)}: result must have at least 1 element")
    orders = dict(zip(names, (result.astype(np.int64) for result in results), strict=True))
    # Views of all outputs, in the order of the node's.
    return [
        real.seen(name, View(real.view.tensor, orders[name].shape, orders[name]))
        for name in node.output
        if name
    ]


def _resize(graph: Graph, node: NodeProto, found: dict[str, Any]) -> list[Real]:
    if found.get("mode", "nearest") != "nearest":
        raise NotOnMachine(node, f"mode {found['mode']} mixes pixels")
    if found.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NotOnMachine(node, "tf_crop_and_resize has no form here")
    return _move(graph, node, found)


def _pad(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real | list[Real]:
    real = graph.real(node, 0)
    rank = len(real.view.shape)
    mode = found.get("mode", "constant")
    if mode != "constant":
        return _move(graph, node, found)
    pads = graph.integers(node, 1)
    pads = list(found.get("pads", [])) if pads is None else pads
    axes = graph.integers(node, 3)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if len(pads) != 2 * len(axes):
        raise UserError(f"{label(node)}: pads must be two an axis, not {len(pads)}")
    begin, end = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        begin[axis], end[axis] = pads[place], pads[place + len(axes)]
    value = graph.constant(node, 2)
    number = float(found.get("value", 0.0)) if value is None else float(value.reshape(-1)[0])
    if rank == 4 and not any(begin[:2] + end[:2]) and min(begin + end) >= 0:
        real = graph.image(node, real)
        height, width, channels = real.view.tensor
        border = (begin[2], begin[3], end[2], end[3])
        shape = (height + begin[2] + end[2], width + begin[3] + end[3], channels)
        return Real(node.output[0], Padded(real, border, number), View.image(shape))
    numbers = real.view.elements
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(
        begin, end, numbers.shape, strict=True))  # fmt: skip
    grown = [(max(a, 0), max(b, 0)) for a, b in zip(begin, end, strict=True)]
    index = np.pad(numbers[cut], grown, constant_values=-1)
    if rank == 4 and index.shape[0] == 1:
        view = View.image((index.shape[2], index.shape[3], index.shape[1]))
        index = index[0].transpose(1, 2, 0)
    else:
        view = View.flat(index.shape)
        index = index.reshape(1, 1, -1)
    return graph.moved(real, index, view, number).seen(node.output[0], view)


def _concat(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    parts: list[Real | np.ndarray] = []
    for index, name in enumerate(node.input):
        if graph.is_constant(name):
            constant = graph.constant(node, index)
            assert constant is not None
            parts.append(constant)
        else:
            parts.append(graph.real(node, index))
    return join(graph, node, found, parts)


def join(
    graph: Graph, node: NodeProto, found: dict[str, Any], parts: list[Real | np.ndarray]
) -> Real:
    """Concatenate reals and constants along an axis."""
    parts = [part for part in parts if isinstance(part, Real) or part.size]
    shapes = [part.view.shape if isinstance(part, Real) else part.shape for part in parts]
    rank = len(shapes[0])
    axis = found["axis"] % max(rank, 1)
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) != 1 or {len(shape) for shape in shapes} != {rank}:
        raise UserError(f"{label(node)}: operands must have equal sizes on all axes but one")
    is_image = rank == 4 and axis == 1 and shapes[0][0] == 1
    is_vector = rank == 2 and axis == 1 and shapes[0][0] == 1
    reals, orders, begun = [], [], 0
    for part, shape in zip(parts, shapes, strict=True):
        if not isinstance(part, Real):
            part = _fixed(node, part, is_image)
        if is_image:
            part = graph.image(node, part)
        elif part.view.tensor[:2] != (1, 1) or not part.view.matches(View.flat(shape)):
            part = graph.moved(part, part.view.elements.reshape(1, 1, -1), View.flat(shape))
        reals.append(part)
        orders.append(np.arange(math.prod(shape)).reshape(shape) + begun)
        begun += math.prod(shape)
    if len(reals) == 1:
        return reals[0].seen(node.output[0], reals[0].view)
    height, width, _ = reals[0].view.tensor
    shape = (height, width, sum(real.view.tensor[2] for real in reals))
    if is_image:
        view = View.image(shape)
    elif is_vector:
        view = View.vector(shape)
    else:
        order = np.concatenate(orders, axis=axis)
        view = View(shape, order.shape, order)
    return Real(node.output[0], Joined(tuple(reals)), view)


def _fixed(node: NodeProto, values: np.ndarray, is_image: bool) -> Real:
    if not np.all(np.isfinite(values)):
        raise UserError(f"{label(node)}: constants must be finite")
    if is_image:
        pixels = np.ascontiguousarray(values[0].transpose(1, 2, 0))
        return Real(f"{node.output[0]}_constant", Fixed(pixels), View.image(pixels.shape))
    flat = values.reshape(1, 1, -1)
    return Real(f"{node.output[0]}_constant", Fixed(flat), View.flat(values.shape))


def _identity(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    real = graph.real(node, 0)
    training = graph.optional(node, 2) if len(node.input) > 2 else None
    ratio = graph.optional(node, 1) if training is not None else None
    drops = ratio is None or bool(np.any(ratio))  # half of them, where nothing else is said
    if training is not None and np.any(training) and drops:
        raise FormatError(f"{label(node)}: training_mode must be false")
    if len(node.output) > 1 and node.output[1]:
        raise NotOnMachine(node, f"output {node.output[1]} has no form on the machine")
    return real.seen(node.output[0], real.view)


#: Handlers by operator.
MOVEMENT: dict[str, Handler] = {
    **dict.fromkeys(MOVES, _move),
    "Concat": _concat,
    "Dropout": _identity,
    "Identity": _identity,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
