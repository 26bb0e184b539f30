"""From a quantised ONNX model to a ``Network``, operator by operator.

Convolutions and matrix products with constant weights run on the machine; the operators of
``sw.onnx.operators.registry`` become vector nodes. What none of them can do (another
operator, weights that are not constant, a result without a scale) becomes a host node, which
ONNX Runtime runs on the dequantised tensors; it says why.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from golden.errors import CapacityError, FormatError, UserError, one_line
from golden.network import Network, Node, TensorInfo
from sw.onnx.file import fix_shapes, load_model, model_inputs
from sw.onnx.graph.host import HostGraph, OnHost
from sw.onnx.graph.macs import host_macs
from sw.onnx.graph.nodes import NotOnMachine, attributes, label
from sw.onnx.graph.sources import Dequantised, GraphInput, Moved
from sw.onnx.graph.values import (
    Codes,
    HostTensor,
    Quantisation,
    RawInput,
    Real,
    View,
    Weights,
)
from sw.onnx.graph.writer import Writer
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


class Importer:
    """Walks a graph in order and keeps what each tensor stands for.

    It is the ``sw.onnx.graph.protocol.Graph`` of the operators' handlers.

    Attributes
    ----------
    values : dict of str to (ndarray, Weights, Codes, Real, RawInput or HostTensor)
        By ONNX tensor name; an array is a constant.
    writer : Writer
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self.opsets: tuple[Any, ...] = tuple(model.opset_import)
        self.writer = Writer()
        self.values: dict[str, Any] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._reals: dict[str, Dequantised] = {}
        self._codes: dict[str, OnnxCodes] = {}
        self._hosted: dict[str, Any] = {}
        self._moved: dict[tuple[Any, ...], Moved] = {}
        self._outputs = [item.name for item in model.graph.output]
        self._makers = {name: node for node in model.graph.node for name in node.output if name}
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
        for node in self._model.graph.node:
            if node.op_type == "Constant":
                continue
            for name, value in zip(node.output, self._import(node), strict=False):
                if name:
                    self.values[name] = value

    def network(self, name: str, source: str) -> tuple[Network, dict[str, OnnxCodes]]:
        """Return the network, without what its outputs do not need, and its ONNX tensors."""
        results = [self._result(output) for output in self._outputs]
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
            for item in model_inputs(self._model)
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
        known = {key: codes for key, codes in self._codes.items() if key in needed}
        return network.validate(), known

    def _result(self, name: str) -> TensorInfo:
        """Return the tensor of the network that an output of the graph is."""
        value = self.values[name]
        if isinstance(value, np.ndarray | Weights):
            raise UserError(f"Output {name} must depend on the input")
        if isinstance(value, RawInput):
            value = self._define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, _HostCodes):
            value = self._adopt(name, value, Quantisation(1.0, 0, value.info.dtype))
        if isinstance(value, Codes):
            value = self.real_of(value)
        if isinstance(value, HostTensor):
            return value.info
        if isinstance(value.source, OnHost):
            if value.source.layout.matches(value.view) and not value.is_clipped:
                return value.source.info
            return self._on_host(name, "it is a result and not quantised").source.info
        if value.grid is None:
            return self._on_host(name, "it is a result and not quantised").source.info
        if not value.view.is_whole:
            value = self._whole(value)
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
        return _layout(shape)

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
        if node.op_type == "Shape" and not isinstance(operands[0], np.ndarray):
            return [self._shape(node, operands[0])]
        is_fixed = all(isinstance(item, np.ndarray) for item in operands)
        if is_fixed and node.op_type not in QUANTISED and not _captured(node):
            return self._fold(node)
        try:
            return self._handle(node)
        except (CapacityError, FormatError):
            raise
        except NotOnMachine as error:
            reason = error.reason
        except UserError as error:
            reason = str(error).removeprefix(f"{label(node)}: ")
        return [self._host_output(node, name, reason) if name else None for name in node.output]

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
            result = self._whole(result)
        codes = self.exact(result, node)
        first = self.real(node, 0).grid
        if node.op_type not in _CODE_OPERATORS or first is None or codes.quantisation != first:
            raise NotOnMachine(node, "it must not read integers as they are")
        return self._record(replace(codes, name=name, quantisation=first))

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

    # -- the host ----------------------------------------------------------------------------

    def _host_output(self, node: NodeProto, output: str, reason: str) -> Any:
        """Let ONNX Runtime make one result of a node."""
        if output in self._hosted:
            return self._hosted[output]
        graph = HostGraph(self.opsets)
        for name in _captured(node):
            if name in self.values:
                graph.bind(name, self._host_input(graph, node, name, reason))
        inputs = [
            self._host_input(graph, node, name, reason) if name else "" for name in node.input
        ]
        graph.operator(node, inputs, output)
        try:
            found = graph.probe(node)
        except UserError as error:
            raise UserError(f"{label(node)}: {reason}; nor on the host: {error}") from None
        info = replace(found, name=self.writer.name(output))
        shapes = [self._shape_of(name) for name in node.input if name]
        macs = host_macs(node, shapes, info.shape) if output == node.output[0] else 0
        if not info.is_codes:
            self.writer.append(graph.node(info, node.op_type, node.name or output, reason, macs))
        if info.dtype == "float32":
            layout = _layout(info.shape)
            result: Any = Real(output, OnHost(info, layout, self.opsets), layout)
        elif info.is_codes:
            # Whoever reads integers says what they stand for; see codes_as.
            result = _HostCodes(info, graph, node, reason, macs)
        else:
            result = HostTensor(info)
        self._hosted[output] = result
        return result

    def _on_host(self, name: str, reason: str) -> Any:
        """Make a tensor on the host that is wanted there as floats; return it as a real."""
        if name not in self._makers:
            raise UserError(f"Input {name} must be quantised once, not in two ways")
        return self._host_output(self._makers[name], name, reason)

    def _host_input(self, graph: HostGraph, node: NodeProto, name: str, reason: str) -> str:
        """Read a tensor in a host node's graph; ``reason`` is why the node is there."""
        value = self.values[name]
        if isinstance(value, np.ndarray):
            return graph.constant(value)
        if isinstance(value, Weights):
            return graph.constant(value.floats)
        if isinstance(value, RawInput):
            value = self._define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, _HostCodes):
            value = self._adopt(name, value, Quantisation(1.0, 0, value.info.dtype))
        if isinstance(value, Codes):
            return graph.codes(value.tensor, value.view, value.quantisation.offset)
        if isinstance(value, HostTensor):
            return graph.feed(value.info)
        if not isinstance(value.source, OnHost) and value.grid is None:
            if node.op_type != "QuantizeLinear":
                reason = f"{node.op_type} on the host reads it, not quantised"
            value = self._on_host(name, reason)
        if isinstance(value.source, OnHost):
            return graph.floats(value)
        codes = self.writer.exact(value, label(node))
        return graph.dequantised(codes.tensor, value.view)

    def _adopt(self, name: str, made: _HostCodes, how: Quantisation) -> Codes:
        """Take integers that a host node makes as codes of the network."""
        layout = _layout(made.info.shape)
        made.graph.adopt(made.graph.last, how, layout)
        info = TensorInfo(
            name=made.info.name,
            shape=layout.tensor,
            dtype=how.dtype,
            scale=how.scale,
            zero_point=how.zero_point,
        )
        operator, called = made.node.op_type, made.node.name or name
        self.writer.append(made.graph.node(info, operator, called, made.reason, made.macs))
        codes = Codes(name, info, how, layout)
        self.values[name] = self._hosted[name] = codes
        return self._record(codes)

    def _shape_of(self, name: str) -> tuple[int, ...]:
        value = self.values[name]
        if isinstance(value, np.ndarray):
            return value.shape
        if isinstance(value, Weights):
            return value.codes.shape
        if isinstance(value, HostTensor):
            return value.info.shape
        return value.view.shape

    # -- what handlers ask for ---------------------------------------------------------------

    def note(self, words: str) -> None:
        self.writer.notes.append(words)

    def is_constant(self, name: str) -> bool:
        return isinstance(self.values[name], np.ndarray | Weights)

    def real(self, node: NodeProto, index: int) -> Real:
        name = node.input[index]
        value = self.values[name]
        if isinstance(value, RawInput):
            value = self._define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, _HostCodes):
            raise NotOnMachine(node, f"{name} is made on the host")
        if isinstance(value, Codes):
            return self.real_of(value)
        if isinstance(value, HostTensor):
            raise NotOnMachine(node, f"{name} is {value.info.dtype} and on the host")
        if not isinstance(value, Real):
            raise NotOnMachine(node, f"operand {name} must not be a constant")
        return value

    def real_of(self, codes: Codes) -> Real:
        source = self._reals.setdefault(
            codes.tensor.name, Dequantised(codes.tensor, codes.quantisation)
        )
        return Real(codes.tensor.name, source, codes.view)

    def exact(self, real: Real, node: NodeProto) -> Codes:
        if real.grid is None:
            raise NotOnMachine(node, f"{real.name}, which it reads, is not quantised")
        return self.writer.exact(real, label(node))

    def codes_as(self, node: NodeProto, index: int, scale: int, zero_point: int) -> Codes:
        name = node.input[index]
        value = self.values[name]
        dtype = value.dtype if isinstance(value, RawInput) else "uint8"
        how = self.quantisation(node, scale, zero_point, dtype)
        if isinstance(value, RawInput):
            return self._define_input(value, how)
        if isinstance(value, _HostCodes):
            return self._adopt(name, value, how)
        if not isinstance(value, Codes):
            raise NotOnMachine(node, f"operand {name} must be 8-bit integers and not constant")
        if value.quantisation != how or value.quantisation.offset != how.offset:
            raise NotOnMachine(node, f"operand {name} is read otherwise than it was quantised")
        return value

    def weights(self, node: NodeProto, index: int) -> Weights:
        value = self.values[node.input[index]]
        if not isinstance(value, Weights):
            kind = "floats" if isinstance(value, np.ndarray) else "not constant"
            raise NotOnMachine(node, f"its weights are {kind}")
        return value

    def packed_weights(
        self, node: NodeProto, index: int, scale: int, zero_point: int, axis: int = 0
    ) -> Weights:
        codes = self.array(node, index)
        zero = self.zero_point(node, zero_point, str(codes.dtype))
        return Weights(codes, self.array(node, scale), zero, axis)

    def array(self, node: NodeProto, index: int) -> NDArray:
        value = self.optional(node, index)
        if value is None:
            raise FormatError(f"{label(node)}: operand {index} must be given")
        return value

    def optional(self, node: NodeProto, index: int) -> NDArray | None:
        if index >= len(node.input) or not node.input[index]:
            return None
        value = self.values[node.input[index]]
        if not isinstance(value, np.ndarray):
            raise NotOnMachine(node, f"operand {node.input[index]} must be a constant")
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
        if array.dtype.kind not in "fiub":
            raise NotOnMachine(node, f"operand {node.input[index]} must be numbers")
        return array.astype(np.float64)

    def integers(self, node: NodeProto, index: int) -> list[int] | None:
        value = self.optional(node, index)
        return None if value is None else [int(item) for item in value.reshape(-1)]

    def quantise(self, node: NodeProto, real: Real, how: Quantisation) -> Codes:
        if not real.view.is_whole:
            real = self._whole(real)
        name = real.name if node.op_type == "QuantizeLinear" else node.output[0]
        tensor = self.writer.write(real, how, name)
        return self._record(Codes(node.output[0], tensor, how, real.view))

    def image(self, node: NodeProto, real: Real) -> Real:
        if real.view.is_image:
            return real
        shape = real.view.shape
        if len(shape) != 4 or shape[0] != 1:
            raise NotOnMachine(node, f"its operand must have axes n, c, y, x, not shape {shape}")
        index = real.view.elements[0].transpose(1, 2, 0)
        return self.moved(real, index, View.image(index.shape))

    def moved(self, real: Real, index: NDArray[np.int64], view: View, value: float = 0.0) -> Real:
        numbers = np.arange(np.prod(real.view.tensor))
        if index.shape == real.view.tensor and np.array_equal(index.reshape(-1), numbers):
            return real.seen(real.name, view)
        narrow = np.ascontiguousarray(index, dtype=np.int32)
        digest = hashlib.sha256(narrow.tobytes()).digest()
        key = (real.source, real.low, real.high, narrow.shape, value, digest)
        if key not in self._moved:
            part = Real(real.name, real.source, View.image(real.view.tensor), real.low, real.high)
            self._moved[key] = Moved(part, narrow, value)
        return Real(f"{real.name}_moved", self._moved[key], view)

    def _whole(self, real: Real) -> Real:
        """Move a real's elements to a tensor that holds these and no others."""
        view, order = _layout(real.view.shape), real.view.elements
        index = np.empty(order.size, dtype=np.int64)
        index[view.elements.reshape(-1)] = order.reshape(-1)
        return self.moved(real, index.reshape(view.tensor), view).seen(real.name, view)

    def _define_input(self, value: RawInput, how: Quantisation) -> Codes:
        source = GraphInput(value.name, value.view.tensor)
        tensor = self.writer.write(Real(value.name, source, value.view), how)
        codes = Codes(value.name, tensor, how, value.view)
        self.values[value.name] = codes
        return self._record(codes)

    def _record(self, codes: Codes) -> Codes:
        if codes.view.is_whole:
            known = OnnxCodes(codes.name, codes.quantisation.offset, codes.view)
            self._codes.setdefault(codes.tensor.name, known)
        return codes


@dataclass(frozen=True, eq=False)
class _HostCodes(HostTensor):
    """8-bit integers that a host node is going to make, once their scale is known."""

    graph: HostGraph
    node: NodeProto
    reason: str
    macs: int


def _layout(shape: tuple[int, ...]) -> View:
    """Choose how a tensor of the model lies in one of axes y, x, channel."""
    if len(shape) == 4 and shape[0] == 1:
        return View.image((shape[2], shape[3], shape[1]))
    if len(shape) == 2 and shape[0] == 1:
        return View.vector((1, 1, shape[1]))
    return View.flat(shape)


def _captured(node: NodeProto) -> list[str]:
    """Return the names that a node's subgraphs read from outside."""
    names: dict[str, None] = {}
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for graph in graphs:
            own = {item.name for item in [*graph.input, *graph.initializer]}
            own |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                for name in [*inner.input, *_captured(inner)]:
                    if name and name not in own:
                        names[name] = None
            for item in graph.output:
                if item.name not in own:
                    names[item.name] = None
    return list(names)
