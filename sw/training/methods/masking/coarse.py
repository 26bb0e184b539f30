"""Whole blocks of weights go: one index for each is enough (Zhou et al., MICRO'18).

The grains of Mao et al., arXiv:1705.08922, single weights to filters, are blocks by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden.errors import UserError
from sw.blocks import Blocks, Size, check_score, parse_size
from sw.training import masks
from sw.training.methods.masking.magnitude import keep_by_layer, prune_in_rounds
from sw.training.methods.method import Task, check_density
from sw.training.pruner.weights import check_model

__all__ = ["Coarse", "blocks_of", "weights_krsc"]


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """Prune blocks in rounds, each followed by retraining with the masks on.

    A last layer whose blocks are whole filters is left alone, unless ``densities`` names it:
    its filters are the classes.

    Parameters
    ----------
    density : float
        Share of blocks that stay. Where the last block along an axis is short, the share of
        weights is another.
    densities : mapping of str to float
        Shares by layer, in place of ``density`` for these.
    block : str or sequence of int
        Input channels, filters, columns, rows of a block, as four integers or ``"1,16,1,1"``; or
        a grain: ``fine`` (single weights), ``vector`` (rows of kernels), ``kernel``, ``filter``.
        Of fully connected layers the first two count: inputs and outputs.
    by : str
        ``average`` or ``max`` of a block's magnitudes, or their ``sum``, the L1 norm of Mao et al.
    spread : str
        ``uniform`` gives each layer the same share of its blocks; ``global`` ranks all layers'
        together, each score as a multiple of its layer's standard deviation.
    rounds : int
        Densities of the rounds fall by equal factors.
    """

    name: ClassVar[str] = "coarse"
    removes: ClassVar[str] = "blocks: vectors, kernels, filters, any"
    source: ClassVar[str] = "Mao et al., 2017; Zhou et al., MICRO 2018"
    needs: ClassVar[str] = "-"

    density: float = 0.2
    densities: Mapping[str, float] | None = None
    block: str | Sequence[int] = "1,16,1,1"
    by: str = "average"
    spread: str = "uniform"
    rounds: int = 3

    def __post_init__(self) -> None:
        check_density(self.density)
        for layer, value in (self.densities or {}).items():
            check_density(value, f"Density of layer {layer}")
        parse_size(self.block)  # refuses
        check_score(self.by)
        if self.spread not in ("global", "uniform"):
            raise UserError(f"Spread must be global or uniform, not {self.spread!r}")
        if self.rounds < 1:
            raise UserError(f"Rounds must be 1 at least, not {self.rounds}")

    @property
    def size(self) -> Size:
        """Input channels, filters, columns, rows of a block."""
        return parse_size(self.block)

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse what no method can prune, and names of layers that there are not."""
        check_model(model)
        masks.check_names(model, self.densities or {})

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Prune and retrain ``rounds`` times; ``task.epochs`` epochs each time."""
        self.check(model, task)
        return prune_in_rounds(model, task, self.rounds, self._choose)

    def _choose(self, model: nn.Module, progress: float) -> dict[str, Tensor]:
        layers = masks.layers(model)
        cut = {name: blocks_of(layer, self.size) for name, layer in layers.items()}
        scores = {}
        for name, layer in layers.items():
            score = cut[name].score(weights_krsc(layer), self.by)
            scores[name] = torch.from_numpy(score / masks.deviation(masks.weight(layer)))
        densities = dict(self.densities or {})
        last = next(reversed(layers))
        if all(len(first) == 1 for first in cut[last].starts[1:]):
            densities.setdefault(last, 1.0)
        kept = keep_by_layer(scores, self.density, densities, self.spread, progress)
        return {
            name: _as_weight(cut[name].expand(each.numpy()), layers[name])
            for name, each in kept.items()
        }


def blocks_of(layer: nn.Module, size: Size) -> Blocks:
    """Return how a ``Conv2d`` or ``Linear`` is cut."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return Blocks(weights_krsc(layer).shape, size, groups)


def weights_krsc(layer: nn.Module) -> NDArray[np.float32]:
    """Return the weights of a ``Conv2d`` or ``Linear``, axes k, r, s, c."""
    weights = masks.weight(layer).numpy()
    return weights[:, None, None] if weights.ndim == 2 else weights.transpose(0, 2, 3, 1)


def _as_weight(mask: NDArray[np.bool_], layer: nn.Module) -> Tensor:
    """Return a mask of axes k, r, s, c with the layer's own axes."""
    own = mask[:, 0, 0] if isinstance(layer, nn.Linear) else mask.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(own))
