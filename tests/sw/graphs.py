"""Small float CNNs in ONNX, drawn from a seed."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper


class Graph:
    """Builds a float model operator by operator; every method returns the output's name."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = shape, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes) -> str:
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, source, channels, out, kernel=(3, 3), group=1, bias=True, **attributes) -> str:
        fan_in = channels // group * kernel[0] * kernel[1]
        weights = self.rng.normal(0, fan_in**-0.5, (out, channels // group, *kernel))
        inputs = [self.constant(weights.astype(np.float32))]
        if bias:
            inputs.append(self.constant(self.rng.normal(0, 0.3, out).astype(np.float32)))
        return self.op("Conv", source, *inputs, kernel_shape=kernel, group=group, **attributes)

    def batch_norm(self, source, channels) -> str:
        values = (
            self.rng.uniform(0.5, 2, channels) * self.rng.choice([-1, 1], channels),
            self.rng.normal(0, 0.5, channels),
            self.rng.normal(0, 0.5, channels),
            self.rng.uniform(0.3, 2, channels),
        )
        inputs = [self.constant(value.astype(np.float32)) for value in values]
        return self.op("BatchNormalization", source, *inputs)

    def clip(self, source, low, high) -> str:
        bounds = [self.constant(np.float32(bound)) for bound in (low, high)]
        return self.op("Clip", source, *bounds)

    def gemm(self, source, inputs, outputs) -> str:
        weights = self.rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        bias = self.rng.normal(0, 0.3, outputs).astype(np.float32)
        return self.op("Gemm", source, self.constant(weights), self.constant(bias), transB=1)

    def model(self, output: str, kind: int = TensorProto.FLOAT) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("image", kind, self.shape)],
            [helper.make_empty_tensor_value_info(output)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if any(node.domain == "com.microsoft" for node in self.nodes):
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    def images(self, count: int = 8, signed: bool = True) -> NDArray[np.float32]:
        size = (count, *self.shape[1:])
        drawn = self.rng.normal(0, 1, size) if signed else self.rng.uniform(0, 1, size)
        return drawn.astype(np.float32)


def residual(seed: int) -> Graph:
    """Batch norm, ReLU6, a residual addition, a branch with concatenation, average pools."""
    graph = Graph((1, 3, 13, 11), seed)
    x = graph.conv("image", 3, 8, strides=[2, 1], pads=[1, 0, 2, 1])
    x = graph.op("Relu", graph.batch_norm(x, 8))
    y = graph.clip(graph.batch_norm(graph.conv(x, 8, 8, pads=[1] * 4, bias=False), 8), 0, 6)
    y = graph.conv(y, 8, 8, group=8, pads=[1] * 4)
    x = graph.op("Relu", graph.op("Add", x, y))
    left = graph.op("AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[1, 2],
                    count_include_pad=seed % 2)  # fmt: skip
    right = graph.op("MaxPool", graph.conv(x, 8, 6, (1, 1), group=2), kernel_shape=[3, 2],
                     pads=[1, 0, 1, 1], strides=[1, 2])  # fmt: skip
    x = graph.op("Concat", left, right, axis=1)
    x = graph.conv(x, 14, 10, (3, 1), group=2, strides=[2, 2])
    x = graph.op("Flatten", graph.op("Relu", x))
    return finish(graph, x)


def finish(graph: Graph, x: str) -> Graph:
    graph.last = x
    return graph
