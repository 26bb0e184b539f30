"""Pruning inside a training loop that is the user's own.

Parameters stay the objects that the optimiser has, and the model's state keeps its names: a
hook on each weight's gradient makes it zero where the weight is masked, and ``step``, called after
the optimiser's, sets masked weights to zero again, whatever momentum or decay made of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden.errors import UserError, look_up
from sw.training.loop.unit_strides import UnitStrides, is_at_risk
from sw.training.methods.method import check_density
from sw.training.pruner import dropout
from sw.training.pruner.example import Example, run, single
from sw.training.pruner.result import Cycles, Pruned, layer_densities, table
from sw.training.pruner.schedule import Schedule
from sw.training.pruner.scores import SCORES, Score
from sw.training.pruner.scores.watching import hide_gradients, input_seen, watch_inputs
from sw.training.pruner.selection import SPREADS, parse_pattern, select
from sw.training.pruner.weights import Weight, adopt, check_model, find, masks_of, names_of

__all__ = ["Pruner", "PruningWarning"]

FORMAT = 1
#: Tensors of a pruner's state, by weight.
_TENSORS = ("masks", "memories", "aside")


class PruningWarning(UserWarning):
    """Pruning does what was asked, but that may not be what was meant."""


class Pruner:
    """Prunes a model while it is trained.

    Parameters
    ----------
    model : nn.Module
        Trained or not, on any device. Zeros that it has stay zeros.
    example : Example
        What the model takes: a tensor, batch first, or a tuple or dict of its arguments.
    method : str or Score
        One of ``sw.training.pruner.scores.SCORES``, or a score of your own.
    density : float, optional
        Share of *all* weights, layers that are left alone included, that stays; 0.1 by default.
        What N:M leaves where ``pattern`` is such.
    steps : int, optional
        Of the whole training, in steps of the optimiser; needed but for ``one-shot``.
    schedule : str
        ``cubic``, ``one-shot`` or ``iterative`` (``Schedule``).
    pattern : str, optional
        ``2:4`` for two of each four input channels of a filter, a block as ``1,16,1,1``, or a
        grain's name (``sw.blocks.GRAINS``); single weights by default.
    spread : str, optional
        ``global`` ranks all layers together, ``layer`` and ``row`` give each layer, or each filter,
        the same share; the score's own by default.
    begin, end, every, rounds
        As ``Schedule`` has them.
    ignore : str or iterable of str
        Layers to leave alone.
    rescale_dropout : bool
        Lower dropout rates with the root of the density of what reads them (Han et al., 2015).
    dead_neurons : bool
        With the last change, remove all weights of neurons that nothing leads to, or from. The
        density gets lower by these.

    Attributes
    ----------
    left_alone : tuple of LeftAlone
        Weights that are not pruned, and why.

    Raises
    ------
    UserError
        An argument is refused, the model can't be pruned or does not take the example, or the
        density can't be reached as so many weights are left alone.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Example,
        method: str | Score = "magnitude",
        density: float | None = None,
        steps: int | None = None,
        schedule: str = "cubic",
        *,
        pattern: str | None = None,
        spread: str | None = None,
        begin: float = 0.0,
        end: float = 0.75,
        every: int | None = None,
        rounds: int = 5,
        ignore: str | Iterable[str] = (),
        rescale_dropout: bool = False,
        dead_neurons: bool = False,
    ) -> None:
        check_model(model)
        ignore = names_of(ignore)
        self._score = _find_score(method)
        self._schedule = Schedule(
            kind=schedule, steps=steps, begin=begin, end=end, every=every, rounds=rounds
        )
        self._pattern = parse_pattern(pattern)
        self._spread = _check_spread(spread, self._score, self._pattern.block is not None)
        run(model, example)
        adopt(model)
        self.model, self.example = model, example
        weights, left_alone = find(model, ignore)
        self._weights, self.left_alone = tuple(weights), tuple(left_alone)
        self._prunable = sum(weight.size for weight in weights)
        self._total = self._prunable + sum(each.size for each in left_alone)
        self._final = self._check_reach(density)
        self._masks = masks_of(weights)
        self._memories: dict[str, Tensor] = {}
        self._aside: dict[str, Tensor] = {}
        if self._score.regrows:
            self._aside = {w.name: torch.zeros_like(w.parameter.detach()) for w in weights}
        self._allowed = {name: mask.clone() for name, mask in self._masks.items()}
        self._steps = 0
        self._first = self._density()
        self._warned: set[str] = set()
        self._settings: dict[str, Any] = {
            "method": self._score.name,
            "density": self._final,
            "schedule": str(self._schedule),
            "pattern": pattern,
            "spread": self._spread,
            "ignore": sorted(ignore),
            "dead_neurons": dead_neurons,
        }
        self._rates = dropout.rates(model) if rescale_dropout else {}
        self._readers = self._find_readers() if self._rates else {}
        self._links = self._find_links() if dead_neurons else []
        self._handles = self._attach() + self._watch_strides()
        if self._first <= self._final and self._final < 1:
            self._warn(
                f"Model has density {self._first:.4f} already, no more than {self._final:g}: "
                "nothing more is pruned"
            )

    # -- training -------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self) -> float:
        """Keep masked weights zero and prune if it is time; call it after the optimiser's step.

        Returns
        -------
        float
            Density of all weights by the masks, those left alone counted as kept.

        Raises
        ------
        UserError
            A parameter was replaced by another object, or weights are no longer finite.
        """
        if not self._handles:
            raise UserError("Pruner must not be stepped after finish()")
        self._steps += 1
        wanted = self._schedule.density(self._steps, self._first, self._final)
        if wanted is not None and wanted < self._first:
            self._prune(wanted)
        self._apply()
        return self._density()

    def finish(
        self,
        calibration: NDArray[np.float32] | None = None,
        cycles: Cycles | None = None,
        name: str = "pruned",
    ) -> Pruned:
        """Fold the masks in and let go of the model; what it returns converts when it is asked.

        Parameters
        ----------
        calibration : ndarray of float32, axes n, c, y, x (or n, c), optional
            Inputs that give the ranges of activations; the example by default, which is little.
        cycles : Cycles, optional
            Counts a network's cycles on a machine.
        name : str
            Of the network.
        """
        if self._steps < self._schedule.last and self._first > self._final:
            self._warn(
                f"Pruning was to go on to step {self._schedule.last}, and is finished after "
                f"{self._steps} at density {self._density():.4f}, not {self._final:g}"
            )
        with torch.no_grad():
            self._apply()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        return Pruned(
            model=self.model,
            layers=layer_densities(self._weights),
            left_alone=self.left_alone,
            density=self.density,
            example=self.example,
            calibration=calibration,
            count=cycles,
            name=name,
        )

    # -- what it is doing -----------------------------------------------------------------------

    @property
    def density(self) -> float:
        """Share of all weights of the model, left alone or not, that are not zero now."""
        kept = sum(each.kept for each in layer_densities(self._weights))
        parameters = dict(self.model.named_parameters())
        for each in self.left_alone:
            kept += int(torch.count_nonzero(parameters[each.name].detach()))
        return kept / self._total

    @property
    def masks(self) -> dict[str, Tensor]:
        """True where a weight stays, by name of the parameter; copies."""
        return {name: mask.clone() for name, mask in self._masks.items()}

    def __str__(self) -> str:
        return table(layer_densities(self._weights), self.left_alone, self.density)

    # -- checkpoints ----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs beside the model's and the optimiser's states.

        Tensors, numbers and strings: ``torch.load(weights_only=True)`` takes it.
        """
        tensors = {key: dict(getattr(self, f"_{key}")) for key in (*_TENSORS, "allowed")}
        return {
            "format": FORMAT,
            "settings": self._settings,
            "steps": self._steps,
            "first": self._first,
            "warned": sorted(self._warned),
            **{
                key: {name: tensor.clone() for name, tensor in each.items()}
                for key, each in tensors.items()
            },
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken; the model's state is to be loaded too, before or after.

        Raises
        ------
        UserError
            The state is none, of other settings, or of another model.
        """
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise UserError("State of a pruner must be one that state_dict returned")
        for key, value in self._settings.items():
            if (found := state["settings"].get(key)) != value:
                raise UserError(f"State of a pruner is of {key} {found!r}, not {value!r}")
        shapes = {weight.name: weight.parameter.shape for weight in self._weights}
        if {name: mask.shape for name, mask in state["masks"].items()} != shapes:
            raise UserError("State of a pruner must have the weights of this model")
        self._steps, self._first = state["steps"], state["first"]
        self._warned = set(state["warned"])
        devices = {weight.name: weight.parameter.device for weight in self._weights}
        for key in (*_TENSORS, "allowed"):
            held = {name: each.to(devices[name]).clone() for name, each in state[key].items()}
            setattr(self, f"_{key}", held)
        if self._steps:
            self._rescale()

    # -- inside ---------------------------------------------------------------------------------

    def _check_reach(self, density: float | None) -> float:
        """Return the density of all weights to reach."""
        if not self._prunable:
            raise UserError("Model must have weights that can be pruned; all are left alone")
        left = self._total - self._prunable
        if self._pattern.m:
            share = self._pattern.n / self._pattern.m
            if density is not None and density != share:
                raise UserError(
                    f"Density must be left out with pattern {self._pattern.n}:{self._pattern.m}, "
                    f"or {share:g}, not {density:g}"
                )
            return (left + share * self._prunable) / self._total
        density = 0.1 if density is None else density
        check_density(density)
        if round(density * self._total) < left + len(self._weights):
            names = ", ".join(each.name for each in self.left_alone)
            raise UserError(
                f"Density must be at least {(left + len(self._weights)) / self._total:.4f}, "
                f"not {density:g}: {left:,} of {self._total:,} weights are left alone "
                f"({_shorten(names) or 'none'}), and each other layer keeps one"
            )
        return density

    def _attach(self) -> list[Any]:
        gradients = self._score.watches == "gradients"
        see = self._see if gradients else None
        handles: list[Any] = [
            hide_gradients(weight, lambda name=weight.name: self._masks[name], see)
            for weight in self._weights
        ]
        if self._score.watches == "inputs":
            handles += watch_inputs(self._weights, self._see)
            if unseen := [weight.name for weight in self._weights if not input_seen(weight)]:
                self._warn(
                    f"Inputs of {_shorten(', '.join(unseen))} are not seen: their weights are "
                    "ranked by magnitude alone"
                )
        return handles

    def _watch_strides(self) -> list[Any]:
        """Warn where a layer is trained in a way that this processor computes wrong."""

        def run(layer: nn.Module, _: Any, name: str) -> None:
            if layer.training and torch.is_grad_enabled() and not UnitStrides.is_active():
                self._warn_once(
                    "strides",
                    f"Gradients of {name}, a strided 1 x 1 convolution, may be wrong on this "
                    "processor: train within sw.training.loop.unit_strides.UnitStrides()",
                )

        return [
            layer.register_forward_pre_hook(partial(run, name=name))
            for name, layer in self.model.named_modules()
            if is_at_risk(layer)
        ]

    def _see(self, weight: Weight, seen: Tensor) -> None:
        if self._steps < self._schedule.last:
            name = weight.name
            self._follow(weight)
            memory = self._memories.get(name)
            self._memories[name] = self._score.watch(memory, self._values(weight), seen)

    def _values(self, weight: Weight) -> Tensor:
        """Return a weight's values, those that were set aside in the place of zeros."""
        values = weight.parameter.detach()
        if weight.name not in self._aside:
            return values
        return torch.where(self._masks[weight.name], values, self._aside[weight.name])

    def _follow(self, weight: Weight) -> None:
        """Bring what is held of a weight to the device that it is on."""
        device, name = weight.parameter.device, weight.name
        if self._masks[name].device != device:
            for key in (*_TENSORS, "allowed"):
                held = getattr(self, f"_{key}")
                if name in held:
                    held[name] = held[name].to(device)

    def _prune(self, density: float) -> None:
        for weight in self._weights:
            key = weight.name.rpartition(".")[2]
            if getattr(weight.module, key, None) is not weight.parameter:
                raise UserError(
                    f"Parameter {weight.name} must stay the object that it was when the pruner "
                    "was made; make the pruner after what replaced it"
                )
            self._follow(weight)
        values = {weight.name: self._values(weight) for weight in self._weights}
        scores = {
            name: self._score.score(each, self._memories.get(name)) for name, each in values.items()
        }
        for name, each in scores.items():
            if not bool(torch.isfinite(each).all()):
                raise UserError(f"Weights of {name} must be finite to be ranked")
        if self._score.watches == "gradients" and not self._memories:
            raise UserError(
                f"Method {self._score.name} must see gradients before it prunes: call step() "
                "after backward()"
            )
        left = self._total - self._prunable
        count = round(density * self._total) - left
        allowed = self._allowed if self._score.regrows else self._masks
        kept, emptied = select(
            list(self._weights), scores, allowed, count, self._spread, self._pattern
        )
        if self._links and self._steps == self._schedule.last:
            kept = self._without_dead(kept)
        for weight in self._weights:
            name = weight.name
            if name in self._aside:
                self._aside[name] = torch.where(kept[name], 0, values[name])
                weight.parameter.copy_(values[name])
        self._masks = kept
        if self._score.forgets:
            self._memories = {}
        self._rescale()
        self._warn_of_emptied(emptied)

    def _apply(self) -> None:
        for weight in self._weights:
            self._follow(weight)
            weight.parameter.mul_(self._masks[weight.name])

    def _density(self) -> float:
        kept = sum(int(mask.sum()) for mask in self._masks.values())
        return (kept + self._total - self._prunable) / self._total

    def _find_readers(self) -> dict[str, tuple[str, ...]]:
        layers = {weight.layer: weight.module for weight in self._weights}
        return dropout.readers(self.model, self.example, layers)

    def _rescale(self) -> None:
        def count(layer: str) -> tuple[int, int]:
            masks = [self._masks[w.name] for w in self._weights if w.layer == layer]
            return sum(int(m.sum()) for m in masks), sum(m.numel() for m in masks)

        dropout.rescale(self.model, self._rates, self._readers, count)

    def _find_links(self) -> list[Any]:
        import copy

        from sw.training.search.neurons import links

        return links(copy.deepcopy(self.model).cpu(), tuple(single(self.example).shape[1:]))

    def _without_dead(self, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        from sw.training.search.neurons import without_dead

        names = {w.layer: w.name for w in self._weights if w.name == f"{w.layer}.weight"}
        found = without_dead(self._links, {layer: kept[n].cpu() for layer, n in names.items()})
        return kept | {
            names[layer]: mask.to(kept[names[layer]].device) for layer, mask in found.items()
        }

    def _warn_of_emptied(self, names: list[str]) -> None:
        for name in names:
            if name not in self._warned:
                kept = int(self._masks[name].sum())
                self._warn_once(
                    name,
                    f"Layer {name} would have been emptied at step {self._steps} and keeps "
                    f"{kept:,} of {self._masks[name].numel():,} weights; another spread, or "
                    "ignore, keeps more",
                )

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            self._warn(message)

    def _warn(self, message: str) -> None:
        warnings.warn(message, PruningWarning, stacklevel=3)


def _find_score(method: Any) -> Score:
    if isinstance(method, str):
        return look_up("Method", SCORES, method)
    members = ("name", "watches", "spread", "forgets", "regrows", "watch", "score")
    if lacking := [each for each in members if not hasattr(method, each)]:
        raise UserError(
            f"Method must be one of {', '.join(SCORES)}, or have the members of a Score, not "
            f"{type(method).__name__}, which lacks {lacking[0]}"
        )
    return method


def _check_spread(spread: str | None, score: Score, blocks: bool) -> str:
    if spread is None:
        return "layer" if blocks and score.spread == "row" else score.spread
    if spread not in SPREADS:
        raise UserError(f"Spread must be one of {', '.join(SPREADS)}, not {spread!r}")
    if blocks and spread == "row":
        raise UserError("Spread must be global or layer for blocks, not 'row'")
    return spread


def _shorten(names: str) -> str:
    return names if len(names) <= 120 else f"{names[:117]}..."
