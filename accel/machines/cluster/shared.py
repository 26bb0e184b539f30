"""What cluster machines share of one layer and image: each thing is made once, by what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.capacity import (
    FilterDemand,
    InputDemand,
    filter_demand,
    input_demand,
)
from accel.machines.cluster.kernels import count_broadcast_words
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import LayerProgram, prepare_layer
from golden.layer import ChunkLayout, LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Dealing
from golden.machines.cluster.program import schedule_task
from golden.machines.cluster.schedule import Schedule
from golden.program import Codes, LayerTask
from golden.tensor import BitmaskTensor, popcount

__all__ = ["Packed", "SharedLayer", "schedule_key"]

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Packed:
    """A layer in chunks of one size.

    Parameters
    ----------
    layout : ChunkLayout
    weights : BitmaskTensor
    weight_counts : ndarray of int64, axes filter, filter chunk
        Values of each.
    masks : ndarray of uint64, axes row, chunk of the row, word
        Of the input.
    input_counts : ndarray of int64, axes row, chunk of the row
    """

    layout: ChunkLayout
    weights: BitmaskTensor
    weight_counts: NDArray[np.int64]
    masks: NDArray[np.uint64]
    input_counts: NDArray[np.int64]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the compressed filters: masks and values."""
        return self.weight_counts.size * self.layout.chunk // 8 + len(self.weights.values)

    @property
    def input_bytes(self) -> int:
        """Bytes of the compressed input: masks and values."""
        return self.input_counts.size * self.layout.chunk // 8 + int(self.input_counts.sum())

    def chunk_masks(self, groups: int) -> NDArray[np.uint64]:
        """Return the input's masks, axes chunk, word: each group's, followed by a row of zeros."""
        words = self.masks.shape[-1]
        grouped = self.masks.reshape(groups, -1, words)
        zeros = np.zeros((groups, self.layout.row_chunks, words), dtype=np.uint64)
        return np.concatenate([grouped, zeros], axis=1).reshape(-1, words)


class SharedLayer:
    """A layer with one image's tensors, and what was made of them for machines so far.

    Parameters
    ----------
    task : LayerTask
    activations : ndarray of int8 or uint8, axes y, x, channel
    output : ndarray of int8 or uint8, axes p, q, k
    """

    def __init__(self, task: LayerTask, activations: Codes, output: Codes) -> None:
        self.task = task
        self.activations = activations
        self.output = output
        self._made: dict[tuple, Any] = {}

    @property
    def layer(self) -> LayerShape:
        return self.task.layer

    def once(self, key: tuple, make: Callable[[], Made]) -> Made:
        """Return what was made under a key, or make it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def packed(self, config: AcceleratorConfig) -> Packed:
        """Return the layer in a machine's chunks."""

        def pack() -> Packed:
            layout = self.layer.layout(config)
            weights = pack_filters(config, self.layer, self.task.weights)
            masks = activation_masks(config, self.layer, self.activations)
            counts = popcount(weights.masks).reshape(-1, layout.filter_chunks)
            return Packed(layout, weights, counts, masks, popcount(masks))

        return self.once(("packed", config.chunk), pack)

    def schedule(self, config: AcceleratorConfig) -> Schedule:
        """Return a machine's schedule."""

        def make() -> Schedule:
            return schedule_task(config, self.task, self.packed(config).weights)

        return self.once(("schedule", *schedule_key(config)), make)

    def program(self, config: AcceleratorConfig) -> LayerProgram:
        """Return the layer arranged for the kernel of single machines."""
        packed = self.packed(config)
        return prepare_layer(
            config, self.layer, packed.weights, packed.masks, self.schedule(config), self.output
        )

    def filter_demand(self, config: AcceleratorConfig) -> FilterDemand:
        """Return what a unit must hold of its filters."""
        return self.once(
            ("filter demand", *schedule_key(config)),
            lambda: filter_demand(self.schedule(config), self.packed(config).weight_counts),
        )

    def input_demand(self, config: AcceleratorConfig) -> InputDemand:
        """Return what a cluster must hold of the input."""
        tiles = config.clusters if config.dealing is Dealing.TILES else None
        return self.once(
            ("input demand", config.chunk, tiles),
            lambda: input_demand(config, self.layer, self.packed(config).input_counts),
        )

    def broadcast_words(self, config: AcceleratorConfig) -> NDArray[np.uint16]:
        """Return the broadcast words of each input chunk, a padded row's too."""

        def count() -> NDArray[np.uint16]:
            masks = self.packed(config).chunk_masks(self.layer.groups)
            counts = np.empty(len(masks), dtype=np.uint16)
            count_broadcast_words(masks, config.broadcast_width, counts)
            return counts

        return self.once(("broadcast words", config.chunk, config.broadcast_width), count)

    def load_beats(self, config: AcceleratorConfig) -> NDArray[np.int64]:
        """Return the beats that each whole filter takes on the filter bus, axis filter."""

        def count() -> NDArray[np.int64]:
            values = self.packed(config).weight_counts
            return (config.mask_beats - (-values // config.filter_bus_bytes)).sum(axis=1)

        return self.once(("load beats", config.chunk, config.filter_bus_bytes), count)

    def nonzero_outputs(self) -> NDArray[np.uint8]:
        """Return which codes of the output are not zero, axes filter, position."""

        def find() -> NDArray[np.uint8]:
            nonzero = self.output.reshape(self.layer.positions, -1) != 0
            return np.ascontiguousarray(nonzero.T).view(np.uint8)

        return self.once(("nonzero outputs",), find)


def schedule_key(config: AcceleratorConfig) -> tuple:
    """Return what a schedule is made from."""
    return (
        config.chunk,
        config.units,
        config.filters_per_unit,
        config.balance,
        config.segment_chunks,
        config.tile_positions,
    )
