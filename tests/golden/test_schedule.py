"""Schedules: every filter is dealt once, passes keep to their group, and balancing balances."""

import numpy as np
import pytest
from hypothesis import given, settings

from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Balance
from golden.machines.cluster.schedule import make_schedule
from golden.machines.cluster.workload import pack_weights
from golden.tensor import popcount
from tests.case import cases

TOY = AcceleratorConfig.preset("toy")


def dealt(counts, units=2, filters_per_unit=2, balance="filter", density=None, channels=32):
    """Schedule 1x1 filters with so many weights each (the first channels) on a toy."""
    config = TOY.replace(
        units=units, filters_per_unit=filters_per_unit, balance=balance, collector_width=1
    )
    layer = LayerShape(
        name="layer", in_channels=channels, in_height=1, in_width=1, out_channels=len(counts),
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    weights = np.zeros(layer.weights_shape, dtype=np.int8)
    for k, count in enumerate(counts):
        weights[k, 0, 0, :count] = 1
    packed = pack_weights(weights, layer, config.chunk, im2row=False)
    return make_schedule(config, layer, packed, density).assignment.tolist()


@settings(deadline=None)
@given(cases())
def test_every_filter_is_dealt_once(case):
    schedule, layer, config = case.schedule(), case.layer, case.config
    held = schedule.assignment
    assert held.shape == (len(schedule.pass_group), config.units, config.filters_per_unit)
    assert sorted(held[held >= 0].tolist()) == list(range(layer.out_channels))
    assert np.all(np.diff(schedule.pass_group) >= 0)
    for index, group in enumerate(schedule.pass_group):
        mine = schedule.outputs(index)
        assert len(mine) > 0
        assert np.all(mine // layer.group_filters == group)
    assert not np.any((held[:, :, :-1] < 0) & (held[:, :, 1:] >= 0))  # slots fill from 0


@settings(deadline=None)
@given(cases())
def test_segments_cover_the_filter(case):
    schedule = case.schedule()
    chunks = case.layer.layout(case.config).filter_chunks
    assert 1 <= schedule.segment_chunks <= chunks
    assert (schedule.segments - 1) * schedule.segment_chunks < chunks
    assert schedule.segments * schedule.segment_chunks >= chunks
    assert schedule.tile_positions == case.config.tile_positions


@settings(deadline=None)
@given(cases())
def test_chunk_balancing_deals_each_pass_anew(case):
    schedule = case.schedule()
    per_chunk = schedule.chunk_assignment
    if case.config.balance is not Balance.CHUNK:
        assert per_chunk is None
        return
    chunks = case.layer.layout(case.config).filter_chunks
    counts = popcount(case.workload().weights.masks).reshape(case.layer.out_channels, chunks)
    assert per_chunk.shape == (len(schedule.assignment), chunks, *schedule.assignment.shape[1:])
    for index, held in enumerate(schedule.assignment):
        for i in range(chunks):
            mine = per_chunk[index, i]
            assert sorted(mine[mine >= 0]) == sorted(held[held >= 0])
            assert np.array_equal((mine >= 0).any(axis=1), (held >= 0).any(axis=1))
            pairs = mine[(mine >= 0).all(axis=1)]
            # Densest with sparsest: the denser a pair's first, the sparser its second.
            first, second = counts[pairs[:, 0], i], counts[pairs[:, 1], i]
            assert np.all(np.diff(first[np.argsort(-first, kind="stable")]) <= 0)
            assert np.all(first >= second)
            assert len(pairs) < 2 or first.min() >= second.max()


def test_none_deals_in_turn_slot_0_first():
    assert dealt([1] * 7, balance="none") == [[[0, 2], [1, 3]], [[4, 6], [5, -1]]]
    assert dealt([1] * 5, balance="none", filters_per_unit=1) == [
        [[0], [1]], [[2], [3]], [[4], [-1]],
    ]  # fmt: skip


def test_filter_balancing_sorts():
    assert dealt([3, 9, 1, 7, 5], filters_per_unit=1) == [[[1], [3]], [[4], [0]], [[2], [-1]]]


def test_filter_balancing_pairs_heaviest_with_lightest():
    # Sorted: 1 (9), 3 (7), 0 (5), 2 (1).
    assert dealt([5, 9, 1, 7]) == [[[1, 2], [3, 0]]]
    # Five filters in two passes of two units: one pass has spare slots, the heavy ones keep them.
    table = np.array(dealt([5, 9, 1, 7, 4]))
    assert table.shape == (2, 2, 2)
    pairs = {tuple(unit) for held in table.tolist() for unit in held}
    assert (1, -1) in pairs
    assert sum(-1 in pair for pair in pairs) == 3


def test_fewer_filters_than_units_are_not_paired():
    assert dealt([2, 8], units=4, balance="filter") == [[[1, -1], [0, -1], [-1, -1], [-1, -1]]]


def test_equal_weights_keep_their_order():
    assert dealt([4, 4, 4, 4], filters_per_unit=1) == [[[0], [1]], [[2], [3]]]


def test_expected_balancing_weighs_by_density():
    # Filter 0 has two weights on busy channels, filter 1 three, one of them on a busy channel.
    config = TOY.replace(units=1, balance="expected")
    layer = LayerShape(
        name="layer", in_channels=40, in_height=1, in_width=1, out_channels=2, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    weights = np.zeros((2, 1, 1, 40), dtype=np.int8)
    weights[0, 0, 0, [0, 39]] = 1
    weights[1, 0, 0, [0, 5, 6]] = 1
    density = np.full(40, 0.1)
    density[[0, 39]] = 0.9
    packed = pack_weights(weights, layer, config.chunk, im2row=False)
    held = make_schedule(config, layer, packed, density).assignment[:, :, 0]
    assert held.tolist() == [[0], [1]]  # 1.8 expected pairs before 1.1
    held = make_schedule(config, layer, packed).assignment[:, :, 0]
    assert held.tolist() == [[1], [0]]  # three weights before two


@pytest.mark.parametrize(
    ("segment_chunks", "expected"), [(0, (6, 1)), (4, (4, 2)), (1, (1, 6)), (100, (6, 1))]
)
def test_segments_by_hand(segment_chunks, expected):
    config = TOY.replace(segment_chunks=segment_chunks)
    layer = LayerShape(
        name="layer", in_channels=33, in_height=3, in_width=1, out_channels=1, kernel_height=3,
        kernel_width=1,
    )  # fmt: skip
    weights = np.ones(layer.weights_shape, dtype=np.int8)
    schedule = make_schedule(config, layer, pack_weights(weights, layer, 32, im2row=False))
    assert (schedule.segment_chunks, schedule.segments) == expected
