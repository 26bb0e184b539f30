"""Waves: what is dumped, what is kept, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from golden.errors import HardwareError, UserError
from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.hardware import HARDWARE
from rtl.host import Program
from rtl.sim.cosim import run_programs
from rtl.sim.waves import Waves, control_file, dump_verilog, find_blocks, keep
from rtl.verilog.writer import verilog

DESIGN = HARDWARE.design(AcceleratorConfig.preset("toy"))
VERIFY = ("verify", "lenet5", "--layer", "fc2", "--preset", "toy")


@pytest.fixture(scope="module")
def text() -> str:
    return verilog(DESIGN)


def test_blocks_are_found_by_the_end_of_their_path(text):
    (unit, join, whole) = find_blocks(text, "cluster", ["unit0", "unit3.join_", "registers"])
    assert unit.rpartition(".")[2] == "unit0"
    assert join == unit.replace("unit0", "unit3.join_")
    assert whole == "registers"
    assert find_blocks(text, "cluster", [unit]) == (unit,)
    for wrong in ("unit4", "unit0.joiner", "nit0", "join_"):
        with pytest.raises(
            UserError, match=f"Signals must be of a block such as .*, not '{wrong}'"
        ):
            find_blocks(text, "cluster", [wrong])


def test_only_chosen_blocks_are_dumped():
    assert re.findall(r"dumpvars\((.*)\)", dump_verilog(["unit0", "loader.queue"])) == [
        "1, bench", "0, dut.unit0", "0, dut.loader.queue",
    ]  # fmt: skip
    assert re.findall(r"dumpvars\((.*)\)", dump_verilog([])) == ["1, bench", "0, dut"]
    assert re.findall(r'tracing_on -scope "(.*)"', control_file(["unit0"])) == [
        "bench", "bench.dut.unit0",
    ]  # fmt: skip


def test_set_up_files_name_ports_and_widths(text, tmp_path):
    (tmp_path / "dumped").write_bytes(b"waves")
    waves = Waves(tmp_path / "out.fst", ("unit0",))
    keep(waves, tmp_path / "dumped", text, "cluster")
    assert waves.path.read_bytes() == b"waves"
    gtkwave = (tmp_path / "out.gtkw").read_text().splitlines()
    assert gtkwave[0] == '[dumpfile] "out.fst"'
    assert gtkwave[gtkwave.index("bench.done") - 1] == "@28"
    assert gtkwave[gtkwave.index("bench.write_data[31:0]") - 1] == "@22"
    (unit,) = find_blocks(text, "cluster", ["unit0"])
    assert f"bench.dut.{unit}.rst" in gtkwave
    surfer = (tmp_path / "out.sucl").read_text().splitlines()
    assert "variable_add bench.write_data" in surfer
    assert f"variable_add bench.dut.{unit}.rst" in surfer
    assert surfer[-1] == "zoom_fit"


def check_waves(path: Path) -> None:
    """The ports and unit 0 are there, unit 1 is not; ``done`` rises once, names are all there."""
    pywellen = pytest.importorskip("pywellen")
    waves = pywellen.Waveform(str(path))
    names = {str(var).removeprefix("Var(").removesuffix(")") for var in waves.all_vars()}
    assert "bench.done" in names
    assert [name for name in names if name.endswith(".unit0.join_.clk")]
    assert not [name for name in names if ".unit1." in name]
    shown = re.findall(r"variable_add (\S+)", path.with_suffix(".sucl").read_text())
    assert len(shown) > 20
    assert set(shown) <= names
    (done,) = [var for var in waves.all_vars() if str(var) == "Var(bench.done)"]
    changes = [value for _, value in done.signal if value in (0, 1, "0", "1")]
    assert [int(value) for value in changes] in ([0, 1], [1])


def test_icarus_keeps_waves(accel, tmp_path):
    path = tmp_path / "out.fst"
    status, out, err = accel(
        *VERIFY, "--waves", path, "--signals", "unit0", "--simulator", "icarus"
    )
    assert (status, err) == (0, "")
    assert "All equal." in out
    kept = [str(path.with_suffix(suffix)) for suffix in (".fst", ".gtkw", ".sucl")]
    assert out.splitlines()[-3:] == kept
    check_waves(path)


@pytest.mark.slow
def test_verilator_keeps_waves(accel, tmp_path):
    path = tmp_path / "out.fst"
    status, out, err = accel(*VERIFY, "--waves", path, "--signals", "unit0")
    assert (status, err) == (0, "")
    assert "units under verilator" in " ".join(out.split())
    check_waves(path)


def test_waves_of_a_run_that_fails_are_kept(tmp_path):
    loads = {name: np.zeros(words, np.uint32) for name, words in DESIGN.load_rows.items()}
    starved = Program(
        registers={name.name: 0 for name in DESIGN.registers.layer[2:]},
        loads=loads, beats=np.zeros((0, 4), np.uint8), output_beats=1, cycle_limit=100,
    )  # fmt: skip
    waves = Waves(tmp_path / "out.fst", ("unit0",))
    with pytest.raises(HardwareError, match="not done in time"):
        run_programs(DESIGN, [starved], "icarus", waves=waves)
    assert waves.path.stat().st_size > 100


def test_refuses(refuses, tmp_path):
    waves = ["--waves", str(tmp_path / "out.fst")]
    refuses([*VERIFY, *waves, "--simulator", "amaranth"], "icarus or verilator", "amaranth")
    refuses([*VERIFY, "--waves", str(tmp_path / "out.vcd")], "Waves", ".fst", "out.vcd")
    refuses([*VERIFY, "--waves", str(tmp_path / "no/out.fst")], "out.fst", "folder")
    refuses([*VERIFY, "--signals", "unit0"], "--signals", "--waves")
    assert not list(tmp_path.iterdir())
