"""Networks, data and a machine of a few numbers, for tests of methods that look at cycles."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from golden.machines.cluster.config import AcceleratorConfig
from sw.training.data.batches import Augmentation, ImageBatches, Split
from sw.training.loop.session import Session
from sw.training.methods import Task
from sw.training.networks.definition import Definition, Recipe

MACHINE = AcceleratorConfig.preset("toy")
SIZE = 8
RECIPE = Recipe(epochs=1, rate=0.05, retrain_rate=0.05)


class Small(nn.Module):
    """Two convolutions and a fully connected layer on pictures of 8 x 8, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 16, 2)

    def forward(self, images):
        x = nn.functional.max_pool2d(self.conv1(images).relu(), 2)
        return self.fc(torch.flatten(self.conv2(x).relu(), 1))


SMALL = Definition(
    name="small", summary="a toy", make=Small, recipe=RECIPE, input_shape=(1, SIZE, SIZE), classes=2
)


def split(images=96):
    """Return pictures whose label says whether the left or the right half is brighter."""
    random = np.random.default_rng(5)
    pictures = random.integers(1, 200, (images, SIZE, SIZE)).astype(np.uint8)
    labels = random.integers(0, 2, images)
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, SIZE // 2 * label : SIZE // 2 * (label + 1)] //= 4
    return Split(
        ImageBatches(
            pictures[:64], labels[:64], 16, training=True, augmentation=Augmentation(mirror=True)
        ),
        ImageBatches(pictures[64:80], labels[64:80], 10),
        ImageBatches(pictures[80:], labels[80:], 16),
        pictures[:8, None].astype(np.float32) / np.float32(255),
    )


def task(folder, *, epochs=1, layer_cost=None, data=None, shape=(1, SIZE, SIZE), kind=Session):
    """Return a task on toy data."""
    data = data or split()
    train, validation = (data.train, data.validation) if isinstance(data, Split) else (data, data)
    return Task(
        session=kind(train, validation, folder),
        recipe=RECIPE,
        input_shape=shape,
        epochs=epochs,
        layer_cost=layer_cost,
    )
