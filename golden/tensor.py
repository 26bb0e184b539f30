"""The bit-mask tensor: chunks of a mask, packed non-zero values, and an index.

After SparTen (Gondimalla et al., MICRO'19, section 3): a tensor is cut into chunks; a
chunk is a mask with one bit a position, and its non-zero values in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError

__all__ = ["BitmaskTensor", "pack", "popcount", "unpack"]


def popcount(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count the one bits of each mask; axes ..., word -> ...."""
    return np.bitwise_count(words).sum(axis=-1, dtype=np.int64)


#: Types that a tensor's values may have.
_CODES = ("int8", "uint8")


@dataclass(frozen=True, eq=False)
class BitmaskTensor:
    """A tensor whose last axis is cut into chunks.

    Parameters
    ----------
    shape : tuple of int
        Dense shape; the last axis is the row.
    chunk : int
        Positions a mask covers.
    masks : ndarray of uint64, axes row, chunk of the row, word
        Bit ``i % 64`` of word ``i // 64`` stands for position ``i`` of the chunk.
    pointers : ndarray of int64, axis chunk (all rows, in order), one more than chunks
        Where each chunk's values begin, in values; the last is their number.
    values : ndarray of int8 or uint8, axis value
        The non-zero values in order.
    """

    shape: tuple[int, ...]
    chunk: int
    masks: NDArray[np.uint64]
    pointers: NDArray[np.int64]
    values: NDArray[np.int8 | np.uint8]

    @property
    def rows(self) -> int:
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    @property
    def row_chunks(self) -> int:
        return -(-self.shape[-1] // self.chunk)

    @property
    def density(self) -> float:
        """Share of positions that are not zero."""
        size = int(np.prod(self.shape, dtype=np.int64))
        return len(self.values) / size if size else 0.0

    @property
    def size_bits(self) -> int:
        """Size in memory: masks, 32-bit pointers, values."""
        chunks = self.rows * self.row_chunks
        return chunks * (self.chunk + 32) + 8 * len(self.values)

    def validate(self) -> BitmaskTensor:
        """Return self; raise FormatError where an invariant does not hold."""
        words = -(-self.chunk // 64)
        if self.masks.shape != (self.rows, self.row_chunks, words):
            raise FormatError(
                f"Masks must have shape {(self.rows, self.row_chunks, words)}, "
                f"not {self.masks.shape}"
            )
        if self.masks.dtype != np.uint64 or self.values.dtype.name not in _CODES:
            raise FormatError(
                f"Masks must be uint64 and values int8 or uint8, "
                f"not {self.masks.dtype} and {self.values.dtype}"
            )
        counts = popcount(self.masks).ravel()
        if self.pointers.shape != (counts.size + 1,) or self.pointers[0] != 0:
            raise FormatError("Pointers must be one more than the chunks and begin at 0")
        if np.any(np.diff(self.pointers) != counts):
            bad = int(np.flatnonzero(np.diff(self.pointers) != counts)[0])
            raise FormatError(
                f"Pointers must rise by the mask's population count: chunk {bad} has "
                f"{counts[bad]} bits and {np.diff(self.pointers)[bad]} values"
            )
        if len(self.values) != self.pointers[-1]:
            raise FormatError(
                f"Values must be as many as mask bits ({self.pointers[-1]}), not {len(self.values)}"
            )
        if np.any(self.values == 0):
            raise FormatError("Values must not be zero: a stored zero breaks the mask")
        bits = _mask_bits(self.masks, words * 64)
        exists = np.arange(self.row_chunks)[:, None] * self.chunk + np.arange(words * 64)
        tail = (exists >= self.shape[-1]) | (np.arange(words * 64) >= self.chunk)
        if np.any(bits & tail[None]):
            raise FormatError("Mask bits beyond the end of a row must be zero")
        return self

    def chunk_values(self, row: int, index: int) -> NDArray[np.int8 | np.uint8]:
        """Return the packed values of one chunk."""
        at = row * self.row_chunks + index
        return self.values[self.pointers[at] : self.pointers[at + 1]]


def pack(dense: NDArray[np.int8 | np.uint8], chunk: int) -> BitmaskTensor:
    """Compress a dense tensor, axes ..., row, along its last axis."""
    dense = np.ascontiguousarray(dense)
    if dense.dtype.name not in _CODES:
        raise FormatError(f"A tensor to pack must be int8 or uint8, not {dense.dtype}")
    length = dense.shape[-1]
    rows, chunks, words = dense.size // max(length, 1), -(-length // chunk), -(-chunk // 64)
    bits = np.zeros((rows, chunks * chunk), dtype=bool)
    bits[:, :length] = dense.reshape(rows, length) != 0
    bits = bits.reshape(rows, chunks, chunk)
    if words * 64 != chunk:
        wide = np.zeros((rows, chunks, words * 64), dtype=bool)
        wide[..., :chunk] = bits
        bits = wide
    octets = np.packbits(bits, axis=-1, bitorder="little")
    masks = octets.view("<u8").astype(np.uint64, copy=False)
    pointers = np.zeros(rows * chunks + 1, dtype=np.int64)
    np.cumsum(popcount(masks).ravel(), out=pointers[1:])
    flat = dense.reshape(-1)
    return BitmaskTensor(dense.shape, chunk, masks, pointers, flat[flat != 0]).validate()


def unpack(tensor: BitmaskTensor) -> NDArray[np.int8 | np.uint8]:
    """Return the dense tensor."""
    bits = _mask_bits(tensor.masks, tensor.masks.shape[-1] * 64)[..., : tensor.chunk]
    dense = np.zeros(bits.shape, dtype=tensor.values.dtype)
    dense[bits] = tensor.values
    flat = dense.reshape(tensor.rows, tensor.row_chunks * tensor.chunk)
    return np.ascontiguousarray(flat[:, : tensor.shape[-1]]).reshape(tensor.shape)


def _mask_bits(masks: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    octets = np.ascontiguousarray(masks.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little", count=bits).astype(bool)
