"""Codebooks: a layer's weights share a few values (Deep Compression, Han et al., section 3).

Zeros stay zero and have no place in the codebook. A code of ``bits`` bits is 0 for zero, which
an index with fillers must be able to store, or the number, from 1, of a shared value: so there
are at most ``2**bits - 1`` of them. A layer has one codebook, or one for each region of
consecutive filters (local quantisation: Cambricon-S, Zhou et al., MICRO'18).

scikit-learn, an extra of this project (``codebook``), is imported when it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from golden.errors import UserError

__all__ = [
    "MAXIMUM_BITS",
    "STARTS",
    "VALUE_BITS",
    "CodebookOptions",
    "CodedWeights",
    "share_values",
]

#: Widest code, and bits of a shared value that is a float.
MAXIMUM_BITS, VALUE_BITS = 8, 32
#: Bits that say how many values a codebook has.
_COUNT_BITS = 8
#: Steps of k-means at most; it stops where nothing moves.
_STEPS = 300

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CodebookOptions:
    """How codebooks are made.

    Parameters
    ----------
    convolution_bits, connected_bits : int
        Bits of a code in convolutions and in fully connected layers, 1 to 8.
    start : str
        Where k-means begins: ``linear``, ``density`` or ``random`` (``STARTS``).
    region_filters : int, optional
        Consecutive filters that share a codebook; the whole layer where None.
    seed : int
        Of the random start.

    Raises
    ------
    UserError
        A value is out of range.
    """

    convolution_bits: int
    connected_bits: int
    start: str = "linear"
    region_filters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for bits in (self.convolution_bits, self.connected_bits):
            if not 1 <= bits <= MAXIMUM_BITS:
                raise UserError(f"Codebook bits must be 1 to {MAXIMUM_BITS}, not {bits!r}")
        if self.start not in STARTS:
            raise UserError(
                f"Start of centroids must be one of {', '.join(STARTS)}, not {self.start!r}"
            )
        if self.region_filters is not None and self.region_filters < 1:
            raise UserError(
                f"Filters of a codebook's region must be 1 or more, not {self.region_filters!r}"
            )

    def bits(self, connected: bool) -> int:
        """Return the bits of a code in a layer of this kind."""
        return self.connected_bits if connected else self.convolution_bits

    def describe(self) -> str:
        """Return what reports state."""
        where = f" for each {self.region_filters} filters" if self.region_filters else ""
        return (
            f"k-means codebook{where} of {self.convolution_bits} bits in convolutions, "
            f"{self.connected_bits} in fully connected layers ({self.start} start)"
        )


@dataclass(frozen=True, eq=False)
class CodedWeights:
    """A layer's weights as codes.

    Parameters
    ----------
    bits : int
        Bits of a code.
    codes : ndarray of uint8, axis k first
        0 where a weight is zero, else the place of its value in its region's codebook, from 1.
    values : tuple of ndarray of float32, axis value
        The codebook of each region: as k-means found it, ascending and none of them zero. No
        region where the codes are weights themselves, int8.
    region_filters : int
        Filters of a region; the last one may have fewer.
    value_bits : int
        Bits of a shared value.
    """

    bits: int
    codes: NDArray[np.uint8]
    values: tuple[NDArray[np.float32], ...]
    region_filters: int
    value_bits: int = VALUE_BITS

    @classmethod
    def plain(cls, weights: NDArray[np.int8]) -> CodedWeights:
        """Return int8 weights, axis k first, as codes without a codebook."""
        codes = np.ascontiguousarray(weights).view(np.uint8)
        return cls(8, codes, (), len(weights), 8)

    @property
    def codebook_bits(self) -> int:
        """Size of the codebooks: the number of values, and the values."""
        return sum(_COUNT_BITS + self.value_bits * len(values) for values in self.values)

    @property
    def short(self) -> bool:
        """Whether a region has fewer different weights than its codebook has places."""
        return any(len(values) < (1 << self.bits) - 1 for values in self.values)

    def decode(self) -> NDArray[np.float32 | np.int8]:
        """Return the weights that the codes stand for: int8 where they are no floats."""
        if not self.values:
            return self.codes.view(np.int8)
        weights = np.zeros(self.codes.shape, dtype=np.float32)
        for region, values in enumerate(self.values):
            part = slice(region * self.region_filters, (region + 1) * self.region_filters)
            weights[part] = np.concatenate([[np.float32(0)], values])[self.codes[part]]
        return weights if self.value_bits == VALUE_BITS else weights.astype(np.int8)


def share_values(
    weights: NDArray[np.floating | np.int8],
    bits: int,
    start: str = "linear",
    region_filters: int | None = None,
    seed: int = 0,
) -> CodedWeights:
    """Make codebooks for a layer's weights by k-means, and code them.

    Where a region has no more different non-zero weights than its codebook has places, these
    are its values and nothing is lost. Integer weights get integer values of 8 bits.

    Parameters
    ----------
    weights : ndarray of floats or int8, axis k first
    bits, start, region_filters, seed
        As ``CodebookOptions``.

    Raises
    ------
    UserError
        An argument is out of range, a weight is not finite, or scikit-learn is not installed.
    """
    options = CodebookOptions(
        convolution_bits=bits,
        connected_bits=bits,
        start=start,
        region_filters=region_filters,
        seed=seed,
    )
    integers = np.issubdtype(weights.dtype, np.integer)
    with np.errstate(over="ignore"):
        weights = weights.astype(np.float32)
    if not np.all(np.isfinite(weights)):
        raise UserError("Weights to code must be finite")
    filters = min(options.region_filters or len(weights), len(weights))
    codes = np.zeros(weights.shape, dtype=np.uint8)
    books = []
    for first in range(0, len(weights), filters):
        part = weights[first : first + filters].astype(np.float64)
        kept = part != 0
        book = _codebook(part[kept], options, integers)
        codes[first : first + filters][kept] = 1 + _nearest(book, part[kept])
        books.append(book.astype(np.float32))
    return CodedWeights(bits, codes, tuple(books), filters, 8 if integers else VALUE_BITS)


def _codebook(weights: Values, options: CodebookOptions, integers: bool) -> Values:
    """Return a region's shared values from its non-zero weights: ascending, none zero."""
    distinct, counts = np.unique(weights, return_counts=True)
    places = (1 << options.convolution_bits) - 1
    if distinct.size <= places:
        return distinct
    found = _k_means(distinct, counts, STARTS[options.start](weights, places, options.seed))
    found = np.rint(found) if integers else found.astype(np.float32).astype(np.float64)
    # A weight that was kept must not vanish: what came out as zero is the smallest weight.
    found[found == 0] = distinct[np.argmin(np.abs(distinct))]
    found = np.unique(found)
    return found[np.unique(_nearest(found, distinct))]


