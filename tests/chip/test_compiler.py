"""The image of a network, run entry by entry, gives the reference's bits."""

from __future__ import annotations

import numpy as np
import pytest

from accel.activations.functional import run_network
from golden import reference
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.chip.formats import Kind, encode_entry
from golden.chip.graph import with_fixed_averages
from golden.chip.interpreter import run_image
from golden.errors import CapacityError, ConfigError, FormatError, UserError
from golden.machines.cluster.config import SkipMode
from golden.network import Addition, Concatenation, Network, Pooling
from sw.networks import zoo
from tests.chip.cases import ChipCase, draw_case, small_chip

#: Drawn networks of a test.
_BLOCK = 10


def compile_case(case: ChipCase):
    """Return a case's program, None where it does not fit its chip."""
    try:
        return compile_network(case.network, case.config)
    except CapacityError:
        return None


@pytest.mark.parametrize("block", range(8))
def test_networks(block):
    fitted = 0
    for seed in range(_BLOCK * block, _BLOCK * (block + 1)):
        case = draw_case(seed)
        program = compile_case(case)
        if program is None:
            continue
        fitted += 1
        memory = program.memory(case.image)
        run_image(case.config, memory)
        wanted = reference.run_network(case.network, case.image)
        assert case.network.output in program.maps
        for name in program.maps:
            if name in wanted:
                found = program.read(memory, name)
                assert np.array_equal(found, wanted[name]), f"seed {seed}: {name}"
                assert found.dtype == wanted[name].dtype
    assert fitted > _BLOCK // 2


def test_counts_may_wrap(monkeypatch):
    """Entries name a count that is not long ago, so that 16 bits of it are enough."""
    monkeypatch.setattr("golden.chip.order.COUNT_LAG", 2)
    case = draw_case(4)
    program = compile_network(case.network, case.config)
    writes = 0
    for entry in program.entries:
        assert entry.writes >= writes - 2
        assert entry.tiles >= entry.tile - 3
        writes += entry.kind is Kind.WRITE
    memory = program.memory(case.image)
    run_image(case.config, memory)
    wanted = reference.run_network(case.network, case.image)
    output = case.network.output
    assert np.array_equal(program.read(memory, output), wanted[output])


@pytest.mark.parametrize("chip", ["board", "chip-256"])
@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_shipped_networks(name, chip):
    network, image = zoo.load(name), zoo.images(name)[1]
    program = compile_network(network, ChipConfig.preset(chip))
    memory = program.memory(image)
    run_image(program.config, memory)
    wanted = run_network(network, image)
    stored = [tensor for tensor in program.maps if tensor in wanted]
    assert network.output in stored
    for tensor in stored:
        assert np.array_equal(program.read(memory, tensor), wanted[tensor]), tensor


def test_program_does_not_depend_on_the_image():
    case = draw_case(3)
    program = compile_network(case.network, case.config)
    first, second = program.memory(case.image), program.memory(np.zeros_like(case.image))
    where = program.maps[case.network.input.name]
    assert not np.array_equal(first, second)
    end = where.address + case.image.size
    assert np.array_equal(first[: where.address], second[: where.address])
    windows = [name for name in program.maps if name.startswith("windows of")]
    if not windows:
        assert np.array_equal(first[end:], second[end:])


def test_every_feature_is_drawn():
    """The drawn networks have what the chip can do, so that none of it goes untested."""
    seen = set()
    for seed in range(8 * _BLOCK):
        program = compile_case(draw_case(seed))
        if program is None:
            continue
        for compiled in program.layers:
            layer, vector = compiled.layer, compiled.layer.vector
            kind = "vector" if layer.node is None else "convolution"
            seen.add((kind, vector.op.name, vector.residual is not None))
            seen |= {("windows", layer.windows), ("resident", compiled.descriptor["resident"])}
            seen.add(("groups", compiled.descriptor["groups"] > 1))
            seen.add(("strided", program.maps[layer.output.name].pixel_stride
                      > layer.output.shape[2]))  # fmt: skip
            widths = {tile.pixels % layer.operand.shape[1] for tile in compiled.tiles}
            seen.add(("part of a row", widths != {0}))
        seen |= {("gap", e.gap > 0) for e in program.entries}
        seen |= {("part of a load", e.last) for e in program.entries if e.kind is Kind.FILTERS}
    for feature in ("windows", "resident", "groups", "strided", "part of a row", "gap"):
        assert {(feature, False), (feature, True)} <= seen, feature
    assert ("part of a load", False) in seen
    for op in ("COPY", "MAX", "AVERAGE", "SCALE"):
        assert ("vector", op, False) in seen
    assert {("convolution", "MAX", False), ("convolution", "SCALE", False),
            ("convolution", "SCALE", True), ("vector", "SCALE", True)} <= seen  # fmt: skip


@pytest.mark.parametrize("skip", list(SkipMode))
def test_skip_mode_is_in_the_descriptor(skip):
    case = draw_case(3)
    descriptor = compile_network(case.network, case.config, skip).layers[0].descriptor
    assert descriptor["skip_weights"] == (skip in (SkipMode.STATIC, SkipMode.BOTH))
    assert descriptor["skip_activations"] == (skip in (SkipMode.DYNAMIC, SkipMode.BOTH))


