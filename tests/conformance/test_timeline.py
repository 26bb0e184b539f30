"""Timelines: the simulator's intervals against its counters, and against the hardware's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from accel.machines.cluster.program import prepare_layer, run_layer
from accel.machines.cluster.timeline import walk_layer
from accel.machines.timeline import track_of_cycles
from tests.case import CATALOGUE, HARDWARE_CONFIGURATIONS, Case, cases


def tracks(case: Case):
    """Return the intervals of a case, and the kernel's counters."""
    workload, schedule = case.workload(), case.schedule()
    program = prepare_layer(
        case.config, case.layer, workload.weights, workload.activations.masks, schedule
    )
    return walk_layer(program, case.skip), run_layer(program, case.skip)


def check(case: Case) -> None:
    """Compare what intervals add up to with counters; intervals leave no gap."""
    found, counters = tracks(case)
    units = counters.units.reshape(-1, counters.units.shape[-1])
    cycles = np.repeat(counters.cluster("cycles"), case.config.units)
    for track, counts, end in zip(found, units, cycles, strict=True):
        assert track.counters().tolist() == counts.tolist(), track.name
        assert track.cycles == end
        assert np.all(np.diff(track.ends, prepend=0) > 0)
        assert np.all(track.states[1:] != track.states[:-1])


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_intervals_add_up_to_the_counters(case):
    check(case)


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(cases())
def test_intervals_of_any_machine_add_up(case):
    check(case)


# -- the hardware -----------------------------------------------------------------------------

#: Cycles of a case at most: Amaranth's simulator shows a few hundred a second.
_SHORT_CYCLES = 500


def hardware_cases(name: str) -> list[Case]:
    """Return a machine's short cases, or the shortest one."""
    of_machine = [case for case in CATALOGUE if case.config.name == name]
    cycles = {case: tracks(case)[1].cycles for case in of_machine}
    most = max(_SHORT_CYCLES, min(cycles.values()))
    return [case for case in of_machine if cycles[case] <= most]


def check_hardware(chosen: list[Case]) -> None:
    """Compare intervals of simulator and hardware, and the hardware's with its own counters."""
    pytest.importorskip("amaranth")
    from rtl.cluster.hardware import HARDWARE
    from rtl.sim.run import record_states

    assert chosen
    for case in chosen:
        counters, states = record_states(HARDWARE, case.config, case.run(), case.skip)
        expected = iter(tracks(case)[0])
        for of_cluster, units in zip(states, counters.units, strict=True):
            for unit, counts in enumerate(units.tolist()):
                track = next(expected)
                if of_cluster is None:
                    assert track.cycles == 0
                    continue
                found = track_of_cycles(track.name, of_cluster[unit])
                assert found.counters().tolist() == counts
                assert found.intervals == track.intervals, case.name


@pytest.mark.parametrize("name", ["segments-double-buffer", "clusters-interleaved"])
def test_hardware_has_the_same_intervals(name):
    check_hardware(hardware_cases(name)[:2])


@pytest.mark.slow
@pytest.mark.parametrize("name", HARDWARE_CONFIGURATIONS)
def test_every_machine_has_the_same_intervals(name):
    check_hardware(hardware_cases(name))
