"""Sweeps: exact at every point, kept whatever happens, and the same again."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import accel
from accel.machines.cluster.model import InnerJoin
from accel.results import Timing
from accel.sweeps.api import evaluate, sweep
from accel.sweeps.engine.evaluator import Evaluator
from accel.sweeps.results.store import Store
from accel.sweeps.space.pruning import prune_network
from accel.sweeps.space.space import Space
from golden.errors import ConfigError, UserError
from golden.machines.cluster.config import SkipMode

#: Fits all of LeNet-5.
_ROOM = {
    "filter_buffer_chunks": 1 << 12,
    "filter_buffer_bytes": 1 << 18,
    "input_buffer_chunks": 1 << 20,
    "input_buffer_bytes": 1 << 24,
}
_SPACE = {
    "units": [4, 8],
    "clusters": [1, 3],
    "chunk": [32, 128],
    "fifo_depth": [1, 4],
    "dealing": ["tiles", "interleaved"],
    "balance": ["filter", "expected"],
    "collector_width": "= units",
    **_ROOM,
}


@pytest.fixture(scope="module")
def net():
    return accel.load("lenet5")


def expected(net, point, mode) -> Timing:
    """Return what ``simulate`` counts."""
    run = accel.simulate(net, point.load(), modes=[mode])
    return run.machines[0].total.timings[mode]


def as_plain(timing: Timing) -> dict:
    """Return the figures of a timing as JSON has them."""
    return json.loads(
        json.dumps(
            {
                "cycles": timing.cycles,
                "pairs": timing.pairs,
                "stray_pairs": timing.stray_pairs,
                "additions": timing.additions,
                "unit_cycles": dict(timing.unit_cycles),
                "dram": vars(timing.dram),
                "energy": vars(timing.energy),
                "details": dict(timing.details),
            }
        )
    )


def test_every_point_is_what_simulate_counts(net):
    space = [
        _SPACE,
        {"machine": "sparten", "units": [4], "clusters": [2], "collector_width": 4, **_ROOM},
        {"units": 8, "clusters": [2, 3], "dealing": "queue", "collector_width": 8, **_ROOM},
        {"machine": "scnn", "preset": "toy", "weight_density": [0.3, 1.0]},
        {
            "units": 4,
            "clusters": 1,
            "collector_width": 4,
            "weight_density": 0.3,
            "weight_pattern": ["kernel", "vector"],
            **_ROOM,
        },
        {"machine": "dense", "preset": "array-64"},
    ]
    study = sweep(net, space, modes=None, images=1)
    assert {each.status for each in study.found} == {"ok"}
    assert len(study) == 64 + 1 + 2 + 2 + 2 + 1
    drawn = random.Random(0).sample(study.found[:64], 24) + list(study.found[64:])
    for each in drawn:
        (row,) = each.rows
        density, pattern = each.point.weight_density, each.point.weight_pattern
        on = net
        if density is not None:
            on = replace(net, network=prune_network(net.network, density, pattern))
        machine = each.point.load()
        assert list(row.figures["modes"]) == [mode.value for mode in machine.modes]
        for mode in machine.modes:
            timing = expected(on, each.point, mode)
            assert row.figures["modes"][mode.value] == as_plain(timing)
        assert each.figures == [expected(on, each.point, machine.modes[-1]).cycles]
        assert sum(row.figures["layer_cycles"].values()) == each.figures[0]


def test_several_images_and_networks_are_sums(net):
    other = replace(net, network=replace(net.network, name="other"))
    space = {"units": [4, 8], "clusters": 1, "collector_width": 4, **_ROOM}
    one = sweep(net, space, ["cycles", "energy_pj", "dram_bytes"], images=2)
    both = sweep(
        {net: 1, other: 3}, space, ["cycles", "dram_bytes", "images_per_second"], images=2,
        clock_mhz=50,
    )  # fmt: skip
    for alone, weighted in zip(one.found, both.found, strict=True):
        run = accel.simulate(net, alone.point.load(), modes=["both"], images=2)
        timing = run.machines[0].total.timings[SkipMode.BOTH]
        assert alone.figures == [
            timing.cycles, pytest.approx(timing.energy.total_pj, rel=1e-12), timing.dram.total_bytes
        ]  # fmt: skip
        assert weighted.figures == [
            4 * timing.cycles, 4 * timing.dram.total_bytes,
            pytest.approx(50e6 / (timing.cycles / 2), rel=1e-12),
        ]  # fmt: skip
        assert [row.network for row in weighted.rows] == ["lenet5", "other"]


def test_what_can_not_be_is_data(net):
    space = {"units": [4, 8], "fifo_depth": [2, 99], "filter_buffer_bytes": [64, 1 << 18],
             "clusters": 1, "collector_width": 4}  # fmt: skip
    study = sweep(net, space, ["cycles", "lut4"])
    table = study.to_dataframe()
    assert table["status"].tolist() == ["infeasible", "ok", "infeasible", "infeasible"] * 2
    assert "needs" in table["message"][0]
    assert "filter_buffer_bytes" in table["message"][0]
    assert "fifo_depth must be between 1 and 16, not 99" in table["message"][2]
    # Cells are fitted, and the row says how good the fit is.
    assert "kept aside differ by % in the median" in table["area"][1]
    assert table["area"][0] == ""
    assert table["lut4"][5] > table["lut4"][1] > 1000
    assert len(study.front()) == 2
    assert "8 points (2 ok, 6 infeasible, 0 failed) for cycles, lut4" in repr(study)


def test_a_sweep_goes_on_where_it_was_stopped(net, tmp_path, monkeypatch):
    path = tmp_path / "sweep.sqlite"
    whole = sweep(net, _SPACE, ["cycles", "energy_pj"])
    counted = []
    evaluate_points = Evaluator.evaluate

    def count(self, points, tick=None):
        counted.extend(points)
        if len(counted) > 40:
            raise KeyboardInterrupt
        return evaluate_points(self, points, tick)

    monkeypatch.setattr("accel.sweeps.engine.local.BLOCK_POINTS_MAX", 16)
    monkeypatch.setattr(Evaluator, "evaluate", count)
    with pytest.raises(KeyboardInterrupt):
        sweep(net, _SPACE, ["cycles", "energy_pj"], store=path)
    with Store(path, write=False) as store:
        assert len(store.rows()) == 32
    monkeypatch.setattr(Evaluator, "evaluate", evaluate_points)
    seen = []
    again = sweep(net, _SPACE, ["cycles", "energy_pj"], store=path, progress=seen.append)
    assert [each.figures for each in again.found] == [each.figures for each in whole.found]
    assert seen[0].kept_before == 32
    assert seen[-1].share == 1
    # Nothing is counted when all is known, and other objectives need no new points.
    monkeypatch.setattr(Evaluator, "evaluate", lambda *_: pytest.fail("counted again"))
    third = sweep(net, _SPACE, ["dram_bytes"], store=path)
    assert len(third) == 64
    with Store(path, write=False) as store:
        assert len(store.rows()) == 64
        assert [each["objectives"] for each in store.sweeps()] == [
            ["cycles", "energy_pj"], ["dram_bytes"]
        ]  # fmt: skip


def test_a_search_is_replayed_from_the_store(net, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    path = tmp_path / "sweep.sqlite"
    options = {"objectives": ["cycles", "energy_pj"], "search": "nsga2", "seed": 4}
    first = sweep(net, _SPACE, trials=40, store=path, **options)
    monkeypatch.setattr(Evaluator, "evaluate", lambda *_: pytest.fail("counted again"))
    again = sweep(net, _SPACE, trials=40, store=path, **options)
    assert [x.point for x in again.found] == [x.point for x in first.found]
    assert len(first) == 40


def test_a_point_that_fails_takes_no_other_with_it(net, tmp_path, monkeypatch):
    path = tmp_path / "sweep.sqlite"
    count_machines = InnerJoin.count_machines.__func__

    def count(cls, machines, *rest):
        if any(machine.config.units == 8 for machine in machines):
            raise RuntimeError("out of luck")
        return count_machines(cls, machines, *rest)

    space = {"units": [4, 8], "clusters": [1, 2], "collector_width": 4, **_ROOM}
    with monkeypatch.context() as patch:
        patch.setattr(InnerJoin, "count_machines", classmethod(count))
        study = sweep(net, space, store=path)
    assert [each.status for each in study.found] == ["ok", "ok", "failed", "failed"]
    assert study.found[2].message == "RuntimeError: out of luck"
    # What has failed is tried again.
    again = sweep(net, space, store=path)
    assert [each.status for each in again.found] == ["ok"] * 4


def test_tables_and_files(net, tmp_path):
    study = sweep(net, _SPACE, ["energy_pj", "cycles"])
    front = study.pareto()
    assert front["energy_pj"].is_monotonic_increasing
    assert front["cycles"].is_monotonic_decreasing
    table = study.to_dataframe()
    assert len(table) == 64
    dominated = table.merge(front[["energy_pj", "cycles"]], how="cross", suffixes=("", "_front"))
    is_reached = (dominated["energy_pj_front"] <= dominated["energy_pj"]) & (
        dominated["cycles_front"] <= dominated["cycles"]
    )
    assert dominated[is_reached].groupby(list(_SPACE)[:6]).ngroups == 64
    study.export(tmp_path / "points.csv")
    assert pd.read_csv(tmp_path / "points.csv")["cycles"].tolist() == table["cycles"].tolist()
    with pytest.raises(UserError, match=r"must end in .csv, .parquet, .log, not 'points.xls'"):
        study.export(tmp_path / "points.xls")
    with pytest.raises(UserError, match="can't be written"):
        study.export(tmp_path / "no" / "points.csv")
    pytest.importorskip("pyarrow")
    study.export(tmp_path / "points.parquet")
    read = pd.read_parquet(tmp_path / "points.parquet")
    assert np.array_equal(read["energy_pj"], table["energy_pj"])
    assert len(list(tmp_path.iterdir())) == 2


def test_an_optuna_journal_has_every_point(net, tmp_path):
    optuna = pytest.importorskip("optuna")
    from optuna.storages.journal import JournalFileBackend

    space = {
        "units": [4, 8],
        "fifo_depth": [2, 4, 99],
        "collector_width": 4,
        "clusters": 1,
        **_ROOM,
    }
    study = sweep(net, space | _ROOM, ["cycles", "images_per_second"], clock_mhz=50)
    study.export(tmp_path / "points.log")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "points.log")))
    read = optuna.load_study(study_name="sweep", storage=storage)
    assert [each.name for each in read.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert read.user_attrs["objectives"] == ["cycles", "images_per_second"]
    assert len(read.trials) == 6
    for trial, found in zip(read.trials, study.found, strict=True):
        assert trial.params == {k: found.point.config[k] for k in ("units", "fifo_depth")}
        assert trial.values == found.figures
        assert trial.user_attrs["status"] == found.status
    best = {tuple(trial.values) for trial in read.best_trials}
    assert best == {tuple(each.figures) for each in study.front()}
    assert [path.name for path in tmp_path.iterdir()] == ["points.log"]


def test_one_machine_in_a_loop_of_ones_own(net):
    config = accel.AcceleratorConfig.preset("small").replace(**_ROOM)
    run = accel.simulate(net, config)
    assert evaluate(config, net) == run.machines[0].total.timings[SkipMode.BOTH]
    dense = evaluate(config.to_dict(), net, mode="dense")
    assert dense == run.machines[0].total.timings[SkipMode.DENSE]
    with pytest.raises(ConfigError, match="fifo_depth must be between"):
        evaluate({"fifo_depth": 0}, net)
    with pytest.raises(ConfigError, match="filter_buffer_bytes"):
        evaluate({"filter_buffer_bytes": 1}, net)
    with pytest.raises(ConfigError, match="Unknown key unit"):
        evaluate({"unit": 3}, net)
    with pytest.raises(UserError, match=r"Skip mode must be one of dense, .* not 'fast'"):
        evaluate({}, net, mode="fast")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": 0}, "Images must be at least 1, not 0"),
        ({"modes": ["fast"]}, "Skip mode must be one of dense"),
        ({"technology_node": "1nm"}, "Technology node must be one of"),
        ({"trials": 0}, "Trials must be at least 1, not 0"),
        ({"net": {}}, "Networks must be at least 1"),
        ({"net": {"lenet5": 0}}, "Weight of a network must be a number above 0, not 0"),
        ({"net": "lenet"}, "Network must be one of"),
    ],
)
def test_refusals(net, options, words):
    with pytest.raises(UserError, match=words):
        sweep(**({"net": net, "space": Space({"units": 4})} | options))
