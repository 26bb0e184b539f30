"""How many bits a layer's sparse weights take, format by format.

Sizes are those of indices and values alone: what all formats need alike (shape, scales, a
codebook) is left out. Weights have axes k, r, s, c; a fully connected layer's have r = s = 1.
Positions are counted in that order, filter by filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.errors import UserError
from sw.blocks import Blocks
from sw.coding import relative_index

__all__ = ["FORMATS", "BlockBits", "block_bits", "sizes_bits"]

Mask = NDArray[np.bool_]

#: Positions that one mask of the machine covers, and bits of the pointer to its values.
CHUNK, POINTER_BITS = 128, 32
#: Filters whose weights SCNN keeps together for each input channel, and bits of its zero runs.
RUN_FILTERS, RUN_BITS = 8, 4


def _width(count: int) -> int:
    """Bits that tell ``count`` things apart."""
    return max(count - 1, 0).bit_length()


def _dense(mask: Mask, value_bits: int) -> int:
    return mask.size * value_bits


def _bitmask(mask: Mask, value_bits: int) -> int:
    return mask.size + int(mask.sum()) * value_bits


def _bitmask_chunks(mask: Mask, value_bits: int) -> int:
    length = mask.size // len(mask)
    chunks = len(mask) * -(-length // CHUNK)
    return chunks * (CHUNK + POINTER_BITS) + int(mask.sum()) * value_bits


def _csr(mask: Mask, value_bits: int) -> int:
    kept, length = int(mask.sum()), mask.size // len(mask)
    return (len(mask) + 1) * _width(kept + 1) + kept * (_width(length) + value_bits)


def _relative(bits: int) -> Callable[[Mask, int], int]:
    def size(mask: Mask, value_bits: int) -> int:
        return relative_index.entries(mask.reshape(1, -1), bits) * (bits + value_bits)

    return size


def _run_length(mask: Mask, value_bits: int) -> int:
    stored = 0
    for first in range(0, len(mask), RUN_FILTERS):
        # A block: a group of filters and one input channel, in the order r, s, k.
        blocks = mask[first : first + RUN_FILTERS].transpose(3, 1, 2, 0)
        stored += relative_index.entries(blocks.reshape(len(blocks), -1), RUN_BITS)
    return stored * (RUN_BITS + value_bits)


def _coordinates(mask: Mask, value_bits: int) -> int:
    return int(mask.sum()) * (sum(map(_width, mask.shape)) + value_bits)


#: Size in bits from a mask, axes k, r, s, c, and the bits of a value.
FORMATS: Mapping[str, Callable[[Mask, int], int]] = {
    "dense": _dense,
    "bitmask": _bitmask,
    "bitmask chunks": _bitmask_chunks,
    "CSR": _csr,
    "relative 4": _relative(4),
    "relative 5": _relative(5),
    "run length 4": _run_length,
    "coordinates": _coordinates,
}


def sizes_bits(mask: Mask, value_bits: int) -> dict[str, int]:
    """Return a layer's size in every format.

    Parameters
    ----------
    mask : ndarray of bool, axes k, r, s, c
        True where a weight is not zero.
    value_bits : int
        Bits of a stored weight.

    Raises
    ------
    UserError
        The mask has other axes or no position.
    """
    if mask.ndim != 4 or not mask.size:
        raise UserError(f"Mask must have axes k, r, s, c and a position, not shape {mask.shape}")
    return {name: size(mask, value_bits) for name, size in FORMATS.items()}


@dataclass(frozen=True)
class BlockBits:
    """What a layer takes whose weights are stored in whole blocks, with one index for a block.

    Parameters
    ----------
    value_bits : int
        Of the weights in blocks that have a non-zero.
    index_bits : dict of str to int
        All else, by format: ``dense`` (no index; the zeros of the other blocks), ``bitmask`` (a
        bit a block), ``relative 4`` and ``relative 5`` (a run of blocks before each that is
        stored, and a block of zeros where a run is cut).
    """

    value_bits: int
    index_bits: dict[str, int]

    @property
    def least(self) -> int:
        """Bits of the index that takes fewest."""
        return min(self.index_bits.values())


def block_bits(mask: Mask, value_bits: int, blocks: Blocks) -> BlockBits:
    """Return a layer's size with one index for each block, blocks being in the order k, r, s, c.

    With blocks of single weights, value and index bits add up to ``sizes_bits``.

    Parameters
    ----------
    mask : ndarray of bool, axes k, r, s, c
        True where a weight is not zero.
    value_bits : int
        Bits of a stored weight.
    blocks : Blocks
        Of the mask's shape.

    Raises
    ------
    UserError
        The mask has another shape.
    """
    if mask.shape != blocks.shape:
        raise UserError(f"Mask must have the blocks' shape {blocks.shape}, not {mask.shape}")
    stored, weights = blocks.any(mask), blocks.weights.reshape(-1)
    kept = int(weights[stored.reshape(-1)].sum())
    index = {"dense": (mask.size - kept) * value_bits, "bitmask": stored.size}
    for bits in (4, 5):
        entries = relative_index.encode(stored, bits)
        places = np.cumsum(entries.runs.astype(np.int64) + 1) - 1
        zeros = int(weights[places[entries.filler]].sum())
        index[f"relative {bits}"] = places.size * bits + zeros * value_bits
    return BlockBits(kept * value_bits, index)
