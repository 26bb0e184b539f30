"""VGG-small: three pairs of 3 x 3 convolutions with batch normalisation, after VGG-16."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sw.training.networks.definition import Definition, Recipe

__all__ = ["VGG_SMALL", "VggSmall"]

WIDTHS = (16, 16, 32, 32, 64, 64)


class VggSmall(nn.Module):
    """Channels double where the picture is halved; the mean of each channel is classified."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for index, outputs in enumerate(widths):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
            if index % 2 and index + 1 < len(widths):
                layers.append(nn.MaxPool2d(2))
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(images), 1)
        return self.fc(torch.flatten(x, 1))


VGG_SMALL = Definition(
    name="vgg-small",
    summary="six 3 x 3 convolutions of 16 to 64 filters, batch normalisation",
    make=VggSmall,
    recipe=Recipe(epochs=8, rate=0.1, retrain_rate=0.05),
    widths=WIDTHS,
)
