"""The driver: what does not fit is refused by name, and bad streams are noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("amaranth")

from golden.errors import CapacityError, ConfigError, HardwareError, UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import make_schedule
from rtl.cluster.driver.program import make_program
from rtl.cluster.driver.results import decode_outputs
from rtl.cluster.hardware import HARDWARE
from rtl.sim.run import run_layers
from tests.case import make_case

TOY = AcceleratorConfig.preset("toy")
LAYER = LayerShape(
    name="conv7", in_channels=40, in_height=4, in_width=4, out_channels=6,
    kernel_height=3, kernel_width=3,
)  # fmt: skip


def program(config: AcceleratorConfig, layer: LayerShape = LAYER, cluster: int = 0, **options):
    case = make_case("case", config, layer, weight_density=1.0, activation_density=1.0, **options)
    return make_program(config, case.workload(), case.schedule(), SkipMode.BOTH, cluster)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_buffer_chunks": 31}, "input index buffer must hold 32 chunks, it has 31"),
        ({"input_buffer_bytes": 600}, "input value buffer must hold 640 bytes, it has 600"),
        ({"filter_buffer_chunks": 17}, "filter index buffer must hold 18 chunks, it has 17"),
        (
            {"filter_buffer_chunks": 35, "filter_double_buffer": True},
            r"filter index buffer in each half must hold 18 chunks.* raise filter_buffer_chunks"
            " to 36",
        ),
        ({"filter_buffer_bytes": 352}, "filter value buffer must hold 360 bytes, it has 352"),
    ],
)
def test_layer_that_does_not_fit(changes, words):
    with pytest.raises(CapacityError, match=f"Layer conv7: the {words}"):
        program(TOY.replace(**changes))


def test_layer_that_just_fits():
    config = TOY.replace(
        input_buffer_chunks=32, input_buffer_bytes=640,
        filter_buffer_chunks=18, filter_buffer_bytes=360,
    )  # fmt: skip
    made = program(config)
    assert made is not None
    assert made.output_beats == 4 * 6


def test_filter_buffer_of_what_chunk_balancing_gives_a_unit():
    """Two filters that are full in one chunk each meet on a unit in both: 2 x (8 + 1) rows of 4.

    By whole filters each would have one of the others: 8 + 1 + 3 + 3 rows.
    """
    layer = LayerShape(
        name="conv7", in_channels=64, in_height=1, in_width=1, out_channels=4,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    config = TOY.replace(units=2, filters_per_unit=2, balance="chunk")
    weights = np.zeros((4, 1, 1, 64), dtype=np.int8)
    for k, counts in enumerate([(32, 4), (4, 32), (10, 10), (10, 10)]):
        for i, count in enumerate(counts):
            weights[k, 0, 0, 32 * i : 32 * i + count] = 1
    case = replace(make_case("case", config, layer), weights=weights)
    made = [
        make_program(one, case.workload(), case.schedule(), SkipMode.BOTH, 0)
        for one in (config, config.replace(filter_buffer_bytes=72))
    ]
    assert all(one is not None for one in made)
    small = config.replace(filter_buffer_bytes=71)
    with pytest.raises(CapacityError, match="filter value buffer must hold 72 bytes, it has 68"):
        make_program(small, case.workload(), case.schedule(), SkipMode.BOTH, 0)


def test_homes_stand_beside_the_bytes_of_a_beat():
    """One chunk a filter, of 5, 9, 2, 7 weights: homes follow from weight, pairs from the chunk."""
    layer = LayerShape(
        name="conv7", in_channels=32, in_height=1, in_width=1, out_channels=4,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    config = TOY.replace(units=2, filters_per_unit=2, balance="chunk", collector_width=2)
    weights = np.zeros((4, 1, 1, 32), dtype=np.int8)
    for k, count in enumerate([5, 9, 2, 7]):
        weights[k, 0, 0, :count] = k + 1
    case = replace(make_case("case", config, layer), weights=weights)
    made = make_program(config, case.workload(), case.schedule(), SkipMode.BOTH, 0)
    assert made is not None
    # Heaviest with lightest: filters 1 and 2, 3 and 0, numbered in this order.
    expected = [[255, 1, 0, 0, 0]] + [[2, 2, 2, 2, 0]] * 2 + [[2, 0, 0, 0, 0]]
    expected += [[3, 0, 0, 0, 1], [3, 3, 0, 0, 1]]
    expected += [[127, 0, 0, 0, 2], [4, 4, 4, 4, 2], [4, 4, 4, 0, 2]]
    expected += [[31, 0, 0, 0, 3], [1, 1, 1, 1, 3], [1, 0, 0, 0, 3]]
    assert made.beats.tolist() == expected


def test_tiles_keep_only_the_lines_that_they_read():
    # Outputs are 2 x 2; each of two clusters has one output row, which reads 3 of 4 input lines.
    tiled = TOY.replace(clusters=2, dealing="tiles", input_buffer_chunks=24)
    made = program(tiled, cluster=1)
    assert made is not None
    assert len(made.loads["index"]) == 24 * 2
    with pytest.raises(CapacityError, match="must hold 32 chunks, it has 24"):
        program(tiled.replace(dealing="interleaved"), cluster=1)
    with pytest.raises(CapacityError, match="must hold 24 chunks, it has 23"):
        program(tiled.replace(input_buffer_chunks=23), cluster=1)


def test_too_many_passes():
    layer = LayerShape(
        name="depthwise", in_channels=1025, in_height=2, in_width=2, out_channels=1025,
        kernel_height=1, kernel_width=1, groups=1025,
    )  # fmt: skip
    with pytest.raises(CapacityError, match="pass table must hold 1025 passes, it has 1024"):
        program(TOY.replace(input_buffer_chunks=1 << 20), layer)


def test_tile_larger_than_the_partial_sum_memory():
    case = make_case("case", TOY.replace(segment_chunks=1, tile_positions=4), LAYER)
    small = TOY.replace(segment_chunks=1, tile_positions=3)
    with pytest.raises(CapacityError, match="partial sum memory must hold 4 positions, it has 3"):
        make_program(small, case.workload(), case.schedule(), SkipMode.BOTH, 0)


def test_machine_that_the_hardware_cannot_be():
    with pytest.raises(ConfigError, match="lanes = 2"):
        program(TOY.replace(lanes=2))


def test_cluster_without_positions_has_no_program():
    assert program(TOY.replace(clusters=5), cluster=4) is None


def test_unknown_simulator():
    case = make_case("case", TOY, LAYER)
    with pytest.raises(UserError, match="amaranth, icarus, verilator, not 'modelsim'"):
        run_layers(HARDWARE, TOY, [(case.run(), case.skip)], "modelsim")  # type: ignore[arg-type]


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_missing_simulator(simulator, monkeypatch):
    pytest.importorskip("cocotb")
    case = make_case("case", TOY, LAYER)
    monkeypatch.setattr("rtl.sim.build.shutil.which", lambda *_, **__: None)
    with pytest.raises(UserError, match=f"Simulator {simulator} needs .* not installed: "):
        run_layers(HARDWARE, TOY, [(case.run(), case.skip)], simulator)


def beat(codes: list[int], lanes: int, last: bool) -> int:
    """Write an output beat by hand."""
    mask = sum(1 << lane for lane, code in enumerate(codes) if code)
    packed = [code for code in codes if code]
    values = sum(code << 8 * at for at, code in enumerate(packed))
    held = (1 << len(codes)) - 1
    return mask | held << lanes | values << 2 * lanes | int(last) << 10 * lanes


def test_output_beats_written_by_hand():
    config = TOY.replace(collector_width=2, units=4)
    layer = LayerShape(
        name="tiny", in_channels=8, in_height=1, in_width=2, out_channels=3,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    case = make_case("case", config, layer)
    workload = case.workload()
    schedule = make_schedule(config, layer, workload.weights)
    beats = [
        beat([0, 7], 2, False), beat([200], 2, True),
        beat([5, 0], 2, False), beat([0], 2, True),
    ]  # fmt: skip
    codes = decode_outputs(config, workload, schedule, [beats])
    np.testing.assert_array_equal(codes, [[[0, 7, 200], [5, 0, 0]]])
    for wrong in (beats[:-1], [*beats, beats[0]], beats[::-1]):
        with pytest.raises(HardwareError, match="Cluster 0 gave"):
            decode_outputs(config, workload, schedule, [wrong])
