"""A layer's weights cut into blocks: what each scores, and which weights are its own.

Blocks of Zhou et al., MICRO'18; the grains of Mao et al., arXiv:1705.08922, are some of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from golden.errors import UserError

__all__ = ["GRAINS", "SCORES", "Blocks", "Size", "check_score", "parse_size"]

#: Input channels, filters, kernel columns (x), kernel rows (y): the order of Zhou et al.
Size = tuple[int, int, int, int]

Value = TypeVar("Value", bound=np.generic)

_WHOLE = sys.maxsize
#: Blocks by name; a vector is a row of a kernel.
GRAINS: Mapping[str, Size] = {
    "fine": (1, 1, 1, 1),
    "vector": (1, 1, _WHOLE, 1),
    "kernel": (1, 1, _WHOLE, _WHOLE),
    "filter": (_WHOLE, 1, _WHOLE, _WHOLE),
}
#: What a block's magnitudes are made into.
SCORES = ("average", "max", "sum")


def parse_size(block: str | Sequence[int]) -> Size:
    """Return a block's size from a grain's name, from ``"1,16,1,1"``, or from four integers.

    Raises
    ------
    UserError
        It is none of these.
    """
    if isinstance(block, str) and block in GRAINS:
        return GRAINS[block]
    parts = block.split(",") if isinstance(block, str) else block
    try:
        sizes = [int(part) if isinstance(part, str) else part for part in parts]
        positive = all(type(size) is int and size > 0 for size in sizes)
    except (TypeError, ValueError):
        sizes, positive = [], False
    if len(sizes) != 4 or not positive:
        raise UserError(
            f"Block must be four positive sizes (input channels, filters, columns, rows) or one "
            f"of {', '.join(GRAINS)}, not {block!r}"
        )
    return (sizes[0], sizes[1], sizes[2], sizes[3])


def check_score(by: str) -> None:
    """Raise UserError unless a block can be scored so."""
    if by not in SCORES:
        raise UserError(f"Magnitude of a block must be its {' or '.join(SCORES)}, not {by!r}")


@dataclass(frozen=True)
class Blocks:
    """Blocks of a layer; the last one along an axis is short where the size does not divide.

    Arrays over blocks have the axes k, r, s, c too, a position for each block.

    Parameters
    ----------
    shape : tuple of int
        Of the weights, axes k, r, s, c; a fully connected layer has r = s = 1.
    size : tuple of int
        Input channels, filters, columns, rows of a block.
    groups : int
        Convolution groups; a block lies within one.

    Raises
    ------
    UserError
        The groups do not divide the filters, or the weights have other axes.
    """

    shape: tuple[int, ...]
    size: Size = (1, 16, 1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if len(self.shape) != 4 or self.groups < 1 or self.shape[0] % self.groups:
            raise UserError(
                f"Weights to prune must have axes k, r, s, c, and filters that {self.groups} "
                f"groups divide, not shape {self.shape}"
            )

    @cached_property
    def starts(self) -> tuple[list[int], ...]:
        """Where blocks begin along each axis k, r, s, c."""
        channels, filters, columns, rows = self.size
        of_group = self.shape[0] // self.groups
        of_filters = [
            first + group * of_group
            for group in range(self.groups)
            for first in range(0, of_group, filters)
        ]
        steps = zip(self.shape[1:], (rows, columns, channels), strict=True)
        return (of_filters, *(list(range(0, length, step)) for length, step in steps))

    @property
    def weights(self) -> NDArray[np.int64]:
        """Weights of each block."""
        along = [np.diff([*first, end]) for first, end in zip(self.starts, self.shape, strict=True)]
        return np.einsum("k,r,s,c->krsc", *along)

    def score(self, weights: NDArray[np.number], by: str = "average") -> NDArray[np.float64]:
        """Return the average, the largest or the sum of each block's magnitudes.

        Parameters
        ----------
        weights : ndarray of integers or floats, axes k, r, s, c
        by : str
            One of ``SCORES``; the sum is Mao et al.'s L1 norm. Of a short block it is the
            average, largest or sum of what it has.

        Raises
        ------
        UserError
            ``by`` is none of these, or a weight is not finite.
        """
        check_score(by)
        if not np.all(np.isfinite(weights)):
            raise UserError("Weights to prune must be finite")
        magnitudes = np.abs(weights.astype(np.float64))
        if by == "max":
            return self._reduce(np.maximum, magnitudes)
        total = self._reduce(np.add, magnitudes)
        return total / self.weights if by == "average" else total

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which blocks have a True, of a mask of axes k, r, s, c."""
        return self._reduce(np.logical_or, mask)

    def expand(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return an array of axes k, r, s, c that gives each weight its block's value."""
        for axis, first in enumerate(self.starts):
            values = np.repeat(values, np.diff([*first, self.shape[axis]]), axis=axis)
        return values

    def _reduce(self, function: np.ufunc, values: NDArray) -> NDArray:
        for axis, first in enumerate(self.starts):
            values = function.reduceat(values, first, axis=axis)
        return values
