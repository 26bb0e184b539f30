"""Networks of ours beside ONNX Runtime on the same quantised model.

Node by node, each on ONNX Runtime's own codes, ours may be one step off (ties and the
rounding of scales differ); end to end such steps may add up.
"""

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from sw.onnx.prepare import prepare
from sw.quantise import quantise
from tests.sw.graphs import Graph, drawn, images, residual
from tests.sw.replay import Agreement, compare

#: Name, QOperator format, ONNX Runtime's graph optimisations.
VARIANTS = [("qdq", False, False), ("qdq fused", False, True), ("qoperator", True, True)]


@pytest.mark.parametrize(("operator_format", "optimise"), [item[1:] for item in VARIANTS])
@pytest.mark.parametrize("seed", range(6))
def test_drawn_networks_agree_with_onnxruntime(seed, operator_format, optimise):
    model, total = drawn(seed), Agreement()
    inputs = images(model, seed, signed=bool(seed % 2))
    quantised = quantise(prepare(model), inputs, operator_format=operator_format)
    compare(quantised, inputs[:1], optimise, total)
    assert total.worst <= 1, str(total)
    assert total.equal >= 0.97 * total.codes, str(total)
    assert total.output_worst <= 4, str(total)


@pytest.mark.parametrize(("operator_format", "optimise"), [item[1:] for item in VARIANTS])
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_network_of_every_operator_agrees(count_include_pad, operator_format, optimise):
    model, total = residual(count_include_pad), Agreement()
    inputs = images(model)
    quantised = quantise(prepare(model), inputs, operator_format=operator_format)
    network = compare(quantised, inputs[:1], optimise, total)
    kinds = {type(node).__name__ for node in network.nodes}
    assert kinds >= {"Convolution", "Pooling", "Addition", "Concatenation"}
    assert {layer.layer.groups for layer in network.convolutions} == {1, 2, 8}
    assert total.worst <= 1, str(total)


@pytest.mark.slow
def test_agreement_over_many_networks(capsys):
    """The figures that docs state: ``pytest -m slow -k over_many``."""
    lines = []
    for name, operator_format, optimise in VARIANTS:
        total = Agreement()
        for seed in range(60):
            model = drawn(seed)
            inputs = images(model, seed, signed=bool(seed % 2))
            quantised = quantise(prepare(model), inputs, operator_format=operator_format)
            compare(quantised, inputs[:2], optimise, total)
        lines.append(f"{name}: {total}")
        assert total.worst <= 1, lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")


def shapes(kind: int) -> Graph:
    """Operators that the drawn networks lack, in three chains."""
    graph = Graph((1, 4, 8, 8), kind)
    x = graph.op("Relu", graph.batch_norm("image", 4))  # a depthwise layer
    zeros = [0, 0, 1, 0, 0, 0, 2, 1]
    if kind == 0:
        x = graph.op("Pad", graph.conv(x, 4, 6), graph.constant(np.array(zeros)))
        x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
        x = graph.op("ReduceMean", x, axes=[-2, -1], keepdims=0)
        x = graph.gemm(x, 6, 5)
    elif kind == 1:
        left, right = graph.conv(x, 4, 6, strides=[2, 2]), graph.conv(x, 4, 6, strides=[2, 2])
        x = graph.op("Sum", left, right, graph.op("Relu", left))
        x = graph.op("Squeeze", graph.op("GlobalMaxPool", x), graph.constant(np.array([2, 3])))
        x = graph.op("Unsqueeze", graph.gemm(x, 6, 5), graph.constant(np.array([2, 3])))
        x = graph.conv(x, 5, 7, (1, 1))
    else:
        # Channels behind the pixels before the matrix, as exporters of another layout write it.
        x = graph.op("Transpose", graph.conv(x, 4, 6), perm=[0, 2, 3, 1])
        x = graph.gemm(graph.op("Reshape", x, graph.constant(np.array([1, 216]))), 216, 5)
        x = graph.clip(x, -0.5, np.inf)
    graph.last = x
    return graph


