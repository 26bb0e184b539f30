"""Nodes that stay on the host: an ONNX graph around each, from network tensors to one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from golden.errors import one_line
from golden.network import HostNode, TensorInfo
from sw.onnx.graph.values import Quantisation, Real, Source, Target, View, Writing
from sw.onnx.runtime import load_session, run_session

__all__ = ["HostGraph", "OnHost", "Probed"]


#: Operators whose result has a size that its operands' values decide, and its axis.
_OPEN_AXES = {"Compress": 0, "NonMaxSuppression": 0, "NonZero": 1, "Unique": 0}


@dataclass(frozen=True, kw_only=True)
class Probed(TensorInfo):
    """What a host node makes; a size of 0 is one that images decide."""

    is_numbers: bool = True


@dataclass(frozen=True, eq=False)
class OnHost(Source):
    """A tensor of floats that ONNX Runtime makes, or a float input of the graph.

    Parameters
    ----------
    layout : View
        How its elements lie in a tensor with axes y, x, channel. An input has these axes
        itself; what a node makes has those of the model.
    """

    info: TensorInfo
    layout: View
    opsets: tuple[Any, ...]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        graph = HostGraph(self.opsets)
        floats = graph.stored(graph.feed(self.info), self.info, self.layout)
        how = target.quantisation
        for operator, code, is_clip in (
            ("Max", target.low, target.low > how.low),
            ("Min", target.high, target.high < how.high),
        ):
            if is_clip:
                bound = np.float32((code - how.zero_point) * how.scale)
                floats = graph.add(operator, floats, graph.constant(bound))
        zero = np.array(how.zero_point, how.dtype)
        graph.add(
            "QuantizeLinear", floats, graph.constant(np.float32(how.scale)), graph.constant(zero)
        )
        output = writer.tensor(target, self.layout.tensor)
        return writer.append(
            graph.node(output, "QuantizeLinear", target.name, "what it reads is on the host")
        )


class HostGraph:
    """A small ONNX model that makes the output of one host node.

    Parameters
    ----------
    opsets : sequence of OperatorSetIdProto
        Those of the model that the node is of.
    """

    def __init__(self, opsets: Sequence[Any]) -> None:
        self._opsets = list(opsets)
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs: dict[str, tuple[TensorInfo, str]] = {}
        self._last = ""

    @property
    def last(self) -> str:
        """Name of the last result."""
        return self._last

    def feed(self, info: TensorInfo) -> str:
        """Read a tensor of the network; return its name here."""
        if info.name not in self._inputs:
            self._inputs[info.name] = (info, f"in{len(self._inputs)}")
        return self._inputs[info.name][1]

    def constant(self, values: NDArray | np.generic) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self._last = f"out{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [self._last], **attributes))
        return self._last

    def stored(self, name: str, info: TensorInfo, layout: View) -> str:
        """Bring a tensor of a node to axes y, x, channel."""
        if info.shape == layout.tensor:
            return name
        height, width, channels = layout.tensor
        if layout.order is None:
            flat = self.add("Reshape", name, self.constant(np.array([channels, height, width])))
            return self.add("Transpose", flat, perm=[1, 2, 0])
        return self.add("Reshape", name, self.constant(np.array(layout.tensor)))

    def seen(self, name: str, view: View) -> str:
        """Bring a tensor of axes y, x, channel to those of the model."""
        shape = self.constant(np.array(view.shape, np.int64))
        # A view may leave elements out, or repeat them.
        is_whole = np.prod(view.shape) == np.prod(view.tensor)
        if view.order is None or (
            is_whole and np.array_equal(view.elements, View(view.tensor, view.shape).elements)
        ):
            return self.add("Reshape", self.add("Transpose", name, perm=[2, 0, 1]), shape)
        if view.is_whole and np.all(np.diff(view.elements.reshape(-1)) == 1):
            return self.add("Reshape", name, shape)
        flat = self.add("Reshape", name, self.constant(np.array([-1])))
        places = self.constant(view.elements.reshape(-1))
        return self.add("Reshape", self.add("Gather", flat, places), shape)

    def codes(self, info: TensorInfo, view: View, offset: int) -> str:
        """Read codes as the model's integers, which differ by an offset."""
        name = self.seen(self.feed(info), view)
        if not offset:
            return name
        kind = TensorProto.UINT8 if info.dtype == "int8" else TensorProto.INT8
        wide = self.add("Cast", name, to=TensorProto.INT32)
        return self.add(
            "Cast", self.add("Sub", wide, self.constant(np.array(offset, np.int32))), to=kind
        )

    def dequantised(self, info: TensorInfo, view: View) -> str:
        """Read codes as reals."""
        scale = self.constant(np.float32(info.scale))
        zero = self.constant(np.array(info.zero_point, info.dtype))
        return self.seen(self.add("DequantizeLinear", self.feed(info), scale, zero), view)

    def floats(self, real: Real) -> str:
        """Read a tensor that is on the host already, within the bounds of clips."""
        source = real.source
        assert isinstance(source, OnHost)
        name = self.feed(source.info)
        layout = source.layout
        if not (real.view.matches(layout) and source.info.shape == layout.shape):
            name = self.seen(self.stored(name, source.info, layout), real.view)
        for operator, bound in (("Max", real.low), ("Min", real.high)):
            if np.isfinite(bound):
                name = self.add(operator, name, self.constant(np.float32(bound)))
        return name

    def adopt(self, name: str, quantisation: Quantisation, view: View) -> str:
        """Bring a node's integers to codes with axes y, x, channel."""
        info = TensorInfo(name="", shape=view.shape, dtype=quantisation.dtype)
        if quantisation.offset:
            wide = self.add("Cast", name, to=TensorProto.INT32)
            name = self.add("Add", wide, self.constant(np.array(quantisation.offset, np.int32)))
        kind = TensorProto.UINT8 if quantisation.dtype == "uint8" else TensorProto.INT8
        return self.stored(self.add("Cast", name, to=kind), info, view)

    def operator(self, node: NodeProto, inputs: Sequence[str], result: str) -> str:
        """Append the node itself, whose result ``result`` is wanted."""
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(inputs)
        del copy.output[:]
        place = list(node.output).index(result)
        self._last = f"out{len(self._nodes)}"
        for index, name in enumerate(node.output):
            unused = f"{self._last}_{index}" if name else ""
            copy.output.append(self._last if index == place else unused)
        self._nodes.append(copy)
        return self._last

    def bind(self, outer: str, inner: str) -> None:
        """Let a name that a subgraph reads from outside stand for a tensor here."""
        self._nodes.append(helper.make_node("Identity", [inner], [outer]))

    def node(
        self, output: TensorInfo, operator: str, name: str, reason: str, macs: int = 0
    ) -> HostNode:
        """Return the host node that makes the last result, as ``output``."""
        return HostNode(
            inputs=tuple(self._inputs),
            output=output,
            operator=one_line(operator, 80),
            name=one_line(name, 120),
            reason=one_line(reason, 200),
            graph=self._model().SerializeToString(deterministic=True),
            macs=macs,
        )

    def probe(self, node: NodeProto) -> Probed:
        """Describe the last result: run the graph on zeros."""
        session = load_session(self._model())
        feeds = {name: np.zeros(info.shape, info.dtype) for info, name in self._inputs.values()}
        (result,) = run_session(session, None, feeds)
        kind = session.get_outputs()[0].type
        if not kind.startswith("tensor(") or result.dtype == object:
            return Probed(name="", shape=(0,), dtype=kind, is_numbers=False)
        shape = list(result.shape)
        if node.op_type in _OPEN_AXES:
            shape[_OPEN_AXES[node.op_type]] = 0
        return Probed(name="", shape=tuple(shape), dtype=str(result.dtype), is_numbers=True)

    def _model(self) -> Any:
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype)), None
            )
            for info, name in self._inputs.values()
        ]
        outputs = [helper.make_empty_tensor_value_info(self._last)]
        graph = helper.make_graph(self._nodes, "host", inputs, outputs, self._constants)
        return helper.make_model(graph, opset_imports=self._opsets, ir_version=8)
