"""Reading an ONNX file, and refusing by name what is not a usable model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from golden.errors import FormatError, UserError

__all__ = [
    "MINIMUM_OPSET",
    "QUANTISED_OPERATORS",
    "check_model",
    "fix_input_shape",
    "is_quantised",
    "layer_name",
    "load_model",
    "model_input",
]

#: Oldest operator set that is read.
MINIMUM_OPSET = 9

#: Operators that show that a model is quantised already.
QUANTISED_OPERATORS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QLinearConcat",
        "ConvInteger",
        "MatMulInteger",
    }
)

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def load_model(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None
) -> ModelProto:
    """Read a model, its external data too, and check it.

    Parameters
    ----------
    path : path
        An ONNX file.
    input_shape : tuple of int, axes n, c, y, x (or n, c), optional
        Shape to fix where the model leaves its input's shape open.

    Raises
    ------
    FormatError
        The file is not ONNX, is cut short, lacks its external data, or breaks ONNX's rules.
    UserError
        What ``check_model`` and ``fix_input_shape`` refuse.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Model {path} can't be read: {error.strerror}") from None
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        raise FormatError(f"Model {path} must be ONNX: it is something else or cut short") from None
    del data
    if not model.graph.node or not model.opset_import:
        raise FormatError(
            f"Model {path} must be ONNX with nodes and an operator set: "
            f"it is something else or cut short"
        )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"Model {path} lacks its external data: {reason}") from None
    check_model(model, str(path))
    fix_input_shape(model, input_shape)
    return model


def check_model(model: ModelProto, where: str = "model") -> None:
    """Raise where a model breaks ONNX's rules, is too old, or holds a weight not finite."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version < MINIMUM_OPSET:
            raise UserError(
                f"Model {where}: operator set must be {MINIMUM_OPSET} or later, "
                f"not {entry.version!r}"
            )
    try:
        onnx.checker.check_model(model)
    except ValueError as error:  # a message too large for the checker, 2 GB
        raise UserError(f"Model {where} must be smaller than 2 GB: {error}") from None
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"Model {where} breaks ONNX's rules: {reason}") from None
    bounds = _bounds(model)
    for tensor in _constants(model):
        if tensor.data_type in _FLOATS and tensor.name not in bounds:
            try:
                values = numpy_helper.to_array(tensor)
            except ValueError as error:
                raise FormatError(f"Model {where}: weight {tensor.name}: {error}") from None
            if bad := int(np.size(values) - np.isfinite(values.astype(np.float64)).sum()):
                raise UserError(
                    f"Model {where}: weight {tensor.name} must be finite, "
                    f"but {bad} of its {values.size} values are NaN or infinite"
                )


def _bounds(model: ModelProto) -> set[str]:
    """Names of constants that may well be infinite: bounds of clips, values of borders."""
    return {
        name for node in model.graph.node if node.op_type in ("Clip", "Pad") for name in node.input
    }


def _constants(model: ModelProto) -> list[TensorProto]:
    attributes = (
        attribute
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
    )
    return [*model.graph.initializer, *(item.t for item in attributes if item.HasField("t"))]


def model_input(model: ModelProto) -> ValueInfoProto:
    """Return the one input that is not a weight; UserError where there is another number."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs) or "none"
        raise UserError(f"Model must have one input, not {len(inputs)} ({names})")
    return inputs[0]


def fix_input_shape(model: ModelProto, input_shape: tuple[int, ...] | None = None) -> None:
    """Set an open batch to 1, and other open sizes as given, in place.

    Raises
    ------
    UserError
        A size is open and not given, contradicts the model, or the batch is not 1.
    """
    item = model_input(model)
    if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
        raise UserError(f"Model input {item.name} must be a tensor with a stated rank")
    dims = item.type.tensor_type.shape.dim
    if len(dims) not in (2, 4):
        raise UserError(
            f"Model input {item.name} must have axes n, c, y, x or n, c, not {len(dims)} axes"
        )
    if input_shape is not None and len(input_shape) != len(dims):
        raise UserError(
            f"Input shape must have {len(dims)} sizes as {item.name} has, not {input_shape!r}"
        )
    letters = "ncyx"
    for axis, dim in enumerate(dims):
        given = input_shape[axis] if input_shape is not None else None
        stated = dim.dim_value if dim.HasField("dim_value") else None
        if stated is not None and stated < 1:
            stated = None  # some exporters write 0 or -1 for an open size
        size = stated if stated is not None else given
        if size is None and axis == 0:
            size = 1
        if size is None:
            called = f" ({dim.dim_param})" if dim.dim_param else ""
            raise UserError(
                f"Model input {item.name}: axis {letters[axis]}{called} must have a size, "
                f"but the model leaves it open: give an input shape"
            )
        if (given is not None and given != size) or size < 1:
            raise UserError(
                f"Input shape must agree with input {item.name}, which has {size} on axis "
                f"{letters[axis]}, not {given!r}"
            )
        if axis == 0 and size != 1:
            raise UserError(f"Model input {item.name} must have batch 1 or open, not {size!r}")
        if stated is None:
            # Shapes inferred for the open size no longer hold.
            del model.graph.value_info[:]
            for output in model.graph.output:
                output.type.tensor_type.ClearField("shape")
        dim.Clear()
        dim.dim_value = size


def is_quantised(model: ModelProto) -> bool:
    """Whether a model comes with quantised operators (QDQ or QOperator format)."""
    return any(node.op_type in QUANTISED_OPERATORS for node in model.graph.node)


def layer_name(node: NodeProto) -> str:
    """Name a layer as its author would: after its weights, its node or its output."""
    for name in node.input[1:]:
        stem = name.removesuffix("_quantized")
        if stem.endswith(".weight") and len(stem) > len(".weight"):
            return stem.removesuffix(".weight")
    name = node.name.strip("/").removesuffix("_quant").removesuffix("/MatMulAddFusion")
    for kind in ("Conv", "Gemm", "MatMul"):
        name = name.removesuffix(f"/{kind}")
    return name or node.output[0]


def weights_of(model: ModelProto) -> dict[str, NDArray]:
    """Return the initialisers by name, as arrays."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
