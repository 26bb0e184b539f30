"""Canonical Huffman codes, with bitarray's coder; the decoder's table is part of the stream.

A canonical code is known by how many symbols have each length, and the symbols in order
(Schwartz and Kallick, CACM 1964), which is what the table holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from bitarray import bitarray
from bitarray.util import ba2int, canonical_decode, canonical_huffman, int2ba
from numpy.typing import NDArray

from golden.errors import FormatError

__all__ = ["LENGTH_BITS", "LONGEST", "HuffmanCode", "decode", "encode", "words_bits"]

#: Longest code word, which is what bitarray decodes.
LONGEST = 31
#: Bits of the table's first field, the longest length in use.
LENGTH_BITS = 5


@dataclass(frozen=True, eq=False)
class HuffmanCode:
    """A code for symbols of ``symbol_bits`` bits.

    Parameters
    ----------
    symbol_bits : int
    words : dict of int to bits
        Code word of each symbol that occurs.
    counts : list of int
        Symbols whose words have each length, from length 0.
    symbols : list of int
        Symbols in the order of their words.
    """

    symbol_bits: int
    words: dict[Any, bitarray]
    counts: list[int]
    symbols: list[int]

    @classmethod
    def of(cls, frequencies: Mapping[int, int], symbol_bits: int) -> HuffmanCode:
        """Make the code of symbols that occur so often; words of at most ``LONGEST`` bits.

        Where Huffman's own would be longer, frequencies are halved (at least 1) until they
        are not: the code is then no longer the shortest.

        Raises
        ------
        FormatError
            A symbol needs more bits, or none occurs.
        """
        used = {symbol: count for symbol, count in sorted(frequencies.items()) if count}
        if not used or not 0 <= min(used) <= max(used) < 1 << symbol_bits:
            raise FormatError(
                f"Symbols to code must be one or more of 0 to {(1 << symbol_bits) - 1}, "
                f"not {sorted(used)[:1]} to {sorted(used)[-1:]}"
            )
        while True:
            words, counts, symbols = canonical_huffman(dict[Any, int | float](used))
            if len(counts) <= LONGEST + 1:
                return cls(symbol_bits, words, counts, symbols)
            used = {symbol: (count + 1) // 2 for symbol, count in used.items()}

    @property
    def table_bits(self) -> int:
        """Size of the decoder's table: longest length, a count for each length, symbols."""
        lengths = len(self.counts) - 1
        return LENGTH_BITS + lengths * (self.symbol_bits + 1) + len(self.symbols) * self.symbol_bits

    def payload_bits(self, frequencies: Mapping[int, int]) -> int:
        """Size of the code words of symbols that occur so often."""
        return sum(count * len(self.words[symbol]) for symbol, count in frequencies.items())

    def table(self) -> bitarray:
        """Return the decoder's table as bits."""
        table = int2ba(len(self.counts) - 1, LENGTH_BITS)
        for count in self.counts[1:]:
            table += int2ba(count, self.symbol_bits + 1)
        for symbol in self.symbols:
            table += int2ba(symbol, self.symbol_bits)
        return table


def encode(symbols: NDArray[np.unsignedinteger], symbol_bits: int) -> bitarray:
    """Return the decoder's table, then the symbols' code words; nothing for no symbols.

    Parameters
    ----------
    symbols : ndarray of unsigned integers, axis symbol

    Raises
    ------
    FormatError
        A symbol needs more than ``symbol_bits``.
    """
    if not symbols.size:
        return bitarray()
    code = HuffmanCode.of(_frequencies(symbols), symbol_bits)
    bits = code.table()
    bits.encode(code.words, symbols.tolist())
    return bits


def words_bits(symbols: NDArray[np.unsignedinteger], symbol_bits: int) -> int:
    """Return the bits of the symbols' code words in ``encode``, without the table."""
    if not symbols.size:
        return 0
    frequencies = _frequencies(symbols)
    return HuffmanCode.of(frequencies, symbol_bits).payload_bits(frequencies)


def _frequencies(symbols: NDArray[np.unsignedinteger]) -> dict[int, int]:
    values, counts = np.unique(symbols, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def decode(bits: bitarray, count: int, symbol_bits: int) -> tuple[NDArray[np.uint16], int]:
    """Read what ``encode`` wrote at the beginning of ``bits``.

    Parameters
    ----------
    count : int
        Symbols to read.

    Returns
    -------
    symbols : ndarray of uint16, axis symbol
    used : int
        Bits of table and words; more may follow.

    Raises
    ------
    FormatError
        The bits end early or hold no code.
    """
    if not count:
        return np.zeros(0, dtype=np.uint16), 0
    if count > len(bits):
        raise FormatError(f"Huffman stream must hold {count} symbols, not {len(bits)} bits")
    try:
        counts, symbols, start = _read_table(bits, symbol_bits)
        words = islice(canonical_decode(bits[start:], counts, symbols), count)
        values = np.fromiter(words, dtype=np.uint16, count=count)
    except ValueError as error:
        raise FormatError(f"Huffman stream must hold {count} symbols: {error}") from None
    lengths = np.zeros(1 << symbol_bits, dtype=np.int64)
    lengths[symbols] = np.repeat(np.arange(len(counts)), counts)
    return values, start + int(lengths[values].sum())


def _read_table(bits: bitarray, symbol_bits: int) -> tuple[list[int], list[int], int]:
    """Return counts, symbols and where the words begin; ValueError where bits are missing."""
    lengths, place = ba2int(bits[:LENGTH_BITS]), LENGTH_BITS
    counts = [0]
    for _ in range(lengths):
        counts.append(ba2int(bits[place : place + symbol_bits + 1]))
        place += symbol_bits + 1
    symbols = []
    for _ in range(sum(counts)):
        symbols.append(ba2int(bits[place : place + symbol_bits]))
        place += symbol_bits
    if place > len(bits):
        raise ValueError("its table is cut short")
    # A tree without gaps; a single symbol has a word of one bit.
    share = sum(number << (LONGEST - length) for length, number in enumerate(counts))
    if share != 1 << LONGEST and counts != [0, 1]:
        raise ValueError("its lengths are not those of a code")
    if len(set(symbols)) < len(symbols):
        raise ValueError("a symbol of its table occurs twice")
    return counts, symbols, place
