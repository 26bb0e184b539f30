"""What a cluster does in which order: filters to units, positions to clusters, segments.

This is the offline software's program for a layer; simulator, tick oracle and hardware
all execute it. Equations and terms are those of ``docs/machine.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Balance
from golden.tensor import BitmaskTensor, popcount

__all__ = ["Schedule", "make_schedule", "window_density"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The program of one layer on one machine.

    Parameters
    ----------
    assignment : ndarray of int32, axes pass, unit, slot
        Which filter (0 .. out_channels - 1) a unit holds in each of its
        ``filters_per_unit`` slots during a pass, -1 for none; slots fill from 0.
        A pass is one set of at most ``units * filters_per_unit`` filters of one
        convolution group; passes are ordered by group.
    pass_group : ndarray of int32, axis pass
        The convolution group of each pass.
    chunk_assignment : ndarray of int32, axes pass, filter chunk, unit, slot, or None
        With chunk balancing, who works on a filter's chunk; else None.
    segment_chunks : int
        Filter chunks in a segment, at least 1 and at most ``filter_chunks``.
    segments : int
        Segments of a filter.
    tile_positions : int
        Positions in a tile, at least 1.
    """

    assignment: NDArray[np.int32]
    pass_group: NDArray[np.int32]
    chunk_assignment: NDArray[np.int32] | None
    segment_chunks: int
    segments: int
    tile_positions: int

    def outputs(self, index: int) -> NDArray[np.int32]:
        """Filters of a pass in the order in which the collector takes them."""
        held = self.assignment[index].reshape(-1)
        return held[held >= 0]


def make_schedule(
    config: AcceleratorConfig,
    layer: LayerShape,
    weights: BitmaskTensor,
    channel_density: NDArray[np.float64] | None = None,
) -> Schedule:
    """Deal the filters of a layer to the units of a machine.

    Parameters
    ----------
    weights : BitmaskTensor
        Filters; rows are filter-major (``ChunkLayout``), so a filter's chunks are consecutive.
    channel_density : ndarray of float64, axis position of a window row, optional
        Expected share of non-zero activations at each position of a window row
        (``row_length`` entries, all groups alike), from calibration; needed by
        ``Balance.EXPECTED``, where None means all alike.
    """
    layout = layer.layout(config)
    chunk_counts = popcount(weights.masks).reshape(layer.out_channels, layout.filter_chunks)
    if config.balance is Balance.EXPECTED and channel_density is not None:
        key = _expected_pairs(weights, layer.out_channels, channel_density)
    else:
        key = chunk_counts.sum(axis=1).astype(np.float64)
    passes, groups = [], []
    for group in range(layer.groups):
        members = np.arange(layer.group_filters, dtype=np.int32) + group * layer.group_filters
        if config.balance is not Balance.NONE:
            members = members[np.argsort(-key[members], kind="stable")]
        for held in _deal(members, config):
            passes.append(held)
            groups.append(group)
    assignment = np.stack(passes)
    per_chunk = None
    if config.balance is Balance.CHUNK:
        per_chunk = np.stack([_pair_chunks(held, chunk_counts) for held in assignment])
    segment_chunks = min(config.segment_chunks or layout.filter_chunks, layout.filter_chunks)
    return Schedule(
        assignment=assignment,
        pass_group=np.array(groups, dtype=np.int32),
        chunk_assignment=per_chunk,
        segment_chunks=segment_chunks,
        segments=-(-layout.filter_chunks // segment_chunks),
        tile_positions=config.tile_positions,
    )


def window_density(
    config: AcceleratorConfig, layer: LayerShape, density: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Turn the densities of a tensor's channels into those of a window row's positions.

    Parameters
    ----------
    density : ndarray of float64, axis input channel, or None

    Returns
    -------
    ndarray of float64, axis position of a window row, or None
        It is what ``make_schedule`` takes; groups are averaged.
    """
    if density is None:
        return None
    row = np.asarray(density).reshape(layer.groups, layer.group_channels).mean(axis=0)
    return np.tile(row, layer.taps) if layer.layout(config).im2row else row


def _deal(members: NDArray[np.int32], config: AcceleratorConfig) -> list[NDArray[np.int32]]:
    """Cut an ordered list of filters into passes, each of axes unit, slot.

    Unbalanced filters go to units in turn, slot 0 of all units first. Balanced ones
    (sorted, heaviest first) are paired heaviest with lightest over the whole list.
    """
    units, slots = config.units, config.filters_per_unit
    if slots == 2 and config.balance is not Balance.NONE:
        # As many pairs as spare filters need; the other units of the last pass keep one.
        count = len(members)
        holders = max(-(-count // 2), min(count, units * -(-count // (2 * units))))
        table = np.full((holders, 2), -1, dtype=np.int32)
        table[:, 0] = members[:holders]
        table[holders - (count - holders) :, 1] = members[holders:][::-1]
    elif slots == 2:
        table_list = []
        for start in range(0, len(members), 2 * units):
            part = members[start : start + 2 * units]
            block = np.full((min(units, len(part)), 2), -1, dtype=np.int32)
            block[:, 0] = part[: len(block)]
            block[: len(part) - len(block), 1] = part[len(block) :]
            table_list.append(block)
        table = np.concatenate(table_list)
    else:
        table = members[:, None]
    passes = []
    for start in range(0, len(table), units):
        held = np.full((units, slots), -1, dtype=np.int32)
        part = table[start : start + units]
        held[: len(part)] = part
        passes.append(held)
    return passes


def _pair_chunks(held: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Pair the filters of a pass anew for every chunk: densest with sparsest (SparTen's GB-H)."""
    slot_of = held >= 0
    members = held[slot_of]
    result = np.full((counts.shape[1], *held.shape), -1, dtype=np.int32)
    singles = int(slot_of[:, 0].sum())
    for index in range(counts.shape[1]):
        order = members[np.argsort(-counts[members, index], kind="stable")]
        result[index, :singles, 0] = order[:singles]
        rest = order[singles:][::-1]
        result[index, singles - len(rest) : singles, 1] = rest
    return result


def _expected_pairs(
    weights: BitmaskTensor, filters: int, density: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected multiplications of each filter, in 1/256: its mask times the density under it.

    Densities are rounded to 1/256: sums of up to 2**16 of them are exact in float32, whatever
    the order in which BLAS adds, so that a schedule is the same on every machine.
    """
    octets = np.ascontiguousarray(weights.masks.astype("<u8", copy=False)).view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little")[..., : weights.chunk]
    bits = bits.reshape(len(weights.masks), -1)[:, : weights.shape[-1]]
    levels = np.rint(np.clip(density, 0.0, 1.0) * 256).astype(np.float32)
    pairs = np.zeros(len(bits), dtype=np.float64)
    for start in range(0, bits.shape[1], 1 << 15):
        part = slice(start, start + (1 << 15))
        pairs += bits[:, part].astype(np.float32) @ levels[part]
    return pairs.reshape(filters, -1).sum(axis=1)
