"""Magnitude pruning: which weights stay, and that they stay zero to the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from golden.errors import UserError
from sw.onnx_import import import_onnx
from sw.prepare import layer_weights, prepare
from sw.prune import magnitude_masks, prune
from sw.quantise import quantise
from tests.sw.graphs import images, residual

WEIGHTS = {"a": np.array([3.0, -1, 0.5, 2]), "b": np.array([[-10.0, 0.1], [0.2, -0.3]])}


def kept(masks):
    return {name: mask.reshape(-1).tolist() for name, mask in masks.items()}


def test_network_density_ranks_all_layers_together():
    masks = magnitude_masks(WEIGHTS, 0.5)
    assert kept(masks) == {"a": [True, True, False, True], "b": [True, False, False, False]}
    assert masks["b"].shape == (2, 2)


def test_layer_densities_rank_each_layer_alone_and_leave_the_rest():
    assert kept(magnitude_masks(WEIGHTS, densities={"b": 0.5})) == {
        "a": [True] * 4, "b": [True, False, False, True]}  # fmt: skip
    assert kept(magnitude_masks(WEIGHTS, 0.25, {"b": 0.5})) == {
        "a": [True, False, False, False], "b": [True, False, False, True]}  # fmt: skip


def test_first_layer_can_be_kept():
    masks = kept(magnitude_masks(WEIGHTS, 0.25, keep_first=True))
    assert masks == {"a": [True] * 4, "b": [True, False, False, False]}
    masks = kept(magnitude_masks(WEIGHTS, 0.25, {"a": 0.25}, keep_first=True))
    assert masks["a"] == [True, False, False, False]


def test_of_equal_weights_the_earlier_stay():
    assert kept(magnitude_masks({"a": np.ones(5)}, 0.4)) == {"a": [True, True, False, False, False]}


@given(st.integers(1, 200), st.floats(0.001, 1), st.integers(0, 2**32 - 1))
def test_exactly_the_largest_stay(size, density, seed):
    weights = np.random.default_rng(seed).integers(-9, 10, size).astype(np.float32)
    mask = magnitude_masks({"w": weights}, density)["w"]
    assert mask.sum() == round(density * size)
    if mask.any() and not mask.all():
        assert np.abs(weights[mask]).min() >= np.abs(weights[~mask]).max()


@pytest.mark.parametrize("density", [0, -0.1, 1.001, float("nan"), float("inf")])
def test_density_outside_0_to_1_is_refused(density):
    with pytest.raises(
        UserError, match="Density of the network must be above 0 and at most 1, not"
    ):
        magnitude_masks(WEIGHTS, density)
    with pytest.raises(UserError, match="Density b must be above 0 and at most 1"):
        magnitude_masks(WEIGHTS, densities={"b": density})


def test_unknown_layer_and_bad_weights_are_refused():
    with pytest.raises(UserError, match="Layer to prune must be one of a, b, not 'c'"):
        magnitude_masks(WEIGHTS, densities={"c": 0.5})
    with pytest.raises(UserError, match="Weights of layer a must be finite"):
        magnitude_masks({"a": np.array([np.nan])}, 0.5)


def test_pruned_weights_are_zero_codes_after_quantisation():
    model = prepare(residual(0))
    pruned = prune(model, 0.2)
    before = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    after = {item.name: numpy_helper.to_array(item) for item in pruned.graph.initializer}
    names = layer_weights(model)
    total = sum(before[name].size for name in names.values())
    left = sum(np.count_nonzero(after[name]) for name in names.values())
    assert left == round(0.2 * total)
    for name, values in before.items():
        if name not in names.values():  # biases
            np.testing.assert_array_equal(after[name], values)
    network = import_onnx(quantise(pruned, images(model)))
    assert {layer.layer.name for layer in network.convolutions} == set(names)
    for layer in network.convolutions:
        wanted = after[names[layer.layer.name]]
        wanted = wanted.reshape(*wanted.shape, *(1,) * (4 - wanted.ndim))
        if wanted.shape[1] != layer.weights.shape[3]:  # fully connected, channel, y, x
            _, height, width, channels = layer.weights.shape
            wanted = wanted.reshape(-1, channels, height, width)
        assert not layer.weights.transpose(0, 3, 1, 2)[wanted == 0].any()


def test_quantised_model_is_refused():
    model = residual(0)
    with pytest.raises(UserError, match="Model to prune must be float"):
        prune(quantise(prepare(model), images(model)), 0.5)
