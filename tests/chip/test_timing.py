"""The simulator's events, bursts and counters are those of the tick oracle."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from accel.chip.arrange import arrange_clusters, arrange_tensors, arrange_walk
from accel.chip.arrays import TILE_COUNTERS
from accel.chip.memory import memory_parameters, memory_state, serve_burst
from accel.chip.walk import walk_list
from golden import reference
from golden.chip.compiler import compile_network
from golden.chip.config import CHIP_LATENCY, ChipLatency
from golden.chip.formats import Kind
from golden.chip.interpreter import run_image
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram
from golden.errors import CapacityError, ConfigError
from golden.machines.cluster.config import SkipMode
from tests.chip.cases import ChipCase, draw_case, inputs_first, slow_way_out
from tests.chip.oracle import OracleResult, run_chip
from tests.chip.slow_memory import SlowMemory

#: Drawn networks of a test.
_BLOCK = 10
_NAMES = [field.name for field in fields(ChipLatency)]


def draw_latency(seed: int) -> ChipLatency:
    """Draw other latencies than the hardware's for every other case."""
    if seed % 2 == 0:
        return CHIP_LATENCY
    rng = np.random.default_rng(seed)
    return ChipLatency(**{name: int(rng.integers(1, 9)) for name in _NAMES})


def walk(case: ChipCase, program: ChipProgram, latency: ChipLatency) -> OracleResult:
    """Return what the simulator says."""
    tensors = reference.run_network(case.network, case.image)
    read = {n.layer.name: tensors[n.input] for n in case.network.convolutions}
    work = arrange_walk(program, Memory.parse(case.memory), latency)
    cycles = walk_list(work, arrange_tensors(program, read), arrange_clusters(case.config))
    return OracleResult(
        int(cycles),
        dict(zip(TILE_COUNTERS, work.counters.sum(axis=0).tolist(), strict=True)),
        work.bursts.tolist(),
        work.tiles["start"].tolist(),
        work.tiles["done"].tolist(),
        int(work.memory_state[3]),
    )


def run_both(
    case: ChipCase, program: ChipProgram, latency: ChipLatency
) -> tuple[OracleResult, OracleResult]:
    """Return what the oracle and what the simulator say."""
    memory = program.memory(case.image)
    run_image(case.config, memory)
    return run_chip(program, memory, case.memory, latency), walk(case, program, latency)


def difference(oracle: OracleResult, simulated: OracleResult) -> str:
    """Describe the first thing that differs."""
    for number, (wanted, found) in enumerate(zip(oracle.bursts, simulated.bursts, strict=False)):
        if wanted != found:
            return f"burst {number}: {wanted} and {found}"
    for field in fields(OracleResult):
        wanted, found = getattr(oracle, field.name), getattr(simulated, field.name)
        if wanted != found:
            return f"{field.name}: {wanted} and {found}"
    return ""


@pytest.mark.parametrize("block", range(6))
def test_networks(block):
    """Every burst's request and response, every tile's start and end, every counter."""
    for seed in range(_BLOCK * block, _BLOCK * (block + 1)):
        case = draw_case(seed)
        try:
            program = compile_network(case.network, case.config)
        except CapacityError:
            continue
        oracle, simulated = run_both(case, program, draw_latency(seed))
        assert difference(oracle, simulated) == "", f"seed {seed}"
        assert sum(simulated.counters.values()) == simulated.cycles
        _check_hazards(oracle)


def _check_hazards(oracle: OracleResult) -> None:
    """No map is read before what was written there has been answered."""
    reads = (Kind.ROWS, Kind.OPERAND, Kind.RESIDUAL)
    for at, (kind, address, length, asked, _) in enumerate(oracle.bursts):
        if kind not in reads:
            continue
        for other, begin, size, _, there in oracle.bursts[:at]:
            if other == Kind.WRITE and begin < address + length and address < begin + size:
                assert there < asked


def test_halves_are_waited_for():
    """The compiler's order never waits for a half; another one does, and all agree on it."""
    case = slow_way_out()
    program = compile_network(case.network, case.config)
    for each in (program, inputs_first(program)):
        oracle, simulated = run_both(case, each, CHIP_LATENCY)
        assert difference(oracle, simulated) == ""
        _check_hazards(oracle)
    # The tail waits for writes in any order; of these, more.
    assert oracle.counters["write_cycles"] > 500
    assert oracle.counters["residual_cycles"] == 0


