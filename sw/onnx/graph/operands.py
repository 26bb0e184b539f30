"""A node's operands, as the handlers of operators ask for them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from golden.errors import FormatError
from golden.network import TensorInfo
from sw.onnx.graph.host import HostGraph
from sw.onnx.graph.nodes import NotOnMachine, label
from sw.onnx.graph.sources import Dequantised, GraphInput, Moved
from sw.onnx.graph.values import Codes, HostTensor, Quantisation, RawInput, Real, View, Weights
from sw.onnx.graph.writer import Writer

__all__ = ["HostCodes", "OnnxCodes", "Operands", "lay_out"]


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


@dataclass(frozen=True, eq=False)
class HostCodes(HostTensor):
    """8-bit integers that a host node is going to make, once their scale is known."""

    graph: HostGraph
    node: NodeProto
    reason: str
    macs: int


def lay_out(shape: tuple[int, ...]) -> View:
    """Choose how a tensor of the model lies in one of axes y, x, channel."""
    if len(shape) == 4 and shape[0] == 1:
        return View.image((shape[2], shape[3], shape[1]))
    if len(shape) == 2 and shape[0] == 1:
        return View.vector((1, 1, shape[1]))
    return View.flat(shape)


class Operands:
    """What a graph's tensors stand for, and the network that is being written.

    It is the ``sw.onnx.graph.protocol.Graph`` of the operators' handlers.

    Attributes
    ----------
    values : dict of str to (ndarray, Weights, Codes, Real, RawInput or HostTensor)
        By ONNX tensor name; an array is a constant.
    opsets : tuple of OperatorSetIdProto
    writer : Writer
    known_codes : dict of str to OnnxCodes
        Which integer tensors of the graph tensors of the network are.
    hosted : dict of str to (Real, Codes or HostTensor)
        What host nodes make, by ONNX tensor name.
    """

    def __init__(self, model: ModelProto) -> None:
        self.opsets: tuple[Any, ...] = tuple(model.opset_import)
        self.writer = Writer()
        self.values: dict[str, Any] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.known_codes: dict[str, OnnxCodes] = {}
        self.hosted: dict[str, Any] = {}
        self._reals: dict[str, Dequantised] = {}
        self._moved: dict[tuple[Any, ...], Moved] = {}

    def note(self, words: str) -> None:
        self.writer.notes.append(words)

    def is_constant(self, name: str) -> bool:
        return isinstance(self.values[name], np.ndarray | Weights)

    def real(self, node: NodeProto, index: int) -> Real:
        name = node.input[index]
        value = self.values[name]
        if isinstance(value, RawInput):
            value = self.define_input(value, Quantisation(1.0, 0, value.dtype))
        if isinstance(value, HostCodes):
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
            return self.define_input(value, how)
        if isinstance(value, HostCodes):
            return self.adopt(name, value, how)
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
            real = self.whole(real)
        name = real.name if node.op_type == "QuantizeLinear" else node.output[0]
        tensor = self.writer.write(real, how, name)
        return self.record(Codes(node.output[0], tensor, how, real.view))

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

    def whole(self, real: Real) -> Real:
        """Move a real's elements to a tensor that holds these and no others."""
        view, order = lay_out(real.view.shape), real.view.elements
        index = np.empty(order.size, dtype=np.int64)
        index[view.elements.reshape(-1)] = order.reshape(-1)
        return self.moved(real, index.reshape(view.tensor), view).seen(real.name, view)

    def define_input(self, value: RawInput, how: Quantisation) -> Codes:
        source = GraphInput(value.name, value.view.tensor)
        tensor = self.writer.write(Real(value.name, source, value.view), how)
        codes = Codes(value.name, tensor, how, value.view)
        self.values[value.name] = codes
        return self.record(codes)

    def record(self, codes: Codes) -> Codes:
        if codes.view.is_whole:
            known = OnnxCodes(codes.name, codes.quantisation.offset, codes.view)
            self.known_codes.setdefault(codes.tensor.name, known)
        return codes

    def adopt(self, name: str, made: HostCodes, how: Quantisation) -> Codes:
        """Take integers that a host node makes as codes of the network."""
        layout = lay_out(made.info.shape)
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
        self.values[name] = self.hosted[name] = codes
        return self.record(codes)
