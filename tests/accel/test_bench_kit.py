"""The bench that `accel verilog` writes, where nothing of the project can be imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("cocotb")

from accel.exports.verilog import write_verilog

#: The layer that each machine's toy runs; fc is the last one of ResNet-8.
MACHINES = {
    "innerjoin": "lenet5:fc2",
    "cambricon-s": "resnet8:fc",
    "extensor": "resnet8:fc",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a machine's design and layer, once; return the folder."""

    @cache
    def call(machine: str) -> Path:
        folder = tmp_path_factory.mktemp(machine) / "build"
        network, _, layer = MACHINES[machine].partition(":")
        write_verilog(f"{machine}:toy", folder, network, layer)
        return folder

    return call


@pytest.fixture
def write(accel, tmp_path):
    """Write a toy and a layer by the command line; return the folder."""

    def call(machine: str, *arguments: str) -> Path:
        folder = tmp_path / "build"
        given = ["--machine", machine, "--preset", "toy", "-o", str(folder), *arguments]
        status, _, err = accel("verilog", *given)
        assert (status, err) == (0, "")
        return folder

    return call


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the bench as a stranger would, without the project."""
    hidden = folder.parent / "hidden"
    hidden.mkdir(exist_ok=True)
    for package in ("golden", "accel", "rtl", "sw"):
        (hidden / f"{package}.py").write_text("raise ImportError('the project is not here')\n")
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["PYTHONPATH"] = str(hidden)
    command = ["make", f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


ALL = ["innerjoin", "extensor", pytest.param("cambricon-s", marks=pytest.mark.slow)]


@pytest.mark.parametrize("machine", ALL)
def test_bench_runs_a_layer_without_the_project(written, machine):
    folder = written(machine)
    done = make(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    named = MACHINES[machine].replace(":", "_")
    layers = [path.name for path in (folder / "vectors").glob(f"{named}_*")]
    assert layers
    for layer in (*layers, "example_0"):
        assert f"bench.gives_what_the_vector_says/name={layer} passed" in done.stdout
    assert " FAIL=0 SKIP=0" in done.stdout
    assert not list(folder.rglob("*.fst"))


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_stalls_change_no_bit_and_no_count_of_work(written, machine):
    done = make(written(machine), "STALLS=5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " FAIL=0 SKIP=0" in done.stdout


@pytest.mark.slow
def test_bench_runs_under_verilator(written):
    done = make(written("innerjoin"), "SIM=verilator", "WAVES=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " FAIL=0 SKIP=0" in done.stdout
    assert list(written("innerjoin").rglob("*.fst"))


def test_waves_and_coverage_are_kept_where_asked_for(written):
    pytest.importorskip("cocotb_coverage")
    folder = written("extensor")
    done = make(folder, "WAVES=1", "COVER=1", "STALLS=1", "COCOTB_TEST_FILTER=example|again")
    assert done.returncode == 0, done.stdout + done.stderr
    (waves,) = folder.rglob("*.fst")
    assert waves.stat().st_size > 1000
    waves.unlink()
    report = (folder / "coverage.xml").read_text()
    for point in ("filters", "outputs", "beats", "counters"):
        assert f'abs_name="top.extensor_pe.{point}"' in report


def test_scoreboard_notices_what_differs(written, tmp_path):
    """A bit of a code, a counter of the design, one of a unit."""
    folder = tmp_path / "build"
    shutil.copytree(written("innerjoin"), folder)
    outputs, vector = (
        folder / "vectors/lenet5_fc2_0" / name for name in ("outputs.hex", "vector.json")
    )
    first, _, rest = outputs.read_text().partition("\n")
    outputs.write_text(f"{int(first, 16) ^ 4:0{len(first)}x}\n{rest}")
    known = json.loads(vector.read_text())
    known["counters"]["outputs"] += 1
    known["counters"]["unit2.bubble_cycles"] += 1
    vector.write_text(json.dumps(known))
    done = make(folder, "COCOTB_TEST_FILTER=lenet5")
    assert done.returncode != 0
    for words in (
        "lenet5_fc2_0: 3 differences",
        f"output beat 0 is {int(first, 16):x}, not {int(first, 16) ^ 4:x}",
        "counter outputs is 10, not 11",
        "counter unit2.bubble_cycles is",
    ):
        assert words in done.stdout


def test_vectors_are_plain_text_that_says_where_it_comes_from(write):
    folder = write("innerjoin", "--layer", "lenet5:fc2", "--skip", "static", "--image", "3")
    place = folder / "vectors/lenet5_fc2_0"
    known = json.loads((place / "vector.json").read_text())
    assert known["about"] == {
        "network": "lenet5", "layer": "fc2", "image": 3, "rows": 1, "skip": "static", "design": 0,
    }  # fmt: skip
    assert known["registers"]["skip_weights"] == 1
    assert known["registers"]["skip_activations"] == 0
    assert known["counters"]["outputs"] == 10
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["vector.json", "filters.hex", "outputs.hex", "defined.hex"]
        + [f"load_{target}.hex" for target in known["loads"]]
    )
    # Ten codes, one a beat, in passes of four filters; the last one of each ends the position.
    beats = [int(line, 16) for line in (place / "outputs.hex").read_text().split()]
    assert len(beats) == 10
    assert [number for number, beat in enumerate(beats) if beat >> 10] == [3, 7, 9]
    assert len((place / "filters.hex").read_text().split()) == known["counters"]["filter_beats"]


def test_vectors_of_each_design(written):
    """The toy of ExTensor has two PEs, both of which have work."""
    names = sorted(path.name for path in (written("extensor") / "vectors").iterdir())
    assert names == ["example_0", "resnet8_fc_0", "resnet8_fc_1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layer", "lenet5:conv9"], ["Layer of lenet5", "conv1, conv2", "'conv9'"]),
        (["--layer", "lenet6:conv1"], ["Network", "'lenet6'"]),
        (["--layer", "lenet5:fc2", "--image", "64"], ["Image", "64"]),
        (["--layer", "lenet5:fc2", "--skip", "half"], ["both", "'half'"]),
        (["--rows", "1"], ["--rows", "--layer"]),
    ],
)
def test_refuses(refuses, tmp_path, arguments, words):
    refuses(["verilog", "--preset", "toy", "-o", tmp_path / "out", *arguments], *words)
    assert not (tmp_path / "out").exists()
