"""Networks known by their published shapes and densities alone: synthetic masks.

No trained ImageNet AlexNet or VGG-16 with a published pruning is to be had. These networks
have the exact layers, and weights and activations whose zeros are drawn at random, each layer
at its published density. Real masks are not so even: they take more cycles.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation, quantise_scale
from golden.layer import LayerShape
from golden.network import Convolution, Network, Node, Pooling, PoolingKind, TensorInfo

__all__ = ["PublishedLayer", "published_layers", "synthetic_image", "synthetic_network"]

#: Standard deviations of an accumulator that reach the largest output code.
_RANGE_DEVIATIONS = 3.0
#: Mean square of a code drawn evenly from 1..127, and of one drawn from 1..255.
_WEIGHT_SQUARE = 127 * 128 * 255 / 6 / 127
_ACTIVATION_SQUARE = 255 * 256 * 511 / 6 / 255


@dataclass(frozen=True, kw_only=True)
class PublishedLayer:
    """A layer and its published shares of non-zero weights, inputs and outputs, 0..1."""

    shape: LayerShape
    weight_density: float
    input_density: float
    output_density: float


def published_layers(network: str) -> list[PublishedLayer]:
    """Return the layers of ``alexnet`` or ``vgg16`` from ``networks/data/han2015.csv``."""
    path = resources.files("sw") / "networks" / "data" / "han2015.csv"
    lines = path.read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [_published_layer(row) for row in rows if row["network"] == network]


def _published_layer(row: dict[str, str]) -> PublishedLayer:
    kernel, stride, pad = int(row["kernel"]), int(row["stride"]), int(row["pad"])
    shape = LayerShape(
        name=row["layer"],
        in_channels=int(row["in_channels"]),
        in_height=int(row["in_height"]),
        in_width=int(row["in_width"]),
        out_channels=int(row["out_channels"]),
        kernel_height=kernel,
        kernel_width=kernel,
        stride_height=stride,
        stride_width=stride,
        pad_top=pad,
        pad_left=pad,
        pad_bottom=pad,
        pad_right=pad,
        groups=int(row["groups"]),
    )
    return PublishedLayer(
        shape=shape,
        weight_density=int(row["weight_percent"]) / 100,
        input_density=int(row["input_percent"]) / 100,
        output_density=int(row["output_percent"]) / 100,
    )


def synthetic_network(name: str, network: str, pool: int, seed: int = 1, block: int = 1) -> Network:
    """Draw a network of published layers and densities.

    Parameters
    ----------
    name : str
        Name of the result.
    network : str
        ``alexnet`` or ``vgg16``.
    pool : int
        Size of the max pools, of stride 2, that lie wherever the shape shrinks.
    block : int
        Consecutive filters of a group that share their zeros: pruning in blocks
        (1, ``block``, 1, 1) of Zhou et al., MICRO'18.

    Returns
    -------
    Network
        With ``synthetic_inputs`` for every convolution.
    """
    generator = np.random.default_rng(seed)
    layers = published_layers(network)
    source = _tensor("images", layers[0].shape.in_height, layers[0].shape.in_channels)
    image, nodes, inputs = source, [], {}
    for layer in layers:
        if source.shape[0] != layer.shape.in_height:
            nodes.append(_max_pool(source, f"{nodes[-1].output.name}.pool", pool))
            source = nodes[-1].output
        inputs[source.name] = _codes(generator, source.shape, layer.input_density)
        nodes.append(_convolution(generator, layer, source, block))
        source = nodes[-1].output
    return Network(
        name=name,
        source=(
            "synthetic masks at published densities: layers and densities of Han et al., NeurIPS "
            "2015, Tables 4 and 5; zeros and values of weights and activations are random"
            + (f"; {block} filters share their zeros" if block > 1 else "")
        ),
        input=image,
        nodes=tuple(nodes),
        output=source.name,
        channel_density={},
        accuracy={},
        synthetic_inputs=inputs,
    ).validate()


def synthetic_image(network: str, seed: int = 1) -> NDArray[np.uint8]:
    """Return the synthetic input of the first layer alone, axes y, x, channel."""
    first = published_layers(network)[0]
    shape = (first.shape.in_height, first.shape.in_width, first.shape.in_channels)
    return _codes(np.random.default_rng(seed), shape, first.input_density)


def _tensor(name: str, size: int, channels: int) -> TensorInfo:
    return TensorInfo(name=name, shape=(size, size, channels), dtype="uint8", scale=1.0)


def _max_pool(source: TensorInfo, name: str, pool: int) -> Node:
    size = (source.shape[0] - pool) // 2 + 1
    return Pooling(
        input=source.name,
        output=_tensor(name, size, source.shape[2]),
        kind=PoolingKind.MAX,
        kernel=(pool, pool),
        stride=(2, 2),
        pads=(0, 0, 0, 0),
        count_include_pad=False,
    )


def _codes(
    generator: np.random.Generator, shape: tuple[int, ...], density: float
) -> NDArray[np.uint8]:
    """Draw codes 1..255, each kept with probability ``density``."""
    kept = _draws(generator, shape) < density
    codes = np.zeros(shape, dtype=np.uint8)
    codes[kept] = generator.integers(1, 256, np.count_nonzero(kept), dtype=np.uint8)
    return codes


def _weights(generator: np.random.Generator, layer: PublishedLayer, block: int) -> NDArray[np.int8]:
    """Draw codes of magnitude 1..127 and either sign, each kept with probability density.

    Of each group, ``block`` consecutive filters share their zeros.
    """
    weights = np.zeros(layer.shape.weights_shape, dtype=np.int8)
    draws = np.empty(0, dtype=np.float32)
    for k, chosen in enumerate(weights):  # one at a time: the draws take more memory than int8
        begins = k % layer.shape.group_filters % block == 0
        if begins:
            draws = _draws(generator, chosen.shape)
        kept = draws < layer.weight_density
        values = generator.integers(1, 128, np.count_nonzero(kept), dtype=np.int8)
        # Where a filter has its zeros from another one it needs signs of its own.
        half = draws[kept] < layer.weight_density / 2
        negative = half if begins else generator.random(len(values)) < 0.5
        chosen[kept] = np.where(negative, -values, values)
    return weights


def _draws(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return generator.random(shape, dtype=np.float32)


def _convolution(
    generator: np.random.Generator, layer: PublishedLayer, source: TensorInfo, block: int
) -> Convolution:
    """Make a layer whose ReLU leaves about the published share of its outputs."""
    shape = layer.shape
    taps = shape.taps * shape.group_channels
    # An accumulator is a sum of many terms of mean zero: near enough to normal.
    deviation = float(
        np.sqrt(
            taps * layer.weight_density * _WEIGHT_SQUARE * layer.input_density * _ACTIVATION_SQUARE
        )
    )
    positive = min(layer.output_density, 0.99)
    bias = round(deviation * NormalDist().inv_cdf(positive))
    multiplier, shift = quantise_scale(np.array(255 / (_RANGE_DEVIATIONS * deviation)))
    filters = np.ones(shape.out_channels, dtype=np.int64)
    return Convolution(
        input=source.name,
        output=_tensor(shape.name, shape.out_height, shape.out_channels),
        layer=shape,
        weights=_weights(generator, layer, block),
        weight_scales=np.ones(shape.out_channels),
        requantisation=Requantisation(
            bias=filters * bias,
            multiplier=filters * int(multiplier),
            shift=filters * int(shift),
            low=0,
            high=255,
        ),
    )
