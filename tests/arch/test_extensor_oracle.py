"""The tick oracle of ExTensor: codes against the naive operators, cycles by hand."""

from __future__ import annotations

import numpy as np
import pytest

from golden import reference
from golden.arithmetic import Requantisation
from golden.extensor import ExTensorConfig, Latency, fibre_bytes
from golden.layer import LayerShape
from tests.arch.extensor_cases import MACHINES, drawn_layers
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
    for case in drawn_layers(1, 12):
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


def test_fibre_bytes_by_hand():
    """Tiles of 8: 3 non-zeros are 8 bytes, 1 is 4, none is none; an empty fibre is a beat."""
    fibres = np.zeros((2, 20), dtype=bool)
    fibres[0, [0, 3, 7, 19]] = True
    assert fibre_bytes(fibres, 8, 2).tolist() == [12, 2]
    assert fibre_bytes(fibres, 8, 8).tolist() == [16, 8]


def test_an_empty_dot_costs_its_end_token():
    """A row beat, a column beat, the wait for both, an end token."""
    codes, counters = run_matrices(ONE, [[0] * 8], [[0] * 8])
    assert codes.tolist() == [[[0]]]
    first = 2 + Latency.LOAD
    assert counters.cycles == first + 1 + Latency.MATCH + 1 + Latency.TAIL
    assert counters.unit("wait_memory_cycles") == first
    assert counters.unit("wait_broadcast_cycles") == 1 + Latency.MATCH
    assert counters.unit("bubble_cycles") == 1
    assert counters.unit("idle_cycles") == Latency.TAIL


def test_a_dot_by_hand():
    """Tiles 0 and 2 of the row, 1 and 2 of the column: skip, skip, match; then 4 decisions."""
    row, column = np.zeros(24, int), np.zeros(24, int)
    row[[1, 16, 20, 21, 22]] = 3, 1, 5, 7, -2
    column[[9, 18, 19, 21]] = 1, 1, 1, 10
    codes, counters = run_matrices(ONE, [row.tolist()], [column.tolist()])
    assert codes.tolist() == [[[70]]]
    assert counters.pe("level1_decisions") == 4  # 0 to 2, 1 to 2, 2 with 2, end token
    assert counters.pe("tile_tokens") == 1
    assert counters.pe("pairs") == 1
    # 16 to 18, 18 and 19 to 20, 20 to 21, 21 with 21; 22 is left over.
    assert counters.unit("busy_cycles") == 1
    assert counters.unit("bubble_cycles") == 3 + 1
    beats = (1 + 3) + (1 + 2)  # 4 bytes each: 4 and 10; 4 and 8
    assert counters.pe("load_beats") == beats
    first = beats + Latency.LOAD
    assert counters.cycles == first + 3 + Latency.MATCH + 4 + 1 + Latency.TAIL


def test_columns_are_double_buffered():
    """Empty columns: two loads go ahead, each further one waits for the column two before."""
    _, counters = run_matrices(ONE, [[0] * 8], [[0] * 8] * 4)
    turn = 1 + Latency.LOAD + 1 + Latency.MATCH + 1  # load, wait, end token, level 0
    second_pair = 1 + turn + Latency.LOAD_FREE + turn
    assert counters.cycles == second_pair + 1 + Latency.TAIL
    assert counters.pe("load_beats") == 1 + 4


def test_more_hardware_is_never_slower():
    for case in drawn_layers(2, 6):
        operands = case.layer, case.weights, case.activations, case.requantisation
        slow, fast = (
            run_layer(MACHINES["toy"].replace(queue=queue), *operands)[1] for queue in (1, 16)
        )
        assert fast.cycles <= slow.cycles
        assert fast.pe("level1_decisions").tolist() == slow.pe("level1_decisions").tolist()