@pytest.mark.parametrize(("operator_format", "optimise"), [item[1:] for item in VARIANTS])
@pytest.mark.parametrize("kind", range(3))
def test_shape_operators_agree(kind, operator_format, optimise):
    graph, total = shapes(kind), Agreement()
    model = graph.model(graph.last)
    inputs = images(model)
    quantised = quantise(prepare(model), inputs, operator_format=operator_format)
    compare(quantised, inputs[:2], optimise, total)
    assert total.worst <= 1, str(total)
    assert total.output_worst <= 2, str(total)


def _dequantise(graph: Graph, source: str, scale: float, zero) -> str:
    how = [graph.constant(np.float32(scale)), graph.constant(zero)]
    return graph.op("DequantizeLinear", source, *how)


def _pair(graph: Graph, source: str, scale: float, zero) -> str:
    how = [graph.constant(np.float32(scale)), graph.constant(zero)]
    return _dequantise(graph, graph.op("QuantizeLinear", source, *how), scale, zero)


@pytest.mark.parametrize(
    "zero", [np.uint8(0), np.uint8(128), np.uint8(77), np.int8(0), np.int8(-128), np.int8(-5)]
)
@pytest.mark.parametrize("optimise", [False, True])
def test_every_zero_point_agrees_padding_included(zero, optimise):
    graph = Graph((1, 4, 6, 5), 3)
    x = _pair(graph, "image", 0.02, zero)
    codes = graph.rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    scales = graph.constant(graph.rng.uniform(0.001, 0.01, 6).astype(np.float32))
    zeros = graph.constant(np.zeros(6, np.int8))
    weights = graph.op("DequantizeLinear", graph.constant(codes), scales, zeros, axis=0)
    bias = graph.constant(graph.rng.normal(0, 0.2, 6).astype(np.float32))
    x = graph.op("Conv", x, weights, bias, pads=[1, 0, 2, 1])
    x = _pair(graph, x, 0.03, zero)
    x = graph.op("MaxPool", x, kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    x = _pair(graph, x, 0.03, zero)
    x = _pair(graph, graph.op("AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 0, 0],
                              count_include_pad=1), 0.025, zero)  # fmt: skip
    x = _pair(graph, graph.op("Relu", x), 0.02, zero)
    total = Agreement()
    values = graph.rng.normal(0, 1.5, (4, 4, 6, 5)).clip(-2.5, 2.5).astype(np.float32)
    network = compare(graph.model(x), values, optimise, total)
    assert total.worst <= 1, str(total)
    padded = any(type(node).__name__ == "Padding" for node in network.nodes)
    assert padded == (int(zero) not in (0, 128, -128))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_qlinear_operators_with_every_zero_point_agree(kind):
    """QLinearConv, QLinearMatMul, QGemm, QLinearAdd, pools and concat, written by hand."""
    graph, domain = Graph((1, 4, 6, 5), 7), {"domain": "com.microsoft"}
    rng, base = graph.rng, 0 if kind is np.int8 else 128
    info = np.iinfo(kind)

    def how(scale, zero):  # new constants each time: ONNX Runtime's fusions fail on shared ones
        return lambda: [graph.constant(np.float32(scale)), graph.constant(kind(zero))]

    a, b, c = how(0.02, base + 3), how(0.05, base - 9), how(0.043, base)
    x = graph.op("QuantizeLinear", "image", *a())
    weights = rng.integers(base - 100, base + 100, (6, 4, 3, 3)).astype(kind)
    step = how(0.004, base)
    bias = graph.constant(rng.integers(-3000, 3000, 6).astype(np.int32))
    y = graph.op("QLinearConv", x, *a(), graph.constant(weights), *step(), *b(), bias, pads=[1] * 4)
    z = graph.op("QLinearAdd", y, *b(), y, *b(), *c(), **domain)
    y = graph.op("QLinearConcat", *c(), y, *b(), z, *c(), axis=1, **domain)
    y = graph.op("MaxPool", y, kernel_shape=[2, 1])
    y = graph.op("QLinearAveragePool", y, *c(), *b(), kernel_shape=[2, 2], strides=[2, 2], **domain)
    z = graph.op("QLinearGlobalAveragePool", y, *b(), *c(), channels_last=0, **domain)
    y = graph.op("Reshape", y, graph.constant(np.array([1, -1])))
    matrix = rng.integers(info.min + 1, info.max, (48, 7)).astype(kind)
    y = graph.op("QLinearMatMul", y, *b(), graph.constant(matrix), *step(), *a())
    bias = graph.constant(rng.integers(-3000, 3000, 5).astype(np.int32))
    matrix = rng.integers(info.min + 1, info.max, (5, 7)).astype(kind)
    y = graph.op("QGemm", y, *a(), graph.constant(matrix), *step(), bias, *c(), transB=1, **domain)
    z = graph.op("Flatten", z)
    y = graph.op("Concat", y, z, axis=1)
    model = graph.model(y)
    total = Agreement()
    values = rng.normal(0, 1.2, (6, 4, 6, 5)).astype(np.float32)
    # Without optimisations: they give QLinearMatMul types that ONNX Runtime has no kernel for.
    compare(model, values, False, total)
    assert total.codes > 6 * 100
    assert total.worst <= 1, str(total)
    assert total.equal >= 0.97 * total.codes, str(total)


def test_integer_input_of_the_graph_is_the_input_of_the_network():
    graph = Graph((1, 2, 3, 3), 1)
    how = [graph.constant(np.float32(0.5)), graph.constant(np.uint8(128))]
    x = graph.op("DequantizeLinear", "image", *how)
    x = graph.op("QuantizeLinear", graph.op("Relu", x), *how)
    from sw.onnx.importer import import_onnx

    network = import_onnx(graph.model(x, TensorProto.UINT8))
    assert (network.input.dtype, network.input.scale, network.input.zero_point) == ("int8", 0.5, 0)


def test_filter_with_scale_zero_gives_its_bias():
    graph = Graph((1, 2, 3, 3), 1)
    x = _pair(graph, "image", 1 / 255, np.uint8(0))
    codes = graph.constant(np.array([[[[5]], [[-7]]], [[[0]], [[0]]], [[[3]], [[9]]]], np.int8))
    scales = graph.constant(np.array([0, 0, 0.01], np.float32))
    zeros = graph.constant(np.zeros(3, np.int8))
    weights = graph.op("DequantizeLinear", codes, scales, zeros, axis=0)
    bias = graph.constant(np.array([0.5, 0, 0.25], np.float32))
    x = _pair(graph, graph.op("Conv", x, weights, bias), 0.01, np.int8(0))
    total = Agreement()
    values = graph.rng.uniform(0, 1, (3, 2, 3, 3)).astype(np.float32)
    network = compare(graph.model(x), values, False, total)
    layer = network.convolutions[0]
    assert total.worst <= 1
    assert not layer.weights[:2].any()
    assert np.all(np.isfinite(layer.weight_scales))
    assert np.all(layer.weight_scales > 0)


def test_dead_channel_after_folding_agrees():
    """A batch norm whose gamma is 0 leaves a filter of zeros and its bias."""
    graph = Graph((1, 2, 5, 5), 2)
    x = graph.op("Relu", graph.batch_norm(graph.conv("image", 2, 4), 4))
    gamma = graph.constants[2]
    values = numpy_helper.to_array(gamma).copy()
    values[1] = 0
    gamma.CopyFrom(numpy_helper.from_array(values, gamma.name))
    model, total = graph.model(x), Agreement()
    inputs = images(model)
    network = compare(quantise(prepare(model), inputs), inputs[:2], False, total)
    assert not network.convolutions[0].weights[1].any()
    assert total.worst <= 1
