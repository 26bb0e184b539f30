"""What the cells of a cluster grow with, for a fit to clusters that were synthesised.

``accel/costs/data/clusters.csv`` holds them (``python -m rtl.synth.clusters``).
"""

from __future__ import annotations

import math
from dataclasses import asdict

from accel.machines.machine import AreaModel, Features, Fields
from golden.machines.cluster.config import AcceleratorConfig, Balance, Dealing

__all__ = ["INPUT_BUFFER_BYTES", "area_model"]

#: What a cluster of the table holds of its input at once: larger layers come in parts.
INPUT_BUFFER_BYTES = 1 << 15
#: Fields of a row of the table.
_FIELDS = (
    "units", "chunk", "fifo_depth", "filters_per_unit", "broadcast_width", "filter_bus_bytes",
    "collector_width", "filter_double_buffer", "filter_buffer_chunks", "filter_buffer_bytes",
    "input_buffer_chunks", "input_buffer_bytes",
)  # fmt: skip
#: Rows and columns of a block RAM, whose bits may be arranged so.
_BLOCK_RAM = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
#: Rows of the tables of passes and of requantisation.
_PASSES, _OUTPUTS = 1024, 4096


def area_model(config: AcceleratorConfig) -> AreaModel | None:
    """Return what a machine's cells follow from; None where no such clusters were synthesised."""
    if config.segment_chunks or config.lanes > 1 or config.balance is Balance.CHUNK:
        return None
    note = f"an input buffer of {INPUT_BUFFER_BYTES >> 10} KB a cluster"
    if config.dealing is Dealing.QUEUE:
        note += "; the queue of clusters is not built"
    values = asdict(config)
    return AreaModel(
        table="clusters",
        fields={name: int(values[name]) for name in _FIELDS},
        pieces=config.clusters,
        features=_FEATURES,
        # Each unit has one, and a lane of the collector four for its requantisation.
        exact={"mult18": config.units + 4 * config.collector_width},
        note=note,
    )


def _table_features(fields: Fields) -> list[float]:
    """Return what tables grow with: paths through the broadcaster, the collector and the units."""
    units, width = fields["units"], fields["broadcast_width"]
    results = units * fields["filters_per_unit"]
    return [
        1,
        width**2,  # expands packed values: each position takes any of them
        fields["chunk"],
        fields["collector_width"],
        fields["collector_width"] * results,  # any result to any lane
        units,
        units * width,
        results,
        units * fields["filter_bus_bytes"],
        units * fields["chunk"],  # a join's masks
        units * (fields["chunk"] // width),  # rows of a chunk's values
    ]


def _register_features(fields: Fields) -> list[float]:
    """Return what flip-flops grow with."""
    units = fields["units"]
    return [
        *_table_features(fields),
        units * (fields["chunk"] // 16),  # counts of their words
        units * (fields["fifo_depth"] + 1),
        fields["filter_bus_bytes"],
    ]


def _memory_features(fields: Fields) -> list[float]:
    """Return the block RAMs of each buffer and table, by their rows and columns."""
    units, width, bus = fields["units"], fields["broadcast_width"], fields["filter_bus_bytes"]
    chunks = min(fields["input_buffer_chunks"], INPUT_BUFFER_BYTES // fields["chunk"])
    prefixes = fields["chunk"] // 16 * 7
    return [
        2 * _block_rams(8 * width, -(-INPUT_BUFFER_BYTES // (2 * width))),
        _block_rams(fields["chunk"] + 16, chunks),
        3 * _block_rams(fields["units"] * fields["filters_per_unit"] + 1, _PASSES),
        _block_rams(64 * fields["collector_width"], -(-_OUTPUTS // fields["collector_width"])),
        units * _block_rams(fields["chunk"] + prefixes + 12, fields["filter_buffer_chunks"]),
        units * _block_rams(8 * bus, -(-fields["filter_buffer_bytes"] // bus)),
        units * -(-width // 4) * -(-(fields["fifo_depth"] + 1) * (fields["chunk"] // width) // 512),
    ]


def _block_rams(bits: int, rows: int) -> int:
    return min(math.ceil(bits / wide) * math.ceil(rows / deep) for wide, deep in _BLOCK_RAM)


#: What each kind of cell is fitted to.
_FEATURES: dict[str, Features] = {
    "lut4": _table_features,
    "ff": _register_features,
    "ccu2c": _table_features,
    "dpr16x4": _register_features,
    "dp16kd": _memory_features,
}
