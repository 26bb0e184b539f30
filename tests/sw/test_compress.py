"""The whole way: model file, pruning, quantisation, import, densities, container."""

import logging

import numpy as np
import onnx
import pytest
from onnx import helper

from golden.errors import UserError
from golden.network import Padding
from golden.reference import run_network
from sw.compress import channel_density, compress
from sw.images import image_codes
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from sw.storage.container import load, save
from tests.sw.graphs import Graph, drawn, images, residual


def test_five_lines_of_a_script(tmp_path, capfd, caplog):
    onnx.save(residual(1), tmp_path / "mine.onnx")
    inputs = images(residual(1))
    with caplog.at_level(logging.INFO):
        network = compress(tmp_path / "mine.onnx", inputs, 0.4)
    save(network, tmp_path / "mine.safetensors")
    assert load(tmp_path / "mine.safetensors").name == "mine"
    assert network.source == (
        "mine.onnx; pruned by magnitude in one shot, without retraining; "
        "int8 by ONNX Runtime's static quantisation (minmax, 8 images)"
    )
    kept = sum(np.count_nonzero(layer.weights) for layer in network.convolutions)
    size = sum(layer.weights.size for layer in network.convolutions)
    assert 0.3 < kept / size <= 0.4 + 1 / size
    # Nothing of ONNX Runtime's hints reaches the user.
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_channel_density_is_that_of_the_golden_run():
    model = drawn(2)
    inputs = images(model, 2, count=3)
    network = compress(model, inputs)
    runs = [run_network(network, codes) for codes in image_codes(inputs, network.input)]
    assert set(network.channel_density) == {layer.input for layer in network.convolutions}
    for name, found in network.channel_density.items():
        wanted = np.mean([np.mean(run[name] != 0, axis=(0, 1)) for run in runs], axis=0)
        np.testing.assert_allclose(found, wanted, atol=0.05)
        assert found.shape == (network.tensor(name).shape[2],)
    image = network.channel_density[network.input.name]
    np.testing.assert_allclose(
        image, np.mean(image_codes(inputs, network.input) != 0, axis=(0, 1, 2))
    )


def test_density_under_an_explicit_border():
    """A border of zero point 7 is all non-zero codes."""
    graph = Graph((1, 2, 4, 4))
    how = [graph.constant(np.float32(0.1)), graph.constant(np.uint8(7))]
    x = graph.op("QuantizeLinear", "image", *how)
    weights = graph.constant(np.ones((3, 2, 3, 3), np.int8))
    step = [graph.constant(np.float32(0.1)), graph.constant(np.int8(0))]
    x = graph.op("QLinearConv", x, *how, weights, *step, *how, pads=[1] * 4)
    network = compress(graph.model(x), np.full((1, 2, 4, 4), -0.7, np.float32))
    (border,) = (node for node in network.nodes if isinstance(node, Padding))
    assert border.value == 7
    assert network.convolutions[0].input == border.output.name
    # Codes inside are 0 (7 - 7), the border's 20 of 36 are 7.
    np.testing.assert_allclose(network.channel_density[border.output.name], [20 / 36] * 2)
    assert network.source == "an ONNX model; quantised as it came"


def test_another_runner_can_count():
    model = drawn(3)
    inputs = images(model, 3, count=2)
    network = compress(model, inputs)

    def golden(image):
        return run_network(network, image_codes(image, network.input)[0])

    for name, found in channel_density(network, inputs, golden).items():
        np.testing.assert_allclose(found, network.channel_density[name], atol=0.05)


def test_layer_densities_and_names():
    network = compress(residual(0), images(residual(0)), densities={"conv3": 0.1}, name="net")
    by_name = {layer.layer.name: layer for layer in network.convolutions}
    share = {
        name: np.count_nonzero(layer.weights) / layer.weights.size
        for name, layer in by_name.items()
    }
    assert share.pop("conv3") <= round(0.1 * 576) / 576
    assert min(share.values()) > 0.9
    assert network.name == "net"


def test_non_negative_tensors_are_uint8_and_others_int8_all_around_zero():
    network = compress(residual(0), images(residual(0)))
    for tensor in (network.input, *(node.output for node in network.nodes)):
        assert tensor.zero_point == 0
    by_name = {node.output.name: node.output.dtype for node in network.nodes}
    assert network.input.dtype == "int8"
    assert by_name["relu2"] == by_name["clip5"] == by_name["relu8"] == "uint8"
    assert by_name["conv6"] == "int8"


def test_weights_are_symmetric_per_channel():
    network = compress(residual(0), images(residual(0)))
    for layer in network.convolutions:
        assert len(set(layer.weight_scales)) > 1
        assert np.abs(layer.weights.astype(int)).max(axis=(1, 2, 3)).min() >= 126


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_calibration_methods(method):
    model = drawn(1)
    inputs = images(model, 1, count=16)
    network = compress(model, inputs, method=method)
    assert f"({method}, 16 images)" in network.source


def test_five_lines_refuse_what_can_not_be():
    model = drawn(1)
    inputs = images(model, 1)
    with pytest.raises(UserError, match=r"Images must have shape \('n', 3, 12, 9\)"):
        compress(model, inputs[:, :, :5])
    with pytest.raises(UserError, match="Calibration method must be one of minmax, entropy, perc"):
        compress(model, inputs, method="best")
    with pytest.raises(UserError, match="Density of the network"):
        compress(model, inputs, 1.5)
    ready = quantise(prepare(model), inputs)
    with pytest.raises(UserError, match="Model to prune must be float, not quantised"):
        compress(ready, inputs, 0.5)
    with pytest.raises(UserError, match="Model to quantise must be float"):
        quantise(ready, inputs)


def test_softmax_runs_on_the_host():
    graph = Graph((1, 6))
    model = graph.model(graph.op("Softmax", graph.gemm("image", 6, 4)))
    network = compress(model, images(model))
    assert [node.operator for node in network.host_nodes] == ["Softmax"]
    assert network.tensor(network.output).dtype == "float32"


def test_int8_network_keeps_the_float_models_classes():
    """The point of it all: the class that the float model names is (nearly always) named."""
    model = drawn(1)
    inputs = images(model, 9, count=40)
    network = compress(model, inputs)
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    same = 0
    for image, codes in zip(inputs, image_codes(inputs, network.input), strict=True):
        wanted = int(np.argmax(session.run(None, {"image": image[None]})[0]))
        same += wanted == int(np.argmax(run_network(network, codes)[network.output]))
    assert same >= 36


def test_double_input_is_refused():
    graph = Graph((1, 6))
    model = graph.model(graph.gemm("image", 6, 4))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", 11, [1, 6]))
    with pytest.raises(
        UserError, match=r"Model can't be loaded by ONNX Runtime: .*tensor\(double\)"
    ):
        compress(model, images(model))
