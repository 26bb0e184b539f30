"""How SCNN cuts a layer: tiles, rounds, regions, blocks; *Tiles and rounds* of ``docs/scnn.md``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.machines.scnn.banks import LANES
from accel.machines.scnn.columns import PHASE, TAP
from accel.machines.scnn.kernels import Vectors, count_stored, stored_values
from golden.errors import CapacityError
from golden.layer import LayerShape
from golden.machines.scnn import ScnnConfig

__all__ = ["Axis", "Banks", "Plan", "least_accumulators", "make_plan", "pack"]


@dataclass(frozen=True, eq=False)
class Axis:
    """Rows (or columns): which run of the input each PE has in each round.

    Parameters
    ----------
    size : int
        Rows of a subtile.
    bounds : ndarray of int64, axes round, PE, (first, end)
        Input rows; empty where first = end.
    owned : ndarray of int64, axes round, PE, (first, end)
        Output rows whose middle lies there.
    region : ndarray of int64, axes round, PE
        Output rows owned or reached.
    """

    size: int
    bounds: NDArray[np.int64]
    owned: NDArray[np.int64]
    region: NDArray[np.int64]

    @classmethod
    def cut(
        cls, pes: int, size: int, in_size: int, out_size: int, kernel: int, stride: int, pad: int
    ) -> Axis:
        """Cut an axis into runs for ``pes`` PEs, and those into runs of ``size``."""
        tile = -(-in_size // pes)
        starts = np.minimum(np.arange(pes) * tile, in_size)
        ends = np.minimum(starts + tile, in_size)
        offsets = np.arange(-(-tile // size))[:, None] * size
        low = np.minimum(starts + offsets, ends)
        high = np.minimum(low + size, ends)
        top = np.arange(out_size) * stride - pad
        middle = np.clip(top + kernel // 2, 0, in_size - 1)
        low_of, high_of = low[..., None], high[..., None]
        owned = (middle >= low_of) & (middle < high_of)
        reached = (top < high_of) & (top + kernel > low_of) & (low_of < high_of)
        first = np.where(owned.any(axis=-1), owned.argmax(axis=-1), 0)
        return cls(
            size=size,
            bounds=np.stack([low, high], axis=-1),
            owned=np.stack([first, first + owned.sum(axis=-1)], axis=-1),
            region=(owned | reached).sum(axis=-1),
        )


@dataclass(frozen=True)
class Banks:
    """Where a product goes: factors of output channel, column and row, modulo the banks."""

    banks: int
    column: int
    row: int

    @classmethod
    def of(cls, config: ScnnConfig, outputs: int) -> Banks:
        """Return the mapping for output-channel groups of ``outputs``, a power of two."""
        slots = max(1, config.banks // outputs)
        step = 1 << -(-(slots.bit_length() - 1) // 2)
        return cls(config.banks, outputs, outputs * step)


@dataclass(frozen=True, eq=False)
class Plan:
    """The cut of a layer.

    Parameters
    ----------
    outputs : int
        Filters of an output-channel group, K.
    rows, columns : Axis
    banks : Banks
    phases : tuple of int
        Phases that are kept apart: rows, columns.
    """

    outputs: int
    rows: Axis
    columns: Axis
    banks: Banks
    phases: tuple[int, int]

    @property
    def rounds(self) -> int:
        return len(self.rows.bounds) * len(self.columns.bounds)


def make_plan(config: ScnnConfig, layer: LayerShape) -> Plan:
    """Choose the rounds and output-channel groups of a layer.

    Raises
    ------
    CapacityError
        The sums of a single pixel and filter do not fit the accumulators.
    """
    row_cuts = _cuts(config.grid_height, layer, rows=True)
    column_cuts = _cuts(config.grid_width, layer, rows=False)
    outputs = min(config.group_outputs, 1 << (layer.group_filters - 1).bit_length())
    while outputs:
        best = None
        for rows in row_cuts:
            for columns in column_cuts:
                region = int(rows.region.max()) * int(columns.region.max())
                if outputs * region > config.accumulators:
                    continue
                rounds = len(rows.bounds) * len(columns.bounds)
                if best is None or (rounds, region, rows.size) < best[0]:
                    best = (rounds, region, rows.size), rows, columns
        if best is not None:
            split = config.stride_phases
            phases = (layer.stride_height, layer.stride_width) if split else (1, 1)
            return Plan(outputs, best[1], best[2], Banks.of(config, outputs), phases)
        outputs //= 2
    raise CapacityError(
        f"Layer {layer.name} needs {least_accumulators(config, layer)} accumulators for one pixel "
        f"and filter, banks * bank_entries are {config.accumulators}: raise bank_entries"
    )


def least_accumulators(config: ScnnConfig, layer: LayerShape) -> int:
    """Return the sums of one filter over the smallest regions that a layer can be cut into."""
    rows = _cuts(config.grid_height, layer, rows=True)
    columns = _cuts(config.grid_width, layer, rows=False)
    return min(int(cut.region.max()) for cut in rows) * min(
        int(cut.region.max()) for cut in columns
    )


def _cuts(pes: int, layer: LayerShape, rows: bool) -> list[Axis]:
    if rows:
        shape = (layer.in_height, layer.out_height, layer.kernel_height, layer.stride_height)
        pad = layer.pad_top
    else:
        shape = (layer.in_width, layer.out_width, layer.kernel_width, layer.stride_width)
        pad = layer.pad_left
    tile = -(-shape[0] // pes)
    sizes = sorted({-(-tile // count) for count in range(1, tile + 1)})
    return [Axis.cut(pes, size, *shape, pad) for size in sizes]


def pack(
    runs: list[tuple[NDArray[np.bool_], NDArray[np.int64]]], order: NDArray[np.int64], lanes: int
) -> tuple[Vectors, NDArray[np.int64]]:
    """Put runs of stored values in vectors.

    Parameters
    ----------
    runs : list of (ndarray of bool, axes run, position; ndarray of int64, axes position, part)
        Which positions are not zero, and the ``place`` of each (`Vectors`).
    order : ndarray of int64, axis run of all lists
        Segment of each run.

    Returns
    -------
    Vectors
    ndarray of int64, axis segment
        Stored values.
    """
    counts = np.concatenate([count_stored(nonzero) for nonzero, _ in runs])
    stored = np.zeros(len(order), dtype=np.int64)
    stored[order] = counts
    first = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(-(-stored // lanes), out=first[1:])
    total = int(first[-1])
    place = np.zeros((total, LANES, TAP + 1), dtype=np.int32)
    place[..., PHASE] = -1
    planes = np.zeros((3, total), dtype=np.int64)
    values = np.zeros(total, dtype=np.int32)
    begun = 0
    for nonzero, places in runs:
        at = first[order[begun : begun + len(nonzero)]]
        stored_values(nonzero, places, lanes, at, place, planes, values)
        begun += len(nonzero)
    return Vectors(first, place, planes, values), stored
