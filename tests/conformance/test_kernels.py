"""The simulator against the tick oracle: every counter of every unit, in every case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from numba.core.event import install_recorder

from accel.machines.cluster.kernels import run_clusters
from accel.machines.cluster.model import count_layer
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from tests.case import CATALOGUE, CONFIGURATIONS, Case, cases, make_case
from tests.latencies import OTHER_LATENCIES, with_latencies
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
def test_other_latencies(latencies):
    for case in CATALOGUE[1::2]:
        check(replace(case, config=with_latencies(case.config, **latencies)))


#: Machines as different as can be: units, chunk, filters and multipliers of a unit, clusters.
_SHAPES = (
    (1, 16, 1, 1, 1), (2, 32, 2, 1, 3), (15, 64, 1, 2, 2), (16, 256, 2, 2, 1), (17, 128, 1, 1, 2),
    (32, 128, 2, 1, 1), (33, 16, 2, 2, 1), (48, 64, 1, 1, 5), (64, 256, 1, 1, 1),
    (100, 32, 1, 2, 1), (128, 128, 2, 1, 2), (256, 64, 1, 1, 1),
)  # fmt: skip


def test_no_shape_of_a_machine_is_compiled_for():
    cases = []
    for index, (units, chunk, filters, multipliers, clusters) in enumerate(_SHAPES):
        config = CATALOGUE[0].config.replace(
            units=units, chunk=chunk, filters_per_unit=filters, lanes=multipliers,
            clusters=clusters,
        )  # fmt: skip
        layer = LayerShape(
            name="layer", in_channels=20, in_height=3, in_width=3, out_channels=2 * units + 1,
            kernel_height=2, kernel_width=2,
        )  # fmt: skip
        cases.append(make_case(f"shape-{index}", config, layer, skip=list(SkipMode)[index % 4]))
    check(cases[0])
    with install_recorder("numba:compile") as compiled:
        for case in cases:
            check(case)
    assert compiled.buffer == []
    assert len(run_clusters.signatures) == 1


@pytest.mark.slow
@settings(_DRAWN, max_examples=2000, derandomize=False)
@given(cases())
def test_new_machines_every_time(case):
    check(case)
