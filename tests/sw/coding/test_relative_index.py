"""Runs of zeros: by hand, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.errors import FormatError, UserError
from sw.coding.relative_index import RelativeIndex, encode, entries, parse_bits

masks = arrays.arrays(bool, st.integers(0, 200), elements=st.sampled_from([False] * 9 + [True]))


def at(length, *places):
    mask = np.zeros(length, dtype=bool)
    mask[list(places)] = True
    return mask


def test_a_run_that_does_not_fit_is_cut_by_a_filler():
    """Non-zeros at 1, 4 and 15 in 3 bits: Figure 2 of Deep Compression, its filler at 12."""
    index = encode(at(16, 1, 4, 15), 3)
    assert index.runs.tolist() == [1, 2, 7, 2]
    assert index.filler.tolist() == [False, False, True, False]
    assert index.positions.tolist() == [1, 4, 15]
    assert (np.cumsum(index.runs + 1) - 1)[2] == 12


@pytest.mark.parametrize(
    ("zeros", "fillers"), [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (47, 2), (48, 3)]
)
def test_each_sixteen_zeros_take_a_filler_in_four_bits(zeros, fillers):
    mask = at(zeros + 1, zeros)
    assert encode(mask, 4).filler.tolist() == [True] * fillers + [False]
    assert entries(mask[None], 4) == fillers + 1


def test_zeros_at_the_end_take_nothing():
    assert encode(at(1000, 0), 4).runs.tolist() == [0]
    assert encode(np.zeros(1000, dtype=bool), 4).runs.size == 0


def test_rows_begin_anew():
    # As one row there are 24 zeros between the two; each row by itself has 12 of them.
    rows = np.stack([at(20, 7), at(20, 12)])
    assert entries(rows, 4) == 2
    assert entries(rows.reshape(1, -1), 4) == 3


@given(masks, st.integers(1, 16))
def test_positions_come_back(mask, bits):
    index = encode(mask, bits)
    assert index.positions.tolist() == np.flatnonzero(mask).tolist()
    assert index.runs.max(initial=0) < 2**bits
    assert entries(mask[None], bits) == index.runs.size


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(UserError, match=rf"Index bits must be 1 to 16, not {bits}"):
        encode(at(4, 1), bits)


def test_runs_beyond_the_row_are_refused():
    index = RelativeIndex(4, 4, np.array([1, 2], dtype=np.uint16), np.zeros(2, dtype=bool))
    with pytest.raises(FormatError, match="within 4 positions, not at 4"):
        _ = index.positions


@pytest.mark.parametrize(("text", "bits"), [("5", (5, 5)), ("8,5", (8, 5))])
def test_widths_are_by_kind_of_layer(text, bits):
    found = parse_bits(text)
    assert (found.of(connected=False), found.of(connected=True)) == bits


@pytest.mark.parametrize("text", ["", "8,5,4", "8,", "-5", "five", "8;5"])
def test_widths_that_are_none_are_refused(text):
    with pytest.raises(UserError, match="must be a number, or two as 8,5"):
        parse_bits(text)
