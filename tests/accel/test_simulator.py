"""Counters of layers so small that every time can be worked out by hand from docs/machine.md."""

import numpy as np
import pytest

from accel import api
from accel.machines.cluster.model import count_layer
from golden.arithmetic import Requantisation
from golden.errors import CapacityError, UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import make_schedule
from golden.machines.cluster.workload import LayerWorkload
from golden.network import Convolution, Network, TensorInfo
from tests.latencies import OTHER_LATENCIES, with_latencies

#: One unit, wide buses: a load takes a beat for a mask and one for its values.
MACHINE = with_latencies(
    AcceleratorConfig.preset("toy").replace(
        units=1, chunk=16, fifo_depth=1, broadcast_width=16, filter_bus_bytes=16
    ),
    **OTHER_LATENCIES["short"],
)


def count(machine, weights, inputs, skip=SkipMode.BOTH):
    """Simulate a 1x1 convolution: weights have axes k, c, inputs x, c."""
    weights, inputs = np.array(weights, dtype=np.int8), np.array(inputs, dtype=np.uint8)
    filters, channels = weights.shape
    layer = LayerShape(
        name="hand", in_channels=channels, in_height=1, in_width=len(inputs),
        out_channels=filters, kernel_height=1, kernel_width=1,
    )  # fmt: skip
    ones = np.ones(filters, dtype=np.int64)
    workload = LayerWorkload.build(
        machine,
        layer,
        weights[:, None, None],
        inputs[None],
        Requantisation(0 * ones, ones, ones, 0, 255),
    )
    codes = np.ones((1, len(inputs), filters), dtype=np.uint8)
    codes[0, 0, 0] = 0
    schedule = make_schedule(machine, layer, workload.weights)
    return count_layer(machine, workload, schedule, skip, codes)


def unit_counters(counters, cluster=0, unit=0):
    """Return one unit's counters, in the order of ``UNIT_COUNTERS``."""
    return counters.units[cluster, unit].tolist()


def ones(*counts, chunk=16):
    """Return chunks that begin with so many ones each."""
    return [int(i < n) for n in counts for i in range(chunk)]


def test_two_chunks_on_one_unit():
    machine = MACHINE.replace(broadcast_width=8, filter_bus_bytes=4)
    # The second chunk's weight meets a zero; its activations fill one broadcast word.
    inputs = ones(16) + [0] * 8 + [1] * 4 + [0] * 4
    counters = count(machine, [ones(3, 1)], [inputs])
    # L 4, G 7; A 9, 10; F 12, 13; E 18.
    assert counters.cycles == 26
    #                                 busy bubble memory siblings broadcast collector idle
    assert unit_counters(counters) == [3, 1, 7, 0, 2, 0, 13]
    # cycles, pairs, delivered, skipped, words, beats, outputs, non-zero ones
    assert counters.clusters[0].tolist() == [26, 3, 2, 0, 3, 4, 1, 0]


def test_a_fast_unit_waits_for_a_slow_sibling():
    machine = MACHINE.replace(units=2)
    counters = count(machine, [ones(10, 10, 10), ones(1, 1, 1)], [ones(16, 16, 16)])
    # L 12, G 15; A 16, 17, 31 (slot of step 0 is free at 26 + 4); F 26 36 46 and 17 18 32.
    assert counters.cycles == 60
    assert unit_counters(counters, unit=0) == [30, 0, 15, 0, 1, 0, 14]
    assert unit_counters(counters, unit=1) == [3, 0, 15, 12, 2, 0, 28]


def test_deeper_fifo_frees_the_fast_unit():
    machine = MACHINE.replace(units=2, fifo_depth=2)
    counters = count(machine, [ones(10, 10, 10), ones(1, 1, 1)], [ones(16, 16, 16)])
    assert unit_counters(counters, unit=1)[3] == 0


def test_a_narrow_collector_holds_a_finished_position():
    machine = MACHINE.replace(units=4, collector_width=1)
    counters = count(machine, [ones(1)] * 4, [ones(16)] * 2)
    # L 8, G 11; A 12, 13; F 13, 14; E 21, C 22, so F' 22; E 30.
    assert counters.cycles == 38
    for unit in range(4):
        assert unit_counters(counters, unit=unit) == [2, 0, 11, 0, 1, 8, 16]
    assert counters.clusters[0, -2:].tolist() == [8, 7]


def test_empty_chunks_are_skipped_except_the_last():
    weights, inputs = [ones(1, 1, 1)], [ones(0, 0, 1)]
    both = count(MACHINE, weights, inputs)
    # L 6, G 9; A 10, 11, 12; F 13; E 18.
    assert unit_counters(both) == [1, 0, 9, 0, 3, 0, 13]
    assert both.cluster("steps_skipped").tolist() == [2]
    assert both.cluster("broadcast_words").tolist() == [1]
    static = count(MACHINE, weights, inputs, SkipMode.STATIC)
    # Not skipped, step 2 waits for the slot of step 0: R 11 + 4, A 16, F 17.
    assert unit_counters(static) == [3, 0, 9, 3, 2, 0, 13]
    assert static.cluster("steps_skipped").tolist() == [0]
    last_empty = count(MACHINE, weights, [ones(1, 0, 0)])
    assert last_empty.cluster("steps_delivered").tolist() == [2]
    kept = count(MACHINE.replace(skip_empty_chunks=False), weights, inputs)
    assert kept.cluster("steps_delivered").tolist() == [3]


