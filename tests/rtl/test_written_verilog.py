"""Stock yosys takes the written Verilog as it is: every memory becomes RAM, and there is no latch.

Yosys runs in a process of its own and reads the text alone, up to where memories are mapped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from golden.machines.cambricon_s import CambriconSConfig
from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.extensor import ExTensorConfig
from rtl.cambricon_s.hardware import HARDWARE as CAMBRICON_S
from rtl.cluster.hardware import HARDWARE as CLUSTER
from rtl.extensor.hardware import HARDWARE as EXTENSOR
from rtl.verilog.writer import verilog

#: Partial sums in memory, two filters a unit.
SEGMENTS = AcceleratorConfig.preset("toy").replace(
    units=2, filters_per_unit=2, segment_chunks=1, tile_positions=64, filter_double_buffer=True
)
DESIGNS = {
    "cluster": CLUSTER.design(SEGMENTS),
    "cambricon-s": CAMBRICON_S.design(CambriconSConfig.preset("toy")),
    "extensor": EXTENSOR.design(ExTensorConfig.preset("toy")),
}
#: Memories that are read in the cycle of their address: a family without distributed RAM has
#: flip-flops for them. All others are block RAM wherever they are large enough.
SMALL = {
    "cluster": {
        *(f"registers.unit{unit}.counts" for unit in range(2)),
        *(f"core.unit{unit}.queue" for unit in range(2)),
        "core.broadcaster.chunks.items", "core.broadcaster.rows.items",
        "core.broadcaster.sent.items",
        "core.collector.passes.rows.items", "core.collector.queue.items",
        "core.loader.passes.rows.items", "core.loader.queue.items",
        "core.sequencer.passes.rows.items",
    },
    "extensor": {"registers.unit0.counts", "fibres.tasks.rows", "fetch.queue.rows"},
    "cambricon-s": {
        *(f"registers.unit{pe}.counts" for pe in range(4)),
        "collector.queue.storage",
    },
}  # fmt: skip
LARGE = {
    "cluster": {
        "buffer.index", "buffer.even", "buffer.odd", "buffer.requantisation",
        *(f"buffer.passes{port}" for port in range(3)),
        *(f"core.unit{unit}.{name}" for unit in range(2)
          for name in ("activations", "weights", "entries", "mac.psums")),
    },
}  # fmt: skip
FAMILIES = {
    "ecp5": {"DP16KD", "TRELLIS_DPR16X4"},
    "xilinx": {"RAMB18E1", "RAMB36E1", "RAM32M", "RAM64M", "RAM32X1D", "RAM64X1D"},
    "ice40": {"SB_RAM40_4K"},
}
#: What flattens the design, where the family's synthesis does not by itself.
FLATTEN = {"xilinx": "-flatten"}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("verilog")
    paths = {}
    for name, design in DESIGNS.items():
        paths[name] = folder / f"{name}.v"
        paths[name].write_text(verilog(design))
    return paths


def yosys(folder: Path, *commands: str) -> None:
    """Run stock yosys in a new process."""
    program = "from pyosys import libyosys as y; d = y.Design()\n"
    program += "".join(f"y.Pass.call(d, {command!r})\n" for command in commands)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True)
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr[-1000:])


def memory_of(cell: str) -> str:
    """Return the name of the memory that a RAM cell is a part of."""
    parts = cell.split(".")
    while parts[-1].isdigit():
        parts.pop()
    return ".".join(part for part in parts if not part.startswith("ram_"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("machine", DESIGNS)
def test_memories_are_ram(written, tmp_path, machine, family):
    top = DESIGNS[machine].top
    yosys(
        tmp_path,
        f"read_verilog {written[machine]}",
        f"synth_{family} {FLATTEN.get(family, '')} -top {top} -run begin:map_ffram",
        f"select {top}",
        "write_json -selected netlist.json",
    )
    cells = json.loads((tmp_path / "netlist.json").read_text())["modules"][top]["cells"]
    kinds = {cell["type"] for cell in cells.values()}
    assert not [kind for kind in kinds if "latch" in kind]
    left = {memory_of(name) for name, cell in cells.items() if cell["type"] == "$mem_v2"}
    assert left == (SMALL[machine] if family == "ice40" else set())
    ram = {memory_of(name) for name, cell in cells.items() if cell["type"] in FAMILIES[family]}
    assert ram >= LARGE.get(machine, set())
    if family != "ice40":
        assert ram >= SMALL[machine]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("machine", DESIGNS)
def test_is_synthesised(written, tmp_path, machine, family):
    top = DESIGNS[machine].top
    yosys(
        tmp_path,
        f"read_verilog {written[machine]}",
        f"synth_{family} {FLATTEN.get(family, '')} -top {top}",
        f"select {top}",
        "write_json -selected netlist.json",
    )
    cells = json.loads((tmp_path / "netlist.json").read_text())["modules"][top]["cells"]
    kinds = {cell["type"] for cell in cells.values()}
    assert not [kind for kind in kinds if "latch" in kind.lower() or kind.startswith("$_")]
