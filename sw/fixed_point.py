"""Scales of host operations as fixed-point multipliers (``golden.network``)."""

from __future__ import annotations

import math

from golden.arithmetic import SHIFT_MAX
from golden.errors import UserError

__all__ = ["common_multipliers"]

#: Multipliers of additions and rescalings are below 2**MULTIPLIER_BITS.
MULTIPLIER_BITS = 31


def common_multipliers(name: str, scales: tuple[float, ...]) -> tuple[tuple[int, ...], int]:
    """Write positive scales as ``multiplier * 2**-shift`` with one shift for all.

    The shift is the largest at which every multiplier stays below 2**31; the largest scale
    then has 30 bits or more of precision.

    Returns
    -------
    tuple of tuple of int and int
        Multipliers and shift.

    Raises
    ------
    UserError
        A scale is not positive and finite, or 2**30 or more; ``name`` is the node's.
    """
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        found = ", ".join(f"{scale:g}" for scale in scales)
        raise UserError(f"Node {name}: ratios of scales must be positive and finite, not {found}")
    _, exponent = math.frexp(max(scales))
    shift = min(MULTIPLIER_BITS - exponent, SHIFT_MAX)
    if shift < 1:
        raise UserError(f"Node {name}: ratios of scales must be below 2**30, not {max(scales):g}")
    multipliers = tuple(round(math.ldexp(scale, shift)) for scale in scales)
    if max(multipliers) >= 1 << MULTIPLIER_BITS:
        shift -= 1
        multipliers = tuple(round(math.ldexp(scale, shift)) for scale in scales)
    return multipliers, shift
