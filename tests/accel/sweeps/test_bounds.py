"""Lower bounds: never above the cycles, and a front that is exact although not all is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import accel
from accel.machines.cluster.batch.bounds import bound_shared
from accel.machines.cluster.shared import SharedLayer
from accel.sweeps.api import open_study, sweep
from accel.sweeps.bounds import Bounded
from accel.sweeps.engine.evaluator import Evaluator
from golden.errors import CapacityError, UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.program import LayerTask
from tests.case import CONFIGURATIONS, make_case
from tests.conformance.test_batch import drawn_machines
from tests.oracle import run_layer

_SPACE = {
    "units": [4, 8, 16],
    "clusters": [1, 2, 3, 4],
    "chunk": [32, 128],
    "fifo_depth": [1, 2, 4, 8],
    "dealing": ["tiles", "interleaved"],
    "collector_width": "= min(units, 8)",
    "filter_buffer_chunks": 1 << 12,
    "filter_buffer_bytes": [64, 1 << 18],
    "input_buffer_chunks": 1 << 20,
    "input_buffer_bytes": 1 << 24,
}


@pytest.mark.parametrize("seed", range(12))
def test_bounds_are_no_more_than_the_oracle_counts(seed):
    rng = np.random.default_rng(seed)
    groups, kernel = int(rng.choice([1, 1, 2])), int(rng.integers(1, 4))
    pad = int(rng.integers(0, kernel))
    layer = LayerShape(
        name="drawn", in_channels=groups * int(rng.integers(1, 40)), in_height=3, in_width=4,
        out_channels=groups * int(rng.integers(1, 12)), kernel_height=min(kernel, 3),
        kernel_width=kernel, pad_top=pad, pad_left=pad, groups=groups,
    )  # fmt: skip
    case = make_case(
        f"drawn {seed}", CONFIGURATIONS["output-major"], layer,
        weight_density=float(rng.choice([0.1, 0.5, 1])),
        activation_density=float(rng.choice([0.05, 0.5, 1])), seed=seed,
    )  # fmt: skip
    mode = SkipMode(str(rng.choice(["both", "both", "static", "dynamic", "dense"])))
    task = LayerTask(layer=layer, weights=case.weights)
    output = np.ones((layer.out_height, layer.out_width, layer.out_channels), dtype=np.uint8)
    shared = SharedLayer(task, case.activations, output)
    machines = [*drawn_machines(rng, 6), *drawn_machines(rng, 6)]
    for config, bound in zip(machines, bound_shared(machines, shared, mode), strict=True):
        _, counters = run_layer(
            config, replace(case, config=config).workload(), shared.schedule(config), mode
        )
        assert isinstance(bound, int)
        # The end of a layer alone is 25 cycles: a bound says more.
        assert 25 < bound <= counters.cycles, config


def test_a_layer_that_does_not_fit_has_no_bound():
    layer = LayerShape(name="l", in_channels=64, in_height=2, in_width=2, out_channels=4,
                       kernel_height=1, kernel_width=1)  # fmt: skip
    ones = np.ones(layer.weights_shape, dtype=np.int8)
    shared = SharedLayer(
        LayerTask(layer=layer, weights=ones),
        np.ones((2, 2, 64), dtype=np.uint8), np.ones((2, 2, 4), dtype=np.uint8),
    )  # fmt: skip
    machine = accel.AcceleratorConfig.preset("small")
    queue, small = machine.replace(dealing="queue"), machine.replace(filter_buffer_bytes=1)
    unknown, error, known = bound_shared([queue, small, machine], shared, SkipMode.BOTH)
    assert unknown == 0
    assert isinstance(error, CapacityError)
    assert isinstance(known, int)
    assert known > 0


def test_the_front_is_the_same_and_half_of_the_points_are_counted(tmp_path, monkeypatch):
    objectives = ["cycles", "dsp"]
    whole = sweep("lenet5", _SPACE, objectives)
    counted = []
    evaluate = Evaluator.evaluate
    monkeypatch.setattr(Evaluator, "evaluate",
                        lambda self, points, tick=None: counted.extend(points)
                        or evaluate(self, points, tick))  # fmt: skip
    path = tmp_path / "sweep.sqlite"
    study = sweep("lenet5", _SPACE, objectives, store=path, bounds=True)
    assert [x.figures for x in study.sorted_front()] == [x.figures for x in whole.sorted_front()]
    statuses = [each.status for each in study.found]
    assert [x == "infeasible" for x in statuses] == [x.status == "infeasible" for x in whole.found]
    feasible = len(statuses) - statuses.count("infeasible")
    assert statuses.count("ok") == len(counted)
    assert 0 < len(counted) <= feasible / 2
    by_key = {each.rows[0].key: each for each in whole.found}
    for each in study.found:
        if each.status == "dominated":
            true = by_key[each.rows[0].key].figures
            assert sum(each.rows[0].figures["layer_cycles"].values()) <= true[0]
            assert str(sum(each.rows[0].figures["layer_cycles"].values())) in each.message
            other = by_key[each.message.rsplit(" ", 1)[1]].figures
            assert other[0] <= true[0]
            assert other[1] <= true[1]
    # The same again counts nothing; the rows say what was not counted.
    counted.clear()
    again = sweep("lenet5", _SPACE, objectives, store=path, bounds=True)
    assert [each.figures for each in again.found] == [each.figures for each in study.found]
    assert counted == []
    shown = open_study(path)
    assert sorted(each.status for each in shown.found) == sorted(statuses)
    # Without bounds, what was left out is counted.
    rest = sweep("lenet5", _SPACE, objectives, store=path)
    assert len(counted) == statuses.count("dominated")
    assert [each.figures for each in rest.found] == [each.figures for each in whole.found]


def test_several_networks_share_a_front():
    net = accel.load("lenet5")
    space = {**_SPACE, "filter_buffer_bytes": 1 << 18, "units": [4, 8]}
    options = {"objectives": ["images_per_second", "dsp"], "clock_mhz": 100, "images": 2}
    nets = {net: 2}
    whole, study = (sweep(nets, space, bounds=bounds, **options) for bounds in (False, True))
    assert [x.figures for x in study.sorted_front()] == [x.figures for x in whole.sorted_front()]
    assert "dominated" in {each.status for each in study.found}


def test_what_has_no_estimate_is_counted():
    bounded = Bounded(np.array([[1.0, np.nan], [2, 2], [3, 3]]))
    first = bounded.next_round()
    assert first == [0, 1, 2]
    bounded = Bounded(np.array([[float(n), 5.0] for n in range(100)]))
    first = bounded.next_round()
    assert first == list(range(16))
    bounded.tell(first, np.array([[20.0, 5.0]] * 15 + [[np.nan] * 2]))
    second = bounded.next_round()
    assert second == [16, 17, 18, 19]
    bounded.tell(second, np.array([[20.0, 5.0]] * 4))
    assert bounded.next_round() == []
    assert sorted(bounded.dominated_by) == list(range(20, 100))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objectives": ["cycles", "energy_pj"]}, "must follow from cycles and cells, not energy"),
        ({"search": "nsga2", "trials": 9}, "must be grid, random or latin, not 'nsga2'"),
    ],
)
def test_bounds_refuse_what_they_do_not_know(options, words):
    with pytest.raises(UserError, match=words):
        sweep("lenet5", _SPACE, bounds=True, **options)
