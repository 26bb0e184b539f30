"""Layers on the generated Verilog, under Icarus or Verilator, driven by cocotb.

A build is kept in the user's cache, by the hash of all that went into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from golden.environment import environment
from golden.errors import UserError
from rtl.bench import bench_verilog
from rtl.design import Design
from rtl.driver import ClusterProgram, HardwareError

__all__ = ["cache_folder", "require_simulator", "run_programs"]

_EXECUTABLES = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "make", "g++")}
_ADVICE = {
    "icarus": "apt-get install iverilog (11 or later)",
    "verilator": "install Verilator 5.036 or later, make and g++ (README, Hardware)",
}
_BUILD_ARGUMENTS = {
    "icarus": ["-g2012"],
    # Only the bench is visible to cocotb: with the whole design public nothing is optimised.
    "verilator": ["--no-public-flat-rw", "--public-depth", "1", "-Wno-fatal", "-Wno-lint",
                  "-Wno-style", "--x-assign", "fast", "--x-initial", "fast", "--noassert",
                  "-O3"],
}  # fmt: skip
#: Sum of the programs' cycle limits from which compiling the model well pays: whole layers.
_LONG_CYCLES = 4_000_000
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
        if shutil.which(executable) is None:
            raise UserError(
                f"Simulator {simulator} needs {executable}, which is not installed: "
                f"{_ADVICE[simulator]}"
            )


def cache_folder() -> Path:
    """Return the folder that keeps builds."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "innerjoin" / "cosim"


def _build_arguments(simulator: str, programs: list[ClusterProgram]) -> list[str]:
    """Return the arguments of a build: short programs take less time than optimising for them."""
    arguments = list(_BUILD_ARGUMENTS[simulator])
    if simulator == "verilator":
        long = sum(program.cycle_limit for program in programs) > _LONG_CYCLES
        arguments += ["-CFLAGS", "-O2" if long else "-O0"]
    return arguments


def _build(design: Design, simulator: str, arguments: list[str]) -> Path:
    """Return the folder with the built bench; build it where it is not in the cache."""
    import cocotb
    from cocotb_tools.runner import get_runner

    sources = {f"{design.top}.v": design.verilog(), "bench.sv": bench_verilog(design)}
    key = hashlib.sha256()
    executable = shutil.which(_EXECUTABLES[simulator][0]) or ""
    for part in (*sources.values(), simulator, *arguments, cocotb.__version__,
                 str(Path(executable).resolve())):  # fmt: skip
        key.update(part.encode())
    built = cache_folder() / key.hexdigest()[:24]
    if built.is_dir():
        return built
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".build-", dir=built.parent))
    except OSError as error:
        raise UserError(f"Folder {built.parent} can't be written: {error.strerror}") from None
    try:
        for name, text in sources.items():
            (folder / name).write_text(text, encoding="utf-8")
        log = folder / "build.log"
        runtime = _runtime_folder(simulator, arguments)
        cached = folder / "cached-compiler"
        cached.write_text(_CACHED_COMPILER, encoding="ascii")
        cached.chmod(0o755)
        variables = {"RUNTIME_FOLDER": str(runtime)}
        if "OBJCACHE" not in os.environ:
            variables["OBJCACHE"] = str(cached)
        try:
            with environment(variables):
                get_runner(simulator).build(
                    sources=[folder / name for name in sources],
                    hdl_toplevel="bench",
                    build_dir=folder,
                    build_args=arguments,
                    always=True,
                    log_file=log,
                )
        except (SystemExit, RuntimeError, OSError) as error:
            tail = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
            raise HardwareError(f"{simulator} could not build the bench: {error}\n{tail}") from None
        _keep_runtime(folder, runtime)
        with contextlib.suppress(OSError):  # another process was first
            folder.rename(built)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return built


def _runtime_folder(simulator: str, arguments: list[str]) -> Path:
    """Return the folder that keeps the compiled runtime library of a simulator."""
    import cocotb

    executable = Path(shutil.which(_EXECUTABLES[simulator][0]) or "").resolve()
    parts = (str(executable), cocotb.__version__, *arguments)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return cache_folder() / f"runtime-{key[:16]}"


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


