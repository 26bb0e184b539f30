"""Requantisation that drives all of its bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golden.arithmetic import Requantisation

__all__ = ["extreme"]


def extreme(how: Requantisation, seed: int) -> Requantisation:
    """Return biases, multipliers and shifts of all sizes, for as many channels.

    Half of the biases lie where codes come into range, whatever the shift; the others anywhere, or
    at the ends of 32 bits.
    """
    dice = np.random.default_rng(seed)
    count = len(how.bias)
    shift = dice.integers(1, 57, count)
    multiplier = dice.integers(1 << 23, 1 << 24, count)
    multiplier = np.where(dice.random(count) < 0.3, dice.integers(1, 1 << 24, count), multiplier)
    wanted = dice.integers(how.low - 9, how.high + 10, count) - how.zero_point
    near = np.rint(wanted * 2.0**shift / multiplier)
    least, greatest = -(1 << 31), (1 << 31) - 1
    far = dice.integers(least, greatest + 1, count)
    ends = dice.integers(0, 999, count)
    far = np.where(dice.random(count) < 0.3, np.where(far < 0, least + ends, greatest - ends), far)
    inside = (np.abs(near) < greatest) & (dice.random(count) < 0.5)
    bias = np.clip(np.where(inside, near, far), least, greatest).astype(np.int64)
    return replace(how, bias=bias, multiplier=multiplier, shift=shift)
