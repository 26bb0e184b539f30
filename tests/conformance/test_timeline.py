"""Timelines: the simulator's intervals against its counters, and against the hardware's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from accel.machines.cluster.program import prepare_layer, run_layer
from accel.machines.cluster.timeline import walk_layer
from tests.case import CATALOGUE, Case, cases


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
