"""Dead neurons: those that no weight leads to, or from (Han et al., NeurIPS 2015, section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sw.training import masks
from sw.training.search import channels

__all__ = ["Link", "links", "without_dead"]


@dataclass(frozen=True, eq=False)
class Link:
    """Channels of some layers, and what reads them.

    Parameters
    ----------
    makers : tuple of str
        Layers that make the channels, channel i of each together.
    readers : mapping of str to Tensor of int64, axes 2, input
        By layer, its inputs and which channel each of them is.
    """

    makers: tuple[str, ...]
    readers: Mapping[str, Tensor]


def links(model: nn.Module, input_shape: tuple[int, ...]) -> list[Link]:
    """Return the channels between convolutions and fully connected layers.

    Only those that ``channels.find`` could remove: of the others, a zero may matter.

    Raises
    ------
    UserError
        The model can't be traced.
    """
    model = masks.copied(model)
    masks.fix(model)
    return [
        Link(group.layers, readers)
        for group, readers in channels.find_readers(model, input_shape)
        if readers
    ]


def without_dead(linked: list[Link], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks without the weights of dead neurons; those given are left as they are.

    A neuron that nothing reads loses the weights that lead to it, which changes no output. One that
    no weight leads to loses those that lead from it, and with them the constant that its bias
    gave: retraining makes up for it. That may kill others, so it is repeated. A layer whose neurons
    would all be dead is left as it is.

    Parameters
    ----------
    kept : mapping of str to Tensor of bool
        By layer, True where a weight stays; layers that are missing stay whole.
    """
    found = {name: mask.clone() for name, mask in kept.items()}
    while True:
        before = sum(int(mask.sum()) for mask in found.values())
        for link in linked:
            made = [found[name].flatten(1).any(1) for name in link.makers if name in found]
            if len(made) < len(link.makers) or any(name not in found for name in link.readers):
                continue
            read = torch.zeros_like(made[0])
            for name, (inputs, channel) in link.readers.items():
                used = found[name].transpose(0, 1).flatten(1).any(1)[inputs]
                read[channel[used]] = True
            alive = torch.stack(made).any(0) & read
            if not bool(alive.any()):
                continue
            for name in link.makers:
                found[name][~alive] = False
            for name, (inputs, channel) in link.readers.items():
                found[name][:, inputs[~alive[channel]]] = False
        if sum(int(mask.sum()) for mask in found.values()) == before:
            return found
