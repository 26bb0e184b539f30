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
