"""Pooling operators, and means and maxima over axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import NodeProto

from golden.errors import UserError
from sw.onnx.graph.nodes import NotOnMachine, label, window
from sw.onnx.graph.protocol import Graph, Handler
from sw.onnx.graph.sources import Average, Largest, Padded, pooled_shape
from sw.onnx.graph.values import Real, View

__all__ = ["POOLING"]


def _ceiling(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> tuple[int, int, int, int]:
    """Lengthen the pads so that rounding down gives the output of rounding up.

    A last window that would begin beyond input and first pad is left out, as ONNX says.
    """
    ends = []
    for axis in range(2):
        padded = size[axis] + pads[axis] + pads[axis + 2]
        count = -(-(padded - kernel[axis]) // stride[axis]) + 1
        if (count - 1) * stride[axis] >= size[axis] + pads[axis]:
            count -= 1
        reach = (count - 1) * stride[axis] + kernel[axis]
        ends.append(max(reach - size[axis] - pads[axis], 0))
    return pads[0], pads[1], ends[0], ends[1]


def _window(
    graph: Graph, node: NodeProto, found: dict[str, Any]
) -> tuple[Real, tuple[int, int], tuple[int, int], tuple[int, int, int, int], bool]:
    """Return the operand as an image; kernel, stride, pads; whether its axes were n, c, x."""
    real = graph.real(node, 0)
    is_line = len(real.view.shape) == 3
    if is_line:
        batch, channels, width = real.view.shape
        real = real.seen(real.name, real.view.reshape((batch, channels, 1, width)))
    real = graph.image(node, real)
    size = real.view.tensor[:2]
    kernel, stride, dilation, pads = window(node, found, size, tuple(found["kernel_shape"]))
    if dilation != (1, 1):
        raise NotOnMachine(node, "dilated pooling has no form here")
    return real, kernel, stride, pads, is_line


def _as_line(real: Real, is_line: bool) -> Real:
    if not is_line:
        return real
    batch, channels, _, width = real.view.shape
    return real.seen(real.name, real.view.reshape((batch, channels, width)))


def _max_pool(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    if len(node.output) > 1 and node.output[1]:
        raise NotOnMachine(node, f"indices {node.output[1]} have no form on the machine")
    real, kernel, stride, pads, is_line = _window(graph, node, found)
    if found.get("ceil_mode", 0) and found.get("auto_pad", "NOTSET") == "NOTSET":
        pads = _ceiling(real.view.tensor[:2], kernel, stride, pads)
    return _as_line(_largest(node, real, kernel, stride, pads), is_line)


def _largest(
    node: NodeProto,
    real: Real,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Real:
    shape = _pooled(node, real, kernel, stride, pads)
    return Real(node.output[0], Largest(real, kernel, stride, pads), View.image(shape))


def _pooled(node: NodeProto, real: Real, kernel: Any, stride: Any, pads: Any) -> Any:
    shape = pooled_shape(real.view.tensor, kernel, stride, pads)
    if min(shape) < 1:
        raise UserError(f"{label(node)}: kernel must not be larger than its padded input")
    return shape


def _average_pool(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    real, kernel, stride, pads, is_line = _window(graph, node, found)
    height, width, channels = real.view.tensor
    include = bool(found.get("count_include_pad", 0))
    if found.get("ceil_mode", 0) and found.get("auto_pad", "NOTSET") == "NOTSET":
        longer = _ceiling((height, width), kernel, stride, pads)
        if include and (longer[2] > pads[2] or longer[3] > pads[3]):
            # What rounding up adds is never counted, what the model pads is: write that down.
            border = Padded(real, pads, 0.0)
            shape = (height + pads[0] + pads[2], width + pads[1] + pads[3], channels)
            real = Real(f"{real.name}_padded", border, View.image(shape))
            extra = (max(longer[2] - pads[2], 0), max(longer[3] - pads[3], 0))
            include, longer = False, (0, 0, *extra)
        pads = longer
    return _as_line(_average(graph, node, real, kernel, stride, pads, include), is_line)


def _average(
    graph: Graph,
    node: NodeProto,
    real: Real,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    include: bool,
) -> Real:
    shape = _pooled(node, real, kernel, stride, pads)
    part = graph.exact(real, node).tensor
    source = Average(part, kernel, stride, pads, include)
    return Real(node.output[0], source, View.image(shape))


def _reduce(graph: Graph, node: NodeProto, found: dict[str, Any]) -> Real:
    """Pool over whole axes, whichever they are."""
    real = graph.real(node, 0)
    shape = real.view.shape
    kind = node.op_type.removeprefix("QLinear")
    if kind.startswith("Global"):
        axes, keep = list(range(2, len(shape))), 1
    else:
        given = graph.integers(node, 1)
        axes = list(found.get("axes", [])) if given is None else given
        keep = found.get("keepdims", 1)
        if not axes:
            axes = [] if found.get("noop_with_empty_axes", 0) else list(range(len(shape)))
    axes = sorted({axis % len(shape) for axis in axes})
    if not axes:
        return real.seen(node.output[0], real.view)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    if real.view.is_image and axes == [2, 3]:
        image = real
    else:
        # What is kept becomes channels, what is reduced the rows of one column.
        count = math.prod(shape[axis] for axis in axes)
        order = real.view.elements.transpose(*axes, *kept).reshape(count, 1, -1)
        image = graph.moved(real, order, View.image(order.shape))
    kernel, none = image.view.tensor[:2], (0, 0, 0, 0)
    if kind in ("ReduceMax", "GlobalMaxPool"):
        result = _largest(node, image, kernel, (1, 1), none)
    else:
        result = _average(graph, node, image, kernel, (1, 1), none, False)
    sizes = [1 if axis in axes else shape[axis] for axis in range(len(shape)) if
             keep or axis not in axes]  # fmt: skip
    order = np.arange(math.prod(result.view.tensor)).reshape(sizes)
    return result.seen(node.output[0], View(result.view.tensor, tuple(sizes), order))


#: Handlers by operator.
POOLING: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _reduce,
    "GlobalMaxPool": _reduce,
    "MaxPool": _max_pool,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
}
