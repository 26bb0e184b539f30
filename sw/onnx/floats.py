"""A quantised model as floats again, where its codes are none that the machine has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from golden.errors import UserError
from sw.onnx.graph.nodes import label
from sw.onnx.runtime import load_session, run_session

__all__ = ["to_floats"]

#: Products of integers, by the product of floats that each is.
_OF_INTEGERS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


def to_floats(model: ModelProto) -> ModelProto | None:
    """Take quantisation out of a model in QDQ format, or that quantises as it runs.

    Activations are no longer rounded; weights keep the values of their codes, whatever these are
    (4 or 16 bits, blocks with a scale each, 8-bit floats).

    Returns
    -------
    ModelProto or None
        None where an operator reads codes as they are.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy if _Removal(copy).run() else None


class _Removal:
    """Walks a graph, drops its quantisations, and keeps what its tensors are now called."""

    def __init__(self, model: ModelProto) -> None:
        self._model, self._graph = model, model.graph
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {item.name for item in model.graph.output}
        self._same: dict[str, str] = {}
        self._codes: set[str] = set()
        self._kept: list[NodeProto] = []

    def run(self) -> bool:
        for node in self._graph.node:
            if not self._drop(node):
                return False
        if not self._codes or self._codes & self._outputs:
            return False
        del self._graph.value_info[:]
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in self._kept]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        return True

    def _drop(self, node: NodeProto) -> bool:
        """Take in one node; False where it reads codes as they are."""
        operator, reads_codes = node.op_type, bool(self._codes.intersection(node.input))
        node.input[:] = [self._same.get(name, name) for name in node.input]
        is_constant = all(name in self._constants for name in node.input if name)
        if operator == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            self._constants[node.output[0]] = node.attribute[0].t
            self._kept.append(node)
        elif operator == "QuantizeLinear" and not is_constant:
            self._codes.add(node.output[0])
            self._same[node.output[0]] = node.input[0]
        elif operator == "DynamicQuantizeLinear":
            codes, scale, zero = node.output
            self._codes.add(codes)
            self._same[codes] = node.input[0]
            self._store(scale, np.float32(1))
            self._store(zero, np.uint8(0))
        elif operator == "DequantizeLinear":
            if is_constant:
                self._store(node.output[0], self._compute(node))
            elif node.output[0] in self._outputs:
                self._kept.append(helper.make_node("Identity", node.input[:1], node.output))
            else:
                self._same[node.output[0]] = node.input[0]
        elif operator in _OF_INTEGERS and self._is_constant(node.input[1]):
            self._kept.append(self._product(node))
        elif reads_codes or operator.startswith("QLinear") or operator in _OF_INTEGERS:
            return False
        else:
            self._kept.append(node)
        return True

    def _is_constant(self, name: str) -> bool:
        return name in self._constants

    def _product(self, node: NodeProto) -> NodeProto:
        """Return a product of integers as one of floats with the centred weights."""
        weights = numpy_helper.to_array(self._constants[node.input[1]]).astype(np.float32)
        if len(node.input) > 3 and node.input[3]:
            if not self._is_constant(node.input[3]):
                raise UserError(f"{label(node)}: zero point of weights must be a constant")
            zero = numpy_helper.to_array(self._constants[node.input[3]]).astype(np.float32)
            is_filters = node.op_type == "ConvInteger" and zero.size > 1
            weights = weights - (
                zero.reshape(-1, *(1,) * (weights.ndim - 1)) if is_filters else zero
            )
        made = NodeProto.FromString(node.SerializeToString())
        made.op_type = _OF_INTEGERS[node.op_type]
        name = f"{node.output[0]}_weights"
        self._store(name, weights)
        made.input[:] = [node.input[0], name]
        return made

    def _compute(self, node: NodeProto) -> NDArray[np.float32]:
        """Dequantise a constant."""
        graph = helper.make_graph(
            [node],
            "constant",
            [],
            [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)],
            [_named(self._constants[name], name) for name in node.input if name],
        )
        opsets = list(self._model.opset_import)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self._model.ir_version)
        (values,) = run_session(load_session(model), None, {})
        return values

    def _store(self, name: str, values: NDArray[np.float32] | np.generic) -> None:
        tensor = numpy_helper.from_array(np.asarray(values), name)
        self._graph.initializer.append(tensor)
        self._constants[name] = tensor


def _named(tensor: TensorProto, name: str) -> TensorProto:
    """Return a constant under the name by which it is read."""
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy
