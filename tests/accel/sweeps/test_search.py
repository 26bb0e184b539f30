"""Searches: what they propose, and the Pareto front."""

from __future__ import annotations

import numpy as np
import pytest

from accel.sweeps.results.objectives import find_objectives
from accel.sweeps.results.study import pareto_front
from accel.sweeps.search import SEARCHES, make_search
from accel.sweeps.space.space import Space
from golden.errors import UserError

_SPACE = Space(
    {
        "units": [8, 16, 32, 64],
        "fifo_depth": range(1, 9),
        "balance": ["none", "filter"],
        "constraints": "units * fifo_depth < 400",
    }
)
_OBJECTIVES = find_objectives(["cycles", "energy_pj"], None)


def run(name, trials, seed=0):
    """Run a search on figures that are known; return what it proposed."""
    search = make_search(name, _SPACE, trials, seed, _OBJECTIVES)
    proposed = []
    while points := search.ask():
        proposed += points
        # Deep FIFOs of many units can't be.
        search.tell(
            points,
            [
                None
                if x.config["units"] * x.config["fifo_depth"] > 300
                else [1000 / x.config["units"], x.config["units"] * x.config["fifo_depth"]]
                for x in points
            ],
        )
    return [point.canonical() for point in proposed]


@pytest.mark.parametrize("name", SEARCHES)
def test_points_are_allowed_different_and_the_same_again(name):
    if name in ("tpe", "nsga2"):
        pytest.importorskip("optuna")
    trials = None if name == "grid" else 40
    allowed = {point.canonical() for point in _SPACE.grid()}
    proposed = run(name, trials)
    assert len(proposed) == len(set(proposed)) == (len(allowed) if name == "grid" else 40)
    assert set(proposed) <= allowed
    assert run(name, trials) == proposed
    if name not in ("grid", "tpe"):
        assert run(name, trials, seed=1) != proposed


@pytest.mark.parametrize("name", ["random", "latin", "nsga2"])
def test_a_search_ends_where_the_space_does(name):
    if name == "nsga2":
        pytest.importorskip("optuna")
    count = len(list(_SPACE.grid()))
    for trials in (63, 1000):
        proposed = run(name, trials)
        assert len(set(proposed)) == len(proposed) <= count
        assert len(proposed) >= 0.8 * count


def test_a_latin_hypercube_covers_every_axis_evenly():
    space = Space({"units": [8, 16, 32, 64], "fifo_depth": range(1, 9), "clusters": range(1, 17)})
    points = make_search("latin", space, 16, 3, _OBJECTIVES).ask()
    assert len(points) == 16
    for axis, each in (("units", 4), ("fifo_depth", 2), ("clusters", 1)):
        values = [point.config[axis] for point in points]
        assert {values.count(value) for value in values} == {each}


def test_tpe_finds_better_points_than_chance():
    pytest.importorskip("optuna")
    space = Space({"units": range(1, 65), "fifo_depth": range(1, 17), "clusters": range(1, 65)})
    search = make_search("tpe", space, 64, 0, find_objectives(["cycles"], None))
    costs = []
    while points := search.ask():
        found = [abs(x.config["units"] - 40) + abs(x.config["clusters"] - 20) for x in points]
        costs += found
        search.tell(points, [[cost] for cost in found])
    assert np.mean(costs[-32:]) < 0.6 * np.mean(costs[:32])


@pytest.mark.parametrize(
    ("name", "trials", "words"),
    [
        ("best", 1, "Search must be one of grid, random, latin, tpe, nsga2, not 'best'"),
        ("random", 0, "Trials must be at least 1, not 0"),
        ("random", None, "Search 'random' must be given its trials"),
        ("grid", 3, "Trials of search 'grid' must be at least 60, the points of the space, not 3"),
    ],
)
def test_refusals(name, trials, words):
    with pytest.raises(UserError, match=words):
        make_search(name, _SPACE, trials, 0, _OBJECTIVES)


def test_a_space_that_contradicts_itself_is_refused():
    space = Space({"units": [8, 16], "constraints": "units > 16"})
    for name in ("grid", "random", "latin"):
        with pytest.raises(UserError, match="at least one point that meets its constraints"):
            make_search(name, space, 5, 0, _OBJECTIVES)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "Objectives must be at least 1"),
        (["cycles", "cycles"], "each once"),
        (["speed"], "Objective must be one of cycles, .* not 'speed'"),
        (["images_per_second"], "must have a clock in MHz above 0"),
    ],
)
def test_bad_objectives(names, words):
    with pytest.raises(UserError, match=words):
        find_objectives(names, None)


def test_the_front_is_what_nobody_dominates():
    rng = np.random.default_rng(0)
    for axes in (1, 2, 3):
        figures = rng.integers(0, 6, (60, axes)).astype(float)
        front = set(pareto_front(figures))
        for index, mine in enumerate(figures):
            better = [
                other for other, theirs in enumerate(figures)
                if (theirs <= mine).all() and ((theirs < mine).any() or other < index)
            ]  # fmt: skip
            assert (index in front) == (not better)