@pytest.mark.parametrize(
    ("double", "cycles", "expected"),
    [(False, 29, [2, 0, 12, 0, 2, 0, 13]), (True, 22, [2, 0, 5, 0, 2, 0, 13])],
)
def test_segments_reload_their_filters(double, cycles, expected):
    machine = MACHINE.replace(segment_chunks=1, filter_double_buffer=double)
    counters = count(machine, [ones(1, 1)], [ones(1, 1)])
    assert counters.cycles == cycles
    assert unit_counters(counters) == expected
    assert counters.cluster("filter_beats").tolist() == [4]


@pytest.mark.parametrize(
    ("skip", "pairs"),
    [
        (SkipMode.DENSE, 16 + 4),
        (SkipMode.STATIC, 3 + 1),
        (SkipMode.DYNAMIC, 5 + 4),
        (SkipMode.BOTH, 3 + 1),
    ],
)
def test_modes_multiply_what_they_do_not_skip(skip, pairs):
    # 20 channels: the second chunk has 4 positions.
    counters = count(MACHINE, [(ones(3) + ones(1))[:20]], [(ones(5) + ones(4))[:20]], skip)
    assert counters.cluster("pairs").tolist() == [pairs]
    assert counters.unit("busy_cycles").sum() == pairs


def test_two_lanes_take_two_pairs_a_cycle():
    counters = count(MACHINE.replace(lanes=2), [ones(3, 4)], [ones(16, 16)])
    assert counters.unit("busy_cycles").tolist() == [[2 + 2]]
    assert counters.cluster("pairs").tolist() == [7]


def test_a_unit_works_through_two_filters():
    machine = MACHINE.replace(filters_per_unit=2)
    counters = count(machine, [ones(3), ones(0)], [ones(16)])
    assert unit_counters(counters)[:2] == [3, 1]


def test_a_queue_gives_work_to_who_is_free_first():
    machine = MACHINE.replace(clusters=2, dealing="queue")
    counters = count(machine, [ones(16)], [ones(16), ones(1), ones(1)])
    assert counters.cluster("outputs").tolist() == [1, 2]


def test_a_cluster_without_positions_does_nothing():
    counters = count(MACHINE.replace(clusters=3, dealing="tiles"), [ones(1)], [ones(1)] * 4)
    assert counters.cluster("outputs").tolist() == [2, 2, 0]
    assert not counters.clusters[2].any()
    assert not counters.units[2].any()


def test_sums_beyond_16_bits_are_exact():
    # While unit 0 works for ten cycles, unit 1 works for one, waits for a slot for eight, and one
    # for the broadcast.
    machine = MACHINE.replace(units=2)
    found = [
        count(machine, [ones(*[10] * n), ones(*[1] * n)], [ones(*[16] * n)]) for n in (9000, 17000)
    ]
    for n, counters in zip((9000, 17000), found, strict=True):
        assert counters.unit("busy_cycles").tolist() == [[10 * n, n]]
        assert np.all(counters.units.sum(axis=2) == counters.cycles)
    siblings = [counters.unit("wait_siblings_cycles")[0, 1] for counters in found]
    assert siblings[1] - siblings[0] == 8 * 8000
    assert siblings[0] > 1 << 16


def test_waits_for_the_collector_beyond_16_bits_are_exact():
    machine = MACHINE.replace(units=64, collector_width=1)
    found = [count(machine, [ones(1)] * 64, [ones(16)] * n) for n in (1500, 2500)]
    # From position to position: a drain of 64, DELIVER and COLLECTOR_FREE.
    assert found[1].cycles - found[0].cycles == 1000 * (64 + 4 + 1)
    for n, counters in zip((1500, 2500), found, strict=True):
        assert np.all(counters.unit("busy_cycles") == n)
        assert np.all(counters.unit("wait_collector_cycles") > 1 << 16)
        assert np.all(counters.units.sum(axis=2) == counters.cycles)


def test_latencies_that_times_cannot_tell_are_refused():
    with pytest.raises(ValueError, match="latencies must be shorter"):
        count(with_latencies(MACHINE, deliver=30_000), [ones(1)], [ones(1)])


# -- networks ---------------------------------------------------------------------------------


def simulate(machine, network, images, modes=None, **options):
    """Simulate all images."""
    net = api.LoadedNetwork(network, images)
    return api.simulate(net, machine, modes=modes, images=len(images), **options)


