"""Networks and float models as layers of codes, and the same with codebooks put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from golden.errors import UserError
from golden.network import Convolution, Network
from sw.coding.codebook import CodebookOptions, CodedWeights, share_values
from sw.coding.stages import LayerCodes
from sw.onnx.file import is_quantised
from sw.onnx.graph.nodes import attributes
from sw.onnx.prepare import layer_weights

__all__ = ["int8_layers", "layer_codes", "share_model", "share_network"]


def _is_connected(node: Convolution) -> bool:
    layer = node.layer
    return (layer.kernel_height, layer.kernel_width) == (layer.in_height, layer.in_width)


def int8_layers(network: Network) -> list[LayerCodes]:
    """Return a network's layers as the machine has them: int8, a 32-bit scale a filter."""
    return [
        LayerCodes(
            name=node.layer.name,
            connected=_is_connected(node),
            coded=CodedWeights.plain(node.weights),
            scales=node.weight_scales.astype(np.float32),
        )
        for node in network.convolutions
    ]


def share_network(
    network: Network, options: CodebookOptions
) -> tuple[Network, list[LayerCodes], list[str]]:
    """Give a quantised network's int8 weights codebooks of int8 values.

    Returns
    -------
    network : Network
        With the weights that the codebooks decode to.
    layers : list of LayerCodes
    short : list of str
        Layers that have fewer different weights than a codebook has places.

    Raises
    ------
    UserError
        scikit-learn is needed and not installed.
    """
    nodes, layers, short = [], [], []
    for node in network.nodes:
        if isinstance(node, Convolution):
            connected = _is_connected(node)
            coded = _share(node.weights, connected, options)
            scales = node.weight_scales.astype(np.float32)
            layers.append(
                LayerCodes(name=node.layer.name, connected=connected, coded=coded, scales=scales)
            )
            short += [node.layer.name] if coded.short else []
            node = replace(node, weights=coded.decode())
        nodes.append(node)
    source = f"{network.source}; {options.describe()}, of the int8 weights"
    # What was measured of the weights as they were does not hold of these.
    return (
        replace(network, nodes=tuple(nodes), source=source, accuracy={}).validate(),
        layers,
        short,
    )


def share_model(
    model: ModelProto, options: CodebookOptions
) -> tuple[ModelProto, list[LayerCodes], list[str]]:
    """Give a float model's weights codebooks; prepare it first (``sw.onnx.prepare.prepare``).

    Weights that layers share are coded once, under the first one's name.

    Returns
    -------
    model : ModelProto
        A copy with the weights that the codebooks decode to.
    layers : list of LayerCodes
        A convolution's codes have axes k, r, s, c; inputs of a fully connected layer are in
        the model's order.
    short : list of str
        Layers that have fewer different weights than a codebook has places.

    Raises
    ------
    UserError
        The model is quantised already, or scikit-learn is needed and not installed.
    """
    if is_quantised(model):
        raise UserError("Model to give codebooks must be float, not quantised already")
    shared = ModelProto()
    shared.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in shared.graph.initializer}
    nodes = {node.name: node for node in shared.graph.node}
    layers, short, done = [], [], set()
    for name, tensor in layer_weights(shared).items():
        if tensor in done:
            continue
        done.add(tensor)
        node, values = nodes[name], numpy_helper.to_array(tensors[tensor])
        connected = node.op_type != "Conv"
        turned = connected and not attributes(node).get("transB", 0)
        weights = values.T if turned else values
        coded = _share(weights, connected, options)
        layers.append(layer_codes(name, coded, connected))
        short += [name] if coded.short else []
        decoded = coded.decode().T if turned else coded.decode()
        decoded = np.ascontiguousarray(decoded.astype(values.dtype))
        tensors[tensor].CopyFrom(numpy_helper.from_array(decoded, tensor))
    return shared, layers, short


def _share(weights: NDArray, connected: bool, options: CodebookOptions) -> CodedWeights:
    bits = options.bits(connected)
    return share_values(weights, bits, options.start, options.region_filters, options.seed)


def layer_codes(name: str, coded: CodedWeights, connected: bool) -> LayerCodes:
    """Return a float layer's codes, axes k, c or k, c, y, x, with those of a layer as stored."""
    codes = coded.codes[:, None, None] if connected else coded.codes.transpose(0, 2, 3, 1)
    return LayerCodes(
        name=name, connected=connected, coded=replace(coded, codes=np.ascontiguousarray(codes))
    )
