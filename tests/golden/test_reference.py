"""The reference operators against hand-computed values and against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper

from golden.arithmetic import Requantisation, quantise_scale
from golden.errors import FormatError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Convolution,
    Network,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Rescaling,
    Table,
    TensorInfo,
)
from golden.reference import (
    accumulate,
    add,
    concatenate,
    convolve,
    look_up,
    multiply,
    pad,
    pool,
    rearrange,
    rescale,
    run_network,
)
from tests.case import CATALOGUE, Case, cases


def onnx_run(operator: str, inputs: dict[str, np.ndarray], **attributes) -> np.ndarray:
    """Run one ONNX operator in onnxruntime."""
    node = helper.make_node(operator, list(inputs), ["result"], **attributes)
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in inputs.items()}
    values = [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in inputs.items()]
    kind = TensorProto.INT32 if operator == "ConvInteger" else kinds[next(iter(inputs))]
    result = helper.make_tensor_value_info("result", kind, [None] * 4)
    graph = helper.make_graph([node], "one", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, inputs)[0])


def nchw(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes.transpose(2, 0, 1))[None]


def yxc(result: np.ndarray) -> np.ndarray:
    return result[0].transpose(1, 2, 0)


def offset_weights(weights: np.ndarray) -> np.ndarray:
    """Weights as ONNX has them, k, c, r, s, in uint8 around 128.

    onnxruntime's uint8 times int8 kernels saturate on processors without VNNI.
    """
    return np.ascontiguousarray((weights.astype(np.int16) + 128).transpose(0, 3, 1, 2), np.uint8)


def convolution_attributes(layer: LayerShape) -> dict:
    return {
        "strides": [layer.stride_height, layer.stride_width],
        "pads": [layer.pad_top, layer.pad_left, layer.pad_bottom, layer.pad_right],
        "group": layer.groups,
    }


# -- convolution --------------------------------------------------------------------------------


def check_sums(case: Case) -> None:
    """Sums equal those of ConvInteger."""
    offset = 128 if case.activations.dtype == np.int8 else 0
    inputs = {
        "x": nchw((case.activations.astype(np.int16) + offset).astype(np.uint8)),
        "w": offset_weights(case.weights),
        "x_zero_point": np.array(offset, dtype=np.uint8),
        "w_zero_point": np.array(128, dtype=np.uint8),
    }
    expected = onnx_run("ConvInteger", inputs, **convolution_attributes(case.layer))
    found = accumulate(case.weights, case.activations, case.layer)
    assert np.array_equal(found, yxc(expected))


@pytest.mark.parametrize("case", CATALOGUE[::2], ids=lambda case: case.name)
def test_sums_of_the_catalogue_are_onnxruntimes(case):
    check_sums(case)


@settings(deadline=None, max_examples=40, database=None, derandomize=True)
@given(cases())
def test_sums_are_onnxruntimes(case):
    check_sums(case)


@pytest.mark.parametrize("seed", range(6))
def test_codes_are_at_most_one_apart_from_qlinearconv(seed):
    """QLinearConv rounds a float product, we a fixed-point one: ties and near ties may differ."""
    rng = np.random.default_rng(seed)
    groups = 1 + seed % 2
    layer = LayerShape(
        name="conv", in_channels=12, in_height=9, in_width=8, out_channels=10, kernel_height=3,
        kernel_width=3, stride_height=1 + seed % 2, pad_top=1, pad_right=2, groups=groups,
    )  # fmt: skip
    weights = rng.integers(-127, 128, layer.weights_shape).astype(np.int8)
    codes = rng.integers(0, 256, (9, 8, 12)).astype(np.uint8)
    input_scale, output_scale = np.float32(0.02), np.float32(0.5)
    scales = rng.uniform(0.001, 0.01, 10).astype(np.float32)
    bias = rng.integers(-20000, 20000, 10).astype(np.int32)
    zero_point = [0, 120][seed // 3]
    inputs = {
        "x": nchw(codes),
        "x_scale": np.array(input_scale),
        "x_zero_point": np.array(0, dtype=np.uint8),
        "w": offset_weights(weights),
        "w_scale": scales,
        "w_zero_point": np.full(10, 128, dtype=np.uint8),
        "y_scale": np.array(output_scale),
        "y_zero_point": np.array(zero_point, dtype=np.uint8),
        "b": bias,
    }
    expected = yxc(onnx_run("QLinearConv", inputs, **convolution_attributes(layer)))
    multiplier, shift = quantise_scale(
        scales.astype(np.float64) * float(input_scale) / float(output_scale)
    )
    how = Requantisation(
        bias.astype(np.int64), multiplier, shift, low=0, high=255, zero_point=zero_point
    )
    found = convolve(weights, codes, layer, how)
    apart = np.abs(found.astype(int) - expected.astype(int))
    assert len(np.unique(expected)) > 40
    assert apart.max() <= 1
    assert (apart != 0).mean() < 0.005


def test_convolution_by_hand():
    layer = LayerShape(
        name="hand", in_channels=2, in_height=2, in_width=2, out_channels=2, kernel_height=2,
        kernel_width=1, pad_bottom=1, groups=2,
    )  # fmt: skip
    activations = np.array([[[1, 10], [2, 20]], [[3, 30], [4, 40]]], dtype=np.uint8)
    weights = np.array([[[[1]], [[-2]]], [[[5]], [[7]]]], dtype=np.int8)
    assert accumulate(weights, activations, layer).tolist() == [
        [[1 - 6, 50 + 210], [2 - 8, 100 + 280]],
        [[3, 150], [4, 200]],
    ]


# -- vector operators ---------------------------------------------------------------------------


def info(name: str, shape, dtype: str = "uint8", zero_point: int = 0) -> TensorInfo:
    return TensorInfo(name=name, shape=tuple(shape), dtype=dtype, scale=1.0, zero_point=zero_point)


def pooling(kind: PoolingKind, shape, **changes) -> Pooling:
    """A 3 x 2 pooling; all scales are 1."""
    fields = {
        "kernel": (3, 2), "stride": (2, 1), "pads": (1, 0, 0, 1), "count_include_pad": False,
    }  # fmt: skip
    zero_point, dtype = changes.pop("zero_point", 0), changes.pop("dtype", "uint8")
    output = info("out", shape, dtype, zero_point)
    return Pooling(input="in", output=output, kind=kind, **{**fields, **changes})


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_max_pooling_is_onnxruntimes(dtype):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    codes = rng.integers(limits.min, limits.max + 1, (7, 6, 3)).astype(dtype)
    codes[:3] = limits.min  # a window of nothing but the smallest code
    attributes = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}
    expected = yxc(onnx_run("MaxPool", {"x": nchw(codes)}, **attributes))
    node = pooling(PoolingKind.MAX, expected.shape, dtype=np.dtype(dtype).name)
    found = pool(node, codes, info("in", codes.shape))
    assert found.dtype == dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_average_pooling_is_onnxruntimes(count_include_pad):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 256, (7, 6, 3)).astype(np.uint8)
    expected = yxc(
        onnx_run(
            "AveragePool",
            {"x": nchw(codes.astype(np.float32) - 9)},
            kernel_shape=[3, 2],
            strides=[2, 1],
            pads=[1, 0, 0, 1],
            count_include_pad=int(count_include_pad),
        )
    )
    node = pooling(
        PoolingKind.AVERAGE, expected.shape, count_include_pad=count_include_pad, zero_point=4
    )
    found = pool(node, codes, info("in", codes.shape, zero_point=9))
    assert np.array_equal(found, np.clip(np.rint(expected) + 4, 0, 255))


def test_average_pooling_by_hand():
    codes = np.array([[[1], [2]], [[3], [5]]], dtype=np.uint8)
    node = pooling(PoolingKind.AVERAGE, (1, 1, 1), kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0))
    for zero_point, mean in [(0, 3), (1, 2), (200, 0)]:  # 11 / 4, (11 - 4) / 4, clamped
        source = info("in", (2, 2, 1), zero_point=zero_point)
        assert pool(node, codes, source).item() == mean
    codes[1, 1] = 4
    assert pool(node, codes, info("in", (2, 2, 1))).item() == 2  # 10 / 4: halves to even


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        # ((a - 10) * 3 + (b - 5) * -2) / 4 + 7, halves to even
        (10, 5, 7),
        (20, 5, 15),  # 30 / 4 = 7.5
        (11, 5, 8),  # 3 / 4
        (10, 6, 7),  # -2 / 4
        (10, 7, 6),  # -4 / 4
        (12, 5, 9),  # 6 / 4
        (100, 5, 50),  # clamped
        (0, 100, -20),  # clamped
    ],
)
def test_addition_by_hand(first, second, result):
    node = Addition(
        inputs=("a", "b"), output=info("out", (1, 1, 1), "int8", 7), multipliers=(3, -2), shift=2,
        low=-20, high=50,
    )  # fmt: skip
    operands = [np.full((1, 1, 1), code, dtype=np.uint8) for code in (first, second)]
    found = add(node, operands, (10, 5))
    assert found.dtype == np.int8
    assert found.item() == result


@pytest.mark.parametrize(("code", "result"), [(0, 0), (12, 0), (13, 0), (14, 1), (16, 2), (255, 6)])
def test_rescaling_by_hand(code, result):
    # (code - 12) * 3 / 8, at least 0 and at most 6
    node = Rescaling(
        input="in", output=info("out", (1, 1, 1)), multiplier=3, shift=3, low=0, high=6
    )
    codes = np.full((1, 1, 1), code, dtype=np.uint8)
    assert rescale(node, codes, 12).item() == result


def test_product_by_hand():
    node = Product(
        inputs=("a", "b"), output=info("out", (1, 2, 2), "int8", 5), multiplier=3, shift=3,
        low=-10, high=100,
    )  # fmt: skip
    first = np.array([[[10, 12], [14, 255]]], dtype=np.uint8)
    second = np.array([[[3, -2], [4, 7]]], dtype=np.int8)
    # (a - 10) * (b + 1) * 3 / 8 + 5: 2 * -1 gives -.75, 4 * 5 gives 7.5, 245 * 8 is clamped.
    assert multiply(node, (first, second), (10, -1)).tolist() == [[[5, 4], [13, 100]]]
    # One pixel scales channels: 4 * 4 gives 6.
    assert multiply(node, (first, second[:, :1]), (10, -1)).tolist() == [[[5, 4], [11, -10]]]


def test_table_by_hand():
    codes = np.array([[[-128, 127], [0, -1]]], dtype=np.int8)
    rows = np.stack([np.arange(256), np.arange(256)[::-1]]).astype(np.uint8)
    node = Table(input="in", output=info("out", (1, 2, 2)), codes=rows)
    assert look_up(node, codes).tolist() == [[[0, 0], [128, 128]]]
    one = Table(input="in", output=info("out", (1, 2, 2)), codes=rows[1:])
    assert look_up(one, codes).tolist() == [[[255, 0], [127, 128]]]


def test_rearrangement_by_hand():
    codes = np.array([[[1, 2], [3, 4]]], dtype=np.uint8)
    index = np.array([[[3, -1, 0]], [[2, 2, 1]]], dtype=np.int32)
    node = Rearrangement(input="in", output=info("out", (2, 1, 3)), index=index, fill=9)
    assert rearrange(node, codes).tolist() == [[[4, 9, 1]], [[3, 3, 2]]]


def test_concatenation_and_padding():
    codes = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    node = Concatenation(inputs=("a", "b"), output=info("out", (2, 2, 4)))
    found = concatenate(node, [codes, codes[:, :, :1] + 100])
    assert found.tolist() == [
        [[0, 1, 2, 100], [3, 4, 5, 103]],
        [[6, 7, 8, 106], [9, 10, 11, 109]],
    ]
    border = Padding(input="in", output=info("out", (3, 5, 3)), pads=(0, 2, 1, 1), value=9)
    found = pad(border, codes)
    assert found[:2, 2:4].tolist() == codes.tolist()
    assert found.sum() == codes.sum() + 9 * (45 - 12)
    assert found[2].tolist() == [[9] * 3] * 5


# -- networks -----------------------------------------------------------------------------------


def small_network() -> Network:
    """Conv 1x1 (doubles), its max pool twice beside itself, and a residual sum of halves."""
    layer = LayerShape(
        name="double", in_channels=1, in_height=2, in_width=2, out_channels=1, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    ones = np.ones(1, dtype=np.int64)
    nodes = (
        Convolution(
            input="image", output=info("doubled", (2, 2, 1)), layer=layer,
            weights=np.full((1, 1, 1, 1), 4, dtype=np.int8), weight_scales=np.ones(1),
            requantisation=Requantisation(0 * ones, ones, ones, low=0, high=255),
        ),
        Addition(
            inputs=("image", "doubled"), output=info("sum", (2, 2, 1)), multipliers=(1, 1),
            shift=1, low=0, high=255,
        ),
        Concatenation(inputs=("sum", "doubled"), output=info("both", (2, 2, 2))),
        Padding(input="both", output=info("padded", (3, 3, 2)), pads=(1, 1, 0, 0), value=1),
        pooling(PoolingKind.MAX, (1, 1, 2), kernel=(3, 3), stride=(1, 1), pads=(0, 0, 0, 0)),
    )  # fmt: skip
    nodes = (*nodes[:4], Pooling(**{**vars(nodes[4]), "input": "padded"}))
    rescaled = Rescaling(
        input="out", output=info("scores", (1, 1, 2)), multiplier=1, shift=1, low=0, high=255
    )
    return Network(
        name="small", source="test", input=info("image", (2, 2, 1)), nodes=(*nodes, rescaled),
        output="scores", channel_density={}, accuracy={},
    )  # fmt: skip


def test_network_by_hand():
    network = small_network().validate()
    image = np.array([[[1], [2]], [[3], [50]]], dtype=np.uint8)
    tensors = run_network(network, image)
    assert tensors["doubled"].ravel().tolist() == [2, 4, 6, 100]
    assert tensors["sum"].ravel().tolist() == [2, 3, 4, 75]  # of 3 / 2, 6 / 2, 9 / 2, 150 / 2
    assert tensors["padded"][:, :, 1].tolist() == [[1, 1, 1], [1, 2, 4], [1, 6, 100]]
    assert tensors["scores"].tolist() == [[[38, 50]]]
    assert set(tensors) == {"image", *(node.output.name for node in network.nodes)}


@pytest.mark.parametrize("image", [np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 1), np.int8)])
def test_wrong_image_is_refused(image):
    with pytest.raises(FormatError, match=r"^Image must be uint8 of shape \(2, 2, 1\), not "):
        run_network(small_network(), image)
