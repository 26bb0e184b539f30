"""SCNN against numbers by hand and against a plain model that makes every product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.machines.machine import LayerCounts
from accel.machines.scnn.model import Scnn
from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape
from golden.machines.registry import find
from golden.machines.scnn import ScnnConfig
from golden.program import LayerTask
from golden.reference import accumulate
from tests.arch.counting import count_image
from tests.arch.scnn_model import NoFit, ScnnModel, run_model

TOY = ScnnConfig.preset("toy")
ONE = TOY.replace(grid_height=1, grid_width=1, group_outputs=2)


def shape(channels: int, size: tuple[int, int], filters: int, kernel=(1, 1), **rest) -> LayerShape:
    return LayerShape(
        name="layer",
        in_channels=channels,
        in_height=size[0],
        in_width=size[1],
        out_channels=filters,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        **rest,
    )


def run(config: ScnnConfig, layer: LayerShape, weights, inputs, outputs=None) -> LayerCounts:
    if outputs is None:
        outputs = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.uint8)
    return count_image(Scnn(config), layer, weights, inputs, outputs)


def ones(layer: LayerShape):
    inputs = np.ones((layer.in_height, layer.in_width, layer.in_channels), dtype=np.uint8)
    return np.ones(layer.weights_shape, dtype=np.int8), inputs


def draw(layer: LayerShape, weight_density: float, density: float, seed: int):
    """Draw weights, input codes and output codes with zeros."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 128, layer.weights_shape) * rng.choice([-1, 1], layer.weights_shape)
    weights *= rng.random(layer.weights_shape) < weight_density
    in_shape = (layer.in_height, layer.in_width, layer.in_channels)
    inputs = rng.integers(1, 256, in_shape) * (rng.random(in_shape) < density)
    out_shape = (layer.out_height, layer.out_width, layer.out_channels)
    outputs = rng.integers(1, 256, out_shape) * (rng.random(out_shape) < 0.5)
    return weights.astype(np.int8), inputs.astype(np.uint8), outputs.astype(np.uint8)


def effectual(layer: LayerShape, weights, inputs) -> int:
    """Count the multiplications without a zero, from dense tensors."""
    counted = accumulate((weights != 0).astype(np.int8), (inputs != 0).astype(np.uint8), layer)
    return int(counted.sum())


# -- by hand ------------------------------------------------------------------------------------


def test_two_filters_on_four_pixels() -> None:
    layer = shape(1, (2, 2), 2)
    counts = run(ONE, layer, *ones(layer))
    # One weight vector (k = 0, 1), activation vectors (0,0) (0,1) and (1,0) (1,1). K = 2, 4 slots,
    # bank = k + 2 q + 4 p: four different ones each, so c = 2.
    # T = 4 + 1 = 5, S = 5, F = 7, B = 7 + 4 = 11, E = 11 + 2 * 4 / 2 = 15, cycles = 15 + 4.
    assert counts.cycles == 19
    assert (counts.pairs, counts.stray_pairs, counts.additions) == (8, 0, 8)
    assert dict(zip(UNIT_COUNTERS, counts.units[0].tolist(), strict=True)) == {
        "busy_cycles": 2,
        "bubble_cycles": 0,
        "wait_memory_cycles": 0,
        "wait_siblings_cycles": 0,
        "wait_broadcast_cycles": 5,
        "wait_collector_cycles": 0,
        "idle_cycles": 12,
    }
    # 4 activations, 2 weights, no output: 12 bits each, whole bytes.
    assert (counts.dram.input_bytes, counts.dram.weight_bytes, counts.dram.output_bytes) == (
        6, 3, 0,
    )  # fmt: skip
    bits = {access.buffer: access.bits for access in counts.accesses}
    # FIFO: one vector in, two out, of 2 x 12 bits; 8 products in and out, 8 sums out, 24 bits.
    assert bits == {
        "IARAM": 4 * 12, "OARAM": 0, "weight FIFO": 3 * 24, "accumulators": (16 + 8) * 24
    }  # fmt: skip


