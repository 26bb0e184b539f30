"""The simulator against the tick oracle: every counter of every unit, in every case."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from accel.machines.cluster.model import count_layer
from golden.machines.cluster.config import Latency
from tests.case import CATALOGUE, CONFIGURATIONS, Case, cases
from tests.conformance.test_oracle import OTHER_LATENCIES
from tests.oracle import run_layer

_DRAWN = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
    derandomize=True,
)


def check(case: Case) -> None:
    """Simulator against oracle."""
    workload, schedule = case.workload(), case.schedule()
    codes, expected = run_layer(case.config, workload, schedule, case.skip)
    found = count_layer(case.config, workload, schedule, case.skip, output=codes)
    difference = expected.difference(found)
    assert difference == "", f"oracle and kernels differ in {difference}, case {case!r}"


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_catalogue(case):
    check(case)


@settings(_DRAWN, max_examples=200)
@given(cases())
def test_any_machine(case):
    check(case)


@settings(_DRAWN, max_examples=60)
@given(cases(configs=CONFIGURATIONS.values()))
def test_small_machines(case):
    check(case)


@pytest.mark.parametrize("latencies", OTHER_LATENCIES.values(), ids=OTHER_LATENCIES)
def test_other_latencies(monkeypatch, latencies):
    for name, value in latencies.items():
        monkeypatch.setattr(Latency, name, value)
    for case in CATALOGUE[1::2]:
        check(case)


@pytest.mark.slow
@settings(_DRAWN, max_examples=2000, derandomize=False)
@given(cases())
def test_new_machines_every_time(case):
    check(case)
