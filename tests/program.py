"""What a cluster does, step by step, from ``docs/machine.md``: steps, their costs, and loads.

Shared by the two timing models of the tests (`tests.oracle` ticks it, `tests.conformance.equations`
evaluates it); written from the dense meaning of the format, with no arithmetic on masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from golden.machines.cluster.config import AcceleratorConfig, Dealing, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from golden.tensor import BitmaskTensor

__all__ = ["Layer", "Load", "Program", "Step", "deal"]


@dataclass(frozen=True)
class Job:
    """One filter chunk against one input chunk on one unit."""

    filter: int
    pairs: int
    cycles: int
    product: int


@dataclass(frozen=True)
class Chunk:
    """What a step costs, wherever in the program it stands."""

    words: int
    empty: bool
    jobs: dict[int, tuple[Job, ...]]


@dataclass(frozen=True)
class Load:
    beats: int
    units: frozenset[int]


@dataclass(frozen=True)
class Step:
    """A step of a program.

    Parameters
    ----------
    load : int
        Number of the filter load that it needs.
    ends_load : bool
        It is the last one that uses that load.
    completes : int or None
        The number of the completion, among the cluster's, that this step is.
    """

    chunk: Chunk
    pass_index: int
    position: int
    load: int
    delivered: bool
    ends_load: bool
    completes: int | None

    @property
    def units(self) -> tuple[int, ...]:
        """Units that are active in it."""
        return tuple(self.chunk.jobs)


@dataclass(frozen=True)
class Program:
    steps: list[Step]
    loads: list[Load]
    completions: list[tuple[int, int]]  # pass, position


class Layer:
    """A layer on a machine, in dense terms."""

    def __init__(
        self,
        config: AcceleratorConfig,
        workload: LayerWorkload,
        schedule: Schedule,
        skip: SkipMode,
    ) -> None:
        self.config, self.shape, self.schedule, self.skip = config, workload.layer, schedule, skip
        self.layout = workload.layer.layout(config)
        self.how = workload.requantisation
        self._inputs = _dense_chunks(workload.activations)
        filters = _dense_chunks(workload.weights)
        self._filters = filters.reshape(-1, self.layout.filter_chunks, config.chunk)
        self._known: dict[tuple[int, int, int], Chunk] = {}

    @cached_property
    def _holders(self) -> list[frozenset[int]]:
        return [
            frozenset(int(u) for u in np.flatnonzero((held >= 0).any(axis=1)))
            for held in self.schedule.assignment
        ]

    def program(self, positions: list[list[int]]) -> Program:
        """Return a cluster's program, given its positions in each pass."""
        result = Program([], [], [])
        for index, mine in enumerate(positions):
            if not mine:
                continue
            if self.schedule.segments == 1:
                self._add_load(result, index, 0)
                self._add_segment(result, index, mine, 0)
                continue
            for start in range(0, len(mine), self.schedule.tile_positions):
                tile = mine[start : start + self.schedule.tile_positions]
                for segment in range(self.schedule.segments):
                    self._add_load(result, index, segment)
                    self._add_segment(result, index, tile, segment)
        return result

    def _segment(self, segment: int) -> range:
        first = segment * self.schedule.segment_chunks
        return range(first, min(first + self.schedule.segment_chunks, self.layout.filter_chunks))

    def _add_load(self, program: Program, index: int, segment: int) -> None:
        beats = 0
        for k in self.schedule.outputs(index):
            for i in self._segment(segment):
                values = np.count_nonzero(self._filters[k, i])
                beats += self.config.mask_beats + -(-values // self.config.filter_bus_bytes)
        program.loads.append(Load(int(beats), self._holders[index]))

    def _add_segment(
        self, program: Program, index: int, positions: list[int], segment: int
    ) -> None:
        chunks = self._segment(segment)
        for position in positions:
            for i in chunks:
                chunk = self._chunk(index, position, i)
                last = i == chunks[-1]
                skipped = (
                    self.config.skip_empty_chunks and self.skip.skips_activations and chunk.empty
                )
                completes = None
                if last and segment == self.schedule.segments - 1:
                    completes = len(program.completions)
                    program.completions.append((index, position))
                program.steps.append(
                    Step(
                        chunk=chunk,
                        pass_index=index,
                        position=position,
                        load=len(program.loads) - 1,
                        delivered=last or not skipped,
                        ends_load=last and position == positions[-1],
                        completes=completes,
                    )
                )

    def _chunk(self, index: int, position: int, i: int) -> Chunk:
        key = (index, position, i)
        if key not in self._known:
            self._known[key] = self._cost(index, position, i)
        return self._known[key]

    def _cost(self, index: int, position: int, i: int) -> Chunk:
        config, schedule = self.config, self.schedule
        inputs = self._window(int(schedule.pass_group[index]), position, i)
        exists = np.arange(config.chunk) < self.layout.chunk_length(i)
        wanted = (inputs != 0) if self.skip.skips_activations else exists
        held = schedule.assignment[index]
        if schedule.chunk_assignment is not None:
            held = schedule.chunk_assignment[index, i]
        jobs: dict[int, tuple[Job, ...]] = {}
        for u in range(config.units):
            mine = []
            for k in held[u]:
                if k < 0:
                    continue
                weights = self._filters[k, i]
                taken = wanted & ((weights != 0) if self.skip.skips_weights else exists)
                pairs = int(np.count_nonzero(taken))
                product = int(weights[taken] @ inputs[taken])
                mine.append(Job(int(k), pairs, max(1, -(-pairs // config.lanes)), product))
            if mine:
                jobs[u] = tuple(mine)
        words = inputs.reshape(-1, config.broadcast_width).any(axis=1).sum()
        return Chunk(max(1, int(words)), not inputs.any(), jobs)

    def _window(self, group: int, position: int, i: int) -> NDArray[np.int64]:
        shape, layout = self.shape, self.layout
        p, q = divmod(position, shape.out_width)
        if layout.im2row:
            row = (group * shape.out_height + p) * shape.out_width + q
            return self._inputs[row, i]
        tap, part = divmod(i, layout.row_chunks)
        r, s = divmod(tap, shape.kernel_width)
        y = p * shape.stride_height + r - shape.pad_top
        x = q * shape.stride_width + s - shape.pad_left
        if not (0 <= y < shape.in_height and 0 <= x < shape.in_width):
            return np.zeros(self.config.chunk, dtype=np.int64)
        return self._inputs[(group * shape.in_height + y) * shape.in_width + x, part]


def deal(layer: Layer, last_end: Callable[[Program], int]) -> list[list[list[int]]]:
    """Deal positions to clusters; axes cluster, pass, then positions in order.

    Parameters
    ----------
    last_end : callable
        Runs a program and returns E of its last completion; a queue needs it.
    """
    clusters, positions = layer.config.clusters, range(layer.shape.positions)
    passes = len(layer.schedule.assignment)
    if layer.config.dealing is Dealing.TILES:
        run = -(-len(positions) // clusters)
        return [[list(positions[m * run : (m + 1) * run])] * passes for m in range(clusters)]
    if layer.config.dealing is Dealing.INTERLEAVED:
        return [[list(positions[m::clusters])] * passes for m in range(clusters)]
    lists: list[list[list[int]]] = [[] for _ in range(clusters)]
    ends = [0] * clusters
    size = 1 if layer.schedule.segments == 1 else layer.schedule.tile_positions
    for _ in range(passes):
        for mine in lists:
            mine.append([])
        for start in range(0, len(positions), size):
            first = ends.index(min(ends))
            lists[first][-1].extend(positions[start : start + size])
            ends[first] = last_end(layer.program(lists[first]))
    return lists


def _dense_chunks(tensor: BitmaskTensor) -> NDArray[np.int64]:
    """Unpack, axes row, chunk of the row, position: the n-th one bit has the n-th value."""
    result = np.zeros((tensor.rows, tensor.row_chunks, tensor.chunk), dtype=np.int64)
    values: Iterator[int] = iter(tensor.values.tolist())
    for row in range(tensor.rows):
        for i in range(tensor.row_chunks):
            mask = 0
            for number, word in enumerate(tensor.masks[row, i].tolist()):
                mask |= word << (64 * number)
            for at in range(tensor.chunk):
                if mask >> at & 1:
                    result[row, i, at] = next(values)
    return result
