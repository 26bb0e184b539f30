"""The chip stopped, started while it runs, and reset in the middle: the next start is the first."""

from __future__ import annotations

import numpy as np
import pytest

from golden.chip.memory import Memory
from rtl.chip.core import Core
from rtl.chip.cosim import run_chip
from rtl.chip.registers import Control, Status, register_map
from rtl.chip.status import Code
from tests.chip.test_memory_side import expect

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
    own = run.bursts[-len(oracle.bursts) :]  # as their responses came; a reset begins time anew
    found = sorted((burst[1:] for burst in own), key=lambda burst: burst[2])
    assert [burst[:2] for burst in found] == [burst[1:3] for burst in oracle.bursts]
    assert run.code == Code.NONE


# 8: two vector layers; 0: a convolution and an addition.
_STOPS = [(8, 60), *((8, after) for after in (20, 111, 200, 301, 433)),
          *((0, after) for after in (40, 60, 264, 290, 467, 640, 700))]  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "after"),
    [pytest.param(*stop, marks=() if stop == _STOPS[0] else pytest.mark.slow) for stop in _STOPS],
)
def test_stop(seed, after):
    """A start while it runs is refused and said so; a stop ends it; the next start is right."""
    expected = expect(seed)
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


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "after"), [(8, 100), (0, 300)])
def test_reset_in_the_middle(seed, after):
    expected = expect(seed)
    run = run_chip(
        expected.program, expected.case.image, Memory.parse(expected.case.memory), "icarus",
        expected.oracle.cycles + 1000,
        commands=[("start", 0), ("pass", after), STATUS, ("reset", 3), STATUS],
    )  # fmt: skip
    assert run.seen == [Status.RUNNING, 0]
    check_next(expected, run)
