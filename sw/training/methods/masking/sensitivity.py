"""How much each layer minds being pruned alone (Han et al., NeurIPS 2015, section 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training import masks
from sw.training.loop.objective import Batches, pair
from sw.training.methods.masking.magnitude import keep_largest

__all__ = ["Score", "first", "scan", "score"]

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy, in nats, and share of right answers."""

    loss: float
    accuracy: float


def first(batches: Batches, images: int) -> list[tuple[Tensor, Tensor]]:
    """Return the first ``images`` inputs and labels, or all where there are fewer.

    Raises
    ------
    UserError
        There is none.
    """
    found: list[tuple[Tensor, Tensor]] = []
    left = images
    for inputs, labels in map(pair, batches):
        if left < 1:
            break
        found.append((inputs[:left], labels[:left]))
        left -= len(labels)
    if not found:
        raise UserError("Data to measure layers with must not be empty")
    return found


@torch.no_grad()
def score(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Return loss and accuracy; the model is left in eval."""
    model.eval()
    count = sum(len(labels) for _, labels in batches)
    loss = hits = 0.0
    for inputs, labels in batches:
        outputs = model(inputs)
        loss += float(nn.functional.cross_entropy(outputs, labels, reduction="sum"))
        hits += int((outputs.argmax(1) == labels).sum())
    return Score(loss / count, hits / count)


def scan(
    model: nn.Module, densities: Sequence[float], measure: Callable[[nn.Module, str], Measured]
) -> dict[str, list[Measured]]:
    """Prune each layer alone, by magnitude and without retraining, and measure what comes of it.

    Parameters
    ----------
    densities : sequence of float
        Shares of the layer's weights that stay.
    measure : function
        Of the model, which is a copy, and the name of the layer that is pruned in it.

    Returns
    -------
    dict of str to list
        By layer, what was measured at each density.
    """
    pruned = copy.deepcopy(model)
    found: dict[str, list[Measured]] = {}
    for name, layer in masks.layers(pruned).items():
        values = masks.weight(layer).clone()
        before = masks.masks(pruned).get(name, torch.ones_like(values, dtype=torch.bool)).clone()
        found[name] = []
        for density in densities:
            masks.mask(pruned, {name: before & keep_largest(values.abs(), density)})
            found[name].append(measure(pruned, name))
        masks.mask(pruned, {name: before})
    return found
