"""`accel run` and `accel compress`: their outputs, and every bad input by name."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accel.report.text import WIDTH
from golden.counters import UNIT_COUNTERS
from golden.machines.cluster.config import SkipMode
from sw.networks import zoo
from sw.networks.published import published_layers

TOY = ("--preset", "toy")


def write_model(path, *, shape=(1, 3, 6, 6), operator="Relu", change=None):
    """Write a model of one 3 x 3 convolution of 3 channels to 8, and one operator behind it."""
    weights = np.random.default_rng(1).normal(size=(8, 3, 3, 3)).astype(np.float32)
    if change is not None:
        weights[0, 0, 0, 0] = change
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["sums"], name="first"),
        helper.make_node(operator, ["sums"], ["codes"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("codes", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "weights")],
    )
    return save_model(graph, path)


def save_model(graph, path):
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def write_images(path, shape=(4, 3, 6, 6), dtype=np.float32, scale=1.0):
    images = np.random.default_rng(2).random(shape) * scale
    np.save(path, images.astype(dtype))
    return path


@pytest.fixture
def files(tmp_path):
    """Return a good model and good images."""
    return write_model(tmp_path / "tiny.onnx"), write_images(tmp_path / "images.npy")


def test_run_prints_tables_that_fit_and_name_the_source(accel):
    status, out, err = accel("run", "lenet5", *TOY)
    assert (status, err) == (0, "")
    assert "Source: " in out
    assert max(map(len, out.splitlines())) <= WIDTH
    for layer in ("conv1", "conv2", "fc1", "fc2", "total"):
        assert sum(line.split()[:1] == [layer] for line in out.splitlines()) == 3
    for mode in SkipMode:
        assert sum(line.split()[:1] == [mode.value] for line in out.splitlines()) == 2


def test_a_synthetic_network_says_so_in_every_output(accel, tmp_path):
    machine = ("--skip", "both", "--preset", "output-major")
    table = accel("run", "alexnet-published", *machine)[1]
    as_json = accel("run", "alexnet-published", *machine, "--json", "-")[1]
    as_csv = accel("run", "alexnet-published", *machine, "--csv", "-")[1]
    assert "synthetic" in table
    assert "synthetic" in json.loads(as_json)["source"]
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert all("synthetic" in row["source"] for row in rows)
    for row, published in zip(rows, published_layers("alexnet"), strict=False):
        assert float(row["activation_density"]) == pytest.approx(published.input_density, abs=0.01)
        assert float(row["weight_density"]) == pytest.approx(published.weight_density, abs=0.01)


def test_json_and_csv_hold_the_same_counters(accel, tmp_path):
    paths = tmp_path / "result.json", tmp_path / "result.csv"
    arguments = ("run", "lenet5", *TOY, "--limit", "2", "--per-unit")
    assert accel(*arguments, "--json", paths[0], "--csv", paths[1])[0] == 0
    document = json.loads(paths[0].read_text())
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert document["images"] == 2
    (machine,) = document["machines"]
    assert len(rows) == len(machine["layers"]) + len(machine["total"]) == 5 * len(SkipMode)
    for row, same in zip(rows, machine["layers"] + machine["total"], strict=True):
        assert int(row["cycles"]) == same["cycles"]
        assert sum(int(row[name]) for name in UNIT_COUNTERS) == 4 * same["cycles"]
    row = next(r for r in machine["layers"] if (r["layer"], r["skip"]) == ("conv2", "both"))
    kept = [one for one in machine["counters"] if (one["layer"], one["skip"]) == ("conv2", "both")]
    assert [one["image"] for one in kept] == [0, 1]
    tables = [{table["axes"][-2]: table for table in one["tables"]} for one in kept]
    assert sum(np.sum(table["unit"]["counts"]) for table in tables) == 4 * row["cycles"]
    assert {tuple(table["unit"]["names"]) for table in tables} == {UNIT_COUNTERS}
    assert sorted(os.listdir(tmp_path)) == ["result.csv", "result.json"]


def test_a_model_of_ones_own_is_pruned_to_the_density(accel, files):
    model, images = files
    status, out, _ = accel("run", model, "--images", images, "--density", "0.25", *TOY)
    assert status == 0
    (row,) = [line for line in out.splitlines() if "6x6x3 * 3x3x8" in line]
    assert row.split()[0] == "first"
    assert "25.0" in row.split()


def test_compress_writes_a_container_that_runs_alike(accel, files, tmp_path):
    model, images = files
    container = tmp_path / "tiny.safetensors"
    compressed = accel("compress", model, "-o", container, "--images", images, "--density", "0.5")
    assert compressed[0] == 0
    given = ("--images", images, *TOY, "--csv", "-")
    direct = accel("run", model, "--density", "0.5", *given)
    again = accel("run", container, *given)
    assert (direct[0], again[0]) == (0, 0)
    assert direct[1] == again[1]


def test_networks_lists_what_run_takes(accel):
    status, out, _ = accel("networks")
    assert status == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert set(zoo.names()) <= set(rows)
    # Accuracy, layers, weights and million MACs are those of docs/networks.md; densities follow.
    assert rows["lenet5"] == ["91.08", "4", "430500", "2.3", "9.9", "59.5"]
    assert rows["resnet8"][:5] == ["92.55", "10", "77072", "9.3", "19.6"]
    weights = [layer.shape.weights_shape for layer in published_layers("vgg16")]
    assert rows["vgg16-published"][:2] == ["13", str(sum(int(np.prod(x)) for x in weights))]


def test_networks_does_not_build_what_is_not_there(accel, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, out, _ = accel("networks")
    assert status == 0
    assert "Made when first used: vgg16, vgg16-blocks" in out
    assert list(tmp_path.iterdir()) == []


# -- bad input ----------------------------------------------------------------------------------


def test_networks_that_are_not_there(refuses, files, tmp_path):
    refuses(["run", "lenet6"], "Network", "lenet5", "'lenet6'")
    images = ("--images", files[1])
    refuses(["run", tmp_path / "no.onnx", *images], "no.onnx")
    refuses(["run", tmp_path / "no.safetensors", *images], "no.safetensors")
    refuses(["run", files[0]], "tiny.onnx", "--images")
    refuses(["run", "lenet5", "--density", "0.5"], "Density", "lenet5")


def test_files_that_are_not_onnx(refuses, files, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is not a model")
    refuses(["run", bad, "--images", files[1]], "bad.onnx")
    whole = files[0].read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    refuses(["run", bad, "--images", files[1]], "bad.onnx")
    bad.write_bytes(b"")
    refuses(["run", bad, "--images", files[1]], "bad.onnx")


def test_models_that_cannot_run(refuses, files, tmp_path):
    images = ("--images", files[1])
    bad = tmp_path / "bad.onnx"
    for shape in (("batch", 3, 6, 6), (1, 3, "height", 6)):
        model = write_model(bad, shape=shape)
        name = next(size for size in shape if isinstance(size, str))
        if name == "batch":
            continue
        refuses(["run", model, *images], name)
    for value in (np.nan, np.inf):
        refuses(["run", write_model(bad, change=value), *images], "weights", "finite")
    for density in ("0", "-1", "1.5", "nan"):
        refuses(["run", files[0], *images, "--density", density], "ensity", density)


def test_an_accumulator_that_could_overflow(refuses, tmp_path):
    path = tmp_path / "wide.onnx"
    size = 1 << 17
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["images", "weights"], ["sums"], name="wide", transB=1)],
        "wide",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, size))],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, size), dtype=np.float32), "weights")],
    )
    save_model(graph, path)
    images = write_images(tmp_path / "images.npy", (2, size))
    refuses(["run", path, "--images", images], "wide", "accumulator", "int32")


def test_images_that_do_not_fit(refuses, files, tmp_path):
    bad = tmp_path / "bad.npy"
    run = ["run", files[0], "--images", bad]
    refuses(run, "bad.npy", "read")
    write_images(bad, (4, 3, 5, 6))
    refuses(run, "shape", "(4, 3, 5, 6)")
    write_images(bad, (3, 6, 6))
    refuses(run, "axes", "(3, 6, 6)")
    write_images(bad, dtype=np.int32, scale=255)
    refuses(run, "float32", "int32")
    np.save(bad, np.full((1, 3, 6, 6), np.nan, dtype=np.float32))
    refuses(run, "finite")
    bad.write_bytes(b"not an array")
    refuses(run, "bad.npy", ".npy")
    np.save(bad, np.array([{"a": 1}], dtype=object))
    refuses(run, "bad.npy")


def test_images_of_another_range_than_calibration(accel, refuses, files, tmp_path):
    container = tmp_path / "tiny.safetensors"
    assert accel("compress", files[0], "-o", container, "--images", files[1])[0] == 0
    images = write_images(tmp_path / "bright.npy", scale=255)
    refuses(["run", container, "--images", images], "Images", "lie within")


def test_a_damaged_container(accel, refuses, files, tmp_path):
    container = tmp_path / "tiny.safetensors"
    assert accel("compress", files[0], "-o", container, "--images", files[1])[0] == 0
    whole = container.read_bytes()
    for damaged in (whole[:-3], whole[:40], b"", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        container.write_bytes(damaged)
        refuses(["run", container, "--images", files[1]], "tiny.safetensors")


def test_layers_that_do_not_fit_are_named_with_a_setting_that_works(refuses):
    refuses(
        ["run", "lenet5", *TOY, "--set", "filter_buffer_chunks=8"],
        "layers conv2 (filter_buffer_chunks 25, not 8)", "fc1",
        "all fit with --set filter_buffer_chunks=32",
    )  # fmt: skip
    refuses(
        ["run", "lenet5", *TOY, "--set", "input_buffer_chunks=100"],
        "layers conv1 (input_buffer_chunks 576, not 100)",
    )  # fmt: skip


def test_outputs_that_cannot_be_written_are_refused_first(refuses, files, tmp_path):
    for option in ("--json", "--csv"):
        refuses(["run", "lenet5", option, tmp_path / "no" / "x"], tmp_path / "no")
        refuses(["run", "lenet5", option, tmp_path], "not a folder")
        refuses(["run", "lenet5", option, "/proc/x"], "/proc/x")
    refuses(["run", "lenet5", "--json", "-", "--csv", "-"], "--json", "--csv")
    compress = ["compress", files[0], "--images", files[1], "-o"]
    refuses([*compress, tmp_path / "no" / "x.safetensors"], tmp_path / "no")
    refuses([*compress, tmp_path / "x.bin"], ".safetensors")


# -- Ctrl-C -------------------------------------------------------------------------------------

# A shell starts its background jobs deaf to interrupts, and a test run may be one: so the programs
# here listen of their own accord.

#: Sends the signal from inside, so that it comes while layers are being counted.
#: A shell starts its background jobs deaf to interrupts, and a test run may be one.
INTERRUPTED_PROGRAM = """
import contextlib, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from accel.cli.commands import simulation
from accel.cli.app import main

