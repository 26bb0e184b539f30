"""Channels removed physically, with all that depends on them.

Which tensors shrink together is found by torch-pruning's dependency graph (Fang et al., CVPR
2023, arXiv:2301.12900). It follows what a model computes, so a user's own module needs nothing;
layers that a residual addition joins lose the same channels. What it says is not believed blindly:
`find` tries each group on a copy of the model and leaves out those where a zero channel matters.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from golden.errors import UserError
from sw.training import masks
from sw.training.cost import run_layers
from sw.training.pruner.weights import check_model

__all__ = ["Group", "find", "find_readers", "remove"]


@dataclass(frozen=True)
class Group:
    """Layers whose channels can only be removed together, channel i of each with channel i.

    Parameters
    ----------
    layers : tuple of str
        Convolutions and fully connected layers that make the channels, in the order of
        definition.
    norms : tuple of str
        Batch normalisations with a scale, right behind the layers: one for each layer, or none at
        all where a layer has none.
    """

    layers: tuple[str, ...]
    norms: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the first layer."""
        return self.layers[0]


def find(model: nn.Module, input_shape: tuple[int, ...]) -> list[Group]:
    """Return the groups from which channels can be removed; the model is left in eval.

    Channels stay out of it that the caller or the input decides (outputs, what is added to the
    input), that are alone, and those which change the output though they are zero: behind a
    sigmoid, in a layer normalisation, in a convolution of several groups.

    Parameters
    ----------
    input_shape : tuple of int, axes c, y, x (or c)

    Raises
    ------
    UserError
        The model can't be pruned (``check_model``), can't be traced, or has masks.
    """
    return [group for group, _ in find_readers(model, input_shape)]


def find_readers(
    model: nn.Module, input_shape: tuple[int, ...]
) -> list[tuple[Group, dict[str, Tensor]]]:
    """Return the groups of ``find``, each with the layers that read its channels.

    Returns
    -------
    list of (Group, dict of str to Tensor of int64, axes 2, input)
        By layer, its inputs and the channel that each of them is.

    Raises
    ------
    UserError
        As ``find``.
    """
    check_model(model)
    graph = _trace(model, input_shape)
    names = {module: name for name, module in model.named_modules()}
    found: list[tuple[Group, dict[str, Tensor]]] = []
    seen: set[str] = set()
    for name, layer in masks.layers(model).items():
        if name in seen or layer not in graph.module2node:
            continue
        size = masks.weight(layer).shape[0]
        items = _group(graph, layer, list(range(size)))
        made = {names[module] for module in _makers(graph, items)}
        seen |= made
        layers = tuple(each for each in masks.layers(model) if each in made)
        if size > 1 and _harmless(model, layers, input_shape):
            group = Group(layers, _norms(graph, items, model, layers, names))
            found.append((group, _readers(graph, items, names)))
    return found


def remove(model: nn.Module, input_shape: tuple[int, ...], kept: Mapping[str, Tensor]) -> None:
    """Remove channels, in place; the model is left in eval.

    The outputs stay as they are if the channels were zero. Parameters become new ones.

    Parameters
    ----------
    input_shape : tuple of int, axes c, y, x (or c)
    kept : mapping of str to Tensor of bool, axis channel
        By name of a group.

    Raises
    ------
    UserError
        There is no such layer, a mask has another length or keeps nothing, the model can't be
        traced or has masks.
    """
    layers = masks.layers(model)
    for name, stay in kept.items():
        if name not in layers:
            raise UserError(f"Layer to prune must be one of {', '.join(layers)}, not {name!r}")
        size = masks.weight(layers[name]).shape[0]
        if stay.shape != (size,):
            raise UserError(
                f"Channels of layer {name} must be told by {size} values, not {tuple(stay.shape)}"
            )
        if not stay.any():
            raise UserError(f"Layer {name} must keep a channel at least, not 0 of {size}")
    formats = {
        name: weight.is_contiguous(memory_format=torch.channels_last)
        for name, weight in model.named_parameters()
        if weight.ndim == 4
    }
    graph = _trace(model, input_shape)
    for name, stay in kept.items():
        gone = torch.nonzero(~stay).flatten().tolist()
        if gone:
            _group(graph, layers[name], gone).prune()
    for name, weight in model.named_parameters():
        if formats.get(name):  # removing made it contiguous, which convolves slower
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def _trace(model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    if masks.masks(model):
        raise UserError(
            "Model to remove channels from must have no masks, not masks on "
            f"{', '.join(masks.masks(model))}"
        )
    model.eval()
    try:
        with torch.enable_grad():
            return torch_pruning.DependencyGraph().build_dependency(
                model, torch.zeros((1, *input_shape)), verbose=False
            )
    # Tracing runs the user's code, which may raise anything.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"Model {type(model).__name__} must run on an input of shape {input_shape} to find "
            f"its channels: {reason}"
        ) from None


