"""The tick oracle of Cambricon-S against the reference operators, and cycles by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import reference
from golden.arithmetic import Requantisation
from golden.machines.cambricon_s import CambriconSConfig
from tests.arch.cambricon_s_cases import CATALOGUE, CONFIGURATIONS, cases, layer_of
from tests.arch.cambricon_s_oracle import run_layer

TOY = CONFIGURATIONS["toy"]


def check(case) -> None:
    codes, counters = run_layer(case.config, *case.arguments)
    layer, weights, activations, requantisation = case.arguments
    expected = reference.convolve(weights, activations, layer, requantisation)
    np.testing.assert_array_equal(codes, expected)
    assert codes.dtype == expected.dtype
    total = counters.units.sum(axis=2)
    cycles = counters.core("cycles")
    np.testing.assert_array_equal(total, np.broadcast_to(cycles[:, None], total.shape))
    assert counters.core("outputs").sum() == codes.size
    assert not counters.unit("wait_siblings_cycles").any()


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_catalogue(case):
    check(case)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_drawn(data):
    config = data.draw(st.sampled_from(list(CONFIGURATIONS.values())))
    check(data.draw(cases(config, steps_max=150)))


# -- by hand ----------------------------------------------------------------------------------


def count(config: CambriconSConfig, layer, weights, activations):
    """Run with all-ones requantisation; return the counters of the first core by name."""
    filters = layer.out_channels
    how = Requantisation(
        bias=np.zeros(filters, dtype=np.int64),
        multiplier=np.full(filters, 1 << 23),
        shift=np.full(filters, 23),
        low=0,
        high=255,
    )
    counters = run_layer(config, layer, weights, activations, how)[1]
    names = ("cycles", "pairs", "steps", "load_beats", "outputs", "selected")
    core = {name: int(counters.core(name)[0]) for name in names}
    units = ("busy_cycles", "bubble_cycles", "wait_memory_cycles", "wait_broadcast_cycles",
             "wait_collector_cycles", "idle_cycles")  # fmt: skip
    return core, [{n: int(counters.unit(n)[0, pe]) for n in units} for pe in range(config.pes)]


def fill(layer, weights_kept: int, neurons: int):
    """Ones in the first places of every filter, and in the first channels of every pixel."""
    weights = np.zeros(layer.weights_shape, dtype=np.int8)
    weights.reshape(layer.out_channels, -1)[:, :weights_kept] = 1
    activations = np.zeros((layer.in_height, layer.in_width, layer.in_channels), dtype=np.uint8)
    activations[..., :neurons] = 1
    return weights, activations


def test_one_step():
    # 5 filters: blocks of 4 and 1. 10 kept places, 7 neurons: 2 cycles of 4 lanes.
    latency, layer = TOY.LATENCY, layer_of(20, (1, 1), 5)
    core, pes = count(TOY, layer, *fill(layer, 10, 7))
    # A mask is one beat of 64 bits, 10 codes of a byte are 2: 1 + 4 * 2, then 1 + 1 * 2.
    assert core["load_beats"] == 9 + 3
    assert core["pairs"] == 7 * 4 + 7 * 1
    assert (core["steps"], core["selected"], core["outputs"]) == (2, 14, 5)
    first = max(latency.start, 9 + latency.load)
    # The second load follows the first; the result of a block of 4 is drained in 2 cycles.
    second = max(first + 2, 12 + latency.load)
    freed = first + 2 + latency.deliver + 2 + latency.collector_free
    finish = max(second + 2, freed)
    assert core["cycles"] == finish + latency.deliver + 1 + latency.tail
    assert pes[0]["busy_cycles"] == 4
    assert pes[1]["busy_cycles"] == 2
    assert pes[0]["wait_memory_cycles"] == 9 + latency.load + second - first - 2
    assert pes[1]["idle_cycles"] == core["cycles"] - 2 - first


def test_window_without_neurons_is_a_bubble():
    # 70 channels: windows of 32, 32, 6; neurons in the first one only; 3 positions.
    layer = layer_of(70, (1, 3), 4)
    weights, activations = fill(layer, 70, 32)
    core, pes = count(TOY, layer, weights, activations)
    assert core["steps"] == 9
    assert core["selected"] == 3 * 32
    for pe in pes:
        assert pe["busy_cycles"] == 3 * 8
        assert pe["bubble_cycles"] == 3 * 2
    assert core["load_beats"] == (1 + 4 * 4) * 2 + 1 + 4 * 1


def test_segments_are_loaded_once_a_tile():
    # 2 windows, a segment each; 5 positions in tiles of 2: 3 tiles, 6 loads of 1 + 4 * 4 beats.
    config = TOY.replace(segment_windows=1, tile_positions=2)
    layer = layer_of(64, (1, 5), 4)
    core, _ = count(config, layer, *fill(layer, 64, 1))
    assert core["load_beats"] == 6 * (1 + 4 * 4)
    # With a single segment, once.
    core, _ = count(config.replace(segment_windows=2), layer, *fill(layer, 64, 1))
    assert core["load_beats"] == 2 * (1 + 4 * 4)


def test_short_positions_wait_for_the_collector():
    # One cycle a position; 4 codes, one a cycle.
    config, latency = TOY.replace(output_width=1), TOY.LATENCY
    layer = layer_of(4, (1, 6), 4)
    core, pes = count(config, layer, *fill(layer, 4, 4))
    spacing = max(1, latency.deliver + 4 + latency.collector_free)
    assert pes[0]["wait_collector_cycles"] == 5 * (spacing - 1)
    first = max(latency.start, 5 + latency.load)
    assert core["cycles"] == first + 1 + 5 * spacing + latency.deliver + 4 + latency.tail


def test_core_without_a_position_does_nothing():
    layer = layer_of(4, (1, 1), 4)
    config = TOY.replace(cores=2)
    how = Requantisation(
        bias=np.zeros(4, dtype=np.int64), multiplier=np.full(4, 1 << 23), shift=np.full(4, 23),
        low=0, high=255,
    )  # fmt: skip
    _, counters = run_layer(config, layer, *fill(layer, 4, 4), how)
    assert counters.cores[0].any()
    assert not counters.cores[1].any()
    assert not counters.units[1].any()
