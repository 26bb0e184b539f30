"""When each unit does what: the recurrence of ``docs/machine.md``, *Timing*, with its intervals.

The kernel adds up what this walk puts in order. Symbols are those of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.arrays import FILTER_SIDE, JOIN, Deals, Inputs, Passes
from accel.machines.cluster.program import (
    LayerProgram,
    arrange_deals,
    arrange_inputs,
    arrange_passes,
)
from accel.machines.timeline import Track
from golden.counters import UNIT_COUNTERS
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

__all__ = ["walk_layer"]

BUSY, BUBBLE, MEMORY, SIBLINGS, BROADCAST, COLLECTOR, IDLE = range(len(UNIT_COUNTERS))


def walk_layer(program: LayerProgram, skip: SkipMode) -> tuple[Track, ...]:
    """Return every unit's intervals.

    Returns
    -------
    tuple of Track
        Cluster by cluster, unit by unit; a cluster's tracks end with its own last cycle.
    """
    config = program.config
    walk = _Walk(
        config,
        arrange_passes(program, skip),
        arrange_inputs(program, skip),
        arrange_deals(config, program.schedule, program.layer.positions),
    )
    walk.run()
    return tuple(
        cluster.track(m, unit)
        for m, cluster in enumerate(walk.clusters)
        for unit in range(config.units)
    )


@dataclass
class _Unit:
    """A unit's intervals: states, and the first cycle after each."""

    finish: int = 0  # F' of its last step
    states: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, state: int, start: int, end: int) -> None:
        """Append an interval; what lies before it is idle."""
        if start >= end:
            return
        self._extend(IDLE, start)
        self._extend(state, end)

    def _extend(self, state: int, end: int) -> None:
        if end <= (self.ends[-1] if self.ends else 0):
            return
        if self.states and self.states[-1] == state:
            self.ends[-1] = end
        else:
            self.states.append(state)
            self.ends.append(end)

    def finished(self, cycles: int) -> _Unit:
        self._extend(IDLE, cycles)
        return self


