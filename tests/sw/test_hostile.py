"""Inputs that were made to break things: one line each, no trace back, little memory."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from accel.activations.functional import run_nodes
from golden.errors import UserError
from sw.compress import compress
from sw.images import load_images
from sw.onnx.check import check_model
from sw.onnx.file import load_model
from sw.storage import container, tensor_file
from tests.sw.graphs import Graph, images
from tests.sw.test_container import network

ESCAPE = "\x1b[31mred\x1b[0m\x1b]0;title\x07"


def small(name: str = "first") -> Graph:
    graph = Graph((1, 2, 6, 6))
    x = graph.op("Relu", graph.conv("image", 2, 4))
    graph.nodes[0].name = name
    graph.last = graph.gemm(graph.op("Flatten", x), 64, 3)
    return graph


def refused(path) -> str:
    """Return the one line with which a file is refused."""

    def read() -> None:
        model = load_model(path)
        compress(model, images(model))

    with pytest.raises(UserError) as caught:
        read()
    line = str(caught.value)
    assert line
    assert line.isprintable()
    assert len(line) <= 300
    return line


def test_no_name_of_a_model_reaches_the_terminal_raw(tmp_path):
    model = small(ESCAPE).model(small().last)
    model.graph.name = ESCAPE
    net = compress(model, images(model))
    names = [net.name, net.source, *(node.layer.name for node in net.convolutions)]
    names += [node.output.name for node in net.nodes]
    assert all(name.isprintable() for name in names)
    assert net.convolutions[0].layer.name == r"\x1b[31mred\x1b[0m\x1b]0;title\x07"
    container.save(net, tmp_path / "net")
    assert container.load(tmp_path / "net").convolutions[0].layer.name == names[2]


def test_node_names_may_be_equal_and_odd(tmp_path):
    graph = small("same")
    for node in (graph.nodes[0], graph.nodes[-1]):
        node.name = 'same/ü "q",\n'
    model = graph.model(graph.last)
    net = compress(model, images(model))
    assert [node.layer.name for node in net.convolutions] == [
        r'same/ü "q",\n', r'same/ü "q",\n_2'
    ]  # fmt: skip


def test_growth_is_seen_before_it_happens(tmp_path):
    """28 doublings in 1 KB would be 150 GB."""
    graph = Graph((1, 2, 8, 8))
    x = graph.conv("image", 2, 4)
    for _ in range(28):
        x = graph.op("Concat", x, x, axis=1)
    model = graph.model(graph.op("Relu", x))
    del model.graph.value_info[:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(x, TensorProto.FLOAT, [None] * 4))
    onnx.save(model, tmp_path / "bomb.onnx")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "elements at most" in refused(tmp_path / "bomb.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("kind", ["Expand", "Tile", "ConstantOfShape"])
def test_growth_of_constants_is_seen_too(kind, tmp_path):
    graph = Graph((1, 2, 8, 8))
    shape = graph.constant(np.array([1, 2, 1 << 20, 1 << 12]))
    one = graph.constant(np.ones((1, 2, 1, 1), np.float32))
    x = graph.op(kind, shape) if kind == "ConstantOfShape" else graph.op(kind, one, shape)
    x = graph.op("ReduceMean", x, axes=[2, 3])
    model = graph.model(graph.op("Add", graph.conv("image", 2, 2), x))
    output = model.graph.output[0]
    output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [1, 2, 6, 6]))
    onnx.save(model, tmp_path / "bomb.onnx")
    assert "elements at most" in refused(tmp_path / "bomb.onnx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g.nodes[-1].attribute.append(helper.make_attribute("alpha", np.inf)),
         "alpha of Gemm node .* must be finite"),
        (lambda g: g.constants[0].CopyFrom(
            numpy_helper.from_array(np.full((4, 2, 3, 3), 3e38, np.float32), "c0")),
         "weight c0 must be within 1e\\+30, not 3e\\+38"),
        (lambda g: g.nodes[0].attribute.append(helper.make_attribute("strides", [0, 1])), "Model"),
        (lambda g: g.nodes[1].input.__setitem__(0, "nothing"), "breaks ONNX's rules"),
    ],
)  # fmt: skip
def test_values_that_can_not_be(change, words, tmp_path, capfd):
    graph = small()
    model = graph.model(graph.last)
    change(graph)
    del model.graph.node[:]
    model.graph.node.extend(graph.nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(graph.constants)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert re.search(words, refused(path))
    assert capfd.readouterr() == ("", "")


def test_containers_nested_too_deeply(tmp_path):
    path = tmp_path / "net.safetensors"
    metadata = {"network": "[" * 100_000}
    tensor_file.save(path, {"a": np.zeros(1)}, metadata, container.FILE)
    with pytest.raises(UserError, match=r"must describe a network: it is nested too deeply"):
        container.load(path)


@pytest.mark.parametrize("value", [1e308, -1, 1 << 70, True, None, [], "x", float("nan")])
@pytest.mark.parametrize("place", ["zero_point", "scale", "shape", "name"])
def test_containers_are_checked_value_by_value(place, value, tmp_path):
    path = tmp_path / "net.safetensors"
    container.save(network(), path)
    arrays, metadata = tensor_file.load(path, container.FILE)
    described = json.loads(metadata["network"])
    described["inputs"][0][place] = value
    metadata = {"network": json.dumps(described)}
    tensor_file.save(path, arrays, metadata, container.FILE)
    if (place, value) in [("scale", True), ("name", "x"), ("scale", 1e308), ("scale", 1 << 70)]:
        return  # a scale, or a name
    with pytest.raises(UserError) as caught:
        container.load(path)
    assert str(caught.value).startswith("Container ")
    assert str(caught.value).isprintable()


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Return a container's description and arrays: layers, a table, a host node, a join."""
    graph = Graph((1, 2, 6, 6))
    x = graph.op("Relu", graph.conv("image", 2, 4))
    ones = graph.constant(np.ones(4, np.float32))
    x = graph.op("InstanceNormalization", x, ones, ones, name="norm")
    x = graph.op("Sigmoid", graph.conv(x, 4, 4, (1, 1)))
    model = graph.model(graph.conv(graph.op("Concat", x, x, axis=1), 8, 2, (1, 1)))
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    container.save(compress(model, images(model)), path)
    arrays, metadata = tensor_file.load(path, container.FILE)
    return json.loads(metadata["network"]), arrays


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("nodes", 0, "layer", "groups"), 3, "groups must divide"),
        (("nodes", 0, "layer", "pad_top"), 1 << 40, "below 2147483648"),
        (("nodes", 0, "layer", "kernel_height"), 3.0, "must be an integer"),
        (("nodes", 0, "requantisation", "low"), 255, "must match|codes must lie|not 255"),
        (("nodes", 0, "requantisation", "high"), -1, "codes must lie within 0..255"),
        (("nodes", 0, "requantisation", "signed"), "no", "must be true or false"),
        (("nodes", 0, "requantisation", "signed"), True, "codes must be uint8"),
        (("nodes", 0, "inputs"), ["relu1"], "not made before it"),
        (("nodes", 1, "macs"), -5, "must not be negative"),
        (("nodes", 4, "kind"), "Exec", "of a known kind"),
        (("nodes", 5, "inputs"), ["sigmoid4"], "must fit the shapes"),
        (("outputs",), ["nothing"], "made by no node"),
    ],
)
def test_descriptions_that_can_not_be(described, place, value, words, tmp_path):
    network, arrays = json.loads(json.dumps(described[0])), described[1]
    inner = network
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    if place[-1] == "low":
        network["nodes"][0]["requantisation"]["high"] = 0
    metadata = {"network": json.dumps(network)}
    tensor_file.save(tmp_path / "net", arrays, metadata, container.FILE)
    with pytest.raises(UserError, match=words):
        container.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("nodes/relu1/shift", lambda x: x + 4000, r"each shift must be .* within 1..55"),
        ("nodes/relu1/shift", lambda x: x * 0 - 3, "not -3"),
        ("nodes/relu1/multiplier", lambda x: x * 0 + (1 << 62), "each multiplier must be"),
        ("nodes/relu1/bias", lambda x: x * 0 + (1 << 61), "must fit int32"),
        ("nodes/relu1/bias", lambda x: x * np.nan, "must be int64"),
        ("nodes/relu1/weight_scales", lambda x: x * np.nan, "each weight scale must be finite"),
        ("nodes/relu1/weight_scales", lambda x: x * np.inf, "each weight scale must be finite"),
        ("nodes/conv3/weights/masks", lambda x: ~np.zeros_like(x), "as many as mask bits"),
        ("nodes/sigmoid4/codes", lambda x: x[:, :255], "must have 256 codes"),
        ("nodes/sigmoid4/codes", lambda x: x.astype(np.float32), "must fit the shapes and types"),
        ("channel_density/image", lambda x: x * np.nan, "must be from 0 to 1"),
        ("channel_density/image", lambda x: x - 1e300, "must be from 0 to 1"),
    ],
)
def test_arrays_that_can_not_be(described, name, change, words, tmp_path):
    arrays = {**described[1], name: change(described[1][name])}
    metadata = {"network": json.dumps(described[0])}
    tensor_file.save(tmp_path / "net", arrays, metadata, container.FILE)
    with pytest.raises(UserError, match=words):
        container.load(tmp_path / "net")


