"""Networks as users bring them: each runs, code for code as ONNX Runtime runs it.

Every node is fed ONNX Runtime's own codes (each operator as the quantised model has it, no
fusing). Where a model is float, the project quantises it first; random weights throughout.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from accel.activations.functional import run_nodes
from accel.activations.host import run_host
from accel.activations.trace import Trace
from golden import reference
from golden.errors import UserError
from golden.network import Convolution, HostNode, Network, Rearrangement, Table
from sw.compress import compress
from sw.images import Images, network_codes
from sw.onnx.check import check_model
from sw.onnx.file import is_quantised, load_model, model_inputs
from sw.onnx.importer import import_onnx
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from tests.sw.graphs import Graph
from tests.sw.replay import Agreement, compare

SIZE = 10
#: Where a layer's code differs, its exact sum is so close to a half that float32 sums, which
#: ONNX Runtime makes, may fall on its other side.
FROM_HALF = 1e-5


def drawn_images(model: ModelProto, count: int = 4) -> Images:
    """Draw images for each of a model's inputs."""
    rng, images = np.random.default_rng(7), {}
    for item in model_inputs(model):
        kind = item.type.tensor_type
        shape = (count, *(dim.dim_value for dim in kind.shape.dim[1:]))
        if kind.elem_type == TensorProto.UINT8:
            images[item.name] = rng.integers(0, 256, shape).astype(np.uint8)
        else:
            images[item.name] = rng.normal(0, 1, shape).astype(np.float32)
    return images if len(images) > 1 else next(iter(images.values()))


def agree(model: ModelProto, tmp_path, unequal: float = 1e-3) -> Network:
    """Run a model as a user's file; every node must give ONNX Runtime's codes.

    Float sums of ONNX Runtime are rounded, ours are exact: ``unequal`` is the share of codes
    that may be one apart for that.
    """
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    loaded = load_model(path)
    images = drawn_images(loaded)
    if not is_quantised(loaded):
        loaded = quantise(prepare(loaded), images)
    one = images[:1] if not isinstance(images, dict) else {k: v[:1] for k, v in images.items()}
    total = Agreement()
    network = compare(loaded, one, False, total)
    assert total.worst <= 1, str(total)
    assert total.codes - total.equal <= unequal * total.codes, str(total)
    assert total.from_half < FROM_HALF, str(total)
    # The simulator's activations are the reference's, whatever the nodes.
    image = network_codes(one, network)[0]
    fast = {node.output.name: output for node, _, output in run_nodes(network, image)}
    plain = reference.run_network(network, image, run_host)
    for name, output in fast.items():
        np.testing.assert_array_equal(output, plain[name])
    return network


def kinds(network: Network) -> list[str]:
    return [type(node).__name__ for node in network.nodes]


def hosted(network: Network) -> list[str]:
    """Operators on the host, without the quantisation of what they make."""
    found = [node.operator for node in network.nodes if isinstance(node, HostNode)]
    return [operator for operator in found if operator != "QuantizeLinear"]


def stem(**options) -> tuple[Graph, str]:
    """A convolution with ReLU, 3 to 8 channels."""
    graph = Graph((1, 3, SIZE, SIZE), 5, **options)
    return graph, graph.op("Relu", graph.conv("image", 3, 8, pads=[1] * 4))


# -- activations --------------------------------------------------------------------------------

