"""When weights go, against the papers' formulas."""

from __future__ import annotations

import pytest

from golden.errors import UserError
from sw.training.pruner.schedule import Schedule


def path(schedule: Schedule, steps: int, first: float, final: float) -> dict[int, float]:
    found = {step: schedule.density(step, first, final) for step in range(1, steps + 1)}
    return {step: value for step, value in found.items() if value is not None}


def test_cubic_is_zhu_and_guptas() -> None:
    schedule = Schedule(kind="cubic", steps=1000, begin=0.1, end=0.9, every=100)
    found = path(schedule, 1000, 1.0, 0.2)
    # Sparsity s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3.
    expected = {t: 1 - (0.8 + (0 - 0.8) * (1 - (t - 100) / 800) ** 3) for t in range(100, 901, 100)}
    assert found == pytest.approx(expected)
    assert found[900] == 0.2


def test_cubic_ends_at_its_density_whatever_the_interval() -> None:
    found = path(Schedule(kind="cubic", steps=100, end=0.5, every=7), 100, 0.6, 0.1)
    assert max(found) == 50
    assert found[50] == 0.1
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_iterative_falls_by_equal_factors_each_followed_by_as_many_steps() -> None:
    found = path(Schedule(kind="iterative", steps=400, rounds=4), 400, 1.0, 0.0625)
    assert found == pytest.approx({1: 0.5, 101: 0.25, 201: 0.125, 301: 0.0625})


def test_one_shot_prunes_once() -> None:
    assert path(Schedule(kind="one-shot"), 20, 1.0, 0.1) == {1: 0.1}
    assert path(Schedule(kind="one-shot", steps=20, begin=0.5), 20, 1.0, 0.1) == {10: 0.1}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "linear", "steps": 5}, "one of cubic, one-shot, iterative, not 'linear'"),
        ({"kind": "cubic"}, "Steps of the training must be given for schedule cubic"),
        ({"steps": 0}, "integer of at least 1, not 0"),
        ({"steps": 2.5}, "integer of at least 1, not 2.5"),
        ({"steps": 9, "begin": 0.8}, "0 <= begin < end <= 1, not 0.8 and 0.75"),
        ({"steps": 9, "every": 0}, "at least 1, not 0"),
        ({"kind": "iterative", "steps": 3}, "at least one for each of 5 rounds, not 3"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Schedule(**values)  # type: ignore[arg-type]
