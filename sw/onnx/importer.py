"""From a quantised ONNX model to a ``Network``, operator by operator.

Taken: QDQ and QOperator formats, axes n, c, y, x, batch 1. Refused by name: every other
operator, and what the machine has no form for (dilation, 1-D and 3-D windows, weights not
constant). The operators are the keys of ``sw.onnx.operators.OPERATORS`` and
``sw.onnx.quantised.QUANTISED``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from golden.errors import UserError
from golden.network import Network, Node
from sw.onnx.file import fix_input_shape, load_model, model_input
from sw.onnx.operators import FINAL_OPERATORS, OPERATORS, not_supported
from sw.onnx.pooling import attributes, label
from sw.onnx.quantised import QUANTISED
from sw.onnx.sources import Dequantised, GraphInput
from sw.onnx.values import Codes, Dropped, Quantisation, RawInput, Real, View, Weights
from sw.onnx.writer import Writer

__all__ = ["Importer", "OnnxCodes", "import_codes", "import_onnx"]

#: Operators that mean the same on codes as on reals.
_CODE_OPERATORS = frozenset(
    {
        "Clip",
        "Concat",
        "Dropout",
        "Flatten",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


@dataclass(frozen=True)
class OnnxCodes:
    """Which integer tensor of the ONNX model a tensor of the network is.

    Parameters
    ----------
    name : str
        The ONNX tensor's.
    offset : int
        Network code minus ONNX code.
    """

    name: str
    offset: int
    view: View

    def to_network(self, values: NDArray) -> NDArray[np.int8 | np.uint8]:
        """Turn the ONNX tensor's value into the network's codes, axes y, x, channel."""
        codes = np.empty(values.size, dtype=np.int16)
        codes[self.view.elements.reshape(-1)] = values.reshape(-1).astype(np.int16) + self.offset
        dtype = values.dtype if not self.offset else np.int8 if self.offset < 0 else np.uint8
        return codes.astype(dtype).reshape(self.view.tensor)


def import_onnx(
    model: ModelProto | str | os.PathLike[str],
    name: str | None = None,
    source: str | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Network:
    """Import a quantised model.

    Parameters
    ----------
    model : ModelProto or path
    name : str, optional
        What reports call the network; the file's stem where None.
    source : str, optional
        What reports state as the origin of the weights.
    input_shape : tuple of int, axes n, c, y, x, optional
        Shape to fix where the model leaves its input's open.

    Raises
    ------
    FormatError
        The file is no usable ONNX (``sw.onnx.file.load_model``).
    UserError
        Names the operator and node that are not supported, and why.
    CapacityError
        A layer's accumulator could overflow.
    """
    return import_codes(model, name, source, input_shape)[0]


def import_codes(
    model: ModelProto | str | os.PathLike[str],
    name: str | None = None,
    source: str | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> tuple[Network, dict[str, OnnxCodes]]:
    """Import a quantised model; also say which tensors are which of the ONNX model's."""
    if not isinstance(model, ModelProto):
        path = Path(model)
        model = load_model(path, input_shape)
        name = name or path.stem
        source = source or f"{path.name}, quantised as it came"
    else:
        fix_input_shape(model, input_shape)
    importer = Importer(model)
    importer.run()
    return importer.network(name or model.graph.name, source or "an ONNX model, as it came")


