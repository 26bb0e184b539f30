"""The tensor format, pinned by bit vectors written by hand and by property tests."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.errors import FormatError
from golden.tensor import pack, unpack


def test_pack_matches_bits_written_by_hand():
    dense = np.zeros((2, 70), dtype=np.int8)
    dense[0, [0, 5, 64]] = [7, -1, 3]
    dense[1, 69] = -128
    tensor = pack(dense, 128)
    assert tensor.masks.tolist() == [[[0b100001, 0b1]], [[0, 0b100000]]]
    assert tensor.pointers.tolist() == [0, 3, 4]
    assert tensor.values.tolist() == [7, -1, 3, -128]


def test_ragged_row_of_small_chunks_by_hand():
    tensor = pack(np.array([[1] * 20 + [0] * 15 + [9]], dtype=np.uint8), 16)
    assert tensor.masks.tolist() == [[[0xFFFF], [0x000F], [0b1000]]]
    assert tensor.pointers.tolist() == [0, 16, 20, 21]


def test_unpack_inverts_pack_by_hand():
    dense = np.array([[0, 5, 0, -3] * 5, [1] * 20], dtype=np.int8)
    assert unpack(pack(dense, 16)).tolist() == dense.tolist()


@given(
    st.sampled_from([16, 32, 64, 128, 256]),
    st.integers(1, 300),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_unpack_inverts_pack(chunk, length, density, seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-128, 128, (3, 2, length)) * (rng.random((3, 2, length)) < density)
    dense = dense.astype(np.int8)
    tensor = pack(dense, chunk)
    assert np.array_equal(unpack(tensor), dense)
    assert len(tensor.values) == np.count_nonzero(dense)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": np.array([7, 0, 3], np.int8)}, "must not be zero"),
        ({"values": np.array([7, 3], np.int8)}, "as many as mask bits"),
        ({"pointers": np.array([0, 2], np.int64)}, "population count"),
        ({"masks": np.array([[[0b11, 1 << 60]]], np.uint64)}, "beyond the end of a row"),
    ],
)
def test_validate_refuses(change, words):
    dense = np.zeros((1, 70), dtype=np.int8)
    dense[0, [0, 1, 64]] = [7, 2, 3]
    with pytest.raises(FormatError, match=words):
        dataclasses.replace(pack(dense, 128), **change).validate()
