"""The tick oracle against the reference operators and the equations, and what must hold of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from golden.arithmetic import Requantisation
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cluster.config import Balance, Dealing, SkipMode
from golden.reference import convolve
from tests.case import CATALOGUE, CONFIGURATIONS, HARDWARE_CONFIGURATIONS, Case, cases
from tests.conformance.equations import evaluate
from tests.latencies import OTHER_LATENCIES, with_latencies
from tests.oracle import run_layer
from tests.program import Layer

_DRAWN = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
    derandomize=True,
)


def check(case: Case) -> None:
    """Oracle against reference (codes), equations (counters) and dense counts (pairs)."""
    workload, schedule = case.workload(), case.schedule()
    codes, counters = run_layer(case.config, workload, schedule, case.skip)
    expected = convolve(case.weights, case.activations, case.layer, case.requantisation)
    assert codes.dtype == expected.dtype
    assert np.array_equal(codes, expected)
    written = evaluate(Layer(case.config, workload, schedule, case.skip), expected)
    assert counters.difference(written) == ""
    assert np.all(counters.units >= 0)
    assert np.all(counters.units.sum(axis=-1) == counters.cluster("cycles")[:, None])
    assert counters.cluster("pairs").sum() == count_pairs(case)
    assert counters.cluster("outputs").sum() == codes.size
    assert counters.cluster("output_nonzeros").sum() == np.count_nonzero(codes)


def count_pairs(case: Case) -> int:
    """Count a layer's multiplications from its dense tensors, by sliding a padded window."""
    layer, skip = case.layer, case.skip
    weights = (case.weights != 0) if skip.skips_weights else np.ones(case.weights.shape, bool)
    inputs = case.activations != 0
    if not skip.skips_activations:
        inputs = np.ones(inputs.shape, bool)
    # Without skipping, the machine multiplies padding too.
    border = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
    padded = np.pad(inputs, border, constant_values=not skip.skips_activations)
    total = 0
    for k in range(layer.out_channels):
        first = k // layer.group_filters * layer.group_channels
        for p, q in np.ndindex(layer.out_height, layer.out_width):
            y, x = p * layer.stride_height, q * layer.stride_width
            window = padded[
                y : y + layer.kernel_height,
                x : x + layer.kernel_width,
                first : first + layer.group_channels,
            ]
            total += int(np.count_nonzero(window & weights[k]))
    return total


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_catalogue(case):
    check(case)


@settings(_DRAWN, max_examples=150)
@given(cases())
def test_any_machine(case):
    check(case)


@settings(_DRAWN, max_examples=60)
@given(cases(configs=CONFIGURATIONS.values()))
def test_small_machines(case):
    check(case)


@pytest.mark.parametrize("latencies", OTHER_LATENCIES.values(), ids=OTHER_LATENCIES)
def test_equations_hold_with_other_latencies(latencies):
    for case in CATALOGUE[::4]:
        check(replace(case, config=with_latencies(case.config, **latencies)))


def test_one_step_by_hand():
    """One unit, one chunk, one filter: every cycle counted on paper.

    Load: one mask of 16 positions over a byte-wide bus, 2 beats, and 3 values, 3 beats: LD = 5,
    G = 5 + 3 = 8. One word: A = 9. Two pairs: F = 11. B = 11 + 4, E = 16, cycles 16 + 8 = 24.
    """
    case = hand_case(weights=[1, 2, 0, 3], inputs=[5, 0, 7, 1])
    codes, counters = run_layer(case.config, case.workload(), case.schedule(), SkipMode.BOTH)
    assert codes.tolist() == [[[4]]]  # (1 * 5 + 3 * 1) / 2
    assert dict(zip(names("cluster"), counters.clusters[0].tolist(), strict=True)) == {
        "cycles": 24, "pairs": 2, "steps_delivered": 1, "steps_skipped": 0, "broadcast_words": 1,
        "filter_beats": 5, "outputs": 1, "output_nonzeros": 1,
    }  # fmt: skip
    assert dict(zip(names("unit"), counters.units[0, 0].tolist(), strict=True)) == {
        "busy_cycles": 2, "bubble_cycles": 0, "wait_memory_cycles": 8, "wait_siblings_cycles": 0,
        "wait_broadcast_cycles": 1, "wait_collector_cycles": 0, "idle_cycles": 13,
    }  # fmt: skip


def test_back_pressure_by_hand():
    """Four chunks of 16 pairs, two slots: the third waits for the first one's slot.

    Load: 4 * (2 + 16) = 72 beats, G = 75. A = 76, 77; F = 92, 108. The third chunk: R = 92 + 4,
    A = 97, F = 124; the fourth: R = 108 + 4, A = 113, F = 140. E = 140 + 4 + 1, cycles = 153.
    The unit never waits for its own slot, for the next chunk is there when it is done.
    """
    case = hand_case(weights=[1] * 64, inputs=[1] * 64)
    _, counters = run_layer(case.config, case.workload(), case.schedule(), SkipMode.BOTH)
    assert counters.cycles == 153
    assert counters.units[0, 0].tolist() == [64, 0, 75, 0, 1, 0, 13]


def test_siblings_by_hand():
    """Two units, one with 16 pairs a chunk, one with none: the idle one waits for its sibling.

    Load: 4 * (2 + 16) + 4 * 2 = 80 beats, G = 83. A = 84, 85, then R = 100 + 4, A = 105 and
    R = 116 + 4, A = 121, F = 148 for the busy unit. The other has its bubbles in cycles 84, 85,
    105 and 121; it waits [86, 104) and [106, 120) for siblings, 104 and 120 for the word.
    """
    weights = [[1] * 64, [0] * 64]
    case = hand_case(weights=weights, inputs=[1] * 64, units=2)
    _, counters = run_layer(case.config, case.workload(), case.schedule(), SkipMode.BOTH)
    assert counters.cycles == 148 + 4 + 2 + 8
    assert counters.units[0, 0].tolist() == [64, 0, 83, 0, 1, 0, 14]
    assert counters.units[0, 1].tolist() == [0, 4, 83, 32, 3, 0, 40]


