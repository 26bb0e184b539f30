"""Weights that training moves towards zero go (Sanh et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Movement"]


@dataclass(frozen=True)
class Movement:
    """``-sum w dL/dw`` over all steps (arXiv:2005.07683, equation 3; the learning rate left out).

    A weight that went keeps its value aside, its score goes on, and it may come back. The paper
    keeps the largest scores of each layer in its experiments: ``spread="layer"`` here.
    """

    name: ClassVar[str] = "movement"
    source: ClassVar[str] = "Sanh et al., NeurIPS 2020"
    watches: ClassVar[str] = "gradients"
    spread: ClassVar[str] = "layer"
    forgets: ClassVar[bool] = False
    regrows: ClassVar[bool] = True

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        change = -(values * seen).float()
        return change if memory is None else memory + change

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        return torch.zeros_like(values) if memory is None else memory
