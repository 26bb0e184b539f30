"""Pruning of weights and of blocks: which stay, and that they stay zero to the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from golden.errors import UserError
from sw.onnx.importer import import_onnx
from sw.onnx.prepare import layer_weights, prepare
from sw.prune import magnitude_masks, prune, prune_blocks
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


# -- blocks -----------------------------------------------------------------------------------


def column(*weights):
    """Return one weight of each of several filters, axes k, r, s, c."""
    return np.array(weights, dtype=np.int8).reshape(-1, 1, 1, 1)


def test_average_and_max_choose_different_blocks():
    # Blocks of 4 filters: averages 3, 2.5 and (short, of two) 2.75; maxima 3, 10 and 3.
    weights = np.array([3, -3, 3, 3, -10, 0, 0, 0, 2.5, 3], dtype=np.float32)
    weights = weights.reshape(-1, 1, 1, 1)

    def filters_left(density, by):
        left = prune_blocks(weights, density, block=(1, 4, 1, 1), by=by)
        assert left.dtype == np.float32
        np.testing.assert_array_equal(left[left != 0], weights[left != 0])
        return np.flatnonzero(left).tolist()

    assert filters_left(1 / 3, "average") == [0, 1, 2, 3]
    assert filters_left(2 / 3, "average") == [0, 1, 2, 3, 8, 9]
    assert filters_left(1 / 3, "max") == [4]
    # Of equal ones the earlier.
    assert filters_left(2 / 3, "max") == [0, 1, 2, 3, 4]


def test_most_negative_code_is_the_largest():
    left = prune_blocks(column(127, -128), 0.5, block=(1, 1, 1, 1))
    assert left.dtype == np.int8
    assert left.ravel().tolist() == [0, -128]


def test_block_sizes_are_channels_filters_columns_rows():
    weights = np.ones((4, 6, 10, 14), dtype=np.int8)
    weights[2:, 3:, 5:, 7:] = 2
    left = prune_blocks(weights, 1 / 16, block=(7, 2, 5, 3))
    np.testing.assert_array_equal(left, np.where(weights == 2, weights, 0))


def test_blocks_begin_anew_in_each_group():
    # Groups of 3 filters, blocks of 2: (0, 1), (2), (3, 4), (5).
    weights = column(1, 1, 9, 2, 2, 8)
    assert prune_blocks(weights, 0.5, (1, 2, 1, 1), groups=2).ravel().tolist() == [0, 0, 9, 0, 0, 8]
    # In one group (0, 1), (2, 3), (4, 5).
    assert prune_blocks(weights, 1 / 3, (1, 2, 1, 1)).ravel().tolist() == [0, 0, 9, 2, 0, 0]


@given(
    st.integers(1, 40), st.integers(1, 3), st.integers(1, 9), st.floats(0.01, 1),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sixteen_filters_share_a_mask_and_the_largest_averages_stay(
    filters, kernel, channels, density, seed
):
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 100, (filters, kernel, kernel, channels)).astype(np.int8)
    left = prune_blocks(weights, density)
    np.testing.assert_array_equal(left[left != 0], weights[left != 0])
    kept, averages = [], []
    for first in range(0, filters, 16):
        for place in np.ndindex(kernel, kernel, channels):
            part = (slice(first, first + 16), *place)
            assert (left[part] != 0).all() or not left[part].any()
            kept.append(bool(left[part].any()))
            averages.append(np.mean(weights[part], dtype=np.float64))
    kept, averages = np.array(kept), np.array(averages)
    assert kept.sum() == round(density * kept.size)
    if kept.any() and not kept.all():
        assert averages[kept].min() >= averages[~kept].max() - 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"density": 0}, "Density of the blocks must be above 0 and at most 1, not 0"),
     ({"density": float("nan")}, "at most 1, not nan"),
     ({"by": "median"}, "Magnitude of a block must be its average or max or sum, not 'median'"),
     ({"block": (1, 0, 1, 1)}, "Block must be four positive sizes .* not"),
     ({"block": (16,)}, "Block must be four positive sizes .* not"),
     ({"groups": 3}, "filters that 3 groups divide, not shape"),
     ({"weights": np.ones(8)}, "must have axes k, r, s, c"),
     ({"weights": np.full((1, 1, 1, 1), np.nan)}, "Weights to prune must be finite")],
)  # fmt: skip
def test_bad_blocks_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        prune_blocks(**{"weights": column(1, 2, 3, 4), "density": 0.5, **arguments})
