"""Cells of a machine on an ECP5: measured where it has hardware here, else an estimate.

Rows of ``data/area.csv`` are blocks as ``rtl.synth`` measured them. A row that names a machine is
the piece of hardware that this machine repeats: its area is so many of them, a *synthesis*. A
machine without such a row may say of which blocks it would consist (``estimate_area``): an
*estimate*, and always called so.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from accel.costs.fit import fitted_cells
from accel.costs.tables import read_table
from accel.machines.machine import Machine
from golden.errors import FormatError, look_up

__all__ = ["Area", "AreaTable", "Cells"]

#: Bytes that a block RAM (DP16KD, 18 kbit) holds without the ninth bits.
BLOCK_RAM_BYTES = 2048


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of an ECP5, or of several blocks together.

    Parameters
    ----------
    lut4, ff, ccu2c, dpr16x4, dp16kd, mult18 : int
        As in ``rtl.synth.Figures``: 4-input tables, flip-flops, 2-bit carry cells, 16 x 4 bit
        distributed RAMs, 18 kbit block RAMs, 18 x 18 bit multipliers.
    """

    lut4: int = 0
    ff: int = 0
    ccu2c: int = 0
    dpr16x4: int = 0
    dp16kd: int = 0
    mult18: int = 0

    def __add__(self, other: Cells) -> Cells:
        pairs = zip(fields(self), astuple(self), astuple(other), strict=True)
        return Cells(**{field.name: mine + theirs for field, mine, theirs in pairs})

    def times(self, count: int) -> Cells:
        """Return the cells of so many."""
        return Cells(**{field.name: count * getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Area:
    """Cells of a whole machine.

    Parameters
    ----------
    cells : Cells
    kind : str
        ``synthesis``: pieces of its own hardware; ``fit``: of its own hardware too, between sizes
        that were synthesised; ``estimate``: blocks it would consist of.
    note : str
        What is left out or differs.
    """

    cells: Cells
    kind: Literal["synthesis", "fit", "estimate"]
    note: str


@dataclass(frozen=True)
class _Row:
    block: str
    machine: str
    multipliers: int
    cells: Cells
    source: str
    note: str


class AreaTable:
    """Measured blocks.

    Parameters
    ----------
    rows : list
        Checked rows, each block once.
    """

    def __init__(self, rows: list[_Row]) -> None:
        self._blocks = {row.block: row for row in rows}
        self._machines = {row.machine: row for row in rows if row.machine}
        if len(self._blocks) < len(rows):
            raise FormatError("Area table must have each block once")

    @classmethod
    def load(cls, path: str | Path | None = None) -> AreaTable:
        """Read a table, by default the shipped one.

        Raises
        ------
        FormatError
            A row has no block, source, tools or date, or a count that is no natural number.
        UserError
            The table can't be read.
        """
        return cls(_read(path))

    def cells(self, block: str) -> Cells:
        """Return the cells of one block; UserError where it was not measured."""
        return look_up("Block", self._blocks, block).cells

    def sized_area(self, machine: Machine) -> Area | None:
        """Return a machine's cells at just its size where it has a fit, else its ``area``."""
        model = machine.area_model
        if model is None:
            return self.area(machine)
        cells, note = fitted_cells(model)
        return Area(cells=Cells(**cells), kind="fit", note=note)

    def area(self, machine: Machine) -> Area | None:
        """Return a machine's cells; None where neither hardware nor estimate has its size."""
        if row := self._machines.get(machine.name):
            pieces, rest = divmod(machine.multipliers, row.multipliers)
            cells = row.cells.times(pieces)
            return None if rest else Area(cells=cells, kind="synthesis", note=row.note)
        estimate = machine.estimate_area()
        if estimate is None:
            return None
        cells = Cells()
        for block, count in estimate.blocks.items():
            cells += self.cells(block).times(count)
        for size_bytes, count in estimate.buffers.items():
            cells += Cells(dp16kd=count * -(-size_bytes // BLOCK_RAM_BYTES))
        return Area(cells=cells, kind="estimate", note=estimate.note)


_CELLS = tuple(field.name for field in fields(Cells))
_COLUMNS = ("block", "machine", "multipliers", *_CELLS, "source", "tools", "date", "note")


def _read(path: str | Path | None) -> list[_Row]:
    return read_table("area", _COLUMNS, _row, path)


def _row(line: dict[str, str], where: str) -> _Row:
    """Check a row: cells of which nobody knows how they were counted are worth nothing."""
    for name in ("block", "source", "tools", "date"):
        if not line[name].strip():
            raise FormatError(f"Area table {where} must have a {name}, not none")
    for name in ("multipliers", *_CELLS):
        if not line[name].isdecimal():
            raise FormatError(f"Area table {where}: {name} must be a count, not {line[name]!r}")
    multipliers = int(line["multipliers"])
    if line["machine"] and not multipliers:
        raise FormatError(f"Area table {where}: a machine's piece must have multipliers, not 0")
    cells = Cells(**{name: int(line[name]) for name in _CELLS})
    return _Row(line["block"], line["machine"], multipliers, cells, line["source"], line["note"])
