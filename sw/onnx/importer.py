"""From a quantised ONNX model to a ``Network``, operator by operator.

Convolutions and matrix products with constant weights run on the machine; the operators of
``sw.onnx.operators.registry`` become vector nodes. What none of them can do (another
operator, weights that are not constant, a result without a scale) becomes a host node, which
ONNX Runtime runs on the dequantised tensors; it says why.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from golden.errors import CapacityError, FormatError, UserError, one_line
from golden.network import Network, Node, TensorInfo
from sw.onnx.file import fix_shapes, load_model, model_inputs
from sw.onnx.graph.host import OnHost
from sw.onnx.graph.hosting import Hosting
from sw.onnx.graph.nodes import NotOnMachine, attributes, captured_names, label
from sw.onnx.graph.operands import HostCodes, OnnxCodes, lay_out
from sw.onnx.graph.sources import GraphInput
from sw.onnx.graph.values import (
    Codes,
    HostTensor,
    HostValue,
    Quantisation,
    RawInput,
    Real,
    View,
    Weights,
)
from sw.onnx.operators.movement import MOVES
from sw.onnx.operators.registry import OPERATORS, QUANTISED
from sw.onnx.runtime import run_node

__all__ = ["Importer", "OnnxCodes", "import_codes", "import_onnx"]

#: Operators that mean the same on codes as on reals.
_CODE_OPERATORS = MOVES | {"Clip", "Concat", "Dropout", "GlobalMaxPool", "Identity", "MaxPool",
                           "Pad", "Resize"}  # fmt: skip

#: Operators that a quantisation may be moved before.
_BEFORE_CODES = MOVES | {"Clip", "Concat", "Dropout", "Identity", "MaxPool", "Relu"}

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


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
        The file is no usable ONNX (``sw.onnx.file.load_model``), or says what can't be.
    UserError
        ONNX Runtime can't run a node that is left to it.
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
        fix_shapes(model, input_shape)
    importer = Importer(model)
    importer.run()
    return importer.network(name or model.graph.name, source or "an ONNX model, as it came")


class Importer(Hosting):
    """Walks a graph in order and keeps what each tensor stands for."""

    def __init__(self, model: ModelProto) -> None:
        super().__init__(model)
        self.model = model
        self._outputs = [item.name for item in model.graph.output]
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
            if node.op_type == "Constant" and node.output[0] not in self.values:
                self.values[node.output[0]] = self._fold(node)[0]
        for item in model_inputs(model):
            self.values[item.name] = self._input(item)

    def run(self) -> None:
        """Import every node."""
        for node in self.model.graph.node:
            if node.op_type == "Constant":
                continue
            for name, value in zip(node.output, self._import(node), strict=False):
                if name:
                    self.values[name] = value

    def network(self, name: str, source: str) -> tuple[Network, dict[str, OnnxCodes]]:
        """Return the network, without what its outputs do not need, and its ONNX tensors."""
        outputs = [name for output in self._outputs for name in self._numbers(output)]
        varying = [name for name in outputs if not self.is_constant(name)]
        outputs = varying or outputs
        results = [self._result(output) for output in dict.fromkeys(outputs)]
        if not self.writer.inputs:
            raise UserError("Model must have an output that depends on its input")
        needed, kept = {info.name for info in results}, []
        for made in reversed(self.writer.nodes):
            if made.output.name in needed:
                needed.update(made.inputs)
                kept.append(made)
        nodes: tuple[Node, ...] = tuple(reversed(kept))
        inputs = [
            self.writer.inputs[item.name]
            for item in model_inputs(self.model)
            if item.name in self.writer.inputs
        ]
        used = [info for info in inputs if info.name in needed] or inputs[:1]
        names = list(dict.fromkeys(info.name for info in results))
        network = Network(
            name=one_line(name, 120),
            source=one_line("; ".join([source, *self.writer.notes]), 1000),
            input=used[0],
            nodes=nodes,
            output=names[0],
            channel_density={},
            accuracy={},
            further_inputs=tuple(used[1:]),
            further_outputs=tuple(names[1:]),
        )
        known = {key: codes for key, codes in self.known_codes.items() if key in needed}
        return network.validate(), known

    def _numbers(self, name: str) -> list[str]:
        """Name an output, or what it is made of where it is no tensor of numbers."""
        value = self.values[name]
        if not isinstance(value, HostValue):
            return [name]
        self.note(f"output {name} ({value.info.dtype}) left out, what it is made of shown")
        return [
            source
            for part in value.node.input
            if part and not self.is_constant(part)
            for source in self._numbers(part)
        ]

    def _result(self, name: str) -> TensorInfo:
        """Return the tensor of the network that an output of the graph is."""
        value = self.values[name]
        if isinstance(value, np.ndarray | Weights):
            raise UserError(f"Output {name} must depend on the input")
        if isinstance(value, RawInput):
            value = self.define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, HostCodes):
            value = self.adopt(name, value, Quantisation(1.0, 0, value.info.dtype))
        if isinstance(value, Codes):
            value = self.real_of(value)
        if isinstance(value, HostTensor):
            return value.info
        if isinstance(value.source, OnHost):
            if value.source.layout.matches(value.view) and not value.is_clipped:
                return value.source.info
            return self.on_host(name, "it is a result and not quantised").source.info
        if value.grid is None:
            return self.on_host(name, "it is a result and not quantised").source.info
        if not value.view.is_whole:
            value = self.whole(value)
        return self.writer.exact(value, f"Output {name}").tensor

    # -- inputs ------------------------------------------------------------------------------

    def _input(self, item: Any) -> Any:
        kind = item.type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        view = self._input_view(item.name, shape)
        source = GraphInput(item.name, view.tensor)
        if kind.elem_type == TensorProto.FLOAT:
            if self._is_quantised(item.name):
                return Real(item.name, source, view)
            info = self.writer.read_floats(source)
            return Real(item.name, OnHost(info, view, self.opsets), view)
        if kind.elem_type in (TensorProto.UINT8, TensorProto.INT8):
            dtype = "uint8" if kind.elem_type == TensorProto.UINT8 else "int8"
            return RawInput(item.name, view, dtype)
        if kind.elem_type in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL):
            dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            info = replace(self.writer.read_floats(source), shape=shape, dtype=dtype)
            self.writer.inputs[item.name] = info
            return HostTensor(info)
        kind_name = TensorProto.DataType.Name(kind.elem_type)
        raise UserError(
            f"Input {item.name} must be float, uint8, int8, int32, int64 or bool, not {kind_name}"
        )

    def _input_view(self, name: str, shape: tuple[int, ...]) -> View:
        if len(shape) == 4 and shape[0] == 1:
            turns = {
                tuple(attributes(node).get("perm", ())) if node.op_type == "Transpose" else ()
                for node in self._after(name)
            }
            if turns == {(0, 3, 1, 2)}:
                numbers = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
                return View((shape[1], shape[2], shape[3]), shape, numbers)
            return View.image((shape[2], shape[3], shape[1]))
        if len(shape) == 3 and shape[0] == 1:
            return View.image((1, shape[2], shape[1])).reshape(shape)
        return lay_out(shape)

    def _after(self, name: str) -> list[NodeProto]:
        """Return a tensor's readers, those of its codes in place of a quantisation."""
        readers: list[NodeProto] = []
        for node in self._readers.get(name, ()):
            if node.op_type in ("Cast", "DequantizeLinear", "QuantizeLinear"):
                readers += self._after(node.output[0])
            else:
                readers.append(node)
        return readers

    def _is_quantised(self, name: str) -> bool:
        """Whether nothing but quantisations of one kind read a tensor, moved or not."""
        found: set[tuple[float, int, str]] = set()

        def look(name: str) -> bool:
            if name in self._outputs:
                return False
            for node in self._readers.get(name, ()):
                if node.op_type == "QuantizeLinear":
                    if any(key not in self.values for key in node.input[1:] if key):
                        return False
                    how = self.quantisation(node, 1, 2)
                    found.add((how.scale, how.zero_point, how.dtype))
                elif node.op_type in _BEFORE_CODES and node.input[0] == name:
                    if not all(look(made) for made in node.output if made):
                        return False
                elif node.op_type != "Shape":
                    return False
            return True

        try:
            return look(name) and len(found) == 1
        except FormatError:
            raise
        except UserError:
            return False

    # -- nodes -------------------------------------------------------------------------------

    def _import(self, node: NodeProto) -> list[Any]:
        operands = [self.values[name] for name in node.input if name]
        is_open = isinstance(operands[0], HostTensor) and 0 in operands[0].info.shape
        if node.op_type == "Shape" and not isinstance(operands[0], np.ndarray) and not is_open:
            return [self._shape(node, operands[0])]
        is_fixed = all(isinstance(item, np.ndarray) for item in operands)
        if is_fixed and node.op_type not in QUANTISED and not captured_names(node):
            return self._fold(node)
        try:
            return self._handle(node)
        except (CapacityError, FormatError):
            raise
        except NotOnMachine as error:
            reason = error.reason
        except UserError as error:
            reason = str(error).removeprefix(f"{label(node)}: ")
        return [self.host_output(node, name, reason) if name else None for name in node.output]

    def _handle(self, node: NodeProto) -> list[Any]:
        """Import a node for the machine, or as a vector node."""
        found = attributes(node)
        if node.op_type in QUANTISED:
            result = QUANTISED[node.op_type](self, node, found)
            return result if isinstance(result, list) else [result]
        if node.op_type == "Cast":
            if found["to"] not in _FLOATS:
                raise NotOnMachine(node, "only a cast to floats has a form here")
            real = self.real(node, 0)
            return [real.seen(node.output[0], real.view)]
        if node.op_type not in OPERATORS:
            raise NotOnMachine(node, "its operator has no form on the machine")
        result = OPERATORS[node.op_type](self, node, found)
        results = result if isinstance(result, list) else [result]
        if isinstance(self.values[node.input[0]], Codes | RawInput):
            names = [name for name in node.output if name]
            results = [
                self._to_codes(node, name, item) for name, item in zip(names, results, strict=True)
            ]
        return results

    def _to_codes(self, node: NodeProto, name: str, result: Real) -> Codes:
        """Return the codes of an operator that was applied to codes."""
        if not result.view.is_whole:
            result = self.whole(result)
        codes = self.exact(result, node)
        first = self.real(node, 0).grid
        if node.op_type not in _CODE_OPERATORS or first is None or codes.quantisation != first:
            raise NotOnMachine(node, "it must not read integers as they are")
        return self.record(replace(codes, name=name, quantisation=first))

    def _shape(self, node: NodeProto, value: Any) -> NDArray[np.int64]:
        if isinstance(value, HostTensor):
            shape = value.info.shape
        elif isinstance(value, Weights):
            shape = value.codes.shape
        else:
            shape = value.view.shape
        found = attributes(node)
        return np.array(shape[found.get("start", 0) : found.get("end")], np.int64)

    def _fold(self, node: NodeProto) -> list[NDArray]:
        """Compute a node whose operands are all constants."""
        feeds = {name: self.values[name] for name in node.input if name}
        return run_node(node, feeds, self.opsets, f"{label(node)}: constant can't be computed")
