"""ExTensor's simulator: by hand, and against the page evaluated to the letter."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel.machines.extensor.kernels import intersect_masks
from accel.machines.extensor.model import ExTensor, count_layer
from golden.counters import UNIT_COUNTERS
from golden.errors import ConfigError
from golden.layer import LayerShape
from golden.machines import registry
from golden.machines.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Mapping,
    map_layer,
)
from tests.arch.counting import count_image
from tests.arch.extensor_equations import evaluate, two_pointers
from tests.latencies import EXTENSOR_LATENCIES, with_latencies

MACHINE = with_latencies(
    ExTensorConfig(
        name="hand",
        pes=1,
        tile=8,
        rows_max=4,
        columns_max=4,
        tile_bytes=4096,
        port_bytes=4,
    ),
    **EXTENSOR_LATENCIES,
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
    return count_layer(config, layer, weights, inputs)


# -- by hand ------------------------------------------------------------------------------------


def test_one_item_by_hand():
    # Lists of two tiles: a beat each, LD = 2, first decision after cycle 3.
    # Tile 0: {0, 3} and {0, 1, 2, 3}: match, skip, match: 3. Beats of 4 bytes: 6 are 2, 10 are 3.
    # T = 4, LD = 4 + 5 = 9, S = 9 + 3 = 12, F = 15.
    # Tile 1: {1} and {4}: one skip; 4 bytes each, T = 5, LD = 9 + 2 = 11, S = 15, F = 16.
    # End: E = 5, LD = 12, S = 16, F = 17; D = 17 + 5 + 1, cycles 23 + 7.
    counters = count(MACHINE, shape(16, 1, 1), [{0, 3, 9}], [{0, 1, 2, 3, 12}])
    assert dict(zip(PE_COUNTERS, counters.pes[0].tolist(), strict=True)) == {
        "cycles": 30,
        "pairs": 2,
        "tile_pairs": 2,
        "fibre_pairs": 2,
        "tile_decisions": 2,
        "load_beats": 2 + 5 + 2,
        "outputs": 1,
    }
    assert dict(zip(UNIT_COUNTERS, counters.units[0].tolist(), strict=True)) == {
        "busy_cycles": 2,
        "bubble_cycles": 2 + 1,
        "wait_memory_cycles": 12,
        "wait_siblings_cycles": 0,
        "wait_broadcast_cycles": 0,
        "wait_collector_cycles": 0,
        "idle_cycles": 13,
    }


def test_rows_and_columns_without_a_nonzero_in_a_tile_cost_nothing_by_hand():
    # One item. Tile 0: rows 0 and 2 with column 1; tile 1: row 1, and no column: not loaded.
    # Lists LD = 2; T = 4; 3 fibres of a beat: LD = 7, S = 10, two fibre pairs of a decision,
    # F = 12. E = 4: end LD = 8, S = 12, F = 13, D = 13 + 5 + 6, cycles 31.
    counters = count(MACHINE, shape(16, 2, 3), [{0}, {9}, {5}], [set(), {0}])
    assert counters.pes.tolist() == [[31, 1, 1, 2, 1, 5, 6]]
    assert counters.units.tolist() == [[1, 1 + 1, 10, 0, 0, 0, 18]]


def test_tiles_are_double_buffered_by_hand():
    # 3 tiles of 8 matches each: 18 bytes, 5 beats a fibre, 10 a pair; lists 2 beats.
    # T = 4, 5, 6. LD = 4 + 10 = 14, S = 17, F = 25; LD = 24, S = 27, F = 35;
    # LD = max(24, 25 + 2) + 10 = 37, S = 40, F = 48. End LD = 38, S = 48, F = 49.
    full = set(range(24))
    counters = count(MACHINE, shape(24, 1, 1), [full], [full])
    assert counters.cycles == 49 + 5 + 1 + 7
    assert counters.unit("wait_memory_cycles").tolist() == [17 + 2 + 5]
    assert counters.unit("busy_cycles").tolist() == [24]


def test_an_end_waits_for_the_sums_before_by_hand():
    # Two items without a non-zero, of 4 x 4 sums. Lists LD = 2, E = 3, end LD = 4, S = 7, F = 8,
    # D = 8 + 5 + 16 = 29. Lists LD = 6, E = 7, end LD = max(7, 8 + 2) + 1 = 11, arrives 14,
    # S = 29, F = 30, D = 51.
    counters = count(MACHINE, shape(8, 8, 4), [set()] * 4, [set()] * 8)
    assert counters.pes.tolist() == [[51 + 7, 0, 0, 0, 0, 4, 32]]
    assert counters.units.tolist() == [[0, 2, 7 + 6, 0, 0, 15, 28]]


def test_two_groups_are_two_items_by_hand():
    # Each: lists 2 beats, a pair of 2 beats. T = 4, LD = 6, S = 9, F = 10; end LD = 7, F = 11,
    # D = 17. Lists LD = 9, T = 11, LD = 13, S = 16, F = 17; end LD = max(13, 11 + 2) + 1 = 14,
    # S = 17, F = 18, D = 24. The second PE of three has the second item.
    pairs = [{0}, {0}], [{0, 1}]
    assert count(MACHINE, shape(2, 1, 2, groups=2), *pairs).cycles == 24 + 7
    three = count(MACHINE.replace(pes=3), shape(2, 1, 2, groups=2), *pairs)
    assert three.pe("cycles").tolist() == [24, 24, 0]
    assert three.units[2].tolist() == [0, 0, 0, 0, 0, 0, 24]


def test_tiles_are_skipped_by_hand():
    # Tiles {0, 1, 2, 4} and {3, 4, 5}: skip to 4, skip to 4, match; the row is used up.
    # Lists LD = 2, T = E = 6; pair LD = 8, S = 11, F = 12; end LD = 9, F = 13.
    row, column = {0, 8, 16, 32}, {24, 32, 40}
    counters = count(MACHINE, shape(48, 1, 1), [row], [column])
    assert counters.pe("tile_decisions").tolist() == [3]
    assert counters.pe("tile_pairs").tolist() == [1]
    assert counters.cycles == 13 + 5 + 1 + 7


def test_an_end_waits_for_the_last_decisions_by_hand():
    # Tiles {0, 2, 4} and {0, 3, 5}: match, then three skips: E = 3 + 4. Pair: T = 4, LD = 5 with
    # one beat a fibre of 16 bytes, 2: LD = 6, S = 9, F = 10. End: LD = 8, S = 11, F = 12.
    row, column = {0, 16, 32}, {0, 24, 40}
    counters = count(MACHINE.replace(port_bytes=16), shape(48, 1, 1), [row], [column])
    assert counters.pe("tile_decisions").tolist() == [4]
    assert counters.units[0].tolist() == [1, 1, 9 + 1, 0, 0, 0, 13]


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
    config = ExTensorConfig(
        name="drawn",
        pes=draw(st.sampled_from([1, 2, 3, 5, 40])),
        tile=draw(st.sampled_from([8, 16, 32, 64, 128, 256])),
        rows_max=draw(st.sampled_from([1, 2, 4, 8])),
        columns_max=draw(st.sampled_from([1, 2, 4, 8])),
        tile_bytes=draw(st.sampled_from([544, 600, 1 << 16])),
        port_bytes=draw(st.sampled_from([2, 4, 8, 32])),
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
    found = count_layer(config, layer, weights, inputs)
    assert found.difference(evaluate(config, layer, weights, inputs)) == ""
    assert (found.units.sum(axis=1) == found.cycles).all()
    assert found.pe("pairs").sum() == effectual_pairs(layer, weights, inputs)
    assert found.pe("outputs").sum() == layer.positions * layer.out_channels
    assert found.cycles * config.multipliers >= found.pe("pairs").sum()


@settings(max_examples=30, deadline=None)
@given(layers())
def test_a_wider_port_is_never_slower(case):
    config, *layer = case
    config = config.replace(tile_bytes=1 << 20)  # the mapping stays what it is
    slow, fast = (
        count_layer(config.replace(port_bytes=port), *layer)
        for port in (config.port_bytes, 2 * config.port_bytes)
    )
    assert (fast.pe("cycles") <= slow.pe("cycles")).all()


# -- behind the protocol ------------------------------------------------------------------------


def test_registry_has_the_paper_machine_of_any_size():
    machine = registry.find("extensor").load_model().with_multipliers(24)
    assert (machine.multipliers, machine.units) == (24, 24)
    assert machine.parameters() == {
        **ExTensorConfig.preset("paper").to_dict(),
        "name": "extensor",
        "pes": 24,
    }
    for wrong in (0, 4097):
        with pytest.raises(ConfigError, match=f"between 1 and 4096, not {wrong}"):
            ExTensor.with_multipliers(wrong)


def test_layer_counts_by_hand():
    # Filters {0, 3, 9} and {1}; pixels {0, 1, 2, 3, 12} and {}. One item, two tiles, both match.
    # Bytes in beats of 4: filters 8 + 4 and 4; inputs 12 + 4; outputs 8 and 4; lists 4 each.
    layer = shape(16, 2, 2)
    weights = indicator(16, {0, 3, 9}, {1})[:, None, None]
    inputs = indicator(16, {0, 1, 2, 3, 12}, set())[None].astype(np.uint8)
    outputs = indicator(2, {0, 1}, {1})[None].astype(np.uint8)
    counts = count_image(ExTensor(MACHINE), layer, weights, inputs, outputs)
    # Fibre pairs: two in tile 0, one in tile 1.
    assert (counts.pairs, counts.additions, counts.stray_pairs) == (3, 3 + 3, 0)
    assert (counts.dram.weight_bytes, counts.dram.input_bytes, counts.dram.output_bytes) == (
        16,
        16,
        12,
    )
    assert (counts.units.sum(axis=1) == counts.cycles).all()
    assert counts.details == {
        "tile_pairs": 2,
        "fibre_pairs": 3,
        "tile_decisions": 2,
        "load_beats": 2 + 4 + 4,
    }
    # {0, 3} with {0, 1, 2, 3} move 5 coordinates; {1} with {0, 1, 2, 3} 3; {1} with {4} 1.
    assert {access.buffer: access.bits for access in counts.accesses} == {
        "layer buffer": 8 * (8 + 16 + 16 + 12),
        "row tiles": 8 * (16 + 3),
        "column tiles": 8 * (16 + 3),
        "coordinates": 8 * (8 + 9),
        "accumulator": 64 * 3,
        "sums": 64 * (3 + 4),
    }


def test_tiles_that_do_not_fit_make_smaller_blocks():
    # A filter's tile is 20 bytes, a column's without a zero too; 2 of each fit 59 bytes.
    layer = shape(16, 4, 4)
    weights = np.ones(layer.weights_shape, dtype=np.int8)
    for size, cut in ((80, (4, 4)), (59, (2, 2)), (20, (1, 1))):
        mapping = map_layer(MACHINE.replace(tile_bytes=size), layer, weights)
        assert (mapping.block, mapping.run) == cut
    with pytest.raises(ConfigError, match="tile_bytes must be at least 20"):
        MACHINE.replace(tile_bytes=19)


def test_items_are_numbered_group_by_group():
    mapping = Mapping(groups=2, rows=3, columns=5, block=2, run=4)
    items = [mapping.item(number) for number in range(mapping.items)]
    assert [(one.group, list(one.rows), list(one.columns)) for one in items[3:6]] == [
        (0, [2], [4]),
        (1, [0, 1], [0, 1, 2, 3]),
        (1, [0, 1], [4]),
    ]
    assert len(items) == 8


def test_difference_names_the_first_counter():
    counters = count(MACHINE, shape(8, 1, 1), [{0}], [{0}])
    pes, units = counters.pes.copy(), counters.units.copy()
    assert counters.difference(ExTensorCounters(pes, units)) == ""
    units[0, 2] += 1
    assert "wait_memory_cycles of pe unit (0,)" in counters.difference(ExTensorCounters(pes, units))
    pes[0, 1] += 1
    assert "pairs of pe (0,): 1 and 2" in counters.difference(ExTensorCounters(pes, units))
