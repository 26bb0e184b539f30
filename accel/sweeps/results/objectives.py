"""What a sweep looks for: figures of a point, each with the direction that is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from accel.costs.area import Area, AreaTable, Cells
from accel.sweeps.results.store import Row
from accel.sweeps.space.point import Point
from golden.errors import UserError, look_up

__all__ = ["OBJECTIVES", "SHORT", "Objective", "area_of", "find_objectives", "measure"]


@dataclass(frozen=True)
class Objective:
    """A figure to make small, or large.

    Parameters
    ----------
    name : str
    summary : str
        What it is, with its unit.
    smaller_is_better : bool
    of : function of list of (Row, weight), clock in MHz
        Returns the figure of a point from its rows, one for each network; None where there is no
        estimate.
    needs_clock : bool
    is_area : bool
        Cells, which may be an estimate.
    """

    name: str
    summary: str
    smaller_is_better: bool
    of: Callable[[Sequence[tuple[Row, float]], float | None], float | None]
    needs_clock: bool = False
    is_area: bool = False
    needs_counts: bool = False


def _sum(figure: Callable[[Mapping[str, Any]], float]) -> Callable[..., float]:
    """Add a figure up over networks, each with its weight."""

    def total(rows: Sequence[tuple[Row, float]], clock_mhz: float | None) -> float:
        del clock_mhz
        parts = [figure(row.figures["modes"][row.mode]) for row, _ in rows]
        if all(weight == 1 for _, weight in rows):
            return sum(parts)
        return sum(part * weight for part, (_, weight) in zip(parts, rows, strict=True))

    return total


def _cells(name: str) -> Callable[..., float | None]:
    def count(rows: Sequence[tuple[Row, float]], clock_mhz: float | None) -> float | None:
        del clock_mhz
        area = area_of(rows[0][0])
        return None if area is None else getattr(area.cells, name)

    return count


def _images_per_second(rows: Sequence[tuple[Row, float]], clock_mhz: float | None) -> float:
    assert clock_mhz is not None
    cycles = sum(
        weight * row.figures["modes"][row.mode]["cycles"] / row.images for row, weight in rows
    )
    return clock_mhz * 1e6 * sum(weight for _, weight in rows) / cycles


def _energy(timing: Mapping[str, Any]) -> float:
    return sum(timing["energy"].values())


def _dram(timing: Mapping[str, Any]) -> int:
    return sum(timing["dram"].values())


#: All objectives by name.
OBJECTIVES = {
    each.name: each
    for each in (
        Objective("cycles", "cycles of all images", True, _sum(lambda timing: timing["cycles"])),
        Objective(
            "images_per_second", "images a second at a clock", False, _images_per_second, True
        ),
        Objective(
            "energy_pj",
            "energy of all images, DRAM too, in pJ",
            True,
            _sum(_energy),
            needs_counts=True,
        ),
        Objective(
            "dram_bytes", "bytes to and from DRAM, all images", True, _sum(_dram), needs_counts=True
        ),
        Objective("lut4", "4-input tables of an ECP5", True, _cells("lut4"), is_area=True),
        Objective("ff", "flip-flops", True, _cells("ff"), is_area=True),
        Objective("block_ram", "block RAMs of 18 kbit", True, _cells("dp16kd"), is_area=True),
        Objective("dsp", "multipliers of 18 x 18 bit", True, _cells("mult18"), is_area=True),
    )
}  # fmt: skip


#: What one says for the tables of an ECP5.
SHORT = {"luts": "lut4"}


def find_objectives(names: Sequence[str], clock_mhz: float | None) -> list[Objective]:
    """Return objectives by name.

    Raises
    ------
    UserError
        There is none, one is unknown or given twice, or one needs a clock.
    """
    if not names or len(set(names)) != len(names):
        raise UserError(f"Objectives must be at least 1, each once, not {', '.join(names)!r}")
    found = [look_up("Objective", OBJECTIVES, SHORT.get(name, name)) for name in names]
    for each in found:
        if each.needs_clock and not (clock_mhz and clock_mhz > 0):
            raise UserError(f"Objective {each.name} must have a clock in MHz above 0")
    return found


def measure(
    objectives: Sequence[Objective],
    rows: Sequence[tuple[Row, float]],
    clock_mhz: float | None,
) -> list[float | None] | None:
    """Return a point's figures; None where a row of it is not ``ok``."""
    if any(row.status != "ok" for row, _ in rows):
        return None
    return [each.of(rows, clock_mhz) for each in objectives]


def area_of(row: Row) -> Area | None:
    """Return a point's cells, synthesised or estimated; None where there is no estimate."""
    if cells := row.figures.get("cells"):
        return Area(cells=Cells(**cells), kind="synthesis", note="")
    point = row.point
    return _area(point.canonical(), point.machine, tuple(point.config.items()))


@cache
def _area(canonical: str, machine: str, config: tuple[tuple[str, Any], ...]) -> Area | None:
    del canonical
    return _table().sized_area(Point(machine, dict(config)).load())


@cache
def _table() -> AreaTable:
    return AreaTable.load()
