"""The FuseSoC core file: what it names is there, and FuseSoC takes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from golden.machines.extensor import ExTensorConfig
from rtl.extensor.hardware import HARDWARE
from rtl.verilog.writer import write

TOY = ExTensorConfig.preset("toy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    write(HARDWARE, TOY, folder)
    return folder


def test_every_file_that_it_names_is_there(folder):
    yaml = pytest.importorskip("yaml")
    core = yaml.safe_load((folder / "extensor_pe.core").read_text().partition("\n")[2])
    assert core["name"].startswith("innerjoin:extensor-toy:extensor_pe:")
    named = [
        (path, options["copyto"])
        for files in core["filesets"].values()
        for one in files["files"]
        for path, options in one.items()
    ]
    assert all(path == copied and (folder / path).is_file() for path, copied in named)
    assert {"extensor_pe.v", "extensor_pe.json", "bench.py", "test_bench.py"} <= {
        path for path, _ in named
    }
    assert {"lint", "sim", "synth", "synth_xilinx", "synth_ice40"} < set(core["targets"])


@pytest.mark.extra
@pytest.mark.parametrize("target", ["lint", "sim"])
def test_fusesoc_runs_it(folder, tmp_path, target):
    pytest.importorskip("fusesoc")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    places = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(tmp_path))
    done = subprocess.run(
        ["fusesoc", "--cores-root", folder, "run", "--target", target,
         "--work-root", tmp_path / "work", "innerjoin:extensor-toy:extensor_pe"],
        cwd=tmp_path, env={**os.environ, "PATH": path, **places}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    if target == "sim":
        assert " FAIL=0 SKIP=0" in done.stdout + done.stderr
