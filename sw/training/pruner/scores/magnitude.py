"""Small weights go, each as a multiple of its layer's deviation (Han et al., NeurIPS 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sw.training.masks import deviation

__all__ = ["Magnitude"]


@dataclass(frozen=True)
class Magnitude:
    """``|w|`` over the standard deviation of the layer's weights that are not zero."""

    name: ClassVar[str] = "magnitude"
    source: ClassVar[str] = "Han et al., NeurIPS 2015"
    watches: ClassVar[str] = "nothing"
    spread: ClassVar[str] = "global"
    forgets: ClassVar[bool] = False
    regrows: ClassVar[bool] = False

    def watch(self, memory: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
        """Never called."""
        raise NotImplementedError

    def score(self, values: Tensor, memory: Tensor | None) -> Tensor:
        return values.abs() / deviation(values)
