"""A convolution's filters and tables as the chip reads them from memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.chip.config import ChipConfig
from golden.chip.formats import AVERAGE_MAX, FILTERS_MAX, PASSES_MAX, pass_row_bytes
from golden.chip.graph import Layer
from golden.errors import CapacityError
from golden.machines.cluster.schedule import Schedule, make_schedule
from golden.machines.cluster.workload import pack_weights
from golden.tensor import BitmaskTensor, popcount

__all__ = ["Filters", "average_table", "prepare_filters"]


@dataclass(frozen=True, eq=False)
class Filters:
    """A convolution's filters on the chip.

    Parameters
    ----------
    weights : BitmaskTensor
        Rows filter, tap.
    schedule : Schedule
    loads : tuple of bytes
        The filter stream of each pass.
    tables : bytes
    resident : bool
        All passes fit a unit's filter buffers together.
    """

    weights: BitmaskTensor
    schedule: Schedule
    loads: tuple[bytes, ...]
    tables: bytes
    resident: bool

    def table_order(self, config: ChipConfig) -> NDArray[np.int64]:
        """Return the filter of each entry of the tables; -1 where the collector has none."""
        return _table_order(config, self.schedule)


def prepare_filters(
    config: ChipConfig, layer: Layer, density: NDArray[np.float64] | None
) -> Filters:
    """Deal a convolution's filters to units, and write their streams and tables.

    Parameters
    ----------
    density : ndarray of float64, axis channel of the tensor that is read, or None
        Expected share of non-zero codes.

    Raises
    ------
    CapacityError
        They do not fit the units, or their tables.
    """
    node, shape = layer.node, layer.shape
    assert node is not None
    assert shape is not None
    row_density = None
    if density is not None:
        row_density = np.asarray(density).reshape(node.layer.groups, -1).mean(axis=0)
        if layer.windows:
            row_density = np.tile(row_density, node.layer.taps)
    dense = node.weights.reshape(shape.weights_shape)
    weights = pack_weights(dense, shape, config.chunk, im2row=False)
    schedule = make_schedule(config, shape, weights, row_density)
    _check_units(config, layer, weights, schedule)
    _check_tables(config, layer, schedule)
    return Filters(
        weights=weights,
        schedule=schedule,
        loads=_loads(config, weights, schedule),
        tables=_requantisation_bytes(config, node.requantisation, schedule, layer.name)
        + _pass_bytes(config, schedule),
        resident=len(schedule.assignment) <= config.filter_buffers,
    )


def average_table(layer: Layer) -> bytes:
    """Return the table of an average: multiplier and shift by the number of elements."""
    table = np.array(layer.vector.table, dtype=np.int64).reshape(-1, 2)
    if len(table) > AVERAGE_MAX:
        raise CapacityError(
            f"Layer {layer.name} needs {len(table)} rows in the table of its average, which holds "
            f"{AVERAGE_MAX}: average in two steps"
        )
    if table.size and (table.min() < 0 or table[:, 0].max() >= 1 << 31 or table[:, 1].max() > 63):
        raise CapacityError(
            f"Layer {layer.name} needs multipliers below 2**31 and shifts up to 63 for its average"
        )
    return table.astype("<u4").tobytes()


def _check_units(
    config: ChipConfig, layer: Layer, weights: BitmaskTensor, schedule: Schedule
) -> None:
    """Check that a pass fits the units' filter buffers, values in whole rows of the bus."""
    chunks = schedule.segment_chunks
    counts = popcount(weights.masks).reshape(-1, chunks)
    rows = (-(-counts // config.filter_bus_bytes)).sum(axis=1)
    rows = np.append(rows, 0)[schedule.assignment].sum(axis=2).max()
    held = int((schedule.assignment >= 0).sum(axis=2).max())
    copies = config.filter_buffers
    for name, demand in (
        ("filter_buffer_chunks", held * chunks * copies),
        ("filter_buffer_bytes", int(rows) * config.filter_bus_bytes * copies),
    ):
        size = getattr(config, name)
        if demand > size:
            raise CapacityError(
                f"Layer {layer.name} needs {demand} in {name}, which holds {size}: "
                f"raise {name} to {demand}"
            )


def _check_tables(config: ChipConfig, layer: Layer, schedule: Schedule) -> None:
    filters = len(_table_order(config, schedule))
    for what, demand, size in (
        ("passes in the pass table", len(schedule.assignment), PASSES_MAX),
        ("filters in the requantisation table", filters, FILTERS_MAX),
    ):
        if demand > size:
            raise CapacityError(
                f"Layer {layer.name} needs {demand} {what}, which holds {size}: split the layer"
            )


def _loads(config: ChipConfig, weights: BitmaskTensor, schedule: Schedule) -> tuple[bytes, ...]:
    """Return each pass's stream: unit by unit, slot by slot, chunk by chunk, mask then values."""
    bus, chunks = config.filter_bus_bytes, schedule.segment_chunks
    masks = weights.masks.reshape(-1, weights.masks.shape[-1]).astype("<u8").view(np.uint8)
    masks = masks[:, : config.chunk // 8]
    values = weights.values.view(np.uint8)
    blobs = []
    for at, mask in enumerate(masks):
        packed = values[weights.pointers[at] : weights.pointers[at + 1]].tobytes()
        blobs.append(
            mask.tobytes().ljust(config.mask_beats * bus, b"\0")
            + packed.ljust(-(-len(packed) // bus) * bus, b"\0")
        )
    return tuple(
        b"".join(
            b"".join(blobs[k * chunks : (k + 1) * chunks]) for k in schedule.outputs(at).tolist()
        )
        for at in range(len(schedule.assignment))
    )


def _table_order(config: ChipConfig, schedule: Schedule) -> NDArray[np.int64]:
    """Return filters in the order of their passes' collectors, each pass in whole beats."""
    parts = []
    for at in range(len(schedule.assignment)):
        outputs = schedule.outputs(at)
        parts += [outputs, np.full(-len(outputs) % config.collector_width, -1)]
    return np.concatenate(parts).astype(np.int64)


def _whole_beats(config: ChipConfig, part: bytes) -> bytes:
    return part.ljust(-(-len(part) // config.bus_bytes) * config.bus_bytes, b"\0")


def _requantisation_bytes(
    config: ChipConfig, how: Requantisation, schedule: Schedule, name: str
) -> bytes:
    order = _table_order(config, schedule)
    if np.any(np.abs(how.bias) >= 1 << 31):
        raise CapacityError(
            f"Layer {name} needs a bias of {int(np.abs(how.bias).max())}, which int32 does not hold"
        )
    entries = np.zeros((len(order), 2), dtype=np.int64)
    entries[:, 0] = how.bias[order]
    entries[:, 1] = how.multiplier[order] + (how.shift[order] << 24)
    entries[order < 0] = (0, 1 << 24)
    channels = np.maximum(order, 0).astype("<u2").tobytes()
    data = (entries & 0xFFFFFFFF).astype("<u4").tobytes()
    return _whole_beats(config, data) + _whole_beats(config, channels)


def _pass_bytes(config: ChipConfig, schedule: Schedule) -> bytes:
    held = (schedule.assignment >= 0).reshape(len(schedule.assignment), -1)
    bits = np.packbits(held, axis=1, bitorder="little")
    size = pass_row_bytes(config.group_filters)
    result = b""
    for at, row in enumerate(bits):
        last = at + 1 < len(bits) and schedule.pass_group[at + 1] != schedule.pass_group[at]
        octets = row.tobytes()
        words = octets.ljust(-(-len(octets) // 4) * 4, b"\0") + int(last).to_bytes(4, "little")
        result += words.ljust(size, b"\0")
    return result
