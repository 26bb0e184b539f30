"""Cells of the front by synthesis, in the place of estimates."""

from __future__ import annotations

import pytest

import accel
from accel.costs.area import Cells
from accel.sweeps import synthesis
from accel.sweeps.api import open_study, sweep
from accel.sweeps.space.point import Point
from golden.errors import ConfigError, UserError
from golden.machines import registry
from rtl.synth import measure as measuring

_SPACE = {
    "units": [4, 8, 16],
    "clusters": [1, 2],
    "dealing": ["interleaved", "queue"],
    "filters_per_unit": 1,
    "collector_width": 4,
    "filter_buffer_chunks": 1 << 12,
    "filter_buffer_bytes": 1 << 18,
    "input_buffer_chunks": 1 << 20,
}


def test_a_front_is_synthesised_once_and_each_cluster_once(tmp_path, monkeypatch):
    path = tmp_path / "sweep.sqlite"
    before = sweep("lenet5", _SPACE, ["cycles", "lut4"], store=path)
    asked = []

    def measure(name, block, config, seeds):
        assert (name, list(seeds)) == ("cluster", [])
        asked.append(config)
        return measuring.Figures(name, 1000 * config.units, 7, 6, 5, 4, 3)

    monkeypatch.setattr(measuring, "measure", measure)
    after = synthesis.synthesise_front(path)
    front = {each.rows[0].key for each in before.front()}
    for each in after.found:
        config = each.point.config
        if each.rows[0].key in front:
            assert each.figures[1] == 1000 * config["units"] * config["clusters"]
            assert each.area_basis.startswith("synthesised at this size")
        else:
            assert each.area_basis.startswith("fitted to")
    # One cluster has the cells of two, halved; the queue is dealt in turn; buffers are cut.
    assert len(asked) == len({(x.units, x.chunk) for x in asked}) <= len(front)
    assert {(str(x.dealing), x.input_buffer_bytes) for x in asked} == {("interleaved", 1 << 15)}
    count = len(asked)
    while len(synthesis.synthesise_front(path).front()) and len(asked) > count:
        count = len(asked)
    shown = open_study(path)
    assert all("cells" in each.rows[0].figures for each in shown.front())
    # The sweep goes on with what was synthesised.
    again = sweep("lenet5", _SPACE, ["cycles", "lut4"], store=path)
    assert [x.figures for x in again.sorted_front()] == [x.figures for x in shown.sorted_front()]


def test_refusals(tmp_path):
    path = tmp_path / "sweep.sqlite"
    sweep("lenet5", {"units": 4, "collector_width": 4}, store=path)
    with pytest.raises(UserError, match="Objectives must have cells, such as lut4"):
        synthesis.synthesise_front(path)
    kind = registry.find("dense")
    point = Point.of(kind.load_config().preset("array-64"), "dense")
    with pytest.raises(ConfigError, match="Machine dense must have hardware to be synthesised"):
        synthesis.synthesise_point(point, {})


@pytest.mark.slow
def test_yosys_finds_what_the_table_has():
    config = accel.AcceleratorConfig.preset("small").replace(
        units=2, chunk=32, fifo_depth=8, filters_per_unit=2, broadcast_width=16,
        filter_bus_bytes=8, collector_width=4, filter_buffer_chunks=256, filter_buffer_bytes=4096,
        clusters=3,
    )  # fmt: skip
    known: dict[str, Cells] = {}
    cells = synthesis.synthesise_point(Point.of(config, "innerjoin"), known)
    # The table's row of this cluster (accel/costs/data/clusters.csv).
    assert (cells.lut4, cells.ff, cells.dp16kd, cells.mult18) == (3 * 7644, 3 * 8239, 3 * 44, 54)


def test_only_the_best_within_a_limit_is_synthesised(tmp_path, monkeypatch, accel):
    path = tmp_path / "sweep.sqlite"
    before = sweep("lenet5", _SPACE, ["cycles", "lut4"], store=path)
    tables = sorted(each.figures[1] for each in before.found)
    limit = tables[len(tables) // 2]
    within = [each for each in before.found if each.figures[1] <= limit]
    best = min(within, key=lambda each: (each.figures[0], each.figures[1]))
    asked = []

    def measure(name, block, config, seeds):
        asked.append(config.units)
        return measuring.Figures(name, 9, 7, 6, 5, 4, 3)

    monkeypatch.setattr(measuring, "measure", measure)
    status, out, _ = accel(
        "sweep", "show", str(path), "--at-most", f"luts={limit}", "--best", "1",
        "--synthesise-front",
    )  # fmt: skip
    assert status == 0
    assert asked == [best.point.config["units"]]
    assert "1 on the Pareto front" in out


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--at-most", "lut4"], "Limit must be NAME=VALUE with a number, not 'lut4'"),
        (["--at-most", "ff=3"], "Objective of a limit must be one of cycles, lut4, luts"),
        (["--best", "0"], "Best points must be at least 1, not 0"),
    ],
)
def test_bad_limits(tmp_path, accel, option, told):
    path = tmp_path / "sweep.sqlite"
    sweep("lenet5", _SPACE, ["cycles", "lut4"], store=path)
    status, out, error = accel("sweep", "show", str(path), *option)
    assert (status, out) == (2, "")
    assert error.count("\n") == 1
    assert told in error
