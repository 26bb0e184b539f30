"""ResNets of three stages (He et al., CVPR 2016), of which ResNet-8 is MLPerf Tiny's size."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from sw.training.networks.definition import Definition, Recipe

__all__ = ["RESNET_8", "RESNET_20", "ResNet"]

STAGE_WIDTHS = (16, 32, 64)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is 1 x 1 where the shape changes."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, inner, 3, stride)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = _convolution(inner, outputs, 3)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _convolution(inputs, outputs, 1, stride) if first else None
        self.shortcut_norm = nn.BatchNorm2d(outputs) if first else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return (y + x).relu()


class ResNet(nn.Module):
    """Depth ``6 blocks + 2``; blocks are named block1, block2, ... through all stages.

    Parameters
    ----------
    blocks : int
        Of each stage.
    widths : tuple of int
        Channels between the blocks of each stage, then inside each block.

    Attributes
    ----------
    stages : list of list of str
        Names of the blocks of each stage. All but a stage's first keep the shape, so that
        ``nn.Identity`` can take their place.
    """

    def __init__(self, blocks: int, widths: tuple[int, ...] | None = None) -> None:
        super().__init__()
        widths = widths or full_widths(blocks)
        outer, inner = widths[:3], widths[3:]
        self.stem = _convolution(1, outer[0], 3)
        self.stem_norm = nn.BatchNorm2d(outer[0])
        self.stages: list[list[str]] = [[], [], []]
        inputs = outer[0]
        for index, width in enumerate(inner):
            stage, place = divmod(index, blocks)
            # The first stage keeps its shape and has no projection.
            first = place == 0 and stage > 0
            block = Block(inputs, width, outer[stage], 2 if first else 1, first)
            self.stages[stage].append(f"block{index + 1}")
            self.add_module(f"block{index + 1}", block)
            inputs = outer[stage]
        self.fc = nn.Linear(inputs, 10)
        cast(Any, self).to(memory_format=torch.channels_last)  # a fifth faster on a CPU

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(images)).relu()
        for names in self.stages:
            for name in names:
                x = getattr(self, name)(x)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def full_widths(blocks: int) -> tuple[int, ...]:
    """Return the widths of He et al.: outer ones by stage, then those inside each block."""
    return STAGE_WIDTHS + tuple(width for width in STAGE_WIDTHS for _ in range(blocks))


def _definition(blocks: int, epochs: int) -> Definition:
    depth = 6 * blocks + 2
    return Definition(
        name=f"resnet{depth}",
        summary=f"{3 * blocks} residual blocks of 16, 32 and 64 channels",
        make=partial(ResNet, blocks),
        recipe=Recipe(epochs=epochs, rate=0.1, retrain_rate=0.05),
        widths=full_widths(blocks),
    )


RESNET_8 = _definition(1, epochs=8)
RESNET_20 = _definition(3, epochs=8)
