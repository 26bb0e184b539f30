"""Whether a very sparse network does better with a teacher (Hinton et al., 2015)."""

from __future__ import annotations

from typing import Any

from accel.studies.study import Plot, Study, StudyTask
from sw.training.loop.distillation import Distillation
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.networks.resnet import RESNET_8

__all__ = ["DISTILLATION"]

DENSITY = 0.05
EPOCHS = 2


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    rows = []
    method = Magnitude(density=DENSITY, rounds=3)
    for seed in task.seeds:
        rows.append(task.row(RESNET_8, task.dense(RESNET_8, seed), seed, "dense"))
        for label, teacher in (
            ("alone", None),
            ("taught by the dense one", Distillation(task.dense(RESNET_8, seed))),
        ):
            _, row = task.prune(
                RESNET_8, method, seed, f"{DENSITY:g} {label}", epochs=EPOCHS, teacher=teacher
            )
            rows.append(row)
    return rows


DISTILLATION = Study(
    name="distillation",
    question=f"Does a teacher help at {100 * DENSITY:g} % density?",
    rows=_rows,
    columns=("accuracy", "density", "cycles", "speed_up_over_dense"),
    plots=(Plot(x="density", y="accuracy", series="label"),),
    notes="Temperature 4, mixing 0.9; the teacher is the dense network of the same seed.",
)
