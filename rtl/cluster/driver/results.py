"""How the results of a cluster are read: its output stream and its counters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.errors import HardwareError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from golden.program import Codes
from rtl.cluster.driver.capacity import cluster_positions
from rtl.host import Beat

__all__ = ["decode_outputs", "expected_beats", "layer_counters"]


def decode_outputs(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    beats: list[list[int]],
) -> Codes:
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


def expected_beats(
    config: AcceleratorConfig, layer: LayerShape, schedule: Schedule, codes: Codes
) -> list[list[Beat]]:
    """Return the output beats that each cluster must give for codes, axes p, q, k."""
    lanes, result = config.collector_width, []
    flat = codes.view(np.uint8).reshape(layer.positions, layer.out_channels)
    defined = (1 << 10 * lanes + 1) - 1
    for cluster in range(config.clusters):
        beats: list[Beat] = []
        for index in range(len(schedule.assignment)):
            outputs = schedule.outputs(index)
            for position in cluster_positions(config, layer.positions, cluster):
                row = flat[position, outputs].tolist()
                for first in range(0, len(row), lanes):
                    ends = first + lanes >= len(row)
                    beats.append((_pack_beat(row[first : first + lanes], lanes, ends), defined))
        result.append(beats)
    return result


def _pack_beat(codes: list[int], lanes: int, ends: bool) -> int:
    """Return a beat: which codes are not zero, which exist, the former, the end of a position."""
    mask = sum(1 << lane for lane, code in enumerate(codes) if code)
    held = (1 << len(codes)) - 1
    values = int.from_bytes(bytes(code for code in codes if code), "little")
    return mask | held << lanes | values << 2 * lanes | ends << 10 * lanes


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
