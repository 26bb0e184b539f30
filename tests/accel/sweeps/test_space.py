"""Spaces: what they hold, and what they refuse."""

from __future__ import annotations

import pytest

from accel.sweeps.space.axes import log2
from accel.sweeps.space.expressions import Expression
from accel.sweeps.space.pruning import prune_network
from accel.sweeps.space.space import Space
from golden.errors import ConfigError, UserError
from golden.machines.cluster.config import Balance
from sw.networks import zoo


def test_a_grid_has_every_value_with_every_other():
    space = Space({"units": log2(8, 32), "fifo_depth": range(1, 3), "balance": Balance.FILTER})
    points = list(space.grid())
    assert [(x.config["units"], x.config["fifo_depth"]) for x in points] == [
        (8, 1), (8, 2), (16, 1), (16, 2), (32, 1), (32, 2)
    ]  # fmt: skip
    assert {x.config["balance"] for x in points} == {"filter"}
    # All other fields are the machine's own preset's.
    assert {(x.machine, x.config["clusters"], x.config["chunk"]) for x in points} == {
        ("innerjoin", 32, 128)
    }


def test_derived_keys_and_constraints_are_expressions():
    space = Space(
        {
            "units": [8, 16, 32],
            "clusters": [1, 2, 4],
            "input_buffer_bytes": "= collector_width * 1024",
            "collector_width": "= units / 2",
            "constraints": ["units * clusters <= 32", "not (units == 8 and clusters == 1)"],
        }
    )
    found = {(x.config["units"], x.config["clusters"]) for x in space.grid()}
    assert found == {(8, 2), (8, 4), (16, 1), (16, 2), (32, 1)}
    for point in space.grid():
        assert point.config["collector_width"] == point.config["units"] // 2
        assert point.config["input_buffer_bytes"] == point.config["collector_width"] * 1024
        assert type(point.load().config.collector_width) is int


def test_a_file_says_what_a_dict_says(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        """
        [[space]]
        machine = ["innerjoin", "sparten"]
        units = { log2 = [8, 16] }
        fifo_depth = { range = [1, 5, 2] }
        [[space]]
        machine = "scnn"
        preset = "toy"
        weight_density = [0.1, 1.0]
        """
    )
    space = Space.from_toml(path)
    points = list(space.grid())
    assert len(points) == space.size == 2 * 2 * 3 + 2
    assert [x.config["fifo_depth"] for x in points[:3]] == [1, 3, 5]
    assert [x.machine for x in points].count("sparten") == 6
    assert [x.weight_density for x in points[-2:]] == [0.1, 1.0]
    assert points[-1].load().config.to_dict()["name"] == "scnn"


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"width": [1]}, "Key of a space must be one of clusters, units, .*, not 'width'"),
        ({"name": ["x"]}, "not 'name'"),
        ({"units": []}, "Axis units must have at least 1 value .* not none"),
        ({"units": range(1, 200_000)}, "at most 100000, not 100001"),
        ({"units": [None]}, "Value of axis units must be a number, a text or a bool, not None"),
        ({"units": {"log2": [3, 8]}}, "Lower end of log2 must be a power of two, not 3"),
        ({"units": {"log2": [8, 4]}}, "Upper end of log2 must be at least 8, not 4"),
        ({"units": {"steps": [1, 2]}}, "Axis units must be a value, a list"),
        ({"units": {"range": [1, 9, 0]}}, "Axis units must be a value, a list"),
        ({"units": "= unit"}, "Expression 'unit' must name fields of a machine, not unit"),
        ({"units": "= clusters", "clusters": "= units"}, "clusters, units must not depend"),
        ({"constraints": "units <"}, "must be in Python's syntax, not 'units <'"),
        ({"constraints": "__import__('os')"}, "must be arithmetic and comparisons"),
        ({"constraints": "units.real > 1"}, "must be arithmetic and comparisons"),
        ({"constraints": "units ** 99999 > 1"}, "must be arithmetic and comparisons"),
        ({"constraints": [1]}, "Constraints of a space must be expressions in a list"),
        ({"machine": "outerjoin"}, "Machine must be one of"),
        ({"machine": ["innerjoin", "scnn"]}, "must have the same fields; give several spaces"),
        ({"preset": "huge"}, "Preset must be one of"),
        (
            {"weight_density": 0.5, "weight_pattern": "row"},
            "axis weight_pattern must be one of ele",
        ),
        ({"weight_pattern": "kernel"}, "Axis weight_pattern must come with weight_density"),
        ({"weight_density": [0.0]}, "weight_density must be above 0 and at most 1, not 0.0"),
        ([], "Space must have at least one part, not none"),
    ],
)
def test_refusals(described, words):
    with pytest.raises((UserError, ConfigError), match=words):
        Space(described)


@pytest.mark.parametrize(
    ("text", "words"),
    [("units = ", "must be TOML"), ("wdith = 1\n", "not 'wdith'"), (None, "can't be read")],
)
def test_bad_files(tmp_path, text, words):
    path = tmp_path / "space.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        Space.from_toml(path)


def test_an_expression_without_a_value_is_told():
    with pytest.raises(UserError, match="'units / 0' must have a value: division by zero"):
        Expression("units / 0").value({"units": 1})
    with pytest.raises(UserError, match="arithmetic is for numbers"):
        Expression("balance * 9").value({"balance": "none"})


def test_a_pruned_network_keeps_its_largest_weights():
    network = zoo.load("lenet5")
    pruned = prune_network(network, 0.05)
    for before, after in zip(network.convolutions, pruned.convolutions, strict=True):
        kept = after.weights != 0
        assert kept.sum() <= max(1, 0.05 * before.weights.size)
        assert (after.weights[kept] == before.weights[kept]).all()
        rest = before.weights[~kept].astype(int)
        assert abs(after.weights[kept].astype(int)).min() >= abs(rest).max()
    assert prune_network(network, 1.0).convolutions[0].weights.tolist() == \
        network.convolutions[0].weights.tolist()  # fmt: skip
