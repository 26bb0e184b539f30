"""The whole chip, its Verilog under Icarus: one start, every bit, every cycle of the bus."""

from __future__ import annotations

import numpy as np
import pytest

from golden.chip.memory import Memory
from rtl.chip.cosim import run_chip
from rtl.chip.status import Code
from tests.chip.test_memory_side import expect

pytestmark = pytest.mark.slow


# 8: two vector layers; 12: a convolution and an addition under sdram; 0: a convolution, ideal.
@pytest.mark.parametrize("seed", [8, 12, 0])
def test_every_cycle(seed):
    expected = expect(seed)
    oracle = expected.oracle
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        oracle.cycles + 1000,
    )  # fmt: skip
    assert np.array_equal(run.octets, expected.end)
    found = sorted((burst[1:] for burst in run.bursts), key=lambda burst: burst[2])
    assert found == [burst[1:] for burst in oracle.bursts]
    counters = {**oracle.counters, "cycles": oracle.cycles}
    assert {name: run.registers[name] for name in counters} == counters


def test_stalls():
    """Random pauses on every channel of the bus: the same bits."""
    expected = expect(12)
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        40 * expected.oracle.cycles, stalls=5,
    )  # fmt: skip
    assert np.array_equal(run.octets, expected.end)
    assert run.registers["cycles"] > expected.oracle.cycles


def test_error_response():
    expected = expect(12)
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        expected.oracle.cycles, fails=20,
    )  # fmt: skip
    assert run.code in (Code.READ, Code.WRITE)
    kind, address, _, _, _ = expected.oracle.bursts[20]
    entry = expected.program.entries[run.registers["error_entry"]]
    assert (entry.kind, entry.address <= address) == (kind, True)
    assert len(run.bursts) < len(expected.oracle.bursts)
