"""The fit of a cluster's cells: on hand-made blocks, and on the clusters that were synthesised."""

from __future__ import annotations

import csv
from dataclasses import asdict
from importlib import resources

import numpy as np
import pytest

from accel.costs.area import Area, AreaTable
from accel.costs.fit import fit, fit_model
from accel.machines.cluster.area import area_model
from accel.machines.cluster.model import InnerJoin
from golden.machines.cluster.config import AcceleratorConfig
from rtl.synth.clusters import drawn

SMALL = AcceleratorConfig.preset("small").replace(
    input_buffer_chunks=256, input_buffer_bytes=1 << 15
)


def shipped() -> list[dict[str, str]]:
    path = resources.files("accel.costs") / "data" / "clusters.csv"
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def config_of(row: dict[str, str]) -> AcceleratorConfig:
    values = {name: int(row[name]) for name in row if hasattr(SMALL, name)}
    double = bool(values.pop("filter_double_buffer"))
    return SMALL.replace(**values, filter_double_buffer=double)


def area_of(config: AcceleratorConfig) -> Area:
    area = AreaTable.load().sized_area(InnerJoin(config))
    assert area is not None
    assert area.kind == "fit"
    return area


def cells_of(config: AcceleratorConfig) -> dict[str, int]:
    return asdict(area_of(config).cells)


def test_a_fit_finds_what_blocks_are_made_of():
    rng = np.random.default_rng(0)
    features = rng.integers(1, 50, size=(30, 3)).astype(np.float64)
    cells = features @ np.array([7.0, 0.0, 3.0])
    aside = np.arange(30) % 3 == 0
    found = fit(features, cells, aside)
    assert found.coefficients == pytest.approx([7, 0, 3], rel=0.01, abs=0.05)
    assert (found.blocks, found.aside) == (20, 10)
    assert found.worst < 0.01
    # What is kept aside is not fitted, and its error is that of the fit.
    cells[0] *= 2
    assert fit(features, cells, aside).coefficients == pytest.approx(found.coefficients)
    assert fit(features, cells, aside).worst == pytest.approx(0.5, abs=0.01)
    # No coefficient is negative, whatever the blocks say.
    assert (fit(features, 100 - features[:, 0], aside).coefficients >= 0).all()


def test_the_clusters_kept_aside_are_met():
    fits = fit_model("clusters", tuple(area_model(SMALL).features.items()))
    rows = shipped()
    aside = [row for row in rows if row["aside"] == "1"]
    assert len(aside) >= 4
    assert fits["lut4"].blocks == len(rows) - len(aside)
    for name, most in (("lut4", 0.25), ("ff", 0.2), ("dp16kd", 0.3)):
        errors = [abs(cells_of(config_of(row))[name] / int(row[name]) - 1) for row in aside]
        assert max(errors) == pytest.approx(fits[name].worst, abs=0.01)
        assert max(errors) < most
        assert np.median(errors) < most / 2
    note = area_of(SMALL).note
    assert f"lut4 {100 * fits['lut4'].median:.1f} ({100 * fits['lut4'].worst:.1f})" in note


def test_multipliers_are_exact():
    for row in shipped():
        assert cells_of(config_of(row))["mult18"] == int(row["mult18"])


def test_more_of_anything_takes_no_fewer_cells():
    base = cells_of(SMALL)
    for change in ({"units": 16}, {"chunk": 256}, {"filters_per_unit": 2}, {"fifo_depth": 8},
                   {"filter_bus_bytes": 32}, {"collector_width": 8},
                   {"clusters": 2}):  # fmt: skip
        cells = cells_of(SMALL.replace(**change))
        assert all(cells[name] >= base[name] for name in cells), change
    assert cells_of(SMALL.replace(clusters=3)) == {n: 3 * x for n, x in base.items()}
    # A chunk has fewer rows where the broadcast is wider, but the expander grows.
    assert cells_of(SMALL.replace(broadcast_width=32))["lut4"] > base["lut4"]
    assert cells_of(SMALL.replace(units=16))["lut4"] > 1.3 * base["lut4"]


def test_what_was_not_measured_has_no_estimate():
    for change in (
        {"lanes": 2},
        {"segment_chunks": 8},
        {"balance": "chunk", "filters_per_unit": 2},
    ):
        assert area_model(SMALL.replace(**change)) is None
    assert "queue" in area_of(SMALL.replace(dealing="queue")).note


def test_the_rows_are_those_that_the_command_measures():
    wanted = {config.replace(name="small") for config in drawn(96)}
    rows = shipped()
    # Three rows are of an earlier draw.
    assert sum(config_of(row) not in wanted for row in rows) <= 3
