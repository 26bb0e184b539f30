"""A whole network on the generated Verilog of a chip, under Icarus or Verilator."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.chip.config import ChipConfig
from golden.chip.memory import Memory
from golden.chip.program import ChipProgram
from golden.errors import HardwareError
from golden.program import Codes
from rtl.chip.bench import chip_bench_verilog
from rtl.chip.chip import Chip
from rtl.chip.core import Core
from rtl.chip.registers import Control, Status, register_map
from rtl.chip.status import Code
from rtl.host import Written
from rtl.sim import runner
from rtl.sim.build import build, require_simulator, search_path

__all__ = ["ChipRun", "run_chip"]

_TOP = "chip"
#: The memory is this long at least, so that small networks share a build.
_MEMORY_BYTES = 1 << 20
_MODELS = {"ideal": 0, "rate": 1, "sdram": 2}
#: Commands of the bench.
_OPS = {"write": 1, "pass": 2, "wait": 3, "read": 4, "reset": 5}
#: Networks of more cycles are worth compiling the model well.
_LONG_CYCLES = 50_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipRun:
    """A network that a chip has run.

    Parameters
    ----------
    registers : dict of str to int
        All that a host can read.
    octets : ndarray of uint8
        The memory.
    bursts : list of (int, int, int, int, int)
        1 of a write, address, bytes, cycles of request and response; in the order of responses.
    seen : list of int
        What was read before the end, where the host plays commands.
    """

    registers: dict[str, int]
    octets: NDArray[np.uint8] = field(repr=False)
    bursts: list[tuple[int, int, int, int, int]] = field(repr=False)
    seen: list[int] = field(default_factory=list)

    @property
    def code(self) -> int:
        """Why it ended: ``rtl.chip.status.Code``."""
        return self.registers["status"] >> Status.CODE & 0xFF

    def failure(self, program: ChipProgram) -> str:
        """Say in words why and where it ended; nothing where the network was done."""
        if not self.code:
            return ""
        number = self.registers["error_entry"]
        known = {code.value: code.name for code in Code}
        entry = program.entries[number]
        return (
            f"{known.get(self.code, self.code)} at entry {number}, {entry.kind.name} of layer "
            f"{program.layers[entry.layer].layer.name}, tile {entry.tile}"
        )


def chip_design(config: ChipConfig) -> Written:
    """Return the chip as it is written in Verilog."""

    def make() -> Chip:
        return Chip(config)

    return Written(
        top=_TOP, summary="a chip that runs networks from memory", config=config, make=make
    )


def run_chip(
    program: ChipProgram,
    codes: Codes,
    memory: Memory,
    simulator: str,
    cycle_limit: int,
    *,
    stalls: int | None = None,
    fails: int | None = None,
    commands: Sequence[tuple[str, int]] = (),
) -> ChipRun:
    """Run a network from one start.

    Parameters
    ----------
    codes : ndarray of int8 or uint8, axes y, x, channel
        The network's input.
    simulator : str
        ``icarus`` or ``verilator``.
    cycle_limit : int
        The network ends in fewer cycles.
    stalls : int, optional
        Seed of random pauses on every channel of the bus; cycles are another then.
    fails : int, optional
        Number of the burst that is answered with an error.
    commands : sequence of (str, int)
        What the host does before the start: ``start``, ``pass`` or ``reset`` for so many cycles,
        ``wait`` for the interrupt so long, ``read`` or ``write`` a register by its address, in
        the lower 32 bits a value.

    Raises
    ------
    UserError
        The simulator is not installed, or the cache can't be written.
    HardwareError
        The chip is not done in time, it reports an error though no burst ``fails``, or it breaks
        a rule of the bus.
    """
    require_simulator(simulator)
    octets = program.memory(codes)
    size = max(_MEMORY_BYTES, 1 << (octets.size - 1).bit_length())
    bench = chip_bench_verilog(program.config, _TOP, size)
    long = cycle_limit > _LONG_CYCLES
    built = build(chip_design(program.config), simulator, bench, long=long)
    with tempfile.TemporaryDirectory(prefix="chip-") as name:
        folder = Path(name)
        (folder / "commands").write_text(
            _commands(program, cycle_limit, commands), encoding="ascii"
        )
        (folder / "image").write_text("\n".join(map("{:02x}".format, octets.tolist())), "ascii")
        values: dict[str, object] = {"bytes": octets.size, "model": _MODELS[memory.kind]}
        values |= {f"n{at}": value for at, value in enumerate(memory.values)}
        values |= {"stalls": stalls} if stalls is not None else {}
        values |= {"fails": fails} if fails is not None else {}
        values |= {part: folder / part for part in ("commands", "image", "results", "output")}
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
                plusargs=[f"+{part}={value}" for part, value in values.items()],
            )
        except RuntimeError as error:
            raise HardwareError(f"{simulator} did not run the bench: {error}") from None
        run = _read_results(folder)
    if run.code and fails is None:
        raise HardwareError(f"The chip ended with {run.failure(program)}")
    return run


def _commands(program: ChipProgram, cycle_limit: int, before: Sequence[tuple[str, int]]) -> str:
    """Return the host's commands: what comes before, start, wait, read all."""
    addresses = {name: 4 * at for name, at in register_map(Core.COUNTERS).addresses.items()}
    header = program.image[:32].view("<u4").tolist()
    writes = {
        "list_address": header[2],
        "list_entries": header[3],
        "interrupt_enable": 1,
        "control": Control.START,
    }
    lines: list[str] = []
    for name, value in (*before, ("start", 0), ("wait", cycle_limit)):
        if name == "start":
            lines += [f"1 {addresses[key] << 32 | word:x}" for key, word in writes.items()]
        else:
            lines.append(f"{_OPS[name]} {value:x}")
    lines += [f"4 {address:x}" for address in addresses.values()]
    return "\n".join(lines) + "\n"


def _read_results(folder: Path) -> ChipRun:
    values: list[int] = []
    bursts: list[tuple[int, int, int, int, int]] = []
    for line in (folder / "results").read_text(encoding="ascii").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "r":
            if set(rest.lower()) & {"x", "z"}:
                raise HardwareError(f"The chip gave undefined bits: {line}")
            values.append(int(rest, 16))
        elif kind == "b":
            write, address, size, asked, there = map(int, rest.split())
            bursts.append((write, address, size, asked, there))
        elif kind == "t":
            raise HardwareError("The chip was not done in time")
        else:
            raise HardwareError(f"The chip broke a rule of the bus: {rest}")
    text = (folder / "output").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("//")]
    octets = np.array([int(word, 16) for line in lines for word in line.split()], dtype=np.uint8)
    names = register_map(Core.COUNTERS).addresses
    seen, last = values[: -len(names)], values[-len(names) :]
    return ChipRun(
        registers=dict(zip(names, last, strict=True)), octets=octets, bursts=bursts, seen=seen
    )
