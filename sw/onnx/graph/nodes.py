"""Nodes of an ONNX graph: their names in messages, attributes, windows."""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, helper

from golden.errors import UserError

__all__ = [
    "NotOnMachine",
    "attributes",
    "captured_names",
    "is_standard",
    "label",
    "layer_name",
    "window",
]


class NotOnMachine(UserError):
    """A node that neither the machine nor a vector node can do; it runs on the host.

    Parameters
    ----------
    reason : str
        Why, as the network tells it.
    """

    def __init__(self, node: NodeProto, reason: str) -> None:
        super().__init__(f"{label(node)}: {reason}")
        self.reason = reason


def label(node: NodeProto) -> str:
    """Name a node in a message: operator and name."""
    return f"{node.op_type} node {node.name or node.output[0]}"


def is_standard(node: NodeProto) -> bool:
    """Whether a node is of ONNX's own operator set."""
    return node.domain in ("", "ai.onnx")


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as plain values."""
    found = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {
        key: value.decode(errors="replace") if isinstance(value, bytes) else value
        for key, value in found.items()
    }


def layer_name(node: NodeProto) -> str:
    """Name a layer as its author would: after its weights, its node or its output."""
    for name in node.input[1:]:
        stem = name.removesuffix("_quantized")
        if stem.endswith(".weight") and len(stem) > len(".weight"):
            return stem.removesuffix(".weight")
    name = node.name.strip("/").removesuffix("_quant").removesuffix("/MatMulAddFusion")
    for kind in ("ConvTranspose", "Conv", "Gemm", "MatMul"):
        name = name.removesuffix(f"/{kind}")
    return name or node.output[0]


def window(
    node: NodeProto, found: dict[str, Any], size: tuple[int, int], kernel: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Return kernel, stride, dilation, and pads top, left, bottom, right of a sliding window.

    A window of one axis is taken as one of height 1.
    """
    rank = len(kernel)
    if rank not in (1, 2):
        raise NotOnMachine(node, f"a window of {rank} axes has no form on the machine")
    dilation = tuple(found.get("dilations", (1,) * rank))
    stride = tuple(found.get("strides", (1,) * rank))
    pads = tuple(found.get("pads", (0,) * (2 * rank)))
    if len(dilation) != rank or len(stride) != rank or len(pads) != 2 * rank:
        raise UserError(f"{label(node)}: strides, pads and dilations must have {rank} axes")
    if rank == 1:
        kernel, dilation, stride = (1, *kernel), (1, *dilation), (1, *stride)
        pads = (0, pads[0], 0, pads[1])
    automatic = found.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for axis, length in enumerate(size):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            total = max((-(-length // stride[axis]) - 1) * stride[axis] + reach - length, 0)
            less, more = total // 2, total - total // 2
            begin.append(less if automatic == "SAME_UPPER" else more)
            end.append(more if automatic == "SAME_UPPER" else less)
        pads = (*begin, *end)
    elif automatic == "VALID":
        pads = (0, 0, 0, 0)
    if min(pads) < 0:
        raise NotOnMachine(node, "negative pads have no form on the machine")
    if min(*kernel, *stride, *dilation) < 1:
        raise UserError(f"{label(node)}: kernel, strides and dilations must be at least 1")
    top, left, bottom, right = pads
    return (
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (dilation[0], dilation[1]),
        (top, left, bottom, right),
    )


def captured_names(node: NodeProto) -> list[str]:
    """Return the names that a node's subgraphs read from outside."""
    names: dict[str, None] = {}
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for graph in graphs:
            own = {item.name for item in [*graph.input, *graph.initializer]}
            own |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                for name in [*inner.input, *captured_names(inner)]:
                    if name and name not in own:
                        names[name] = None
            for item in graph.output:
                if item.name not in own:
                    names[item.name] = None
    return list(names)
