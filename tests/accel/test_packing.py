"""Masks made 64 positions at a time are those of the shared packing."""

import numpy as np
import pytest

from accel.machines.cluster.packing import activation_masks, pack_filters
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.cluster.workload import pack_activations, pack_weights


@pytest.mark.parametrize("chunk", [16, 32, 64, 128, 256])
@pytest.mark.parametrize(
    ("channels", "groups", "kernel", "stride"),
    [(3, 1, 3, 2), (130, 1, 1, 1), (64, 1, 3, 1), (40, 2, 3, 1), (6, 6, 5, 1), (256, 2, 1, 2)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_masks(chunk, channels, groups, kernel, stride, dtype):
    config = AcceleratorConfig.preset("toy").replace(chunk=chunk, broadcast_width=8)
    layer = LayerShape(
        name="layer", in_channels=channels, in_height=6, in_width=5, out_channels=2 * groups,
        kernel_height=kernel, kernel_width=kernel, stride_height=stride, stride_width=stride,
        pad_top=1, pad_left=2, pad_bottom=2, pad_right=1, groups=groups,
    )  # fmt: skip
    random = np.random.default_rng(channels)
    inputs = random.integers(-2, 3, (6, 5, channels)).astype(np.int8).view(dtype)
    weights = random.integers(-1, 2, layer.weights_shape).astype(np.int8)
    im2row = layer.layout(config).im2row
    expected = pack_activations(inputs, layer, chunk, im2row)
    assert np.array_equal(activation_masks(config, layer, inputs), expected.masks)
    packed, expected = (
        pack_filters(config, layer, weights),
        pack_weights(weights, layer, chunk, im2row),
    )
    packed.validate()
    assert packed.shape == expected.shape
    assert np.array_equal(packed.masks, expected.masks)
    assert np.array_equal(packed.pointers, expected.pointers)
    assert np.array_equal(packed.values, expected.values)
