"""Networks pruned to a density, in each pattern."""

from __future__ import annotations

import numpy as np
import pytest

import accel
from accel.sweeps.space.pruning import PATTERNS, prune_network
from golden.network import Convolution


def layers(network):
    return [node for node in network.nodes if isinstance(node, Convolution)]


@pytest.fixture(scope="module")
def dense():
    """LeNet-5 with no zero among its weights."""
    from dataclasses import replace

    network = accel.load("lenet5").network
    rng = np.random.default_rng(0)
    nodes = [
        replace(n, weights=rng.integers(1, 128, n.weights.shape).astype(np.int8))
        if isinstance(n, Convolution)
        else n
        for n in network.nodes
    ]
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_more_than_the_share_stays_and_what_stays_is_as_it_was(dense, pattern):
    pruned = prune_network(dense, 0.25, pattern)
    for before, after in zip(layers(dense), layers(pruned), strict=True):
        stays = after.weights != 0
        assert np.array_equal(after.weights[stays], before.weights[stays])
        channels = before.weights.shape[-1]
        most = 0.25
        if pattern == "balanced":  # a quarter of each 16 channels, and one of those left over
            most = (channels // 16 * 4 + max(channels % 16 > 0, channels % 16 // 4)) / channels
        assert 0.15 < stays.mean() <= most


def test_patterns_go_together(dense):
    conv = layers(prune_network(dense, 0.5, "kernel"))[1].weights != 0
    assert np.array_equal(conv.any(axis=(1, 2)), conv.all(axis=(1, 2)))
    assert 0.4 < conv.mean() <= 0.5
    conv = layers(prune_network(dense, 0.5, "filter"))[1].weights != 0
    assert np.array_equal(conv.any(axis=(1, 2, 3)), conv.all(axis=(1, 2, 3)))
    wide = layers(prune_network(dense, 0.25, "balanced"))[2].weights != 0
    whole = wide.shape[-1] // 16 * 16
    runs = wide[..., :whole].reshape(*wide.shape[:-1], -1, 16).sum(axis=-1)
    assert (runs == 4).all()
    wide = layers(prune_network(dense, 0.25, "vector"))[2].weights != 0
    runs = wide[..., :whole].reshape(*wide.shape[:-1], -1, 16)
    assert np.array_equal(runs.any(axis=-1), runs.all(axis=-1))


def test_the_largest_stay():
    kept = PATTERNS["element"](np.array([[[[3, 1, 2, 5, 5, 0, 4, 1]]]]), 0.5)
    assert kept.tolist() == [[[[True, False, False, True, True, False, True, False]]]]
    kept = PATTERNS["kernel"](np.array([[[[9, 1]], [[1, 8]]]]), 0.5)
    assert kept[0, :, 0].tolist() == [[True, False], [True, False]]
