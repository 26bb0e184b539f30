"""Networks to train and prune: a definition is an entry of ``DEFINITIONS`` and a module here."""

from __future__ import annotations

from golden.errors import look_up
from sw.training.networks.definition import Definition, Recipe
from sw.training.networks.hed import VGG_16_HED
from sw.training.networks.imagenet import ALEXNET, VGG_16
from sw.training.networks.lenet import LENET_5, LENET_300_100
from sw.training.networks.lstm import LSTM
from sw.training.networks.resnet import RESNET_8, RESNET_20
from sw.training.networks.vgg_small import VGG_SMALL

__all__ = ["DEFINITIONS", "Definition", "Recipe", "find"]

DEFINITIONS: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        LENET_300_100,
        LENET_5,
        VGG_SMALL,
        RESNET_8,
        RESNET_20,
        LSTM,
        ALEXNET,
        VGG_16,
        VGG_16_HED,
    )
}


def find(name: str) -> Definition:
    """Return a definition by name.

    Raises
    ------
    UserError
        There is none of this name.
    """
    return look_up("Network", DEFINITIONS, name)
