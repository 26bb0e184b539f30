"""Synthesis of the machines on a front: their cells take the place of the estimates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from accel.costs.area import Cells
from accel.sweeps.api import open_study
from accel.sweeps.results.store import Store
from accel.sweeps.results.study import Study
from accel.sweeps.space.point import Point
from golden.errors import ConfigError, UserError

__all__ = ["synthesise_front", "synthesise_point"]


def synthesise_front(
    store: str | os.PathLike[str],
    objectives: list[str] | None = None,
    clock_mhz: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    at_most: Mapping[str, float] | None = None,
    best: int | None = None,
) -> Study:
    """Synthesise the machines on a store's front, which takes a minute or more each, and keep that.

    The front that is returned may have other points, whose estimates are now better than what was
    synthesised: call it again for these. What has been synthesised is not again.

    Parameters
    ----------
    at_most, best
        Which points of the front, as `Study.narrowed` takes them; all where both are None.

    Raises
    ------
    UserError
        Objectives have no cells, the store can't be used, or yosys is not installed.
    """
    study = open_study(store, objectives, clock_mhz)
    if not any(each.is_area for each in study.objectives):
        raise UserError(
            "Objectives must have cells, such as lut4, for their front to be synthesised"
        )
    known: dict[str, Cells] = {}
    wanted = study.narrowed(at_most or {}, best)
    waiting = [each for each in wanted.front() if "cells" not in each.rows[0].figures]
    with Store(store) as opened:
        for number, found in enumerate(waiting):
            if progress:
                progress(number, len(waiting), f"{found.rows[0].key}")
            try:
                cells = synthesise_point(found.point, known)
            except ConfigError:
                continue  # what the hardware can't be keeps its estimate
            figures = {"cells": asdict(cells)}
            opened.add([replace(row, figures={**row.figures, **figures}) for row in found.rows])
    return open_study(store, objectives, clock_mhz)


def synthesise_point(point: Point, known: dict[str, Cells]) -> Cells:
    """Return a machine's cells: those of the piece that it repeats, so many times.

    Parameters
    ----------
    known : dict of str to Cells
        Pieces that have been synthesised, to which this one is added.

    Raises
    ------
    ConfigError
        There is no such hardware.
    """
    from rtl.synth.blocks import machine_blocks
    from rtl.synth.measure import measure

    machine = point.load()
    piece = machine.piece
    if piece is None:
        raise ConfigError(f"Machine {point.machine} must have hardware to be synthesised")
    name, count = piece
    block = machine_blocks()[point.machine][name]
    config: Any = machine.config
    config = config.replace(**block.fit(config))
    key = Point.of(config.replace(clusters=1), point.machine).canonical()
    if key not in known:
        figures = measure(name, block, config, ())
        known[key] = Cells(**{cell: getattr(figures, cell) for cell in asdict(Cells())})
    return known[key].times(count)
