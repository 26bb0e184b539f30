"""LeNet-5 as Caffe ships it (20-50-500), with a ReLU after each convolution.

``python -m sw.training.lenet5`` trains it on Fashion-MNIST, prunes it to about 10 % and writes
``lenet5.onnx`` and ``lenet5.safetensors``. Densities follow Han et al., NeurIPS 2015, Table 3.
"""

from __future__ import annotations

from typing import Any

from sw.onnx_build import GraphBuilder
from sw.training.loop import Recipe
from sw.training.networks.lenet import LeNet5

__all__ = ["RECIPE", "to_onnx"]

RECIPE = Recipe(
    densities={
        "conv1.weight": 0.66,
        "conv2.weight": 0.20,
        "fc1.weight": 0.09,
        "fc2.weight": 0.25,
    },
    dense_epochs=8,
    pruning_epochs=6,
    settling_epochs=3,
    dense_rate=0.05,
    retrain_rate=0.02,
)


def to_onnx(model: LeNet5, metadata: dict[str, str]) -> Any:
    """Return the float ``onnx.ModelProto``; images have axes n=1, c=1, y, x and values 0..1."""
    values = {name: p.detach().numpy() for name, p in model.named_parameters()}
    graph = GraphBuilder("lenet5", (1, 1, 28, 28))
    x = graph.input
    for layer in ("conv1", "conv2"):
        x = graph.convolution(x, layer, values[f"{layer}.weight"], values[f"{layer}.bias"])
        x = graph.max_pool(graph.relu(x, f"{layer}.relu"), f"{layer}.pool")
    x = graph.flatten(x, "flatten")
    x = graph.fully_connected(x, "fc1", values["fc1.weight"], values["fc1.bias"])
    x = graph.relu(x, "fc1.relu")
    x = graph.fully_connected(x, "fc2", values["fc2.weight"], values["fc2.bias"])
    return graph.build(x, metadata)


if __name__ == "__main__":
    from sw.training.run import main

    main("lenet5", LeNet5, to_onnx, RECIPE)
