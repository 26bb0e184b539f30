"""Does a layer fit the buffers: ``docs/machine.md``, *Buffers*."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.errors import CapacityError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing
from golden.machines.cluster.schedule import Schedule

__all__ = [
    "FilterDemand",
    "InputDemand",
    "check_filters",
    "check_inputs",
    "demands",
    "filter_demand",
    "input_demand",
]


class FilterDemand(NamedTuple):
    """What a unit holds of its filters at once, without double buffering.

    Parameters
    ----------
    filters : int
        Filters of one unit.
    segment_chunks : int
        Chunks of each.
    values : int
        Most values of a unit's filters in one segment.
    """

    filters: int
    segment_chunks: int
    values: int


class InputDemand(NamedTuple):
    """What a cluster holds of the input: chunks, and their values."""

    chunks: int
    values: int


def filter_demand(schedule: Schedule, counts: NDArray[np.int64]) -> FilterDemand:
    """Return what a unit must hold of its filters.

    Parameters
    ----------
    counts : ndarray of int64, axes filter, filter chunk
        Values of each chunk.
    """
    held = int((schedule.assignment >= 0).sum(axis=2).max())
    starts = np.arange(schedule.segments) * schedule.segment_chunks
    if schedule.chunk_assignment is not None:
        values = _chunk_balanced_values(schedule, counts, starts)
    else:
        by_segment = np.add.reduceat(counts, starts, axis=1)
        # One more row, of zeros, for the slots that hold no filter.
        by_segment = np.concatenate([by_segment, np.zeros_like(by_segment[:1])])
        values = int(by_segment[schedule.assignment].sum(axis=2).max())
    return FilterDemand(held, schedule.segment_chunks, values)


def demands(
    config: AcceleratorConfig, filters: FilterDemand, inputs: InputDemand
) -> dict[str, int]:
    """Return what each buffer must hold at least, by the configuration's keys."""
    copies = 2 if config.filter_double_buffer else 1
    return {
        "filter_buffer_chunks": filters.segment_chunks * filters.filters * copies,
        "filter_buffer_bytes": max(1, filters.values * copies),
        "input_buffer_chunks": inputs.chunks,
        "input_buffer_bytes": max(1, inputs.values),
    }


def check_filters(config: AcceleratorConfig, layer: LayerShape, demand: FilterDemand) -> None:
    """Check that a unit can hold a segment of its filters, twice with double buffering.

    Raises
    ------
    CapacityError
        Names the buffer, the demand, the size, and what would make it fit.
    """
    copies = 2 if config.filter_double_buffer else 1
    chunks = demand.segment_chunks * demand.filters * copies
    values = demand.values * copies
    fits = config.filter_buffer_chunks // (demand.filters * copies)
    remedy = "filter_double_buffer = false" if copies == 2 else "filters_per_unit = 1"
    _require(
        layer, "filter_buffer_chunks", chunks, config.filter_buffer_chunks, "chunks a unit",
        f"segment_chunks = {fits}" if fits else remedy,
    )  # fmt: skip
    shorter = max(1, demand.segment_chunks * config.filter_buffer_bytes // max(values, 1))
    _require(
        layer, "filter_buffer_bytes", values, config.filter_buffer_bytes, "bytes a unit",
        f"segment_chunks = {shorter}" if shorter < demand.segment_chunks else remedy,
    )  # fmt: skip


def _chunk_balanced_values(
    schedule: Schedule, counts: NDArray[np.int64], starts: NDArray[np.int64]
) -> int:
    """Return the most values that a unit holds of one segment where chunks change units."""
    assignment = schedule.chunk_assignment
    assert assignment is not None
    padded = np.concatenate([counts, np.zeros_like(counts[:1])])
    chunks = np.arange(counts.shape[1])[None, :, None, None]
    by_unit = padded[assignment, chunks].sum(axis=3)
    return int(np.add.reduceat(by_unit, starts, axis=1).max())


def input_demand(
    config: AcceleratorConfig, layer: LayerShape, counts: NDArray[np.int64]
) -> InputDemand:
    """Return what a cluster must hold of the input rows that its positions read.

    Parameters
    ----------
    counts : ndarray of int64, axes row, chunk of the row
        Values of each chunk.
    """
    layout = layer.layout(config)
    rows, values = len(counts), int(counts.sum())
    if config.dealing is Dealing.TILES:
        rows, values = _tile_demand(config, layer, layout.im2row, counts.sum(axis=1))
    return InputDemand(rows * layout.row_chunks, values)


def check_inputs(config: AcceleratorConfig, layer: LayerShape, demand: InputDemand) -> None:
    """Check that a cluster can hold the input rows that its positions read.

    Raises
    ------
    CapacityError
        Names the buffer, the demand, the size, and what would make it fit.
    """
    remedy = "more clusters" if config.dealing is Dealing.TILES else "dealing = tiles"
    for name, needed, unit in (
        ("input_buffer_chunks", demand.chunks, "chunks a cluster"),
        ("input_buffer_bytes", demand.values, "bytes a cluster"),
    ):
        _require(layer, name, needed, getattr(config, name), unit, remedy)


def _tile_demand(
    config: AcceleratorConfig, layer: LayerShape, im2row: bool, counts: NDArray[np.int64]
) -> tuple[int, int]:
    """Return the most input rows, and values, that one cluster's run of positions reads."""
    size = -(-layer.positions // config.clusters)
    by_group = counts.reshape(layer.groups, -1).sum(axis=0)
    rows_max, values_max = 0, 0
    for first in range(0, layer.positions, size):
        last = min(first + size, layer.positions) - 1
        if im2row:
            low, high = first, last + 1
        else:
            top = first // layer.out_width * layer.stride_height - layer.pad_top
            bottom = last // layer.out_width * layer.stride_height - layer.pad_top
            low = max(0, top) * layer.in_width
            high = min(layer.in_height, bottom + layer.kernel_height) * layer.in_width
        rows_max = max(rows_max, max(0, high - low) * layer.groups)
        values_max = max(values_max, int(by_group[low:high].sum()))
    return rows_max, values_max


def _require(layer: LayerShape, name: str, demand: int, size: int, unit: str, remedy: str) -> None:
    if demand > size:
        raise CapacityError(
            f"Layer {layer.name} needs {demand} {unit} in {name}, which holds {size}: "
            f"raise {name}, or set {remedy}"
        )
