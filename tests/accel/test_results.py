"""Figures derived from counters, and the forms in which they are written."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from accel import api
from accel.costs.energy import EnergyTable
from accel.machines.machine import Access, DramTraffic, LayerCounts
from accel.results import SCHEMA, SCHEMA_VERSION, LayerResult, MachineResult, Run, Timing, csv_text
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode

DOCS = Path(__file__).parents[2] / "docs"
SHAPE = LayerShape(
    name="conv", in_channels=8, in_height=4, in_width=4, out_channels=5,
    kernel_height=1, kernel_width=1,
)  # fmt: skip


def timing(cycles: int, pairs: int, *, keep: bool = False, **details: int) -> Timing:
    """Return a result of four units, two of which are idle."""
    units = np.zeros((4, len(UNIT_COUNTERS)), dtype=np.int64)
    units[:2, 0], units[:2, 6] = pairs // 2, cycles - pairs // 2
    units[2:, 6] = cycles
    counts = LayerCounts(
        cycles=cycles,
        pairs=pairs,
        stray_pairs=3,
        units=units,
        additions=pairs - 1,
        accesses=(Access(buffer="values", capacity_bytes=1024, bits=8 * pairs),),
        dram=DramTraffic(input_bytes=70, weight_bytes=80, output_bytes=12),
        details=details,
        counters=LayerCounters(
            np.zeros((1, len(CLUSTER_COUNTERS)), dtype=np.int64), units.reshape(1, 4, -1)
        ),
    )
    return Timing.of(counts, EnergyTable.load("45nm"), keep_counters=keep)


def machine(name: str, timings: dict[SkipMode, Timing]) -> MachineResult:
    """Return a machine of four multipliers that ran one layer."""
    layer = LayerResult(
        name="conv", shape=SHAPE, weight_density=0.25, activation_density=0.5,
        dense_macs=641, effectual_pairs=160, multipliers=4, units=4, timings=timings,
    )  # fmt: skip
    return MachineResult(
        name=name, machine="innerjoin", size="4 units", configuration={"name": name},
        layers=(layer,),
    )  # fmt: skip


def make_run(*machines: MachineResult) -> Run:
    return Run(
        network="net", source="by hand", images=1, technology_node="45nm",
        energy_sources=("a table",), machines=machines,
    )  # fmt: skip


def three_modes(**options) -> MachineResult:
    return machine(
        "mine",
        {
            SkipMode.DENSE: timing(400, 640, **options),
            SkipMode.STATIC: timing(200, 320, **options),
            SkipMode.BOTH: timing(100, 160, **options),
        },
    )


@pytest.fixture
def run() -> Run:
    return make_run(three_modes())


def test_figures(run):
    layer = run.layers[0]
    assert layer.ideal_dense_cycles == 161
    assert layer.ideal_two_sided_cycles == 40
    assert layer.ideal_share(SkipMode.BOTH) == 0.4
    assert layer.ideal_share(SkipMode.STATIC) == 0.2
    assert layer.own_ideal_share(SkipMode.DENSE) == 640 / 1600
    assert layer.utilisation(SkipMode.DENSE) == 643 / 1600
    assert layer.speed_up(SkipMode.BOTH, SkipMode.DENSE) == 4
    assert layer.speed_up(SkipMode.BOTH, SkipMode.DYNAMIC) is None
    assert (layer.mode, layer.cycles) == (SkipMode.BOTH, 100)


def test_unit_cycles_add_up_to_the_slowest_part(run):
    both = run.layers[0].timings[SkipMode.BOTH]
    assert sum(both.unit_cycles.values()) == 4 * 100
    assert both.unit_cycles["busy_cycles"] == 160
    assert both.shares()["busy_cycles"] == 0.4
    assert sum(both.shares().values()) == pytest.approx(1)


def test_sums():
    double = Timing.sum([timing(100, 160, mine=2, both=3), timing(100, 160, both=4)])
    assert (double.cycles, double.pairs, double.additions) == (200, 320, 318)
    assert double.dram == DramTraffic(input_bytes=140, weight_bytes=160, output_bytes=24)
    assert double.energy.total_pj == 2 * timing(100, 160).energy.total_pj
    assert sum(double.unit_cycles.values()) == 800
    assert double.details == {"both": 7}
    assert double.counters == ()
    kept = [timing(100, 160, keep=True)] * 2
    assert len(Timing.sum(kept, keep_counters=True).counters) == 2
    assert Timing.sum(kept).counters == ()


def test_equal_runs_are_equal_and_any_other_figure_differs(run):
    assert make_run(three_modes()) == run
    # Kept counters are shown, not compared: a run that kept them is the same run.
    assert make_run(three_modes(keep=True)) == run
    assert make_run(machine("mine", {SkipMode.BOTH: timing(100, 160)})) != run
    for changes in ({"images": 2}, {"source": "elsewhere"}, {"technology_node": "7nm"}):
        assert dataclasses.replace(run, **changes) != run
    for name in ("cycles", "pairs", "stray_pairs", "additions"):
        one = machine("mine", {SkipMode.BOTH: timing(100, 160)})
        changed = dataclasses.replace(timing(100, 160), **{name: 7})
        assert make_run(machine("mine", {SkipMode.BOTH: changed})) != make_run(one), name


def test_a_run_again_is_equal_in_value_and_in_text():
    first, second = (api.simulate("lenet5", "toy", keep_counters=True) for _ in range(2))
    assert first == second
    assert first.to_json() == second.to_json()
    assert str(first) == str(second)


def test_json_says_which_schema_and_machine(run):
    data = json.loads(run.to_json())
    assert (data["schema"], data["version"]) == (SCHEMA, SCHEMA_VERSION) == ("innerjoin.run", 2)
    (mine,) = data["machines"]
    assert (mine["name"], mine["machine"], mine["size"]) == ("mine", "innerjoin", "4 units")
    assert (mine["multipliers"], mine["units"]) == (4, 4)
    assert data["source"] == "by hand"
    assert [row["skip"] for row in mine["layers"]] == ["dense", "static", "both"]
    assert [row["layer"] for row in mine["total"]] == ["total"] * 3
    assert mine["layers"][2]["speed_up_over_dense"] == 4
    assert mine["layers"][2]["speed_up_over_dynamic"] is None
    assert "counters" not in mine


def test_rows_of_machines_with_other_details_have_the_same_columns():
    run = make_run(
        machine("a", {SkipMode.DENSE: timing(400, 640, tiles=9)}),
        machine("b", {SkipMode.BOTH: timing(100, 160, steps=5)}),
    )
    rows = run.rows()
    assert [row["machine"] for row in rows] == ["a", "a", "b", "b"]
    assert [(row["tiles"], row["steps"]) for row in rows] == [(9, None)] * 2 + [(None, 5)] * 2
    # The dense machine is what speed-ups are over.
    assert [row["speed_up"] for row in rows] == [1, 1, 4, 4]
    assert run["b"].total.cycles == 100
    with pytest.raises(KeyError):
        run["c"]


def test_a_row_may_lack_what_another_has():
    assert csv_text([{"a": 1}, {"b": None, "a": 2}, {"b": 3}]) == "a,b\n1,\n2,\n,3\n"
    assert csv_text([]) == "\n"


def test_csv_and_data_frame_hold_the_same_rows(run):
    rows = list(csv.DictReader(io.StringIO(run.to_csv())))
    frame = run.to_dataframe()
    assert list(rows[0]) == ["network", "source", "technology_node", *frame.columns]
    assert [int(row["cycles"]) for row in rows] == frame["cycles"].tolist()
    assert len(rows) == 6
    assert rows[0]["speed_up_over_dynamic"] == ""


def test_every_key_is_documented(run):
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    shape = {"in_height", "in_width", "out_channels", "out_height", "out_width", "kernel_height",
             "kernel_width", "stride_height", "stride_width"}  # fmt: skip
    counters = set(UNIT_COUNTERS[1:-1])
    rows = [*run.rows(), *api.compare("lenet5", multipliers=16).rows()]
    for key in {key for row in rows for key in row} - shape - counters:
        assert f"`{key}`" in text, key


# -- the published schema ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((DOCS / "run.schema.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda: api.simulate("lenet5", "toy", keep_counters=True, images=2),
        lambda: api.simulate("lenet5", "scnn"),
        lambda: api.simulate("resnet8", "extensor:toy", keep_counters=True, technology_node="7nm"),
        lambda: api.compare("lenet5", multipliers=16),
    ],
    ids=["all modes", "one mode", "counters", "all machines"],
)
def test_what_is_written_is_as_published(validator, make):
    validator.validate(json.loads(make().to_json()))


def document() -> dict:
    return json.loads(make_run(three_modes(keep=True)).to_json())


def test_the_schema_accepts_the_smallest_run(validator):
    validator.validate(document())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("source"),
        lambda data: data.update(version=1),
        lambda data: data.update(more=1),
        lambda data: data.update(machines=[]),
        lambda data: data["machines"][0].pop("configuration"),
        lambda data: data["machines"][0]["layers"][0].pop("cycles"),
        lambda data: data["machines"][0]["layers"][0].update(cycles=-1),
        lambda data: data["machines"][0]["layers"][0].update(cycles=1.5),
        lambda data: data["machines"][0]["layers"][0].update(skip="some"),
        lambda data: data["machines"][0]["layers"][0].update(weight_density=1.5),
        lambda data: data["machines"][0]["layers"][0].update(detail="many"),
        lambda data: data["machines"][0]["counters"][0]["tables"][0].pop("names"),
    ],
)
def test_the_schema_refuses_what_is_not_a_run(validator, spoil):
    spoiled = document()
    spoil(spoiled)
    assert not validator.is_valid(spoiled)
