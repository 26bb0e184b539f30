"""Whole layers on the hardware of the machines that this project compares with, under Verilator."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

from accel.activations import functional
from golden import reference
from golden.config import TomlConfig
from golden.machines import registry
from golden.machines.cambricon_s import CambriconSConfig
from golden.machines.cluster.config import SkipMode
from golden.machines.extensor import ExTensorConfig
from golden.network import Convolution
from golden.program import LayerRun, LayerTask
from rtl.sim.run import run_layers
from sw.networks import zoo

pytestmark = pytest.mark.slow

#: The core of the preset, with 8-bit codes and a neuron buffer for a whole layer.
CAMBRICON_S = CambriconSConfig.preset("small").replace(code_bits=8, neuron_buffer_bytes=1 << 17)
#: The paper's PE, four of them.
EXTENSOR = ExTensorConfig.preset("paper").replace(pes=4)


def check(
    machine: str,
    config: TomlConfig,
    nodes: list[Convolution],
    inputs: list[NDArray],
    outputs: list[NDArray],
) -> None:
    """Run layers on a machine's Verilog: codes as given, every counter as the simulator's."""
    runs = [
        LayerRun(
            task=LayerTask(layer=node.layer, weights=node.weights),
            activations=codes,
            requantisation=node.requantisation,
        )
        for node, codes in zip(nodes, inputs, strict=True)
    ]
    hardware = registry.find(machine).load_hardware()
    both = [(run, SkipMode.BOTH) for run in runs]
    results = run_layers(hardware, config, both, "verilator")
    assert len(results) == len(nodes) > 0
    for run, wanted, (codes, counters) in zip(runs, outputs, results, strict=True):
        name = run.task.layer.name
        np.testing.assert_array_equal(codes, wanted, err_msg=name)
        program = registry.find(machine).load_model()(config).prepare(run.task)
        simulated = program(run.activations, codes)(SkipMode.BOTH).counters
        assert simulated.difference(counters) == "", name


def resnet8(*names: str) -> tuple[list[Convolution], list[NDArray], list[NDArray]]:
    """Return layers of ResNet-8 (none named: all), their inputs and the naive operators' codes."""
    network = zoo.load("resnet8")
    tensors = reference.run_network(network, zoo.images("resnet8")[7])
    nodes = [node for node in network.convolutions if not names or node.layer.name in names]
    return nodes, [tensors[node.input] for node in nodes], [tensors[n.output.name] for n in nodes]


def test_cambricon_s_runs_every_layer_of_a_resnet8_image():
    check("cambricon-s", CAMBRICON_S, *resnet8())


def test_cambricon_s_runs_a_full_size_layer():
    """AlexNet's conv5, two groups, pruned in blocks of 16 filters; the simulator's exact codes."""
    network = zoo.load("alexnet-published-blocks")
    node = next(node for node in network.convolutions if node.layer.name == "conv5")
    source = network.synthetic_inputs[node.input]
    wanted = functional.convolve(node.layer, node.weights, source, node.requantisation)
    check("cambricon-s", CAMBRICON_S, [node], [source], [wanted])


def test_extensor_runs_a_layer_of_a_resnet8_image():
    """64 filters of 3 x 3 x 64 on a map of 7 x 7."""
    check("extensor", EXTENSOR, *resnet8("block3.conv2"))
