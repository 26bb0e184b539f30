"""The dense baseline against loops that visit every multiplication."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.machines.dense import Dense
from golden.errors import ConfigError
from golden.layer import LayerShape
from tests.arch.counting import count_image


def run(machine: Dense, layer: LayerShape):
    weights = np.zeros(layer.weights_shape, dtype=np.int8)
    source = np.zeros((layer.in_height, layer.in_width, layer.in_channels), dtype=np.uint8)
    output = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.uint8)
    return count_image(machine, layer, weights, source, output)


def by_loops(layer: LayerShape, filters: int, reduction: int, positions: int):
    """Step through one group with loops; return steps, and each multiplier's useful steps."""
    k_all = range(layer.out_channels // layer.groups)
    e_all = range(layer.kernel_height * layer.kernel_width * layer.in_channels // layer.groups)
    p_all = range(layer.out_height * layer.out_width)
    steps, busy = 0, {}
    for k0, e0, p0 in itertools.product(k_all[::filters], e_all[::reduction], p_all[::positions]):
        steps += 1
        lanes = itertools.product(range(filters), range(reduction), range(positions))
        for lane, (k, e, p) in enumerate(lanes):
            exists = k0 + k in k_all and e0 + e in e_all and p0 + p in p_all
            busy[lane] = busy.get(lane, 0) + exists
    return steps, busy


layers = st.builds(
    lambda groups, c, k, size, kernel, stride: LayerShape(
        name="drawn",
        in_channels=groups * c,
        in_height=size,
        in_width=size + 1,
        out_channels=groups * k,
        kernel_height=min(kernel, size),
        kernel_width=min(kernel, size),
        stride_height=stride,
        stride_width=stride,
        groups=groups,
    ),
    groups=st.integers(1, 2),
    c=st.integers(1, 5),
    k=st.integers(1, 6),
    size=st.integers(1, 6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
)


@settings(deadline=None)
@given(layer=layers, bits=st.integers(0, 4))
def test_equals_loops_and_is_the_best_mapping(layer, bits):
    machine = Dense.with_multipliers(1 << bits)
    counts = run(machine, layer)
    best, busy_of_best = math.inf, []
    for k, c in itertools.product(range(bits + 1), repeat=2):
        if k + c > bits:
            continue
        steps, busy = by_loops(layer, 1 << k, 1 << c, 1 << (bits - k - c))
        cycles = layer.groups * steps + c + 5
        if cycles < best:
            best, busy_of_best = cycles, []
        if cycles == best:
            busy_of_best.append(sorted(layer.groups * count for count in busy.values()))
    assert counts.cycles == best
    assert sorted(counts.unit("busy_cycles").tolist()) in busy_of_best
    assert counts.pairs == counts.unit("busy_cycles").sum()


def test_a_full_array_never_idles_but_to_fill():
    layer = LayerShape(
        name="full", in_channels=64, in_height=8, in_width=8, out_channels=64,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    # 64 * 64 * 64 multiplications on 256; the least reads a step are 16 x 1 x 16 at once.
    counts = run(Dense.with_multipliers(256), layer)
    assert counts.cycles == 64 * 64 * 64 // 256 + 5
    assert Dense.with_multipliers(256).unrolling(layer).reads_a_step == 32


@pytest.mark.parametrize("multipliers", [0, -4, 3, 96])
def test_refuses_other_sizes(multipliers):
    with pytest.raises(ConfigError, match=f"power of two, not {multipliers}"):
        Dense.with_multipliers(multipliers)
