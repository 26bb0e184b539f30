"""A float ONNX model made ready for pruning and quantisation: folded, and nothing superfluous."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from golden.errors import FormatError, UserError
from sw.onnx.file import check_model, fix_input_shape, layer_name, model_input, weights_of
from sw.onnx.operators import FINAL_OPERATORS, OPERATORS, not_supported
from sw.onnx.pooling import attributes, label

__all__ = ["layer_weights", "prepare", "quiet"]

#: Operator set that per-channel quantisation needs; older models are converted to it.
_WANTED_OPSET = 13

_LAYERS = ("Conv", "Gemm", "MatMul")
_AFFINE = ("BatchNormalization", "Add", "Sub", "Mul", "Div")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ONNX Runtime's hints to developers from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(before)


def prepare(model: ModelProto, input_shape: tuple[int, ...] | None = None) -> ModelProto:
    """Fold and simplify a float model; the input is left as it is.

    Batch norms and other constant scalings go into the layer before, constants are
    computed, dropouts and identities removed (ONNX Runtime's basic optimisations); what
    scaling remains becomes a depthwise 1 x 1 convolution. A final softmax is dropped, which
    the metadata key ``dropped`` says. Layers are named as reports will call them.

    Raises
    ------
    FormatError, UserError
        What ``sw.onnx.file`` refuses; a batch norm that is in training; a model that ONNX
        Runtime can't load.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    fix_input_shape(copy, input_shape)
    _check_operators(copy)
    version = next(item.version for item in copy.opset_import if item.domain in ("", "ai.onnx"))
    if version < _WANTED_OPSET:
        copy = _convert(copy)
    dropped = _drop_final(copy)
    _name_layers(copy)
    copy = _optimise(copy)
    _fold_affine(copy)
    if dropped:
        helper.set_model_props(copy, {"dropped": dropped})
    copy = onnx.shape_inference.infer_shapes(copy)
    check_model(copy, "after folding")
    return copy


def _check_operators(model: ModelProto) -> None:
    """Refuse operators while the nodes still have their author's names."""
    variable = {model_input(model).name}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and attributes(node).get("training_mode", 0):
            raise UserError(f"{label(node)}: training_mode must be 0, not 1")
        if variable.isdisjoint(node.input) or node.op_type == "Shape":
            continue
        if node.op_type not in OPERATORS and node.op_type not in _AFFINE:
            raise UserError(not_supported(node))
        variable.update(node.output)


def _convert(model: ModelProto) -> ModelProto:
    try:
        return onnx.version_converter.convert_version(model, _WANTED_OPSET)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"Model can't be brought to operator set {_WANTED_OPSET}: {reason}"
        ) from None


def _drop_final(model: ModelProto) -> str:
    """Remove a softmax that makes the graph's output; return what was removed."""
    graph = model.graph
    outputs = {item.name: item for item in graph.output}
    read = {name for node in graph.node for name in node.input}
    for node in graph.node:
        ends = node.output[0] in outputs and node.output[0] not in read
        if node.op_type in FINAL_OPERATORS and ends:
            outputs[node.output[0]].name = node.input[0]
            graph.node.remove(node)
            return node.op_type
    return ""


def _name_layers(model: ModelProto) -> None:
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in _LAYERS:
            name = layer_name(node)
            taken[name] += 1
            node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def _optimise(model: ModelProto) -> ModelProto:
    """Run ONNX Runtime's basic optimisations, which stay within ONNX's own operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions share no base but Exception.
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise FormatError(f"Model can't be loaded by ONNX Runtime: {reason}") from None
        return onnx.load(path)


# -- scalings that remain ---------------------------------------------------------------------


def _fold_affine(model: ModelProto) -> None:
    """Fold scalings by constants into the layer before, or make depthwise layers of them."""
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))
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
        elif node.op_type != "Add" or len(shape) == 4:
            _make_layer(model, node, operand, len(shape), *found)


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
    rank: int,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> None:
    """Replace a scaling by a depthwise 1 x 1 convolution; vectors become images on the way."""
    name = node.name or node.output[0]
    if rank == 2:
        raise UserError(
            f"{label(node)}: a scaling of a vector must follow a Conv or Gemm to be folded"
        )
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
