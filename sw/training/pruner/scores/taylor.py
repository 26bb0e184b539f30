"""What the loss would change by, to first order, squared (Molchanov et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Taylor"]


@dataclass(frozen=True)
class Taylor:
    """``(w dL/dw)^2`` of single weights (arXiv:1906.10771, equation 8), summed over batches.

    The paper adds it up over the weights of a filter; here filters are the pattern ``filter``.
    """

    name: ClassVar[str] = "taylor"
    source: ClassVar[str] = "Molchanov et al., CVPR 2019"
    watches: ClassVar[str] = "gradients"
    spread: ClassVar[str] = "global"
    forgets: ClassVar[bool] = True
    regrows: ClassVar[bool] = False

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        change = (values * seen).float().square()
        return change if memory is None else memory + change

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        return torch.zeros_like(values) if memory is None else memory
