"""As many weights in every filter: units that work in step have equal work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from golden.errors import UserError
from golden.layer import IM2ROW_MAX_CHANNELS_SHARE
from sw.training import masks
from sw.training.cost import run_layers
from sw.training.methods.masking.magnitude import keep_largest, prune_in_rounds
from sw.training.methods.method import Task, check_density
from sw.training.pruner.weights import check_model

__all__ = ["Balance", "by_chunk", "by_filter", "chunk_numbers"]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Magnitude pruning with the same count in each filter, or in each chunk of each filter.

    The filters of a pass run on a cluster's units, which share each broadcast chunk of the
    input; a unit with fewer weights waits for the others (``docs/machine.md``).

    Parameters
    ----------
    density : float
        Share of each layer's weights that stay.
    per : str
        ``filter`` or ``chunk``. Chunks of one filter may keep different counts, those that
        magnitude would give them on average; the same chunk of all filters keeps one count.
    chunk : int
        Of the machine: positions under one mask.
    rounds : int
        Densities of the rounds fall by equal factors.
    """

    name: ClassVar[str] = "balance"
    removes: ClassVar[str] = "single weights, as many in every filter"
    source: ClassVar[str] = "this project"
    needs: ClassVar[str] = "-"

    density: float = 0.1
    per: str = "filter"
    chunk: int = 128
    rounds: int = 5

    def __post_init__(self) -> None:
        check_density(self.density)
        if self.per not in ("filter", "chunk"):
            raise UserError(f"Per must be filter or chunk, not {self.per!r}")
        for name, count in (("Chunk", self.chunk), ("Rounds", self.rounds)):
            if count < 1:
                raise UserError(f"{name} must be 1 at least, not {count}")

    def check(self, model: nn.Module, task: Task) -> None:
        """Refuse what no method can prune."""
        check_model(model)

    def prune(self, model: nn.Module, task: Task) -> nn.Module:
        """Prune and retrain ``rounds`` times; ``task.epochs`` epochs each time."""
        self.check(model, task)
        numbers = {
            run.name: chunk_numbers(_shape(run.layer, run.flattened), self.chunk)
            for run in run_layers(model, torch.zeros(task.input_shape))
        }
        return prune_in_rounds(model, task, self.rounds, partial(self._choose, numbers))

    def _choose(
        self, numbers: dict[str, Tensor], model: nn.Module, progress: float
    ) -> dict[str, Tensor]:
        share = self.density**progress
        kept = {}
        for name, layer in masks.layers(model).items():
            weights = masks.weight(layer)
            rows = weights.flatten(1)
            if self.per == "filter" or name not in numbers:
                chosen = by_filter(rows, share)
            else:
                chosen = by_chunk(rows, share, numbers[name])
            kept[name] = chosen.reshape(weights.shape)
        return kept


def by_filter(weights: Tensor, share: float) -> Tensor:
    """Return True at the ``round(share * size)`` largest of each row; at one at least.

    Parameters
    ----------
    weights : Tensor, axes filter, weight
    """
    return torch.stack([keep_largest(row.abs(), share) for row in weights])


def by_chunk(weights: Tensor, share: float, numbers: Tensor) -> Tensor:
    """Return True at the largest of each chunk of each row, as many in all rows.

    Chunk i keeps the mean over rows of what stays there when the matrix is ranked as a whole,
    rounded so that a row keeps about ``share``. Zeros are never chosen again.

    Parameters
    ----------
    weights : Tensor, axes filter, weight
    numbers : Tensor of int64, axis weight
        Which chunk each weight is in.
    """
    filters, size = weights.shape
    whole = keep_largest(weights.abs(), max(share, 1 / size)) & (weights != 0)
    ends = torch.bincount(numbers, whole.sum(0).double()).cumsum(0).round().long()
    # Sums are rounded, not counts, so that errors don't add up.
    ends = (2 * ends + filters) // (2 * filters)
    counts = torch.diff(ends, prepend=ends.new_zeros(1))
    kept = torch.zeros_like(weights, dtype=torch.bool)
    for number, count in enumerate(counts.tolist()):
        places = torch.nonzero(numbers == number).flatten()
        order = torch.sort(weights[:, places].abs(), dim=1, descending=True, stable=True).indices
        kept.scatter_(1, places[order[:, :count]], True)
    return kept


def chunk_numbers(shape: tuple[int, ...], chunk: int) -> Tensor:
    """Return which chunk of a filter each weight is in (``golden.layer.ChunkLayout``).

    Parameters
    ----------
    shape : tuple of int, axes c, r, s
        Of one filter.

    Returns
    -------
    Tensor of int64, axis weight
        In the order c, r, s, as PyTorch has them.
    """
    channels, rows, columns = shape
    taps = torch.arange(rows * columns).reshape(1, rows, columns)
    channel = torch.arange(channels).reshape(-1, 1, 1)
    if channels * IM2ROW_MAX_CHANNELS_SHARE <= chunk and rows * columns > 1:
        return ((taps * channels + channel) // chunk).flatten()
    return (taps * -(-channels // chunk) + channel // chunk).flatten()


def _shape(layer: nn.Module, flattened: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of one filter, axes c, r, s."""
    shape = tuple(masks.weight(layer).shape[1:])
    return shape if len(shape) == 3 else flattened or (*shape, 1, 1)
