"""The tick oracle of ExTensor: codes against the naive operators, cycles by hand."""

from __future__ import annotations

import numpy as np
import pytest

from golden import reference
from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.machines.extensor import ExTensorConfig, fibre_bytes, list_bytes
from tests.arch.extensor_cases import CATALOGUE, MACHINES, drawn_layers
from tests.arch.extensor_oracle import Intersection, run_layer

ONE = ExTensorConfig.preset("toy").replace(pes=1, tile=8)


def run_matrices(config: ExTensorConfig, rows: list[list[int]], columns: list[list[int]]):
    """Run a kernel that is given as matrices: a 1 x 1 convolution, a column a pixel."""
    weights = np.array(rows, dtype=np.int8)[:, None, None, :]
    activations = np.array(columns, dtype=np.uint8)[None]
    layer = LayerShape(
        name="kernel",
        in_channels=len(rows[0]),
        in_height=1,
        in_width=len(columns),
        out_channels=len(rows),
        kernel_height=1,
        kernel_width=1,
    )
    ones = np.ones(len(rows), dtype=np.int64)
    how = Requantisation(0 * ones, 2 * ones, ones, -128, 127, signed=True)
    return run_layer(config, layer, weights, activations, how)


@pytest.mark.parametrize("name", MACHINES)
def test_codes_are_the_naive_operators(name):
    cycles = 0
    for case in CATALOGUE + drawn_layers(1, 12):
        operands = case.layer, case.weights, case.activations, case.requantisation
        codes, counters = run_layer(MACHINES[name], *operands)
        wanted = reference.convolve(case.weights, case.activations, case.layer, case.requantisation)
        np.testing.assert_array_equal(codes, wanted, err_msg=case.name)
        assert codes.dtype == wanted.dtype
        assert counters.pe("outputs").sum() == case.layer.positions * case.layer.out_channels
        np.testing.assert_array_equal(counters.units.sum(axis=1), counters.cycles)
        cycles += counters.cycles
    assert cycles > 1000


def test_intersection_by_hand():
    """0 skips to 4; 2, 3 are passed over at once; 5 meets 5; 6 is left over."""
    units = Intersection([0, 4, 5, 6], [2, 3, 5]), Intersection([2, 3, 5], [0, 4, 5, 6])
    for unit, wanted in zip(units, ((2, 2), (2, 2)), strict=True):
        matches = []
        while not unit.used_up:
            matches.append(unit.decide())
        assert matches == [None, None, None, wanted]


def test_bytes_by_hand():
    """3 non-zeros are 8 bytes, 1 is 4, none is no fibre; 9 tiles are 2 bytes."""
    counts = np.array([3, 1, 0])
    assert fibre_bytes(counts, 2).tolist() == [8, 4, 0]
    assert fibre_bytes(counts, 8).tolist() == [8, 8, 0]
    assert [list_bytes(9, 2), list_bytes(9, 8), list_bytes(65, 8)] == [2, 8, 16]


def test_an_item_without_a_nonzero_costs_its_end():
    """Two lists of a beat, no decision, the end's beat and its cycle, a sum."""
    codes, counters = run_matrices(ONE, [[0] * 8], [[0] * 8])
    assert codes.tolist() == [[[0]]]
    arrives = 2 + ONE.LATENCY.lists + 1 + ONE.LATENCY.load
    assert counters.cycles == arrives + 1 + ONE.LATENCY.drain + 1 + ONE.LATENCY.tail
    assert counters.unit("wait_memory_cycles") == arrives
    assert counters.unit("bubble_cycles") == 1
    assert counters.unit("idle_cycles") == ONE.LATENCY.drain + 1 + ONE.LATENCY.tail
    assert counters.pe("load_beats") == 2


def test_a_dot_by_hand():
    """Tiles 0 and 2 of the row, 1 and 2 of the column: skip, skip, match; then 4 decisions."""
    row, column = np.zeros(24, int), np.zeros(24, int)
    row[[1, 16, 20, 21, 22]] = 3, 1, 5, 7, -2
    column[[9, 18, 19, 21]] = 1, 1, 1, 10
    codes, counters = run_matrices(ONE, [row.tolist()], [column.tolist()])
    assert codes.tolist() == [[[70]]]
    assert counters.pe("tile_decisions") == 3
    assert counters.pe("tile_pairs") == counters.pe("fibre_pairs") == 1
    assert counters.pe("pairs") == 1
    # 16 to 18, 18 and 19 to 20, 20 to 21, 21 with 21; 22 is left over.
    assert counters.unit("busy_cycles") == 1
    assert counters.unit("bubble_cycles") == 3 + 1
    # 4 bytes each: 10 and 8 of the fibres in tile 2.
    assert counters.pe("load_beats") == 2 + 3 + 2
    first = 2 + ONE.LATENCY.lists + 3 + 5 + ONE.LATENCY.load
    assert counters.cycles == first + 4 + 1 + ONE.LATENCY.drain + 1 + ONE.LATENCY.tail


def test_only_fibres_with_a_nonzero_in_a_tile_meet():
    """Rows {tile 0}, {tile 1}, {tile 0}; columns {tile 0}, {}: two fibre pairs of nine."""
    rows = [[1] + 15 * [0], 15 * [0] + [1], [2] + 15 * [0]]
    codes, counters = run_matrices(ONE, rows, [[3] + 15 * [0], 16 * [0]])
    assert codes.tolist() == [[[3, 0, 6], [0, 0, 0]]]
    assert counters.pe("tile_pairs") == 1
    assert counters.pe("fibre_pairs") == 2
    assert counters.pe("load_beats") == 2 + 3


def test_an_end_waits_until_the_sums_before_are_handed_out():
    """Two items of 4 x 4 sums without a non-zero: the second's end is there long before."""
    _, counters = run_matrices(ONE, [[0] * 8] * 4, [[0] * 8] * 8)
    first = 2 + ONE.LATENCY.lists + 1 + ONE.LATENCY.load
    assert counters.unit("wait_collector_cycles") > 0
    second = first + 1 + ONE.LATENCY.drain + 16
    assert counters.cycles == second + 1 + ONE.LATENCY.drain + 16 + ONE.LATENCY.tail


def test_more_hardware_is_never_slower():
    for case in drawn_layers(2, 6):
        operands = case.layer, case.weights, case.activations, case.requantisation
        slow, fast = (
            run_layer(MACHINES["toy"].replace(tile_bytes=4096, port_bytes=port), *operands)[1]
            for port in (2, 16)
        )
        assert fast.cycles <= slow.cycles
        assert fast.pe("tile_decisions").tolist() == slow.pe("tile_decisions").tolist()
