"""ExTensor's hardware against the naive operators (bits) and the tick oracle (every counter).

All cases of a machine run one after another in one build, so that builds stay few.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")
from amaranth.sim import Simulator

from golden import reference
from golden.arithmetic import Requantisation
from golden.errors import CapacityError
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.machines.extensor import ExTensorConfig
from golden.program import LayerRun, LayerTask
from rtl.extensor.driver import make_programs
from rtl.extensor.hardware import HARDWARE
from rtl.extensor.intersection.intersect import Intersect
from rtl.extensor.pe import latencies
from rtl.sim.run import SimulatorName, run_layers
from rtl.verilog.writer import verilog
from tests.arch.extensor_cases import CATALOGUE, MACHINES, drawn_layers
from tests.arch.extensor_oracle import Intersection
from tests.arch.extensor_oracle import run_layer as run_oracle
from tests.case import Case, make_case

#: Drawn cases of each machine, behind the catalogue; each machine has its own.
_DRAWN = 6


def machine_cases(name: str) -> tuple[Case, ...]:
    return CATALOGUE + drawn_layers(100 + sorted(MACHINES).index(name), _DRAWN)


@cache
def expected(name: str, case: Case):
    """Return the right codes and counters."""
    operands = case.layer, case.weights, case.activations, case.requantisation
    codes = reference.convolve(case.weights, case.activations, case.layer, case.requantisation)
    return codes, run_oracle(MACHINES[name], *operands)[1]


def run(name: str, cases: tuple[Case, ...], simulator: SimulatorName, stalls: int | None = None):
    runs = [(case.run(), SkipMode.BOTH) for case in cases]
    return run_layers(HARDWARE, MACHINES[name], runs, simulator, stalls)


def check(name: str, simulator: SimulatorName, count: int | None = None) -> None:
    cases = machine_cases(name)[:count]
    for case, (codes, counters) in zip(cases, run(name, cases, simulator), strict=True):
        wanted, oracle = expected(name, case)
        np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
        assert codes.dtype == wanted.dtype
        assert counters.difference(oracle) == "", f"hardware and oracle, {case!r}"


@pytest.mark.parametrize("name", MACHINES)
def test_verilator(name):
    check(name, "verilator")


@pytest.mark.parametrize("name", MACHINES)
def test_icarus(name):
    check(name, "icarus")


def test_amaranth():
    check("toy", "amaranth", 2)


def test_the_cases_cover_what_can_happen():
    counters = [expected(name, case)[1] for name in MACHINES for case in machine_cases(name)]
    assert len(counters) >= 40
    for waits in ("wait_memory_cycles", "wait_collector_cycles", "bubble_cycles"):
        assert sum(one.unit(waits).sum() > 0 for one in counters) >= 6, waits
    skips = [(one.pe("tile_decisions") - one.pe("tile_pairs")).sum() for one in counters]
    assert sum(skip > 0 for skip in skips) >= 3
    fibres = [one.pe("fibre_pairs").sum() > 2 * one.pe("tile_pairs").sum() for one in counters]
    assert sum(fibres) >= 10
    codes = [expected(name, case)[0] for name in MACHINES for case in machine_cases(name)]
    assert sum(len(np.unique(one)) > 8 for one in codes) >= 20
    assert any((one.pe("cycles") == 0).any() for one in counters)  # a PE without an item
    assert max(one.pe("pairs").sum() for one in counters) > 1000


@pytest.mark.parametrize(("simulator", "name"), [("icarus", "toy"), ("verilator", "narrow")])
def test_stalls_change_no_bit(simulator, name):
    """Idle and back-pressure on every stream; that nothing extra comes out, the driver checks."""
    cases = machine_cases(name)[:4]
    lost = 0
    for number in range(2):
        for case, (codes, counters) in zip(
            cases, run(name, cases, simulator, stalls=77 + number), strict=True
        ):
            wanted, oracle = expected(name, case)
            np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
            for counter in ("pairs", "tile_pairs", "fibre_pairs", "load_beats", "outputs"):
                np.testing.assert_array_equal(counters.pe(counter), oracle.pe(counter))
            np.testing.assert_array_equal(counters.units.sum(axis=1), counters.cycles)
            lost += counters.cycles - oracle.cycles
    assert lost > 0  # the stalls were felt


def test_a_sum_grows_twice_in_a_row():
    """Two decisions in a tile, one in the next, loaded as fast as can be: 1 * 5 + 2 * 6 + 3 * 7."""
    layer = LayerShape(
        name="row",
        in_channels=128,
        in_height=1,
        in_width=1,
        out_channels=1,
        kernel_height=1,
        kernel_width=1,
    )
    weights, activations = np.zeros((1, 1, 1, 128), np.int8), np.zeros((1, 1, 128), np.uint8)
    weights[..., [0, 1, 64]], activations[..., [0, 1, 64]] = [1, 2, 3], [5, 6, 7]
    one = np.ones(1, dtype=np.int64)
    how = Requantisation(0 * one, 2 * one, one, -128, 127, signed=True)
    operands = layer, weights, activations, how
    task = LayerTask(layer=layer, weights=weights)
    run = LayerRun(task=task, activations=activations, requantisation=how)
    [(codes, counters)] = run_layers(HARDWARE, MACHINES["wide"], [(run, SkipMode.BOTH)])
    assert codes.tolist() == [[[38]]]
    oracle = run_oracle(MACHINES["wide"], *operands)[1]
    assert counters.difference(oracle) == ""
    # The scalar level does not wait between them.
    latency = ExTensorConfig.LATENCY
    assert counters.unit("wait_memory_cycles") == 2 + latency.lists + 1 + 2 + latency.load


def test_latencies_are_the_blocks_sums():
    assert latencies() == ExTensorConfig.LATENCY


@pytest.mark.parametrize(("width", "count"), [(8, 150), (16, 50), (256, 10)])
def test_intersect_decides_like_two_pointers(width, count):
    """Matches and the cycle of each, back to back, with a pause now and then."""
    rng = np.random.default_rng(width)
    dut = Intersect(width)

    async def bench(ctx) -> None:
        for _ in range(count):
            density = rng.choice([0.03, 0.3, 0.7, 1.0], 2)
            lists = [np.flatnonzero(rng.random(width) < one).tolist() for one in density]
            wanted = Intersection(*lists)
            ctx.set(dut.load, 1)
            ctx.set(dut.enable, 0)
            ctx.set(dut.load_left, sum(1 << at for at in lists[0]))
            ctx.set(dut.load_right, sum(1 << at for at in lists[1]))
            await ctx.tick()
            ctx.set(dut.load, 0)
            while True:
                assert ctx.get(dut.used_up) == wanted.used_up
                if wanted.used_up:
                    break
                if rng.random() < 0.2:
                    ctx.set(dut.enable, 0)
                    await ctx.tick()
                    continue
                ctx.set(dut.enable, 1)
                match = wanted.decide()
                assert ctx.get(dut.match) == (match is not None)
                assert ctx.get(dut.last) == wanted.used_up
                if match is not None:
                    assert ctx.get(dut.hit) == 1 << lists[0][match[0]]
                    assert ctx.get(dut.below) == (1 << lists[0][match[0]]) - 1
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_verilator_has_no_complaint(tmp_path):
    executable = shutil.which("verilator") or str(Path(sys.executable).parent / "verilator")
    if not Path(executable).exists():
        pytest.skip("Verilator is not installed")
    text = verilog(HARDWARE.design(MACHINES["toy"]))
    path = tmp_path / "extensor_pe.v"
    path.write_text(text)
    command = [executable, "--lint-only", "-Wall", "--top-module", "extensor_pe", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_layer_of_too_many_tiles_is_refused():
    layer = LayerShape(
        name="fc6",
        in_channels=8 * 256 + 1,
        in_height=1,
        in_width=1,
        out_channels=1,
        kernel_height=1,
        kernel_width=1,
    )
    case = make_case("case", drawn_layers(1, 1)[0].config, layer)
    with pytest.raises(
        CapacityError, match="Layer fc6: the reduction axis must hold 257 tiles, it has 256: raise"
    ):
        make_programs(MACHINES["narrow"], case.run())
