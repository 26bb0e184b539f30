"""Reading an ONNX file, and refusing by name what is not a usable model."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from golden.errors import FormatError, UserError
from golden.files import read_bytes
from golden.foreign import foreign
from sw.onnx.convert import modernise
from sw.onnx.shapes import check_sizes, fix_shapes, model_inputs
from sw.onnx.tidy import tidy, with_stated_types

__all__ = [
    "QUANTISED_OPERATORS",
    "check_model",
    "fix_shapes",
    "is_quantised",
    "load_model",
    "model_input",
    "model_inputs",
    "picture_input",
    "weights_of",
]

#: Operators that show that a model is quantised already.
QUANTISED_OPERATORS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "QLinearAdd",
        "QLinearMul",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QLinearConcat",
        "ConvInteger",
        "MatMulInteger",
    }
)

#: Magnitude of the largest float weight; sums of larger ones leave float32.
WEIGHT_MAX = 1e30

#: Operators whose weights those are, and all whose constants must be finite; masks, which are
#: added, hold infinite values.
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_FINITE = _LAYERS | QUANTISED_OPERATORS | {"BatchNormalization", "GRU", "LSTM", "PRelu", "RNN"}

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def load_model(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None
) -> ModelProto:
    """Read a model, its external data too, check it, and bring it to a form that is read here.

    Old operator sets are converted, initialisers that are listed as inputs (IR version 3) are
    taken off that list, float16 becomes float32.

    Parameters
    ----------
    path : path
        An ONNX file.
    input_shape : tuple of int, axes n, c, y, x (or n, c), optional
        Shape to fix where the model leaves its (first) input's shape open.

    Raises
    ------
    FormatError
        The file is not ONNX, is cut short, lacks its external data, or breaks ONNX's rules.
    UserError
        What ``sw.onnx.shapes`` and ``sw.onnx.convert`` refuse.
    """
    path = Path(path)
    data = read_bytes(path, f"Model {path}")
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
    with foreign(f"Model {path} lacks its external data"):
        onnx.load_external_data_for_model(model, str(path.parent))
    tidy(model, str(path))
    check_model(model, str(path))
    model = modernise(model, str(path))
    fix_shapes(model, input_shape)
    check_sizes(model, str(path))
    return model


def check_model(model: ModelProto, where: str = "model") -> None:
    """Raise where a model breaks ONNX's rules or holds a weight that is not finite."""
    if not all(isinstance(name, str) for name in _names(model)):
        raise FormatError(f"Model {where} must have names in UTF-8")
    with with_stated_types(model), foreign(f"Model {where} breaks ONNX's rules"):
        onnx.checker.check_model(model)
    _check_types(model, where)
    bounds = _bounds(model)
    multiplied = _read_by(model, _LAYERS)
    finite = _read_by(model, _FINITE)
    for tensor in _constants(model):
        # Without a copy: weights may be hundreds of megabytes.
        with foreign(f"Model {where}: weight {tensor.name} can't be read"):
            values = numpy_helper.to_array(tensor)
        if tensor.data_type in _FLOATS and tensor.name not in bounds:
            if tensor.name in multiplied and not values.size:
                raise UserError(f"Model {where}: weight {tensor.name} must have elements")
            largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
            if tensor.name in multiplied and WEIGHT_MAX < largest < np.inf:
                raise UserError(
                    f"Model {where}: weight {tensor.name} must be within {WEIGHT_MAX:g}, "
                    f"not {largest:g}: sums of it would leave float32"
                )
            if np.isnan(largest) or (largest == np.inf and tensor.name in finite):
                bad = int(values.size - np.isfinite(values).sum())
                raise UserError(
                    f"Model {where}: weight {tensor.name} must be finite, "
                    f"but {bad} of its {values.size} values are NaN or infinite"
                )
    for node in model.graph.node:
        for item in node.attribute:
            values = [*item.floats, item.f]
            if item.name not in ("value", "min", "max") and not np.all(np.isfinite(values)):
                raise UserError(
                    f"Model {where}: {item.name} of {node.op_type} node "
                    f"{node.name or node.output[0]} must be finite"
                )


def _check_types(model: ModelProto, where: str) -> None:
    """Raise where a constant's or an input's elements are of a type that ONNX does not know."""
    kinds = [(tensor.name, tensor.data_type) for tensor in _constants(model)]
    kinds += [(item.name, item.type.tensor_type.elem_type) for item in model.graph.input]
    known = {TensorProto.UNDEFINED, *helper.get_all_tensor_dtypes()}
    for name, kind in kinds:
        if kind not in known:
            raise FormatError(
                f"Model {where}: {name} must be of a type of ONNX's, not number {kind}"
            )


def _names(model: ModelProto) -> Iterator[object]:
    """Yield every name; protobuf gives bytes in place of what is no UTF-8."""
    graph = model.graph
    yield graph.name
    for item in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        yield item.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _bounds(model: ModelProto) -> set[str]:
    """Names of constants that may well be infinite: bounds of clips, values of borders."""
    return _read_by(model, ("Clip", "Max", "Min", "Pad", "Where"))


def _read_by(model: ModelProto, operators: Collection[str]) -> set[str]:
    """Names that nodes of some operators read."""
    return {name for node in model.graph.node if node.op_type in operators for name in node.input}


def _constants(model: ModelProto) -> list[TensorProto]:
    attributes = (
        attribute
        for node in model.graph.node
        if node.op_type == "Constant" and node.output[0] not in _bounds(model)
        for attribute in node.attribute
    )
    return [*model.graph.initializer, *(item.t for item in attributes if item.HasField("t"))]


def model_input(model: ModelProto) -> ValueInfoProto:
    """Return the one input that is not a weight; UserError where there is another number."""
    inputs = model_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs) or "none"
        raise UserError(f"Model must have one input, not {len(inputs)} ({names})")
    return inputs[0]


def picture_input(model: ModelProto) -> tuple[tuple[int, ...], bool]:
    """Return the sizes of an image of the first input, and whether it takes integers."""
    kind = model_inputs(model)[0].type.tensor_type
    sizes = tuple(dim.dim_value for dim in kind.shape.dim)[1:]
    return sizes, kind.elem_type in (TensorProto.UINT8, TensorProto.INT8)


def is_quantised(model: ModelProto) -> bool:
    """Whether a model comes with quantised operators (QDQ or QOperator format)."""
    return any(node.op_type in QUANTISED_OPERATORS for node in model.graph.node)


def weights_of(model: ModelProto) -> dict[str, NDArray]:
    """Return the initialisers by name, as arrays."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
