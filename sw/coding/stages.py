"""A layer's size after pruning (P), quantisation (Q) and entropy coding (H), stage by stage.

The stages are those of Deep Compression (Han et al., ICLR 2016): non-zeros with relative
indices; their codes in place of 32-bit values; codes and indices in words of an entropy code.
The last is measured on bits that are written and can be read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bitarray import bitarray
from bitarray.util import ba2int, int2ba
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from sw.coding import formats, huffman, relative_index
from sw.coding.codebook import CodedWeights

__all__ = [
    "ENTROPY_CODERS",
    "FLOAT_BITS",
    "LayerCodes",
    "LayerStages",
    "decode_codes",
    "encode_codes",
    "measure",
    "total",
]

#: Bits of an uncompressed weight, to which all shares refer, and of the number of entries.
FLOAT_BITS, COUNT_BITS = 32, 32
#: Bits of a filter's scale.
SCALE_BITS = 32

Symbols = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class _Coder:
    """An entropy coder: symbols of some bits to bits, back again, and the size of words alone."""

    encode: Callable[[Symbols, int], bitarray]
    decode: Callable[[bitarray, int, int], tuple[Symbols, int]]
    words_bits: Callable[[Symbols, int], int]


def _encode_plain(symbols: Symbols, symbol_bits: int) -> bitarray:
    places = np.arange(symbol_bits)[::-1]
    flat = (symbols.astype(np.int64)[:, None] >> places & 1).astype(np.uint8).reshape(-1)
    bits = bitarray()
    bits.frombytes(np.packbits(flat).tobytes())
    return bits[: flat.size]


def _decode_plain(bits: bitarray, count: int, symbol_bits: int) -> tuple[Symbols, int]:
    size = count * symbol_bits
    if len(bits) < size:
        raise FormatError(f"Codes must take {size} bits, not {len(bits)}")
    flat = np.unpackbits(np.frombuffer(bits[:size].tobytes(), dtype=np.uint8), count=size)
    weights = 1 << np.arange(symbol_bits)[::-1]
    return (flat.reshape(count, symbol_bits) @ weights).astype(np.uint16), size


#: Entropy coders by name.
ENTROPY_CODERS: Mapping[str, _Coder] = {
    "huffman": _Coder(huffman.encode, huffman.decode, huffman.words_bits),
    "none": _Coder(_encode_plain, _decode_plain, lambda symbols, bits: symbols.size * bits),
}


def _coder(name: str) -> _Coder:
    if name not in ENTROPY_CODERS:
        accepted = ", ".join(ENTROPY_CODERS)
        raise UserError(f"Entropy coder must be one of {accepted}, not {name!r}")
    return ENTROPY_CODERS[name]


def encode_codes(
    codes: NDArray[np.uint8], bits: int, index_bits: int, entropy: str = "huffman"
) -> bitarray:
    """Write a layer's codes: the number of entries, the entries' codes, their runs.

    Parameters
    ----------
    codes : ndarray of uint8
        0 is a zero weight. Axes are taken in order as one row.
    bits, index_bits : int
        Bits of a code and of a run of zeros (``sw.coding.relative_index``).
    entropy : str
        One of ``ENTROPY_CODERS``.

    Raises
    ------
    UserError
        The coder is unknown or ``index_bits`` out of range.
    FormatError
        A code needs more bits.
    """
    coder = _coder(entropy)
    symbols, runs = _entries(codes, bits, index_bits)
    written = int2ba(symbols.size, COUNT_BITS)
    return written + coder.encode(symbols, bits) + coder.encode(runs, index_bits)


def decode_codes(
    written: bitarray, shape: tuple[int, ...], bits: int, index_bits: int, entropy: str = "huffman"
) -> NDArray[np.uint8]:
    """Read what ``encode_codes`` wrote.

    Raises
    ------
    UserError
        The coder is unknown.
    FormatError
        The bits are not those of such a layer.
    """
    coder = _coder(entropy)
    if len(written) < COUNT_BITS:
        raise FormatError(f"Codes must begin with a number of {COUNT_BITS} bits")
    count = ba2int(written[:COUNT_BITS])
    if count > np.prod(shape, dtype=np.int64):
        raise FormatError(f"Entries must be at most one a weight, not {count} for {shape}")
    written = written[COUNT_BITS:]
    symbols, used = coder.decode(written, count, bits)
    runs, more = coder.decode(written[used:], count, index_bits)
    if used + more != len(written):
        raise FormatError(f"Codes must take {used + more} bits, not {len(written)}")
    length = int(np.prod(shape, dtype=np.int64))
    index = relative_index.RelativeIndex(length, index_bits, runs.astype(np.uint16), symbols == 0)
    codes = np.zeros(length, dtype=np.uint8)
    codes[index.positions] = symbols[symbols != 0]
    return codes.reshape(shape)


def _entries(codes: NDArray[np.uint8], bits: int, index_bits: int) -> tuple[Symbols, Symbols]:
    """Return code and run of every entry; a filler's code is 0."""
    if int(codes.max(initial=0)) >= 1 << bits:
        raise FormatError(f"Codes must be below {1 << bits}, not {int(codes.max())}")
    index = relative_index.encode(codes != 0, index_bits)
    symbols = np.zeros(index.runs.size, dtype=np.uint8)
    symbols[~index.filler] = codes[codes != 0]
    return symbols, index.runs


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCodes:
    """A layer as it is stored.

    Parameters
    ----------
    connected : bool
        A fully connected layer, not a convolution.
    coded : CodedWeights
        With axes k, r, s, c; a fully connected layer has r = s = 1 or as the machine has it.
    scales : ndarray of float32, axis k, optional
        What an int8 layer's weights are multiplied by.
    """

    name: str
    connected: bool
    coded: CodedWeights
    scales: NDArray[np.float32] | None = None

    @property
    def side_bits(self) -> int:
        """Bits of what is needed to tell a code's weight: codebooks and scales."""
        scales = 0 if self.scales is None else SCALE_BITS * len(self.scales)
        return self.coded.codebook_bits + scales


