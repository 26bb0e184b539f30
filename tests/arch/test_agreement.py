"""The simulators of Cambricon-S and ExTensor against the tick oracles: every counter.

Both are written from the same page by different hands; the hardware is held to the oracles too.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from accel.machines.cambricon_s.model import count_layer
from accel.machines.extensor.model import count_layer as count_extensor
from tests.arch.cambricon_s_cases import CATALOGUE, CONFIGURATIONS, cases
from tests.arch.cambricon_s_oracle import run_layer as run_cambricon_s
from tests.arch.extensor_cases import CATALOGUE as EXTENSOR_CATALOGUE
from tests.arch.extensor_cases import MACHINES, drawn_layers
from tests.arch.extensor_oracle import run_layer as run_extensor


def check_cambricon_s(case) -> None:
    operands = case.layer, case.weights, case.activations
    expected = run_cambricon_s(case.config, *operands, case.requantisation)[1]
    assert count_layer(case.config, *operands).difference(expected) == "", case.name


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_cambricon_s_catalogue(case):
    check_cambricon_s(case)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_cambricon_s_drawn(name):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cases(CONFIGURATIONS[name]))
    def check(case):
        check_cambricon_s(case)

    check()


@pytest.mark.parametrize("name", MACHINES)
def test_extensor(name):
    config = MACHINES[name]
    for case in EXTENSOR_CATALOGUE + drawn_layers(1000 + sorted(MACHINES).index(name), 40):
        operands = case.layer, case.weights, case.activations
        expected = run_extensor(config, *operands, case.requantisation)[1]
        assert count_extensor(config, *operands).difference(expected) == "", case.name
