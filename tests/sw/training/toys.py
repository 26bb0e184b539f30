"""A network and data small enough to train in a fraction of a second."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

SHAPE = (1, 8, 8)
CLASSES = 4


class ToyNet(nn.Module):
    """Two convolutions with batch normalisation, and one fully connected layer."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * 16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.dropout(torch.flatten(self.features(images), 1)))


def toy_net(seed: int = 0, dropout: float = 0.0) -> ToyNet:
    torch.manual_seed(seed)
    return ToyNet(dropout)


def toy_images(count: int = 160, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images of which each quarter is brighter in one class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    images = 0.6 * torch.rand(count, *SHAPE, generator=generator)
    for index, label in enumerate(labels.tolist()):
        row, column = 4 * (label // 2), 4 * (label % 2)
        images[index, 0, row : row + 4, column : column + 4] += 0.3
    return images, labels


def toy_loader(count: int = 160, seed: int = 0, batch: int = 32) -> DataLoader:
    return DataLoader(TensorDataset(*toy_images(count, seed)), batch, shuffle=True, drop_last=True)
