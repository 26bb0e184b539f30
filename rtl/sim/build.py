"""Builds of a design's bench by Icarus or Verilator, kept in the user's cache.

A build is found again by all that it is made from: the configuration, the sources of the hardware,
the versions of the tools. So a design that was built before is not elaborated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path

from golden.errors import HardwareError, UserError
from golden.files import cache_folder
from rtl.host import Design, Written
from rtl.sim import runner
from rtl.sim.waves import control_file, dump_verilog, find_blocks
from rtl.verilog.writer import verilog

__all__ = ["build", "builds_folder", "require_simulator", "require_waves", "search_path"]

_EXECUTABLES = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "make", "g++")}
_ADVICE = {
    "icarus": "apt-get install iverilog (11 or later)",
    "verilator": "install Verilator 5.036 or later, make and g++ (README, Hardware)",
}
_ARGUMENTS = {
    "icarus": ["-g2012"],
    # Only the bench is visible to cocotb: with the whole design public nothing is optimised.
    "verilator": ["--no-public-flat-rw", "--public-depth", "1", "-Wno-fatal", "-Wno-lint",
                  "-Wno-style", "--x-assign", "fast", "--x-initial", "fast", "--noassert",
                  "-O3"],
}  # fmt: skip
#: Files that are not needed once it is built: hundreds of megabytes.
_BY_PRODUCTS = {".gch", ".o", ".a", ".d"}
#: Instances of a module from which compiling it by itself pays.
_MANY = 4
#: Packages whose version may change what is built.
_TOOLS = ("amaranth", "pyosys", "cocotb")
# Stands before the compiler (make's OBJCACHE): takes the runtime library's objects, two thirds of
# every build's time, from where an earlier build left them.
_CACHED_COMPILER = """\
#!/bin/sh
output=; previous=
for argument; do
  if [ "$previous" = -o ]; then output=$argument; fi
  previous=$argument
done
case $output in
  verilated*.o) if cp "$RUNTIME_FOLDER/$output" "$output" 2>/dev/null; then exit; fi ;;
esac
exec "$@"
"""


def search_path() -> str:
    """Return where simulators are searched: this Python's own folder too, active or not."""
    return os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])


def require_simulator(simulator: str) -> None:
    """Raise UserError where cocotb or the simulator is not installed; it says how to get it."""
    try:
        import cocotb_tools.runner  # noqa: F401
    except ImportError:
        raise UserError(
            "Running Verilog needs cocotb, which is not installed: "
            "pip install 'innerjoin[hardware]'"
        ) from None
    for executable in _EXECUTABLES[simulator]:
        if shutil.which(executable, path=search_path()) is None:
            raise UserError(
                f"Simulator {simulator} needs {executable}, which is not installed: "
                f"{_ADVICE[simulator]}"
            )


def require_waves(simulator: str) -> None:
    """Raise UserError where the simulator can't write waves; it says how to get what it lacks."""
    if simulator != "verilator":
        return
    headers = "#include <lz4.h>\n#include <zlib.h>\n"
    done = subprocess.run(
        ["g++", "-E", "-x", "c++", "-"], input=headers, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(
            "Waves of verilator need lz4.h and zlib.h, which are not installed: "
            "apt-get install liblz4-dev zlib1g-dev"
        )


def builds_folder() -> Path:
    """Return the folder that keeps builds."""
    return cache_folder() / "cosim"


def build(
    design: Design | Written,
    simulator: str,
    bench: str,
    *,
    long: bool,
    waves: tuple[str, ...] | None = None,
    text: str | None = None,
) -> Path:
    """Return the folder with the built bench; build it where it is not in the cache.

    Parameters
    ----------
    bench : str
        Module ``bench`` for the design, which is ``dut`` in it.
    long : bool
        It will run for so long that compiling the model well pays.
    waves : tuple of str, optional
        Blocks that are dumped, all where empty; nothing where None.
    text : str, optional
        The design's Verilog where it is another than ``accel verilog`` writes: a netlist and its
        cells.

    Raises
    ------
    UserError
        The cache can't be written, or the design has no such block.
    HardwareError
        The simulator does not take the design.
    """
    arguments = list(_ARGUMENTS[simulator])
    if simulator == "verilator":
        # What runs once, and the runtime library, need no optimising.
        flags = f"OPT_FAST={'-O1' if long else '-O0'} OPT_SLOW=-O0 OPT_GLOBAL=-O0"
        arguments += ["--build", "-MAKEFLAGS", flags]
        if not long:  # one source file: without optimising, most of the time goes into headers
            arguments += ["--output-split", "0"]
        if waves is not None:
            arguments.append("--trace-fst")
    dumped = "no waves" if waves is None else " ".join(waves)
    tools = [_executable(simulator), *arguments, *(metadata.version(tool) for tool in _TOOLS)]
    parts = _design_parts(design) if text is None else [text]
    built = builds_folder() / _key(*parts, bench, dumped, *tools)
    if built.is_dir():
        return built
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".build-", dir=built.parent))
    except OSError as error:
        raise UserError(f"Folder {built.parent} can't be written: {error.strerror}") from None
    try:
        runtime = builds_folder() / f"runtime-{_key(*tools)}"
        text = verilog(design) if text is None else text
        _make(design.top, text, simulator, bench, arguments, folder, runtime, waves)
        with contextlib.suppress(OSError):  # another process was first
            folder.rename(built)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return built


