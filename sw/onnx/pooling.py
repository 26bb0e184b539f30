"""Sliding windows of ONNX nodes, and the pooling operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import NodeProto, helper

from golden.errors import UserError
from sw.onnx.sources import Average, Largest, Padded, pooled_shape
from sw.onnx.values import Real, View

if TYPE_CHECKING:
    from sw.onnx.importer import Importer

__all__ = ["POOLING", "attributes", "image", "label", "window"]


def label(node: NodeProto) -> str:
    """Name a node in a message: operator and name."""
    return f"{node.op_type} node {node.name or node.output[0]}"


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as plain values."""
    found = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {
        key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()
    }


def image(node: NodeProto, real: Real) -> tuple[int, int, int]:
    """Return y, x, channel of an operand that must have axes n, c, y, x."""
    if not real.view.is_image:
        raise UserError(
            f"{label(node)}: operand {real.name} must have axes n, c, y, x (2-D images), "
            f"not shape {real.view.shape}" + (" rearranged" if len(real.view.shape) == 4 else "")
        )
    return real.view.tensor


def window(
    node: NodeProto, found: dict[str, Any], size: tuple[int, int], kernel: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Return kernel, stride, and pads top, left, bottom, right of a sliding window."""
    if len(kernel) != 2:
        raise UserError(f"{label(node)}: kernel must be 2-D, not of shape {kernel}")
    dilations = tuple(found.get("dilations", (1, 1)))
    if dilations != (1, 1):
        raise UserError(f"{label(node)}: dilations must be 1, not {dilations!r}")
    stride = tuple(found.get("strides", (1, 1)))
    automatic = found.get("auto_pad", "NOTSET")
    pads = tuple(found.get("pads", (0, 0, 0, 0)))
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for length, reach, step in zip(size, kernel, stride, strict=True):
            total = max((-(-length // step) - 1) * step + reach - length, 0)
            less, more = total // 2, total - total // 2
            begin.append(less if automatic == "SAME_UPPER" else more)
            end.append(more if automatic == "SAME_UPPER" else less)
        pads = (*begin, *end)
    elif automatic == "VALID":
        pads = (0, 0, 0, 0)
    if len(pads) != 4 or min(pads) < 0 or len(stride) != 2:
        raise UserError(f"{label(node)}: pads must not be negative and window 2-D, not {pads!r}")
    return (kernel[0], kernel[1]), (stride[0], stride[1]), pads


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


def _max_pool(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    if len(node.output) > 1 and node.output[1]:
        raise UserError(f"{label(node)}: output {node.output[1]} (indices) must not be used")
    height, width, _ = image(node, real)
    kernel, stride, pads = window(node, found, (height, width), tuple(found["kernel_shape"]))
    if found.get("ceil_mode", 0) and found.get("auto_pad", "NOTSET") == "NOTSET":
        pads = _ceiling((height, width), kernel, stride, pads)
    return _largest(node, real, kernel, stride, pads)


def _largest(
    node: NodeProto,
    real: Real,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Real:
    shape = pooled_shape(real.view.tensor, kernel, stride, pads)
    return Real(node.output[0], Largest(real, kernel, stride, pads), View.image(shape))


def _average_pool(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    height, width, _ = image(node, real)
    kernel, stride, pads = window(node, found, (height, width), tuple(found["kernel_shape"]))
    include = bool(found.get("count_include_pad", 0))
    if found.get("ceil_mode", 0) and found.get("auto_pad", "NOTSET") == "NOTSET":
        longer = _ceiling((height, width), kernel, stride, pads)
        if include and (longer[2] > pads[2] or longer[3] > pads[3]):
            # What rounding up adds is never counted, what the model pads is: write that down.
            border = Padded(real, pads, 0.0)
            shape = (height + pads[0] + pads[2], width + pads[1] + pads[3], real.view.tensor[2])
            real = Real(f"{real.name}_padded", border, View.image(shape))
            extra = (max(longer[2] - pads[2], 0), max(longer[3] - pads[3], 0))
            include, longer = False, (0, 0, *extra)
        pads = longer
    return _average(importer, node, real, kernel, stride, pads, include)


def _average(
    importer: Importer,
    node: NodeProto,
    real: Real,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    include: bool,
) -> Real:
    part = importer.writer.exact(real, label(node)).tensor
    shape = pooled_shape(part.shape, kernel, stride, pads)
    source = Average(part, kernel, stride, pads, include)
    return Real(node.output[0], source, View.image(shape))


def _global_average(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    height, width, _ = image(node, real)
    return _average(importer, node, real, (height, width), (1, 1), (0, 0, 0, 0), False)


def _global_max(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    real = importer.real(node, 0)
    height, width, _ = image(node, real)
    return _largest(node, real, (height, width), (1, 1), (0, 0, 0, 0))


def _reduce_mean(importer: Importer, node: NodeProto, found: dict[str, Any]) -> Real:
    axes = importer.integers(node, 1)
    if axes is None:
        axes = list(found.get("axes", []))
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise UserError(f"{label(node)}: axes must be those of the image (2, 3), not {axes!r}")
    mean = _global_average(importer, node, found)
    return mean if found.get("keepdims", 1) else mean.seen(mean.name, View.vector(mean.view.tensor))


#: Handlers by operator.
POOLING = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
}
