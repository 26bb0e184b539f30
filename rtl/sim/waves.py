"""Waves of a run: which blocks are dumped, and set-up files for the programs that show them.

Waves are FST, written by the simulator itself. The bench's own signals, which are the design's
ports, are always there; of the design the chosen blocks, with all that is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden.errors import UserError
from golden.files import check_writable, write_whole

__all__ = ["Waves", "control_file", "dump_verilog", "find_blocks", "keep"]

#: What GTKWave's save files call a format: a bit, or a bus in hexadecimal.
_BIT, _BUS, _COMMENT = "@28", "@22", "@200"
#: Blocks that a message names.
_SHOWN = 16


@dataclass(frozen=True)
class Waves:
    """What is to be kept of a run.

    Parameters
    ----------
    path : Path
        The FST; set-up files lie beside it.
    blocks : tuple of str
        Blocks of the design that are dumped, such as ``unit0`` or ``unit0.mac``; all of it where
        empty.

    Raises
    ------
    UserError
        The file is not an FST, or can't be written.
    """

    path: Path
    blocks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.path.suffix != ".fst":
            raise UserError(f"Waves must be a .fst file, not {str(self.path)!r}")
        for path in (self.path, *self.setup_paths):
            check_writable(path, f"Output {path}")

    @property
    def setup_paths(self) -> tuple[Path, Path]:
        """Set-up files: GTKWave's, and commands for Surfer."""
        return self.path.with_suffix(".gtkw"), self.path.with_suffix(".sucl")


def find_blocks(text: str, top: str, blocks: Sequence[str]) -> tuple[str, ...]:
    """Return where blocks are in the Verilog of a design, as full paths.

    Parameters
    ----------
    text, top : str
        The Verilog, and its top module.
    blocks : sequence of str
        Each a path, or the end of one: the outermost block of that name is meant, and of several
        as far out the one with most blocks in it.

    Raises
    ------
    UserError
        There is no such block, or several that fit as well.
    """
    paths = sorted(_paths(text, top), key=lambda path: path.count("."))

    def place(path: str) -> tuple[int, int]:
        return path.count("."), -sum(other.startswith(f"{path}.") for other in paths)

    found: list[str] = []
    for block in blocks:
        fitting = [path for path in paths if f".{path}".endswith(f".{block}")]
        best = min(map(place, fitting), default=None)
        nearest = [path for path in fitting if place(path) == best]
        if len(nearest) != 1:
            known = nearest or paths
            shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
            raise UserError(f"Signals must be of a block such as {shown}, not {block!r}")
        found += nearest
    return tuple(found)


def dump_verilog(blocks: Sequence[str]) -> str:
    """Return what the bench has in it, so that ``+waves=FILE`` dumps."""
    scopes = [f"$dumpvars(0, dut.{block});" for block in blocks] or ["$dumpvars(0, dut);"]
    lines = "\n".join(f"    {scope}" for scope in ("$dumpvars(1, bench);", *scopes))
    return f"""\
  reg [8*1024-1:0] waves;
  initial if ($value$plusargs("waves=%s", waves)) begin
    $dumpfile(waves);
{lines}
  end
"""


def control_file(blocks: Sequence[str]) -> str:
    """Return what has Verilator dump these blocks: it does not heed scopes of ``$dumpvars``."""
    scopes = [f'tracing_on -scope "bench.dut.{block}"' for block in blocks]
    return "\n".join(
        [
            "`verilator_config",
            'tracing_off -scope "*"',
            'tracing_on -scope "bench" -levels 1',
            *(scopes or ['tracing_on -scope "bench.dut"']),
            "",
        ]
    )


def keep(waves: Waves, dumped: Path, text: str, top: str) -> None:
    """Write what the simulator dumped, and the set-up files, where they are to be kept.

    Parameters
    ----------
    dumped : Path
        The simulator's FST.
    text, top : str
        Verilog of the design, and its top module.

    Raises
    ------
    UserError
        A file can't be written.
    """
    groups = {"bench": list(_ports(text, top))}
    for block in find_blocks(text, top, waves.blocks):
        module = top
        for name in block.split("."):
            module = _instances(text, module)[name]
        groups[f"bench.dut.{block}"] = list(_ports(text, module))
    gtkwave, surfer = waves.setup_paths
    write_whole(waves.path, dumped.read_bytes(), f"Output {waves.path}")
    write_whole(gtkwave, _gtkwave(waves.path.name, groups), f"Output {gtkwave}")
    write_whole(surfer, _surfer(groups), f"Output {surfer}")


def _gtkwave(dump: str, groups: dict[str, list[tuple[str, int]]]) -> str:
    lines = [f'[dumpfile] "{dump}"', "[timestart] 0"]
    for scope, ports in groups.items():
        lines += [_COMMENT, f"-{scope}"]
        for name, bits in ports:
            full = f"{scope}.{name}"
            lines += [_BIT, full] if bits == 1 else [_BUS, f"{full}[{bits - 1}:0]"]
    return "\n".join([*lines, ""])


def _surfer(groups: dict[str, list[tuple[str, int]]]) -> str:
    lines: list[str] = []
    for scope, ports in groups.items():
        lines += [f"divider_add {scope}", *(f"variable_add {scope}.{name}" for name, _ in ports)]
    return "\n".join([*lines, "zoom_fit", ""])


# -- the Verilog that is dumped ---------------------------------------------------------------


def _body(text: str, module: str) -> str:
    start = text.index(f"\nmodule {module}(") + 1
    return text[start : text.index("\nendmodule", start)]


def _instances(text: str, module: str) -> dict[str, str]:
    """Return the blocks in a module: instance to its module; memories are none."""
    found = re.findall(r"^  (\w+) (\w+) \($", _body(text, module), re.M)
    return {name: kind for kind, name in found if f"\nmodule {kind}(" in text}


def _paths(text: str, module: str, before: str = "") -> Iterator[str]:
    """Yield the path of every block below a module."""
    for name, kind in _instances(text, module).items():
        yield f"{before}{name}"
        yield from _paths(text, kind, f"{before}{name}.")


def _ports(text: str, module: str) -> Iterator[tuple[str, int]]:
    """Yield name and bits of each port of a module."""
    declared = r"^  (?:input|output) (?:reg )?(?:\[(\d+):0\] )?(\w+);$"
    for high, name in re.findall(declared, _body(text, module), re.M):
        yield name, int(high or 0) + 1
