"""Models that must be refused, each with words that name what is wrong."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from golden.errors import CapacityError, FormatError, UserError
from sw.onnx.file import load_model
from sw.onnx.importer import import_onnx
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from tests.sw.graphs import Graph, images


def small() -> Graph:
    graph = Graph((1, 2, 5, 5))
    graph.op("Relu", graph.conv("image", 2, 3), name="out")
    return graph


def quantised(graph: Graph, output: str):
    model = graph.model(output)
    return import_onnx(quantise(prepare(model), images(model)))


# -- files --------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"Model .*none\.onnx can't be read: No such file"):
        load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("data", [b"", b"a text\n", b"\x00" * 64, b"\x89PNG\r\n\x1a\n" + b"x" * 99])
def test_not_an_onnx_file(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"model\.onnx must be ONNX"):
        load_model(path)


WHOLE = small().model("out").SerializeToString()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_file_cut_short_anywhere(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "model.onnx"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(UserError, match=r"Model .*(must be ONNX|breaks ONNX's rules|opset)"):
        load_model(path)


def test_external_data_missing(tmp_path):
    graph = Graph((1, 2, 5, 5))
    model = graph.model(graph.conv("image", 2, 64))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    load_model(path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(FormatError, match=r"model\.onnx lacks its external data: .*w\.bin"):
        load_model(path)


def test_external_data_cut_short(tmp_path):
    graph = Graph((1, 2, 5, 5))
    model = graph.model(graph.conv("image", 2, 64))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[:100])
    with pytest.raises(FormatError, match=r"model\.onnx"):
        load_model(path)


def test_operator_set_that_can_not_be_converted(tmp_path):
    graph = small()
    graph.opset = 6
    graph.op("Upsample", "out", name="up", width_scale=2.0, height_scale=2.0)
    graph.nodes[-1].attribute.pop()
    onnx.save(graph.model("up"), tmp_path / "old.onnx")
    with pytest.raises(UserError, match=r"breaks ONNX's rules|of operator set 6 can't be convert"):
        load_model(tmp_path / "old.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_weights_not_finite(tmp_path, value, which):
    graph = small()
    array = numpy_helper.to_array(graph.constants[which]).copy()
    array.reshape(-1)[1] = value
    graph.constants[which].CopyFrom(numpy_helper.from_array(array, f"c{which}"))
    onnx.save(graph.model("out"), tmp_path / "model.onnx")
    with pytest.raises(UserError, match=f"weight c{which} must be finite, but 1 of its"):
        load_model(tmp_path / "model.onnx")


# -- shapes -------------------------------------------------------------------------------------


def open_model(tmp_path, shape):
    graph = small()
    model = graph.model("out")
    del model.graph.value_info[:]
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))
    )
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    return path


def test_open_batch_becomes_one(tmp_path):
    model = load_model(open_model(tmp_path, ("n", 2, 5, 5)))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_open_image_size_is_refused_by_name(tmp_path):
    path = open_model(tmp_path, ("n", 2, "height", 5))
    with pytest.raises(UserError, match=r"input image: axis y \(height\) must have a size"):
        load_model(path)
    model = load_model(path, (1, 2, 7, 5))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        2,
        7,
        5,
    ]


@pytest.mark.parametrize(
    ("shape", "given_shape", "words"),
    [
        ((1, 2, 5, 5), (1, 2, 6, 5), "has 5 on axis y, not 6"),
        ((1, 2, 5, 5), (2, 5, 5), "must have 4 sizes"),
        ((1, 2, "h", 5), (1, 2, 0, 5), "on axis y, not 0"),
    ],
)
def test_input_shape_that_does_not_fit(tmp_path, shape, given_shape, words):
    with pytest.raises(UserError, match=words):
        load_model(open_model(tmp_path, shape), given_shape)


# -- operators ----------------------------------------------------------------------------------


def squared(graph):
    x = graph.op("Flatten", "out")
    return graph.op("MatMul", x, graph.op("Transpose", x))


def turned(graph):
    row = graph.constant(np.ones((1, 3), np.float32))
    return graph.op("Gemm", graph.op("Flatten", "out"), row, transA=1)


def final_softmax(graph):
    return graph.op("Softmax", graph.gemm(graph.op("Flatten", "out"), 27, 4))


def dilated_pool(graph):
    return graph.op("MaxPool", "out", kernel_shape=[2, 2], dilations=[2, 2])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (squared, "its weights are not constant"),
        (turned, "transA must be 0, not 1"),
        (final_softmax, "its operator has no form on the machine"),
        (dilated_pool, "dilated pooling has no form here"),
    ],
)
def test_what_is_left_to_the_host_says_why(build, words):
    graph = small()
    network = quantised(graph, build(graph))
    assert any(words in node.reason for node in network.host_nodes)


def test_float_model_runs_on_the_host_for_its_weights():
    (reason,) = {node.reason for node in import_onnx(small().model("out")).host_nodes} - {
        "it is a result and not quantised"
    }
    assert reason == "its weights are floats"


def test_batch_norm_in_training_is_refused():
    graph = small()
    x = graph.batch_norm("out", 3)
    graph.nodes[-1].attribute.append(helper.make_attribute("training_mode", 1))
    graph.nodes[-1].output.extend(["mean", "variance"])
    with pytest.raises(UserError, match=r"BatchNormalization node .* training_mode must be 0"):
        prepare(graph.model(x))


def test_accumulator_that_could_overflow_is_refused_by_layer():
    graph = Graph((1, 1100, 9, 9))
    how = [graph.constant(np.float32(0.1)), graph.constant(np.uint8(0))]
    x = graph.op("QuantizeLinear", "image", *how)
    weights = graph.constant(np.full((1, 1100, 9, 9), 127, np.int8))
    step = [graph.constant(np.float32(0.1)), graph.constant(np.int8(0))]
    x = graph.op("QLinearConv", x, *how, weights, *step, *how, name="wide")
    with pytest.raises(CapacityError, match=r"Layer wide: the accumulator of output channel 0"):
        import_onnx(graph.model(x))


def test_huge_bias_is_refused_by_layer():
    graph = small()
    graph.constants[1].CopyFrom(numpy_helper.from_array(np.full(3, 1e30, np.float32), "c1"))
    how = [graph.constant(np.float32(0.1)), graph.constant(np.uint8(0))]
    codes = graph.constant(np.ones((3, 2, 3, 3), np.int8))
    step = graph.constant(np.float32(0.1))
    del graph.nodes[:]
    x = graph.op("DequantizeLinear", graph.op("QuantizeLinear", "image", *how), *how)
    x = graph.op("Conv", x, graph.op("DequantizeLinear", codes, step), "c1", name="biased")
    x = graph.op("DequantizeLinear", graph.op("QuantizeLinear", x, *how), *how)
    with pytest.raises(CapacityError, match="Layer biased"):
        import_onnx(graph.model(x))


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf, -0.1])
def test_activation_scale_that_is_no_scale_is_refused(scale):
    graph = Graph((1, 2, 5, 5))
    how = [graph.constant(np.float32(scale)), graph.constant(np.uint8(0))]
    x = graph.op("DequantizeLinear", graph.op("QuantizeLinear", "image", *how), *how)
    with pytest.raises(UserError, match=r"QuantizeLinear node .*: scale must be positive and fini"):
        import_onnx(graph.model(x))


def test_result_quantised_in_two_ways_runs_on_both():
    """A layer's sums are requantised once; the other scale's codes are made on the host."""
    graph = Graph((1, 2, 5, 5))
    how = [graph.constant(np.float32(0.1)), graph.constant(np.uint8(0))]
    other = [graph.constant(np.float32(0.3)), graph.constant(np.uint8(0))]
    codes = graph.constant(np.ones((3, 2, 3, 3), np.int8))
    x = graph.op("DequantizeLinear", graph.op("QuantizeLinear", "image", *how), *how)
    weights = graph.op("DequantizeLinear", codes, graph.constant(np.float32(0.1)))
    x = graph.op("Conv", x, weights, name="twice")
    a = graph.op("DequantizeLinear", graph.op("QuantizeLinear", x, *how), *how)
    b = graph.op("DequantizeLinear", graph.op("QuantizeLinear", x, *other), *other)
    network = import_onnx(graph.model(graph.op("Add", a, b)))
    assert len(network.convolutions) == 1
    assert "Conv" in {node.operator for node in network.host_nodes}
    assert any("must be quantised once" in node.reason for node in network.host_nodes)


def test_input_that_does_not_matter_is_refused():
    graph = Graph((1, 2))
    graph.op("Constant", value=numpy_helper.from_array(np.ones(3, np.float32)), name="one")
    with pytest.raises(UserError, match="Output one must depend on the input"):
        import_onnx(graph.model("one"))