def _group(graph: Any, layer: nn.Module, channels: list[int]) -> Any:
    """Return torch-pruning's group of some output channels of a layer."""
    pruner = graph.get_pruner_of_module(layer)
    return graph.get_pruning_group(layer, pruner.prune_out_channels, channels)


def _makers(graph: Any, items: Any) -> list[nn.Module]:
    """Return the layers that have output channels in a group."""
    return [
        item.dep.target.module
        for item in items
        if isinstance(item.dep.target.module, (nn.Conv2d, nn.Linear))
        and graph.is_out_channel_pruning_fn(item.dep.handler)
    ]


def _readers(graph: Any, items: Any, names: dict[nn.Module, str]) -> dict[str, Tensor]:
    """Return which inputs of which layers are the channels of a group."""
    return {
        names[item.dep.target.module]: torch.tensor([list(item.idxs), list(item.root_idxs)])
        for item in items
        if isinstance(item.dep.target.module, (nn.Conv2d, nn.Linear))
        and graph.is_in_channel_pruning_fn(item.dep.handler)
    }


def _norms(
    graph: Any, items: Any, model: nn.Module, layers: tuple[str, ...], names: dict[nn.Module, str]
) -> tuple[str, ...]:
    """Return the normalisation right behind each layer, or nothing if one lacks it.

    As well nothing if a normalisation numbers the channels in another way than the first layer,
    as it may behind a concatenation.
    """
    size = masks.weight(model.get_submodule(layers[0])).shape[0]
    same = {
        item.dep.target.module
        for item in items
        if list(item.idxs) == list(item.root_idxs) == list(range(size))
    }
    found = []
    for layer in layers:
        behind = [node.module for node in graph.module2node[model.get_submodule(layer)].outputs]
        if len(behind) != 1 or behind[0] not in same:
            return ()
        if not isinstance(behind[0], _BatchNorm) or not behind[0].affine:
            return ()
        found.append(names[behind[0]])
    return tuple(found)


@torch.no_grad()
def _harmless(model: nn.Module, layers: tuple[str, ...], input_shape: tuple[int, ...]) -> bool:
    """Tell whether a copy of the model computes the same without a channel that is zero.

    The layers behind are compared too: what comes out in the end may be dead.
    """
    trial = copy.deepcopy(model)
    root = trial.get_submodule(layers[0])
    kept = torch.ones(masks.weight(root).shape[0], dtype=torch.bool)
    channel = len(kept) // 2
    kept[channel] = False
    graph = _trace(trial, input_shape)
    for item in _group(graph, root, [channel]):
        module = item.dep.target.module
        if isinstance(module, _BatchNorm) or _makers(graph, [item]):
            for parameter in module.parameters(recurse=False):
                parameter[item.idxs] = 0
    image = torch.randn(input_shape, generator=torch.Generator().manual_seed(0))
    runs, before = run_layers(trial, image), trial(image[None])
    try:
        remove(trial, input_shape, {layers[0]: kept})
        runs_after, after = run_layers(trial, image), trial(image[None])
    # A model that torch-pruning has misunderstood may fail anywhere.
    except Exception:
        return False
    pairs = [(before, after)] + [
        (one.outputs, other.outputs)
        for one, other in zip(runs, runs_after, strict=True)
        if one.name not in layers
    ]
    return all(
        one.shape == other.shape
        and torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
        for one, other in pairs
    )