def _commands(design: Design, programs: list[ClusterProgram], slack: int) -> str:
    """Return the command file of some programs."""
    lines, registers = [], design.registers

    def write(name: str, value: int) -> None:
        lines.append(f"1 {registers[name] << 32 | value:x}")

    for program in programs:
        for target, name in enumerate(design.load_targets):
            write("load_target", target)
            write("load_address", 0)
            lines.append("4 1")  # lets the address settle
            lines += [f"2 {word:x}" for word in program.loads[name].tolist()]
            lines.append("4 1")
        for name, value in program.registers.items():
            write(name, value)
        write("control", 1)
        lines.append(f"3 {program.cycle_limit * slack:x}")
        lines += [f"4 {address:x}" for address in registers.values()]
    return "\n".join(lines) + "\n"


def run_programs(
    design: Design,
    programs: list[ClusterProgram],
    simulator: str,
    stalls: int | None = None,
) -> list[tuple[list[int], dict[str, int]]]:
    """Run programs one after another on one instance of a design.

    Parameters
    ----------
    simulator : str
        ``icarus`` or ``verilator``.
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none.

    Returns
    -------
    list of (output beats as integers, counters by name)

    Raises
    ------
    UserError
        The simulator is not installed, or the cache can't be written.
    HardwareError
        The cluster was not done in time, or left filter beats.
    """
    # This Python's own folder is searched too: its environment may not be active.
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    with environment({"PATH": path}):
        require_simulator(simulator)
        return _run(design, programs, simulator, stalls)


def _run(
    design: Design, programs: list[ClusterProgram], simulator: str, stalls: int | None
) -> list[tuple[list[int], dict[str, int]]]:
    from cocotb_tools.runner import get_runner

    built = _build(design, simulator, _build_arguments(simulator, programs))
    with tempfile.TemporaryDirectory(prefix="cosim-") as name:
        folder = Path(name)
        slack = 1 if stalls is None else 8
        (folder / "commands").write_text(_commands(design, programs, slack), encoding="ascii")
        with open(folder / "beats", "w", encoding="ascii") as file:
            for program in programs:
                file.writelines(f"{beat[::-1].tobytes().hex()}\n" for beat in program.beats)
        plusargs = [f"+{part}={folder / part}" for part in ("commands", "beats", "results")]
        if stalls is not None:
            plusargs.append(f"+stalls={stalls}")
        log = folder / "run.log"
        try:
            get_runner(simulator).test(
                test_module="rtl.cocotb_bench",
                hdl_toplevel="bench",
                hdl_toplevel_lang="verilog",
                build_dir=built,
                test_dir=folder,
                plusargs=plusargs,
                log_file=log,
            )
        except (SystemExit, RuntimeError, OSError) as error:
            tail = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
            raise HardwareError(f"{simulator} did not run the bench: {error}\n{tail}") from None
        text = (folder / "results").read_text(encoding="ascii")
    return _read_results(text, programs, design.registers)


def _read_results(
    text: str, programs: list[ClusterProgram], registers: dict[str, int]
) -> list[tuple[list[int], dict[str, int]]]:
    results: list[tuple[list[int], dict[str, int]]] = []
    beats: list[int] = []
    values: list[int] = []
    waited = False  # what is read before the wait only lets time pass
    names = list(registers)
    for line in text.splitlines():
        kind, _, value = line.partition(" ")
        if kind in "or" and set(value.lower()) & {"x", "z"}:
            if kind == "o" or waited:
                raise HardwareError(f"The cluster gave undefined bits: {line}")
        if kind == "o":
            beats.append(int(value, 16))
        elif kind == "d":
            waited, values = True, []
        elif kind == "r" and waited:
            values.append(int(value, 16))
            if len(values) == len(names):
                results.append((beats, dict(zip(names, values, strict=True))))
                beats, waited = [], False
        elif kind == "t":
            raise HardwareError("The cluster was not done in time")
        elif kind == "f":
            wanted = sum(len(program.beats) for program in programs)
            if int(value) != wanted:
                raise HardwareError(f"The cluster took {value} filter beats of {wanted}")
    if beats or len(results) != len(programs):
        raise HardwareError("The cluster gave output beats after it was done")
    return results