class Importer:
    """Walks a graph in order and keeps what each tensor stands for.

    Attributes
    ----------
    values : dict of str to (ndarray, Weights, Codes, Real, RawInput or Dropped)
        By ONNX tensor name; an array is a constant.
    writer : Writer
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self.writer = Writer()
        self.values: dict[str, Any] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._reals: dict[str, Dequantised] = {}
        self._codes: dict[str, OnnxCodes] = {}
        item = model_input(model)
        kind = item.type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        if len(shape) == 4:
            view = View.image((shape[2], shape[3], shape[1]))
        else:
            view = View.vector((1, 1, shape[1]))
        if kind.elem_type == TensorProto.FLOAT:
            self.values[item.name] = Real(item.name, GraphInput(item.name, view.tensor), view)
        elif kind.elem_type in (TensorProto.UINT8, TensorProto.INT8):
            dtype = "uint8" if kind.elem_type == TensorProto.UINT8 else "int8"
            self.values[item.name] = RawInput(item.name, view, dtype)
        else:
            kind_name = TensorProto.DataType.Name(kind.elem_type)
            raise UserError(f"Input {item.name} must be float, uint8 or int8, not {kind_name}")

    def run(self) -> None:
        """Import every node."""
        for node in self._model.graph.node:
            for name, value in zip(node.output, self._import(node), strict=False):
                self.values[name] = value

    def network(self, name: str, source: str) -> tuple[Network, dict[str, OnnxCodes]]:
        """Return the network, without what its output does not need, and its ONNX tensors."""
        outputs = [item.name for item in self._model.graph.output]
        if len(outputs) != 1:
            raise UserError(f"Model must have one output, not {len(outputs)}: {', '.join(outputs)}")
        value = self.values[outputs[0]]
        if isinstance(value, Dropped):
            self.writer.notes.insert(0, f"final {value.operator} left out")
            value = value.value
        if not isinstance(value, Real | Codes):
            raise UserError(f"Output {outputs[0]} must depend on the input")
        if isinstance(value, Codes):
            value = self.real_of(value)
        result = self.writer.exact(value, f"Output {outputs[0]}").tensor
        if self.writer.input is None:
            raise UserError("Model input must be quantised: no QuantizeLinear reads it")
        needed, kept = {result.name}, []
        for made in reversed(self.writer.nodes):
            if made.output.name in needed:
                needed.update(made.inputs)
                kept.append(made)
        nodes: tuple[Node, ...] = tuple(reversed(kept))
        network = Network(
            name=name,
            source="; ".join([source, *self.writer.notes]),
            input=self.writer.input,
            nodes=nodes,
            output=result.name,
            channel_density={},
            accuracy={},
        )
        known = {key: codes for key, codes in self._codes.items() if key in needed}
        return network.validate(), known

    def _import(self, node: NodeProto) -> list[Any]:
        operands = [self.values[name] for name in node.input if name]
        found = attributes(node)
        dropped = next((item for item in operands if isinstance(item, Dropped)), None)
        if node.op_type in QUANTISED:
            return [QUANTISED[node.op_type](self, node, found)]
        if node.op_type == "Shape" and not isinstance(operands[0], np.ndarray):
            return [np.array(self.real(node, 0).view.shape[found.get("start", 0) :], np.int64)]
        if all(isinstance(item, np.ndarray) for item in operands):
            return self._fold(node)
        if node.op_type not in OPERATORS:
            raise UserError(not_supported(node))
        if dropped is not None:
            if node.op_type in ("Flatten", "Identity", "Reshape", "Squeeze"):
                return [dropped]
            raise UserError(
                f"{dropped.node}: operator {dropped.operator} is supported only at the end of a "
                f"network, but {label(node)} reads it"
            )
        result = OPERATORS[node.op_type](self, node, found)
        first = self.values[node.input[0]]
        if isinstance(first, Codes | RawInput) and node.op_type not in FINAL_OPERATORS:
            result = self._to_codes(node, result)
        return [result]

    def _to_codes(self, node: NodeProto, result: Real) -> Codes:
        """Return the codes of an operator that was applied to codes."""
        where = label(node)
        codes = self.writer.exact(result, where)
        first = self.real(node, 0).grid
        if node.op_type not in _CODE_OPERATORS or first is None or codes.quantisation != first:
            raise UserError(f"{where}: operator {node.op_type} must not read integers as they are")
        return self._record(replace(codes, name=node.output[0], quantisation=first))

    def _fold(self, node: NodeProto) -> list[Any]:
        """Compute a node whose operands are all constants."""
        from onnx.reference import ReferenceEvaluator

        inputs = [helper.make_empty_tensor_value_info(name) for name in node.input if name]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "fold", inputs, outputs)
        model = helper.make_model(graph, opset_imports=self._model.opset_import)
        feeds = {name: self.values[name] for name in node.input if name}
        try:
            results = ReferenceEvaluator(model).run(None, feeds)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{label(node)}: constant can't be computed: {error}") from None
        return [np.asarray(result) for result in results]

    # -- what handlers ask for ---------------------------------------------------------------

    def is_constant(self, name: str) -> bool:
        return isinstance(self.values[name], np.ndarray | Weights)

    def is_training(self, node: NodeProto) -> bool:
        """Whether a Dropout is told to drop."""
        if len(node.input) < 3 or not node.input[2]:
            return False
        return bool(np.any(self.array(node, 2)))

    def real(self, node: NodeProto, index: int) -> Real:
        """Return an operand as a real tensor."""
        value = self.values[node.input[index]]
        if isinstance(value, RawInput):
            value = self._define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, Codes):
            return self.real_of(value)
        if not isinstance(value, Real):
            raise UserError(f"{label(node)}: operand {node.input[index]} must not be a constant")
        return value

    def real_of(self, codes: Codes) -> Real:
        """Read codes as reals."""
        source = self._reals.setdefault(
            codes.tensor.name, Dequantised(codes.tensor, codes.quantisation)
        )
        return Real(codes.tensor.name, source, codes.view)

    def codes(self, node: NodeProto, index: int) -> Codes:
        """Return the codes that hold a real operand exactly."""
        return self.writer.exact(self.real(node, index), label(node))

    def codes_as(self, node: NodeProto, index: int, scale: int, zero_point: int) -> Codes:
        """Return an integer operand, whose scale and zero point are further operands."""
        name = node.input[index]
        value = self.values[name]
        dtype = value.dtype if isinstance(value, RawInput) else "uint8"
        how = self.quantisation(node, scale, zero_point, dtype)
        if isinstance(value, RawInput):
            return self._define_input(value, how)
        if not isinstance(value, Codes):
            raise UserError(f"{label(node)}: operand {name} must be integers and not constant")
        if value.quantisation != how or value.quantisation.offset != how.offset:
            raise UserError(
                f"{label(node)}: operand {name} must be read as it was quantised "
                f"({value.quantisation}), not as {how}"
            )
        return value

    def weights(self, node: NodeProto, index: int) -> Weights:
        value = self.values[node.input[index]]
        if not isinstance(value, Weights):
            raise UserError(
                f"{label(node)}: weights {node.input[index]} must be constant and quantised"
            )
        return value

    def packed_weights(
        self, node: NodeProto, index: int, scale: int, zero_point: int, axis: int = 0
    ) -> Weights:
        """Return constant codes, whose scale and zero point are further operands."""
        codes = self.array(node, index)
        zero = self.zero_point(node, zero_point, str(codes.dtype))
        return Weights(codes, self.array(node, scale), zero, axis)

    def array(self, node: NodeProto, index: int) -> NDArray:
        """Return a constant operand as it is."""
        value = self.optional(node, index)
        if value is None:
            raise UserError(f"{label(node)}: operand {index} must be given")
        return value

    def optional(self, node: NodeProto, index: int) -> NDArray | None:
        """Return a constant operand as it is, or None where it is not given."""
        if index >= len(node.input) or not node.input[index]:
            return None
        value = self.values[node.input[index]]
        if not isinstance(value, np.ndarray):
            raise UserError(f"{label(node)}: operand {node.input[index]} must be a constant")
        return value

    def zero_point(self, node: NodeProto, index: int, dtype: str) -> NDArray:
        value = self.optional(node, index)
        return np.zeros((), dtype=dtype) if value is None else value

    def quantisation(
        self, node: NodeProto, scale: int, zero_point: int, dtype: str = "uint8"
    ) -> Quantisation:
        zero = self.zero_point(node, zero_point, dtype)
        return Quantisation.from_onnx(label(node), self.array(node, scale), zero)

    def constant(self, node: NodeProto, index: int) -> NDArray[np.float64] | None:
        """Return a constant operand's values, or None where it is not given."""
        if index >= len(node.input) or not node.input[index]:
            return None
        value = self.values[node.input[index]]
        if isinstance(value, Weights):
            return value.real
        array = self.array(node, index)
        if array.dtype in (np.int8, np.uint8):  # codes, such as a border's
            how = self.real(node, 0).grid
            if how is not None:
                return (array.astype(np.float64) + how.offset - how.zero_point) * how.scale
        return array.astype(np.float64)

    def integers(self, node: NodeProto, index: int) -> list[int] | None:
        """Return a constant operand of sizes or axes, or None where it is not given."""
        value = self.optional(node, index)
        return None if value is None else [int(item) for item in value.reshape(-1)]

    def quantise(self, node: NodeProto, real: Real, how: Quantisation) -> Codes:
        """Write a real in the codes that a node says."""
        name = real.name if node.op_type == "QuantizeLinear" else node.output[0]
        tensor = self.writer.write(real, how, name)
        return self._record(Codes(node.output[0], tensor, how, real.view))

    def _define_input(self, value: RawInput, how: Quantisation) -> Codes:
        source = GraphInput(value.name, value.view.tensor)
        tensor = self.writer.write(Real(value.name, source, value.view), how)
        codes = Codes(value.name, tensor, how, value.view)
        self.values[value.name] = codes
        return self._record(codes)

    def _record(self, codes: Codes) -> Codes:
        known = OnnxCodes(codes.name, codes.quantisation.offset, codes.view)
        self._codes.setdefault(codes.tensor.name, known)
        return codes
