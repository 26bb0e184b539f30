"""Are slimmed channels worth more than narrow layers, and are their weights worth keeping?"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from torch import nn

from accel.studies.study import Plot, Study, StudyTask
from sw.training.methods import make
from sw.training.networks.definition import Definition
from sw.training.networks.resnet import RESNET_8

__all__ = ["STRUCTURED"]

#: Epochs of dense training and of training from scratch; of each step of a method.
DENSE_EPOCHS = 5
EPOCHS = 2

#: Methods, their options, and epochs of each of their steps.
ENTRIES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("slimming", {"channels": 0.6, "penalty": 0.01}, EPOCHS),
    ("uniform", {"channels": 0.7}, DENSE_EPOCHS),
    ("uniform", {"channels": 0.5}, DENSE_EPOCHS),
    ("uniform", {"channels": 0.3}, DENSE_EPOCHS),
    ("meta", {"budget": 0.5, "net_epochs": 4, "generations": 4, "population": 12}, DENSE_EPOCHS),
    ("tas", {"budget": 0.5, "search_epochs": 3}, DENSE_EPOCHS),
)
#: Of the entries, those whose shapes are trained again from fresh weights alone, and how.
AFRESH = {"slimming": ("scratch-e", "scratch-b"), "tas": ("scratch-e",)}


def rows(study: StudyTask) -> list[dict[str, Any]]:
    """Return the dense network, then each entry's."""
    recipe = dataclasses.replace(RESNET_8.recipe, epochs=study.epochs(DENSE_EPOCHS))
    definition = dataclasses.replace(RESNET_8, recipe=recipe)
    found = []
    for seed in study.seeds:
        dense = study.dense(definition, seed, DENSE_EPOCHS)
        found.append({**study.row(definition, dense, seed, "dense"), "method": "dense"})
        for name, options, epochs in ENTRIES:
            found += _entry(study, definition, dense, seed, name, options, epochs)
    return found


def _entry(
    study: StudyTask,
    definition: Definition,
    dense: nn.Module,
    seed: int,
    name: str,
    options: dict[str, Any],
    epochs: int,
) -> list[dict[str, Any]]:
    label = f"{name}-{next(iter(options.values()))}"
    model, row = study.prune(
        definition, make(name, options), seed, label, epochs=epochs, model=copy.deepcopy(dense)
    )
    found = [{**row, "method": name}]
    for again in AFRESH.get(name, ()):
        _, row = study.prune(
            definition,
            make(again, {"finder": "given"}),
            seed,
            f"{again}-of-{label}",
            epochs=EPOCHS,
            model=copy.deepcopy(model),
        )
        found.append({**row, "method": again})
    return found


STRUCTURED = Study(
    name="structured",
    question="ResNet-8 with fewer channels: what are found shapes, and found weights, worth?",
    rows=rows,
    columns=("accuracy", "macs", "nonzero_weights", "cycles", "speed_up_over_dense"),
    plots=(
        Plot(x="macs", y="accuracy", series="method"),
        Plot(x="cycles", y="accuracy", series="method"),
    ),
    notes=(
        "scratch-e and scratch-b train the shapes found from fresh weights, for the dense "
        "network's epochs and for its MACs (at most twice the epochs); tas does so with the dense "
        "network as its teacher. Slimming starts from the "
        "trained dense network; the papers train 160 epochs on CIFAR, with the penalty from the "
        "start (recalled)."
    ),
)
