"""Networks in two parts, of which the second is trained alone: the first one runs once an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.loop.objective import Batches, device_of, pair

__all__ = ["Features", "Head", "InTwoParts", "in_two_parts"]


@runtime_checkable
class InTwoParts(Protocol):
    """A network that computes ``classify(features(images))``."""

    def features(self, images: Tensor) -> Tensor:
        """Return what the convolutions make of images."""
        ...

    def classify(self, x: Tensor) -> Tensor:
        """Return the outputs that features lead to."""
        ...


def in_two_parts(model: nn.Module) -> InTwoParts:
    """Return a model that is in two parts.

    Raises
    ------
    UserError
        It is not.
    """
    # A plain attribute of these names, torchvision's for example, is no method of the class.
    if not all(callable(getattr(type(model), name, None)) for name in ("features", "classify")):
        raise UserError(
            f"Model {type(model).__name__} must have methods features and classify to be pruned "
            "in two parts"
        )
    return cast(InTwoParts, model)


class Head(nn.Module):
    """The second part as a module; its state is the whole model's.

    Parameters
    ----------
    model : nn.Module
        In two parts.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._classify = in_two_parts(model).classify

    def forward(self, features: Tensor) -> Tensor:
        return self._classify(features)


class Features:
    """Batches of features in place of images, computed when they are first asked for.

    Images are augmented once; their order is drawn anew each time.

    Parameters
    ----------
    model : nn.Module
        In two parts; as it is when the features are computed, in eval.
    batches : iterable of (images, labels)
        One that knows its length.
    seed : int
        Of the augmentation.
    batch : int, optional
        Images of a batch; as many as ``batches`` have by default.
    """

    def __init__(
        self, model: nn.Module, batches: Batches, seed: int, batch: int | None = None
    ) -> None:
        self._model, self._batches, self._seed = model, batches, seed
        self._found: tuple[Tensor, Tensor] | None = None
        self._batch = batch
        self._largest = 0

    def __len__(self) -> int:
        if self._batch is None:
            return len(self._batches)  # type: ignore[arg-type]
        self._found = self._found or self._compute()
        return -(-len(self._found[1]) // self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        features, labels = self._found = self._found or self._compute()
        order = torch.randperm(len(labels))
        for chosen in order.split(self._batch or self._largest):
            yield features[chosen], labels[chosen]

    @torch.no_grad()
    def _compute(self) -> tuple[Tensor, Tensor]:
        device, compute = device_of(self._model), in_two_parts(self._model).features
        modes = [(module, module.training) for module in self._model.modules()]
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            self._model.eval()
            found = []
            for images, labels in map(pair, self._batches):
                found.append((compute(images.to(device)).cpu(), labels))
                self._largest = max(self._largest, len(labels))
        for module, training in modes:
            module.training = training
        features, labels = (torch.cat(each) for each in zip(*found, strict=True))
        return features, labels
