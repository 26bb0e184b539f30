"""Vectors: what a design is given for a layer, and what it must give.

A folder of ``vectors/`` is a layer on one design of the machine, whose number ends its name:

- ``vector.json``: layer registers, counters, the most cycles that it takes, where it comes from;
- ``load_TARGET.hex``: words of the load stream, one a line;
- ``filters.hex``: beats of the filter stream, one a line;
- ``outputs.hex``, ``defined.hex``: beats of the output stream, and which bits of them count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .description import FOLDER

__all__ = ["Vector", "load_vector", "vector_names"]


@dataclass(frozen=True)
class Vector:
    """A program of a design, and its answer.

    Parameters
    ----------
    name : str
        Its folder, such as ``lenet5_conv2_0``.
    registers : dict of str to int
        Layer registers in the order in which they are written.
    loads : dict of str to list of int
        Words of the load stream by target, from row 0 on.
    filters : list of int
        Beats of the filter stream.
    outputs : list of (int, int)
        Beats of the output stream, and the bits of each that count.
    counters : dict of str to int
        Counters, where nobody stalls a stream.
    cycle_limit : int
        It takes fewer cycles where nobody stalls a stream.
    about : dict
        Where it comes from: network, layer, image, rows, skip mode.
    """

    name: str
    registers: dict[str, int]
    loads: dict[str, list[int]]
    filters: list[int]
    outputs: list[tuple[int, int]]
    counters: dict[str, int]
    cycle_limit: int
    about: dict[str, Any] = field(default_factory=dict)


def vector_names(folder: str | Path | None = None) -> list[str]:
    """Return the names of all vectors in a folder, ``vectors`` beside this package where None."""
    root = Path(folder or FOLDER / "vectors")
    found = [path.parent.name.rpartition("_") for path in root.glob("*/vector.json")]
    return [
        f"{name}_{number}" for name, _, number in sorted(found, key=lambda x: (x[0], int(x[2])))
    ]


def load_vector(name: str, folder: str | Path | None = None) -> Vector:
    """Return a vector by its name."""
    place = Path(folder or FOLDER / "vectors") / name
    known = json.loads((place / "vector.json").read_text(encoding="utf-8"))
    outputs, defined = (_numbers(place / f"{part}.hex") for part in ("outputs", "defined"))
    return Vector(
        name=name,
        registers=known["registers"],
        loads={target: _numbers(place / f"load_{target}.hex") for target in known["loads"]},
        filters=_numbers(place / "filters.hex"),
        outputs=list(zip(outputs, defined, strict=True)),
        counters=known["counters"],
        cycle_limit=known["cycle_limit"],
        about=known["about"],
    )


def _numbers(path: Path) -> list[int]:
    return [int(line, 16) for line in path.read_text(encoding="ascii").split()]
