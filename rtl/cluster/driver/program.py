"""What is written to a cluster to make it run a layer: registers, load streams, filter stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from golden.errors import CapacityError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from rtl.cluster.driver.capacity import (
    check_capacity,
    check_config,
    chunks_kept,
    cluster_positions,
    rows_read,
)
from rtl.cluster.layouts import Layouts, register_map
from rtl.host import Program

__all__ = ["make_program"]


def make_program(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    cluster: int,
) -> Program | None:
    """Return what a cluster is given; None where it has no position.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do the machine, or the layer does not fit it.
    """
    check_config(config)
    check_capacity(config, workload, schedule)
    positions = cluster_positions(config, workload.layer.positions, cluster)
    if not len(positions):
        return None
    kept = chunks_kept(config, workload, positions)
    registers = _registers(config, workload, schedule, skip, positions)
    beats = sum(-(-len(schedule.outputs(at)) // config.collector_width)
                for at in range(len(schedule.assignment)))  # fmt: skip
    filter_beats = _filter_beats(config, workload, schedule, registers["tiles_last"] + 1)
    steps = len(schedule.assignment) * len(positions) * workload.layer.layout(config).filter_chunks
    step_limit = config.chunk * config.filters_per_unit + config.broadcast_words + 64
    limit = steps * step_limit + 100 * len(filter_beats) + 100 * beats * len(positions) + 10_000
    return Program(
        registers=register_map(config).encode(workload.layer.name, registers),
        loads={
            "index": _index_words(config, workload, kept),
            "values": _value_words(config, workload, kept),
            "requantisation": _requantisation_words(config, workload, schedule),
            "passes": _pass_words(config, schedule),
        },
        beats=filter_beats,
        output_beats=beats * len(positions),
        cycle_limit=limit,
    )


def _registers(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    positions: NDArray[np.int64],
) -> dict[str, int]:
    layer, layout = workload.layer, workload.layer.layout(config)
    row_chunks, requantisation = layout.row_chunks, workload.requantisation
    if layout.im2row:  # the rows are the windows: a 1 x 1 kernel over the output positions
        height, width, kernel_width = layer.out_height, layer.out_width, 1
        stride_y = stride_x = 1
        pad_y = pad_x = 0
    else:
        height, width, kernel_width = layer.in_height, layer.in_width, layer.kernel_width
        stride_y, stride_x = layer.stride_height, layer.stride_width
        pad_y, pad_x = layer.pad_top, layer.pad_left
    low, high = rows_read(config, workload, positions)
    step = int(positions[1] - positions[0]) if len(positions) > 1 else 0
    step_p, step_q = divmod(step, layer.out_width)
    first_p, first_q = divmod(int(positions[0]), layer.out_width)
    first_y, first_x = first_p * stride_y - pad_y, first_q * stride_x - pad_x
    step_y, step_x = step_p * stride_y, step_q * stride_x
    wrap_x, wrap_y = layer.out_width * stride_x, stride_y
    # With a single segment the tiles have no effect.
    tile = schedule.tile_positions if schedule.segments > 1 else len(positions)
    short = layout.filter_chunks - (schedule.segments - 1) * schedule.segment_chunks
    return {
        "skip_activations": int(skip.skips_activations),
        "skip_weights": int(skip.skips_weights),
        "signed_activations": int(workload.activations.values.dtype == np.int8),
        "signed_outputs": int(requantisation.signed),
        "zero_point": requantisation.zero_point,
        "clamp_low": requantisation.low,
        "clamp_high": requantisation.high,
        "passes_last": len(schedule.assignment) - 1,
        "positions_last": len(positions) - 1,
        "tile_last": tile - 1,
        "tiles_last": -(-len(positions) // tile) - 1,
        "segments_last": schedule.segments - 1,
        "segment_last": schedule.segment_chunks - 1,
        "segment_short_last": short - 1,
        "row_chunks_last": row_chunks - 1,
        "kernel_width_last": kernel_width - 1,
        "ragged_length": layout.chunk_length(row_chunks - 1),
        "height": height,
        "width": width,
        "first_y": first_y,
        "first_x": first_x,
        "first_address": (first_y * width + first_x - low) * row_chunks,
        "step_x": step_x,
        "step_y": step_y,
        "step_address": (step_y * width + step_x) * row_chunks,
        "end_x": layer.out_width * stride_x - pad_x,
        "wrap_x": wrap_x,
        "wrap_y": wrap_y,
        "wrap_address": (wrap_y * width - wrap_x) * row_chunks,
        "line_address": (width - kernel_width) * row_chunks + 1,
        "group_address": (high - low) * row_chunks,
    }


def _mask_bytes(masks: NDArray[np.uint64], chunk: int) -> NDArray[np.uint8]:
    """Return masks as bytes, axes mask, byte, least significant first."""
    flat = np.ascontiguousarray(masks.reshape(-1, masks.shape[-1]).astype("<u8"))
    return flat.view(np.uint8)[:, : chunk // 8]


def _as_words(octets: NDArray[np.uint8], words: int) -> NDArray[np.uint32]:
    """Return rows of bytes as rows of 32-bit words, padded with zeros."""
    padded = np.zeros((len(octets), 4 * words), dtype=np.uint8)
    padded[:, : octets.shape[1]] = octets
    return padded.view("<u4").astype(np.uint32)


def _index_words(
    config: AcceleratorConfig, workload: LayerWorkload, kept: NDArray[np.int64]
) -> NDArray[np.uint32]:
    activations = workload.activations
    masks = _mask_bytes(activations.masks, config.chunk)[kept]
    rows = _as_words(masks, Layouts(config).row_words["index"])
    rows[1:, -1] = np.cumsum(np.diff(activations.pointers)[kept])[:-1]
    return rows.reshape(-1)


def _value_words(
    config: AcceleratorConfig, workload: LayerWorkload, kept: NDArray[np.int64]
) -> NDArray[np.uint32]:
    width, activations = config.broadcast_width, workload.activations
    keep = np.zeros(len(activations.pointers) - 1, dtype=bool)
    keep[kept] = True
    values = activations.values.view(np.uint8)[np.repeat(keep, np.diff(activations.pointers))]
    rows = np.zeros((-(-len(values) // width), width), dtype=np.uint8)
    rows.reshape(-1)[: len(values)] = values
    return _as_words(rows, Layouts(config).row_words["values"]).reshape(-1)


def _requantisation_words(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule
) -> NDArray[np.uint32]:
    lanes, requantisation = config.collector_width, workload.requantisation
    wide = requantisation.bias[(requantisation.bias + (1 << 31)) >> 32 != 0]
    if wide.size:
        raise CapacityError(
            f"Layer {workload.layer.name}: a bias of {int(wide[0])} does not fit int32"
        )
    tables = []
    for index in range(len(schedule.assignment)):
        outputs = schedule.outputs(index)
        table = np.zeros((-(-len(outputs) // lanes) * lanes, 2), dtype=np.int64)
        table[:, 1] = 1 << 24
        table[: len(outputs), 0] = requantisation.bias[outputs]
        table[: len(outputs), 1] = requantisation.multiplier[outputs] + (
            requantisation.shift[outputs] << 24
        )
        tables.append(table)
    return (np.concatenate(tables).reshape(-1) & 0xFFFFFFFF).astype(np.uint32)


def _pass_words(config: AcceleratorConfig, schedule: Schedule) -> NDArray[np.uint32]:
    held = (schedule.assignment >= 0).reshape(len(schedule.assignment), -1)
    octets = np.packbits(held, axis=1, bitorder="little")
    rows = _as_words(octets, Layouts(config).row_words["passes"])
    rows[:-1, -1] = schedule.pass_group[1:] != schedule.pass_group[:-1]
    return rows.reshape(-1)


def _filter_beats(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule, tiles: int
) -> NDArray[np.uint8]:
    """Return the filter stream: every load's unit, slot, chunk: mask, then values."""
    bus, weights = config.filter_bus_bytes, workload.weights
    filter_chunks = workload.layer.layout(config).filter_chunks
    masks = _mask_bytes(weights.masks, config.chunk)
    values = weights.values.view(np.uint8)
    homes = _home_bytes(config, schedule)
    blobs = []
    for at in range(len(masks)):
        mask = masks[at].tobytes().ljust(config.mask_beats * bus, b"\0")
        packed = values[weights.pointers[at] : weights.pointers[at + 1]].tobytes()
        blob = mask + packed.ljust(-(-len(packed) // bus) * bus, b"\0")
        home = homes[at // filter_chunks]
        blobs.append(b"".join(blob[row : row + bus] + home for row in range(0, len(blob), bus)))
    stream = []
    for index, held in enumerate(schedule.assignment):
        per_chunk = np.broadcast_to(held, (filter_chunks, *held.shape))
        if schedule.chunk_assignment is not None:
            per_chunk = schedule.chunk_assignment[index]
        loads = []
        for start in range(0, filter_chunks, schedule.segment_chunks):
            chunks = range(start, min(start + schedule.segment_chunks, filter_chunks))
            for unit, slot in np.argwhere(held >= 0):
                loads += [blobs[per_chunk[i, unit, slot] * filter_chunks + i] for i in chunks]
        stream.append(b"".join(loads) * tiles)
    row_bytes = bus + len(homes[0])
    return np.frombuffer(b"".join(stream), dtype=np.uint8).reshape(-1, row_bytes)


def _home_bytes(config: AcceleratorConfig, schedule: Schedule) -> dict[int, bytes]:
    """Return by filter what goes beside the bytes of each of its beats: nothing without homes."""
    layouts = Layouts(config)
    size = -(-layouts.home_bits // 8)
    result = {}
    for index in range(len(schedule.assignment)):
        for number, k in enumerate(schedule.outputs(index).tolist()):
            beat, lane = divmod(number, config.collector_width)
            home = (beat << layouts.lane_bits) | lane
            result[k] = home.to_bytes(size, "little") if layouts.merges else b""
    return result
