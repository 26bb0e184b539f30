"""Figures derived from counters, and the forms in which they are written."""

import csv
import io
import json

import numpy as np
import pytest

from accel.results import SCHEMA, SCHEMA_VERSION, LayerResult, ModeResult, NetworkResult
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

CONFIG = AcceleratorConfig.preset("toy").replace(clusters=2, units=2)
SHAPE = LayerShape(
    name="conv", in_channels=8, in_height=4, in_width=4, out_channels=5,
    kernel_height=1, kernel_width=1,
)  # fmt: skip


def mode(skip, cycles, pairs):
    """Return a result whose second cluster takes half as long."""
    clusters = np.zeros((2, len(CLUSTER_COUNTERS)), dtype=np.int64)
    clusters[:, 0] = cycles, cycles // 2
    clusters[0, 1:] = pairs, 40, 10, 30, 20, 17, 9
    units = np.zeros((2, 2, len(UNIT_COUNTERS)), dtype=np.int64)
    units[0, :, 0], units[0, :, 6] = pairs // 2, cycles - pairs // 2
    units[1, :, 6] = cycles // 2
    return ModeResult.from_counters(CONFIG, skip, LayerCounters(clusters, units), input_bytes=70)


@pytest.fixture
def result():
    modes = {
        SkipMode.DENSE: mode(SkipMode.DENSE, 400, 640),
        SkipMode.STATIC: mode(SkipMode.STATIC, 200, 320),
        SkipMode.BOTH: mode(SkipMode.BOTH, 100, 160),
    }
    layer = LayerResult(
        name="conv", shape=SHAPE, weight_density=0.25, activation_density=0.5,
        dense_macs=641, multipliers=4, modes=modes,
    )  # fmt: skip
    return NetworkResult(
        network="net", source="by hand", config=CONFIG, images=1, skips=tuple(modes),
        layers=(layer,), total=layer,
    )  # fmt: skip


def test_figures(result):
    layer = result.layers[0]
    assert layer.ideal_dense_cycles == 161
    assert layer.ideal_two_sided_cycles == 40
    assert layer.ideal_share(SkipMode.BOTH) == 0.4
    assert layer.ideal_share(SkipMode.STATIC) == 0.2
    assert layer.utilisation(SkipMode.DENSE) == 640 / 1600
    assert layer.speed_up(SkipMode.BOTH, SkipMode.DENSE) == 4
    assert layer.speed_up(SkipMode.BOTH, SkipMode.DYNAMIC) is None


def test_bytes(result):
    both = result.layers[0].modes[SkipMode.BOTH]
    assert both.input_bytes == 70
    assert both.filter_bytes == 20 * CONFIG.filter_bus_bytes
    assert both.broadcast_bytes == 30 * CONFIG.broadcast_width
    assert both.output_bytes == 9 + 3


def test_breakdown_adds_up_to_the_slowest_cluster(result):
    breakdown = result.layers[0].modes[SkipMode.BOTH].breakdown
    assert breakdown.total == 2 * 2 * 100
    assert breakdown.busy_cycles == 160
    assert sum(breakdown.shares().values()) == pytest.approx(1)


def test_sums(result):
    part = result.layers[0].modes[SkipMode.BOTH]
    double = ModeResult.sum([part, part])
    assert (double.cycles, double.pairs, double.output_bytes) == (200, 320, 24)
    assert double.breakdown.total == 800
    assert double.counters is None


def test_json_says_which_schema_and_machine(result):
    data = json.loads(result.to_json())
    assert (data["schema"], data["version"]) == (SCHEMA, SCHEMA_VERSION)
    assert AcceleratorConfig.from_dict(data["machine"]) == CONFIG
    assert data["source"] == "by hand"
    assert [row["skip"] for row in data["layers"]] == ["dense", "static", "both"]
    assert data["layers"][2]["speed_up_over_dense"] == 4
    assert data["layers"][2]["speed_up_over_dynamic"] is None


def test_csv_and_data_frame_hold_the_same_rows(result):
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    frame = result.to_dataframe()
    assert list(rows[0]) == list(frame.columns)
    assert [int(row["cycles"]) for row in rows] == frame["cycles"].tolist()
    assert len(rows) == 6
    assert rows[0]["speed_up_over_dynamic"] == ""


def test_every_key_is_documented(result):
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    shape = {"in_height", "in_width", "out_channels", "out_height", "out_width", "kernel_height",
             "kernel_width", "stride_height", "stride_width"}  # fmt: skip
    counters = set(UNIT_COUNTERS[1:-1])
    for key in set(result.rows()[0]) - shape - counters:
        assert f"`{key}`" in text, key
