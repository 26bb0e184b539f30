"""The requantisation lane against ``Requantisation.apply``."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.arithmetic import Requantisation
from rtl.lib.requantise import Requantise


def run_lane(accumulators, how: Requantisation) -> list[int]:
    """Send accumulator k through with entry k."""
    dut = Requantise()
    codes = []

    async def bench(ctx) -> None:
        ctx.set(dut.enable, 1)
        ctx.set(dut.zero_point, how.zero_point)
        ctx.set(dut.low, how.low)
        ctx.set(dut.high, how.high)
        for cycle in range(len(accumulators) + dut.LATENCY):
            if cycle < len(accumulators):
                ctx.set(dut.accumulator, int(accumulators[cycle]))
            if 0 < cycle <= len(accumulators):  # its entry comes a cycle later
                ctx.set(dut.entry.bias, int(how.bias[cycle - 1]))
                ctx.set(dut.entry.multiplier, int(how.multiplier[cycle - 1]))
                ctx.set(dut.entry.shift, int(how.shift[cycle - 1]))
            if cycle >= dut.LATENCY:
                codes.append(ctx.get(dut.code))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return codes


@pytest.mark.parametrize(
    ("low", "high", "signed", "zero_point"),
    [(0, 255, False, 0), (-128, 127, True, 0), (131, 255, False, 131), (-5, 90, True, -5)],
)
def test_lane_matches_apply(low, high, signed, zero_point):
    rng = np.random.default_rng(abs(low) + high)
    count = 400
    shift = rng.integers(1, 56, count)
    multiplier = rng.integers(1 << 23, 1 << 24, count)
    bias = rng.integers(-(1 << 30), 1 << 30, count)
    # Half of the sums are chosen so that codes fall in range, whatever the shift.
    wanted = rng.integers(-300, 300, count)
    near = np.rint(wanted * 2.0**shift / multiplier)
    accumulators = rng.integers(-(1 << 30), 1 << 30, count)
    fits = np.abs(near - bias) < 1 << 31
    accumulators = np.where(fits & (np.arange(count) % 2 == 0), near - bias, accumulators)
    accumulators = accumulators.astype(np.int64)
    how = Requantisation(bias, multiplier, shift, low, high, signed, zero_point)
    codes = np.array(run_lane(accumulators, how), dtype=np.uint8)
    np.testing.assert_array_equal(codes, how.apply(accumulators).view(np.uint8))


def test_extremes_and_ties_by_hand():
    # (2**31 - 1 + 2**31 - 1) * (2**24 - 1) is the largest product, its negative the smallest;
    # 3 / 2 and -3 / 2 are halves: they go to the even codes 2 and -2, 1 / 2 and -1 / 2 to 0.
    how = Requantisation(
        bias=np.array([(1 << 31) - 1, -(1 << 31), 0, 0, 0, 0]),
        multiplier=np.array([(1 << 24) - 1, (1 << 24) - 1, *[1 << 23] * 4]),
        shift=np.array([49, 49, 24, 24, 24, 24]),
        low=-128,
        high=127,
        signed=True,
    )
    codes = run_lane([(1 << 31) - 1, -(1 << 31), 3, -3, 1, -1], how)
    assert codes == [127, 0x80, 2, 0xFE, 0, 0]
