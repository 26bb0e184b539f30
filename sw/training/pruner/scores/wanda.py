"""Small weights on weak inputs go, as many in every filter (Sun et al., ICLR 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

__all__ = ["Wanda"]


@dataclass(frozen=True)
class Wanda:
    """``|w| * ||x||``, compared within a filter (arXiv:2306.11695, section 3).

    The norm is that of the weight's input channel over all data since the last change. Where a
    layer's inputs are not seen, magnitudes alone are compared.
    """

    name: ClassVar[str] = "wanda"
    source: ClassVar[str] = "Sun et al., ICLR 2024"
    watches: ClassVar[str] = "inputs"
    spread: ClassVar[str] = "row"
    forgets: ClassVar[bool] = True
    regrows: ClassVar[bool] = False

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        return seen if memory is None else memory + seen

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        return values.abs() if memory is None else values.abs() * memory.sqrt()
