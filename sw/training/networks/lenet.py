"""LeNet-300-100 and Caffe's LeNet-5 (20-50-500), as Han et al., NeurIPS 2015, prune them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sw.training.networks.definition import Definition, Recipe

__all__ = ["LENET_5", "LENET_300_100", "LeNet5", "LeNet300100"]


class LeNet300100(nn.Module):
    """266,200 weights and 410 biases; images are 28 x 28 with one channel."""

    def __init__(self, widths: tuple[int, ...] = (300, 100)) -> None:
        super().__init__()
        first, second = widths
        self.fc1 = nn.Linear(784, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.fc1(torch.flatten(images, 1)).relu()
        return self.fc3(self.fc2(x).relu())


class LeNet5(nn.Module):
    """430,500 weights and 580 biases; images are 28 x 28 with one channel."""

    def __init__(self, widths: tuple[int, ...] = (20, 50, 500)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.fc1 = nn.Linear(16 * second, third)
        self.fc2 = nn.Linear(third, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.conv1(images).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc2(self.fc1(torch.flatten(x, 1)).relu())


LENET_300_100 = Definition(
    name="lenet-300-100",
    summary="three fully connected layers, 300 and 100 hidden",
    make=LeNet300100,
    recipe=Recipe(epochs=12, rate=0.05, retrain_rate=0.02),
    widths=(300, 100),
)
LENET_5 = Definition(
    name="lenet5",
    summary="two convolutions of 20 and 50 filters, 500 hidden (Caffe's)",
    make=LeNet5,
    recipe=Recipe(epochs=8, rate=0.05, retrain_rate=0.02),
    widths=(20, 50, 500),
)
