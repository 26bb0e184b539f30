"""Which layers mind pruning (Han et al., NeurIPS 2015, section 3: layers pruned one by one)."""

from __future__ import annotations

from typing import Any

from accel.studies.study import Plot, Study, StudyTask
from sw.training.methods.masking.sensitivity import Score, first, scan, score
from sw.training.networks.lenet import LENET_5
from sw.training.networks.resnet import RESNET_8

__all__ = ["SENSITIVITY"]

DENSITIES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
#: Validation images; the standard error of an accuracy of 90 % is 0.7 points.
IMAGES = 2000
NETWORKS = (LENET_5, RESNET_8)


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    data = first(task.data.validation, IMAGES)

    def measure(model: Any, name: str) -> tuple[Score, float]:
        return score(model, data), (task.layer_cost(model)[name] if task.layer_cost else 0.0)

    rows = []
    for definition in NETWORKS:
        for seed in task.seeds:
            found = scan(task.dense(definition, seed), DENSITIES, measure)
            rows += [
                {
                    "network": definition.name,
                    "label": f"{layer} {density:g}",
                    "seed": seed,
                    "layer": f"{definition.name} {layer}",
                    "density": density,
                    "accuracy": of.accuracy,
                    "loss": of.loss,
                    "cycles": cycles,
                }
                for layer, measured in found.items()
                for density, (of, cycles) in zip(DENSITIES, measured, strict=True)
            ]
    return rows


SENSITIVITY = Study(
    name="sensitivity",
    question="How does accuracy fall when one layer alone is pruned, without retraining?",
    rows=_rows,
    columns=("accuracy", "loss", "cycles"),
    plots=(
        Plot(x="density", y="accuracy", series="layer"),
        Plot(x="density", y="cycles", series="layer"),
    ),
    notes=f"Accuracy and loss on {IMAGES} validation images; cycles of that layer alone.",
)
