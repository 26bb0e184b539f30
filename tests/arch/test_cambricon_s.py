"""Cambricon-S: layers worked out by hand, drawn ones against a slow model, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from accel.machines.cambricon_s.model import CambriconS, count_layer
from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape
from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig, CambriconSCounters
from golden.machines.registry import find
from golden.program import LayerTask
from tests.arch.cambricon_s_model import (
    blocks_of,
    cases,
    ceil,
    dense_pairs,
    model,
    program,
    windows_of_block,
)
from tests.arch.counting import count_image
from tests.latencies import with_latencies

MACHINE = with_latencies(
    CambriconSConfig(
        name="hand", cores=1, pes=2, lanes=2, window=8, code_bits=8, segment_windows=2,
        tile_positions=2, bus_bytes=2, output_width=1, neuron_buffer_bytes=4096,
    ),
    start=6, load=3, load_free=2, deliver=6, collector_free=1, tail=4,
)  # fmt: skip


def one_by_one(weights, inputs):
    """Return a 1x1 convolution; weights have axes k, c, inputs x, c."""
    weights, inputs = np.array(weights, dtype=np.int8), np.array(inputs, dtype=np.uint8)
    layer = LayerShape(
        name="hand", in_channels=weights.shape[1], in_height=1, in_width=len(inputs),
        out_channels=len(weights), kernel_height=1, kernel_width=1,
    )  # fmt: skip
    return layer, weights[:, None, None], inputs[None]


def named(counters, core=0, pe=0):
    """Return a core's counters, and those of one of its PEs, by name; without zeros."""
    both = [(CORE_COUNTERS, counters.cores[core]), (UNIT_COUNTERS, counters.units[core, pe])]
    return tuple(
        {name: int(count) for name, count in zip(names, counts, strict=True) if count}
        for names, counts in both
    )


# -- by hand ----------------------------------------------------------------------------------

#: Block mask: channels 0, 2 and 3.
PAIR = one_by_one([[1, 0, 2, 0, 0], [0, 0, 3, 4, 0]], [[9, 9, 0, 7, 9], [1, 0, 1, 1, 0]])


def test_one_load_and_a_wait_for_the_collector():
    # L = 1 mask beat + 2 filters * ceil(3 codes * 8 / 16) = 5; G = 5 + 3 = 8 = S[0], past START.
    # Position 0 selects channels 0 and 3: c = 1, F = 9, E = 9 + 6 + 2 outputs = 17, C = 18.
    # Position 1 selects 3: c = 2, F = 11, F' = C = 18, E = 26, cycles 30.
    core, pe = named(count_layer(MACHINE, *PAIR))
    assert core == {
        "cycles": 30, "pairs": 2 * (2 + 3), "steps": 2, "load_beats": 5, "outputs": 4,
        "selected": 5,
    }  # fmt: skip
    assert pe == {
        "wait_memory_cycles": 8, "busy_cycles": 3, "wait_collector_cycles": 7, "idle_cycles": 12,
    }  # fmt: skip


def test_empty_block_keeps_a_window_and_a_short_block_leaves_a_pe_idle():
    # No mask has a one: window 0 is kept, L = 1, G = 4, START = 6: 2 cycles of filling.
    # n = 0: c = 1, F = 7, E = 7 + 6 + 1 = 14, cycles 18.
    counters = count_layer(MACHINE, *one_by_one([[0] * 20], [[5] * 20]))
    core, pe = named(counters)
    assert core == {"cycles": 18, "steps": 1, "load_beats": 1, "outputs": 1}
    assert pe == {
        "wait_memory_cycles": 4, "wait_broadcast_cycles": 2, "bubble_cycles": 1, "idle_cycles": 11,
    }  # fmt: skip
    assert named(counters, pe=1)[1] == {"idle_cycles": 18}


#: Windows with 8 and with 4 weights, everything else full.
TWO_WINDOWS = one_by_one([[1] * 8 + [2] * 4 + [0] * 4], [[3] * 16, [3] * 16])
SEGMENTED = MACHINE.replace(segment_windows=1, tile_positions=1)


def test_segments_are_loaded_again_for_each_tile_into_the_half_that_is_free():
    # L = 1 + 4, 1 + 2, and again; c = 4, 2, 4, 2.
    # LD[0] = 5, S[0] = 8, F = 12.
    # LD[1] = 8, S[1] = 12, F = 14, C = 14 + 6 + 1 + 1 = 22.
    # LD[2] = max(8, 12 + 2) + 5 = 19, S[2] = 22 (8 after F), F = 26.
    # LD[3] = max(19, 14 + 2) + 3 = 22, G = 25, S[3] = 26, F = 28 > C, E = 35, cycles 39.
    core, pe = named(count_layer(SEGMENTED, *TWO_WINDOWS))
    assert core == {
        "cycles": 39, "pairs": 24, "steps": 4, "load_beats": 16, "outputs": 2, "selected": 24,
    }  # fmt: skip
    assert pe == {"wait_memory_cycles": 16, "busy_cycles": 12, "idle_cycles": 11}


