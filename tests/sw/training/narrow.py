"""Small networks with channels to remove, and data that they learn in a second."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sw.training.data.batches import Augmentation, ImageBatches
from sw.training.loop.session import Session
from sw.training.methods import Task
from sw.training.networks import Definition, Recipe
from sw.training.networks.resnet import ResNet

INPUT = (1, 8, 8)
#: Between the blocks of each stage, then inside each block.
WIDTHS = (4, 6, 8, 5, 7, 9)
RECIPE = Recipe(epochs=2, rate=0.1, retrain_rate=0.05)


class Plain(nn.Module):
    """A module of one's own: two convolutions with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 6, 3, padding=1)
        self.an = nn.BatchNorm2d(6)
        self.b = nn.Conv2d(6, 10, 3, padding=1)
        self.bn = nn.BatchNorm2d(10)
        self.out = nn.Linear(10 * 4 * 4, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.an(self.a(x)).relu(), 2)
        return self.out(torch.flatten(self.bn(self.b(x)).relu(), 1))


#: Called resnet8, for that is what its saved weights are read as.
RESNET = Definition(
    name="resnet8",
    summary="narrow",
    make=lambda widths=WIDTHS: ResNet(1, widths),
    recipe=RECIPE,
    input_shape=INPUT,
    widths=WIDTHS,
)


def plain(seed=0):
    torch.manual_seed(seed)
    return Plain()


def resnet(seed=0):
    torch.manual_seed(seed)
    return RESNET.make()


def channels(model):
    """Return each convolution's output channels."""
    return {n: m.out_channels for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


class Interrupted(Exception):
    """Training was stopped."""


class Batches:
    """128 images, bright above or below: counts epochs, and stops at a step if told."""

    def __init__(self, stop_at=None):
        random = np.random.default_rng(0)
        labels = np.arange(128) % 2
        images = random.integers(0, 100, (128, 8, 8))
        images[labels == 0, :4] += 100
        images[labels == 1, 4:] += 100
        self.batches = ImageBatches(
            images.astype(np.uint8),
            labels,
            32,
            training=True,
            augmentation=Augmentation(mirror=True),
        )
        self.stop_at = stop_at
        self.steps = self.epochs = 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.epochs += 1
        for batch in self.batches:
            if self.steps == self.stop_at:
                raise Interrupted
            self.steps += 1
            yield batch


def task(folder, *, epochs=1, seed=1, definition=None, batches=None):
    train = batches or Batches()
    return Task(
        session=Session(train, Batches(), folder, seed=seed),
        recipe=RECIPE,
        input_shape=INPUT,
        epochs=epochs,
        definition=definition,
    )


def same(model, other):
    """Tell whether two models have equal weights and statistics."""
    state, wanted = model.state_dict(), other.state_dict()
    return state.keys() == wanted.keys() and all(
        state[key].shape == wanted[key].shape and torch.equal(state[key], wanted[key])
        for key in state
    )
