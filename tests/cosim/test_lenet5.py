"""A whole LeNet-5 image on one cluster under Verilator, layer by layer: bits and counters."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

from golden import reference
from golden.config import AcceleratorConfig, SkipMode
from golden.schedule import make_schedule
from golden.workload import LayerWorkload
from rtl.run import run_layers
from sw import zoo
from tests.oracle import run_layer as run_oracle

#: A fully connected layer's whole filters do not fit a unit: it runs in segments.
MACHINE = AcceleratorConfig.preset("small").replace(
    segment_chunks=2, tile_positions=16, filters_per_unit=2, broadcast_width=8, fifo_depth=2
)


@pytest.mark.slow
def test_every_layer_of_an_image():
    network = zoo.load("lenet5")
    tensors = reference.run_network(network, zoo.images("lenet5")[0])
    runs = []
    for node in network.convolutions:
        workload = LayerWorkload.build(
            MACHINE, node.layer, node.weights, tensors[node.input], node.requantisation
        )
        schedule = make_schedule(
            MACHINE, node.layer, workload.weights, network.channel_density.get(node.layer.name)
        )
        runs.append((workload, schedule, SkipMode.BOTH))
    results = run_layers(MACHINE, runs, "verilator")
    assert len(results) == 4
    for node, run, (codes, counters) in zip(network.convolutions, runs, results, strict=True):
        np.testing.assert_array_equal(codes, tensors[node.output.name], err_msg=node.layer.name)
        assert counters.difference(run_oracle(MACHINE, *run)[1]) == "", node.layer.name
