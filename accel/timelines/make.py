"""A layer's timeline, from the simulator or from the hardware itself, and its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from accel.machines.machine import Machine
from accel.machines.timeline import Timeline, Track, track_of_cycles
from accel.verification.layers import choose_run, fast_codes, record_states
from golden.counters import UNIT_COUNTERS
from golden.errors import UserError
from golden.files import write_whole
from golden.machines.cluster.config import SkipMode
from golden.program import LayerRun

if TYPE_CHECKING:
    from accel.api import LoadedNetwork

__all__ = ["SOURCES", "WRITERS", "layer_timeline", "write_timeline"]

#: Where intervals come from.
SOURCES = ("simulator", "hardware")
#: Endings of files, and what they hold.
WRITERS = {".pftrace": "a trace for Perfetto", ".html": "a page of its own"}


def layer_timeline(
    net: LoadedNetwork,
    layer: str | None,
    machine: Machine,
    mode: SkipMode,
    *,
    source: str = "simulator",
    image: int = 0,
    rows: int | None = None,
) -> Timeline:
    """Return what each unit does in each cycle of a layer; ``accel.api.timeline`` has the rest.

    Raises
    ------
    CapacityError, ConfigError
        The layer does not fit, or the machine has no such timeline.
    UserError
        There is no such layer, image or source.
    """
    if source not in SOURCES:
        raise UserError(f"Source of a timeline must be one of {', '.join(SOURCES)}, not {source!r}")
    node, run = choose_run(net, layer, image, rows)
    if source == "simulator":
        tracks = machine.timeline(run, fast_codes(run), mode)
    else:
        tracks = _hardware_tracks(machine, run, mode)
    shape = run.task.layer
    cut = "" if shape.out_height == node.layer.out_height else f", {shape.out_height} rows"
    return Timeline(
        f"{net.name}, {node.layer.name}{cut}, on {machine.config.name}, mode {mode}, from {source}",
        tracks,
    )


def write_timeline(timeline: Timeline, path: str | os.PathLike[str]) -> None:
    """Write a timeline as its file's name ends: ``.pftrace`` or ``.html``.

    Raises
    ------
    UserError
        The ending is neither, the file can't be written, or a package is not installed.
    """
    ending = check_ending(path)
    if ending == ".html":
        from accel.timelines.page import timeline_page

        data: bytes | str = timeline_page(timeline)
    else:
        from accel.timelines.perfetto import perfetto_trace

        data = perfetto_trace(timeline)
    write_whole(path, data, f"Timeline {os.fspath(path)}")


def check_ending(path: str | os.PathLike[str]) -> str:
    """Return the ending of a timeline's file; refuse an unknown one."""
    ending = os.path.splitext(path)[1]
    if ending not in WRITERS:
        accepted = " or ".join(f"{key} ({what})" for key, what in WRITERS.items())
        raise UserError(f"Timeline {os.fspath(path)} must end in {accepted}")
    return ending


def _hardware_tracks(machine: Machine, run: LayerRun, mode: SkipMode) -> tuple[Track, ...]:
    """Run the hardware under Amaranth's simulator; name its parts as its counters do."""
    counters, states = record_states(machine, run, mode)
    table = next(table for table in counters.tables() if table.names == UNIT_COUNTERS)
    part, _, unit = table.what.partition(", ")
    tracks: list[Track] = []
    for number, found in enumerate(states):
        for index in range(table.counts.shape[1] if unit else 1):
            cycles = np.zeros(0, dtype=np.uint8) if found is None else found[index]
            name = f"{part} {number}, {unit} {index}" if unit else f"{part} {number}"
            tracks.append(track_of_cycles(name, cycles))
    return tuple(tracks)