def test_cores_take_positions_in_turn_and_load_for_themselves():
    # One channel, one filter: L = 2, G = 5, S[0] = 6, c = 1. Core 0: positions 0 and 2: F = 7,
    # C = 7 + 6 + 1 + 1 = 15; F = 8, F' = 15, E = 22, cycles 26. Core 1: position 1: E = 14, 18.
    layer, weights, inputs = one_by_one([[7]], [[0], [5], [0]])
    counters = count_layer(MACHINE.replace(cores=2), layer, weights, inputs)
    assert counters.cycles == 26
    assert counters.core("cycles").tolist() == [26, 18]
    assert counters.core("load_beats").tolist() == [2, 2]
    assert counters.core("selected").tolist() == [0, 1]
    # A core without a position loads nothing.
    counters = count_layer(MACHINE.replace(cores=4), layer, weights, inputs)
    assert counters.core("cycles").tolist() == [18, 18, 18, 0]
    assert counters.core("load_beats").tolist() == [2, 2, 2, 0]
    assert not counters.units[3].any()


def test_what_all_machines_answer():
    layer, weights, inputs = TWO_WINDOWS
    machine = CambriconS(SEGMENTED.replace(cores=3))
    output = np.zeros((1, 2, 1), dtype=np.uint8)
    counts = count_image(machine, layer, weights, inputs, output)
    # A core of its own for each position: S[2] never comes, cycles = 14 + 7 + 4.
    assert counts.cycles == 25
    assert (counts.pairs, counts.stray_pairs, counts.additions) == (24, 0, 24)
    assert counts.units.shape == (machine.units, len(UNIT_COUNTERS)) == (6, 7)
    assert counts.units.sum(axis=1).tolist() == [25] * 6
    assert counts.unit("busy_cycles").tolist() == [6, 0, 6, 0, 0, 0]
    assert counts.details == {"steps": 4, "selected": 24, "load_beats": 16}
    assert {access.buffer: (access.bits, access.capacity_bytes) for access in counts.accesses} == {
        "layer buffer": (8 * (16 * 2 + 2), 1024),  # 16 beats of 2 bytes, 2 codes out
        "neurons": (4 * 8 * 8, 1024),
        "indices": (4 * 8 + 4 * 8, 2),  # loaded and read: four windows each
        "synapses": ((2 * 12 + 2 * 12) * 8, 16),
        "codebook": (24 * 8, 256),
        "partial sums": (2 * 64, 8 // 2),  # one segment before the last, for each position
    }
    dram = counts.dram
    # Two masks of 8 bits, 12 codes, the codebook.
    assert (dram.input_bytes, dram.weight_bytes, dram.output_bytes) == (32, 2 + 12 + 256, 2)


def test_single_segment_is_loaded_once_a_block_whatever_the_tiles():
    layer, weights, inputs = one_by_one([[1, 2]] * 3, [[1, 1]] * 7)
    counts = count_image(CambriconS(MACHINE), layer, weights, inputs, inputs)
    # Blocks of 2 and 1 filters: 1 + 2 * 1 and 1 + 1 beats.
    assert counts.details["load_beats"] == 5
    bits = {access.buffer: access.bits for access in counts.accesses}
    # 6 codes written once and read for each of 7 positions; sums stay in the accumulators.
    assert (bits["synapses"], bits["partial sums"]) == (8 * 6 * (1 + 7), 0)
    assert bits["indices"] == 8 * (2 + 14)


# -- drawn cases ------------------------------------------------------------------------------


_DRAWN = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(_DRAWN, max_examples=100)
@given(cases())
def test_every_counter_is_that_of_the_page(case):
    config, layer, weights, activations = case
    counters = count_layer(*case)
    assert counters.difference(model(*case)) == ""
    assert counters.core("pairs").sum() == dense_pairs(*case)
    assert counters.units.min() >= 0
    np.testing.assert_array_equal(
        counters.units.sum(axis=2), np.repeat(counters.core("cycles")[:, None], config.pes, axis=1)
    )
    assert counters.cycles * config.multipliers > counters.core("pairs").sum()
    wider = count_layer(config.replace(bus_bytes=4 * config.bus_bytes), layer, weights, activations)
    assert (wider.core("cycles") <= counters.core("cycles")).all()
    assert (wider.core("pairs") == counters.core("pairs")).all()


@settings(_DRAWN, max_examples=40)
@given(cases())
def test_the_protocol_agrees_with_the_counters(case):
    config, layer, weights, activations = case
    counters = count_layer(*case)
    machine = CambriconS(config)
    counts = count_image(machine, layer, weights, activations, activations)
    assert counts.cycles == counters.core("cycles").max()
    assert counts.units.shape == (machine.units, len(UNIT_COUNTERS))
    assert (counts.units.sum(axis=1) == counts.cycles).all()
    assert counts.details == {
        name: counters.core(name).sum() for name in ("steps", "selected", "load_beats")
    }
    loads, steps = [], []
    for core in range(config.cores):
        parts = program(config, layer, weights, activations, core)
        loads, steps = loads + parts[0], steps + parts[1]
    codes = sum(load.filters * sum(load.kept) for load in loads)
    read = sum(step.filters * step.kept for step in steps)
    spilled = sum(step.filters for step in steps if step.ends and not step.completes)
    loaded_bytes = sum(load.beats(config) for load in loads) * config.bus_bytes
    assert {access.buffer: access.bits for access in counts.accesses} == {
        "layer buffer": 8 * (loaded_bytes + layer.positions * layer.out_channels),
        "neurons": len(steps) * config.window * 8,
        "indices": (sum(len(load.kept) for load in loads) + len(steps)) * config.window,
        "synapses": (codes + read) * config.code_bits,
        "codebook": sum(step.n * step.filters for step in steps) * 8,
        "partial sums": spilled * 2 * 32,
    }
    weight_bits = 0
    for _, filters in blocks_of(config, layer):
        for _, _, mask in windows_of_block(layer, weights, filters, config.window):
            weight_bits += config.window + len(filters) * sum(mask) * config.code_bits
    assert counts.dram.weight_bytes == ceil(weight_bits, 8) + 2**config.code_bits


def test_counters_are_compared_by_name():
    counters = count_layer(MACHINE, *PAIR)
    cores, units = counters.cores.copy(), counters.units.copy()
    cores[0, 3] += 1
    other = CambriconSCounters(cores, units)
    assert counters.difference(other) == "load_beats of core (0,): 5 and 6"
    units[0, 1, 0] -= 1
    other = CambriconSCounters(counters.cores, units)
    assert other.difference(counters) == "busy_cycles of core, pe (0, 1): 2 and 3"
    assert "shapes" in counters.difference(CambriconSCounters(cores[:, :2], units))


# -- sizes and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("multipliers", "shape"),
    [(1, (1, 1, 1, 16)), (2, (1, 2, 1, 16)), (8, (1, 4, 2, 32)), (16, (1, 4, 4, 64)),
     (64, (1, 8, 8, 128)), (128, (1, 16, 8, 128)), (256, (1, 16, 16, 256)),
     (1024, (4, 16, 16, 256)), (768, (3, 16, 16, 256))],
)  # fmt: skip
def test_sizes(multipliers, shape):
    machine = find("cambricon-s").load_model().with_multipliers(multipliers)
    assert isinstance(machine, CambriconS)
    config = machine.config
    assert (config.cores, config.pes, config.lanes, config.window) == shape
    assert machine.multipliers == multipliers
    assert machine.units == config.cores * config.pes
    assert machine.parameters()["bus_bytes"] == max(1, min(256, multipliers) // 4)


@pytest.mark.parametrize("multipliers", [0, -8, 3, 12, 255, 300, 256 * 1025])
def test_other_sizes_are_refused(multipliers):
    with pytest.raises(
        ConfigError, match=f"power of two below 256, or 1 to 1024 times 256, not {multipliers}$"
    ):
        CambriconS.with_multipliers(multipliers)


def test_a_codebook_of_16_values_refuses_a_layer_with_more():
    layer, weights, inputs = one_by_one([range(16)], [[1] * 16])
    config = MACHINE.replace(code_bits=4)
    assert count_layer(config, layer, weights, inputs).core("selected").tolist() == [15]
    layer, weights, inputs = one_by_one([range(17)], [[1] * 17])
    with pytest.raises(CapacityError, match=r"Layer hand has 17 distinct .* holds 16: set"):
        count_layer(config, layer, weights, inputs)
    with pytest.raises(CapacityError, match="17 distinct"):
        CambriconS(config).prepare(LayerTask(layer=layer, weights=weights))
    count_layer(MACHINE, layer, weights, inputs)


def test_padded_input_must_fit():
    layer = LayerShape(
        name="padded", in_channels=2, in_height=3, in_width=4, out_channels=1, kernel_height=1,
        kernel_width=1, pad_top=1, pad_right=2,
    )  # fmt: skip
    task = LayerTask(layer=layer, weights=np.ones(layer.weights_shape, dtype=np.int8))
    CambriconS(MACHINE.replace(neuron_buffer_bytes=48)).prepare(task)  # 4 * 6 * 2
    with pytest.raises(CapacityError, match=r"padded needs 48 bytes .* holds 47: raise"):
        CambriconS(MACHINE.replace(neuron_buffer_bytes=47)).prepare(task)
