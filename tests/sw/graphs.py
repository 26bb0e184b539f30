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
        self.last = ""

    def constant(self, values: NDArray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes) -> str:
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, source, channels, out, kernel=(3, 3), group=1, bias=True, **attributes) -> str:
        fan_in = channels // group * int(np.prod(kernel))
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


def residual(seed: int) -> ModelProto:
    """Batch norm, ReLU6, depthwise, a residual addition, branches joined, both poolings."""
    graph = Graph((1, 3, 13, 11), seed)
    x = graph.conv("image", 3, 8, strides=[2, 1], pads=[1, 0, 2, 1])
    x = graph.op("Relu", graph.batch_norm(x, 8))
    y = graph.clip(graph.batch_norm(graph.conv(x, 8, 8, pads=[1] * 4, bias=False), 8), 0, 6)
    y = graph.conv(y, 8, 8, group=8, pads=[1] * 4)
    x = graph.op("Relu", graph.op("Add", x, y))
    window = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [1, 2]}
    left = graph.op("AveragePool", x, count_include_pad=seed % 2, **window)
    right = graph.op("MaxPool", graph.conv(x, 8, 6, (1, 1), group=2), **window)
    x = graph.op("Concat", left, right, axis=1)
    x = graph.op("Flatten", graph.op("Relu", graph.conv(x, 14, 10, (3, 1), group=2)))
    return graph.model(graph.gemm(x, 250, 7))


def drawn(seed: int) -> ModelProto:
    """Draw a network: blocks in random order and of random shape, and one of three heads."""
    graph = Graph((1, 3, 12, 9), seed)
    rng, channels, size = graph.rng, 3, [12, 9]
    x = "image"
    for _ in range(int(rng.integers(2, 5))):
        before, wide = x, 2 * int(rng.integers(1, 5))
        kernel = [int(rng.integers(1, 4)) for _ in range(2)]
        stride = [int(rng.integers(1, 3)) if length > 5 else 1 for length in size]
        pads = [int(rng.integers(0, kernel[axis % 2])) for axis in range(4)]
        group = int(rng.choice([1, channels, 2 if channels % 2 == 0 else 1]))
        wide = wide * channels if group == channels > 2 else wide
        x = graph.conv(x, channels, wide, kernel, group, bool(rng.integers(2)),
                       strides=stride, pads=pads)  # fmt: skip
        size = [
            (length + pads[axis] + pads[axis + 2] - kernel[axis]) // stride[axis] + 1
            for axis, length in enumerate(size)
        ]
        channels = wide
        if rng.integers(2):
            x = graph.batch_norm(x, channels)
        if rng.integers(3):
            x = graph.op("Relu", x) if rng.integers(2) else graph.clip(x, 0, 6)
        match int(rng.integers(5)):
            case 0:
                y = graph.conv(x, channels, channels, (1, 1))
                x = graph.op("Relu", graph.op("Add", x, y))
            case 1:
                y = graph.conv(x, channels, 4, pads=[1] * 4)
                x, channels = graph.op("Concat", y, x, axis=1), channels + 4
            case 2:
                kind = "MaxPool" if rng.integers(2) else "AveragePool"
                include = {} if kind == "MaxPool" else {"count_include_pad": int(rng.integers(2))}
                x = graph.op(kind, x, kernel_shape=[2, 3], pads=[0, 1, 1, 1], **include)
            case 3 if before != "image" and min(size) > 2:
                x = graph.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
                size = [-(-length // 2) for length in size]
    pixels = channels * size[0] * size[1]
    match int(rng.integers(3)):
        case 0:
            x = graph.op("Flatten", graph.op("GlobalAveragePool", x))
            x = graph.gemm(x, channels, 5)
        case 1:
            x = graph.op("Reshape", x, graph.constant(np.array([0, -1])))
            x = graph.gemm(graph.op("Relu", graph.gemm(x, pixels, 8)), 8, 5)
        case _:
            x = graph.op("Flatten", x)
            weights = rng.normal(0, pixels**-0.5, (pixels, 6)).astype(np.float32)
            x = graph.op("MatMul", x, graph.constant(weights))
    return graph.model(x)


def images(model: ModelProto, seed: int = 0, count: int = 8, signed: bool = True) -> NDArray:
    """Draw images for a model, axes n, c, y, x (or n, c)."""
    rng = np.random.default_rng(seed)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    size = (count, *(dim.dim_value for dim in dims[1:]))
    values = rng.normal(0, 1, size) if signed else rng.uniform(0, 1, size)
    return values.astype(np.float32)
