"""Sizes of formats, worked out by hand and against the machine's own tensor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.errors import UserError
from golden.tensor import pack
from sw.coding.formats import FORMATS, sizes_bits


def test_sizes_by_hand():
    """9 filters of 3 x 3 x 40 weights, three of 3240 kept, 8 bits each."""
    mask = np.zeros((9, 3, 3, 40), dtype=bool)
    mask[0, 0, 0, 0] = mask[1, 0, 1, 0] = mask[8, 2, 2, 39] = True
    assert sizes_bits(mask, 8) == {
        "dense": 3240 * 8,
        "bitmask": 3240 + 3 * 8,
        "bitmask chunks": 9 * 3 * (128 + 32) + 3 * 8,  # 360 positions are three chunks
        "CSR": 10 * 2 + 3 * (9 + 8),  # pointers up to 3, columns up to 359
        # Places 0, 400 and 3239 have 0, 399 and 2838 zeros before them.
        "relative 4": (3 + 24 + 177) * (4 + 8),
        "relative 5": (3 + 12 + 88) * (5 + 8),
        # Channel 0 of filters 0 to 7: places 0 and 9; filter 8 alone: place 8 of channel 39.
        "run length 4": 3 * (4 + 8),
        "coordinates": 3 * (4 + 2 + 2 + 6 + 8),
    }


def test_run_length_counts_placeholders_within_a_block():
    mask = np.zeros((8, 3, 3, 1), dtype=bool)
    mask[0, 0, 0, 0] = mask[7, 2, 2, 0] = True  # 70 zeros between, in the order r, s, k
    assert sizes_bits(mask, 8)["run length 4"] == (2 + 4) * 12


def test_a_layer_of_one_weight_needs_no_place():
    assert sizes_bits(np.ones((1, 1, 1, 1), dtype=bool), 5) == {
        "dense": 5,
        "bitmask": 6,
        "bitmask chunks": 165,
        "CSR": 2 * 1 + 5,
        "relative 4": 9,
        "relative 5": 10,
        "run length 4": 9,
        "coordinates": 5,
    }


@given(
    arrays.arrays(
        np.int8,
        st.tuples(*[st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 70)]),
        elements=st.sampled_from([0, 0, 0, 5, -1]),
    )
)
def test_chunks_are_as_large_as_the_tensor_of_the_machine(weights):
    sizes = sizes_bits(weights != 0, 8)
    assert sizes["bitmask chunks"] == pack(weights.reshape(len(weights), -1), 128).size_bits
    assert set(sizes) == set(FORMATS)


def test_an_empty_layer_stores_no_value():
    sizes = sizes_bits(np.zeros((2, 1, 1, 4), dtype=bool), 8)
    assert [sizes[name] for name in ("relative 4", "run length 4", "coordinates")] == [0, 0, 0]
    assert sizes["CSR"] == 0
    assert sizes["bitmask"] == 8


@pytest.mark.parametrize("shape", [(2, 3), (0, 1, 1, 1)])
def test_other_axes_are_refused(shape):
    with pytest.raises(UserError, match="axes k, r, s, c"):
        sizes_bits(np.zeros(shape, dtype=bool), 8)
