"""Nodes that are left to ONNX Runtime, and what they read."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from golden.errors import UserError
from golden.network import TensorInfo
from sw.onnx.graph.host import HostGraph, OnHost
from sw.onnx.graph.macs import host_macs
from sw.onnx.graph.nodes import captured_names, label
from sw.onnx.graph.operands import HostCodes, Operands, lay_out
from sw.onnx.graph.values import (
    Codes,
    HostTensor,
    HostValue,
    Quantisation,
    RawInput,
    Real,
    Weights,
)

__all__ = ["Hosting"]


class Hosting(Operands):
    """Adds to operands the making of host nodes.

    Attributes
    ----------
    makers : dict of str to NodeProto
        The node that makes a tensor, by the tensor's name.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__(model)
        self.makers = {name: node for node in model.graph.node for name in node.output if name}

    def host_output(self, node: NodeProto, output: str, reason: str) -> Any:
        """Let ONNX Runtime make one result of a node."""
        if output in self.hosted:
            return self.hosted[output]
        graph = HostGraph(self.opsets)
        self._append(graph, node, output, reason)
        try:
            found = graph.probe(node)
        except UserError as error:
            raise UserError(f"{label(node)}: {reason}; nor on the host: {error}") from None
        if not found.is_numbers or (found.is_codes and 0 in found.shape):
            self.hosted[output] = HostValue(
                TensorInfo(name=output, shape=found.shape, dtype=found.dtype), node, output
            )
            return self.hosted[output]
        info = TensorInfo(name=self.writer.name(output), shape=found.shape, dtype=found.dtype)
        shapes = [self._shape_of(name) for name in node.input if name]
        macs = host_macs(node, shapes, info.shape) if output == node.output[0] else 0
        if not info.is_codes:
            self.writer.append(graph.node(info, node.op_type, node.name or output, reason, macs))
        if info.dtype == "float32" and 0 not in info.shape:
            layout = lay_out(info.shape)
            result: Any = Real(output, OnHost(info, layout, self.opsets), layout)
        elif info.is_codes:
            # Whoever reads integers says what they stand for; see codes_as.
            result = HostCodes(info, graph, node, reason, macs)
        else:
            result = HostTensor(info)
        self.hosted[output] = result
        return result

    def _append(self, graph: HostGraph, node: NodeProto, output: str, reason: str) -> str:
        """Append a node, and the reading of what it reads, to a host node's graph."""
        for name in captured_names(node):
            if name in self.values:
                graph.bind(name, self._host_input(graph, node, name, reason))
        inputs = [
            self._host_input(graph, node, name, reason) if name else "" for name in node.input
        ]
        return graph.operator(node, inputs, output)

    def on_host(self, name: str, reason: str) -> Any:
        """Make a tensor on the host that is wanted there as floats; return it as a real."""
        if name not in self.makers:
            raise UserError(f"Input {name} must be quantised once, not in two ways")
        return self.host_output(self.makers[name], name, reason)

    def _host_input(self, graph: HostGraph, node: NodeProto, name: str, reason: str) -> str:
        """Read a tensor in a host node's graph; ``reason`` is why the node is there."""
        value = self.values[name]
        if isinstance(value, np.ndarray):
            return graph.constant(value)
        if isinstance(value, Weights):
            return graph.constant(value.floats)
        if isinstance(value, RawInput):
            value = self.define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, HostCodes):
            value = self.adopt(name, value, Quantisation(1.0, 0, value.info.dtype))
        if isinstance(value, Codes):
            return graph.codes(value.tensor, value.view, value.quantisation.offset)
        if isinstance(value, HostValue):
            return self._append(graph, value.node, value.output, reason)
        if isinstance(value, HostTensor):
            return graph.feed(value.info)
        if not isinstance(value.source, OnHost) and value.grid is None:
            if node.op_type != "QuantizeLinear":
                reason = f"{node.op_type} on the host reads it, not quantised"
            value = self.on_host(name, reason)
        if isinstance(value.source, OnHost):
            return graph.floats(value)
        codes = self.writer.exact(value, label(node))
        return graph.dequantised(codes.tensor, value.view)

    def _shape_of(self, name: str) -> tuple[int, ...]:
        value = self.values[name]
        if isinstance(value, np.ndarray):
            return value.shape
        if isinstance(value, Weights):
            return value.codes.shape
        if isinstance(value, HostTensor):
            return value.info.shape
        return value.view.shape
