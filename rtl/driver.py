"""What is written to a cluster to make it run a layer, and how its results are read.

The host's part of the contract: registers, load streams, filter stream, output stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.errors import CapacityError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from rtl.capacity import (
    check_capacity,
    check_config,
    chunks_kept,
    cluster_positions,
    rows_read,
)
from rtl.input_buffer import row_words
from rtl.layouts import Layouts
from rtl.registers import LAYER_REGISTERS, RegisterTable

__all__ = [
    "ClusterProgram",
    "HardwareError",
    "decode_outputs",
    "encode_registers",
    "layer_counters",
    "make_program",
]


class HardwareError(RuntimeError):
    """The hardware did something that its contract rules out."""


@dataclass(frozen=True, eq=False)
class ClusterProgram:
    """All that one cluster is given for one layer.

    Parameters
    ----------
    registers : dict of str to int
        Layer registers by name; negative values as two's complement of their width.
    loads : dict of str to ndarray of uint32, axis word
        Words of the load stream by target, from row 0 on.
    beats : ndarray of uint8, axes beat, byte
        The filter stream; with chunk balancing bytes of the home follow those of the bus.
    output_beats : int
        Beats that the output stream will have.
    cycle_limit : int
        The program ends in fewer cycles where nobody stalls it.
    """

    registers: dict[str, int]
    loads: dict[str, NDArray[np.uint32]]
    beats: NDArray[np.uint8]
    output_beats: int
    cycle_limit: int


def make_program(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    cluster: int,
) -> ClusterProgram | None:
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
    return ClusterProgram(
        registers=encode_registers(workload.layer.name, registers),
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


def encode_registers(
    layer: str, values: dict[str, int], registers: RegisterTable = LAYER_REGISTERS
) -> dict[str, int]:
    """Return register values as they are written; raise CapacityError where one is too wide."""
    result = {}
    for name, width, _ in registers:
        if name not in values:
            continue
        value = values[name]
        if not -(1 << (width - 1)) <= value < 1 << width:
            raise CapacityError(
                f"Layer {layer}: register {name} has {width} bits, {value} does not fit: "
                "split the layer"
            )
        result[name] = value & ((1 << width) - 1)
    return result


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
    rows = _as_words(masks, row_words(Layouts(config))["index"])
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
    return _as_words(rows, row_words(Layouts(config))["values"]).reshape(-1)


def _requantisation_words(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule
) -> NDArray[np.uint32]:
    lanes, requantisation = config.collector_width, workload.requantisation
    if np.any(np.abs(requantisation.bias) >= 1 << 31):
        raise CapacityError(
            f"Layer {workload.layer.name}: a bias of {int(np.abs(requantisation.bias).max())} "
            "does not fit int32"
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
    rows = _as_words(octets, row_words(Layouts(config))["passes"])
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


def decode_outputs(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    beats: list[list[int]],
) -> NDArray[np.int8] | NDArray[np.uint8]:
    """Return the codes, axes p, q, k, from the output beats of each cluster.

    Raises
    ------
    HardwareError
        There are more or fewer beats than the program gives, or a beat breaks the format.
    """
    layer, lanes = workload.layer, config.collector_width
    codes = np.zeros((layer.positions, layer.out_channels), dtype=np.uint8)
    for cluster, raw in enumerate(beats):
        positions = cluster_positions(config, layer.positions, cluster)
        held, last, lane_codes = _unpack_beats(raw, lanes)
        first = 0
        for index in range(len(schedule.assignment)):
            outputs = schedule.outputs(index)
            count = -(-len(outputs) // lanes)  # beats of a position
            end = first + count * len(positions)
            if len(raw) < end:
                raise HardwareError(f"Cluster {cluster} gave only {len(raw)} output beats")
            shape = (len(positions), count * lanes)
            exists = np.arange(count * lanes) < len(outputs)
            ends = np.arange(count) == count - 1
            if np.any(held[first:end].reshape(shape) != exists) or np.any(
                last[first:end].reshape(-1, count) != ends
            ):
                raise HardwareError(f"Cluster {cluster} gave output beats of another length")
            table = lane_codes[first:end].reshape(shape)[:, : len(outputs)]
            codes[positions[:, None], outputs] = table
            first = end
        if first != len(raw):
            raise HardwareError(f"Cluster {cluster} gave {len(raw)} output beats, not {first}")
    result = codes.reshape(layer.out_height, layer.out_width, layer.out_channels)
    return result.view(np.int8) if workload.requantisation.signed else result


def _unpack_beats(
    raw: list[int], lanes: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.uint8]]:
    """Return which lanes exist, which beats are a position's last, and each lane's code."""
    size = -(-(10 * lanes + 1) // 8)
    octets = np.frombuffer(b"".join(beat.to_bytes(size, "little") for beat in raw), dtype=np.uint8)
    bits = np.unpackbits(octets.reshape(-1, size), axis=1, bitorder="little").astype(bool)
    mask, held = bits[:, :lanes], bits[:, lanes : 2 * lanes]
    values = np.packbits(bits[:, 2 * lanes : 10 * lanes], axis=1, bitorder="little")
    at = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    codes = np.where(mask, np.take_along_axis(values.reshape(-1, lanes), at, axis=1), 0)
    return held, bits[:, 10 * lanes], codes.astype(np.uint8)


def layer_counters(config: AcceleratorConfig, read: list[dict[str, int] | None]) -> LayerCounters:
    """Return counters from what was read of each cluster; None for one that did not run."""
    clusters = np.zeros((config.clusters, len(CLUSTER_COUNTERS)), dtype=np.int64)
    units = np.zeros((config.clusters, config.units, len(UNIT_COUNTERS)), dtype=np.int64)
    for number, counters in enumerate(read):
        if counters is None:
            continue
        clusters[number] = [counters[name] for name in CLUSTER_COUNTERS]
        for unit in range(config.units):
            units[number, unit] = [counters[f"unit{unit}.{name}"] for name in UNIT_COUNTERS]
    return LayerCounters(clusters, units)