@pytest.mark.parametrize(("queue", "bubble"), [(0, 1), (1, 0)])
def test_products_of_one_output_share_a_bank(queue: int, bubble: int) -> None:
    layer = shape(1, (2, 2), 1, kernel=(1, 2))
    weights, inputs = ones(layer)
    inputs[1] = 0
    counts = run(ONE.replace(bank_queue=queue), layer, weights, inputs)
    # Output q = 0 gets (x, s) = (0, 0) and (1, 1); (0, 1) and (1, 0) fall on q = -1 and 1: strays.
    # S = 5. Without a queue c = 2, F = 7; with one c = 1, F = 6, and the bank is done at 7 too.
    # B = 11, E = 11 + 1 for a region of 2 sums, cycles = 12 + 4.
    assert counts.cycles == 7 + 4 + 1 + 4
    assert (counts.pairs, counts.stray_pairs) == (2, 2)
    assert counts.unit("busy_cycles").tolist() == [1]
    assert counts.unit("bubble_cycles").tolist() == [bubble]
    assert counts.details["contention_cycles"] == bubble


def test_a_run_of_sixteen_zeros_takes_a_placeholder() -> None:
    layer = shape(1, (1, 36), 1)
    weights, inputs = ones(layer)
    inputs[0, 1:17] = 0  # 16 zeros between positions 0 and 17: one placeholder
    inputs[0, 18:33] = 0  # 15 zeros: none
    inputs[0, 34:] = 0  # zeros at the end are not stored
    counts = run(ONE.replace(bank_entries=64), layer, weights, inputs)
    # Stored: 0, placeholder, 17, 33: two vectors of two; the first makes one product.
    assert counts.details["input_placeholders"] == 1
    assert counts.dram.input_bytes == 4 * 12 // 8
    assert (counts.pairs, counts.details["vector_pairs"]) == (3, 2)


def test_a_barrier_makes_the_light_pe_wait() -> None:
    config = TOY.replace(grid_height=1, group_outputs=1, fifo_vectors=1)
    layer = shape(1, (2, 4), 2)
    weights, inputs = ones(layer)
    inputs[:, 2:] = 0
    inputs[0, 2] = 1
    counts = run(config, layer, weights, inputs)
    # Two passes of a filter. PE 0 has 4 activations, 2 vectors; PE 1 has one. K = 1.
    # T[0] = 5, S = 5, F = 7 and 6, B[0] = 11, E[0] = 11 + 4 / 2 = 13.
    # Block 1 waits for block 0: T[1] = 7 + 1 = 8. Q[1] = 11 = S, F = 13 and 12, B[1] = 17,
    # E[1] = 17 + 2 = 19, cycles = 23.
    assert counts.cycles == 23
    assert counts.unit("busy_cycles").tolist() == [4, 2]
    # PE 0: [7, 11). PE 1: [6, 11) and, after its last block, [12, 13).
    assert counts.unit("wait_siblings_cycles").tolist() == [4, 6]
    assert counts.unit("wait_broadcast_cycles").tolist() == [5, 5]
    assert counts.unit("idle_cycles").tolist() == [10, 10]


def test_fifo_holds_the_fast_pe_back() -> None:
    config = TOY.replace(grid_height=1, fifo_vectors=1)
    layer = shape(2, (4, 4), 1)
    weights, inputs = ones(layer)
    inputs[:, 2:, 0] = 0
    counts = run(config, layer, weights, inputs)
    # One pass, a block for each channel, of one vector. PE 0: 8 activations, 4 vectors.
    # PE 1: none of channel 0, 4 vectors of channel 1. S = 5, F = 9 and 6 (a bubble).
    # The FIFO has room for block 1 at 9: T = 10, S = 10, F = 14: PE 1 waits [6, 9) for PE 0.
    assert counts.unit("wait_siblings_cycles").tolist() == [0, 3]
    assert counts.unit("wait_broadcast_cycles").tolist() == [5 + 1, 5 + 1]
    assert counts.unit("bubble_cycles").tolist() == [0, 1]
    # B = 18, E = 18 + 8 / 2, and 4.
    assert counts.cycles == 26


