"""How sparse a network gets by magnitude pruning, and what it loses."""

from __future__ import annotations

from typing import Any

from accel.studies.study import Plot, Study, StudyTask
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.networks.vgg_small import VGG_SMALL

__all__ = ["SPARSITY"]

DENSITIES = (0.1,)
ROUNDS, EPOCHS = 4, 4


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    rows = []
    for seed in task.seeds:
        dense = task.row(VGG_SMALL, task.dense(VGG_SMALL, seed), seed, "dense")
        rows.append(dense | {"lost": 0.0})
        for density in DENSITIES:
            method = Magnitude(density=density, rounds=ROUNDS)
            label = f"magnitude {density:g}"
            _, row = task.prune(VGG_SMALL, method, seed, label, epochs=EPOCHS)
            rows.append(row | {"lost": dense["accuracy"] - row["accuracy"]})
    return rows


SPARSITY = Study(
    name="sparsity",
    question="How many weights can go before accuracy does?",
    rows=_rows,
    columns=(
        "accuracy",
        "lost",
        "density",
        "cycles",
        "speed_up_over_dense",
        "speed_up_over_static",
    ),
    plots=(Plot(x="density", y="accuracy", series="network"),),
    notes="Lost: accuracy of the dense network of the same seed, less that of the pruned one, "
    "which was trained for more epochs.",
)
