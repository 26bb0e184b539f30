"""What a network is in a few figures, found without loading its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from golden.errors import FormatError
from golden.layer import LayerShape
from sw.networks.published import PublishedLayer

__all__ = ["NetworkSummary", "summarise_container", "summarise_published"]


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A network's size, densities and accuracy.

    Parameters
    ----------
    layers : int
        Convolutions and fully connected layers.
    weights, macs : int
        Of the dense network.
    weight_density, activation_density : float
        Shares of weights, and of the codes that layers read, that are not zero, 0..1.
    accuracy : float, optional
        Of the int8 network on its test data, 0..1; None where it was not measured.
    """

    layers: int
    weights: int
    macs: int
    weight_density: float
    activation_density: float
    accuracy: float | None = None


def summarise_container(path: Path) -> NetworkSummary:
    """Read the header of a container and the densities of its tensors.

    Raises
    ------
    FormatError
        The file is no container.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads(file.metadata()["network"])
            nodes = [node for node in described["nodes"] if node["kind"] == "Convolution"]
            kept = sum(
                file.get_slice(f"nodes/{node['output']['name']}/weights/values").get_shape()[0]
                for node in nodes
            )
            shapes = {
                item["output"]["name"]: item["output"]["shape"] for item in described["nodes"]
            }
            shapes |= {item["name"]: item["shape"] for item in described["inputs"]}
            densities = {
                name: float(file.get_tensor(f"channel_density/{name}").mean())
                for name in described["channel_density"]
            }
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"Container {path} must describe a network: {error}") from None
    layers = [LayerShape(**node["layer"]) for node in nodes]
    read = [node["inputs"][0] for node in nodes]
    weights = sum(prod(layer.weights_shape) for layer in layers)
    return NetworkSummary(
        layers=len(layers),
        weights=weights,
        macs=sum(layer.dense_macs for layer in layers),
        weight_density=kept / weights,
        activation_density=float(
            np.average(
                [densities[name] for name in read], weights=[prod(shapes[name]) for name in read]
            )
        ),
        accuracy=described["accuracy"].get("int8"),
    )


def summarise_published(layers: Sequence[PublishedLayer]) -> NetworkSummary:
    """Return the figures of layers that are known by their densities alone."""
    shapes = [layer.shape for layer in layers]
    weights = [prod(shape.weights_shape) for shape in shapes]
    inputs = [shape.in_channels * shape.in_height * shape.in_width for shape in shapes]
    return NetworkSummary(
        layers=len(layers),
        weights=sum(weights),
        macs=sum(shape.dense_macs for shape in shapes),
        weight_density=float(
            np.average([layer.weight_density for layer in layers], weights=weights)
        ),
        activation_density=float(
            np.average([layer.input_density for layer in layers], weights=inputs)
        ),
    )
