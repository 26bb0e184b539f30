"""Huffman streams: words and sizes by hand, and symbols back again."""

import heapq

import numpy as np
import pytest
from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st

from golden.errors import FormatError
from sw.coding.huffman import LONGEST, HuffmanCode, decode, encode


def test_words_by_hand():
    """Frequencies 5, 2, 1, 1: lengths 1, 2, 3, 3, words in order of length and symbol."""
    code = HuffmanCode.of({3: 5, 0: 2, 2: 1, 1: 1}, 2)
    assert {symbol: word.to01() for symbol, word in code.words.items()} == {
        3: "0", 0: "10", 1: "110", 2: "111"}  # fmt: skip
    assert code.payload_bits({3: 5, 0: 2, 2: 1, 1: 1}) == 5 + 4 + 3 + 3
    # Longest length 3 in 5 bits; counts 1, 1, 2 in 3 bits; symbols 3, 0, 1, 2 in 2 bits.
    assert code.table().to01() == "00011" + "001001010" + "11000110"
    assert code.table_bits == 22


def test_a_stream_is_table_and_words():
    bits = encode(np.array([3, 3, 0, 3, 1, 3, 0, 2, 3], dtype=np.uint8), 2)
    assert bits.to01() == "0001100100101011000110" + "001001100101110"


def test_one_symbol_takes_a_bit():
    bits = encode(np.full(10, 6, dtype=np.uint8), 3)
    assert bits.to01() == "00001" + "0001" + "110" + "0" * 10
    symbols, used = decode(bits, 10, 3)
    assert (symbols.tolist(), used) == ([6] * 10, len(bits))


def cost(counts):
    """Huffman's cost: the sum of all merged weights."""
    heap, total = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@given(st.dictionaries(st.integers(0, 255), st.integers(1, 1000), min_size=2))
def test_no_code_is_shorter(frequencies):
    code = HuffmanCode.of(frequencies, 8)
    assert code.payload_bits(frequencies) == cost(frequencies.values())
    assert len(code.table()) == code.table_bits


@given(st.lists(st.integers(0, 31) | st.just(3), max_size=300), st.integers(5, 9), st.binary())
def test_symbols_come_back_bit_for_bit(symbols, symbol_bits, after):
    bits = encode(np.array(symbols, dtype=np.uint16), symbol_bits)
    size, rest = len(bits), bitarray()
    rest.frombytes(after)
    found, used = decode(bits + rest, len(symbols), symbol_bits)
    assert (found.tolist(), used) == (symbols, size)


def test_words_too_long_for_the_decoder_are_shortened():
    """Fibonacci's numbers give the longest words: 34 symbols, words of 33 bits."""
    counts = [1, 1]
    while len(counts) < 34:
        counts.append(counts[-1] + counts[-2])
    code = HuffmanCode.of(dict(enumerate(counts)), 6)
    assert max(map(len, code.words.values())) == len(code.counts) - 1 <= LONGEST
    bits = code.table()
    bits.encode(code.words, [0, 33, 5, 1])
    assert decode(bits, 4, 6)[0].tolist() == [0, 33, 5, 1]


@pytest.mark.parametrize("frequencies", [{}, {4: 1}, {0: 0}])
def test_symbols_that_do_not_fit_are_refused(frequencies):
    with pytest.raises(FormatError, match="0 to 3"):
        HuffmanCode.of(frequencies, 2)


@given(st.integers(0, 60))
def test_a_stream_cut_short_is_refused(length):
    bits = encode(np.array([3, 3, 0, 3, 1, 3, 0, 2, 3] * 3, dtype=np.uint8), 2)
    assert len(bits) == 22 + 3 * 15
    with pytest.raises(FormatError, match="27 symbols"):
        decode(bits[:length], 27, 2)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("00001" + "011" + "000110", "lengths"),  # three words of a bit
        ("00010" + "001" + "001" + "0001", "lengths"),  # a gap: words 0 and 10
        ("00001" + "010" + "0101", "twice"),
        ("00000", "lengths"),
    ],
)
def test_tables_that_are_no_code_are_refused(table, words):
    with pytest.raises(FormatError, match=words):
        decode(bitarray(table + "0" * 40), 5, 2)