ACTIVATIONS = {
    "silu": lambda g, x: g.op("Mul", x, g.op("Sigmoid", x)),
    "hard swish": lambda g, x: g.op("HardSwish", x),
    "leaky": lambda g, x: g.op("LeakyRelu", x, alpha=0.1),
    "sigmoid": lambda g, x: g.op("Sigmoid", x),
    "tanh": lambda g, x: g.op("Tanh", x),
    "elu": lambda g, x: g.op("Elu", x),
    "mish": lambda g, x: g.op("Mul", x, g.op("Tanh", g.op("Softplus", x))),
    "clip": lambda g, x: g.clip(x, -0.3, 0.7),
    "prelu": lambda g, x: g.op(
        "PRelu", x, g.constant(g.rng.uniform(0, 0.5, (8, 1, 1)).astype(np.float32))
    ),
    "gelu": lambda g, x: g.op(
        "Mul",
        g.op("Mul", x, g.constant(np.float32(0.5))),
        g.op(
            "Add",
            g.op("Erf", g.op("Div", x, g.constant(np.float32(np.sqrt(2))))),
            g.constant(np.float32(1)),
        ),
    ),
    "hard swish in parts": lambda g, x: g.op(
        "Mul",
        x,
        g.op(
            "Div",
            g.clip(g.op("Add", x, g.constant(np.float32(3))), 0, 6),
            g.constant(np.float32(6)),
        ),
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_one_table(name, tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 2)
    x = ACTIVATIONS[name](graph, graph.conv("image", 3, 8, pads=[1] * 4))
    network = agree(graph.model(graph.conv(x, 8, 4)), tmp_path)
    assert kinds(network) == ["Convolution", "Table", "Convolution"] or name == "clip"
    assert not network.host_nodes
    if name == "prelu":
        (table,) = (node for node in network.nodes if isinstance(node, Table))
        assert table.codes.shape == (8, 256)


def test_final_sigmoid_stays_on_the_host_as_floats(tmp_path):
    graph, x = stem()
    x = graph.op("Sigmoid", graph.gemm(graph.op("Flatten", graph.op("GlobalAveragePool", x)), 8, 5))
    network = agree(graph.model(x), tmp_path)
    assert hosted(network) == ["Sigmoid"]
    result = network.tensor(network.output)
    assert (result.dtype, result.shape) == ("float32", (1, 5))


# -- on the machine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dilations", "strides", "pads", "group"),
    [
        ((2, 2), (1, 1), (2, 2, 2, 2), 1),
        ((3, 2), (2, 1), (0, 3, 1, 2), 1),
        ((2, 3), (2, 3), (1, 0, 2, 3), 8),
        ((4, 1), (6, 2), (4, 0, 4, 1), 2),
        ((1, 2), (1, 1), (0, 0, 0, 0), 1),
    ],
)
def test_dilation_runs_on_the_machine(dilations, strides, pads, group, tmp_path):
    graph, x = stem()
    x = graph.conv(x, 8, 8, group=group, dilations=dilations, strides=strides, pads=pads)
    network = agree(graph.model(graph.conv(graph.op("Relu", x), 8, 4, (1, 1))), tmp_path)
    assert not network.host_nodes
    assert len(network.convolutions) == 3
    assert "Rearrangement" in kinds(network)


@pytest.mark.parametrize(
    ("attributes", "kernel", "group"),
    [
        ({"strides": [2, 2]}, (2, 2), 1),
        ({"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0]}, (4, 3), 1),
        ({"dilations": [2, 1], "pads": [1, 1, 0, 1]}, (3, 3), 1),
    ],
)
def test_transposed_convolution_runs_on_the_machine(attributes, kernel, group, tmp_path):
    graph, x = stem()
    weights = graph.rng.normal(0, 0.3, (8, 4 // group, *kernel)).astype(np.float32)
    bias = graph.constant(graph.rng.normal(0, 0.3, 4).astype(np.float32))
    x = graph.op("ConvTranspose", x, graph.constant(weights), bias, group=group, **attributes)
    network = agree(graph.model(x), tmp_path)
    assert not network.host_nodes
    assert kinds(network)[:3] == ["Convolution", "Rearrangement", "Convolution"]


def test_one_dimension_is_an_image_of_height_1(tmp_path):
    graph = Graph((1, 4, 32), 1)
    x = graph.op("Relu", graph.conv("image", 4, 8, (3,), pads=[1, 1], strides=[2]))
    x = graph.op("MaxPool", x, kernel_shape=[2], strides=[2])
    x = graph.conv(x, 8, 8, (3,), dilations=[2])
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    network = agree(graph.model(graph.gemm(x, 8, 5)), tmp_path)
    assert network.input.shape == (1, 32, 4)
    assert not network.host_nodes


def test_products_over_a_sequence_run_on_the_machine(tmp_path):
    """A transformer's block: matrix products of tokens; what mixes tokens is on the host."""
    graph = Graph((1, 6, 16), 3)
    parts = []
    for _ in range(3):
        weights = graph.constant(graph.rng.normal(0, 0.25, (16, 16)).astype(np.float32))
        parts.append(graph.op("MatMul", "image", weights))
    scores = graph.op("MatMul", parts[0], graph.op("Transpose", parts[1], perm=[0, 2, 1]))
    x = graph.op("Add", "image", graph.op("MatMul", graph.op("Softmax", scores), parts[2]))
    ones = [graph.constant(np.ones(16, np.float32)), graph.constant(np.zeros(16, np.float32))]
    x = graph.op("LayerNormalization", x, *ones)
    weights = graph.constant(graph.rng.normal(0, 0.25, (16, 8)).astype(np.float32))
    x = graph.op("ReduceMean", graph.op("MatMul", x, weights), axes=[1], keepdims=0)
    model = graph.model(x)
    network = agree(model, tmp_path)
    assert [node.layer.in_height for node in network.convolutions] == [6] * 4
    assert {"MatMul", "Softmax", "LayerNormalization"} <= set(hosted(network))
    assert check_model(model).kind == "a network with attention"
    assert 0.5 < network.machine_share < 1


def quantised_layer(graph: Graph, source: str, weights, scale, zero, bias=None, **attributes):
    """Dequantise, convolve, quantise."""
    inputs = [graph.op("DequantizeLinear", graph.constant(weights), graph.constant(scale),
                       graph.constant(zero), axis=0)]  # fmt: skip
    if bias is not None:
        inputs.append(bias)
    return graph.op("Conv", source, *inputs, **attributes)


def pair(graph: Graph, source: str, scale: float, zero) -> str:
    how = [graph.constant(np.float32(scale)), graph.constant(zero)]
    return graph.op("DequantizeLinear", graph.op("QuantizeLinear", source, *how), *how)


@pytest.mark.parametrize("group", [1, 4])
def test_weights_of_9_bits_run_exactly_as_terms(group, tmp_path):
    """Asymmetric uint8 weights less their zero point reach -255..255, here both ends."""
    graph = Graph((1, 4, 6, 6), 4)
    x = pair(graph, "image", 0.02, np.uint8(128))
    weights = graph.rng.integers(0, 256, (4, 4 // group, 3, 3)).astype(np.uint8)
    weights[0, 0, 0] = [0, 255, 255]
    scales = np.full(4, 0.01, np.float32)
    zeros = np.array([255, 0, 100, 128], np.uint8)
    x = quantised_layer(graph, x, weights, scales, zeros, group=group, pads=[1] * 4)
    network = agree(graph.model(pair(graph, x, 0.125, np.uint8(128))), tmp_path)
    assert len(network.convolutions) == 1
    layer = network.convolutions[0]
    assert layer.layer.in_channels > 4
    assert np.abs(layer.weights.astype(int)).max() <= 128
    assert "of 9 bits, as terms of 8" in network.source


def test_matrix_of_9_bits_and_qlinear_operators(tmp_path):
    graph, domain = Graph((1, 3, 5, 5), 4), {"domain": "com.microsoft"}

    def how(scale, zero):
        return [graph.constant(np.float32(scale)), graph.constant(np.uint8(zero))]

    x = graph.op("QuantizeLinear", "image", *how(0.02, 128))
    weights = graph.constant(graph.rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8))
    x = graph.op("QLinearConv", x, *how(0.02, 128), weights, *how(0.01, 3), *how(0.3, 120))
    x = graph.op("Flatten", x)
    matrix = graph.constant(graph.rng.integers(0, 256, (36, 5)).astype(np.uint8))
    bias = graph.constant(graph.rng.integers(-999, 999, 5).astype(np.int32))
    x = graph.op("QGemm", x, *how(0.3, 120), matrix, *how(0.01, 250), bias, *how(1.5, 99), **domain)
    model = graph.model(graph.op("DequantizeLinear", x, *how(1.5, 99)))
    output = helper.make_tensor_value_info(model.graph.output[0].name, TensorProto.FLOAT, [1, 5])
    model.graph.output[0].CopyFrom(output)
    network = agree(model, tmp_path)
    assert not network.host_nodes
    assert len(network.convolutions) == 2


def test_bias_at_the_end_of_int32_runs(tmp_path):
    """A nearly dead channel: its scale is so small that its bias saturates when quantised."""
    graph = Graph((1, 3, 6, 6), 4)
    x = pair(graph, "image", 1 / 64, np.uint8(0))
    weights = graph.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = np.array([0.01, 1e-9, 1e-9, 1e-12], np.float32)
    ends = np.array([100, 2**31 - 1, -(2**31), 2**31 - 1], np.int32)
    bias = graph.op(
        "DequantizeLinear", graph.constant(ends), graph.constant(scales / np.float32(64)), axis=0
    )
    x = quantised_layer(graph, x, weights, scales, np.zeros(4, np.int8), bias)
    network = agree(graph.model(pair(graph, x, 1 / 32, np.int8(0))), tmp_path, 5e-3)
    assert np.abs(network.convolutions[0].requantisation.bias).max() == 2**31


@pytest.mark.parametrize("scale", [0.25, 0.5])
def test_halves_go_to_the_even_code(scale, tmp_path):
    """QCDQ with exact powers of two: every other sum ends in a half, and none may be off."""
    graph = Graph((1, 3, 8, 8), 4)

    def clipped(source, low, high, kind):
        bounds = [graph.constant(np.array(bound, kind)) for bound in (low, high)]
        return graph.op("Clip", source, *bounds)

    step, zero = graph.constant(np.float32(0.5)), graph.constant(np.int8(0))
    x = clipped(graph.op("QuantizeLinear", "image", step, zero), -8, 7, np.int8)
    x = graph.op("DequantizeLinear", x, step, zero)
    weights = graph.rng.integers(-7, 8, (8, 3, 3, 3)).astype(np.int8)
    scales, zeros = np.full(8, scale, np.float32), np.zeros(8, np.int8)
    x = quantised_layer(graph, x, weights, scales, zeros, pads=[1] * 4)
    out, none = graph.constant(np.float32(2 * 0.5 * scale)), graph.constant(np.int8(0))
    x = clipped(graph.op("QuantizeLinear", x, out, none), -60, 55, np.int8)
    model = graph.model(graph.op("DequantizeLinear", x, out, none))
    network = agree(model, tmp_path, unequal=0)
    assert kinds(network).count("Convolution") == 1


# -- vector nodes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window",
    [
        {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]},
        {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2], "count_include_pad": 1},
        {"kernel_shape": [2, 4], "pads": [0, 1, 1, 2], "strides": [1, 2]},
        {"kernel_shape": [2, 4], "pads": [0, 1, 1, 2], "count_include_pad": 1},
        {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
    ],
)
def test_average_pools_end_halves_as_onnxruntime(window, tmp_path):
    """In and out have one scale, so that a fourth of the means of four end in a half."""
    graph = Graph((1, 3, 11, 12), 2)
    x = pair(graph, "image", 0.0231, np.uint8(120))
    x = graph.op("AveragePool", x, **window)
    network = agree(graph.model(pair(graph, x, 0.0231, np.uint8(120))), tmp_path, unequal=0)
    assert set(kinds(network)) <= {"Pooling", "Padding"}


def split(graph, x):
    a, b = "first", "second"
    sizes = graph.constant(np.array([3, 5]))
    graph.nodes.append(helper.make_node("Split", [x, sizes], [a, b], axis=1))
    return graph.op("Concat", b, graph.conv(a, 3, 2, (1, 1)), axis=1), 7


def channel_shuffle(graph, x):
    x = graph.op("Reshape", x, graph.constant(np.array([1, 2, 4, SIZE, SIZE])))
    x = graph.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    return graph.op("Reshape", x, graph.constant(np.array([1, 8, SIZE, SIZE]))), 8


def sliced(graph, x):
    def cut(*numbers):
        return [graph.constant(np.array([number])) for number in numbers]

    left = graph.op("Slice", x, *cut(4, 2**63 - 1, 1, 1))
    right = graph.op("Slice", x, *cut(0, 4, 1, 1))
    x = graph.op("Concat", left, right, axis=1)
    return graph.op("Slice", x, *cut(-2, -(2**63), 2, -2)), 8


def with_constants(graph, x):
    plane = graph.constant(graph.rng.uniform(0, 1, (1, 2, SIZE, SIZE)).astype(np.float32))
    return graph.op("Concat", x, plane, axis=1), 10


def zero_channels(graph, x):
    pads = graph.constant(np.array([0, 4, 0, 0, 0, 4, 0, 0]))
    y = graph.op("Pad", x, pads)
    return graph.op("Add", y, graph.conv(x, 8, 16, pads=[1] * 4)), 16


def excited(graph, x):
    y = graph.op("Relu", graph.conv(graph.op("GlobalAveragePool", x), 8, 2, (1, 1)))
    y = graph.op("Sigmoid", graph.conv(y, 2, 8, (1, 1)))
    return graph.op("Mul", x, y), 8


def product(graph, x):
    return graph.op("Mul", x, graph.op("Relu", graph.conv(x, 8, 8, pads=[1] * 4))), 8


def difference(graph, x):
    return graph.op("Sub", x, graph.conv(x, 8, 8, pads=[1] * 4)), 8


def upsampled(graph, x):
    sizes = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.op("Resize", x, "", sizes, mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric"), 8  # fmt: skip


def depth_to_space(graph, x):
    return graph.op("DepthToSpace", x, blocksize=2), 2


def broadcast(graph, x):
    return graph.op("Add", x, graph.op("GlobalAveragePool", x)), 8


def joined_rows(graph, x):
    return graph.op("Concat", x, graph.op("MaxPool", x, kernel_shape=[1, 1]), axis=2), 8


MOVES = [
    split,
    channel_shuffle,
    sliced,
    with_constants,
    zero_channels,
    excited,
    product,
    difference,
    upsampled,
    depth_to_space,
    broadcast,
    joined_rows,
]


@pytest.mark.parametrize("build", MOVES, ids=lambda build: build.__name__)
def test_vector_nodes(build, tmp_path):
    graph, x = stem()
    x, channels = build(graph, x)
    network = agree(graph.model(graph.conv(x, channels, 4, (1, 1))), tmp_path)
    assert not network.host_nodes
    assert network.machine_share == 1


@pytest.mark.parametrize(
    ("operator", "axes"),
    [
        ("ReduceMean", [3]),
        ("ReduceMean", [1]),
        ("ReduceMean", [1, 3]),
        ("ReduceMean", [2, 3]),
        ("ReduceMax", [2, 3]),
        ("ReduceMax", [2]),
    ],
)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_means_and_maxima_over_any_axes(operator, axes, keepdims, tmp_path):
    graph, x = stem()
    x = graph.op(operator, x, axes=axes, keepdims=keepdims)
    size = 8 * SIZE * SIZE // int(np.prod([8 if axis == 1 else SIZE for axis in axes]))
    network = agree(graph.model(graph.gemm(graph.op("Flatten", x), size, 5)), tmp_path)
    assert not network.host_nodes


# -- formats ------------------------------------------------------------------------------------


def test_channels_last_input_costs_nothing(tmp_path):
    graph = Graph((1, SIZE, SIZE, 3), 5)
    x = graph.op("Transpose", "image", perm=[0, 3, 1, 2])
    x = graph.op("Relu", graph.conv(x, 3, 8, strides=[2, 2], auto_pad="SAME_UPPER"))
    x = graph.op("Transpose", graph.conv(x, 8, 4, (1, 1)), perm=[0, 2, 3, 1])
    model = graph.model(x)
    network = agree(model, tmp_path)
    assert kinds(network) == ["Convolution", "Convolution"]
    # Images may have their channels first or last.
    images = drawn_images(model)
    codes = network_codes(images, network)
    np.testing.assert_array_equal(codes, network_codes(images.transpose(0, 3, 1, 2), network))
    first = compress(model, images).convolutions[0]
    second = compress(model, images.transpose(0, 3, 1, 2)).convolutions[0]
    np.testing.assert_array_equal(first.weights, second.weights)


@pytest.mark.parametrize("opset", [7, 8, 9, 13])
def test_old_files_list_weights_as_inputs(opset, tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 5, opset)
    x = graph.op("Relu", graph.batch_norm(graph.conv("image", 3, 8, pads=[1] * 4), 8))
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    model = graph.model(graph.gemm(x, 8, 10))
    model.ir_version = 3
    output = helper.make_tensor_value_info(model.graph.output[0].name, TensorProto.FLOAT, [1, 10])
    model.graph.output[0].CopyFrom(output)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    network = agree(model, tmp_path)
    assert len(network.convolutions) == 2
    assert len(network.inputs) == 1


def test_batch_of_n_is_one_of_1(tmp_path):
    graph = Graph((4, 3, SIZE, SIZE), 5)
    x = graph.op("GlobalAveragePool", graph.op("Relu", graph.conv("image", 3, 8)))
    x = graph.gemm(graph.op("Reshape", x, graph.constant(np.array([4, 8]))), 8, 10)
    network = agree(graph.model(x), tmp_path)
    assert network.tensor(network.output).shape == (1, 1, 10)


def test_float16(tmp_path):
    graph, x = stem()
    x = graph.op("Cast", graph.op("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT16)
    model = graph.model(graph.conv(x, 8, 4))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for item in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        item.type.tensor_type.elem_type = TensorProto.FLOAT16
    network = agree(model, tmp_path)
    assert not network.host_nodes


def test_uint8_images_through_a_cast(tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 5)
    x = graph.op("Cast", "image", to=TensorProto.FLOAT)
    x = graph.op("Mul", x, graph.constant(np.array([1 / 255], np.float32)))
    network = agree(graph.model(graph.conv(x, 3, 4), TensorProto.UINT8), tmp_path)
    assert (network.input.dtype, network.input.scale) == ("uint8", 1.0)
    assert kinds(network) == ["Table", "Convolution"]


def test_batch_norm_on_the_input(tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 5)
    network = agree(graph.model(graph.conv(graph.batch_norm("image", 3), 3, 4)), tmp_path)
    assert [node.layer.groups for node in network.convolutions] == [3, 1]


# -- the host -----------------------------------------------------------------------------------


def normalised(graph, x):
    ones = [graph.constant(np.ones(8, np.float32)), graph.constant(np.zeros(8, np.float32))]
    return graph.op("InstanceNormalization", x, *ones)


def local_response(graph, x):
    return graph.op("LRN", x, size=5)


def blurred(graph, x):
    sizes = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.op("Resize", x, "", sizes, mode="linear")


def whitened(graph, x):
    return graph.op("Softmax", x, axis=1)


def gathered_by_input(graph, x):
    best = graph.op("ArgMax", x, axis=1, keepdims=1)
    return graph.op("Concat", x, graph.op("Cast", best, to=TensorProto.FLOAT), axis=1)


def conditional(graph, x):
    """A node with subgraphs that read a tensor from outside."""
    made = [helper.make_tensor_value_info("made", TensorProto.FLOAT, None)]
    branches = [
        helper.make_graph([helper.make_node(kind, [x], ["made"])], kind, [], made)
        for kind in ("Neg", "Identity")
    ]
    flag = graph.op("Greater", graph.op("ReduceSum", x, keepdims=0), graph.constant(np.float32(0)))
    return graph.op("If", flag, then_branch=branches[0], else_branch=branches[1])


HOSTED = {
    normalised: ({"InstanceNormalization"}, 8),
    local_response: ({"LRN"}, 8),
    blurred: ({"Resize"}, 8),
    whitened: ({"Softmax"}, 8),
    gathered_by_input: ({"ArgMax", "Cast"}, 9),
}


@pytest.mark.parametrize("build", HOSTED, ids=lambda build: build.__name__)
def test_other_operators_run_on_the_host_and_say_why(build, tmp_path):
    graph, x = stem()
    operators, channels = HOSTED[build]
    model = graph.model(graph.conv(build(graph, x), channels, 4, (1, 1)))
    network = agree(model, tmp_path)
    assert set(hosted(network)) == operators
    assert all(node.reason for node in network.host_nodes)
    assert len(network.convolutions) == 2
    assert network.machine_share == 1
    found = check_model(model)
    assert operators <= set(found.host_operators)
    assert [row["place"] for row in found.rows()].count("machine") == 2


def test_subgraphs_read_what_lies_outside(tmp_path):
    """ONNX Runtime's quantisation leaves what they read in floats, and so is its layer."""
    graph, x = stem()
    network = agree(graph.model(graph.conv(conditional(graph, x), 8, 4, (1, 1))), tmp_path)
    assert set(hosted(network)) == {"Conv", "ReduceSum", "Greater", "If"}


def test_layer_that_was_left_in_floats_runs_on_the_host(tmp_path):
    graph, x = stem()
    x = pair(graph, x, 0.02, np.uint8(0))
    weights = graph.rng.integers(-127, 128, (4, 8, 3, 3)).astype(np.int8)
    x = quantised_layer(graph, x, weights, np.full(4, 0.004, np.float32), np.zeros(4, np.int8))
    network = agree(graph.model(pair(graph, x, 0.1, np.int8(0))), tmp_path)
    assert (network.input.dtype, network.input.shape) == ("float32", (SIZE, SIZE, 3))
    assert hosted(network) == ["Conv"]
    assert "its weights are floats" in {node.reason for node in network.host_nodes}
    machine, host = SIZE - 2, SIZE
    share = machine**2 * 4 * 8 * 9 / (machine**2 * 4 * 8 * 9 + host**2 * 8 * 3 * 9)
    assert network.machine_share == pytest.approx(share)


def test_recurrent_network_is_called_that_and_runs(tmp_path):
    graph = Graph((1, 5, 16), 6)
    weights = [
        graph.constant(graph.rng.normal(0, 0.3, shape).astype(np.float32))
        for shape in [(1, 32, 16), (1, 32, 8), (1, 64)]
    ]
    turned = graph.op("Transpose", "image", perm=[1, 0, 2])
    states = graph.op("LSTM", turned, *weights, hidden_size=8)
    x = graph.op("Squeeze", states, graph.constant(np.array([1])))
    x = graph.op("Gather", graph.op("Transpose", x, perm=[1, 0, 2]), graph.constant(np.array(-1)),
                 axis=1)  # fmt: skip
    model = graph.model(graph.gemm(x, 8, 4))
    network = agree(model, tmp_path)
    assert hosted(network) == ["LSTM"]
    assert check_model(model).kind == "a recurrent network"
    assert network.machine_share == pytest.approx(32 / (32 + 5 * (32 * 16 + 32 * 8)))


def test_three_dimensions_are_called_that(tmp_path):
    graph = Graph((1, 2, 4, 6, 6), 6)
    x = graph.op("Relu", graph.conv("image", 2, 3, (2, 2, 2)))
    model = graph.model(graph.gemm(graph.op("Flatten", x), 225, 4))
    network = agree(model, tmp_path)
    assert "Conv" in hosted(network)
    assert any("3 axes" in node.reason for node in network.host_nodes)
    assert check_model(model).kind == "a network of 3-D convolutions"


def test_several_inputs_and_outputs(tmp_path):
    graph, x = stem()
    x = graph.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    y = graph.gemm(graph.op("Concat", x, "more", axis=1), 12, 10)
    model = graph.model(y)
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 4]))
    model.graph.output.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 8]))
    network = agree(model, tmp_path)
    assert [info.name for info in network.inputs] == ["image", "more"]
    assert [network.tensor(name).shape for name in network.outputs] == [(1, 1, 10), (1, 1, 8)]
    images = drawn_images(model)
    np.savez(tmp_path / "x.npz", **images)
    assert len(compress(model, images).channel_density) == 2
    with pytest.raises(UserError, match=r"Images must be a \.npz file with arrays image, more"):
        network_codes(images["image"], network)
    with pytest.raises(UserError, match=r"Images must have arrays image, more, .* not image$"):
        compress(model, {"image": images["image"]})


def test_u_net_and_detector(tmp_path):
    graph, a = stem()
    silu = ACTIVATIONS["silu"]
    b = silu(graph, graph.conv(graph.op("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 8, 8,
                               pads=[1] * 4))  # fmt: skip
    up, _ = upsampled(graph, b)
    x = graph.conv(graph.op("Concat", a, up, axis=1), 16, 4, pads=[1] * 4)
    model = graph.model(x)
    head = graph.conv(b, 8, 6, (1, 1))
    model = graph.model(x)
    model.graph.output.append(helper.make_tensor_value_info(head, TensorProto.FLOAT, [1, 6, 5, 5]))
    network = agree(model, tmp_path)
    assert not network.host_nodes
    assert len(network.outputs) == 2


def test_model_without_a_layer_says_what_would_run_on_the_host():
    graph = Graph((1, 3, SIZE, SIZE))
    model = graph.model(graph.op("Relu", "image"))
    words = r"must have a convolution or matrix product .* run on the host: Relu: it is a result"
    with pytest.raises(UserError, match=words):
        compress(model, drawn_images(model), name="mine")


def test_scale_beyond_the_machine_says_so_in_plain_numbers():
    graph = Graph((1, 3, 6, 6), 4)
    x = pair(graph, "image", 1e30, np.uint8(0))
    weights = graph.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    x = quantised_layer(graph, x, weights, np.full(4, 1, np.float32), np.zeros(4, np.int8))
    model = graph.model(pair(graph, x, 0.1, np.int8(0)))
    with pytest.raises(UserError, match=r"Conv: Requantisation scales must be below 2\*\*23, no"):
        compress(model, np.zeros((1, 3, 6, 6), np.float32))
    (reason,) = {node.reason for node in import_onnx(model).host_nodes}
    assert "np." not in reason


def test_rearrangements_are_made_once():
    """Two layers that read one dilated image share its rearrangement."""
    graph, x = stem()
    options = {"dilations": [2, 2], "pads": [2] * 4}
    a, b = (graph.conv(x, 8, 4, **options) for _ in range(2))
    model = graph.model(graph.op("Add", a, b))
    network = compress(model, drawn_images(model))
    first = [node.input for node in network.nodes if isinstance(node, Convolution)][1:]
    assert first[0] == first[1]
    moved = [node for node in network.nodes if isinstance(node, Rearrangement)]
    assert sum(node.input == network.convolutions[0].output.name for node in moved) == 1


def test_traces_tell_inputs_apart_and_come_back(tmp_path, monkeypatch):
    """The simulator keeps activations by content: each input counts, and large ones too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    graph = Graph((1, 3, 40, 40), 1)
    x = graph.op("Concat", graph.conv("image", 3, 4), graph.conv("more", 3, 4), axis=1)
    x = graph.op("Add", x, graph.op("InstanceNormalization", x, *[
        graph.constant(np.ones(8, np.float32)) for _ in range(2)]))  # fmt: skip
    model = graph.model(graph.conv(x, 8, 2))
    model.graph.input.append(
        helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 3, 40, 40])
    )
    images = drawn_images(model, 2)
    images["image"][1] = images["image"][0]
    images["more"][1] = images["more"][0]
    images["more"][1, 2, 20, 20] += 1
    network = compress(model, images)
    codes = network_codes(images, network)
    first = [layer.output for layer in Trace(network, codes)]
    again = [layer.output for layer in Trace(network, codes)]
    assert any(tmp_path.rglob("*.npz"))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    count = len(network.convolutions)
    assert any((first[i] != first[count + i]).any() for i in range(count))


def test_what_the_host_makes_may_be_repeated_over_pixels(tmp_path):
    graph, x = stem()
    norm = graph.op("ReduceL2", x, axes=[2, 3], keepdims=1)
    wide = graph.op("Expand", norm, graph.constant(np.array([1, 8, SIZE, SIZE])))
    network = agree(graph.model(graph.conv(graph.op("Div", x, wide), 8, 4)), tmp_path)
    assert hosted(network) == ["ReduceL2", "Div"]
