"""Sizes by stage, by hand, and the written bits read back."""

import numpy as np
import pytest
from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.errors import FormatError, UserError
from sw.coding.codebook import CodedWeights
from sw.coding.stages import (
    ENTROPY_CODERS,
    LayerCodes,
    decode_codes,
    encode_codes,
    measure,
    total,
)


def layer(*codes, bits=2, values=3, connected=True, name="fc"):
    """A filter with a codebook, whose length takes 8 bits and whose values 32 each."""
    array = np.array(codes, dtype=np.uint8)[None, None, None]
    books = (np.arange(1, values + 1, dtype=np.float32),) if values else ()
    return LayerCodes(name=name, connected=connected, coded=CodedWeights(bits, array, books, 1))


#: Entries in 1 bit of run: 3 at once; 1 after 1 zero; after 3 zeros a filler and 3 after 1 more.
SMALL = layer(3, 0, 1, 0, 0, 0, 3)


def test_bits_by_hand():
    written = encode_codes(SMALL.coded.codes, 2, 1, "none")
    # Number of entries, codes in 2 bits, runs in 1.
    assert written.to01() == f"{4:032b}" + "11010011" + "0111"
    written = encode_codes(SMALL.coded.codes, 2, 1, "huffman")
    # Codes 3 (twice), 0, 1: lengths 1, 2, 2; runs 1 (three times), 0: lengths 1, 1.
    codes = "00010" + "001010" + "110001" + "011100"
    runs = "00001" + "10" + "01" + "0111"
    assert written.to01() == f"{4:032b}" + codes + runs


def test_sizes_by_hand():
    sizes = measure(SMALL, index_bits=1)
    assert (sizes.weights, sizes.kept, sizes.entries) == (7, 3, 4)
    assert sizes.pruned_bits == 32 + 4 * (32 + 1)
    assert sizes.side_bits == 8 + 3 * 32
    assert sizes.quantised_bits == 104 + 32 + 4 * (2 + 1)
    assert sizes.coded_bits == 104 + 32 + (17 + 6) + (9 + 4)
    assert (sizes.code_word_bits, sizes.index_word_bits) == (6 / 4, 4 / 4)
    assert sizes.float_bits == 7 * 32
    assert sizes.formats_bits["bitmask"] == 7 + 3 * 2


def test_without_a_coder_the_last_stage_adds_nothing():
    sizes = measure(SMALL, 1, "none")
    assert sizes.coded_bits == sizes.quantised_bits
    assert (sizes.code_word_bits, sizes.index_word_bits) == (2, 1)


def test_totals_are_sums_and_means_over_entries():
    other = layer(5, bits=8, values=0, connected=False)
    sums = total([measure(SMALL, 1), measure(other, 1)])
    assert (sums.weights, sums.kept, sums.entries) == (8, 4, 5)
    assert sums.code_bits == pytest.approx((4 * 2 + 1 * 8) / 5)
    assert sums.pruned_bits == 32 + 4 * 33 + 32 + 33
    assert sums.formats_bits["dense"] == 7 * 2 + 8
    assert not sums.connected


def test_an_empty_layer_is_its_number_of_entries():
    sizes = measure(layer(0, 0, 0, values=0), 5)
    assert (sizes.pruned_bits, sizes.quantised_bits, sizes.coded_bits) == (32, 32, 32)


coded = st.integers(1, 8).flatmap(
    lambda bits: st.tuples(
        st.just(bits),
        arrays.arrays(
            np.uint8,
            st.tuples(st.integers(1, 5), st.integers(1, 40)),
            elements=st.just(0) | st.integers(0, 2**bits - 1),
        ),
    )
)


@given(coded, st.integers(1, 6), st.sampled_from(list(ENTROPY_CODERS)))
def test_codes_come_back_bit_for_bit(drawn, index_bits, entropy):
    bits, codes = drawn
    written = encode_codes(codes, bits, index_bits, entropy)
    again = bitarray(written.to01())
    np.testing.assert_array_equal(
        decode_codes(again, codes.shape, bits, index_bits, entropy), codes
    )
    shaped = codes[:, None, None]
    measured = measure(
        LayerCodes(name="a", connected=True, coded=CodedWeights(bits, shaped, (), len(codes))),
        index_bits,
        entropy,
    )
    assert measured.coded_bits == len(written)


@given(st.integers(0, 67), st.sampled_from(list(ENTROPY_CODERS)))
def test_bits_cut_short_or_too_many_are_refused(length, entropy):
    written = encode_codes(SMALL.coded.codes, 2, 1, entropy)
    for bad in (written[: min(length, len(written) - 1)], written + bitarray("0")):
        with pytest.raises(FormatError):
            decode_codes(bad, SMALL.coded.codes.shape, 2, 1, entropy)


def test_an_unknown_coder_and_a_code_too_wide_are_refused():
    with pytest.raises(UserError, match="one of huffman, none, not 'zip'"):
        measure(SMALL, 5, "zip")
    with pytest.raises(FormatError, match="below 2, not 3"):
        encode_codes(SMALL.coded.codes, 1, 5)
    with pytest.raises(FormatError, match="at most one a weight"):
        decode_codes(bitarray("1" * 64), (2, 2), 2, 1, "none")