@dataclass(frozen=True, kw_only=True)
class LayerStages:
    """Sizes of a layer, or of several.

    Parameters
    ----------
    weights, kept, entries : int
        All weights, those not zero, and entries stored: ``kept`` and fillers.
    code_bits, index_bits : float
        Bits of an entry's code and run, without entropy coding.
    code_word_bits, index_word_bits : float
        Bits of their words on average, decoder's tables left out.
    pruned_bits, quantised_bits, coded_bits : int
        Sizes after P, P+Q and P+Q+H, with all that a decoder needs but shapes.
    formats_bits : dict of str to int
        Size in each of ``sw.coding.formats``, with values of ``code_bits``.
    """

    name: str
    connected: bool
    weights: int
    kept: int
    entries: int
    code_bits: float
    index_bits: float
    code_word_bits: float
    index_word_bits: float
    side_bits: int
    pruned_bits: int
    quantised_bits: int
    coded_bits: int
    formats_bits: dict[str, int]

    @property
    def float_bits(self) -> int:
        """Size of the uncompressed weights."""
        return self.weights * FLOAT_BITS

    def row(self) -> dict[str, Any]:
        """Return the flat row of JSON and CSV."""
        sizes = {f"{name.replace(' ', '_')}_bits": bits for name, bits in self.formats_bits.items()}
        values = {key: value for key, value in vars(self).items() if key != "formats_bits"}
        return {**values, "float_bits": self.float_bits, **sizes}


def measure(layer: LayerCodes, index_bits: int, entropy: str = "huffman") -> LayerStages:
    """Return a layer's sizes.

    Raises
    ------
    UserError, FormatError
        As ``encode_codes``.
    """
    coder = _coder(entropy)
    codes, bits = layer.coded.codes, layer.coded.bits
    symbols, runs = _entries(codes, bits, index_bits)
    count = symbols.size
    coded = encode_codes(codes, bits, index_bits, entropy)
    return LayerStages(
        name=layer.name,
        connected=layer.connected,
        weights=codes.size,
        kept=int(np.count_nonzero(codes)),
        entries=count,
        code_bits=bits,
        index_bits=index_bits,
        code_word_bits=coder.words_bits(symbols, bits) / max(count, 1),
        index_word_bits=coder.words_bits(runs, index_bits) / max(count, 1),
        side_bits=layer.side_bits,
        pruned_bits=COUNT_BITS + count * (FLOAT_BITS + index_bits),
        quantised_bits=layer.side_bits + COUNT_BITS + count * (bits + index_bits),
        coded_bits=layer.side_bits + len(coded),
        formats_bits=formats.sizes_bits(codes != 0, bits),
    )


def total(layers: Sequence[LayerStages]) -> LayerStages:
    """Return the sums over layers; bits of an entry are means over entries."""
    entries = sum(layer.entries for layer in layers)

    def mean(key: str) -> float:
        return sum(getattr(layer, key) * layer.entries for layer in layers) / max(entries, 1)

    def plain(key: str) -> int:
        return sum(getattr(layer, key) for layer in layers)

    return LayerStages(
        name="total",
        connected=all(layer.connected for layer in layers),
        weights=plain("weights"),
        kept=plain("kept"),
        entries=entries,
        code_bits=mean("code_bits"),
        index_bits=mean("index_bits"),
        code_word_bits=mean("code_word_bits"),
        index_word_bits=mean("index_word_bits"),
        side_bits=plain("side_bits"),
        pruned_bits=plain("pruned_bits"),
        quantised_bits=plain("quantised_bits"),
        coded_bits=plain("coded_bits"),
        formats_bits={
            name: sum(layer.formats_bits[name] for layer in layers) for name in formats.FORMATS
        },
    )