def network(channels=20):
    """Return two 1x1 convolutions, one after the other, that pass codes on."""
    identity = np.eye(channels, dtype=np.int8)[:, None, None]
    one = np.ones(channels, dtype=np.int64)
    nodes = []
    for index in (1, 2):
        shape = LayerShape(
            name=f"conv{index}", in_channels=channels, in_height=2, in_width=3,
            out_channels=channels, kernel_height=1, kernel_width=1,
        )  # fmt: skip
        nodes.append(
            Convolution(
                input=f"t{index - 1}",
                output=TensorInfo(name=f"t{index}", shape=(2, 3, channels), dtype="uint8", scale=1),
                layer=shape,
                weights=identity,
                weight_scales=np.ones(channels),
                requantisation=Requantisation(0 * one, one << 23, 23 * one, 0, 255),
            )
        )
    return Network(
        name="two",
        source="by hand",
        input=TensorInfo(name="t0", shape=(2, 3, channels), dtype="uint8", scale=0.5),
        nodes=tuple(nodes),
        output="t2",
        channel_density={},
        accuracy={},
    ).validate()


def image(channels=20):
    codes = np.zeros((1, 2, 3, channels), dtype=np.uint8)
    codes[0, :, :, :7] = 9
    return codes


def test_a_network_uses_the_activations_it_has():
    result = simulate(MACHINE, network(), image())
    assert [layer.activation_density for layer in result.layers] == [7 / 20] * 2
    for layer in result.layers:
        assert layer.weight_density == 1 / 20
        assert layer.effectual_pairs == 6 * 7
        assert layer.timings[SkipMode.DENSE].pairs == 6 * 20 * 20
        assert layer.timings[SkipMode.STATIC].pairs == 6 * 20
        assert layer.timings[SkipMode.DYNAMIC].pairs == 6 * 7 * 20
        # 6 masks of 2 chunks, 7 values a pixel; what goes out is the same codes.
        assert layer.timings[SkipMode.BOTH].details["input_bytes"] == 6 * (2 * 2 + 7)
        assert layer.timings[SkipMode.BOTH].dram.output_bytes == 6 * 7 + 6 * 20 // 8


def test_images_add_up():
    one = simulate(MACHINE, network(), image())
    three = simulate(MACHINE, network(), np.repeat(image(), 3, axis=0))
    assert three.images == 3
    assert three.total.timings[SkipMode.BOTH].cycles == 3 * one.total.timings[SkipMode.BOTH].cycles
    assert three.total.dense_macs == 3 * one.total.dense_macs


def test_floats_are_quantised():
    codes = simulate(MACHINE, network(), image())
    floats = simulate(MACHINE, network(), image() * 0.5)
    assert floats.to_csv() == codes.to_csv()


def test_progress_names_each_layer():
    seen = []
    simulate(MACHINE, network(), image(), progress=lambda *step: seen.append(step))
    assert seen == [(0, 2, "conv1 on toy"), (1, 2, "conv2 on toy"), (2, 2, "done")]


def test_counters_are_kept_where_asked_for():
    kept = simulate(MACHINE, network(), image(), (SkipMode.BOTH,), keep_counters=True)
    (counters,) = kept.layers[0].timings[SkipMode.BOTH].counters
    assert counters.units.shape == (1, 1, 7)
    assert simulate(MACHINE, network(), image()).layers[0].timings[SkipMode.BOTH].counters == ()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 2), dtype=np.uint8), r"not \(2, 2\)"),
        (np.zeros((1, 2, 3, 5), dtype=np.uint8), r"shape \(n, 2, 3, 20\)"),
        (np.zeros((0, 2, 3, 20), dtype=np.uint8), "Images must have"),
        (np.zeros((1, 2, 3, 20), dtype=np.int8), "uint8 codes or floats .* not int8"),
        (np.full((1, 2, 3, 20), np.nan), "finite"),
    ],
)
def test_bad_images_are_refused(images, words):
    with pytest.raises(UserError, match=words):
        simulate(MACHINE, network(), images)


def test_no_mode_is_refused():
    with pytest.raises(
        UserError, match="Skip modes of innerjoin must be one or more of dense, static"
    ):
        simulate(MACHINE, network(), image(), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"filter_buffer_chunks": 3, "filter_double_buffer": True},
            r"must hold layers? conv1 \(filter_buffer_chunks 4, not 3\).* all fit with "
            "--set filter_buffer_chunks=4",
        ),
        ({"filter_buffer_bytes": 1, "filter_double_buffer": True}, "filter_buffer_bytes 2, not 1"),
        ({"input_buffer_chunks": 11}, "conv1 .input_buffer_chunks 12, not 11"),
        ({"input_buffer_bytes": 41}, "--set input_buffer_bytes="),
        ({"input_buffer_bytes": 20, "dealing": "tiles", "clusters": 2}, "--set input_buffer_bytes"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(changes, words):
    with pytest.raises(CapacityError, match=words):
        simulate(MACHINE.replace(**changes), network(), image())


def test_tiles_hold_only_the_rows_they_read():
    machine = MACHINE.replace(clusters=2, dealing="tiles", input_buffer_chunks=6)
    assert simulate(machine, network(), image()).total.timings[SkipMode.BOTH].cycles > 0
