"""What is said while a phase is trained."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("torch")

from sw.training.loop import progress


def test_the_time_left_is_of_the_steps_and_not_of_what_comes_before_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    said = progress.Progress("dense", done=100, total=400)
    now += 900  # features are computed, shapes compiled
    said.say(101, 2.5)
    assert caplog.messages == []
    for step in range(102, 162):
        now += 1
        said.say(step, 2.0)
    assert caplog.messages == [
        "dense: step 102 of 400, loss 2.0000, 5 min left",
        "dense: step 122 of 400, loss 2.0000, 5 min left",
        "dense: step 142 of 400, loss 2.0000, 4 min left",
    ]
