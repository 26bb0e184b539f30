"""Codebooks put into float models and int8 networks."""

import numpy as np
import pytest
from onnx import numpy_helper

from golden.errors import UserError
from golden.network import Convolution
from sw.coding.codebook import CodebookOptions
from sw.coding.sources import int8_layers, share_model, share_network
from sw.compress import compress
from sw.networks import zoo
from sw.onnx.prepare import layer_weights, prepare
from sw.prune import prune
from sw.quantise import quantise
from tests.sw.graphs import Graph, images

OPTIONS = CodebookOptions(convolution_bits=3, connected_bits=2)


def small(transposed=False):
    graph = Graph((1, 3, 6, 6))
    x = graph.op("Relu", graph.batch_norm(graph.conv("image", 3, 4), 4))
    x = graph.op("Flatten", x)
    if not transposed:
        return graph.model(graph.gemm(x, 64, 5))
    weights = graph.rng.normal(size=(64, 5)).astype(np.float32)
    return graph.model(graph.op("MatMul", x, graph.constant(weights)))


def weights_of(model):
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [tensors[name] for name in layer_weights(model).values()]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_models_weights_become_their_codebooks_values(transposed):
    model = prune(prepare(small(transposed)), 0.5)
    before = weights_of(model)
    shared, layers, short = share_model(model, OPTIONS)
    convolution, connected = weights_of(shared)
    assert [layer.coded.codes.shape for layer in layers] == [(4, 3, 3, 3), (5, 1, 1, 64)]
    assert [layer.coded.bits for layer in layers] == [3, 2]
    assert [layer.side_bits for layer in layers] == [8 + 7 * 32, 8 + 3 * 32]
    assert len(np.unique(convolution[convolution != 0])) == 7
    assert len(np.unique(connected[connected != 0])) == 3
    for old, new in zip(before, (convolution, connected), strict=True):
        np.testing.assert_array_equal(old == 0, new == 0)
    np.testing.assert_array_equal(
        layers[0].coded.codes != 0, (convolution != 0).transpose(0, 2, 3, 1)
    )
    filters_first = connected.T if transposed else connected
    np.testing.assert_array_equal(layers[1].coded.codes[:, 0, 0] != 0, filters_first != 0)
    assert not short
    np.testing.assert_array_equal(before[0], weights_of(model)[0])  # the model is left alone


def test_a_codebook_that_loses_nothing_gives_the_same_int8_network():
    model = small()
    prepared = prepare(model)
    for tensor in prepared.graph.initializer:
        values = np.round(numpy_helper.to_array(tensor) * 8) / 8
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    shared, layers, short = share_model(
        prepared, CodebookOptions(convolution_bits=8, connected_bits=8)
    )
    assert len(short) == len(layers) == 2
    inputs = images(model)
    ours, plain = (compress(each, inputs) for each in (shared, prepared))
    for left, right in zip(ours.convolutions, plain.convolutions, strict=True):
        np.testing.assert_array_equal(left.weights, right.weights)


def test_a_quantised_model_is_refused():
    model = quantise(prepare(small()), images(small()))
    with pytest.raises(UserError, match="float, not quantised"):
        share_model(model, OPTIONS)


def test_an_int8_network_keeps_its_zeros_and_has_few_codes():
    network = zoo.load("lenet5")
    shared, layers, short = share_network(network, OPTIONS)
    assert [layer.connected for layer in layers] == [False, False, True, True]
    for old, new, coded in zip(network.convolutions, shared.convolutions, layers, strict=True):
        np.testing.assert_array_equal(old.weights == 0, new.weights == 0)
        assert len(np.unique(new.weights)) - 1 == (3 if coded.connected else 7)
        # Values of 8 bits, and a scale a filter.
        assert coded.side_bits == 8 + 8 * (2**coded.coded.bits - 1) + 32 * len(new.weights)
    assert not short
    assert shared.accuracy == {}
    assert shared.source.startswith(network.source)
    assert "codebook" in shared.source
    others = [node for node in network.nodes if not isinstance(node, Convolution)]
    assert others == [node for node in shared.nodes if not isinstance(node, Convolution)]


def test_int8_layers_are_the_codes_of_the_machine():
    network = zoo.load("lenet5")
    layers = int8_layers(network)
    assert [layer.side_bits for layer in layers] == [32 * 20, 32 * 50, 32 * 500, 32 * 10]
    for node, layer in zip(network.convolutions, layers, strict=True):
        np.testing.assert_array_equal(layer.coded.codes.view(np.int8), node.weights)
