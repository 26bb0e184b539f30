"""What the loss minds a connection's being cut (Lee et al., ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Snip"]


@dataclass(frozen=True)
class Snip:
    """``|w dL/dw|``, the loss being of all batches since the last change (arXiv:1810.02340).

    The paper prunes once, at the start of the training: ``schedule="one-shot"``. It divides by the
    sum over all weights, which changes no order.
    """

    name: ClassVar[str] = "snip"
    source: ClassVar[str] = "Lee et al., ICLR 2019"
    watches: ClassVar[str] = "gradients"
    spread: ClassVar[str] = "global"
    forgets: ClassVar[bool] = True
    regrows: ClassVar[bool] = False

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        change = (values * seen).float()
        return change if memory is None else memory + change

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        return torch.zeros_like(values) if memory is None else memory.abs()
