"""Non-zeros by the zeros before them, in a few bits; a run too long is cut by stored zeros.

Deep Compression (Han et al., ICLR 2016, section 2) stores the difference of positions in 4 or
5 bits, SCNN (Parashar et al., ISCA 2017) the zeros before a value in 4: the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError

__all__ = [
    "MAXIMUM_BITS",
    "IndexBits",
    "RelativeIndex",
    "check_bits",
    "encode",
    "entries",
    "parse_bits",
]

#: Widest index; layers have far fewer positions than it reaches.
MAXIMUM_BITS = 16


@dataclass(frozen=True, eq=False)
class RelativeIndex:
    """Entries of a row of positions: its non-zeros, and the fillers between them.

    Parameters
    ----------
    length : int
        Positions of the row; zeros after the last non-zero have no entry.
    bits : int
        Bits of a run.
    runs : ndarray of uint16, axis entry
        Zeros before the entry since the one before it, below ``2**bits``.
    filler : ndarray of bool, axis entry
        Whether the entry is a stored zero that only cuts a run.
    """

    length: int
    bits: int
    runs: NDArray[np.uint16]
    filler: NDArray[np.bool_]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where the non-zeros are, axis non-zero.

        Raises
        ------
        FormatError
            The runs lead beyond the row.
        """
        places = np.cumsum(self.runs.astype(np.int64) + 1) - 1
        if places.size and places[-1] >= self.length:
            raise FormatError(
                f"Runs must end within {self.length} positions, not at {int(places[-1])}"
            )
        return places[~self.filler]


class IndexBits(NamedTuple):
    """Bits of a run by kind of layer.

    Deep Compression has 8 in convolutions and 5 in fully connected layers (section 2).
    """

    convolution: int
    connected: int

    def of(self, connected: bool) -> int:
        """Return the bits of a fully connected layer, or of a convolution."""
        return self.connected if connected else self.convolution


def parse_bits(text: str) -> IndexBits:
    """Return widths from ``5``, for all layers, or ``8,5``, for the two kinds.

    Raises
    ------
    UserError
        They are no widths.
    """
    parts = text.split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(
            f"Index bits must be a number, or two as 8,5: of convolutions and of fully connected "
            f"layers, not {text!r}"
        )
    for part in parts:
        check_bits(int(part))
    return IndexBits(int(parts[0]), int(parts[-1]))


def check_bits(bits: int) -> None:
    """Raise UserError unless a run may have so many bits."""
    if not 1 <= bits <= MAXIMUM_BITS:
        raise UserError(f"Index bits must be 1 to {MAXIMUM_BITS}, not {bits!r}")


def encode(mask: NDArray[np.bool_], bits: int) -> RelativeIndex:
    """Encode the places of non-zeros; axes are taken in order as one row.

    Raises
    ------
    UserError
        ``bits`` is out of range.
    """
    check_bits(bits)
    zeros = _zeros_before(mask.reshape(1, -1))
    fillers = zeros >> bits
    filler = np.ones(int(zeros.size + fillers.sum()), dtype=bool)
    ends = np.cumsum(fillers + 1) - 1
    filler[ends] = False
    runs = np.full(filler.size, (1 << bits) - 1, dtype=np.uint16)
    runs[ends] = zeros & ((1 << bits) - 1)
    return RelativeIndex(mask.size, bits, runs, filler)


def entries(rows: NDArray[np.bool_], bits: int) -> int:
    """Count the entries of rows, axes row, position, each encoded by itself.

    Raises
    ------
    UserError
        ``bits`` is out of range.
    """
    check_bits(bits)
    zeros = _zeros_before(rows)
    return int(zeros.size + (zeros >> bits).sum())


def _zeros_before(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the zeros before each non-zero since the one before it in its row."""
    row, place = np.nonzero(rows)
    before = np.full(place.size, -1, dtype=np.int64)
    before[1:] = np.where(row[1:] == row[:-1], place[:-1], -1)
    return place - before - 1
