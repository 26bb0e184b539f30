"""A bitstream of a board: ``python -m rtl.soc.bitstream ulx3s``.

Verilog, synthesis by yosys, place and route by nextpnr-ecp5, ecppack. All that is made stays in the
folder, the reports too.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from golden.chip.config import ChipConfig
from golden.errors import UserError
from rtl.lib.ram import RAM_VERILOG
from rtl.soc.ulx3s import Clock, Ulx3s, constraints, top_verilog
from rtl.synth.synthesis import SynthesisError, run_yosys
from rtl.verilog.writer import component_verilog

__all__ = ["main", "make_bitstream", "with_small_rams"]

_DEVICE = ("--85k", "--package", "CABGA381", "--speed", "6")
#: Synthesised each by itself: what it takes can be told, and equal units are done once.
_PARTS = {
    "soc_sdram_controller": "SDRAM controller",
    "soc_memory_side": "memory side of the chip",
    "soc_core": "compute side: sequencer, registers, rings, assembly",
    "soc_parser": "row parser",
    "soc_vector_pipeline": "vector unit's arithmetic",
    "soc_core_2": "cluster, without its units",
    "soc_unit": "a unit, of eight",
}
_CELLS = ("LUT4", "TRELLIS_FF", "CCU2C", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D")


def with_small_rams(verilog: str) -> str:
    """Return the design with the units' activations in distributed RAM.

    They are 40 rows of 16 bytes, which would take four block RAMs of each unit for their width.
    """
    found = re.search(r"module innerjoin_byte_ram.*?endmodule\n", RAM_VERILOG, re.S)
    assert found is not None
    small = found.group(0).replace("innerjoin_byte_ram", "innerjoin_small_ram")
    small = small.replace("no_rw_check", 'no_rw_check, ram_style = "distributed"')
    pattern = r"innerjoin_byte_ram( #\([^;]*?\) activations \()"
    return re.sub(pattern, r"innerjoin_small_ram\1", verilog) + small


def make_bitstream(config: ChipConfig, clock: Clock, folder: Path, seed: int) -> list[str]:
    """Make ``ulx3s.bit``; return the report, line by line.

    Raises
    ------
    UserError
        A tool is missing, or the chip does not fit the device.
    """
    tools = [_tool(name) for name in ("nextpnr-ecp5", "ecppack")]
    design = component_verilog(Ulx3s(config, clock), "soc")
    verilog = with_small_rams(design) + top_verilog(clock)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ulx3s.v").write_text(verilog, "utf-8")
    (folder / "ulx3s.lpf").write_text(constraints(), "utf-8")
    kept = " ".join(_PARTS)
    run_yosys(
        (
            "read_verilog -sv ulx3s.v",
            f"setattr -mod -set keep_hierarchy 1 {kept}",
            "synth_ecp5 -top ulx3s",
            "tee -q -o cells.json stat -json",
            f"setattr -mod -unset keep_hierarchy {kept}",
            "flatten",
            "clean",
            "write_json netlist.json",
        ),
        folder,
    )
    lines = _cells(json.loads((folder / "cells.json").read_text("utf-8"))["modules"])
    for command in (
        [tools[0], *_DEVICE, "--json", "netlist.json", "--lpf", "ulx3s.lpf", "--textcfg",
         "ulx3s.config", "--report", "report.json", "--freq", f"{clock.megahertz:g}", "--seed",
         str(seed), "--router", "router2", "--timing-allow-fail", "--log", "nextpnr.log",
         "--quiet"],
        [tools[1], "--compress", "ulx3s.config", "ulx3s.bit"],
    ):  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            words = done.stderr.strip().splitlines()
            raise SynthesisError(f"{Path(command[0]).name} failed: {words[-1] if words else ''}")
    return lines + _timing(json.loads((folder / "report.json").read_text("utf-8")))


def _tool(name: str) -> str:
    here = str(Path(sys.executable).parent)
    tool = shutil.which(name) or shutil.which(f"yowasp-{name}", path=here)
    if tool is None:
        raise SynthesisError(f"{name} must be installed: pip install 'innerjoin[synth]'")
    return tool


def _cells(modules: dict) -> list[str]:
    """Return the cells of each part without those of the parts in it."""
    lines = ["cells after synthesis, each part without the parts in it:"]
    for name, part in {"ulx3s": "serial line and all else", **_PARTS}.items():
        counts = modules[f"\\{name}"]["num_cells_by_type"]
        words = ", ".join(f"{counts.get(cell, 0)} {cell}" for cell in _CELLS)
        lines.append(f"  {part}: {words}")
    return lines


def _timing(report: dict) -> list[str]:
    lines = ["placed and routed:"]
    for cell, use in report["utilization"].items():
        if use["used"]:
            lines.append(f"  {cell}: {use['used']} of {use['available']}")
    for name, clock in report["fmax"].items():
        lines.append(
            f"  clock {name}: {clock['achieved']:.1f} MHz, {clock['constraint']:.1f} are asked for"
        )
    slowest = max(
        report["critical_paths"], key=lambda one: sum(step["delay"] for step in one["path"])
    )
    steps = slowest["path"]
    total = sum(step["delay"] for step in steps)
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    lines.append(
        f"  slowest path: {total:.1f} ns, {routing:.1f} of them wires, "
        f"from {steps[0]['from']['cell']} to {steps[-1]['to']['cell']}"
    )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a bitstream and print the report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.soc.bitstream", description=__doc__)
    parser.add_argument("board", choices=["ulx3s"])
    parser.add_argument("--mhz", type=float, default=25.0, help="clock (default: 25)")
    parser.add_argument("--seed", type=int, default=1, help="of place and route")
    parser.add_argument("--folder", type=Path, default=Path("build/ulx3s"))
    options = parser.parse_args(arguments)
    try:
        config, clock = ChipConfig.preset(options.board), Clock(options.mhz)
        print("\n".join(make_bitstream(config, clock, options.folder, options.seed)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Bitstream: {options.folder / 'ulx3s.bit'}; no board was here to try it on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
