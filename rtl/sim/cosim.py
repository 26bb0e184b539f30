"""Programs on the generated Verilog, under Icarus or Verilator, driven by cocotb."""

from __future__ import annotations

import tempfile
from pathlib import Path

from golden.errors import HardwareError
from rtl.host import Design, Program, Result
from rtl.sim import runner
from rtl.sim.bench import bench_verilog
from rtl.sim.build import build, require_simulator, require_waves, search_path
from rtl.sim.waves import Waves, keep

__all__ = ["run_programs"]

#: Sum of the programs' cycle limits from which compiling the model well pays: whole layers.
_LONG_CYCLES = 4_000_000


def run_programs(
    design: Design,
    programs: list[Program],
    simulator: str,
    stalls: int | None = None,
    waves: Waves | None = None,
    text: str | None = None,
) -> list[Result]:
    """Run programs one after another on one instance of a design.

    Parameters
    ----------
    simulator : str
        ``icarus`` or ``verilator``.
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none.
    waves : Waves, optional
        What is kept of the run, also where it fails.
    text : str, optional
        Verilog that is simulated in place of the design's own: a netlist and its cells.

    Raises
    ------
    UserError
        The simulator is not installed, the cache or the waves can't be written, or the design
        has no such block.
    HardwareError
        The design was not done in time, or left filter beats.
    """
    require_simulator(simulator)
    if waves is not None:
        require_waves(simulator)
    long = sum(program.cycle_limit for program in programs) > _LONG_CYCLES
    blocks = None if waves is None else waves.blocks
    bench = bench_verilog(design)
    built = build(design, simulator, bench, long=long, waves=blocks, text=text)
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
        dumped = folder / "waves.fst"
        if waves is not None:
            plusargs.append(f"+waves={dumped}")
        try:
            runner.run(
                simulator,
                "test",
                {"PATH": search_path()},
                folder,
                test_module="rtl.sim.cocotb_bench",
                hdl_toplevel="bench",
                hdl_toplevel_lang="verilog",
                build_dir=str(built),
                test_dir=str(folder),
                plusargs=plusargs,
                # The bench dumps; Icarus must be told that it is an FST.
                waves=simulator == "icarus" and waves is not None,
            )
        except RuntimeError as error:
            raise HardwareError(f"{simulator} did not run the bench: {error}") from None
        finally:
            if waves is not None and dumped.exists():
                text = (built / f"{design.top}.v").read_text(encoding="utf-8")
                keep(waves, dumped, text, design.top)
        text = (folder / "results").read_text(encoding="ascii")
    return _read_results(text, programs, list(design.registers.counter_addresses))


def _commands(design: Design, programs: list[Program], slack: int) -> str:
    """Return the command file of some programs."""
    lines, addresses = [], design.registers.addresses

    def write(name: str, value: int) -> None:
        lines.append(f"1 {addresses[name] << 32 | value:x}")

    for program in programs:
        for target, name in enumerate(design.load_rows):
            write("load_target", target)
            write("load_address", 0)
            lines.append("4 1")  # lets the address settle
            lines += [f"2 {word:x}" for word in program.loads[name].tolist()]
            lines.append("4 1")
        for name, value in program.registers.items():
            write(name, value)
        write("control", 1)
        lines.append(f"3 {program.cycle_limit * slack:x}")
        lines += [f"4 {address:x}" for address in design.registers.counter_addresses.values()]
    return "\n".join(lines) + "\n"


def _read_results(text: str, programs: list[Program], names: list[str]) -> list[Result]:
    results: list[Result] = []
    beats: list[int] = []
    values: list[int] = []
    waited = False  # what is read before the wait only lets time pass
    for line in text.splitlines():
        kind, _, value = line.partition(" ")
        if kind in "or" and set(value.lower()) & {"x", "z"} and (kind == "o" or waited):
            raise HardwareError(f"The design gave undefined bits: {line}")
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
            raise HardwareError("The design was not done in time")
        elif kind == "f":
            wanted = sum(len(program.beats) for program in programs)
            if int(value) != wanted:
                raise HardwareError(f"The design took {value} filter beats of {wanted}")
    if beats or len(results) != len(programs):
        raise HardwareError("The design gave output beats after it was done")
    return results
