"""Multiply-accumulates of nodes that stay on the host."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import NodeProto

from sw.onnx.graph.nodes import attributes

__all__ = ["host_macs"]


def host_macs(node: NodeProto, inputs: Sequence[tuple[int, ...]], output: tuple[int, ...]) -> int:
    """Return the dense multiply-accumulates of a node, 0 where it is no product.

    Parameters
    ----------
    inputs : sequence of tuple of int
        Shapes of its operands that are given.
    output : tuple of int
        Shape of its first result.
    """
    kind = node.op_type
    if kind in ("QLinearConv", "QLinearMatMul", "QGemm"):
        inputs = [inputs[0], inputs[3]]
    if kind in ("Conv", "ConvInteger", "QLinearConv"):
        return math.prod(output) * math.prod(inputs[1][1:])
    if kind == "ConvTranspose":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if kind in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return math.prod(output) * inputs[0][-1]
    if kind in ("Gemm", "QGemm"):
        depth = inputs[0][0] if attributes(node).get("transA", 0) else inputs[0][-1]
        return math.prod(output) * depth
    if kind in ("LSTM", "GRU", "RNN"):
        steps = math.prod(inputs[0][:2])
        return steps * (math.prod(inputs[1]) + math.prod(inputs[2]))
    return 0
