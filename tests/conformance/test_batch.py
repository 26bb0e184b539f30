"""Machines counted sixteen at a time, against the tick oracle and the kernel of single machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from accel.machines.cluster.batch.program import can_batch, count_batched, group_key, spread
from accel.machines.cluster.program import run_layer as run_single
from accel.machines.cluster.shared import SharedLayer
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.workload import LayerWorkload
from golden.program import LayerTask
from tests.case import CATALOGUE, CONFIGURATIONS, Case, make_case
from tests.oracle import run_layer as run_oracle

_BASE = CONFIGURATIONS["output-major"]


def check(case: Case, configs: Sequence[AcceleratorConfig], mode: SkipMode) -> None:
    """Hold machines of one group to the oracle, counter by counter."""
    task = LayerTask(layer=case.layer, weights=case.weights, channel_density=case.channel_density)
    # A layer's codes do not depend on the machine.
    codes, _ = run_oracle(case.config, case.workload(), case.schedule(), case.skip)
    output = codes.reshape(case.layer.out_height, case.layer.out_width, -1)
    shared = SharedLayer(task, case.activations, output)
    assert all(can_batch(x, case.layer.layout(x), shared.schedule(x)) for x in configs)
    for config, found in zip(configs, count_batched(configs, shared, mode), strict=True):
        workload = LayerWorkload.build(
            config, case.layer, case.weights, case.activations, case.requantisation
        )
        _, expected = run_oracle(config, workload, shared.schedule(config), mode)
        difference = expected.difference(found)
        assert difference == "", f"oracle and batch differ in {difference}, {config!r}, {case!r}"


def is_batched(case: Case) -> bool:
    shared = SharedLayer(
        LayerTask(layer=case.layer, weights=case.weights), case.activations, case.activations
    )
    return can_batch(case.config, case.layer.layout(case.config), shared.schedule(case.config))


@pytest.mark.parametrize(
    "case", [case for case in CATALOGUE if is_batched(case)], ids=lambda case: case.name
)
def test_catalogue(case):
    others = [case.config.replace(fifo_depth=depth) for depth in (1, 3)]
    check(case, [case.config, *others], case.skip)


def drawn_machines(rng: np.random.Generator, count: int) -> list[AcceleratorConfig]:
    """Draw machines of one group."""
    chunk = int(rng.choice([16, 32, 64, 128, 256]))
    units, filters = int(rng.choice([1, 2, 3, 5, 8])), int(rng.integers(1, 3))
    balances = ["none", "filter", "expected", "chunk"][: 2 + filters]
    group = _BASE.replace(
        units=units, chunk=chunk, filters_per_unit=filters, lanes=int(rng.integers(1, 3)),
        balance=str(rng.choice(balances)), skip_empty_chunks=bool(rng.integers(2)),
        collector_width=1, broadcast_width=1,
    )  # fmt: skip
    widths = [width for width in range(1, units * filters + 1) if units * filters % width == 0]
    return [
        group.replace(
            clusters=int(rng.choice([1, 2, 3])),
            dealing=str(rng.choice(["tiles", "interleaved"])),
            fifo_depth=int(rng.choice([1, 2, 4, 16])),
            broadcast_width=min(chunk, 1 << int(rng.integers(0, 9))),
            filter_bus_bytes=1 << int(rng.integers(0, 6)),
            filter_double_buffer=bool(rng.integers(2)),
            collector_width=int(rng.choice(widths)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_drawn_groups(seed):
    rng = np.random.default_rng(seed)
    groups, kernel = int(rng.choice([1, 1, 2])), int(rng.integers(1, 4))
    pad = int(rng.integers(0, kernel))
    layer = LayerShape(
        name="drawn", in_channels=groups * int(rng.integers(1, 40)), in_height=3, in_width=4,
        out_channels=groups * int(rng.integers(1, 12)), kernel_height=min(kernel, 3),
        kernel_width=kernel, pad_top=pad, pad_left=pad, pad_right=pad, groups=groups,
        stride_width=int(rng.integers(1, 3)),
    )  # fmt: skip
    machines = drawn_machines(rng, int(rng.choice([1, 2, 5, 17])))
    assert len({group_key(machine) for machine in machines}) == 1
    case = make_case(
        f"drawn {seed}", _BASE, layer, weight_density=float(rng.choice([0.1, 0.5, 1])),
        activation_density=float(rng.choice([0.05, 0.5, 1])), with_density=groups == 1, seed=seed,
    )  # fmt: skip
    check(case, machines,
          SkipMode(str(rng.choice(["both", "both", "static", "dynamic", "dense"]))))  # fmt: skip


@pytest.mark.parametrize("filters", [1, 2])
def test_the_longest_times_fit(filters):
    """All ones in the widest chunks, most slots, narrow buses: times move far from their base."""
    machine = _BASE.replace(
        units=32, chunk=256, filters_per_unit=filters, collector_width=1, broadcast_width=1,
        filter_bus_bytes=1, fifo_depth=16,
    )  # fmt: skip
    machines = [
        machine.replace(fifo_depth=depth, broadcast_width=width, collector_width=collector)
        for depth in (1, 8, 16)
        for width in (1, 256)
        for collector in (1, 32)
    ]
    layer = LayerShape(
        name="ones", in_channels=700, in_height=2, in_width=8, out_channels=150,
        kernel_height=1, kernel_width=2,
    )  # fmt: skip
    weights = np.ones(layer.weights_shape, dtype=np.int8)
    # Some filters are light: their units are ahead of all others.
    weights[::3, :, :, 5:] = 0
    activations = np.ones((2, 8, 700), dtype=np.uint8)
    output = np.ones((layer.out_height, layer.out_width, 150), dtype=np.uint8)
    shared = SharedLayer(LayerTask(layer=layer, weights=weights), activations, output)
    found = count_batched(machines, shared, SkipMode.BOTH)
    for config, counters in zip(machines, found, strict=True):
        assert run_single(shared.program(config), SkipMode.BOTH).difference(counters) == ""


def test_a_machine_that_may_be_too_late_is_not_batched():
    layer = LayerShape(
        name="long", in_channels=16 * 50_000, in_height=1, in_width=1, out_channels=1,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    config = _BASE.replace(chunk=16)
    layout = layer.layout(config)
    assert spread(config, layout.filter_chunks) > 65_535
    shared = SharedLayer(
        LayerTask(layer=layer, weights=np.ones(layer.weights_shape, dtype=np.int8)),
        np.ones((1, 1, layer.in_channels), dtype=np.uint8),
        np.ones((1, 1, 1), dtype=np.uint8),
    )
    assert not can_batch(config, layout, shared.schedule(config))
    # The slowest machine that there can be has some 27,000 chunks to spare.
    slowest = _BASE.replace(
        units=256, chunk=256, filters_per_unit=2, collector_width=1, broadcast_width=1,
        fifo_depth=16, lanes=1,
    )  # fmt: skip
    assert spread(slowest, 1) == 16384 + 34 * 520 + 16 * (256 + 9) + 1 + 9
