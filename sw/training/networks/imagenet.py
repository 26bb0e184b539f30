"""AlexNet and VGG-16 at full size, by the shapes of ``sw/networks/data/han2015.csv``.

No training data of their size come with the project: they serve for counting, for methods that
look at shapes, for export, and for whoever has the data. Initialisation and recipes are the
papers' as recalled, but for what is said below.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.networks.definition import Definition, Recipe

__all__ = ["ALEXNET", "VGG_16", "AlexNet", "Vgg16", "load_hed"]

ALEXNET_WIDTHS = (96, 256, 384, 384, 256, 4096, 4096)
VGG_WIDTHS = (64, 64, 128, 128, *(256,) * 3, *(512,) * 6, 4096, 4096)
#: Convolutions of VGG-16 between its max pools.
VGG_BLOCKS = (2, 2, 3, 3, 3)


class Classifier(nn.Module):
    """A network that ends in three fully connected layers with dropout between them."""

    def features(self, images: Tensor) -> Tensor:
        """Return the activations after the last pool, axes n, c, y, x."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))

    def add_classifier(self, inputs: int, first: int, second: int, classes: int) -> None:
        """Add the layers, after all others, and draw the weights of all.

        Convolutions as He et al., ICCV 2015, do; these layers, as wide as they are, of the
        smaller deviations that Caffe has for AlexNet, or else the first steps are far too long.
        """
        self.fc1 = nn.Linear(inputs, first)
        self.dropout1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(first, second)
        self.dropout2 = nn.Dropout(0.5)
        self.fc3 = nn.Linear(second, classes)
        deviations = {self.fc1: 0.005, self.fc2: 0.005, self.fc3: 0.01}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=deviations[layer])
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.zeros_(cast(Tensor, layer.bias))
        cast(Any, self).to(memory_format=torch.channels_last)  # a sixth faster on a CPU

    def classify(self, x: Tensor) -> Tensor:
        """Return the outputs that features, axes n, c, y, x, lead to."""
        x = self.dropout1(self.fc1(torch.flatten(x, 1)).relu())
        return self.fc3(self.dropout2(self.fc2(x).relu()))


class AlexNet(Classifier):
    """60,954,656 weights; images are 227 x 227 with three channels.

    Krizhevsky et al., NeurIPS 2012, grouped as on two GPUs. In place of the normalisation of
    local responses every convolution has batch normalisation, which a trained network folds
    away: without it, dozens of steps teach nothing.
    """

    def __init__(self, widths: tuple[int, ...] = ALEXNET_WIDTHS, classes: int = 1000) -> None:
        one, two, three, four, five, first, second = widths
        if any(width % 2 for width in widths[:5]):
            raise UserError(f"Channels of AlexNet must be even, for its groups, not {widths[:5]}")
        super().__init__()
        self.conv1 = nn.Conv2d(3, one, 11, stride=4)
        self.conv2 = nn.Conv2d(one, two, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.conv4 = nn.Conv2d(three, four, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(four, five, 3, padding=1, groups=2)
        self.norm1 = nn.BatchNorm2d(one)
        self.norm2 = nn.BatchNorm2d(two)
        self.norm3 = nn.BatchNorm2d(three)
        self.norm4 = nn.BatchNorm2d(four)
        self.norm5 = nn.BatchNorm2d(five)
        self.add_classifier(36 * five, first, second, classes)

    def features(self, images: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.norm1(self.conv1(images)).relu(), 3, 2)
        x = nn.functional.max_pool2d(self.norm2(self.conv2(x)).relu(), 3, 2)
        x = self.norm4(self.conv4(self.norm3(self.conv3(x)).relu())).relu()
        return nn.functional.max_pool2d(self.norm5(self.conv5(x)).relu(), 3, 2)


class Vgg16(Classifier):
    """138,344,128 weights; images are 224 x 224 with three channels.

    Configuration D of Simonyan and Zisserman, ICLR 2015; convolutions are conv1_1 to conv5_3.
    Weights are drawn as He et al. do, not copied from a shallower network first.
    """

    def __init__(self, widths: tuple[int, ...] = VGG_WIDTHS, classes: int = 1000) -> None:
        *channels, first, second = widths
        super().__init__()
        names = [f"conv{b}_{i + 1}" for b, n in enumerate(VGG_BLOCKS, 1) for i in range(n)]
        for name, inputs, outputs in zip(names, [3, *channels], channels, strict=False):
            self.add_module(name, nn.Conv2d(inputs, outputs, 3, padding=1))
        self.add_classifier(49 * channels[-1], first, second, classes)

    def features(self, images: Tensor) -> Tensor:
        x = images
        for block, convolutions in enumerate(VGG_BLOCKS, 1):
            for index in range(convolutions):
                x = getattr(self, f"conv{block}_{index + 1}")(x).relu()
            x = nn.functional.max_pool2d(x, 2)
        return x


def load_hed(model: Vgg16) -> None:
    """Give a VGG-16 the trained convolutions of HED (``sw.networks.vgg16``), in place.

    Its images are blue, green, red from 0 to 255 less ``sw.networks.vgg16.MEANS``.

    Raises
    ------
    UserError
        A package of the extra ``vgg16`` is missing.
    """
    from onnx import numpy_helper

    from sw.networks.vgg16 import float_model

    graph = float_model().graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            layer = model.get_submodule(node.name)
            values = zip(("weight", "bias"), node.input[1:], strict=True)
            layer.load_state_dict({key: torch.tensor(tensors[name]) for key, name in values})


ALEXNET = Definition(
    name="alexnet",
    summary="five convolutions of two groups, three fully connected layers; ImageNet's size",
    make=AlexNet,
    recipe=Recipe(epochs=90, rate=0.01, retrain_rate=0.001),
    input_shape=(3, 227, 227),
    classes=1000,
    widths=ALEXNET_WIDTHS,
    any_images=True,
)
VGG_16 = Definition(
    name="vgg16",
    summary="thirteen convolutions, three fully connected layers; ImageNet's size",
    make=Vgg16,
    recipe=Recipe(epochs=74, rate=0.01, retrain_rate=0.001),
    input_shape=(3, 224, 224),
    classes=1000,
    widths=VGG_WIDTHS,
    any_images=True,
)
