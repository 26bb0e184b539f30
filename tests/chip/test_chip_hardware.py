"""The whole chip, its Verilog under Icarus: one start, every bit, every cycle of the bus."""

from __future__ import annotations

import numpy as np
import pytest

from golden.chip.memory import Memory
from rtl.chip.core import Core
from rtl.chip.cosim import run_chip
from rtl.chip.registers import Control, Status, register_map
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


_ADDRESSES = {name: 4 * at for name, at in register_map(Core.COUNTERS).addresses.items()}


def control(bits: int) -> tuple[str, int]:
    return "write", _ADDRESSES["control"] << 32 | bits


STATUS, ENTRY = (("read", _ADDRESSES[name]) for name in ("status", "error_entry"))


def check_next(expected, run) -> None:
    """The last start was like the first: bits, cycles, counters, the order of all bursts."""
    oracle = expected.oracle
    assert np.array_equal(run.octets, expected.end)
    counters = {**oracle.counters, "cycles": oracle.cycles}
    assert {name: run.registers[name] for name in counters} == counters
    found = sorted((burst[1:] for burst in run.bursts), key=lambda burst: burst[2])
    assert [b[:2] for b in found[-len(oracle.bursts) :]] == [b[1:3] for b in oracle.bursts]
    assert run.code == Code.NONE


# A job runs, its filters come, results are written, in one of them at least.
@pytest.mark.parametrize("after", [60, 333, 700])
def test_stop(after):
    """A start while it runs is refused and said so; a stop ends it; the next start is right."""
    expected = expect(0)
    assert after < expected.oracle.cycles
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        expected.oracle.cycles + 1000,
        commands=[
            ("start", 0), ("pass", after), STATUS, control(Control.START), STATUS,
            control(Control.STOP), ("wait", 2000), STATUS, ENTRY, control(Control.CLEAR), STATUS,
        ],
    )  # fmt: skip
    running, refused, stopped, entry, cleared = run.seen
    assert running == Status.RUNNING
    assert refused == Status.RUNNING | Status.REFUSED
    ended = Status.DONE | Status.REFUSED | Code.STOPPED << Status.CODE
    assert stopped == ended | Status.INTERRUPT
    assert cleared == ended
    assert 0 <= entry < len(expected.program.entries)
    assert len(run.bursts) < 2 * len(expected.oracle.bursts)
    check_next(expected, run)


@pytest.mark.parametrize("after", [100, 500])
def test_reset_in_the_middle(after):
    expected = expect(0)
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        expected.oracle.cycles + 1000,
        commands=[("start", 0), ("pass", after), STATUS, ("reset", 3), STATUS],
    )  # fmt: skip
    assert run.seen == [Status.RUNNING, 0]
    check_next(expected, run)
