"""A design as its JSON side-car describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["Description"]

#: The folder that the package was written into, beside Verilog, side-car and vectors.
FOLDER = Path(__file__).resolve().parents[1]


class Description:
    """What a bench must know of a design.

    Parameters
    ----------
    path : path, optional
        The side-car; the only one in the folder that this package was written into where None.

    Attributes
    ----------
    top : str
        Name of the top module.
    registers : dict of str to int
        Address of every register by name; counters of units as ``unit3.busy_cycles``.
    counters : list of str
        Names of all counters, in the order of their addresses.
    targets : dict of str to int
        Numbers of what the load stream fills.
    read_cycles, start_cycles : int
        Cycles from an address to its data; from the write of control to the fall of ``done``.
    outputs : dict of str to (first bit, bits)
        Fields of an output beat.
    inputs : list of str
        Input ports but the clock.
    raw : dict
        All of the side-car.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        if path is None:
            (path,) = FOLDER.glob("*.json")
        raw: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.raw = raw
        self.top: str = raw["top"]
        self.registers: dict[str, int] = raw["registers"]
        named = set(raw["counters"]["top"])
        self.counters = [name for name in self.registers if name in named or "." in name]
        self.targets = {name: one["number"] for name, one in raw["load_targets"].items()}
        self.read_cycles: int = raw["register_cycles"]["read"]
        self.start_cycles: int = raw["register_cycles"]["start"]
        self.outputs = {name: (first, bits) for name, (first, bits) in raw["output_stream"].items()}
        self.inputs = [
            port["name"]
            for port in raw["ports"]
            if port["direction"] == "input" and port["name"] != "clk"
        ]

    def fields(self, beat: int) -> dict[str, int]:
        """Return the fields of an output beat by name."""
        return {
            name: beat >> first & (1 << bits) - 1 for name, (first, bits) in self.outputs.items()
        }
