"""Train, prune, retrain: iterative magnitude pruning (Han et al., NeurIPS 2015)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sw.training.dataset import Dataset

__all__ = ["MagnitudePruner", "Recipe", "accuracy", "train_and_prune"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained and pruned.

    Parameters
    ----------
    densities : dict of str to float
        Final share of weights kept, by parameter name.
    dense_epochs : int
        Epochs of training before anything is pruned.
    pruning_epochs : int
        Epochs of retraining, each after one more step of pruning.
    settling_epochs : int
        Epochs of retraining with the final masks.
    dense_rate, retrain_rate : float
        Learning rate at the start of each phase; both fall along a cosine.
    """

    densities: dict[str, float]
    dense_epochs: int
    pruning_epochs: int
    settling_epochs: int
    dense_rate: float
    retrain_rate: float
    weight_decay: float = 5e-4
    batch: int = 128
    seed: int = 1


class MagnitudePruner:
    """Masks that keep the largest weights of each named parameter."""

    def __init__(self, model: nn.Module, densities: dict[str, float]) -> None:
        self._densities = densities
        self._parameters = {name: model.get_parameter(name) for name in densities}
        self._masks = {name: torch.ones_like(p) for name, p in self._parameters.items()}

    def prune(self, progress: float) -> None:
        """Cut down to the density of a cubic schedule (Zhu and Gupta, arXiv:1710.01878).

        What is pruned stays pruned.

        Parameters
        ----------
        progress : float
            0 keeps all, 1 is the final density.
        """
        for name, parameter in self._parameters.items():
            sparsity = (1 - self._densities[name]) * (1 - (1 - progress) ** 3)
            keep = round(parameter.numel() * (1 - sparsity))
            size = (parameter.detach() * self._masks[name]).abs().flatten()
            mask = torch.zeros_like(size)
            mask[torch.sort(size, descending=True, stable=True).indices[:keep]] = 1
            self._masks[name] = mask.reshape(parameter.shape)
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Set pruned weights to zero again, after a step of the optimiser moved them."""
        for name, parameter in self._parameters.items():
            parameter.mul_(self._masks[name])

    @property
    def density(self) -> float:
        """Share of the weights of all named parameters that is kept."""
        kept = sum(float(mask.sum()) for mask in self._masks.values())
        return kept / sum(mask.numel() for mask in self._masks.values())


@torch.no_grad()
def accuracy(model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of images whose largest output is their label."""
    model.eval()
    hits = 0
    for start in range(0, len(images), 500):
        outputs = model(_as_float(torch.from_numpy(images[start : start + 500].copy())))
        hits += int((outputs.argmax(1).numpy() == labels[start : start + 500]).sum())
    return hits / len(images)


def train_and_prune(model: nn.Module, data: Dataset, recipe: Recipe) -> tuple[float, float]:
    """Train dense, then prune and retrain in turn; the model is changed in place.

    Returns
    -------
    dense, pruned : float
        Accuracy on the test set after each phase; no epoch is chosen by it.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    pruner = MagnitudePruner(model, recipe.densities)
    _phase(model, data, recipe, recipe.dense_epochs, recipe.dense_rate, generator, pruner, 0)
    dense = accuracy(model, data.test_images, data.test_labels)
    log.info("dense: test accuracy %.4f", dense)
    epochs = recipe.pruning_epochs + recipe.settling_epochs
    steps = recipe.pruning_epochs
    _phase(model, data, recipe, epochs, recipe.retrain_rate, generator, pruner, steps)
    pruned = accuracy(model, data.test_images, data.test_labels)
    log.info("pruned to density %.4f: test accuracy %.4f", pruner.density, pruned)
    return dense, pruned


def _phase(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    epochs: int,
    rate: float,
    generator: torch.Generator,
    pruner: MagnitudePruner,
    pruning_steps: int,
) -> None:
    """Train some epochs, the first ``pruning_steps`` of which begin with a step of pruning."""
    images = torch.from_numpy(data.train_images.copy())
    labels = torch.from_numpy(data.train_labels)
    optimiser = torch.optim.SGD(
        model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    batches = len(images) // recipe.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, epochs * batches))
    for epoch in range(epochs):
        begin = time.process_time()
        if epoch < pruning_steps:
            pruner.prune((epoch + 1) / pruning_steps)
        model.train()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for index in range(batches):
            chosen = order[index * recipe.batch : (index + 1) * recipe.batch]
            batch = _mirror_half(_as_float(images[chosen]), generator)
            loss = nn.functional.cross_entropy(model(batch), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            pruner.apply()
            total += float(loss.detach())
        log.info(
            "epoch %d of %d: loss %.4f, density %.4f, %.0f s of CPU",
            epoch + 1,
            epochs,
            total / max(1, batches),
            pruner.density,
            time.process_time() - begin,
        )


def _as_float(images: Tensor) -> Tensor:
    """Scale bytes to 0..1, so that the background stays zero; axes n, y, x to n, 1, y, x."""
    return images[:, None].float() / 255


def _mirror_half(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image, axes n, c, y, x, with probability one half."""
    mirrored = torch.rand(len(batch), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
