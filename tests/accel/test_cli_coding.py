"""`accel compress` without -o alone: its tables, JSON and CSV, and every bad input by name."""

import csv
import io
import json
import shutil
from importlib import resources

import numpy as np
import pytest

from accel.report.text import WIDTH
from sw.onnx.file import load_model
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from sw.storage.container import load

LENET5 = str(resources.files("sw") / "networks" / "lenet5.onnx")
SMALL = ("--codebook", "3,2")


def rows_of(text):
    return {(row["weights_as"], row["name"]): row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture
def images(tmp_path):
    values = np.random.default_rng(1).random((4, 1, 28, 28)).astype(np.float32)
    np.save(tmp_path / "images.npy", values)
    return tmp_path / "images.npy"


def test_tables_of_a_shipped_network_fit_the_width(accel):
    status, out, _ = accel("compress", "lenet5", *SMALL)
    assert status == 0
    assert max(map(len, out.splitlines())) <= WIDTH
    for words in ("P+Q+H", "Codebook of 3 and 2 bits", "int8, as the machine", "coordinates"):
        assert words in out
    totals = [line.split() for line in out.splitlines() if line.split()[:2] == ["total", "430500"]]
    assert len(totals) == 2


def test_csv_has_a_row_a_layer_and_what_follows_from_its_entries(accel):
    status, out, _ = accel("compress", "lenet5", "--csv", "-", "--index-bits", "4")
    assert status == 0
    rows = rows_of(out)
    assert [name for _, name in rows] == ["conv1", "conv2", "fc1", "fc2", "total"]
    row = rows["int8, as the machine holds them", "fc2"]
    # Caffe's LeNet-5: 500 x 10 weights, a quarter of them kept (docs/networks.md).
    assert (row["weights"], row["kept"]) == ("5000", "1250")
    assert row["dense_bits"] == str(5000 * 8)
    assert row["bitmask_bits"] == str(5000 + 1250 * 8)
    entries = int(row["entries"])
    assert entries >= 1250
    assert int(row["pruned_bits"]) == 32 + entries * (32 + 4)
    assert int(row["quantised_bits"]) == 10 * 32 + 32 + entries * (8 + 4)


def test_a_float_model_is_reported_both_ways_and_written(accel, images, tmp_path):
    output, document = tmp_path / "out.safetensors", tmp_path / "sizes.json"
    given = ("--images", images, "-o", output, "--json", document)
    status, out, _ = accel("compress", LENET5, *SMALL, "--density", "0.05", *given)
    assert status == 0
    assert str(output) in out
    found = json.loads(document.read_text())
    shared, int8 = found["representations"]
    assert [layer["code_bits"] for layer in shared["layers"][:4]] == [3, 3, 2, 2]
    assert shared["layers"][-1]["kept"] == round(0.05 * 430500)
    # A codebook of 2 bits has three values of 32 bits and says how many they are.
    assert shared["layers"][3]["side_bits"] == 8 + 3 * 32
    network = load(output)
    assert "codebook" in network.source
    kept = sum(int(np.count_nonzero(node.weights)) for node in network.convolutions)
    assert int8["layers"][-1]["kept"] == kept
    # A filter's int8 weights are its layer's three values, scaled by its own largest.
    assert max(np.unique(row).size for row in network.convolutions[2].weights) <= 4


def test_without_images_only_the_codebook_is_reported(accel):
    status, out, _ = accel("compress", LENET5, *SMALL, "--entropy", "none")
    assert status == 0
    assert "need calibration images" in out
    assert "P+Q+H" not in out


def test_codebooks_larger_than_their_layer_are_said_to_be_smaller(accel):
    status, out, _ = accel("compress", "lenet5", "--codebook", "8,2")
    assert status == 0
    assert "Codebooks smaller than their bits allow, for want of weights: conv1" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--codebook", "9,5"], ["Codebook bits", "1 to 8", "9"]),
        (["--codebook", "8,0"], ["Codebook bits", "1 to 8", "0"]),
        (["--codebook", "8"], ["Codebook", "8,5", "'8'"]),
        (["--codebook", "8,five"], ["Codebook", "'8,five'"]),
        ([*SMALL, "--centroids", "best"], ["linear, density, random", "'best'"]),
        ([*SMALL, "--region-filters", "0"], ["region", "1 or more", "0"]),
        (["--entropy", "zip"], ["Entropy coder", "huffman, none", "'zip'"]),
        (["--index-bits", "17"], ["Index bits", "1 to 16", "17"]),
        (["--index-bits", "8,5,4"], ["Index bits", "8,5", "'8,5,4'"]),
        (["--index-bits", "8,"], ["Index bits", "'8,'"]),
        (["--density", "0.5"], ["Density", "lenet5"]),
        (["--json", "-", "--csv", "-"], ["must differ"]),
        (["--json", "/nowhere/x.json"], ["/nowhere"]),
        ([*SMALL, "-o", "x.bin"], [".safetensors"]),
    ],
)
def test_bad_options_are_refused(refuses, arguments, words):
    refuses(["compress", "lenet5", *arguments], *words)


def test_bad_models_are_refused(refuses, tmp_path, images):
    refuses(["compress", "nothing"], "Network must be one of", "'nothing'")
    refuses(["compress", tmp_path / "no.onnx", *SMALL], "no.onnx must be a file")
    refuses(["compress", LENET5], "--images")
    refuses(
        ["compress", LENET5, *SMALL, "-o", tmp_path / "x.safetensors"], "Calibration", "--images"
    )
    quantised = quantise(prepare(load_model(LENET5)), np.load(images))
    path = tmp_path / "quantised.onnx"
    path.write_bytes(quantised.SerializeToString())
    refuses(["compress", path, *SMALL], "must be float", "quantised already")
    container = tmp_path / "n.safetensors"
    shutil.copy(resources.files("sw") / "networks" / "lenet5.safetensors", container)
    refuses(["compress", container, "--density", "0.5"], "Density must be left out")
