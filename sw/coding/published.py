"""What densities and bits published by Deep Compression give in this package's formulas."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

from sw.coding.codebook import VALUE_BITS
from sw.coding.stages import FLOAT_BITS

__all__ = ["PublishedSize", "published_sizes", "quantised_percent"]


@dataclass(frozen=True, kw_only=True)
class PublishedSize:
    """A layer of Deep Compression's tables 2 to 5; percentages are of 32-bit weights."""

    network: str
    layer: str
    weights: int
    kept_percent: float
    weight_bits: float
    index_bits: int
    quantised_percent: float
    coded_percent: float


def published_sizes() -> list[PublishedSize]:
    """Return the published rows, layers and ``total``, network by network."""
    path = resources.files("sw") / "networks" / "data" / "deep_compression.csv"
    lines = path.read_text("utf-8").splitlines()
    return [
        PublishedSize(
            network=row["network"],
            layer=row["layer"],
            weights=int(row["weights"]),
            kept_percent=float(row["kept_percent"]),
            weight_bits=float(row["weight_bits"]),
            index_bits=int(row["index_bits"]),
            quantised_percent=float(row["quantised_percent"]),
            coded_percent=float(row["coded_percent"]),
        )
        for row in csv.DictReader(line for line in lines if not line.startswith("#"))
    ]


def quantised_percent(size: PublishedSize, random_fillers: bool) -> float:
    """Return a layer's P+Q share that follows from its density and bits.

    Parameters
    ----------
    random_fillers : bool
        Add the fillers that are expected where non-zeros lie at random: with span 2**index_bits
        and q = (1 - density)**span, q / (1 - q) a non-zero. Without, there are none.
    """
    density = size.kept_percent / 100
    entries = size.weights * density
    if random_fillers:
        too_long = (1 - density) ** (1 << size.index_bits)
        entries /= 1 - too_long
    codebook = VALUE_BITS << round(size.weight_bits)
    bits = entries * (size.weight_bits + size.index_bits) + codebook
    return 100 * bits / (size.weights * FLOAT_BITS)
