"""A shipped network: activations equal the reference's, cycles the oracle's, on real images."""

from __future__ import annotations

import numpy as np
import pytest

import sw.networks.zoo
from accel.activations import functional
from accel.machines.cluster.model import count_layer
from golden import reference
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import make_schedule, window_density
from golden.machines.cluster.workload import LayerWorkload
from golden.network import Network
from tests.oracle import run_layer


@pytest.fixture(scope="module")
def network() -> Network:
    return sw.networks.zoo.load("lenet5")


def test_activations_are_the_references(network):
    for image in sw.networks.zoo.images("lenet5")[:4]:
        expected = reference.run_network(network, image)
        found = functional.run_network(network, image)
        assert list(found) == list(expected)
        for name, codes in expected.items():
            assert np.array_equal(found[name], codes), name


@pytest.mark.parametrize(
    "layer",
    [pytest.param("conv1", marks=pytest.mark.slow), pytest.param("conv2", marks=pytest.mark.slow),
     "fc1", "fc2"],
)  # fmt: skip
@pytest.mark.parametrize("preset", ["toy", "small"])
def test_layers_run_as_in_the_oracle(network, preset, layer):
    config = AcceleratorConfig.preset(preset)
    tensors = functional.run_network(network, sw.networks.zoo.images("lenet5")[5])
    node = next(node for node in network.convolutions if node.layer.name == layer)
    workload = LayerWorkload.build(
        config, node.layer, node.weights, tensors[node.input], node.requantisation
    )
    density = window_density(config, node.layer, network.channel_density.get(node.input))
    schedule = make_schedule(config, node.layer, workload.weights, density)
    codes, expected = run_layer(config, workload, schedule, SkipMode.BOTH)
    assert np.array_equal(codes, tensors[node.output.name])
    found = count_layer(config, workload, schedule, SkipMode.BOTH, codes)
    assert expected.difference(found) == ""