@pytest.mark.parametrize("skip", [SkipMode.DENSE, SkipMode.STATIC, SkipMode.DYNAMIC])
def test_skip_modes(skip):
    for seed in (3, 14):
        case = draw_case(seed)
        program = compile_network(case.network, case.config, skip)
        assert difference(*run_both(case, program, CHIP_LATENCY)) == ""


@pytest.mark.parametrize("name", _NAMES)
def test_every_latency_matters(name):
    """A latency that is a cycle off is noticed by the comparisons above."""
    case = slow_way_out() if name == "half" else draw_case(4)
    program = compile_network(case.network, case.config)
    if name == "half":
        program = inputs_first(program)
    later = ChipLatency(**{name: getattr(CHIP_LATENCY, name) + 1})
    assert difference(walk(case, program, CHIP_LATENCY), walk(case, program, later))


# -- memories ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["ideal", "rate:1,1", "rate:7,33", "rate:200,2", "sdram", "sdram:1,1,48,0,5,1,3,61,17",
     "sdram:4,8,512,2,3,4,0,100,99"],
)  # fmt: skip
def test_memory(text):
    rng = np.random.default_rng(len(text))
    memory = Memory.parse(text)
    parameters, state = memory_parameters(memory), memory_state(memory)
    slow, now = SlowMemory(text, 8), 0
    for _ in range(400):
        now += int(rng.choice([0, 1, 3, 40, 500]))
        address, length = int(rng.integers(0, 5000)), int(rng.integers(1, 300))
        write = bool(rng.random() < 0.3)
        found = serve_burst(now, address, length, np.int64(write), 8, parameters, state)
        assert found == slow.serve(now, address, length, write)
    assert state[3] == slow.busy


def test_memory_by_hand():
    """Figures worked out from the page: 16 bytes on a bus of 8 are two beats."""
    for text, wanted in (("ideal", 13), ("rate:16,30", 42), ("rate:1,5", 31)):
        memory = Memory.parse(text)
        there = serve_burst(10, 0, 16, 0, 8, memory_parameters(memory), memory_state(memory))
        assert there == wanted, text
    memory = Memory.parse("sdram:2,4,1024,3,3,5,2,780,9")
    parameters, state = memory_parameters(memory), memory_state(memory)
    # Activate 3, 8 cycles of data, CL 5; then the open row; then the bank's other row; a write.
    assert serve_burst(10, 0, 16, 0, 8, parameters, state) == 10 + 3 + 8 + 5
    assert serve_burst(10, 16, 16, 0, 8, parameters, state) == 21 + 8 + 5
    assert serve_burst(10, 4096, 16, 0, 8, parameters, state) == 29 + 3 + 3 + 8 + 5
    assert serve_burst(10, 4096, 16, 1, 8, parameters, state) == 43 + 2 + 8 + 5
    # A refresh closes all rows.
    assert serve_burst(780, 4096, 16, 1, 8, parameters, state) == 780 + 9 + 3 + 8 + 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dram", "must be one of ideal, rate, sdram, not 'dram'"),
        ("rate", "bytes must be at least 1, not 0"),
        ("rate:8", "must be rate:bytes,latency with whole numbers, not 'rate:8'"),
        ("rate:8,x", "whole numbers"),
        ("rate:-8,3", "whole numbers"),
        ("ideal:3", "must be ideal with whole numbers"),
        ("rate:0,3", "bytes must be at least 1, not 0"),
        ("sdram:2,4,1024,3,3,3,2,9,9", r"tREFI must be more than tRFC \(9\), not 9"),
    ],
)
def test_memory_that_can_not_be(text, words):
    with pytest.raises(ConfigError, match=words):
        Memory.parse(text)


def test_memory_is_written_as_it_is_read():
    for text in ("ideal", "rate:8,30", "sdram:2,4,1024,3,3,3,2,780,9"):
        assert str(Memory.parse(text)) == text
    assert str(Memory.parse("sdram")) == "sdram:2,4,1024,3,3,3,2,780,9"
