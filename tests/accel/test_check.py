"""`accel check`: where each part of a network runs, and a setting with which all of it fits."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import accel as library
from accel.placement import network_tasks, shortages
from golden.errors import LINE_CHARACTERS, CapacityError
from golden.layer import LayerShape
from golden.machines import registry
from golden.program import LayerTask
from tests.sw.graphs import Graph


@pytest.fixture
def mixed(tmp_path):
    """A depthwise block, a normalisation that stays on the host, and open sizes."""
    graph = Graph((1, 3, 12, 12), 5)
    x = graph.op("Relu", graph.conv("image", 3, 16, pads=[1] * 4))
    x = graph.op("Relu", graph.conv(x, 16, 16, group=16, pads=[1] * 4))
    ones = graph.constant(np.ones(16, np.float32))
    x = graph.op("InstanceNormalization", x, ones, ones, name="norm\x1b[31m")
    model = graph.model(graph.conv(x, 16, 4, (1, 1)))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
        dim.dim_param = "size"
    del model.graph.value_info[:]
    output = helper.make_tensor_value_info(
        model.graph.output[0].name, TensorProto.FLOAT, [None] * 4
    )
    model.graph.output[0].CopyFrom(output)
    onnx.save(model, tmp_path / "mixed.onnx")
    return tmp_path / "mixed.onnx"


SHAPE = ("--input-shape", "1,3,12,12")


def test_check_shows_every_place_and_why(accel, mixed):
    status, out, err = accel("check", mixed, *SHAPE)
    assert (status, err) == (0, "")
    assert "mixed, a network of 2-D convolutions, on output-major: 3 layers with 100.0 %" in out
    host = next(line for line in out.splitlines() if " host " in line)
    assert "InstanceNorm" in host
    assert "no form on the" in host
    assert "\x1b" not in out
    assert "Every layer fits." in out


def test_json_says_the_same(accel, mixed):
    status, out, _ = accel("check", mixed, *SHAPE, "--json", "-")
    found = json.loads(out)
    assert (status, found["schema"], found["fits"]) == (0, "innerjoin.check", True)
    places = [(node["place"], node["macs"]) for node in found["nodes"]]
    assert places == [
        ("machine", 144 * 27 * 16),
        ("machine", 144 * 9 * 16),
        ("host", 0),
        ("host", 0),  # the quantisation of what it makes
        ("machine", 144 * 16 * 4),
    ]
    assert found["settings"] == {}
    assert sum(node["macs_share"] for node in found["nodes"]) == pytest.approx(1)


def test_all_that_does_not_fit_is_told_at_once_with_a_setting_that_works(accel, mixed, tmp_path):
    small = ["--preset", "toy", "--set", "filter_buffer_bytes=8", "--set", "input_buffer_chunks=99"]
    status, out, err = accel("check", mixed, *SHAPE, *small)
    assert status == 2
    assert err.count("\n") == 1
    assert len(err) <= len("error: \n") + LINE_CHARACTERS
    # 27 weights of the first layer, 16 of the last; 144 windows of 16 channels, each a chunk.
    assert "filter_buffer_bytes 27, not 8" in out
    assert "input_buffer_chunks 2304, not 99" in " ".join(out.split())
    assert err.rstrip().endswith(
        "all fit with --set filter_buffer_bytes=27 --set input_buffer_chunks=2304"
    )
    images = tmp_path / "x.npy"
    np.save(images, np.random.default_rng(1).normal(0, 1, (1, 3, 12, 12)).astype(np.float32))
    run = ["run", mixed, "--images", images, *SHAPE, *small]
    assert accel(*run)[::2] == (2, err)  # the same line
    fixed = err.rstrip().split("all fit with ")[1].split()
    assert accel("check", mixed, *SHAPE, *small, *fixed)[0] == 0
    assert accel(*run, *fixed)[0] == 0


SMALLEST = {
    "small": {"filter_buffer_chunks": 1, "filter_buffer_bytes": 1, "input_buffer_bytes": 1},
    "sparten-small": {"filter_buffer_bytes": 1, "input_buffer_chunks": 1, "balance": "chunk"},
    "segmented": {"filter_buffer_chunks": 1, "input_buffer_chunks": 1, "dealing": "tiles"},
    "cambricon-s:toy": {"neuron_buffer_bytes": 256, "code_bits": 4},
    "scnn:toy": {"bank_entries": 1},
}


def load_dense(machine, tasks):
    """Arrange layers and give them inputs without a zero; nothing is counted."""
    for task in tasks:
        layer = task.layer
        dense = np.ones((layer.in_height, layer.in_width, layer.in_channels), np.int8)
        output = np.zeros((layer.out_height, layer.out_width, layer.out_channels), np.int8)
        machine.prepare(task)(dense, output)


@pytest.mark.parametrize("preset", SMALLEST)
def test_settings_make_every_machine_hold_dense_layers(preset):
    """A setting is applied; layers are then prepared and given inputs without a zero."""
    machine = library.machine(preset)
    machine = type(machine)(machine.config.replace(**SMALLEST[preset]))
    network = library.load("resnet8").network
    found = library.check(library.load("resnet8"), machine)
    assert not found.fits
    assert {each.layer for each in found.shortages} <= {
        node.layer.name for node in network.convolutions
    }
    tight = type(machine)(machine.config.replace(**found.settings))
    tasks = network_tasks(network)
    assert shortages(tight, tasks) == []
    load_dense(tight, tasks)
    # One less does not do.
    for key, value in found.settings.items():
        if key == "code_bits":
            continue
        less = type(machine)(tight.config.replace(**{key: value - 1}))
        with pytest.raises(CapacityError):
            load_dense(less, tasks)


def test_python_shows_what_the_command_shows(accel, mixed):
    _, out, _ = accel("check", mixed, *SHAPE)
    assert str(library.check(mixed, input_shape=(1, 3, 12, 12))) + "\n" == out


def test_check_takes_shipped_networks_and_refuses_others(accel, refuses, tmp_path):
    assert accel("check", "lenet5", "--preset", "small")[0] == 0
    refuses(["check", "lenet"], "Network must be one of", "lenet")
    refuses(["check", "lenet5", *SHAPE], "Input shape must be left out for lenet5")
    refuses(["check", tmp_path / "no.onnx"], "no.onnx")
    for text in ("1,x", "", "1,3,0,2", "1,3,-1,2", "1e3"):
        refuses(["check", "a.onnx", "--input-shape", text], "Option --input-shape must be")


def test_runs_mark_what_is_on_the_host(accel, mixed, tmp_path):
    images = tmp_path / "x.npy"
    np.save(images, np.random.default_rng(1).normal(0, 1, (1, 3, 12, 12)).astype(np.float32))
    run = ("run", mixed, "--images", images, *SHAPE, "--preset", "toy", "--skip", "both")
    status, out, err = accel(*run)
    assert (status, err) == (0, "")
    text = " ".join(out.split())
    assert "100.0 % of the multiply-accumulates are on the machine; 2 nodes are on the host" in text
    table = out[out.index("On the host, by ONNX Runtime") :].split("\n\n")[0]
    assert "InstanceNorm" in table
    assert "QuantizeLinear" not in table
    found = json.loads(accel(*run, "--json", "-")[1])
    assert found["machine_share"] == 1
    assert [part["operator"] for part in found["host"]] == [
        "InstanceNormalization", "QuantizeLinear"
    ]  # fmt: skip
    schema = json.loads((Path(__file__).parents[2] / "docs" / "run.schema.json").read_text())
    jsonschema.validate(found, schema)


def layer(name, size, channels, out, kernel=1, stride=1, groups=1):
    shape = LayerShape(
        name=name, in_channels=channels, in_height=size, in_width=size, out_channels=out,
        kernel_height=kernel, kernel_width=kernel, stride_height=stride, stride_width=stride,
        pad_top=kernel // 2, pad_left=kernel // 2, pad_bottom=kernel // 2, pad_right=kernel // 2,
        groups=groups,
    )  # fmt: skip
    weights = np.random.default_rng(1).integers(1, 120, shape.weights_shape).astype(np.int8)
    return LayerTask(layer=shape, weights=weights)


#: The layers that ask for most of a buffer, all weights non-zero, of MobileNetV2, MnasNet,
#: EfficientNet-Lite0, DenseNet-121 and ResNet-50 at 224 x 224.
LARGEST = (
    layer("mobilenet stem", 224, 3, 32, 3, 2),
    layer("mobilenet first depthwise", 112, 32, 32, 3, groups=32),
    layer("mobilenet widest depthwise", 112, 96, 96, 3, 2, groups=96),
    layer("mobilenet second depthwise", 56, 144, 144, 3, groups=144),
    layer("mnasnet depthwise", 56, 72, 72, 5, 2, groups=72),
    layer("lite0 depthwise", 28, 240, 240, 5, groups=240),
    layer("densenet transition", 56, 256, 128),
    layer("densenet last", 7, 992, 128),
    layer("resnet stem", 224, 3, 64, 7, 2),
    layer("resnet first", 56, 256, 512, 1, 2),
    layer("resnet last", 7, 512, 512, 3),
    layer("resnet classifier", 1, 2048, 1000),
)
#: A core that is placed and routed as it is; `accel check` says what it lacks.
TOO_SMALL = {"cambricon-s:small"}


def test_every_larger_preset_holds_networks_of_224_pixels():
    held = set()
    # Machines of one kind of configuration ask for the same.
    kinds = {kind.config: name for name, kind in reversed(registry.MACHINES.items())}
    for name in kinds.values():
        for preset in registry.find(name).load_config().preset_names():
            described = f"{name}:{preset}"
            machine = library.machine(described)
            if machine.multipliers >= 64 and described not in TOO_SMALL:
                assert shortages(machine, LARGEST) == [], described
                held.add(described)
    assert {each.split(":")[1] for each in held} == {
        "output-major", "segmented", "sparten-1k", "paper", "array-64", "array-1k"
    }  # fmt: skip
