"""Old and unusual models brought to a form that is read here: IR 3, old operators, float16."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from golden.errors import UserError
from golden.foreign import foreign

__all__ = ["MINIMUM_OPSET", "modernise", "operator_set", "to_operator_set"]

#: Oldest operator set that is read as it is; older ones are converted to ``CONVERTED_OPSET``.
MINIMUM_OPSET = 9
CONVERTED_OPSET = 13

#: IR version from which initialisers need not be inputs.
_IR_VERSION = 4

#: Elements of a weight that is written out.
_SPARSE_ELEMENTS_MAX = 1 << 28

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def operator_set(model: ModelProto) -> int:
    """Return the version of ONNX's own operator set, 0 where a model names none."""
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    return versions[0] if versions else 0


def modernise(model: ModelProto, where: str = "model") -> ModelProto:
    """Return a model whose weights are no inputs, whose operators are known, and floats 32 bits.

    Raises
    ------
    UserError
        ONNX's converter can't bring the operator set to a newer one.
    """
    newest = onnx.defs.onnx_opset_version()
    if operator_set(model) > newest:
        raise UserError(
            f"Model {where} must be of operator set {newest} at most, not {operator_set(model)}"
        )
    if operator_set(model) and operator_set(model) < MINIMUM_OPSET:
        model = to_operator_set(model, CONVERTED_OPSET, where)
    _fill(model, where)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    if len(inputs) != len(model.graph.input) and inputs:
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    _name_nodes(model)
    _widen(model)
    return model


def _fill(model: ModelProto, where: str) -> None:
    """Write sparse weights out with their zeros, in place: they are pruned and coded here anew."""
    for sparse in model.graph.sparse_initializer:
        name, shape = sparse.values.name, tuple(sparse.dims)
        with foreign(f"Model {where}: sparse weight {name} can't be read"):
            places = numpy_helper.to_array(sparse.indices)
            values = numpy_helper.to_array(sparse.values)
            if math.prod(shape) > _SPARSE_ELEMENTS_MAX or min(shape, default=0) < 1:
                raise UserError(
                    f"Model {where}: sparse weight {name} must have 1 to "
                    f"{_SPARSE_ELEMENTS_MAX:,} elements, not shape {shape}"
                )
            flat = np.zeros(math.prod(shape), values.dtype)
            flat[places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), shape)] = (
                values
            )
        model.graph.initializer.append(numpy_helper.from_array(flat.reshape(shape), name))
    del model.graph.sparse_initializer[:]


def to_operator_set(model: ModelProto, version: int, where: str = "model") -> ModelProto:
    """Convert a model by ONNX's own converter."""
    old = operator_set(model)
    with foreign(
        f"Model {where} of operator set {old} can't be converted to {version} (export it with "
        f"a newer one)",
        UserError,
    ):
        return onnx.version_converter.convert_version(model, version)


def _name_nodes(model: ModelProto) -> None:
    """Give nodes that share a name one of their own, in place; ONNX Runtime asks for it."""
    taken: set[str] = set()
    for node in model.graph.node:
        name, count = node.name, 1
        while node.name and node.name in taken:
            count += 1
            node.name = f"{name}_{count}"
        taken.add(node.name)


def _widen(model: ModelProto) -> None:
    """Make float32 of float16 and bfloat16, in place: nothing here computes in them."""
    graph = model.graph
    items = [*graph.input, *graph.output, *graph.value_info]
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _HALVES:
                attribute.i = TensorProto.FLOAT
    for item in items:
        if item.type.tensor_type.elem_type in _HALVES:
            item.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in tensors:
        if tensor.data_type in _HALVES:
            values = numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(
                helper.make_tensor(
                    tensor.name, TensorProto.FLOAT, tensor.dims, values.tobytes(), raw=True
                )
            )
