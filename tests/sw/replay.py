"""Golden operators beside ONNX Runtime: each node on ONNX Runtime's own codes, or end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from golden import reference
from golden.network import (
    Addition,
    Concatenation,
    Convolution,
    Network,
    Node,
    Padding,
    Pooling,
    Rescaling,
)
from sw.compress import onnx_activations
from sw.images import image_codes
from sw.onnx.importer import import_codes

Codes = NDArray[np.int8 | np.uint8]


def run_node(network: Network, node: Node, codes: Mapping[str, Codes]) -> Codes:
    """Compute one node by the golden operators."""
    operands = [codes[name] for name in node.inputs]
    zeros = [network.tensor(name).zero_point for name in node.inputs]
    match node:
        case Convolution():
            return reference.convolve(node.weights, operands[0], node.layer, node.requantisation)
        case Pooling():
            return reference.pool(node, operands[0], zeros[0])
        case Addition():
            return reference.add(node, operands, zeros)
        case Rescaling():
            return reference.rescale(node, operands[0], zeros[0])
        case Concatenation():
            return reference.concatenate(node, operands)
        case Padding():
            return reference.pad(node, operands[0])


@dataclass
class Agreement:
    """How codes compare: counted by node alone, and of the network's output end to end."""

    codes: int = 0
    equal: int = 0
    worst: int = 0
    output_codes: int = 0
    output_equal: int = 0
    output_worst: int = 0

    def __str__(self) -> str:
        return (
            f"nodes: {self.equal / self.codes:.2%} of {self.codes} equal, at most {self.worst} "
            f"apart; outputs: {self.output_equal / self.output_codes:.2%} of "
            f"{self.output_codes} equal, at most {self.output_worst} apart"
        )


def compare(
    model: ModelProto, images: NDArray[np.float32], optimise: bool, total: Agreement
) -> Network:
    """Add a quantised model's agreement with ONNX Runtime to ``total``."""
    network, known = import_codes(model)
    run = onnx_activations(model, known, optimise)
    inputs = image_codes(images, network.input)
    for image, first in zip(images, inputs, strict=True):
        expected = dict(run(image[None]))
        np.testing.assert_array_equal(expected[network.input.name], first)
        alone = dict(expected)
        for node in network.nodes:
            result = run_node(network, node, alone)
            name = node.output.name
            if name in expected:
                apart = np.abs(result.astype(int) - expected[name])
                total.codes += apart.size
                total.equal += int(np.count_nonzero(apart == 0))
                total.worst = max(total.worst, int(apart.max()))
            else:
                alone[name] = result
        final = reference.run_network(network, first)[network.output]
        apart = np.abs(final.astype(int) - expected[network.output])
        total.output_codes += apart.size
        total.output_equal += int(np.count_nonzero(apart == 0))
        total.output_worst = max(total.output_worst, int(apart.max()))
    return network
