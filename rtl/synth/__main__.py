"""Logic cells and clock of the hardware on an ECP5: ``python -m rtl.synth``.

Each block is synthesised by yosys (``synth_ecp5``) and placed and routed by nextpnr on an
LFE5U-85F, speed grade 6, with several seeds; ``--seeds 0`` stops after synthesis. Its inputs come
from flip-flops of a wrapper and its outputs go to such, so that pins neither count nor limit; the
wrapper's cells are not counted. A machine's name stands for all its blocks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from golden.config import TomlConfig
from golden.errors import UserError
from golden.machines import registry
from rtl.block import Block
from rtl.synth.blocks import machine_blocks
from rtl.synth.measure import Figures, measure
from rtl.synth.synthesis import SynthesisError

__all__ = ["main"]


def _print_table(name: str, results: list[Figures]) -> None:
    from rich.console import Console
    from rich.table import Table

    seeds = list(results[0].megahertz)
    how = ", speed grade 6, placed and routed" if seeds else ", synthesised"
    table = Table(title=f"{name} on LFE5U-85F{how}")
    table.add_column("block")
    names = ["LUT4", "FF", "CCU2C", "DPR16X4", "DP16KD", "MULT18"]
    if seeds:
        names += ["table sites", *(f"MHz, seed {seed}" for seed in seeds), "worst"]
    for column in names:
        table.add_column(column, justify="right")
    for one in results:
        cells = [one.lut4, one.ff, one.ccu2c, one.dpr16x4, one.dp16kd, one.mult18]
        if seeds:
            clock = [f"{one.megahertz[seed]:.1f}" for seed in seeds]
            cells += [one.table_sites, *clock, f"{one.worst_megahertz:.1f}"]
        table.add_row(one.block, *map(str, cells))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    for one in results:
        if seeds:
            console.print(f"{one.block}: slowest path {one.slowest_path}", soft_wrap=True)


def _chosen(names: Sequence[str]) -> dict[str, Block]:
    """Return the blocks of some names, all of one kind of configuration."""
    machines = machine_blocks()
    known = {name: block for blocks in machines.values() for name, block in blocks.items()}
    if unknown := [name for name in names if name not in known and name not in machines]:
        accepted = ", ".join((*known, *machines))
        raise SynthesisError(f"Block must be one of {accepted}, not {unknown[0]!r}")
    chosen: dict[str, Block] = {}
    for name in names or [registry.DEFAULT]:
        chosen |= machines[name] if name in machines else {name: known[name]}
    first, *others = chosen
    for name in others:
        if chosen[name].config is not chosen[first].config:
            raise SynthesisError(f"Blocks must be of one machine, not {first} and {name}")
    return chosen


def _fit(config: TomlConfig, blocks: Sequence[Block]) -> TomlConfig:
    """Return a machine that leaves room on the device; say what it changes."""
    changes = {name: value for block in blocks for name, value in block.fit(config).items()}
    for name, value in changes.items():
        print(f"{name}: {value}, to fit the device", file=sys.stderr)
    return config.replace(**changes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.synth", description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="block", help="a block's name, or a machine's")
    parser.add_argument("--preset", help="the machine (default: the first block's own)")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, 0 to synthesise only")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time (default: 1)")
    parser.add_argument("--mhz", type=int, help="clock to ask for (default: the block's own)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        blocks = _chosen(options.blocks)
        for name, least in (("seeds", 0), ("jobs", 1), ("mhz", 1)):
            if (given := getattr(options, name)) is not None and given < least:
                raise SynthesisError(f"--{name} must be at least {least}, not {given}")
        first = next(iter(blocks.values()))
        config = first.config.preset(options.preset or first.preset)
        config = _fit(config, list(blocks.values()))
        seeds = range(1, options.seeds + 1)
        results = [
            measure(name, block, config, seeds, options.jobs, options.mhz)
            for name, block in blocks.items()
        ]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"config": config.to_dict(), "blocks": list(map(asdict, results))}))
    else:
        _print_table(config.to_dict()["name"], results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
