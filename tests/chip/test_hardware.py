"""The chip's hardware against simulator and golden model: every burst, bit and counter.

The memory is `tests.chip.axi_memory`; the drawn networks are those that `test_timing` holds the
simulator to the tick oracle with.
"""

from __future__ import annotations

import numpy as np
import pytest

import accel
from accel.chip.arrange import arrange_clusters, arrange_tensors, arrange_walk
from accel.chip.arrays import TILE_COUNTERS
from accel.chip.walk import walk_list
from accel.verification.chip import verify_chip
from golden import reference
from golden.chip.compiler import compile_network
from golden.chip.config import CHIP_LATENCY
from golden.chip.formats import Kind
from golden.chip.interpreter import run_image
from golden.chip.memory import Memory
from rtl.chip.registers import Status
from tests.chip.axi_memory import AxiMemory
from tests.chip.cases import ChipCase, draw_case, inputs_first, slow_way_out
from tests.chip.chip_bench import run_chip_hardware

#: Two resident convolutions with two filters a unit; a convolution and a pool.
_SHORT = (52, 0)
#: Residuals, averages, groups, several clusters, sdram; up to five layers. 14, 26, 28 and 43 have
#: depthwise convolutions, of 5 to 17 channels.
_LONG = (1, 8, 11, 12, 13, 14, 23, 25, 26, 28, 30, 31, 35, 39, 40, 43, 45, 49, 53)


def check(case: ChipCase, *, reorder: bool = False, stalls: int | None = None) -> None:
    """Run a case on the hardware and compare; with stalls, bits only."""
    config = case.config
    program = compile_network(case.network, config)
    if reorder:
        program = inputs_first(program)
    tensors = reference.run_network(case.network, case.image)
    read = {node.layer.name: tensors[node.input] for node in case.network.convolutions}
    work = arrange_walk(program, Memory.parse(case.memory), CHIP_LATENCY)
    clusters = arrange_clusters(config)
    cycles = int(walk_list(work, arrange_tensors(program, read), clusters))
    octets = program.memory(case.image)
    golden = octets.copy()
    run_image(config, golden)
    memory = AxiMemory(octets, case.memory, config.bus_bytes, config.burst_bytes, stalls=stalls)
    run = run_chip_hardware(program, memory, limit=20 * cycles if stalls else cycles + 1000)
    np.testing.assert_array_equal(octets, golden)
    assert run.registers["pairs"] == clusters.scalars[:, 4].sum()
    if stalls is not None:
        return
    wanted = [
        (burst["kind"] == Kind.WRITE, *(int(burst[name]) for name in BURST))
        for burst in work.bursts
    ]
    found = [(b.write, b.address, b.length, b.asked, b.there) for b in memory.bursts]
    for number, pair in enumerate(zip(found, wanted, strict=True)):
        assert pair[0] == pair[1], f"burst {number}"
    sums = dict(zip(TILE_COUNTERS, work.counters.sum(axis=0).tolist(), strict=True))
    assert {name: run.registers[name] for name in sums} == sums
    assert run.registers["cycles"] == cycles


#: Of a burst.
BURST = ("address", "length", "asked", "there")


@pytest.mark.parametrize("seed", _SHORT)
def test_networks(seed):
    check(draw_case(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", _LONG)
def test_more_networks(seed):
    check(draw_case(seed))


@pytest.mark.slow
@pytest.mark.parametrize("reorder", [False, True])
def test_halves_are_waited_for(reorder):
    """Tiles wait for their half, which the compiler's order leaves to the order of the list."""
    check(slow_way_out(), reorder=reorder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 11, 43, 53])
def test_stalls_change_no_bit(seed):
    """With random pauses on every channel of the bus the same bytes are written."""
    check(draw_case(seed), stalls=seed + 1)


@pytest.mark.slow
@pytest.mark.parametrize("burst", [9, 15, 20, 26])
def test_start_after_an_error(burst):
    """Whatever an error ended, a job in work too, the next start is like the first."""
    case = draw_case(0)
    program = compile_network(case.network, case.config)
    tensors = reference.run_network(case.network, case.image)
    read = {node.layer.name: tensors[node.input] for node in case.network.convolutions}
    work = arrange_walk(program, Memory.parse(case.memory), CHIP_LATENCY)
    clusters = arrange_clusters(case.config)
    cycles = int(walk_list(work, arrange_tensors(program, read), clusters))
    octets = program.memory(case.image)
    golden = octets.copy()
    run_image(case.config, golden)
    memory = AxiMemory(
        octets, case.memory, case.config.bus_bytes, case.config.burst_bytes, fails=burst
    )
    run = run_chip_hardware(program, memory, limit=4 * cycles, starts=2)
    np.testing.assert_array_equal(octets, golden)
    assert len(memory.bursts) >= burst + len(work.bursts)
    assert run.registers["status"] >> Status.CODE == 0
    assert run.registers["cycles"] == cycles
    assert run.registers["pairs"] == clusters.scalars[:, 4].sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "memory"),
    [("lenet5", "rate:8,30"), ("lenet5", "sdram"), ("resnet8", "rate:8,30"), ("resnet8", "ideal")],
)
def test_whole_networks(name, memory):
    """LeNet-5 and ResNet-8 from one start: no host between layers."""
    result = verify_chip(accel.load(name), "board", memory, "verilator")
    assert result.equal, result.first
