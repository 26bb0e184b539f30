"""Cambricon-X by hand, and against a model that steps PEs position by position."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.machines.cambricon_x import CambriconX
from golden.layer import LayerShape
from golden.machines.cambricon_s import CambriconSConfig
from tests.arch.counting import count_image

CONFIG = CambriconSConfig.preset("toy")


def run(config, layer, weights):
    source = np.zeros((layer.in_height, layer.in_width, layer.in_channels), dtype=np.uint8)
    output = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.uint8)
    return count_image(CambriconX(config), layer, weights, source, output)


def steps_of(config, layer, weights_of_filter):
    """Walk the weights kernel row by kernel row in windows; count lanes-wide bites."""
    steps = 0
    for r in range(layer.kernel_height):
        row = [
            int(weights_of_filter[r, s, c])
            for s in range(layer.kernel_width)
            for c in range(layer.group_channels)
        ]
        for start in range(0, len(row), config.window):
            left = sum(value != 0 for value in row[start : start + config.window])
            while left > 0:
                steps, left = steps + 1, left - config.lanes
    return steps


def model(config, layer, weights):
    """Return cycles and each PE's busy, bubble, sibling and memory cycles, core after core."""
    found, ends = [], []
    index = math.ceil(layer.taps * layer.group_channels / 8)
    for core in range(config.cores):
        positions = len(range(core, layer.positions, config.cores))
        pes = np.zeros((config.pes, 4), dtype=int)
        loaded, finished = 0, [0, 0]
        for group in range(layer.groups if positions else 0):
            filters = list(range(layer.group_filters))
            while filters:
                block, filters = filters[: config.pes], filters[config.pes :]
                numbers = [group * layer.group_filters + k for k in block]
                loaded = max(loaded, finished[-2])
                for k in numbers:
                    held = np.count_nonzero(weights[k]) + index
                    loaded += math.ceil(held / config.bus_bytes)
                begun = max(loaded, finished[-1])
                clocks = [begun] * len(block)
                for _ in range(positions):
                    for pe, k in enumerate(numbers):
                        steps = steps_of(config, layer, weights[k])
                        pes[pe, 0 if steps else 1] += max(1, steps)
                        clocks[pe] += max(1, steps)
                for pe in range(len(block)):
                    pes[pe, 2] += max(clocks) - clocks[pe]
                    pes[pe, 3] += begun - finished[-1]
                finished.append(max(clocks))
        found.append(pes)
        ends.append(finished[-1] + 16 if positions else 0)
    return max(ends), np.concatenate(found)


def test_by_hand():
    # 1 x 1 kernel, 8 channels, 2 filters, one position; 4 lanes; a bus of 8 bytes.
    layer = LayerShape(
        name="hand", in_channels=8, in_height=1, in_width=1, out_channels=2, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    weights = np.zeros(layer.weights_shape, dtype=np.int8)
    weights[0, 0, 0, :5] = 3  # 5 weights: 2 steps; 5 + 1 bytes: 1 beat
    weights[1, 0, 0, 7] = 1  # 1 step; 1 + 1 bytes: 1 beat
    counts = run(CONFIG, layer, weights)
    assert counts.cycles == 2 + 2 + 16
    assert counts.unit("busy_cycles").tolist() == [2, 1, 0, 0]
    assert counts.unit("wait_siblings_cycles").tolist() == [0, 1, 0, 0]
    assert counts.unit("wait_memory_cycles").tolist() == [2, 2, 0, 0]
    assert counts.unit("wait_broadcast_cycles").tolist() == [16, 16, 16, 16]
    assert counts.unit("idle_cycles").tolist() == [0, 0, 4, 4]
    assert counts.pairs == 6


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    groups=st.integers(1, 2),
    channels=st.integers(1, 40),
    filters=st.integers(1, 9),
    kernel=st.integers(1, 3),
    cores=st.integers(1, 3),
    bus=st.sampled_from([1, 8, 64]),
)
def test_equals_the_model(seed, density, groups, channels, filters, kernel, cores, bus):
    layer = LayerShape(
        name="drawn", in_channels=groups * channels, in_height=3, in_width=4,
        out_channels=groups * filters, kernel_height=kernel, kernel_width=kernel, groups=groups,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    shape = layer.weights_shape
    weights = (rng.integers(1, 9, shape) * (rng.random(shape) < density)).astype(np.int8)
    config = CONFIG.replace(cores=cores, bus_bytes=bus)
    counts = run(config, layer, weights)
    cycles, pes = model(config, layer, weights)
    assert counts.cycles == cycles
    names = ("busy_cycles", "bubble_cycles", "wait_siblings_cycles", "wait_memory_cycles")
    for column, name in enumerate(names):
        assert counts.unit(name).tolist() == pes[:, column].tolist(), name
    assert (counts.units.sum(axis=1) == counts.cycles).all()
    assert counts.pairs == np.count_nonzero(weights) * layer.positions


@pytest.mark.parametrize("multipliers", [16, 256, 1024])
def test_has_the_size_of_cambricon_s(multipliers):
    machine = CambriconX.with_multipliers(multipliers)
    assert machine.multipliers == multipliers
    assert machine.parameters()["window"] >= machine.parameters()["lanes"]
