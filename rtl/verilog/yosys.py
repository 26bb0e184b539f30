"""RTLIL to Verilog by yosys, in a process of its own.

    python -m rtl.verilog.yosys output input...

In one process yosys numbers its names on and on, so that the second design would have other names
than the first; and its errors end the process.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from golden.errors import UserError

__all__ = ["rtlil_to_verilog"]

#: What Icarus and Verilator both run right: plain ``write_verilog`` leaves processes that Icarus
#: never starts. Without ``-purge`` other wires stay beside a signal for each of its fields, with
#: brackets in their names, on which synthesis stumbles. ``autoname`` names what has no name after
#: its neighbours.
_PASSES = ("proc", "pmuxtree", "memory_collect", "opt_clean -purge", "autoname")


def rtlil_to_verilog(inputs: list[Path], output: Path) -> None:
    """Write modules in RTLIL as Verilog.

    Raises
    ------
    UserError
        pyosys is not installed.
    RuntimeError
        yosys did not take the design.
    """
    command = [sys.executable, "-m", "rtl.verilog.yosys", str(output), *map(str, inputs)]
    folder = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if "No module named 'pyosys'" in done.stderr:
        raise UserError(
            "Writing Verilog needs pyosys, which is not installed: "
            "pip install 'innerjoin[hardware]'"
        )
    if done.returncode:
        raise RuntimeError(f"yosys failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _main(output: str, *inputs: str) -> None:
    yosys: Any = import_module("pyosys.libyosys")

    design = yosys.Design()
    commands = [f"read_rtlil {path}" for path in inputs]
    commands += [*_PASSES, f"write_verilog {output}"]
    for command in commands:
        yosys.Pass.call(design, f"tee -q {command}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