def progress(done, total, doing):
    if done == 1:
        os.kill(os.getpid(), signal.SIGINT)

simulation.progress_bar = lambda label: contextlib.nullcontext(progress)
main()
"""
#: Is interrupted by what reads images, or by what says why they are refused.
READING_PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from accel.cli import app
from sw import images

def interrupt(*arguments):
    os.kill(os.getpid(), signal.SIGINT)

if sys.argv.pop(1) == "reading":
    images.read_bytes = interrupt
else:
    app.complain = lambda message, told=app.complain: (
        told(message) if message == "interrupted" else interrupt()
    )
app.main()
"""


def test_an_interrupted_run_leaves_nothing(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("before")
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_PROGRAM, "run", "lenet5", *TOY, "--json", path],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "error: interrupted\n"
    assert os.listdir(tmp_path) == ["result.json"]
    assert path.read_text() == "before"


@pytest.mark.parametrize("when", ["reading", "complaining"])
def test_an_interrupt_at_any_time_is_one_line(tmp_path, when):
    images = tmp_path / "images.npy"
    images.write_bytes(b"no images")
    result = subprocess.run(
        [sys.executable, "-c", READING_PROGRAM, when, "run", "lenet5", "--images", images],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "error: interrupted\n"


def test_a_pipe_as_images_is_refused(accel, tmp_path):
    pipe = tmp_path / "images.npy"
    os.mkfifo(pipe)
    message = f"error: Images {pipe} must be a regular file, not a folder, device or pipe\n"
    assert accel("run", "lenet5", "--images", pipe) == (2, "", message)
