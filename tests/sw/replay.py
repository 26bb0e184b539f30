"""Golden operators beside ONNX Runtime: each node on ONNX Runtime's own codes, or end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from accel.activations.host import run_host
from golden import reference
from golden.network import Convolution, Network
from sw.compress import onnx_activations
from sw.images import Images, network_codes
from sw.onnx.importer import import_codes


@dataclass
class Agreement:
    """How codes compare: counted by node alone, and of the network's output end to end.

    ``from_half`` is the farthest that the exact sum of a layer's code that differs is from a half.
    """

    codes: int = 0
    equal: int = 0
    worst: int = 0
    from_half: float = 0.0
    output_codes: int = 0
    output_equal: int = 0
    output_worst: int = 0

    def __str__(self) -> str:
        return (
            f"nodes: {self.equal / self.codes:.2%} of {self.codes} equal, at most {self.worst} "
            f"apart; outputs: {self.output_equal / self.output_codes:.2%} of "
            f"{self.output_codes} equal, at most {self.output_worst} apart"
        )


def compare(model: ModelProto, images: Images, optimise: bool, total: Agreement) -> Network:
    """Add a quantised model's agreement with ONNX Runtime to ``total``."""
    network, known = import_codes(model)
    run = onnx_activations(model, known, optimise)
    inputs = network_codes(images, network)
    for index, first in enumerate(inputs):
        is_one = not isinstance(images, Mapping)
        image = images[index : index + 1] if is_one else {
            name: values[index : index + 1] for name, values in images.items()
        }  # fmt: skip
        alone = dict(run(image))
        expected = dict(alone)
        for name, value in network.input_values(first).items():
            np.testing.assert_array_equal(alone.setdefault(name, value), value)
        for node in network.nodes:
            operands = [alone[name] for name in node.inputs]
            sources = [network.tensor(name) for name in node.inputs]
            result = reference.run_node(node, operands, sources, run_host)
            name = node.output.name
            if name in expected:
                apart = np.abs(result.astype(int) - expected[name])
                total.codes += apart.size
                total.equal += int(np.count_nonzero(apart == 0))
                total.worst = max(total.worst, int(apart.max()))
                if isinstance(node, Convolution):
                    for place in np.argwhere(apart):
                        distance = from_half(node, operands[0], place)
                        total.from_half = max(total.from_half, distance)
            else:
                alone[name] = result
        final = reference.run_network(network, first, run_host)[network.output]
        if network.output in expected:
            apart = np.abs(final.astype(int) - expected[network.output])
            total.output_codes += apart.size
            total.output_equal += int(np.count_nonzero(apart == 0))
            total.output_worst = max(total.output_worst, int(apart.max()))
    return network


def from_half(node: Convolution, source: NDArray, place: NDArray) -> float:
    """Return how far a layer's exact sum is from a half between two codes, in codes.

    Parameters
    ----------
    source : ndarray of codes, axes y, x, channel
    place : ndarray of int, axis p, q, k
    """
    layer, (p, q, k) = node.layer, place.tolist()
    pads = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
    group = k // layer.group_filters
    channels = slice(group * layer.group_channels, (group + 1) * layer.group_channels)
    top, left = p * layer.stride_height, q * layer.stride_width
    rows = slice(max(0, top - layer.pad_top), top - layer.pad_top + layer.kernel_height)
    part = np.pad(source[rows, :, channels].astype(np.int64), ((0, 0), pads[1], (0, 0)))
    window = part[:, left : left + layer.kernel_width]
    first = max(0, layer.pad_top - top)
    weights = node.weights[k].astype(np.int64)[first : first + len(window)]
    how = node.requantisation
    total = int((window * weights).sum()) + int(how.bias[k])
    scale = 1 << int(how.shift[k])
    return abs(total * int(how.multiplier[k]) % scale / scale - 0.5)
