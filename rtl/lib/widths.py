"""Widths and payloads that several machines share."""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

__all__ = ["MAX_OUTPUTS", "REQUANTISATION", "bits_for_count"]

#: Output channels that a requantisation table holds where every row of it is full.
MAX_OUTPUTS = 4096
#: How one output channel's accumulators become codes.
REQUANTISATION = data.StructLayout(
    {"bias": signed(32), "multiplier": unsigned(24), "shift": unsigned(6)}
)


def bits_for_count(count: int) -> int:
    """Width of an index that counts ``count`` things from 0, at least 1."""
    return max(1, (count - 1).bit_length())
