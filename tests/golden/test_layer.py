"""Layer shapes and chunk layouts, against sizes worked out by hand."""

import pytest

from golden.errors import ConfigError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig

TOY = AcceleratorConfig.preset("toy")  # 32 positions a chunk


def shape(**changes):
    fields = {
        "name": "conv", "in_channels": 6, "in_height": 8, "in_width": 9, "out_channels": 4,
        "kernel_height": 3, "kernel_width": 2,
    }  # fmt: skip
    return LayerShape(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({}, (6, 8)),
        ({"stride_height": 2, "stride_width": 4}, (3, 2)),
        ({"pad_top": 1, "pad_bottom": 2, "pad_left": 3}, (9, 11)),
        ({"kernel_height": 8, "kernel_width": 9}, (1, 1)),
        ({"kernel_height": 11, "kernel_width": 11, "pad_top": 3, "pad_left": 2}, (1, 1)),
        # AlexNet's first layer.
        (
            {"in_height": 227, "in_width": 227, "kernel_height": 11, "kernel_width": 11,
             "stride_height": 4, "stride_width": 4},
            (55, 55),
        ),
    ],
)  # fmt: skip
def test_output_size(changes, output):
    layer = shape(**changes)
    assert (layer.out_height, layer.out_width) == output
    assert layer.positions == output[0] * output[1]


def test_groups():
    layer = shape(groups=2)
    assert (layer.group_channels, layer.group_filters) == (3, 2)
    assert layer.weights_shape == (4, 3, 2, 3)
    assert layer.dense_macs == 6 * 8 * 4 * 6 * 3


@pytest.mark.parametrize(
    "field",
    ["in_channels", "in_height", "in_width", "out_channels", "kernel_height", "kernel_width",
     "stride_height", "stride_width", "groups"],
)  # fmt: skip
def test_sizes_must_be_positive(field):
    with pytest.raises(ConfigError, match=f"^Layer conv: {field} must be positive, not 0$"):
        shape(**{field: 0})


@pytest.mark.parametrize("field", ["pad_top", "pad_left", "pad_bottom", "pad_right"])
def test_pads_must_not_be_negative(field):
    with pytest.raises(ConfigError, match=f"^Layer conv: {field} must not be negative, not -1$"):
        shape(**{field: -1})


def test_groups_must_divide():
    with pytest.raises(ConfigError, match=r"groups must divide .* \(6\) and .* \(4\), not 4"):
        shape(groups=4)
    with pytest.raises(ConfigError, match=r"groups must divide .* \(6\) and .* \(4\), not 3"):
        shape(groups=3)


def test_kernel_must_fit():
    with pytest.raises(ConfigError, match="Layer conv: the kernel is larger than its padded input"):
        shape(kernel_height=10, pad_top=1)


@pytest.mark.parametrize(
    ("changes", "expected"),  # im2row, taps, row_length, row_chunks, filter_chunks
    [
        ({"in_channels": 70}, (False, 6, 70, 3, 18)),
        ({"in_channels": 5}, (False, 6, 5, 1, 6)),
        ({"in_channels": 4}, (True, 1, 24, 1, 1)),
        ({"in_channels": 4, "kernel_height": 5}, (True, 1, 40, 2, 2)),
        ({"in_channels": 4, "kernel_height": 1, "kernel_width": 1}, (False, 1, 4, 1, 1)),
        ({"in_channels": 8, "groups": 4}, (True, 1, 12, 1, 1)),
        ({"in_channels": 64, "kernel_height": 1}, (False, 2, 64, 2, 4)),
    ],
)
def test_layout(changes, expected):
    layout = shape(**changes).layout(TOY)
    found = (
        layout.im2row, layout.taps, layout.row_length, layout.row_chunks, layout.filter_chunks
    )  # fmt: skip
    assert found == expected


def test_chunk_lengths_end_ragged_in_every_row():
    layout = shape(in_channels=70).layout(TOY)
    assert [layout.chunk_length(i) for i in range(6)] == [32, 32, 6, 32, 32, 6]
    layout = shape(in_channels=64).layout(TOY)
    assert [layout.chunk_length(i) for i in range(4)] == [32, 32, 32, 32]