def test_stride_phases_leave_no_stray_inside() -> None:
    layer = shape(1, (8, 8), 1, kernel=(2, 2), stride_height=2, stride_width=2)
    weights, inputs = ones(layer)
    # 64 activations x 4 weights; every activation belongs to one output.
    plain = run(TOY.replace(stride_phases=False), layer, weights, inputs)
    assert (plain.pairs, plain.stray_pairs) == (64, 192)
    split = run(TOY.replace(stride_phases=True), layer, weights, inputs)
    assert (split.pairs, split.stray_pairs) == (64, 0)
    assert split.cycles < plain.cycles


def test_accumulators_make_rounds_and_halos() -> None:
    config = ONE.replace(banks=8, bank_entries=8)
    layer = shape(1, (4, 8), 2, kernel=(3, 3), pad_top=1, pad_left=1, pad_bottom=1, pad_right=1)
    counts = run(config, layer, *ones(layer))
    # K = 2: a region may have 32 sums. Whole: 32 outputs fit, 2 * 32 = 64.
    assert counts.details["rounds"] == 1
    half = run(config.replace(bank_entries=6), layer, *ones(layer))
    # 24 sums: two rounds of 4 x 4 pixels have 4 x 5 (halo of one column) and fit; 2 x 8 have 3 x 8.
    # Of both the smaller region is taken: halos 2 rounds * 4 sums * 2 filters.
    assert half.details["rounds"] == 2
    assert half.details["halo_sums"] == 2 * 4 * 2
    assert half.pairs == counts.pairs == effectual(layer, *ones(layer))
    with pytest.raises(CapacityError, match="accumulators"):
        run(config.replace(banks=1, bank_entries=1), layer, *ones(layer))


def test_spill_is_counted() -> None:
    layer = shape(2, (4, 4), 1)
    counts = run(ONE.replace(iaram_bytes=40), layer, *ones(layer))
    assert counts.details["iaram_spill_bytes"] == 32 * 12 // 8 - 40


def test_fully_connected_is_at_a_quarter_of_the_peak() -> None:
    machine = Scnn.with_multipliers(1024)
    layer = shape(16, (6, 6), 4096, kernel=(6, 6))
    weights, inputs = ones(layer)
    counts = count_image(machine, layer, weights, inputs, np.zeros((1, 1, 4096), dtype=np.uint8))
    # 64 filters a PE: 16 vectors an activation, each one of 4 activations' places: 576 * 16 cycles.
    assert counts.unit("busy_cycles").tolist() == [576 * 16] * 64
    # Waits of START + 1, B = F + 4, E = B + 64 / 4, 4.
    assert counts.cycles == 5 + 576 * 16 + 4 + 16 + 4
    assert counts.pairs / (1024 * counts.cycles) == pytest.approx(0.25, rel=0.01)


def test_dense_tensors_are_slower_than_on_a_dense_machine() -> None:
    """The paper: 0.79 of its dense machine at densities of 1, on GoogLeNet."""
    machine = Scnn.with_multipliers(1024)
    layer = shape(64, (28, 28), 64, kernel=(3, 3), pad_top=1, pad_left=1, pad_bottom=1, pad_right=1)
    weights, inputs = ones(layer)
    counts = count_image(machine, layer, weights, inputs, np.zeros((28, 28, 64), dtype=np.uint8))
    # A dense machine with the same tiles (4 x 4 pixels, 49 PEs) and 16 multipliers a PE.
    dense = 16 * 64 * 64 * 9 // 16
    # Not faster; at least three quarters of it.
    assert 0.75 < dense / counts.cycles <= 1.0


