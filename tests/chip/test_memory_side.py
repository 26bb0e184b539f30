"""The memory side of the chip, alone, against the tick oracle: every request and response.

The compute side is a script: it acts in the cycles that the simulator says, which
``test_timing.py`` holds to the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from accel.chip.arrange import arrange_clusters, arrange_tensors, arrange_walk
from accel.chip.arrays import Work
from accel.chip.walk import walk_list
from golden import reference
from golden.chip.compiler import compile_network
from golden.chip.config import CHIP_LATENCY
from golden.chip.formats import Kind
from golden.chip.interpreter import run_image
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram
from rtl.chip.status import Code
from tests.chip.axi_memory import AxiMemory
from tests.chip.cases import ChipCase, draw_case, inputs_first, slow_way_out
from tests.chip.memory_side import run_memory_side
from tests.chip.oracle import OracleResult, run_chip
from tests.chip.scripted_core import ScriptedCore

#: Bytes behind an image, so that every beat of the bus lies in the memory.
_BEHIND = 64


@dataclass(frozen=True, eq=False)
class _Expected:
    """A case with what the golden model, the oracle and the simulator say of it."""

    case: ChipCase
    program: ChipProgram
    begin: NDArray[np.uint8]
    end: NDArray[np.uint8]
    oracle: OracleResult
    work: Work


@cache
def expect(seed: int) -> _Expected:
    """Return a case by its seed; -1 is one whose halves are waited for."""
    case = draw_case(seed) if seed >= 0 else slow_way_out()
    program = compile_network(case.network, case.config)
    if seed < 0:
        program = inputs_first(program)
    tensors = reference.run_network(case.network, case.image)
    read = {n.layer.name: tensors[n.input] for n in case.network.convolutions}
    work = arrange_walk(program, Memory.parse(case.memory), CHIP_LATENCY)
    walk_list(work, arrange_tensors(program, read), arrange_clusters(case.config))
    begin = program.memory(case.image)
    end = begin.copy()
    run_image(case.config, end)
    oracle = run_chip(program, end, case.memory, CHIP_LATENCY)
    return _Expected(case, program, begin, end, oracle, work)


def make_memory(
    expected: _Expected, stalls: int | None = None, fails: int | None = None
) -> AxiMemory:
    config = expected.case.config
    octets = np.concatenate([expected.begin, np.zeros(_BEHIND, dtype=np.uint8)])
    return AxiMemory(
        octets, expected.case.memory, config.bus_bytes, config.burst_bytes, stalls, fails
    )


def seen_by(memory: AxiMemory) -> list[tuple[int, int, int, int]]:
    """Return address, bytes, R and A of every burst on the bus."""
    return [(b.address, b.length, b.asked, b.there) for b in memory.bursts]


# 8: rate; 12: sdram; 43: ideal, rows of no bytes; -1: rate:1,50, halves are waited for.
@pytest.mark.parametrize("seed", [8, 12, 43, -1])
def test_every_cycle(seed):
    expected = expect(seed)
    memory, oracle = make_memory(expected), expected.oracle
    script = ScriptedCore(expected.program, expected.end, expected.work)
    found = run_memory_side(expected.program, memory, script, oracle.cycles + 50)
    assert seen_by(memory) == [burst[1:] for burst in oracle.bursts]
    assert found["cycles"] == oracle.cycles
    assert found["code"] == Code.NONE
    assert not found["running"]
    script.finish()
    assert np.array_equal(memory.octets[:-_BEHIND], expected.end)
    for kind in Kind:
        sizes = [size for of, _, size, _, _ in oracle.bursts if of == kind]
        assert found["streams"][kind] == (sum(sizes), len(sizes))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 9, 11, 20, 22])
def test_every_cycle_of_more(seed):
    test_every_cycle(seed)


@pytest.mark.parametrize(("seed", "stalls"), [(0, 1), (8, 2)])
def test_stalls(seed, stalls):
    """Under random pauses on every channel and stream: the same bytes, in another time."""
    expected = expect(seed)
    memory = make_memory(expected, stalls)
    script = ScriptedCore(expected.program, expected.end, expected.work, stalls)
    found = run_memory_side(expected.program, memory, script, 40 * expected.oracle.cycles)
    script.finish()
    assert np.array_equal(memory.octets[:-_BEHIND], expected.end)
    assert found["cycles"] != expected.oracle.cycles
    assert [(b.address, b.length) for b in memory.bursts] == [
        burst[1:3] for burst in expected.oracle.bursts
    ]


def _entry_of(expected: _Expected, number: int) -> int:
    """Return the number of the entry that a burst, by its number, belongs to."""
    kind, address, _, _, _ = expected.oracle.bursts[number]
    for at, entry in enumerate(expected.program.entries):
        channels = expected.program.layers[entry.layer].descriptor["pixel_stride"]
        size = entry.length * channels if entry.kind is Kind.WRITE else entry.length
        if entry.kind == kind and entry.address <= address < entry.address + size:
            return at
    raise AssertionError("a burst belongs to no entry")


@pytest.mark.parametrize("kind", [Kind.TILE, Kind.FILTERS, Kind.WRITE])
def test_error_response(kind):
    """An error response ends the network with its entry, and the bus is left clean."""
    expected = expect(12)
    number = next(at for at, burst in enumerate(expected.oracle.bursts) if burst[0] == kind)
    memory = make_memory(expected, fails=number)
    script = ScriptedCore(expected.program, expected.end, expected.work)
    found = run_memory_side(expected.program, memory, script, expected.oracle.cycles)
    assert found["code"] == (Code.WRITE if kind is Kind.WRITE else Code.READ)
    assert found["entry"] == _entry_of(expected, number)
    assert memory.idle
    assert memory.bursts[-1].asked <= memory.bursts[number].there + 1
    assert len(memory.bursts) < len(expected.oracle.bursts)


def _with_word(expected: _Expected, entry: int, word: int, value: int) -> AxiMemory:
    memory = make_memory(expected)
    at = expected.program.list_address + 16 * entry + 4 * word
    memory.octets[at : at + 4] = np.array([value], dtype="<u4").view(np.uint8)
    return memory


@pytest.mark.parametrize(
    ("kind", "second", "code"),
    [(Kind.TILE, 32 << 8 | 9, Code.KIND), (Kind.TILE, 32 << 8, Code.KIND),
     (Kind.TILE, 36 << 8 | 3, Code.LENGTH)],
)  # fmt: skip
def test_entry_that_can_not_be(kind, second, code):
    expected = expect(8)
    entry = next(at for at, e in enumerate(expected.program.entries) if e.kind is kind)
    memory = _with_word(expected, entry, 1, second)
    script = ScriptedCore(expected.program, expected.end, expected.work)
    found = run_memory_side(expected.program, memory, script, expected.oracle.cycles)
    assert (found["code"], found["entry"]) == (code, entry)
    assert memory.idle


def test_write_elsewhere():
    """A write entry that does not begin where the vector unit's burst does."""
    expected = expect(8)
    entry = next(at for at, e in enumerate(expected.program.entries) if e.kind is Kind.WRITE)
    address = expected.program.entries[entry].address
    memory = _with_word(expected, entry, 0, address + 1)
    script = ScriptedCore(expected.program, expected.end, expected.work)
    found = run_memory_side(expected.program, memory, script, expected.oracle.cycles)
    assert (found["code"], found["entry"]) == (Code.WRITE_PLACE, entry)
    assert memory.idle
    assert not any(burst.write for burst in memory.bursts)
