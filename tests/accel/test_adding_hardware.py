"""``docs/adding_hardware.md`` as it stands: a machine with hardware, every command on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding_hardware.md"
REGISTRY = "golden/machines/registry.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Copy the packages, and add what the page says where it says."""
    tree = tmp_path_factory.mktemp("tree")
    for package in ("golden", "accel", "rtl", "sw"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("*.pyc"))
    text = PAGE.read_text(encoding="utf-8")
    # The last file that the words before a text name is the one whose text it is.
    words, files = text.split("```"), {}
    for said, content in zip(words[::2], words[1::2], strict=False):
        name = re.findall(r"`((?:golden|accel|rtl)/[\w/]+\.(?:py|toml))`", said)[-1]
        files[name] = content.partition("\n")[2]
    assert sorted(files) == sorted(
        ["golden/machines/serial.py", "golden/presets/serial/one.toml", "accel/machines/serial.py",
         "rtl/serial/hardware.py", REGISTRY]
    )  # fmt: skip
    line = files.pop(REGISTRY)
    files["rtl/serial/__init__.py"] = '"""Serial as hardware."""\n'
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    registry = tree / REGISTRY
    end = "\n}\n\n#: The machine where none is named"
    before = registry.read_text(encoding="utf-8")
    assert before.count(end) == 1
    registry.write_text(before.replace(end, f"\n{line.rstrip()}{end}"), encoding="utf-8")
    return tree


@pytest.fixture
def run(tree):
    """Run Python in the tree; return its output."""

    def call(*arguments, status=0):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tree, capture_output=True, text=True, env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout

    return call


ACCEL = ("-c", "import sys; from accel.cli.app import main; main(sys.argv[1:])")


def test_is_run_and_compared(run):
    assert "serial" in run(*ACCEL, "machines")
    assert "one" in run(*ACCEL, "presets")
    out = run(*ACCEL, "run", "lenet5", "--machine", "serial", "--csv", "-")
    (total,) = [line for line in out.splitlines() if ",total," in line]
    # Every filter's weights at every position, one beat where it has none, and two at the end.
    count = (
        "from sw.networks import zoo; import numpy as np; print(sum(int(np.maximum(1, "
        "np.count_nonzero(n.weights, axis=(1, 2, 3))).sum()) * n.layer.positions + 2 "
        "for n in zoo.load('lenet5').convolutions))"
    )
    assert f",{run('-c', count).strip()}," in total
    assert "serial" in run(*ACCEL, "compare", "lenet5", "--machines", "serial", "--multipliers", 1)


@pytest.mark.parametrize("simulator", ["amaranth", "icarus", "verilator"])
def test_is_verified(run, simulator):
    out = run(*ACCEL, "verify", "lenet5", "--layer", "fc2", "--machine", "serial",
              "--simulator", simulator)  # fmt: skip
    assert "All equal." in out


def test_a_bug_in_it_is_noticed(run, tree):
    hardware = tree / "rtl" / "serial" / "hardware.py"
    right = hardware.read_text(encoding="utf-8")
    wrong = right.replace("running & (left == 0) & ~self.outputs.valid", "running & (left == 0)")
    assert wrong != right
    hardware.write_text(wrong, encoding="utf-8")
    try:
        out = run(*ACCEL, "verify", "lenet5", "--layer", "fc2", "--machine", "serial", status=1)
    finally:
        hardware.write_text(right, encoding="utf-8")
    assert "DIFFER" in out


def test_is_written_and_synthesised(run, tmp_path):
    folder = tmp_path / "serial"
    out = run(*ACCEL, "verilog", "--machine", "serial", "-o", folder, "--layer", "lenet5:fc2")
    assert str(folder / "serial.v") in out
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "name=lenet5_fc2_0 passed" in done.stdout
    assert re.search(r"serial\W+\d+", run("-m", "rtl.synth", "serial", "--seeds", 0))
