"""The hardware against the reference operators (bits) and the tick oracle (every counter).

All cases of a machine run one after another in one build, so that builds stay few. The machines
are the catalogue's; beside its cases each one gets hypothesis-drawn ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from golden import reference
from golden.machines.cluster.config import SkipMode
from rtl.cluster.hardware import HARDWARE
from rtl.sim.run import SimulatorName, run_layers
from tests.case import CATALOGUE, HARDWARE_CONFIGURATIONS, Case, cases
from tests.oracle import run_layer as run_oracle

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

_DRAWN = 5
#: Most cycles of a case under the simulators that are not Verilator: two fifths of all cycles.
_SHORT_CYCLES = 2_000
#: Amaranth's simulator is slow to start: fewer machines, every skip mode, both buffers.
_AMARANTH = ("output-major", "segments-double-buffer", "clusters-interleaved")


@cache
def machine_cases(name: str) -> tuple[Case, ...]:
    """Return the catalogue's and some drawn cases of one machine."""
    config = HARDWARE_CONFIGURATIONS[name]
    result = [case for case in CATALOGUE if case.config.name == name]

    @seed(sorted(HARDWARE_CONFIGURATIONS).index(name))
    @settings(
        max_examples=_DRAWN,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(configs=[config], steps_max=120))
    def draw(case: Case) -> None:
        result.append(case)

    draw()
    return tuple(result)


def short_cases(name: str) -> tuple[Case, ...]:
    """Return the cases of one machine that a slow simulator runs."""
    chosen = machine_cases(name)
    return tuple(case for case in chosen if expected(case)[1].cycles <= _SHORT_CYCLES)


@cache
def expected(case: Case):
    """Return the right codes and counters."""
    codes = reference.convolve(case.weights, case.activations, case.layer, case.requantisation)
    return codes, run_oracle(case.config, case.workload(), case.schedule(), case.skip)[1]


def run(chosen: tuple[Case, ...], simulator: SimulatorName, stalls: int | None = None):
    runs = [(case.run(), case.skip) for case in chosen]
    return run_layers(HARDWARE, chosen[0].config, runs, simulator, stalls)


def check(chosen: tuple[Case, ...], simulator: SimulatorName) -> None:
    for case, (codes, counters) in zip(chosen, run(chosen, simulator), strict=True):
        wanted, oracle = expected(case)
        np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
        assert codes.dtype == wanted.dtype
        assert counters.difference(oracle) == "", f"hardware and oracle, {case!r}"


@pytest.mark.parametrize("name", HARDWARE_CONFIGURATIONS)
def test_verilator(name):
    check(machine_cases(name), "verilator")


@pytest.mark.parametrize("name", HARDWARE_CONFIGURATIONS)
def test_icarus(name):
    check(short_cases(name), "icarus")


@pytest.mark.parametrize("name", _AMARANTH)
def test_amaranth(name):
    check(short_cases(name), "amaranth")


def test_the_cases_are_many_and_cover_every_skip_mode():
    chosen = [case for name in HARDWARE_CONFIGURATIONS for case in machine_cases(name)]
    assert len(HARDWARE_CONFIGURATIONS) >= 6
    assert len({case.name for case in chosen}) >= 80
    assert {case.skip for case in chosen} == set(SkipMode)
    short = [case for name in HARDWARE_CONFIGURATIONS for case in short_cases(name)]
    assert len(short) >= 100
    for names in (HARDWARE_CONFIGURATIONS, _AMARANTH):
        assert {case.skip for name in names for case in short_cases(name)} == set(SkipMode)
    drawn = [case for case in chosen if case.name.startswith("drawn")]
    assert len(drawn) >= 40


@pytest.mark.parametrize(
    ("simulator", "name"),
    [
        ("verilator", "segments-double-buffer"),
        ("icarus", "two-filters"),
        ("amaranth", "segments"),
        ("icarus", "chunk-balance-segments"),
    ],
)
def test_stalls_change_no_bit(simulator, name):
    """Idle and back-pressure on every stream; that nothing extra comes out, the driver checks."""
    chosen = short_cases(name)[:4]
    lost = 0
    for number in range(2):
        for case, (codes, counters) in zip(
            chosen, run(chosen, simulator, stalls=77 + number), strict=True
        ):
            np.testing.assert_array_equal(codes, expected(case)[0], err_msg=case.name)
            for counter in ("pairs", "steps_delivered", "filter_beats", "outputs"):
                np.testing.assert_array_equal(
                    counters.cluster(counter), expected(case)[1].cluster(counter)
                )
            assert counters.cycles >= expected(case)[1].cycles
            lost += counters.cycles - expected(case)[1].cycles
            total = counters.units.sum(axis=2)
            np.testing.assert_array_equal(
                total, np.broadcast_to(counters.cluster("cycles")[:, None], total.shape)
            )
    assert lost > 0  # the stalls were felt