def test_sizes() -> None:
    assert find("scnn").load_model() is Scnn
    for multipliers in (1, 2, 4, 8, 16, 32, 128, 1024, 4096):
        machine = Scnn.with_multipliers(multipliers)
        assert machine.multipliers == multipliers
        assert machine.units == max(1, multipliers // 16)
        config = machine.config
        assert config.grid_height <= config.grid_width <= 2 * config.grid_height
        assert config.banks == 2 * config.weight_lanes * config.input_lanes
    assert Scnn.with_multipliers(1024).config.replace(name="scnn-paper") == ScnnConfig.preset(
        "paper"
    )
    for multipliers in (0, -16, 48, 1 << 17):
        with pytest.raises(ConfigError, match="power of two"):
            Scnn.with_multipliers(multipliers)


def test_configuration_is_checked() -> None:
    with pytest.raises(ConfigError, match="bank_queue must be 0, 1, 3, 7 or 15, not 2"):
        TOY.replace(bank_queue=2)
    with pytest.raises(ConfigError, match="weight_lanes"):
        TOY.replace(weight_lanes=5)
    with pytest.raises(ConfigError, match="group_outputs must be a power of two"):
        TOY.replace(group_outputs=3)


# -- against the plain model --------------------------------------------------------------------


@st.composite
def configurations(draw_of: st.DrawFn) -> ScnnConfig:
    pick = draw_of
    return ScnnConfig(
        name="drawn",
        grid_height=pick(st.integers(1, 3)),
        grid_width=pick(st.integers(1, 3)),
        weight_lanes=pick(st.integers(1, 4)),
        input_lanes=pick(st.integers(1, 4)),
        group_outputs=pick(st.sampled_from([1, 2, 4, 8])),
        banks=pick(st.sampled_from([4, 8, 2, 16, 1, 32])),
        bank_entries=pick(st.sampled_from([32, 16, 64, 8, 2])),
        bank_queue=pick(st.sampled_from([0, 1, 0, 3, 0, 7, 15])),
        fifo_vectors=pick(st.sampled_from([1, 2, 3, 5, 50])),
        iaram_bytes=pick(st.sampled_from([1, 8, 10240])),
        oaram_bytes=pick(st.sampled_from([1, 8, 10240])),
        drain_width=pick(st.sampled_from([1, 1, 2, 3])),
        stride_phases=pick(st.booleans()),
    )


@st.composite
def layers(draw_of: st.DrawFn) -> LayerShape:
    pick = draw_of
    groups = pick(st.integers(1, 3))
    kernel = pick(st.integers(1, 5)), pick(st.integers(1, 5))
    pads = [pick(st.integers(0, 3)) for _ in range(4)]
    return LayerShape(
        name="drawn",
        in_channels=groups * pick(st.integers(1, 3)),
        in_height=max(pick(st.integers(1, 9)), kernel[0] - pads[0] - pads[2]),
        in_width=max(pick(st.integers(1, 9)), kernel[1] - pads[1] - pads[3]),
        out_channels=groups * pick(st.integers(1, 10)),
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=pick(st.integers(1, 4)),
        stride_width=pick(st.integers(1, 4)),
        pad_top=pads[0],
        pad_left=pads[1],
        pad_bottom=pads[2],
        pad_right=pads[3],
        groups=groups,
    )


densities = st.sampled_from([0.5, 0.9, 0.3, 1.0, 0.7, 0.1, 0.0])


def compare(config: ScnnConfig, layer: LayerShape, tensors) -> None:
    """Compare the simulator with the plain model, and the model with the right sums."""
    weights, inputs, outputs = tensors
    try:
        model = run_model(config, layer, weights, inputs, outputs)
    except NoFit:
        with pytest.raises(CapacityError):
            run(config, layer, weights, inputs, outputs)
        return
    assert np.array_equal(model.sums, accumulate(weights, inputs, layer))
    counts = run(config, layer, weights, inputs, outputs)
    assert counts.cycles == model.cycles
    for m in range(config.pes):
        assert dict(zip(UNIT_COUNTERS, counts.units[m].tolist(), strict=True)) == model.unit(m)
    assert (counts.pairs, counts.stray_pairs) == (model.pairs, model.stray)
    assert counts.pairs == effectual(layer, weights, inputs)
    assert counts.units.min() >= 0
    assert np.all(counts.units.sum(axis=1) == counts.cycles)
    assert counts.pairs + counts.stray_pairs <= counts.cycles * config.multipliers
    compare_traffic(config, counts, model)


def compare_traffic(config: ScnnConfig, counts: LayerCounts, model: ScnnModel) -> None:
    def over(stored: int, capacity: int) -> int:
        return max(0, -(-stored * 12 // 8) - capacity)

    written = sum(pe.written for pe in model.pes)
    details = {
        "passes": model.passes,
        "rounds": model.rounds,
        "group_outputs": model.outputs,
        "vector_pairs": model.vector_pairs,
        "contention_cycles": model.contention,
        "weight_vectors": model.weight_vectors,
        "halo_sums": model.halo,
        "weight_placeholders": model.weight_placeholders,
        "input_placeholders": model.input_placeholders,
        "iaram_spill_bytes": sum(over(pe.stored, config.iaram_bytes) for pe in model.pes),
        "oaram_spill_bytes": sum(over(pe.written, config.oaram_bytes) for pe in model.pes),
    }
    assert {name: counts.details[name] for name in details} == details
    assert counts.dram.input_bytes == -(-model.stored_inputs * 12 // 8)
    assert counts.dram.weight_bytes == -(-model.stored_weights * 12 // 8)
    assert counts.dram.output_bytes == -(-written * 12 // 8)
    assert counts.additions == model.pairs + model.halo
    receivers = len(model.active) if model.broadcast else 1
    fifo = receivers * model.weight_vectors + model.vector_pairs
    assert {access.buffer: access.bits for access in counts.accesses} == {
        "IARAM": 12 * model.input_reads,
        "OARAM": 12 * written,
        "weight FIFO": 12 * config.weight_lanes * fifo,
        "accumulators": 24 * (2 * model.pairs + model.drained),
    }


@settings(max_examples=150, deadline=None)
@given(configurations(), layers(), densities, densities, st.integers(0, 1 << 16))
def test_agrees_with_the_plain_model(config, layer, weight_density, density, seed) -> None:
    compare(config, layer, draw(layer, weight_density, density, seed))


LARGER = {
    "grid of the paper, map smaller than it": (
        ScnnConfig.preset("paper"),
        shape(6, (5, 7), 20, kernel=(3, 3), pad_top=1, pad_left=1, pad_bottom=1, pad_right=1),
    ),
    "stride 4, kernel 11": (
        ScnnConfig.preset("paper"),
        shape(3, (23, 23), 9, kernel=(11, 11), stride_height=4, stride_width=4),
    ),
    "stride 4, kernel 11, no phases": (
        ScnnConfig.preset("paper").replace(stride_phases=False),
        shape(3, (23, 23), 9, kernel=(11, 11), stride_height=4, stride_width=4),
    ),
    "rounds": (
        TOY,
        shape(4, (14, 11), 9, kernel=(3, 3), pad_top=1, pad_left=1, pad_bottom=1, pad_right=1),
    ),
    "two groups of 5 x 5": (
        TOY.replace(bank_queue=1, bank_entries=64),
        shape(6, (9, 9), 12, kernel=(5, 5), pad_top=2, pad_left=2, groups=2),
    ),
    "fully connected in three passes": (
        TOY.replace(banks=2, bank_entries=4),
        shape(5, (3, 2), 70, kernel=(3, 2)),
    ),
    "kernel of padding": (TOY, shape(2, (1, 1), 5, kernel=(5, 5), pad_top=4, pad_bottom=4,
                                     pad_left=4, pad_right=4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGER)
@pytest.mark.parametrize("density", [0.25, 0.8])
def test_larger_layers_agree_with_the_plain_model(name: str, density: float) -> None:
    config, layer = LARGER[name]
    compare(config, layer, draw(layer, density, density, seed=len(name)))


def test_a_layer_runs_again_alike() -> None:
    config, layer = LARGER["rounds"]
    weights, inputs, outputs = draw(layer, 0.4, 0.5, seed=3)
    prepared = Scnn(config).prepare(LayerTask(layer=layer, weights=weights))
    (mode,) = Scnn.modes
    first, second = (prepared(inputs, outputs)(mode) for _ in range(2))
    assert first.cycles == second.cycles
    assert np.array_equal(first.units, second.units)
    assert first.details == second.details


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_is_not_better_than_its_own_ideal(density: float) -> None:
    machine = Scnn.with_multipliers(128)
    layer = shape(9, (16, 16), 24, kernel=(3, 3), pad_top=1, pad_left=1)
    weights, inputs, outputs = draw(layer, density, density, seed=5)
    counts = count_image(machine, layer, weights, inputs, outputs)
    assert counts.cycles >= counts.pairs / machine.multipliers
    assert counts.units.shape == (machine.units, len(UNIT_COUNTERS))
    assert np.all(counts.units.sum(axis=1) == counts.cycles)
