"""Real work on one cluster under Verilator: whole images, and whole layers of large networks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

from accel.activations import functional
from accel.machines.cluster.model import count_layer
from golden import reference
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.program import ClusterProgram
from golden.network import Convolution, Network
from golden.program import LayerRun, LayerTask
from rtl.cluster.hardware import HARDWARE
from rtl.sim.run import run_layers
from sw.networks import zoo
from tests.oracle import run_layer as run_oracle

pytestmark = pytest.mark.slow

SMALL = AcceleratorConfig.preset("small")
#: A fully connected layer's whole filters do not fit a unit: it runs in segments.
SEGMENTED = SMALL.replace(
    segment_chunks=2, tile_positions=16, filters_per_unit=2, broadcast_width=8, fifo_depth=2
)
#: Buffers for a whole layer of a large network.
LARGE = SMALL.replace(
    input_buffer_chunks=1 << 14,
    input_buffer_bytes=1 << 21,
    filter_buffer_chunks=128,
    filter_buffer_bytes=1 << 14,
)


def run_hardware(
    config: AcceleratorConfig,
    network: Network,
    nodes: Iterable[Convolution],
    inputs: dict[str, NDArray],
    skip: SkipMode = SkipMode.BOTH,
):
    """Run layers on the Verilog; yield each with what it ran, its codes and its counters."""
    nodes, runs = list(nodes), []
    for node in nodes:
        density = network.channel_density.get(node.input)
        task = LayerTask(layer=node.layer, weights=node.weights, channel_density=density)
        source = inputs[node.input]
        runs.append(LayerRun(task=task, activations=source, requantisation=node.requantisation))
    results = run_layers(HARDWARE, config, [(run, skip) for run in runs], "verilator")
    assert len(results) == len(nodes) > 0
    for node, run, (codes, counters) in zip(nodes, runs, results, strict=True):
        made = ClusterProgram.build(config, run)
        yield node, (made.workload, made.schedule, skip), codes, counters


def test_every_layer_of_a_lenet5_image():
    """Segments, fully connected layers; counters are the tick oracle's."""
    network = zoo.load("lenet5")
    tensors = reference.run_network(network, zoo.images("lenet5")[0])
    ran = run_hardware(SEGMENTED, network, network.convolutions, tensors)
    for node, run, codes, counters in ran:
        np.testing.assert_array_equal(codes, tensors[node.output.name], err_msg=node.layer.name)
        assert counters.difference(run_oracle(SEGMENTED, *run)[1]) == "", node.layer.name


@pytest.mark.parametrize("skip", [SkipMode.BOTH, SkipMode.DENSE])
def test_every_layer_of_a_resnet8_image(skip):
    """Strides, 1 x 1 shortcuts, residual additions; counters are the simulator's."""
    network = zoo.load("resnet8")
    tensors = reference.run_network(network, zoo.images("resnet8")[7])
    ran = run_hardware(SMALL, network, network.convolutions, tensors, skip)
    for node, run, codes, counters in ran:
        np.testing.assert_array_equal(codes, tensors[node.output.name], err_msg=node.layer.name)
        expected = count_layer(SMALL, *run, codes)
        assert expected.difference(counters) == "", node.layer.name


@pytest.mark.parametrize(
    ("network_name", "layer"),
    [
        ("alexnet-published", "conv1"),  # 11 x 11, stride 4, im2row
        ("alexnet-published", "conv5"),  # two groups
        ("vgg16-published", "conv5_1"),  # 512 channels, 36 chunks a filter
    ],
)
def test_full_size_layers(network_name, layer):
    """Layers at full size; codes are the simulator's exact activations, checked elsewhere."""
    network = zoo.load(network_name)
    node = next(node for node in network.convolutions if node.layer.name == layer)
    source = network.synthetic_inputs[node.input]
    expected = functional.convolve(node.layer, node.weights, source, node.requantisation)
    ((_, run, codes, counters),) = run_hardware(LARGE, network, [node], {node.input: source})
    np.testing.assert_array_equal(codes, expected)
    assert count_layer(LARGE, *run, codes).difference(counters) == ""
