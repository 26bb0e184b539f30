"""Energy of a layer: what a machine counted, times a table with a source for every row.

On-chip buffers: the energy of a bit is interpolated between the table's capacities, linear in
the logarithms of both (dynamic energy of an SRAM grows as a power of its size); outside the table
the nearest row counts. Not modelled: control logic, joins and selectors, wires between buffers,
clock trees and leakage; so machines with much logic a multiplication look better than they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel.costs.tables import read_table
from accel.machines.machine import LayerCounts
from golden.errors import FormatError, UserError

__all__ = ["Energy", "EnergyTable", "node_names"]

_COLUMNS = ("node", "item", "value_pj", "bits", "capacity_bytes", "source", "confidence")
_ITEMS = ("multiply", "add", "buffer", "dram")
_CONFIDENCES = ("read", "recalled")


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of a layer, or of several, by where it goes."""

    multiply_pj: float = 0.0
    add_pj: float = 0.0
    buffer_pj: float = 0.0
    dram_pj: float = 0.0

    @property
    def on_chip_pj(self) -> float:
        return self.multiply_pj + self.add_pj + self.buffer_pj

    @property
    def total_pj(self) -> float:
        return self.on_chip_pj + self.dram_pj

    def __add__(self, other: Energy) -> Energy:
        return Energy(
            multiply_pj=self.multiply_pj + other.multiply_pj,
            add_pj=self.add_pj + other.add_pj,
            buffer_pj=self.buffer_pj + other.buffer_pj,
            dram_pj=self.dram_pj + other.dram_pj,
        )


@dataclass(frozen=True)
class _Row:
    node: str
    item: str
    value_pj: float
    bits: int
    capacity_bytes: int | None
    source: str


class EnergyTable:
    """Energies of one technology node.

    Parameters
    ----------
    rows : list
        Rows of that node, checked.
    """

    def __init__(self, node: str, rows: list[_Row]) -> None:
        self.node = node
        self._rows = rows
        buffers = sorted(
            (row.capacity_bytes, row.value_pj / row.bits)
            for row in rows
            if row.item == "buffer" and row.capacity_bytes is not None
        )
        for item in _ITEMS:
            if not any(row.item == item for row in rows):
                raise FormatError(f"Energy table must have item {item} for node {node}, not none")
        self._log_capacity = np.log([capacity for capacity, _ in buffers])
        self._log_pj_bit = np.log([pj for _, pj in buffers])
        self._known_pj_bit: dict[int, float] = {}

    @classmethod
    def load(cls, node: str, path: str | Path | None = None) -> EnergyTable:
        """Read a node's rows from a table, by default the shipped one.

        Raises
        ------
        FormatError
            A row has no source, unit or node, or a value that is not positive.
        UserError
            The table can't be read, or has no such node.
        """
        rows = _read(path)
        nodes = sorted({row.node for row in rows})
        if node not in nodes:
            raise UserError(f"Technology node must be one of {', '.join(nodes)}, not {node!r}")
        return cls(node, [row for row in rows if row.node == node])

    @property
    def sources(self) -> list[str]:
        """What the figures come from, a line a row."""
        return [
            f"{row.item}{f' {row.capacity_bytes} B' if row.capacity_bytes else ''}: "
            f"{row.value_pj} pJ for {row.bits} bits, {row.source}"
            for row in self._rows
        ]

    def buffer_pj_per_bit(self, capacity_bytes: int) -> float:
        """Return the energy of a bit read from or written to a buffer of that size."""
        if capacity_bytes not in self._known_pj_bit:
            log = np.interp(np.log(max(1, capacity_bytes)), self._log_capacity, self._log_pj_bit)
            self._known_pj_bit[capacity_bytes] = float(np.exp(log))
        return self._known_pj_bit[capacity_bytes]

    def energy(self, counts: LayerCounts) -> Energy:
        """Return the energy of what a machine counted."""
        multiply, add, dram = (self._one(item) for item in ("multiply", "add", "dram"))
        return Energy(
            multiply_pj=(counts.pairs + counts.stray_pairs) * multiply.value_pj,
            add_pj=counts.additions * add.value_pj,
            buffer_pj=sum(
                access.bits * self.buffer_pj_per_bit(access.capacity_bytes)
                for access in counts.accesses
            ),
            dram_pj=8 * counts.dram.total_bytes * dram.value_pj / dram.bits,
        )

    def _one(self, item: str) -> _Row:
        return next(row for row in self._rows if row.item == item)


def node_names() -> list[str]:
    """Return the technology nodes of the shipped table, sorted."""
    return sorted({row.node for row in _read(None)})


def _read(path: str | Path | None) -> list[_Row]:
    return read_table("energy", _COLUMNS, _row, path)


def _row(line: dict[str, str], where: str) -> _Row:
    """Check a row: an energy without node, unit and source is worth nothing."""
    for name in ("node", "source"):
        if not line[name].strip():
            raise FormatError(f"Energy table {where} must have a {name}, not none")
    for name, accepted in (("item", _ITEMS), ("confidence", _CONFIDENCES)):
        if line[name] not in accepted:
            raise FormatError(
                f"Energy table {where}: {name} must be one of {', '.join(accepted)}, "
                f"not {line[name]!r}"
            )
    try:
        value, bits = float(line["value_pj"]), int(line["bits"])
        capacity = int(line["capacity_bytes"]) if line["capacity_bytes"] else None
    except ValueError as error:
        raise FormatError(f"Energy table {where} must hold numbers: {error}") from None
    if not 0 < value < float("inf") or bits < 1 or (capacity is not None and capacity < 1):
        raise FormatError(f"Energy table {where} must hold positive numbers")
    if (capacity is not None) != (line["item"] == "buffer"):
        raise FormatError(f"Energy table {where}: capacity_bytes belongs to a buffer, and must")
    return _Row(line["node"], line["item"], value, bits, capacity, line["source"])
