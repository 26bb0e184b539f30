"""What pruning a model would come to, told in seconds, before anything is trained."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from golden.errors import UserError
from sw.training import masks
from sw.training.pruner.example import Example
from sw.training.pruner.pruner import Pruner, PruningWarning
from sw.training.pruner.result import Cycles, LayerDensity, Pruned, table
from sw.training.pruner.weights import LeftAlone, check_model, find, names_of

__all__ = ["Preflight", "check"]

#: Images of the example that calibrate the network tried.
IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found.

    Parameters
    ----------
    model : str
        Name of its class.
    layers : tuple of LayerDensity
        Weights that are pruned, and what stays of them: of the weights as they are now, pruned
        by magnitude. Empty where pruning is refused.
    left_alone : tuple of LeftAlone
        Weights that are not pruned, and why.
    density : float
        Of all weights after pruning; before it where pruning is refused.
    refused : str, optional
        Why the model can't be pruned so: a budget out of reach, for example.
    warnings : tuple of str
        Layers that would be emptied, zeros that are there already.
    unconvertible : str, optional
        Why no network can be made of it; the message names the module or the operator.
    cycles : float, optional
        Of the pruned network, an image, on the machine that was asked about.
    """

    model: str
    layers: tuple[LayerDensity, ...]
    left_alone: tuple[LeftAlone, ...]
    density: float
    refused: str | None
    warnings: tuple[str, ...]
    unconvertible: str | None
    cycles: float | None

    @property
    def convertible(self) -> bool:
        """Whether a network for the machine can be made of the model."""
        return self.unconvertible is None

    @property
    def ready(self) -> bool:
        """Whether it can be pruned so, and converted."""
        return self.refused is None and self.convertible

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {**dataclasses.asdict(self), "ready": self.ready}

    def __str__(self) -> str:
        lines = [table(self.layers, self.left_alone, self.density)]
        lines += [f"warning: {each}" for each in self.warnings]
        if self.cycles is not None:
            lines.append(f"cycles an image: {self.cycles:,.0f}")
        lines.append(f"prunable: {'yes' if self.refused is None else f'no. {self.refused}'}")
        lines.append(f"convertible: {'yes' if self.convertible else f'no. {self.unconvertible}'}")
        return "\n".join([f"{self.model}:", *lines])


def check(
    model: nn.Module,
    example: Example,
    density: float | None = None,
    *,
    pattern: str | None = None,
    spread: str | None = None,
    ignore: str | Iterable[str] = (),
    cycles: Cycles | None = None,
) -> Preflight:
    """Prune a copy of a model by magnitude at once, convert it, and report; nothing is trained.

    Parameters
    ----------
    model : nn.Module
        Trained or not; it is left as it is.
    example : Example
        What the model takes.
    density, pattern, spread, ignore
        As ``Pruner`` has them.
    cycles : Cycles, optional
        Counts a network's cycles on a machine.

    Raises
    ------
    UserError
        The model is none, or does not take the example: there is nothing to report about.
    """
    check_model(model)
    ignore = names_of(ignore)
    trial = masks.copied(model).cpu()
    few = example[:IMAGES] if isinstance(example, Tensor) else example
    refused, notes = None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pruner = Pruner(
                trial,
                few,
                density=density,
                schedule="one-shot",
                pattern=pattern,
                spread=spread,
                ignore=ignore,
            )
            pruner.step()
            pruned = pruner.finish()
        except UserError as error:
            refused = str(error)
            pruned = _unpruned(trial, few, ignore)
    notes = [str(each.message) for each in caught if each.category is PruningWarning]
    pruned = dataclasses.replace(pruned, count=cycles)
    unconvertible, count = None, None
    try:
        # The converters' own warnings are of no use to who asks whether it works.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _ = pruned.network
    except UserError as error:
        unconvertible = str(error)
    if cycles is not None and unconvertible is None:
        try:
            count = pruned.cycles
        except UserError as error:
            notes.append(f"Cycles can't be counted: {error}")
    return Preflight(
        model=type(model).__name__,
        layers=pruned.layers,
        left_alone=pruned.left_alone,
        density=pruned.density,
        refused=refused,
        warnings=tuple(notes),
        unconvertible=unconvertible,
        cycles=count,
    )


def _unpruned(model: nn.Module, example: Example, ignore: tuple[str, ...]) -> Pruned:
    """Return the model as it is, when pruning was refused."""
    from sw.training.pruner.example import run
    from sw.training.pruner.result import layer_densities

    run(model, example)
    weights, others = find(model, ignore)
    layers = layer_densities(weights)
    kept = sum(each.kept for each in layers) + sum(each.size for each in others)
    total = sum(each.size for each in layers) + sum(each.size for each in others)
    return Pruned(
        model=model,
        layers=layers,
        left_alone=tuple(others),
        density=kept / total,
        example=example,
    )
