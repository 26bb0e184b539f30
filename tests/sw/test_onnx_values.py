"""Views of tensors, quantisations and weights, against NumPy on plain arrays."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.errors import UserError
from sw.fixed_point import common_multipliers
from sw.onnx.graph.values import Quantisation, View, Weights
from sw.onnx.importer import OnnxCodes


@given(st.tuples(*[st.integers(1, 4)] * 3), st.lists(st.integers(0, 5), max_size=5), st.data())
def test_views_follow_any_chain_of_reshapes_and_transposes(tensor, steps, data):
    height, width, channels = tensor
    array = np.arange(height * width * channels).reshape(tensor)
    seen, view = array.transpose(2, 0, 1)[None], View.image(tensor)
    for step in steps:
        if step % 2:
            shape = (seen.shape[0] * seen.shape[-1], -1) if step > 2 else (1, -1)
            seen = seen.reshape(shape)
            view = view.reshape(seen.shape)
        else:
            axes = tuple(data.draw(st.permutations(range(seen.ndim))))
            seen, view = seen.transpose(axes), view.transpose(axes)
    np.testing.assert_array_equal(array.reshape(-1)[view.elements], seen)
    is_image = seen.shape == (1, channels, height, width) and np.array_equal(
        seen[0], array.transpose(2, 0, 1)
    )
    assert view.is_image == is_image
    codes = OnnxCodes("x", 0, view).to_network(seen.astype(np.uint8))
    np.testing.assert_array_equal(codes, array)


def test_channel_vector():
    view = View.image((2, 3, 4))
    values = np.arange(4.0)
    assert view.channel_vector(values.reshape(4, 1, 1)).tolist() == [0, 1, 2, 3]
    assert view.channel_vector(np.array(2.0)).tolist() == [2] * 4
    assert view.channel_vector(np.arange(3.0)) is None  # one value a column
    assert view.channel_vector(np.zeros(7)) is None
    flat = view.reshape((1, 24))
    assert flat.channel_vector(np.repeat(values, 6)).tolist() == [0, 1, 2, 3]
    assert flat.channel_vector(np.arange(24.0)) is None


@pytest.mark.parametrize(
    ("zero", "wanted"),
    [
        (np.uint8(128), ("int8", 0, -128)),
        (np.int8(-128), ("uint8", 0, 128)),
        (np.uint8(0), ("uint8", 0, 0)),
        (np.int8(0), ("int8", 0, 0)),
        (np.uint8(127), ("uint8", 127, 0)),
    ],
)
def test_zero_points_move_to_zero_where_that_is_exact(zero, wanted):
    how = Quantisation.from_onnx("x", np.float32(0.5), zero)
    assert (how.dtype, how.zero_point, how.offset) == wanted
    for code in range(np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max + 1):
        value = (code - int(zero)) * 0.5
        assert how.code(value) == code + how.offset
        assert how.holds(value)
    assert not how.holds(0.25)
    assert how.code(math.inf) == how.high
    assert how.code(-math.inf) == how.low


def test_codes_round_ties_to_even():
    how = Quantisation(1.0, 0, "int8")
    assert [how.code(value) for value in (0.5, 1.5, -0.5, -1.5, 400, -400)] == [
        0, 2, 0, -2, 127, -128]  # fmt: skip


def test_weights_around_another_zero_point():
    codes = np.array([[128, 255], [0, 1]], np.uint8)
    weights = Weights(codes, np.array([0.5, 2.0], np.float32), np.full(2, 128, np.uint8), 0)
    centred, scales = weights.centred("w", 0)
    assert centred.tolist() == [[0, 127], [-128, -127]]
    assert scales.tolist() == [0.5, 2.0]
    np.testing.assert_array_equal(weights.real, [[0, 63.5], [-256, -254]])


def test_weights_beyond_int8_where_no_divisor_makes_them_fit():
    codes = np.array([[0, 255], [3, 250]], np.uint8)
    one = np.ones(1, np.float32)
    centred, scales = Weights(codes[:1], one, np.zeros(1, np.uint8), 0).centred("w", 0)
    assert (centred * scales[:, None]).tolist() == [[0, 255]]
    centred, scales = Weights(codes, one, np.zeros(1, np.uint8), 0).centred("w", 0)
    assert centred.tolist() == [[0, 1], [3, 250]]
    assert scales.tolist() == [255, 1]


def test_scales_along_the_wrong_axis_are_refused():
    weights = Weights(np.ones((2, 3), np.int8), np.ones(3, np.float32), np.zeros(3, np.int8), 1)
    assert weights.centred("w", 1)[1].shape == (3,)
    with pytest.raises(UserError, match="one for each output channel"):
        weights.centred("w", 0)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4))
def test_common_multipliers_are_close_and_small(scales):
    multipliers, shift = common_multipliers("n", tuple(scales))
    assert 1 <= shift <= 55
    assert 0 <= min(multipliers) <= max(multipliers) < 2**31
    for multiplier, scale in zip(multipliers, scales, strict=True):
        assert abs(multiplier / 2**shift - scale) <= max(scales) * 2**-29


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 2.0**31])
def test_scales_that_are_none_are_refused(scale):
    with pytest.raises(UserError, match="Node n: ratios of scales must be"):
        common_multipliers("n", (1.0, scale))
