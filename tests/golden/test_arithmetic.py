"""Requantisation by hand: ties, extremes, and the proof against overflow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.arithmetic import (
    MULTIPLIER_BITS,
    SHIFT_MAX,
    Requantisation,
    check_accumulator,
    quantise_scale,
)
from golden.errors import CapacityError, UserError
from golden.reference import requantise


def how(multiplier, shift, bias=0, **changes):
    fields = {"low": -128, "high": 127, "signed": True, **changes}
    return Requantisation(
        np.array([bias], np.int64), np.array([multiplier], np.int64), np.array([shift], np.int64),
        **fields,
    )  # fmt: skip


def both(total, requantisation):
    """The code of one sum, by the library and by the reference; they must agree."""
    sums = np.array([[[total]]], dtype=np.int64)
    code = requantisation.apply(sums)
    plain = requantise(sums, requantisation)
    assert code.dtype == plain.dtype == (np.int8 if requantisation.signed else np.uint8)
    assert code.item() == plain.item()
    return code.item()


@pytest.mark.parametrize(
    ("total", "code"),
    # A quarter of the sum: halves go to the even neighbour, as ONNX's QuantizeLinear says.
    [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (5, 1),
        (6, 2),
        (10, 2),
        (14, 4),
        (-1, 0),
        (-2, 0),
        (-3, -1),
        (-6, -2),
        (-7, -2),
        (-10, -2),
    ],
)
def test_halves_go_to_the_even_neighbour(total, code):
    assert both(total, how(1 << 23, 25)) == code


@pytest.mark.parametrize(
    ("total", "requantisation", "code"),
    [
        (7, how(1, 1, bias=-4), 2),
        (7, how(1, 1, bias=4, zero_point=10), 16),
        (1000, how(1, 1), 127),
        (-1000, how(1, 1), -128),
        (-1000, how(1, 1, low=0), 0),
        (1000, how(1, 1, low=0, high=255, signed=False), 255),
        (1000, how(1, 1, low=0, high=96, signed=False), 96),
        (-3, how(1, 1, low=5, high=255, signed=False, zero_point=5), 5),
        # A bias of 2**31 - 1 on a sum of 2**31 - 1, times the largest multiplier.
        ((1 << 31) - 1, how((1 << 24) - 1, 49, bias=(1 << 31) - 1), 127),
        ((1 << 31) - 1, how((1 << 24) - 1, 55, bias=(1 << 31) - 1), 2),
        (-(1 << 31), how((1 << 24) - 1, 55, bias=-(1 << 31)), -2),
        (-(1 << 31), how((1 << 24) - 1, 52, bias=-(1 << 31)), -16),
        (123456, how(0, 1), 0),
        (123456, how(0, 1, zero_point=-7), -7),
    ],
)
def test_values_by_hand(total, requantisation, code):
    assert both(total, requantisation) == code


@given(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.one_of(st.just(0), st.integers(1 << 23, (1 << 24) - 1)),
    st.integers(1, SHIFT_MAX),
    st.integers(-128, 127),
    st.booleans(),
)
def test_library_and_reference_agree(total, bias, multiplier, shift, zero_point, relu):
    low = zero_point if relu else -128
    both(total, how(multiplier, shift, bias, low=low, zero_point=zero_point))


def test_channels_have_their_own_constants():
    requantisation = Requantisation(
        np.array([0, 10, 0]), np.array([1, 1, 3]), np.array([1, 1, 2]), low=0, high=255
    )
    sums = np.array([[[8, 8, 8], [1, 1, 1]]])
    assert requantisation.apply(sums).tolist() == [[[4, 9, 6], [0, 6, 1]]]
    assert requantise(sums, requantisation).tolist() == [[[4, 9, 6], [0, 6, 1]]]


@pytest.mark.parametrize(
    ("scale", "multiplier", "shift"),
    [
        (1.0, 1 << 23, 23),
        (0.5, 1 << 23, 24),
        (0.75, 3 << 22, 24),
        (1 / 3, 11184811, 25),
        (0.0, 0, 1),
        (1 - 2.0**-30, 1 << 23, 23),  # rounds up to the next power of two
        (2.0**-32, 1 << 23, 55),
        (2.0**-33, 0, 1),  # below the smallest
        (2.0**22 * 1.5, 3 << 22, 1),
    ],
)
def test_scales_by_hand(scale, multiplier, shift):
    found = quantise_scale(np.array([scale]))
    assert (found[0].item(), found[1].item()) == (multiplier, shift)


@given(st.floats(2.0**-31, 2.0**22))
def test_scales_are_near(scale):
    multiplier, shift = (int(a.item()) for a in quantise_scale(np.array([scale])))
    assert 1 << (MULTIPLIER_BITS - 1) <= multiplier < 1 << MULTIPLIER_BITS
    assert 1 <= shift <= SHIFT_MAX
    assert abs(multiplier * 2.0**-shift - scale) <= scale * 2.0**-MULTIPLIER_BITS


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf])
def test_bad_scales_are_refused(scale):
    with pytest.raises(UserError, match="must be finite and not negative"):
        quantise_scale(np.array([0.5, scale]))


def test_large_scale_is_refused():
    with pytest.raises(UserError, match=r"must be below 2\*\*23, not"):
        quantise_scale(np.array([2.0**23]))


def test_accumulator_proof_at_its_edge():
    # 2**31 - 1 = 255 * 8421504 + 127, and 8421504 = 66311 * 127 + 7.
    weights = np.zeros((2, 1, 1, 66312), dtype=np.int8)
    weights[1] = 127
    weights[1, 0, 0, 0] = -7
    none = np.zeros(2, np.int64)
    check_accumulator("fits", weights, none, 255)
    weights[1, 0, 0, 0] = -8
    with pytest.raises(CapacityError, match=r"Layer full: .* channel 1 could reach 2147483775"):
        check_accumulator("full", weights, none, 255)


@pytest.mark.parametrize("end", [-(1 << 31), (1 << 31) - 1])
def test_bias_may_reach_the_ends_of_int32_whatever_the_sum(end):
    weights = np.full((2, 1, 1, 1000), -128, dtype=np.int8)
    bias = np.array([0, end])
    check_accumulator("fits", weights, bias, 255)
    with pytest.raises(CapacityError, match=r"Layer full: the bias of output channel 1 must fit i"):
        check_accumulator("full", weights, bias + np.sign(bias), 255)
