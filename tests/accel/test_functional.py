"""Fast activations where speed could cost exactness; whole networks are compared elsewhere."""

import numpy as np
import pytest

from accel.activations import functional
from accel.activations.functional import convolve
from golden.arithmetic import Requantisation
from golden.layer import LayerShape


def requantisation(filters, shift):
    one = np.ones(filters, dtype=np.int64)
    bias = np.arange(filters, dtype=np.int64) - filters // 2
    return Requantisation(bias, one << 23, shift * one, -128, 127, signed=True)


def expected(layer, weights, inputs, requantisation):
    """Convolve by the definition, in int64."""
    padded = np.pad(
        inputs.astype(np.int64),
        ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0)),
    )
    total = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.int64)
    for p, q, k in np.ndindex(total.shape):
        y, x = p * layer.stride_height, q * layer.stride_width
        first = k // layer.group_filters * layer.group_channels
        window = padded[
            y : y + layer.kernel_height,
            x : x + layer.kernel_width,
            first : first + layer.group_channels,
        ]
        total[p, q, k] = (window * weights[k]).sum()
    return requantisation.apply(total)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_shape(groups, stride, monkeypatch):
    # Small blocks: windows and filters are both cut.
    monkeypatch.setattr(functional, "WINDOWS_ELEMENTS", 100)
    monkeypatch.setattr(functional, "FILTERS_ELEMENTS", 60)
    layer = LayerShape(
        name="layer", in_channels=6, in_height=7, in_width=6, out_channels=12, kernel_height=3,
        kernel_width=2, stride_height=stride, stride_width=3 - stride, pad_top=1, pad_left=0,
        pad_bottom=2, pad_right=1, groups=groups,
    )  # fmt: skip
    random = np.random.default_rng(groups)
    weights = random.integers(-127, 128, layer.weights_shape).astype(np.int8)
    inputs = random.integers(-128, 128, (7, 6, 6)).astype(np.int8)
    rule = requantisation(12, 32)
    found = convolve(layer, weights, inputs, rule)
    assert found.dtype == np.int8
    assert np.array_equal(found, expected(layer, weights, inputs, rule))


def test_sums_beyond_float32_are_exact():
    layer = LayerShape(
        name="wide", in_channels=4096, in_height=1, in_width=2, out_channels=3, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    random = np.random.default_rng(0)
    weights = random.integers(100, 128, layer.weights_shape).astype(np.int8)
    inputs = random.integers(200, 256, (1, 2, 4096)).astype(np.uint8)
    one = np.ones(3, dtype=np.int64)
    # The low eight bits of the sum: one unit off shows.
    exact = inputs.reshape(2, -1).astype(np.int64) @ weights.reshape(3, -1).T.astype(np.int64)
    assert exact.min() > 1 << 24
    rule = Requantisation(-exact[0] + 100, one << 1, one, 0, 255)
    found = convolve(layer, weights, inputs, rule)
    assert found[0, 0].tolist() == [100, 100, 100]
    assert np.array_equal(found, rule.apply(exact)[None])


def test_cuts_keep_every_part_exact():
    matrix = np.full((2, 1000), 127, dtype=np.int8)
    cuts = functional._exact_cuts(matrix, 255)
    assert (cuts[0], cuts[-1]) == (0, 1000)
    assert max(np.diff(cuts)) * 127 * 255 < 1 << 24
    assert functional._exact_cuts(matrix, 16) == [0, 1000]