def hand_case(weights: list, inputs: list[int], **changes: int) -> Case:
    """One position on a machine with 16-position chunks, two slots and a byte-wide filter bus."""
    config = CONFIGURATIONS["one-unit"].replace(skip_empty_chunks=True, **changes)
    config = with_latencies(config, **OTHER_LATENCIES["short"])
    rows = np.array(weights, dtype=np.int8).reshape(-1, 1, 1, len(inputs))
    ones = np.ones(len(rows), dtype=np.int64)
    layer = LayerShape(
        name="hand", in_channels=len(inputs), in_height=1, in_width=1, out_channels=len(rows),
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    return Case(
        name="hand",
        config=config,
        layer=layer,
        weights=rows,
        activations=np.array(inputs, dtype=np.uint8).reshape(1, 1, -1),
        requantisation=Requantisation(0 * ones, ones, ones, low=0, high=255),
        skip=SkipMode.BOTH,
    )


def names(what: str) -> tuple[str, ...]:
    return CLUSTER_COUNTERS if what == "cluster" else UNIT_COUNTERS


# -- more of anything is never slower -----------------------------------------------------------


def cycles(case: Case, skip: SkipMode | None = None, **changes: object) -> int:
    """Cycles of a case's program on a changed machine."""
    config = case.config.replace(**changes)
    _, counters = run_layer(config, case.workload(), case.schedule(), skip or case.skip)
    return counters.cycles


_MONOTONE = [
    ("fifo_depth", 1, 3),
    ("filter_bus_bytes", 1, 8),
    ("broadcast_width", 2, 8),
    ("lanes", 1, 2),
    ("filter_double_buffer", False, True),
    ("collector_width", 1, 0),  # 0: all outputs of the pass at once
]


@pytest.mark.parametrize(("name", "less", "more"), _MONOTONE, ids=[m[0] for m in _MONOTONE])
@settings(_DRAWN, max_examples=12)
@given(case=cases(configs=HARDWARE_CONFIGURATIONS.values(), steps_max=150))
def test_more_is_never_slower(name, less, more, case):
    more = more or case.config.group_filters
    assert cycles(case, **{name: more}) <= cycles(case, **{name: less})


@settings(_DRAWN, max_examples=25)
@given(case=cases(configs=HARDWARE_CONFIGURATIONS.values(), steps_max=150))
def test_skipping_more_is_never_slower(case):
    dense, static, dynamic, both = (cycles(case, skip) for skip in SkipMode)
    assert both <= min(static, dynamic)
    assert max(static, dynamic) <= dense


@settings(_DRAWN, max_examples=25)
@given(case=cases(steps_max=150))
def test_work_does_not_depend_on_the_order(case):
    """Pairs, outputs and skipped plus delivered steps are the layer's, whoever works on them."""
    config, skip = case.config, case.skip
    workload, schedule = case.workload(), case.schedule()
    _, mine = run_layer(config, workload, schedule, skip)
    single = config.replace(clusters=1, dealing=Dealing.TILES, lanes=1)
    _, other = run_layer(single, workload, schedule, skip)
    for name in ("pairs", "outputs", "output_nonzeros"):
        assert mine.cluster(name).sum() == other.cluster(name).sum()
    steps = [c.cluster("steps_delivered") + c.cluster("steps_skipped") for c in (mine, other)]
    assert steps[0].sum() == steps[1].sum()


def test_catalogue_holds_what_it_says():
    by_name = {case.name: case for case in CATALOGUE}
    assert len(by_name) == len(CATALOGUE) >= 40
    assert sum(case.hardware_ok for case in CATALOGUE) >= 40
    assert len(HARDWARE_CONFIGURATIONS) >= 8
    assert {case.skip for case in CATALOGUE} == set(SkipMode)
    assert {case.config.balance for case in CATALOGUE} == set(Balance)
    assert {case.config.dealing for case in CATALOGUE} == set(Dealing)
    assert {case.config.fifo_depth for case in CATALOGUE} == {1, 2, 4}
    assert {case.config.chunk for case in CATALOGUE} == {16, 32, 64, 128, 256}

    def counters(name):
        case = by_name[name]
        return run_layer(case.config, case.workload(), case.schedule(), case.skip)

    codes, _ = counters("all-negative-codes")
    assert codes.max() < 0
    assert len(np.unique(codes)) > 10
    assert counters("all-negative-outputs")[0].max() == 0
    assert counters("clusters-empty")[1].cluster("cycles").min() == 0
    assert counters("queue-empty")[1].cluster("cycles").min() == 0
    assert counters("zero-input-chunk-skipped")[1].cluster("steps_skipped").max() > 0
    assert counters("zero-input-chunk")[1].cluster("steps_skipped").max() == 0
    assert counters("zero-input-chunk-last")[1].cluster("steps_skipped").max() == 0
    assert counters("zero-pixels-not-skipped-by-static")[1].cluster("steps_skipped").max() == 0
    assert counters("zero-filter")[1].unit("bubble_cycles").max() > 0
    assert counters("collector-narrow")[1].unit("wait_collector_cycles").max() > 0
    assert counters("broadcast-narrow")[1].unit("wait_broadcast_cycles").max() > 100
    assert counters("segments-dense")[1].unit("wait_memory_cycles").max() > 100
    assert counters("fifo-1")[1].unit("wait_siblings_cycles").max() > 0
