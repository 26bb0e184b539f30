"""Integer arithmetic of the machine: accumulation and fixed-point requantisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.errors import CapacityError, UserError

__all__ = [
    "MULTIPLIER_BITS",
    "SHIFT_MAX",
    "Requantisation",
    "check_accumulator",
    "quantise_scale",
    "rounded_shift",
]

#: A multiplier is normalised to [2**(MULTIPLIER_BITS - 1), 2**MULTIPLIER_BITS).
MULTIPLIER_BITS = 24
#: Largest right shift.
SHIFT_MAX = 55


def quantise_scale(scale: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write positive scales as ``multiplier * 2**-shift``; a scale of 0 gives multiplier 0.

    Raises
    ------
    UserError
        A scale is negative, not finite, or 2**23 or more (its shift would be negative).
    """
    scale = np.asarray(scale, dtype=np.float64)
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise UserError("Requantisation scales must be finite and not negative")
    mantissa, exponent = np.frexp(scale)
    multiplier = np.rint(mantissa * (1 << MULTIPLIER_BITS)).astype(np.int64)
    carry = multiplier == 1 << MULTIPLIER_BITS
    multiplier = np.where(carry, multiplier >> 1, multiplier)
    shift = MULTIPLIER_BITS - (exponent + carry).astype(np.int64)
    if np.any(shift < 1):
        raise UserError(f"Requantisation scales must be below 2**23, not {scale.max():g}")
    tiny = shift > SHIFT_MAX
    multiplier = np.where(tiny | (scale == 0), 0, multiplier)
    return multiplier, np.where(tiny | (scale == 0), 1, shift)


def rounded_shift(values: NDArray[np.int64], shift: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Divide by ``2**shift``, 1 or more, to the nearest integer; halves go to the even one."""
    below_half = (np.int64(1) << (np.int64(1) * shift - 1)) - 1
    return (values + below_half + ((values >> shift) & 1)) >> shift


@dataclass(frozen=True, eq=False)
class Requantisation:
    """How an accumulator becomes an activation code.

    It is ``clamp(round((accumulator + bias) * multiplier / 2**shift) + zero_point, low, high)``:
    the product is exact (64 bits) and halves go to the even neighbour, as ONNX rounds. ReLU is
    ``low = zero_point``; ReLU6 lowers ``high``.

    Parameters
    ----------
    bias, multiplier, shift : ndarray of int64, axis k
        One of each for every output channel.
    low, high : int
        Range of the output codes: within 0..255 (uint8) or -128..127 (int8).
    signed : bool
        Output codes are int8, else uint8.
    zero_point : int
        Output code that stands for 0.
    """

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    low: int
    high: int
    signed: bool = False
    zero_point: int = 0

    @property
    def dtype(self) -> type[np.int8 | np.uint8]:
        """Type of the output codes."""
        return np.int8 if self.signed else np.uint8

    def apply(self, accumulator: NDArray[np.int64]) -> NDArray[np.int8 | np.uint8]:
        """Requantise; axes ..., k in and out."""
        product = (accumulator.astype(np.int64) + self.bias) * self.multiplier
        scaled = rounded_shift(product, self.shift)
        return np.clip(scaled + self.zero_point, self.low, self.high).astype(self.dtype)


def check_accumulator(
    name: str, weights: NDArray[np.int8], bias: NDArray[np.int64], max_magnitude: int
) -> None:
    """Prove that no order of accumulation can leave int32, nor the bias.

    The machine adds the bias to the finished sum, in 33 bits, so that each may be as large as
    int32 holds.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    bias : ndarray of int64, axis k
    max_magnitude : int
        Largest magnitude of an input code: 255 for uint8, 128 for int8.

    Raises
    ------
    CapacityError
        Names the layer, the channel and its worst case.
    """
    wide = np.flatnonzero((bias < -(1 << 31)) | (bias >= 1 << 31))
    if wide.size:
        raise CapacityError(
            f"Layer {name}: the bias of output channel {wide[0]} must fit int32, "
            f"not be {bias[wide[0]]}: raise its scale"
        )
    # int16 holds the magnitude of -128, and takes a quarter of the memory.
    total = np.abs(weights, dtype=np.int16).sum(axis=(1, 2, 3), dtype=np.int64)
    worst = total * max_magnitude
    if worst.size and worst.max() >= 1 << 31:
        raise CapacityError(
            f"Layer {name}: the accumulator of output channel {int(worst.argmax())} could reach "
            f"{int(worst.max())}, int32 holds {(1 << 31) - 1}: split the layer or lower its scale"
        )
