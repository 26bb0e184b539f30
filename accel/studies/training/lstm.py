"""An LSTM pruned by magnitude: what its gate matrices gain, and from which zeros."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from accel.studies.study import Plot, Study, StudyTask
from golden.network import Network
from sw.training import masks
from sw.training.loop.objective import accuracy
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.networks.lstm import LSTM
from sw.training.unrolled import Unrolled

__all__ = ["LSTM_STUDY", "zero_shares"]

DENSITIES = (0.2, 0.1, 0.05)
#: Of the hidden state, tried on the network of this density without retraining.
THRESHOLDS = (0.02, 0.05, 0.1)
THRESHOLD_DENSITY = 0.1
ROUNDS = 3
EPOCHS = 2


@torch.no_grad()
def zero_shares(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the share of each layer's inputs that are zero, over images and runs.

    Parameters
    ----------
    images : Tensor, axes n, c, y, x
    """
    zeros: dict[str, list[float]] = {}

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        zeros.setdefault(name, []).append(float((inputs[0] == 0).float().mean()))

    handles = [
        layer.register_forward_pre_hook(partial(hook, name))
        for name, layer in masks.layers(model).items()
    ]
    try:
        model.eval()
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: sum(shares) / len(shares) for name, shares in zeros.items()}


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    images = torch.from_numpy(task.data.calibration)

    def also(network: Network | Unrolled) -> dict[str, float]:
        assert isinstance(network, Unrolled)
        codes = zero_shares(network.model, images)
        return {
            "accuracy_int8": accuracy(network.model, task.data.test),
            "zeros_x": codes["input_gates"],
            "zeros_h": codes["hidden_gates"],
        }

    def completed(model: nn.Module, row: dict[str, Any]) -> dict[str, Any]:
        return row | {
            "series": "hidden thresholds" if "|h|" in row["label"] else "densities",
            "zeros_h_float": zero_shares(model, images)["hidden_gates"],
        }

    rows = []
    for seed in task.seeds:
        dense = task.dense(LSTM, seed)
        rows.append(completed(dense, task.row(LSTM, dense, seed, "dense", also)))
        for density in DENSITIES:
            label = f"density {density}"
            method = Magnitude(density=density, rounds=ROUNDS)
            model, row = task.prune(LSTM, method, seed, label, epochs=EPOCHS, also=also)
            rows.append(completed(model, row))
            if density != THRESHOLD_DENSITY:
                continue
            for threshold in THRESHOLDS:
                model.hidden_threshold = threshold  # type: ignore[assignment]
                row = task.row(LSTM, model, seed, f"{label}, |h| > {threshold}", also)
                rows.append(completed(model, row))
    return rows


LSTM_STUDY = Study(
    name="lstm",
    question="An LSTM over the rows of an image: what do zeros of its gate matrices save?",
    rows=_rows,
    columns=(
        "accuracy",
        "accuracy_int8",
        "density",
        "zeros_x",
        "zeros_h",
        "zeros_h_float",
        "cycles",
        "speed_up_over_dense",
        "speed_up_over_static",
        "speed_up_over_dynamic",
    ),
    plots=(
        Plot(x="density", y="accuracy", series="series"),
        Plot(x="cycles", y="accuracy", series="series"),
    ),
    notes=(
        "zeros_x and zeros_h are of int8 codes, zeros_h_float before rounding: what that has "
        "without a threshold is the first step's h, which is 0. Cycles are of the matrices."
    ),
)