def _nearest(book: Values, weights: Values) -> NDArray[np.intp]:
    """Return the place of the nearest value; of two as near, the smaller value's."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, weights)


def _k_means(distinct: Values, counts: NDArray[np.int64], start: Values) -> Values:
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise UserError(
            "scikit-learn must be installed for codebooks: pip install 'innerjoin[codebook]'"
        ) from None
    start = np.unique(start)
    options: dict[str, Any] = {"init": start[:, None], "n_init": 1, "tol": 0}
    fitted = KMeans(len(start), max_iter=_STEPS, **options)
    with _one_thread():
        fitted.fit(distinct[:, None], sample_weight=counts)
    return fitted.cluster_centers_[:, 0].copy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let scikit-learn use one thread: over several, sums differ in their last bits each time.

    Unless the variable is set it counts physical cores, with a warning and a trace back where that
    can't be done.
    """
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with threadpool_limits(1, "openmp"):
            yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


# -- starts: Deep Compression, section 3.2 ------------------------------------------------------


def _linear(weights: Values, count: int, seed: int) -> Values:
    """Evenly between the smallest and the largest weight."""
    return np.linspace(weights.min(), weights.max(), count)


def _density(weights: Values, count: int, seed: int) -> Values:
    """At evenly spaced shares of the cumulative distribution."""
    return np.quantile(weights, (np.arange(count) + 0.5) / count)


def _random(weights: Values, count: int, seed: int) -> Values:
    """At weights drawn at random (Forgy)."""
    return np.random.default_rng(seed).choice(weights, count, replace=False)


#: Where k-means begins, from the non-zero weights, the number of centroids and a seed.
STARTS: Mapping[str, Callable[[Values, int, int], Values]] = {
    "linear": _linear,
    "density": _density,
    "random": _random,
}
