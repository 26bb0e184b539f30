"""Small things in a model that no reader needs and some tools leave out, set right in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from golden.errors import FormatError
from sw.onnx.graph.nodes import captured_names

__all__ = ["tidy", "with_stated_types"]


def tidy(model: ModelProto, where: str = "model") -> None:
    """Sort nodes, and leave out what nothing reads or makes.

    Those are hints of shapes without a type, inputs that no node reads, and outputs that are
    inputs or weights, where there are others.

    Raises
    ------
    FormatError
        The model has no output.
    """
    graph = model.graph
    if not graph.output:
        raise FormatError(f"Model {where} must have an output")
    _keep(graph.value_info, [item for item in graph.value_info if item.type.WhichOneof("value")])
    _sort(graph)
    weights = {tensor.name for tensor in graph.initializer}
    given = weights | {item.name for item in graph.input}
    made = [item for item in graph.output if item.name not in given]
    _keep(graph.output, made or list(graph.output))
    read = {name for node in graph.node for name in [*node.input, *captured_names(node)]}
    read |= weights | {item.name for item in graph.output}
    used = [item for item in graph.input if item.name in read]
    if any(item.name not in weights for item in used):
        _keep(graph.input, used)


def _keep(items: Any, kept: list[Any]) -> None:
    if len(kept) != len(items):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del items[:]
        items.extend(copies)


def _sort(graph: GraphProto) -> None:
    """Bring nodes to an order in which each reads what came before; a circle stays."""
    made = {name for node in graph.node for name in node.output if name}
    done: set[str] = set()
    waiting, order = list(graph.node), []
    while waiting:
        late: list[NodeProto] = []
        for node in waiting:
            reads = {*node.input, *captured_names(node)} & made
            if reads <= done:
                done.update(node.output)
                order.append(node)
            else:
                late.append(node)
        if len(late) == len(waiting):
            return
        waiting = late
    if any(one is not other for one, other in zip(order, graph.node, strict=True)):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in order]
        del graph.node[:]
        graph.node.extend(copies)


@contextmanager
def with_stated_types(model: ModelProto) -> Iterator[None]:
    """Give inputs and outputs that state no type or shape some, as long as ONNX's rules are read.

    Many exporters leave them out, and ONNX Runtime finds them by itself.
    """
    untyped: list[ValueInfoProto] = []
    shapeless: list[TypeProto.Tensor] = []
    for item in _stated(model.graph):
        if not item.type.WhichOneof("value"):
            untyped.append(item)
            item.type.tensor_type.elem_type = TensorProto.FLOAT
        if item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape"):
            shapeless.append(item.type.tensor_type)
            item.type.tensor_type.shape.SetInParent()
    try:
        yield
    finally:
        for kind in shapeless:
            kind.ClearField("shape")
        for item in untyped:
            item.ClearField("type")


def _stated(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _stated(inner)