class _Cluster:
    """What a cluster remembers between steps."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.units = [_Unit() for _ in range(config.units)]
        self.begun = False  # whether any step was taken
        self.arrived = config.LATENCY.start  # A
        self.loaded = 0  # LD
        self.ready = 0  # G
        self.load_ends: list[int] = []  # largest F' of the last step of each load
        self.finishes: list[int] = []  # largest F' of each delivered step
        self.collector_free = 0  # C
        self.drained = 0  # E
        self.completed = False

    def track(self, number: int, unit: int) -> Track:
        cycles = self.drained + self.config.LATENCY.tail if self.completed else 0
        found = self.units[unit].finished(cycles)
        return Track(
            f"cluster {number}, unit {unit}",
            np.array(found.states, dtype=np.uint8),
            np.array(found.ends, dtype=np.int64),
        )

    def load(self, beats: int) -> None:
        """Load a segment's filters: LD, G."""
        buffers = 2 if self.config.filter_double_buffer else 1
        free = 0
        if len(self.load_ends) >= buffers:
            free = self.load_ends[-buffers] + self.config.LATENCY.load_free
        self.loaded = max(self.loaded, free) + beats
        self.ready = self.loaded + self.config.LATENCY.load
        self.load_ends.append(0)

    def arrive(self, words: int, delivered: bool, active: int) -> None:
        """Send a step's input chunk: R, A; units wait for it."""
        slots = self.config.slots
        released = 0
        if delivered and len(self.finishes) >= slots:
            released = self.finishes[-slots] + self.config.LATENCY.release
        before = self.arrived if self.begun else 0
        self.begun = True
        self.arrived = max(self.arrived, self.ready, released) + words
        for unit in self.units[:active]:
            at = min(max(before, unit.finish), self.arrived)
            till_ready = min(max(at, self.ready), self.arrived)
            till_released = min(max(till_ready, released), self.arrived)
            unit.add(MEMORY, at, till_ready)
            unit.add(SIBLINGS, till_ready, till_released)
            unit.add(BROADCAST, till_released, self.arrived)

    def work(self, unit: _Unit, pairs: list[int], completes: bool) -> int:
        """Let a unit work on its filters' pairs, one after the other: S, F, F'."""
        at = max(self.arrived, unit.finish)
        for count in pairs:
            cycles = max(1, -(-count // self.config.lanes))
            unit.add(BUSY if count else BUBBLE, at, at + cycles)
            at += cycles
        unit.finish = at
        if completes:
            unit.finish = max(at, self.collector_free)
            unit.add(COLLECTOR, at, unit.finish)
        return unit.finish

    def complete(self, drain_cycles: int) -> None:
        """Drain a position: E, C."""
        latency = self.config.LATENCY
        self.drained = self.finishes[-1] + latency.deliver + drain_cycles
        self.collector_free = self.drained + latency.collector_free
        self.completed = True


class _Walk:
    """All clusters through all passes."""

    def __init__(
        self, config: AcceleratorConfig, passes: Passes, inputs: Inputs, deals: Deals
    ) -> None:
        self._passes, self._inputs, self._deals = passes, inputs, deals
        self.clusters = [_Cluster(config) for _ in range(config.clusters)]

    def run(self) -> None:
        for index in range(self._passes.passes):
            works = [False] * len(self.clusters)
            for m, positions in self._dealt():
                for segment in range(self._passes.segments):
                    # A whole filter is loaded once a pass.
                    if self._passes.segments > 1 or not works[m]:
                        self.clusters[m].load(int(self._passes.load_beats[index, segment]))
                        works[m] = True
                    self._run_segment(self.clusters[m], index, segment, positions)

    def _dealt(self) -> Iterator[tuple[int, range]]:
        """Yield clusters and their positions, in the order in which they take them."""
        deals, positions = self._deals, self._passes.positions
        if deals.queue:
            for first in range(0, positions, deals.queue_positions):
                ends = [cluster.drained for cluster in self.clusters]
                end = min(first + deals.queue_positions, positions)
                yield ends.index(min(ends)), range(first, end)
            return
        for m in range(len(self.clusters)):
            for first, count in zip(deals.first[m], deals.positions[m], strict=True):
                if count:
                    last = int(first) + int(count) * deals.stride
                    yield m, range(int(first), last, deals.stride)

    def _run_segment(self, cluster: _Cluster, index: int, segment: int, positions: range) -> None:
        passes, inputs = self._passes, self._inputs
        first = segment * passes.segment_chunks
        end = min(first + passes.segment_chunks, passes.filter_chunks)
        active = int(passes.active[index])
        for position in positions:
            for chunk in range(first, end):
                at = int(passes.base[index]) + int(inputs.chunks[position, chunk])
                words = int(inputs.broadcast_words[at])
                delivered = words > 0 or not inputs.skip_empty or chunk == end - 1
                cluster.arrive(max(words, 1), delivered, active)
                if not delivered:
                    continue
                completes = end == passes.filter_chunks and chunk == end - 1
                pairs = self._pairs(index, chunk, at)
                finish = 0
                for unit in range(active):
                    held = passes.least[index, chunk, :, unit] > 0
                    counts = pairs[held, unit].tolist()
                    finish = max(finish, cluster.work(cluster.units[unit], counts, completes))
                cluster.finishes.append(finish)
                if completes:
                    cluster.complete(int(passes.drain_cycles[index]))
        cluster.load_ends[-1] = cluster.finishes[-1]

    def _pairs(self, index: int, chunk: int, at: int) -> NDArray[np.int64]:
        """Return the pairs of each filter, axes slot, unit."""
        passes, inputs = self._passes, self._inputs
        if passes.source == JOIN:
            joined = passes.filters[index, chunk] & inputs.masks[at][None, :, None]
            return np.bitwise_count(joined).sum(axis=1, dtype=np.int64)
        if passes.source == FILTER_SIDE:
            return passes.counts[index, chunk].astype(np.int64)
        return np.full(passes.least.shape[2:], int(inputs.counts[at]), dtype=np.int64)