def _make(
    top: str,
    text: str,
    simulator: str,
    bench: str,
    arguments: list[str],
    folder: Path,
    runtime: Path,
    waves: tuple[str, ...] | None,
) -> None:
    """Build a bench in a folder; the simulator's own objects are kept in another one."""
    if waves is not None:
        waves = find_blocks(text, top, waves)
        inside, _, after = bench.rpartition("endmodule")
        bench = f"{inside}{dump_verilog(waves)}endmodule{after}"
    sources = {f"{top}.v": text, "bench.sv": bench}
    for name, source in sources.items():
        (folder / name).write_text(source, encoding="utf-8")
    if simulator == "verilator":
        control = folder / "control.vlt"
        if waves is not None:
            control.write_text(control_file(waves), "ascii")
            arguments = [*arguments, str(control)]
        elif repeated := _repeated(text, top):
            control.write_text(f'`verilator_config\nhier_block -module "{repeated}"\n', "ascii")
            arguments = [*arguments, "--hierarchical", str(control)]
    compiler = folder / "cached-compiler"
    compiler.write_text(_CACHED_COMPILER, encoding="ascii")
    compiler.chmod(0o755)
    environment = {"PATH": search_path(), "RUNTIME_FOLDER": str(runtime)}
    if "OBJCACHE" not in os.environ:
        environment["OBJCACHE"] = str(compiler)
    try:
        runner.run(
            simulator,
            "build",
            environment,
            folder,
            sources=[str(folder / name) for name in sources],
            hdl_toplevel="bench",
            build_dir=str(folder),
            build_args=arguments,
            waves=simulator == "verilator" and waves is not None,
            always=True,
        )
    except RuntimeError as error:
        raise HardwareError(f"{simulator} could not build the bench: {error}") from None
    _keep_runtime(folder, runtime)
    for path in folder.rglob("*"):
        if path.suffix in _BY_PRODUCTS:
            path.unlink()


def _repeated(text: str, top: str) -> str:
    """Return the largest block's module that another one has many instances of, or nothing.

    Verilator compiles such a one once; by itself it writes code for each instance.
    """
    modules = dict(re.findall(r"^module (\w+)\((.*?)^endmodule", text, re.M | re.S))
    repeated = ""
    for body in modules.values():
        for name, count in Counter(re.findall(rf"^  ({top}_\w+) \w+ +\($", body, re.M)).items():
            larger = len(modules.get(name, "")) > len(modules.get(repeated, ""))
            if count >= _MANY and larger:
                repeated = name
    return repeated


def _keep_runtime(folder: Path, runtime: Path) -> None:
    """Keep what every build would compile anew: two thirds of its time."""
    objects = list(folder.glob("verilated*.o"))
    if not objects or runtime.is_dir():
        return
    beside = Path(tempfile.mkdtemp(prefix=".runtime-", dir=runtime.parent))
    for path in objects:
        shutil.copyfile(path, beside / path.name)
    try:
        beside.rename(runtime)
    except OSError:  # another process was first
        shutil.rmtree(beside, ignore_errors=True)


# -- what a build is made from ----------------------------------------------------------------


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _executable(simulator: str) -> str:
    """Return the simulator's program and when it was installed."""
    found = shutil.which(_EXECUTABLES[simulator][0], path=search_path())
    path = Path(found or "").resolve()
    return f"{path} {path.stat().st_mtime_ns}"


def _design_parts(design: Design | Written) -> list[str]:
    """Return what decides on a design's Verilog: its configuration, and all sources."""
    root = Path(__file__).resolve().parents[2]
    folders = {root / "golden", root / "rtl", Path(inspect.getfile(design.make)).resolve().parent}
    sources = sorted({path for folder in folders for path in folder.rglob("*.py")})
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return [design.top, json.dumps(design.config.to_dict()), digest.hexdigest()]
