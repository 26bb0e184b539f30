"""Cells and clock of a block on an ECP5."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from golden.config import TomlConfig
from rtl.block import Block
from rtl.synth.placement import leave_rows_free, place_and_route, place_rams, split_enables
from rtl.synth.synthesis import SynthesisError, synthesise

__all__ = ["Figures", "measure"]

#: Logic cells, block RAMs and multipliers of an LFE5U-85F.
_DEVICE_CELLS = {"TRELLIS_COMB": 83640, "DP16KD": 208, "MULT18X18D": 156}
#: Tables above which a block is a big one.
_BIG_LUT4 = 4000
#: For a big block: router1 takes ever longer for the arcs that are left and does not end; router2,
#: as it is, leaves detours on the slowest paths.
_BIG_ROUTER = ("--router", "router2", "--tmg-ripup")


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


def measure(
    name: str,
    block: Block,
    config: TomlConfig,
    seeds: Sequence[int],
    jobs: int = 1,
    mhz: int | None = None,
) -> Figures:
    """Synthesise, place and route a block of a machine.

    Parameters
    ----------
    name : str
        Name of the block.
    block : Block
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
    component = block.make(config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cells, wrapper_tables = synthesise(component, block.whole, folder)
        figures = Figures(
            block=name,
            lut4=cells.get("LUT4", 0),
            ff=cells.get("TRELLIS_FF", 0),
            ccu2c=cells.get("CCU2C", 0),
            dpr16x4=cells.get("TRELLIS_DPR16X4", 0),
            dp16kd=cells.get("DP16KD", 0),
            mult18=cells.get("MULT18X18D", 0),
        )
        if not seeds:
            return figures
        for kind, available in _DEVICE_CELLS.items():
            if cells.get(kind, 0) > available:
                raise SynthesisError(
                    f"Block {name} must need at most {available} {kind}, not {cells[kind]}"
                )
        netlist = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
        top, options, free_tables = netlist["modules"]["top"], (), 0
        split_enables(top)
        if block.places:
            place_rams(top, block.places)
        if block.sparse:
            free_tables = leave_rows_free(top)
        if figures.lut4 > _BIG_LUT4:
            options = (*_BIG_ROUTER, *block.placer)
        (folder / "netlist.json").write_text(json.dumps(netlist), encoding="utf-8")
        target = mhz or block.target_mhz

        def route(seed: int) -> dict:
            return place_and_route(folder, seed, target, options)

        with ThreadPoolExecutor(jobs) as pool:
            reports = dict(zip(seeds, pool.map(route, seeds), strict=True))
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


def _slowest_path(report: dict) -> str:
    path = report["critical_paths"][0]["path"]
    return f"{path[0]['from']['cell']} -> {path[-1]['to']['cell']}"
