"""A float ONNX model made ready for pruning and quantisation: folded, and nothing superfluous."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from golden.errors import FormatError, one_line
from sw.onnx.convert import modernise, operator_set, to_operator_set
from sw.onnx.file import check_model, fix_shapes, weights_of
from sw.onnx.graph.nodes import attributes, label, layer_name
from sw.onnx.runtime import optimise
from sw.onnx.shapes import check_sizes, infer_shapes

__all__ = ["layer_weights", "prepare"]

#: Operator set that per-channel quantisation needs; older models are converted to it.
_WANTED_OPSET = 13

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_AFFINE = ("BatchNormalization", "Add", "Sub", "Mul", "Div")


def prepare(model: ModelProto, input_shape: tuple[int, ...] | None = None) -> ModelProto:
    """Fold and simplify a float model; the input is left as it is.

    Batch norms and other constant scalings go into the layer before, constants are
    computed, dropouts and identities removed (ONNX Runtime's basic optimisations); what
    scaling remains becomes a depthwise 1 x 1 convolution. Layers are named as reports will
    call them.

    Raises
    ------
    FormatError, UserError
        What ``sw.onnx.file`` refuses; a batch norm that is in training; a model that ONNX
        Runtime can't load.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    copy = modernise(copy)
    fix_shapes(copy, input_shape)
    check_sizes(copy)
    for node in copy.graph.node:
        if node.op_type == "BatchNormalization" and attributes(node).get("training_mode", 0):
            raise FormatError(f"{label(node)}: training_mode must be 0, not 1")
    if operator_set(copy) < _WANTED_OPSET:
        copy = to_operator_set(copy, _WANTED_OPSET)
    _name_layers(copy)
    copy = optimise(copy)
    _fold_affine(copy)
    _drop_unread(copy)
    infer_shapes(copy)
    check_model(copy, "after folding")
    return copy


def _name_layers(model: ModelProto) -> None:
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in _LAYERS:
            name = one_line(layer_name(node), 100)
            taken[name] += 1
            node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def _drop_unread(model: ModelProto) -> None:
    """Remove weights that nothing reads any more."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    read |= {item.name for item in graph.output}
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # subgraphs may read them
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)


# -- scalings that remain ---------------------------------------------------------------------


def _fold_affine(model: ModelProto) -> None:
    """Fold scalings by constants into the layer before, or make depthwise layers of them."""
    infer_shapes(model)
    graph = model.graph
    shapes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in [*graph.value_info, *graph.input, *graph.output]
    }
    for node in list(graph.node):
        if node.op_type not in _AFFINE:
            continue
        weights = weights_of(model)
        operand = next((name for name in node.input if name and name not in weights), None)
        shape = shapes.get(operand or "")
        if operand is None or not shape or len(shape) not in (2, 4):
            continue
        found = _affine(node, operand, weights, shape)
        if found is None:
            continue
        readers = sum(list(other.input).count(operand) for other in graph.node)
        readers += sum(item.name == operand for item in graph.output)
        maker = next((other for other in graph.node if operand in other.output), None)
        if maker is not None and maker.op_type in _LAYERS and readers == 1:
            if _fold_into(model, maker, weights, *found):
                maker.output[0] = node.output[0]
                graph.node.remove(node)
        elif len(shape) == 4 and (node.op_type == "BatchNormalization" or _differs(*found)):
            _make_layer(model, node, operand, *found)


def _differs(scale: NDArray[np.float64], shift: NDArray[np.float64]) -> bool:
    """Whether channels are scaled in different ways; one way is a table of codes."""
    return bool(np.any(scale != scale[0]) or np.any(shift != shift[0]))


def _affine(
    node: NodeProto, operand: str, weights: dict[str, NDArray], shape: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return scale and shift for each channel, or None where the node is something else."""
    if node.op_type == "BatchNormalization":
        if any(name not in weights for name in node.input[1:]):
            return None
        gamma, beta, mean, variance = (weights[name].astype(np.float64) for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        return scale, beta - mean * scale
    other = [name for name in node.input if name != operand]
    if len(other) != 1 or other[0] not in weights:
        return None
    channels = (1, shape[1], *(1,) * (len(shape) - 2))
    try:
        vector = np.broadcast_to(weights[other[0]].astype(np.float64), channels).reshape(-1)
    except ValueError:
        return None
    first = node.input[0] == operand
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if node.op_type == "Add":
        return one, vector
    if node.op_type == "Sub":
        return (one, -vector) if first else (-one, vector)
    if node.op_type == "Mul":
        return vector, zero
    return (1 / vector, zero) if first and np.all(vector) else None


def _fold_into(
    model: ModelProto,
    maker: NodeProto,
    weights: dict[str, NDArray],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> bool:
    """Scale a layer's filters and bias; False where its parameters are not constant."""
    if any(name and name not in weights for name in maker.input[1:]):
        return False
    found = attributes(maker)
    old = weights[maker.input[1]].astype(np.float64)
    out_axis = 0 if maker.op_type == "Conv" or found.get("transB", 0) else old.ndim - 1
    if maker.op_type == "ConvTranspose":
        if found.get("group", 1) > 1:
            return False
        out_axis = 1
    shape = [1] * old.ndim
    shape[out_axis] = scale.size
    if old.shape[out_axis] != scale.size or (maker.op_type == "MatMul" and np.any(shift)):
        return False
    bias = np.zeros(scale.size)
    if len(maker.input) > 2 and maker.input[2]:
        bias = np.broadcast_to(weights[maker.input[2]].astype(np.float64), (1, scale.size))
        bias = bias.reshape(-1) * found.get("beta", 1.0)
    stem = f"{maker.name}.folded"
    maker.input[1] = _store(model, f"{stem}_weight", old * scale.reshape(shape))
    if maker.op_type != "MatMul":
        del maker.input[2:]
        maker.input.append(_store(model, f"{stem}_bias", bias * scale + shift))
        for attribute in [item for item in maker.attribute if item.name == "beta"]:
            maker.attribute.remove(attribute)
    return True


def _make_layer(
    model: ModelProto,
    node: NodeProto,
    operand: str,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> None:
    """Replace a scaling by a depthwise 1 x 1 convolution."""
    name = node.name or node.output[0]
    made = helper.make_node(
        "Conv",
        [
            operand,
            _store(model, f"{name}.scale_weight", scale.reshape(-1, 1, 1, 1)),
            _store(model, f"{name}.scale_bias", shift),
        ],
        [node.output[0]],
        name=name,
        kernel_shape=[1, 1],
        group=scale.size,
    )
    node.CopyFrom(made)


def _store(model: ModelProto, name: str, values: NDArray[np.float64]) -> str:
    taken = {tensor.name for tensor in model.graph.initializer}
    while name in taken:
        name += "_"
    array = np.ascontiguousarray(values, dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def layer_weights(model: ModelProto) -> dict[str, str]:
    """Return the name of each layer's weights, by the layer's name, in the graph's order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: node.input[1]
        for node in model.graph.node
        if node.op_type in _LAYERS and node.input[1] in weights
    }
