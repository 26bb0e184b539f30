"""Folding and simplifying leave what a float model computes as it was."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from golden.errors import UserError
from sw.onnx.prepare import layer_weights, prepare
from tests.sw.graphs import Graph, drawn, images, residual


def run(model, image):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": image})[0]


def assert_same_function(model, ready, count=3):
    for image in images(model, 5, count):
        wanted = run(model, image[None])
        np.testing.assert_allclose(run(ready, image[None]), wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("seed", range(8))
def test_prepared_model_computes_the_same_without_batch_norms(seed):
    model = drawn(seed)
    ready = prepare(model)
    assert_same_function(model, ready)
    assert not {"BatchNormalization", "Dropout", "Identity"} & {
        node.op_type for node in ready.graph.node
    }


def test_the_given_model_is_not_changed():
    model = residual(0)
    before = model.SerializeToString()
    prepare(model)
    assert model.SerializeToString() == before


def kinds(model):
    return [node.op_type for node in model.graph.node]


def test_dropout_identity_and_constant_shapes_go():
    graph = Graph((1, 2, 4, 4))
    x = graph.op("Dropout", graph.op("Identity", graph.conv("image", 2, 3)))
    shape = graph.op("Shape", x)
    batch = graph.op("Gather", shape, graph.constant(np.array([0])), axis=0)
    shape = graph.op("Concat", batch, graph.constant(np.array([-1])), axis=0)
    model = graph.model(graph.gemm(graph.op("Reshape", x, shape), 12, 4))
    ready = prepare(model)
    assert kinds(ready) == ["Conv", "Reshape", "Gemm"]
    assert_same_function(model, ready)


def test_batch_norm_before_a_convolution_becomes_a_depthwise_layer():
    graph = Graph((1, 4, 5, 5))
    x = graph.op("Relu", graph.batch_norm("image", 4))
    model = graph.model(graph.conv(x, 4, 6, pads=[1] * 4))
    ready = prepare(model)
    assert kinds(ready) == ["Conv", "Relu", "Conv"]
    assert len(layer_weights(ready)) == 2
    assert_same_function(model, ready)


def test_batch_norm_after_gemm_folds():
    graph = Graph((1, 8))
    model = graph.model(graph.op("Relu", graph.batch_norm(graph.gemm("image", 8, 5), 5)))
    ready = prepare(model)
    assert kinds(ready) == ["Gemm", "Relu"]
    assert_same_function(model, ready)


def test_scaling_of_the_input_and_of_a_layer():
    graph = Graph((1, 3, 5, 5))
    mean = graph.constant(np.array([0.4, 0.5, 0.6], np.float32).reshape(1, 3, 1, 1))
    spread = graph.constant(np.array([0.2, 0.3, 0.1], np.float32).reshape(1, 3, 1, 1))
    x = graph.op("Div", graph.op("Sub", "image", mean), spread)
    x = graph.conv(x, 3, 4)
    x = graph.op("Mul", x, graph.constant(np.float32(0.5)))
    x = graph.op("Sub", graph.constant(np.ones((4, 1, 1), np.float32)), x)
    model = graph.model(x)
    ready = prepare(model)
    assert set(kinds(ready)) == {"Conv"}
    assert_same_function(model, ready)


def test_scaling_whose_operand_has_another_reader_becomes_a_layer():
    graph = Graph((1, 3, 5, 5))
    x = graph.conv("image", 3, 4)
    y = graph.op("Relu", graph.batch_norm(x, 4))
    model = graph.model(graph.op("Add", x, y))
    ready = prepare(model)
    assert sorted(kinds(ready)) == ["Add", "Conv", "Conv", "Relu"]
    assert_same_function(model, ready)


def test_matmul_with_addition_becomes_gemm():
    graph = Graph((1, 6))
    weights = graph.constant(graph.rng.normal(0, 1, (6, 4)).astype(np.float32))
    x = graph.op("MatMul", "image", weights, name="fc/MatMul")
    model = graph.model(graph.op("Add", x, graph.constant(np.ones(4, np.float32))))
    ready = prepare(model)
    assert kinds(ready) == ["Gemm"]
    assert_same_function(model, ready)
    assert len(layer_weights(ready)) == 1


def test_layers_are_named_as_their_author_would():
    graph = Graph((1, 2, 9, 9))
    x = graph.conv("image", 2, 3)
    for index, (weights, node, wanted) in enumerate(
        [
            ("features.0.weight", "/features/Conv", "features.0"),
            ("onnx::Conv_12", "/layer1/conv/Conv", "layer1/conv"),
            ("w", "", "conv3"),
        ]
    ):
        x = graph.conv(x, 3, 3, (1, 1), bias=False)
        graph.nodes[-1].name, graph.nodes[-1].input[1] = node, weights
        graph.constants[-1].name = weights
        names = list(layer_weights(prepare(graph.model(x))))
        assert names[index + 1] == wanted


def test_names_that_clash_are_numbered():
    graph = Graph((1, 2, 9, 9))
    x = graph.conv(graph.conv("image", 2, 2), 2, 2)
    for node in graph.nodes:
        node.name = "same"
    assert list(layer_weights(prepare(graph.model(x)))) == ["same", "same_2"]


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
def test_old_operator_sets(opset):
    graph = Graph((1, 3, 8, 8), opset=opset)
    x = graph.op("Relu", graph.batch_norm(graph.conv("image", 3, 4, pads=[1] * 4), 4))
    if opset < 11:
        x = graph.op("Clip", x, min=0.0, max=6.0)
        x = graph.op("Pad", x, mode="constant", pads=[0, 0, 1, 0, 0, 0, 0, 1], value=0.0)
    else:
        x = graph.clip(x, 0, 6)
        x = graph.op("Pad", x, graph.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1])))
    x = graph.op("Dropout", graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]))
    model = graph.model(graph.gemm(graph.op("Flatten", x), 64, 5))
    ready = prepare(model)
    assert_same_function(model, ready)
    assert ready.opset_import[0].version >= 13


def test_open_batch_and_shape():
    graph = Graph((1, 3, 8, 8))
    model = graph.model(graph.conv("image", 3, 4))
    open_input = helper.make_tensor_value_info("image", 1, ["n", 3, "h", 8])
    model.graph.input[0].CopyFrom(open_input)
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UserError, match=r"axis y \(h\) must have a size"):
        prepare(model)
    ready = prepare(model, (1, 3, 10, 8))
    output = onnx.shape_inference.infer_shapes(ready).graph.output[0].type.tensor_type.shape
    assert [dim.dim_value for dim in output.dim] == [1, 4, 8, 6]
