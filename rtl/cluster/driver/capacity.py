"""What the hardware can be, and what fits it: the demand of a layer on every buffer and table.

Filter values take whole rows of ``filter_bus_bytes`` in a unit, each chunk from a new one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from golden.errors import CapacityError, ConfigError
from golden.machines.cluster.config import AcceleratorConfig, Dealing
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from rtl.cluster.layouts import MAX_PASSES, Layouts

#: Sums that a unit may keep with chunk balancing: of all filters of a cluster, for a tile of
#: positions and one more; places of no filter count where their number is no power of two.
MAX_MERGED_SUMS = 1 << 14

__all__ = ["check_capacity", "check_config", "chunks_kept", "cluster_positions", "rows_read"]


def check_config(config: AcceleratorConfig) -> None:
    """Raise ConfigError, naming every key, where the hardware can't do what a machine asks for."""
    refused = []
    if config.dealing is Dealing.QUEUE:
        refused.append("dealing = 'queue' (accepted: tiles, interleaved)")
    if config.lanes != 1:
        refused.append(f"lanes = {config.lanes} (accepted: 1)")
    layouts = Layouts(config)
    if layouts.merges and layouts.psums > MAX_MERGED_SUMS:
        most = MAX_MERGED_SUMS // (layouts.psums // layouts.position_slots) - 1
        refused.append(
            f"balance = 'chunk' with {config.group_filters} filters a cluster and "
            f"tile_positions = {config.tile_positions} (at most {most})"
        )
    if layouts.buffer_chunks < 1:
        refused.append(
            f"filter_buffer_chunks = {config.filter_buffer_chunks} (at least {layouts.buffers})"
        )
    if layouts.buffer_rows < 1:
        least = layouts.buffers * config.filter_bus_bytes
        refused.append(f"filter_buffer_bytes = {config.filter_buffer_bytes} (at least {least})")
    if refused:
        raise ConfigError(f"The hardware can't do {config.name!r}: {'; '.join(refused)}")


def cluster_positions(config: AcceleratorConfig, positions: int, cluster: int) -> NDArray[np.int64]:
    """Return the output positions of a cluster, in its order."""
    if config.dealing is Dealing.INTERLEAVED:
        return np.arange(cluster, positions, config.clusters)
    run = -(-positions // config.clusters)
    return np.arange(cluster * run, min((cluster + 1) * run, positions))


def rows_read(
    config: AcceleratorConfig, workload: LayerWorkload, positions: NDArray[np.int64]
) -> tuple[int, int]:
    """Return the rows (pixels or windows) of each group that a cluster keeps: first, and end.

    With tiles those from the first to the last input line that its positions read, else all.
    """
    layer = workload.layer
    if config.dealing is not Dealing.TILES:
        return 0, workload.activations.rows // layer.groups
    first, last = int(positions[0]), int(positions[-1])
    if layer.layout(config).im2row:
        return first, last + 1
    top = first // layer.out_width * layer.stride_height - layer.pad_top
    bottom = last // layer.out_width * layer.stride_height - layer.pad_top
    low = max(0, top) * layer.in_width
    high = min(layer.in_height, bottom + layer.kernel_height) * layer.in_width
    return low, max(low, high)


def chunks_kept(
    config: AcceleratorConfig, workload: LayerWorkload, positions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the numbers of the input chunks that a cluster keeps, in order."""
    activations, groups = workload.activations, workload.layer.groups
    low, high = rows_read(config, workload, positions)
    numbers = np.arange(activations.rows * activations.row_chunks)
    return numbers.reshape(groups, -1, activations.row_chunks)[:, low:high].reshape(-1)


def check_capacity(config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule) -> None:
    """Raise CapacityError, naming buffer, demand, size and cure, where a layer does not fit."""
    layer, activations = workload.layer, workload.activations
    layouts = Layouts(config)
    chunks, values = 0, 0
    for cluster in range(config.clusters):
        positions = cluster_positions(config, layer.positions, cluster)
        if len(positions):
            kept = chunks_kept(config, workload, positions)
            chunks = max(chunks, len(kept))
            values = max(values, int(np.diff(activations.pointers)[kept].sum()))

    def require(what: str, demand: int, size: int, unit: str, cure: str) -> None:
        if demand > size:
            raise CapacityError(
                f"Layer {layer.name}: the {what} must hold {demand} {unit}, it has {size}: {cure}"
            )

    require("input index buffer", chunks, config.input_buffer_chunks, "chunks",
            "raise input_buffer_chunks or split the layer")  # fmt: skip
    require("input value buffer", values, config.input_buffer_bytes, "bytes",
            "raise input_buffer_bytes or split the layer")  # fmt: skip
    require("pass table", len(schedule.assignment), MAX_PASSES, "passes",
            "raise units or filters_per_unit, or split the layer")  # fmt: skip
    rows = sum(
        -(-len(schedule.outputs(at)) // config.collector_width)
        for at in range(len(schedule.assignment))
    )
    require("requantisation table", rows, layouts.requantisation_rows, "rows",
            "lower collector_width or split the layer")  # fmt: skip
    if schedule.segments > 1:
        require("partial sum memory", schedule.tile_positions, config.tile_positions, "positions",
                "raise tile_positions")  # fmt: skip
    filter_chunks = layer.layout(config).filter_chunks
    rows_of = -(-_values_of(workload) // config.filter_bus_bytes)
    most_chunks, most_rows = 0, 0
    for index, held in enumerate(schedule.assignment):
        per_chunk = np.broadcast_to(held, (filter_chunks, *held.shape))
        if schedule.chunk_assignment is not None:
            per_chunk = schedule.chunk_assignment[index]
        # Rows of what is held, axes chunk, unit.
        chunks = np.arange(filter_chunks)[:, None, None]
        rows_held = np.where(per_chunk >= 0, rows_of[per_chunk, chunks], 0).sum(axis=2)
        for start in range(0, filter_chunks, schedule.segment_chunks):
            end = min(start + schedule.segment_chunks, filter_chunks)
            per_unit = rows_held[start:end].sum(axis=0)
            most_rows = max(most_rows, int(per_unit.max()))
            most_chunks = max(most_chunks, int((held >= 0).sum(axis=1).max()) * (end - start))
    halves = " in each half" if layouts.buffers == 2 else ""
    require(f"filter index buffer{halves}", most_chunks, layouts.buffer_chunks, "chunks",
            f"lower segment_chunks or raise filter_buffer_chunks to "
            f"{most_chunks * layouts.buffers}")  # fmt: skip
    bytes_each = config.filter_bus_bytes
    require(f"filter value buffer{halves}", most_rows * bytes_each,
            layouts.buffer_rows * bytes_each, "bytes",
            f"lower segment_chunks or raise filter_buffer_bytes to "
            f"{most_rows * bytes_each * layouts.buffers}")  # fmt: skip


def _values_of(workload: LayerWorkload) -> NDArray[np.int64]:
    """Return the number of values of each filter chunk, axes filter, chunk."""
    return np.diff(workload.weights.pointers).reshape(workload.layer.out_channels, -1)