@pytest.mark.parametrize("kind", ["bytes", "custom", "shape", "growth"])
def test_host_nodes_of_a_container_are_data_that_may_be_wrong(described, kind, tmp_path):
    nodes = {
        "custom": [helper.make_node("Evil", ["in0"], ["out"], domain="evil")],
        "shape": [helper.make_node("Cast", ["in0"], ["out"], to=TensorProto.FLOAT)],
        "growth": [
            helper.make_node("Constant", [], ["s"], value_ints=[1 << 20, 1 << 20, 1 << 20]),
            helper.make_node("ConstantOfShape", ["s"], ["out"]),
        ],
    }.get(kind, [])
    read = helper.make_tensor_value_info("in0", TensorProto.UINT8, None)
    graph = helper.make_graph(nodes, "host", [read], [helper.make_empty_tensor_value_info("out")])
    opsets = [helper.make_opsetid("", 17)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    octets = np.frombuffer(b"\x08\x07no" if kind == "bytes" else data, np.uint8)
    name = next(name for name in described[1] if name.endswith("norm/graph"))
    path = tmp_path / "net"
    metadata = {"network": json.dumps(described[0])}
    tensor_file.save(path, {**described[1], name: octets}, metadata, container.FILE)
    network = container.load(path)
    image = np.zeros(network.input.shape, network.input.dtype)
    with pytest.raises(UserError, match=r"Node norm \(InstanceNormalization\)") as caught:
        list(run_nodes(network, image))
    assert "ONNXRuntimeError" not in str(caught.value)
    assert not re.search(r"\d : [A-Z_]+ : ", str(caught.value))


WHOLE = small().model(small().last).SerializeToString()
NPY = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
NPY = NPY.ljust(127) + b"\n" + np.arange(3, dtype="<f4").tobytes()


def mutated(whole: bytes) -> st.SearchStrategy[bytes]:
    """Flip, cut, repeat and insert bytes of a valid file."""

    def change(edits):
        data = bytearray(whole)
        for kind, place, value in edits:
            place %= len(data) + 1
            if kind == 0 and place < len(data):
                data[place] = value
            elif kind == 1:
                del data[place:]
            elif kind == 2:
                data[place:place] = data[: value % 40]
            else:
                data[place:place] = bytes([value])
        return bytes(data)

    edit = st.tuples(st.integers(0, 3), st.integers(0, len(whole)), st.integers(0, 255))
    return st.lists(edit, min_size=1, max_size=4).map(change)


def survives(read, data: bytes, path) -> None:
    """Read a damaged file: it is taken, or refused in one line."""
    path.write_bytes(data)
    try:
        read(path)
    except UserError as error:
        line = str(error)
        assert line.isprintable()
        assert 0 < len(line) <= 300
        assert "np." not in line


@settings(max_examples=60, deadline=None)
@given(mutated(WHOLE))
def test_mutated_models(tmp_path_factory, data):
    survives(check_model, data, tmp_path_factory.mktemp("m") / "model.onnx")


@settings(max_examples=150, deadline=None)
@given(mutated(NPY))
def test_mutated_images(tmp_path_factory, data):
    survives(load_images, data, tmp_path_factory.mktemp("m") / "x.npy")


@settings(max_examples=90, deadline=None)
@given(st.binary(max_size=64), st.booleans())
def test_files_of_other_kinds(tmp_path_factory, data, is_archive):
    folder = tmp_path_factory.mktemp("m")
    survives(load_images, b"PK\x03\x04" + data, folder / ("x.npz" if is_archive else "x.npy"))
    survives(container.load, data, folder / "net.safetensors")
    survives(check_model, data, folder / "model.onnx")


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(mutated(WHOLE), mutated(NPY))
def test_many_mutated_files(tmp_path_factory, model, pixels):
    folder = tmp_path_factory.mktemp("m")
    survives(check_model, model, folder / "model.onnx")
    survives(load_images, pixels, folder / "x.npy")


def test_onnx_runtime_writes_nothing_to_the_home(tmp_path):
    """Its telemetry is off before its first import."""
    onnx.save(small().model(small().last), tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys; from sw.onnx.check import check_model; check_model(sys.argv[1]); "
        "import os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    environment = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("ORT_", "XDG_", "PYTEST"))
    } | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    command = [sys.executable, "-c", script, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
