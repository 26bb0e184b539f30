"""ResNet-8: three residual blocks of 16, 32 and 64 channels (He et al., CVPR 2016).

``python -m sw.training.resnet8`` trains it on Fashion-MNIST, prunes it to about 20 % and writes
``resnet8.onnx`` and ``resnet8.safetensors``. Its size is that of MLPerf Tiny's ResNet-8.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from sw.onnx_build import GraphBuilder
from sw.training.loop import Recipe
from sw.training.networks.resnet import RESNET_8, Normalised, ResNet

__all__ = ["RECIPE", "to_onnx"]

#: Names of the convolutions in the order in which they run.
CONVOLUTIONS = (
    "stem",
    "block1.conv1",
    "block1.conv2",
    "block2.conv1",
    "block2.conv2",
    "block2.shortcut",
    "block3.conv1",
    "block3.conv2",
    "block3.shortcut",
)

RECIPE = Recipe(
    densities={
        "stem.convolution.weight": 0.75,
        "block1.conv1.convolution.weight": 0.30,
        "block1.conv2.convolution.weight": 0.30,
        "block2.conv1.convolution.weight": 0.25,
        "block2.conv2.convolution.weight": 0.20,
        "block2.shortcut.convolution.weight": 0.40,
        "block3.conv1.convolution.weight": 0.19,
        "block3.conv2.convolution.weight": 0.16,
        "block3.shortcut.convolution.weight": 0.30,
        "fc.weight": 0.60,
    },
    dense_epochs=8,
    pruning_epochs=6,
    settling_epochs=3,
    dense_rate=0.1,
    retrain_rate=0.05,
)


def to_onnx(model: ResNet, metadata: dict[str, str]) -> Any:
    """Return the float ``onnx.ModelProto``; images have axes n=1, c=1, y, x and values 0..1."""
    graph = GraphBuilder("resnet8", (1, 1, 28, 28))

    def normalised(source: str, name: str) -> str:
        module = cast(Normalised, model.get_submodule(name))
        convolution, norm = module.convolution, module.norm
        x = graph.convolution(
            source,
            name,
            convolution.weight.detach().numpy(),
            stride=convolution.stride[0],
            pad=int(convolution.padding[0]),
        )
        statistics = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        arrays = [cast(Tensor, tensor).detach().numpy() for tensor in statistics]
        return graph.batch_norm(x, f"{name}.norm", *arrays, epsilon=norm.eps)

    x = graph.relu(normalised(graph.input, "stem"), "stem.relu")
    for block in ("block1", "block2", "block3"):
        y = graph.relu(normalised(x, f"{block}.conv1"), f"{block}.conv1.relu")
        y = normalised(y, f"{block}.conv2")
        shortcut = f"{block}.shortcut"
        x = graph.add(y, normalised(x, shortcut) if shortcut in CONVOLUTIONS else x, f"{block}.add")
        x = graph.relu(x, f"{block}.relu")
    x = graph.flatten(graph.global_average_pool(x, "pool"), "flatten")
    x = graph.fully_connected(
        x, "fc", model.fc.weight.detach().numpy(), model.fc.bias.detach().numpy()
    )
    return graph.build(x, metadata)


if __name__ == "__main__":
    from sw.training.run import main

    main("resnet8", RESNET_8.make, to_onnx, RECIPE)
