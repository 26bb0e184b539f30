"""ExTensor's simulator: by hand, and against the page evaluated to the letter."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel.arch import registry
from accel.arch.extensor import ExTensor
from accel.arch.extensor_kernels import intersect_masks
from accel.arch.machine import LayerTask
from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, ConfigError
from golden.extensor import PE_COUNTERS, ExTensorConfig, ExTensorCounters
from golden.layer import LayerShape
from tests.arch.extensor_equations import evaluate, two_pointers

MACHINE = ExTensorConfig(
    name="hand", pes=1, tile=8, rows_max=4, row_buffer_bytes=4096, port_bytes=4, queue=2
)


def shape(channels, width, filters, **changes):
    """Return a 1x1 convolution of a row of pixels, or what ``changes`` make of it."""
    fields = {"in_height": 1, "kernel_height": 1, "kernel_width": 1, **changes}
    return LayerShape(
        name="layer", in_channels=channels, in_width=width, out_channels=filters, **fields
    )


def indicator(length, *sets):
    """Return rows of zeros with ones at the places of each set."""
    rows = np.zeros((len(sets), length), dtype=np.int8)
    for row, ones in zip(rows, sets, strict=True):
        row[list(ones)] = 1
    return rows


def count(config, layer, filters, pixels):
    """Count a 1x1 convolution: filters and pixels are sets of non-zero channels."""
    weights = indicator(layer.group_channels, *filters)[:, None, None]
    inputs = indicator(layer.in_channels, *pixels)[None].astype(np.uint8)
    return ExTensor(config).count_layer(layer, weights, inputs)


# -- by hand ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("extensor_latencies")
def test_one_dot_by_hand():
    # Row: 2 tiles and 3 non-zeros are 10 bytes, 3 beats, LD = 3. Column: 4 + 10 bytes, 4 beats,
    # LD = 7, G = 10. Level 1: two matches and the end token, one cycle each.
    # Tile 0: {0, 3} and {0, 1, 2, 3}: match, skip, match: 3. Tile 1: {1} and {4}: one skip.
    # T0 = 10 + 1, S0 = 13, F0 = 16; T1 = 12, S1 = 16, F1 = 17; T2 = max(12, S0) + 1 = 14,
    # S2 = 17, F2 = 18; cycles 24. Waits: [0, 10) memory, [10, 13) coordinates.
    counters = count(MACHINE, shape(16, 1, 1), [{0, 3, 9}], [{0, 1, 2, 3, 12}])
    assert dict(zip(PE_COUNTERS, counters.pes[0].tolist(), strict=True)) == {
        "cycles": 24,
        "pairs": 2,
        "tile_tokens": 2,
        "dots": 1,
        "level1_decisions": 3,
        "load_beats": 7,
        "outputs": 1,
    }
    assert dict(zip(UNIT_COUNTERS, counters.units[0].tolist(), strict=True)) == {
        "busy_cycles": 2,
        "bubble_cycles": 3,
        "wait_memory_cycles": 10,
        "wait_siblings_cycles": 0,
        "wait_broadcast_cycles": 3,
        "wait_collector_cycles": 0,
        "idle_cycles": 6,
    }


@pytest.mark.usefixtures("extensor_latencies")
def test_double_buffer_and_queue_of_one_by_hand():
    # All fibres are 4 bytes, 2 beats. LD: row 2, columns 4, 6, then max(6, F[column 0] + 2) + 2.
    # Column 0: G = 7, T = 8, S = 10, F = 11; end T = S + 1 = 11, S = 13, F = 14.
    # Column 1: G = 9, T = max(9, 11, 13) + 1 = 14, S = 16, F = 17; end T = 17, S = 19, F = 20.
    # Column 2: LD = 14 + 2 + 2 = 18, G = 21, T = 22, S = 24, F = 25; end T = 25, S = 27, F = 28.
    # Memory: [0, 7) and [20, 21). Coordinates: 3 + 2, 2 + 2, 3 + 2.
    machine = MACHINE.replace(port_bytes=2, queue=1)
    counters = count(machine, shape(8, 3, 1), [{0}], [{0}, {0}, {0}])
    assert counters.cycles == 34
    assert counters.units[0].tolist() == [3, 3, 8, 0, 14, 0, 6]
    assert counters.pe("load_beats").tolist() == [8]
    assert counters.pe("level1_decisions").tolist() == [6]


@pytest.mark.usefixtures("extensor_latencies")
def test_rows_of_the_next_item_wait_for_the_last_by_hand():
    # One beat a fibre. Item 0: LD 1 and 2, G = 5, T = 6, S = 8, F = 9; end T = 7, S = 9, F = 10.
    # Item 1: rows LD = 10 + 2 + 1 = 13, column LD = 14, G = 17, T = 18, S = 20, F = 21; end F = 22.
    counters = count(MACHINE, shape(2, 1, 2, groups=2), [{0}, {0}], [{0, 1}])
    assert counters.cycles == 28
    assert counters.units[0].tolist() == [2, 2, 5 + 7, 0, 3 + 3, 0, 6]


@pytest.mark.usefixtures("extensor_latencies")
def test_without_a_nonzero_a_dot_is_an_end_token_by_hand():
    # Empty fibres take a beat: G = 2 + 3, T = 6, S = 8, F = 9. The second PE has no item.
    counters = count(MACHINE.replace(pes=2), shape(8, 1, 1), [set()], [set()])
    assert counters.pes.tolist() == [[15, 0, 0, 1, 1, 2, 1], [0] * 7]
    assert counters.units.tolist() == [[0, 1, 5, 0, 3, 0, 6], [0, 0, 0, 0, 0, 0, 15]]


@pytest.mark.usefixtures("extensor_latencies")
def test_level_one_skips_tiles_by_hand():
    # Tiles {0, 1, 2, 4} and {3, 4, 5}: skip to 4, skip to 4, match: r = 3; row used up: end r = 1.
    # Row 4 * 4 bytes, 4 beats; column 3 * 4 bytes, 3 beats; G = 10, T = 13, S = 15, F = 16;
    # end T = 14, S = 16, F = 17.
    row, column = {0, 8, 16, 32}, {24, 32, 40}
    counters = count(MACHINE, shape(48, 1, 1), [row], [column])
    assert counters.cycles == 23
    assert counters.pe("level1_decisions").tolist() == [4]
    assert counters.pe("tile_tokens").tolist() == [1]


@pytest.mark.usefixtures("extensor_latencies")
def test_level_one_is_not_ahead_of_itself_by_hand():
    # Tiles {0, 2, 4} and {1, 3, 5}: five skips and the end, r = 6; a beat a tile, LD 3, 6 and
    # 9. Column 0: G = 9, T = 15, S = 17, F = 18. Column 1: G = 12, T = max(15, 12) + 6, S = 23,
    # F = 24.
    row, column = {0, 16, 32}, {8, 24, 40}
    counters = count(MACHINE.replace(port_bytes=16), shape(48, 2, 1), [row], [column, column])
    assert counters.cycles == 30
    assert counters.units[0].tolist() == [0, 2, 9, 0, 8 + 5, 0, 6]


@pytest.mark.parametrize(
    ("row", "column", "decisions"),
    [
        # Of 64 tiles a word: a run across words, and one after the other side's last.
        ({60, 63, 64, 70}, {71}, 1),
        ({71}, {60, 63, 64, 70}, 1),
        ({0, 63, 64}, {0}, 1),
        ({0}, {0, 63, 64}, 1),
        ({0, 65}, {0, 64, 66}, 3),
        ({0, 65, 66}, {0, 64}, 2),
        ({1, 130}, {0, 129, 130, 131}, 4),
        ({5, 200}, {5, 200}, 2),
    ],
)
def test_level_one_across_words_by_hand(row, column, decisions):
    machine = MACHINE.replace(tile=8)
    places = [{8 * tile for tile in tiles} for tiles in (row, column)]
    counters = count(machine, shape(1640, 1, 1), places[:1], places[1:])
    assert counters.pe("level1_decisions").tolist() == [decisions + 1]
    assert counters.pe("tile_tokens").tolist() == [len(row & column)]


# -- the intersection without a loop ------------------------------------------------------------


@st.composite
def pairs_of_masks(draw):
    words = draw(st.sampled_from([1, 2, 4]))
    bits = 64 * words

    def mask():
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        runs = draw(st.booleans())
        density = draw(st.sampled_from([0.01, 0.05, 0.3, 0.5, 0.9, 1.0]))
        ones = rng.random(bits // 16 if runs else bits) < density
        return np.repeat(ones, 16) if runs else ones

    first, second = mask(), mask()
    if draw(st.booleans()):
        second = second & ~first
    first[draw(st.integers(0, bits - 1))] = True
    second[draw(st.integers(0, bits - 1))] = True
    return words, first, second


@settings(max_examples=400, deadline=None)
@given(pairs_of_masks())
@example((2, np.arange(128) == 63, np.arange(128) == 64))
@example((2, np.arange(128) % 2 == 0, np.arange(128) % 2 == 1))
@example((4, np.arange(256) % 255 == 0, np.arange(256) == 128))
def test_decisions_of_masks_are_those_of_two_pointers(case):
    words, first, second = case
    masks = [np.packbits(mask, bitorder="little").view("<u8") for mask in (first, second)]
    found = intersect_masks(*masks, (0,) * words)
    assert found == two_pointers(np.flatnonzero(first), np.flatnonzero(second))


# -- the page to the letter ---------------------------------------------------------------------


@st.composite
def layers(draw):
    """Draw a machine and a layer with its tensors."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    largest = max(1, 400 // (groups * kernel[0] * kernel[1]))
    # Long fibres have more tiles than a word has bits.
    channels = draw(st.sampled_from([draw(st.integers(1, min(140, largest))), 600 // groups]))
    layer = LayerShape(
        name="drawn",
        in_channels=groups * channels,
        in_height=size[0],
        in_width=size[1],
        out_channels=groups * draw(st.integers(1, 6)),
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=draw(st.integers(1, 2)),
        stride_width=draw(st.integers(1, 2)),
        pad_top=draw(st.integers(0, 1)),
        pad_left=draw(st.integers(0, 2)),
        pad_bottom=max(0, kernel[0] - size[0]),
        pad_right=max(0, kernel[1] - size[1]) + draw(st.integers(0, 1)),
        groups=groups,
    )
    length = layer.taps * layer.group_channels
    config = ExTensorConfig(
        name="drawn",
        pes=draw(st.sampled_from([1, 2, 3, 5, 40])),
        tile=draw(st.sampled_from([8, 16, 32, 64, 128, 256])),
        rows_max=draw(st.sampled_from([1, 2, 4, 8])),
        row_buffer_bytes=4 * length + draw(st.sampled_from([64, 164, 1 << 16])),
        port_bytes=draw(st.sampled_from([2, 4, 8, 32])),
        queue=draw(st.sampled_from([1, 2, 3])),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = st.sampled_from([0.0, 0.005, 0.02, 0.1, 0.4, 0.8, 1.0])
    weights = rng.integers(-128, 128, layer.weights_shape)
    weights = np.where(weights == 0, 1, weights) * (rng.random(weights.shape) < draw(density))
    inputs = rng.integers(1, 256, (*size, layer.in_channels))
    inputs *= rng.random(inputs.shape) < draw(density)
    inputs[rng.random(size) < draw(st.sampled_from([0.0, 0.5]))] = 0
    return config, layer, weights.astype(np.int8), inputs.astype(np.uint8)


def effectual_pairs(layer, weights, inputs):
    """Count the multiplications without a zero, tap by tap on padded tensors."""
    kept = (inputs != 0).astype(np.int64)
    pads = (layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0)
    padded = np.pad(kept, pads)
    per_channel = (weights != 0).reshape(layer.groups, layer.group_filters, *weights.shape[1:])
    per_channel = per_channel.sum(axis=1).transpose(1, 2, 0, 3)  # axes r, s, g, c
    total = 0
    for r, s in np.ndindex(layer.kernel_height, layer.kernel_width):
        seen = padded[
            r : r + layer.stride_height * layer.out_height : layer.stride_height,
            s : s + layer.stride_width * layer.out_width : layer.stride_width,
        ][: layer.out_height, : layer.out_width]
        total += int((seen.sum(axis=(0, 1)) * per_channel[r, s].ravel()).sum())
    return total


@settings(max_examples=120, deadline=None)
@given(layers())
def test_counters_are_those_of_the_page(case):
    config, layer, weights, inputs = case
    found = ExTensor(config).count_layer(layer, weights, inputs)
    assert found.difference(evaluate(config, layer, weights, inputs)) == ""
    assert (found.units.sum(axis=1) == found.cycles).all()
    assert found.pe("pairs").sum() == effectual_pairs(layer, weights, inputs)
    assert found.pe("outputs").sum() == layer.positions * layer.out_channels
    assert found.cycles * config.multipliers >= found.pe("pairs").sum()


@settings(max_examples=30, deadline=None)
@given(layers())
def test_a_wider_port_and_a_longer_queue_are_never_slower(case):
    config, *layer = case
    config = config.replace(row_buffer_bytes=1 << 20)  # the mapping stays what it is
    cycles = ExTensor(config).count_layer(*layer).pe("cycles")
    for faster in ({"port_bytes": 2 * config.port_bytes}, {"queue": config.queue + 1}):
        assert (ExTensor(config.replace(**faster)).count_layer(*layer).pe("cycles") <= cycles).all()


# -- behind the protocol ------------------------------------------------------------------------


def test_registry_has_the_paper_machine_of_any_size():
    machine = registry.load("extensor").with_multipliers(24)
    assert (machine.multipliers, machine.units) == (24, 24)
    assert machine.parameters() == {
        **ExTensorConfig.preset("paper").to_dict(),
        "pes": 24,
    }
    for wrong in (0, 4097):
        with pytest.raises(ConfigError, match=f"between 1 and 4096, not {wrong}"):
            ExTensor.with_multipliers(wrong)


def test_layer_counts_by_hand():
    # Filters {0, 3, 9} and {1}; pixels {0, 1, 2, 3, 12} and {}; no dot but the first two of
    # column 0 has a match: 2 and 1. Bytes in beats of 4: filters 8 + 4 and 4; inputs 12 + 4 and,
    # without a non-zero, 4; outputs 8 and 4.
    layer = shape(16, 2, 2)
    weights = indicator(16, {0, 3, 9}, {1})[:, None, None]
    inputs = indicator(16, {0, 1, 2, 3, 12}, set())[None].astype(np.uint8)
    outputs = indicator(2, {0, 1}, {1})[None].astype(np.uint8)
    counts = ExTensor(MACHINE).prepare(LayerTask(layer=layer, weights=weights))(inputs, outputs)
    assert (counts.pairs, counts.additions, counts.stray_pairs) == (3, 3, 0)
    assert (counts.dram.weight_bytes, counts.dram.input_bytes, counts.dram.output_bytes) == (
        16,
        20,
        12,
    )
    assert (counts.units.sum(axis=1) == counts.cycles).all()
    # Level 1: 2 matches; 1 match, after which row 1 is used up; and 4 end tokens.
    assert counts.details == {
        "tile_tokens": 3,
        "dots": 4,
        "level1_decisions": 7,
        # Rows 16 bytes, columns 16 and 4 bytes, 4 a beat.
        "load_beats": 4 + 4 + 1,
    }
    bits = {access.buffer: access.bits for access in counts.accesses}
    # Tile coordinates: 3 matches move both sides. Coordinates: {0, 3} with {0, 1, 2, 3} move 5;
    # {1} with {4} 1; {1} with {0, 1, 2, 3} 3: in all 9. Two bytes a tile, one a coordinate.
    assert bits == {
        "layer buffer": 8 * (16 + 20 + 12),
        "row buffer": 8 * (16 + 3),
        "column buffer": 8 * (20 + 3),
        "coordinates": 8 * (2 * 6 + 9),
        "accumulator": 64 * 3,
    }


def test_a_filter_that_does_not_fit_is_refused():
    layer = shape(16, 1, 1)
    weights = np.ones(layer.weights_shape, dtype=np.int8)
    machine = ExTensor(MACHINE.replace(row_buffer_bytes=39))
    with pytest.raises(CapacityError, match="40 bytes in row_buffer_bytes"):
        machine.prepare(LayerTask(layer=layer, weights=weights))


def test_difference_names_the_first_counter():
    counters = count(MACHINE, shape(8, 1, 1), [{0}], [{0}])
    pes, units = counters.pes.copy(), counters.units.copy()
    assert counters.difference(ExTensorCounters(pes, units)) == ""
    units[0, 2] += 1
    assert "wait_memory_cycles of pe unit (0,)" in counters.difference(ExTensorCounters(pes, units))
    pes[0, 1] += 1
    assert "pairs of pe (0,): 1 and 2" in counters.difference(ExTensorCounters(pes, units))