# -- what does not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_buffer_bytes": 256}, "block1.conv1 needs .* bytes in input_buffer_bytes"),
        ({"input_buffer_chunks": 64}, "needs .* chunks in input_buffer_chunks"),
        ({"assembly_bytes": 24}, "stem needs 16 bytes in each half of assembly_bytes"),
        ({"filter_buffer_chunks": 8}, "needs 18 in filter_buffer_chunks, which holds 8: raise"),
        ({"filter_buffer_bytes": 128}, "in filter_buffer_bytes, which holds 128: raise"),
        ({"residual_bursts": 4, "burst_bytes": 64}, None),
    ],
)  # fmt: skip
def test_misfit_is_refused_by_name(change, words):
    config = ChipConfig.preset("board").replace(**change)
    network = zoo.load("resnet8")
    if words is None:
        assert compile_network(network, config).entries
        return
    with pytest.raises(CapacityError, match=words):
        compile_network(network, config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dealing": "queue"}, "dealing must be 'interleaved'"),
        ({"filters_per_unit": 2, "balance": "chunk"}, "balance must not be 'chunk'"),
        ({"lanes": 2}, "lanes must be between 1 and 1"),
        ({"segment_chunks": 2}, "segment_chunks must be between 0 and 0"),
        ({"collector_width": 4}, "collector_width must be between 1 and 2"),
        ({"input_buffer_bytes": 1000}, "input_buffer_bytes must be a power of two"),
        ({"filter_bus_bytes": 128}, "filter_bus_bytes must be at most burst_bytes"),
        ({"bus_bytes": 3}, "bus_bytes must be between 4 and 64"),
    ],
)
def test_chip_that_can_not_be(change, words):
    with pytest.raises(ConfigError, match=words):
        small_chip(**change)


def test_addition_of_three_is_refused():
    network = zoo.load("resnet8")
    nodes = []
    for node in network.nodes:
        if isinstance(node, Addition) and len(nodes) < 5:
            node = Addition(
                inputs=(*node.inputs, node.inputs[0]), output=node.output,
                multipliers=(*node.multipliers, 1), shift=node.shift, low=0, high=255,
            )  # fmt: skip
        nodes.append(node)
    with pytest.raises(CapacityError, match="must have two inputs on a chip, not 3"):
        compile_network(_with_nodes(network, nodes), ChipConfig.preset("board"))


def test_network_of_published_densities_is_refused():
    network = zoo.load("resnet8")
    name = network.convolutions[1].input
    stand_in = np.zeros(network.tensor(name).shape, dtype=network.tensor(name).dtype)
    with pytest.raises(UserError, match="not synthetic inputs"):
        compile_network(
            _with_nodes(network, network.nodes, {name: stand_in}), ChipConfig.preset("board")
        )


def _with_nodes(network: Network, nodes, synthetic=None) -> Network:
    return Network(
        name=network.name, source=network.source, input=network.input, nodes=tuple(nodes),
        output=network.output, channel_density={}, accuracy={}, synthetic_inputs=synthetic or {},
    )  # fmt: skip


def test_field_too_wide_is_refused():
    with pytest.raises(CapacityError, match="length, which holds 0 to 16777215"):
        encode_entry(Kind.ROWS, 0, 1 << 24, last=False, tiles=0, writes=0, gap=0)


# -- what the interpreter refuses -------------------------------------------------------------


def test_waits_that_never_end_are_refused():
    case = draw_case(3)
    program = compile_network(case.network, case.config)
    memory = program.memory(case.image)
    # The last entry's count of tiles.
    where = program.list_address + 16 * (len(program.entries) - 1) + 8
    memory[where : where + 2] = [program.tiles + 1, 0]
    with pytest.raises(FormatError, match="for ever"):
        run_image(case.config, memory)


def test_concatenation_is_addressing_only():
    """A tensor that only a concatenation reads is written in its place."""
    for seed in range(200):
        case = draw_case(seed)
        parts = [node for node in case.network.nodes if isinstance(node, Concatenation)]
        readers = [name for node in case.network.nodes for name in node.inputs]
        alone = [
            (node, name)
            for node in parts
            for name in node.inputs
            if readers.count(name) == 1 and name != "input"
        ]
        program = compile_case(case) if alone else None
        if program is None:
            continue
        for _, name in alone:
            made = next(n for n in case.network.nodes if n.output.name == name)
            if not isinstance(made, Concatenation):
                assert program.maps[name].pixel_stride > made.output.shape[2]
                assert name in {layer.layer.output.name for layer in program.layers}
                return
    raise AssertionError("no drawn network has such a concatenation")


def test_averages_are_in_fixed_point_and_seldom_differ():
    network = zoo.load("resnet8")
    fixed = with_fixed_averages(network)
    (node,) = [node for node in fixed.nodes if isinstance(node, Pooling)]
    assert len(node.multiplier) == len(node.shift) == 7 * 7 + 1
    assert with_fixed_averages(fixed).nodes == fixed.nodes
    for image in zoo.images("resnet8")[:8]:
        codes = reference.run_network(fixed, image)
        source = codes[node.input].astype(object) - fixed.tensor(node.input).zero_point
        ratio = fixed.tensor(node.input).scale / node.output.scale
        mean = np.array(source.sum(axis=(0, 1)) / 49 * ratio, dtype=float) + node.output.zero_point
        wanted = np.clip(np.rint(mean), 0, 255)
        assert np.abs(codes[node.output.name][0, 0] - wanted).max() <= 1e-6
