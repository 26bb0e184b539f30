"""Any module as a network of many widths: its channels, group by group, that can go."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from golden.errors import UserError
from sw.training import masks
from sw.training.methods.narrowing.fresh import redraw
from sw.training.networks.definition import Definition, Recipe
from sw.training.search import channels

__all__ = ["narrowable"]


def narrowable(
    model: nn.Module,
    input_shape: tuple[int, ...],
    recipe: Recipe,
    name: str | None = None,
    *,
    normalised: bool = False,
) -> Definition:
    """Return a definition whose widths are the channels of a module that can be removed.

    Layers that must agree, by residual additions for example, are one width
    (``sw.training.search.channels``). A narrower network has the first channels of each, and fresh
    weights.

    Parameters
    ----------
    model : nn.Module
        At full size; it is left as it is, but for eval.
    input_shape : tuple of int, axes c, y, x (or c)
    normalised : bool
        Only channels right behind whose layers a batch normalisation lies.

    Raises
    ------
    UserError
        It has masks, can't be traced, has no channels that can go, or a module that can't be
        drawn anew.
    """
    pattern = copy.deepcopy(model)
    groups = [g for g in channels.find(pattern, input_shape) if g.norms or not normalised]
    if not groups:
        raise UserError(
            f"Model {type(model).__name__} must have channels that can be removed, and has none"
        )
    layers = masks.layers(pattern)
    full = tuple(masks.weight(layers[group.name]).shape[0] for group in groups)
    redraw(copy.deepcopy(pattern))  # refuses

    def make(widths: Sequence[int] = full) -> nn.Module:
        if len(widths) != len(full) or not all(
            1 <= width <= most for width, most in zip(widths, full, strict=True)
        ):
            raise UserError(f"Widths must be from 1 to {full}, not {tuple(widths)}")
        with torch.device("cpu"):
            made = copy.deepcopy(pattern)
            kept = {
                group.name: torch.arange(most) < width
                for group, width, most in zip(groups, widths, full, strict=True)
            }
            channels.remove(made, input_shape, kept)
            redraw(made)
        return made.train()

    return Definition(
        name=name or type(model).__name__,
        summary="a module whose channels can be removed",
        make=make,
        recipe=recipe,
        input_shape=input_shape,  # type: ignore[arg-type]
        widths=full,
    )
