"""Networks: what does not fit together is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from golden.errors import CapacityError, FormatError
from tests.golden.test_reference import info, small_network


def broken(index: int, **changes):
    network = small_network()
    nodes = list(network.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(network, nodes=tuple(nodes))


def test_good_network_is_returned():
    network = small_network()
    assert network.validate() is network
    assert [node.layer.name for node in network.convolutions] == ["double"]
    assert network.tensor("image").shape == (2, 2, 1)
    assert network.tensor("both").shape == (2, 2, 2)
    with pytest.raises(StopIteration):
        network.tensor("none")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (broken(0, input="later"), "Node doubled reads later, not made before it"),
        (broken(1, inputs=("image", "both")), "Node sum reads both, not made before it"),
        (broken(1, output=info("image", (2, 2, 1))), "Tensor image is made twice"),
        (
            broken(0, weights=np.ones((1, 1, 2, 1), np.int8)),
            r"Layer double: weights must be int8 of shape \(1, 1, 1, 1\), not .* \(1, 1, 2, 1\)",
        ),
        (
            broken(0, weights=np.ones((1, 1, 1, 1), np.int16)),
            "Layer double: weights must be int8 .* not int16",
        ),
        (
            broken(0, output=info("doubled", (2, 3, 1))),
            r"Layer double: output doubled must have shape \(2, 2, 1\), not \(2, 3, 1\)",
        ),
        (
            replace(small_network(), input=info("image", (2, 2, 3))),
            r"Layer double: input image must have shape \(2, 2, 1\), not \(2, 2, 3\)",
        ),
        (replace(small_network(), output="none"), "output none is made by no node"),
    ],
)
def test_what_does_not_fit_is_refused(network, words):
    with pytest.raises(FormatError, match=words):
        network.validate()


def test_layer_names_are_unique():
    network = small_network()
    twice = replace(network.nodes[0], output=info("again", (2, 2, 1)))
    with pytest.raises(FormatError, match="Layer double appears twice"):
        replace(network, nodes=(*network.nodes, twice)).validate()


def test_overflow_is_refused_by_name():
    network = small_network()
    how = replace(network.convolutions[0].requantisation, bias=np.array([1 << 31]))
    with pytest.raises(CapacityError, match=r"Layer double: the bias of .* channel 0 must fit"):
        broken(0, requantisation=how).validate()
    broken(0, requantisation=replace(how, bias=how.bias - 1)).validate()
