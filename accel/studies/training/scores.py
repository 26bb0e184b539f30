"""Scores of the pruner at equal density, in one loop (``sw.training.Pruner``)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from accel.studies.study import Plot, Study, StudyTask
from sw.training.networks import LENET_300_100
from sw.training.pruner.pruner import Pruner
from sw.training.pruner.scores import SCORES

__all__ = ["SCORES_STUDY"]

DENSITIES = (0.1, 0.02)
#: Of the loop, in which the density falls during the first three quarters (cubic schedule).
EPOCHS = 4


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    rows = []
    for seed in task.seeds:
        dense = task.dense(LENET_300_100, seed)
        rows.append(task.row(LENET_300_100, copy.deepcopy(dense), seed, "dense"))
        for density in DENSITIES:
            for score in SCORES:
                model = _prune(task, copy.deepcopy(dense), score, density, seed)
                rows.append(task.row(LENET_300_100, model, seed, f"{score} {density:g}"))
                rows[-1]["series"] = score
    return rows


def _prune(task: StudyTask, model: nn.Module, score: str, density: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    steps = task.epochs(EPOCHS) * len(task.data.train)
    rate = LENET_300_100.recipe.retrain_rate
    optimiser = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    example = torch.from_numpy(task.data.calibration[:2])
    pruner = Pruner(model, example, score, density=density, steps=steps)
    for _ in range(task.epochs(EPOCHS)):
        model.train()
        for inputs, labels in task.data.train:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
            schedule.step()
            pruner.step()
    return pruner.finish().model


SCORES_STUDY = Study(
    name="scores",
    question="Which score of a weight keeps the accuracy at equal density?",
    rows=_rows,
    columns=("accuracy", "density", "cycles"),
    plots=(Plot(x="density", y="accuracy", series="series"),),
    notes="One loop and one rate for all: a score may do better with a schedule of its own.",
)
