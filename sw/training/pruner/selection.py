"""Which weights stay: those of the largest scores, one by one, in blocks, or N of each M."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golden.errors import UserError
from sw.blocks import Blocks, Size, parse_size
from sw.training.pruner.weights import Weight

__all__ = ["SPREADS", "Pattern", "parse_pattern", "select", "top"]

#: All layers ranked together; each layer the same share; each filter the same share.
SPREADS = ("global", "layer", "row")


@dataclass(frozen=True)
class Pattern:
    """What goes together.

    Parameters
    ----------
    block : tuple of int, optional
        Input channels, filters, columns, rows (``sw.blocks``).
    n, m : int
        ``n`` of each ``m`` consecutive input channels of a filter stay; 0 for no such rule. A
        last group of fewer channels keeps ``n`` too, or all that it has.
    """

    block: Size | None = None
    n: int = 0
    m: int = 0


def parse_pattern(pattern: str | None) -> Pattern:
    """Return a pattern: none, ``2:4``, a block as ``1,16,1,1``, or a grain's name.

    Raises
    ------
    UserError
        It is none of these.
    """
    if pattern is None:
        return Pattern()
    if match := re.fullmatch(r"(\d+):(\d+)", pattern):
        n, m = int(match[1]), int(match[2])
        if not 0 < n < m:
            raise UserError(f"Pattern N:M must have 0 < N < M, not {pattern}")
        return Pattern(n=n, m=m)
    return Pattern(block=parse_size(pattern))


def select(
    weights: list[Weight],
    scores: Mapping[str, Tensor],
    allowed: Mapping[str, Tensor],
    count: int,
    spread: str,
    pattern: Pattern,
) -> tuple[dict[str, Tensor], list[str]]:
    """Return True where weights stay, by name, and the tensors that would have been emptied.

    Of these the best unit of the pattern stays.

    Parameters
    ----------
    scores : mapping of str to Tensor
        Shaped as the weights, finite.
    allowed : mapping of str to Tensor of bool
        Only these may stay.
    count : int
        Weights that may stay, over all tensors. Fewer do where a share of a tensor holds more
        than is allowed there, or where blocks do not add up to it.
    spread : str
        One of ``SPREADS``; of no matter to N:M.
    """
    share = min(1.0, count / sum(weight.size for weight in weights))
    low = {
        weight.name: torch.where(allowed[weight.name], scores[weight.name].float(), float("-inf"))
        for weight in weights
    }
    if pattern.m:
        keep = max(pattern.n, math.ceil(pattern.m * share - 1e-9))
        kept = {w.name: _n_of_m(w, low[w.name], keep, pattern.m) for w in weights}
    elif pattern.block is not None:
        kept = _blocks(weights, low, allowed, count, share, spread, pattern.block)
    elif spread == "global":
        flat = top(torch.cat([low[weight.name].flatten() for weight in weights]), count)
        parts = flat.split([weight.size for weight in weights])
        kept = {w.name: p.reshape(w.parameter.shape) for w, p in zip(weights, parts, strict=True)}
    elif spread == "layer":
        kept = {w.name: top(low[w.name], _share(share, w.size)) for w in weights}
    else:
        kept = {w.name: _rows(w, low[w.name], share) for w in weights}
    emptied = []
    for weight in weights:
        name = weight.name
        kept[name] &= allowed[name]
        if not bool(kept[name].any()):
            emptied.append(name)
            kept[name] = _best(weight, low[name], pattern) & allowed[name]
    return kept, emptied


def top(scores: Tensor, count: int) -> Tensor:
    """Return True at the ``count`` largest scores, shaped as they; of equal ones the earlier."""
    size = scores.numel()
    if count >= size or count < 1:
        return torch.full_like(scores, count >= size, dtype=torch.bool)
    flat = scores.flatten()
    limit = flat.kthvalue(size - count + 1).values
    kept, equal = flat > limit, flat == limit
    kept |= equal & (equal.cumsum(0) <= count - kept.sum())
    return kept.reshape(scores.shape)


def _share(share: float, size: int) -> int:
    return max(1, round(share * size))


def _rows(weight: Weight, scores: Tensor, share: float) -> Tensor:
    rows = weight.to_krsc(scores)
    flat = rows.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)[:, : _share(share, flat.shape[1])]
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, True)
    return weight.from_krsc(kept.reshape(rows.shape))


def _n_of_m(weight: Weight, scores: Tensor, n: int, m: int) -> Tensor:
    rows = weight.to_krsc(scores)
    channels = rows.shape[3]
    padded = torch.nn.functional.pad(rows, (0, -channels % m), value=float("-inf"))
    groups = padded.unflatten(3, (-1, m))
    order = groups.argsort(dim=4, descending=True, stable=True)[..., :n]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(4, order, True)
    return weight.from_krsc(kept.flatten(3)[..., :channels])


def _blocks(
    weights: list[Weight],
    low: Mapping[str, Tensor],
    allowed: Mapping[str, Tensor],
    count: int,
    share: float,
    spread: str,
    size: Size,
) -> dict[str, Tensor]:
    """Select whole blocks: by the mean of their scores, until their weights are ``count``."""
    numbers, means, sizes = [], [], []
    for weight in weights:
        number = _block_numbers(weight, size)
        places = weight.to_krsc(allowed[weight.name])
        values = torch.where(places, weight.to_krsc(low[weight.name]), 0.0)
        of_block = torch.bincount(number.flatten())
        total = torch.zeros(len(of_block), device=number.device)
        total.index_add_(0, number.flatten(), values.flatten())
        stored = torch.zeros(len(of_block), dtype=torch.int64, device=number.device)
        stored.index_add_(0, number.flatten(), places.flatten().long())
        mean = torch.where(stored > 0, total / of_block, float("-inf"))
        numbers.append(number)
        means.append(mean)
        sizes.append(stored)
    if spread == "global":
        flat = _within(torch.cat(means), torch.cat(sizes), count)
        chosen = flat.split([len(each) for each in means])
    else:
        chosen = [
            _within(mean, stored, _share(share, weight.size))
            for weight, mean, stored in zip(weights, means, sizes, strict=True)
        ]
    return {
        weight.name: weight.from_krsc(blocks[number])
        for weight, number, blocks in zip(weights, numbers, chosen, strict=True)
    }


def _block_numbers(weight: Weight, size: Size) -> Tensor:
    """Return the number of each weight's block, axes k, r, s, c."""
    shape = weight.to_krsc(weight.parameter.detach()).shape
    blocks = Blocks(tuple(shape), size, weight.groups)
    counts = [len(first) for first in blocks.starts]
    numbers = blocks.expand(np.arange(math.prod(counts)).reshape(counts))
    return torch.from_numpy(numbers).to(weight.parameter.device)


def _within(scores: Tensor, sizes: Tensor, count: int) -> Tensor:
    """Return True at the largest scores while their sizes add up to at most ``count``."""
    order = scores.argsort(descending=True, stable=True)
    kept = torch.zeros_like(sizes, dtype=torch.bool)
    kept[order] = sizes[order].cumsum(0) <= count
    return kept


def _best(weight: Weight, scores: Tensor, pattern: Pattern) -> Tensor:
    """Return True at the one weight, or block, of the largest score."""
    if pattern.block is None:
        return top(scores, 1)
    number = _block_numbers(weight, pattern.block)
    flat = weight.to_krsc(scores)
    return weight.from_krsc(number == number.flatten()[flat.argmax()])
