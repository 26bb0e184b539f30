"""The tick oracle: a cluster's loader, broadcaster, units and collector, stepped every cycle.

Written from ``docs/machine.md`` as state machines that talk over wires with a delay; no
equation of that page is evaluated here. Slow and plain: it is what the fast ones are held to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from tests.program import Layer, Program, Step, deal

__all__ = ["run_layer"]

Codes = NDArray[np.int8 | np.uint8]
Item = TypeVar("Item")


def run_layer(
    config: AcceleratorConfig, workload: LayerWorkload, schedule: Schedule, skip: SkipMode
) -> tuple[Codes, LayerCounters]:
    """Run a layer on one image.

    Returns
    -------
    ndarray of int8 or uint8, axes p, q, k
        Output codes.
    LayerCounters
    """
    layer = Layer(config, workload, schedule, skip)

    def last_end(program: Program) -> int:
        return _run(Cluster(layer, program)).collector.last_end

    clusters = [
        _run(Cluster(layer, layer.program(positions))) for positions in deal(layer, last_end)
    ]
    shape = workload.layer
    codes = np.zeros((shape.positions, shape.out_channels), dtype=layer.how.dtype)
    written = np.zeros(codes.shape, dtype=np.int64)
    for cluster in clusters:
        for position, k, code in cluster.collector.drained:
            codes[position, k] = code
            written[position, k] += 1
    if np.any(written != 1):
        raise RuntimeError("an output was drained never or twice")
    counters = LayerCounters(
        np.array([[c.counters[name] for name in CLUSTER_COUNTERS] for c in clusters]),
        np.array([[[u.counters[n] for n in UNIT_COUNTERS] for u in c.units] for c in clusters]),
    )
    return codes.reshape(shape.out_height, shape.out_width, shape.out_channels), counters


class Wire(Generic[Item]):
    """Carries items; what is sent in a cycle is seen ``delay`` cycles later."""

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self._flying: deque[tuple[int, Item]] = deque()

    def send(self, now: int, item: Item) -> None:
        self._flying.append((now + self.delay, item))

    def receive(self, now: int) -> Iterator[Item]:
        while self._flying and self._flying[0][0] <= now:
            yield self._flying.popleft()[1]


@dataclass(frozen=True)
class Delivery:
    """A step in a unit's FIFO, and the slot it is in."""

    step: Step
    slot: int


class Unit:
    """Works through the chunks of its FIFO; holds a finished result until the register is free."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.fifo: deque[Delivery] = deque()
        self.working: Delivery | None = None
        self.cycles_left: list[tuple[str, int]] = []
        self.counters: dict[str, int] = dict.fromkeys(UNIT_COUNTERS, 0)

    def begin_cycle(self, now: int) -> None:
        if self.working and not self.cycles_left and not self._held_by_collector():
            self._finish(now, self.working)
            self.working = None
        if self.working is None and self.fifo:
            self.working = self.fifo.popleft()
            jobs = self.working.step.chunk.jobs[self.number]
            self.cycles_left = [
                ("busy_cycles" if job.pairs else "bubble_cycles", job.cycles) for job in jobs
            ]

    def _held_by_collector(self) -> bool:
        step = self.working.step if self.working else None
        return (
            step is not None
            and step.completes is not None
            and self.cluster.collector.registers_freed < step.completes
        )

    def _finish(self, now: int, done: Delivery) -> None:
        step = done.step
        for job in step.chunk.jobs[self.number]:
            self.cluster.sums[job.filter, step.position] += job.product
            self.cluster.counters["pairs"] += job.pairs
        self.cluster.released.send(now, (done.slot, self.number))
        if step.ends_load:
            self.cluster.filters_used.send(now, (step.load, self.number))
        if step.completes is not None:
            self.cluster.results.send(now, self.number)

    def end_cycle(self) -> None:
        """Count this cycle and do one cycle of work."""
        broadcaster = self.cluster.broadcaster
        if self.working and self.cycles_left:
            what, left = self.cycles_left[0]
            self.cycles_left[:1] = [(what, left - 1)] if left > 1 else []
        elif self.working:
            what = "wait_collector_cycles"
        elif broadcaster.step and self.number in broadcaster.step.units:
            what = broadcaster.waits_for
        else:
            what = "idle_cycles"
        self.counters[what] += 1


class Loader:
    """Fills filter buffers in program order, one beat a cycle."""

    def __init__(self, cluster: Cluster, buffers: int) -> None:
        self.cluster = cluster
        self.pending = deque(enumerate(cluster.program.loads))
        self.users: list[set[int]] = [set() for _ in range(buffers)]
        self.beats_left = 0
        self.loading: int | None = None

    def begin_cycle(self, now: int) -> None:
        if self.loading is not None and self.beats_left == 0:
            self.cluster.loaded.send(now, self.loading)
            self.loading = None
        for number, unit in self.cluster.filters_used.receive(now):
            self.users[number % len(self.users)].remove(unit)
        if self.loading is None and self.pending:
            number, load = self.pending[0]
            if not self.users[number % len(self.users)]:
                self.pending.popleft()
                self.users[number % len(self.users)] = set(load.units)
                self.loading, self.beats_left = number, load.beats

    def end_cycle(self) -> None:
        if self.loading is not None:
            self.beats_left -= 1
            self.cluster.counters["filter_beats"] += 1


class Broadcaster:
    """Sends the input chunks of the program, one word a cycle, into the units' slots."""

    def __init__(self, cluster: Cluster, slots: int) -> None:
        self.cluster = cluster
        self.steps = deque(cluster.program.steps)
        self.users: list[set[int]] = [set() for _ in range(slots)]
        self.loads_seen = 0
        self.delivered = 0
        self.sending = False
        self.words_left = 0
        self.waits_for = ""

    @property
    def step(self) -> Step | None:
        """The step that is sent or comes next."""
        return self.steps[0] if self.steps else None

    def finish_word(self) -> None:
        """First thing in a cycle: what was sent in the last one has arrived."""
        if self.sending and self.words_left == 0:
            self.sending = False
            step = self.steps.popleft()
            if not step.delivered:
                return
            slot = self.delivered % len(self.users)
            self.delivered += 1
            self.users[slot] = set(step.units)
            for u in step.units:
                self.cluster.units[u].fifo.append(Delivery(step, slot))

    def begin_cycle(self, now: int) -> None:
        for _ in self.cluster.loaded.receive(now):
            self.loads_seen += 1
        for slot, unit in self.cluster.released.receive(now):
            self.users[slot].remove(unit)
        step = self.step
        if step is None or self.sending:
            return
        if step.load >= self.loads_seen:
            self.waits_for = "wait_memory_cycles"
        elif step.delivered and self.users[self.delivered % len(self.users)]:
            self.waits_for = "wait_siblings_cycles"
        else:
            self.waits_for = "wait_broadcast_cycles"
            if now >= self.cluster.layer.config.LATENCY.start:
                self.sending, self.words_left = True, step.chunk.words
                counters = self.cluster.counters
                counters["steps_delivered" if step.delivered else "steps_skipped"] += 1

    def end_cycle(self) -> None:
        if self.sending:
            self.words_left -= 1
            if self.steps[0].delivered:
                self.cluster.counters["broadcast_words"] += 1


class Collector:
    """Takes a position's results from all its units and drains them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.pending = deque(cluster.program.completions)
        self.ready: set[int] = set()
        self.draining: deque[tuple[int, int, int]] = deque()
        self.drained: list[tuple[int, int, int]] = []
        self.registers_freed = 0
        self.last_end = 0

    def receive_free(self, now: int) -> None:
        for _ in self.cluster.register_free.receive(now):
            self.registers_freed += 1

    def finish(self, now: int) -> None:
        if self.ready and not self.draining and self._complete():
            self.pending.popleft()
            self.ready = set()
            self.last_end = now
            self.cluster.register_free.send(now, None)

    def _complete(self) -> bool:
        holders = {u for u, held in enumerate(self._held()) if (held >= 0).any()}
        return self.ready == holders

    def _held(self) -> NDArray[np.int32]:
        return self.cluster.layer.schedule.assignment[self.pending[0][0]]

    def begin_cycle(self, now: int) -> None:
        if arrived := set(self.cluster.results.receive(now)):
            self.ready |= arrived
            if self._complete():
                self.draining = deque(self._outputs(*self.pending[0]))

    def _outputs(self, index: int, position: int) -> Iterator[tuple[int, int, int]]:
        layer = self.cluster.layer
        for k in layer.schedule.outputs(index).tolist():
            how = replace(
                layer.how,
                bias=layer.how.bias[[k]],
                multiplier=layer.how.multiplier[[k]],
                shift=layer.how.shift[[k]],
            )
            total = np.array([self.cluster.sums[k, position]], dtype=np.int64)
            yield position, k, int(how.apply(total)[0])

    def end_cycle(self) -> None:
        for _ in range(min(self.cluster.layer.config.collector_width, len(self.draining))):
            output = self.draining.popleft()
            self.drained.append(output)
            self.cluster.counters["outputs"] += 1
            self.cluster.counters["output_nonzeros"] += output[2] != 0


class Cluster:
    """The blocks of one cluster and the wires between them."""

    def __init__(self, layer: Layer, program: Program) -> None:
        config = layer.config
        self.layer, self.program = layer, program
        self.counters: dict[str, int] = dict.fromkeys(CLUSTER_COUNTERS, 0)
        self.sums: NDArray[np.int64] = np.zeros(
            (layer.shape.out_channels, layer.shape.positions), dtype=np.int64
        )
        self.loaded: Wire[int] = Wire(config.LATENCY.load)
        self.filters_used: Wire[tuple[int, int]] = Wire(config.LATENCY.load_free)
        self.released: Wire[tuple[int, int]] = Wire(config.LATENCY.release)
        self.results: Wire[int] = Wire(config.LATENCY.deliver)
        self.register_free: Wire[None] = Wire(config.LATENCY.collector_free)
        self.units = [Unit(self, u) for u in range(config.units)]
        self.loader = Loader(self, 2 if config.filter_double_buffer else 1)
        self.broadcaster = Broadcaster(self, config.slots)
        self.collector = Collector(self)

    def begin_cycle(self, now: int) -> None:
        """Let every block see what has arrived and take up work."""
        self.broadcaster.finish_word()
        self.collector.finish(now)
        self.collector.receive_free(now)
        for unit in self.units:
            unit.begin_cycle(now)
            if len(unit.fifo) > self.layer.config.fifo_depth:
                raise RuntimeError("a unit's FIFO overflowed")
        self.collector.begin_cycle(now)
        self.loader.begin_cycle(now)
        self.broadcaster.begin_cycle(now)

    def end_cycle(self) -> None:
        """Let every block do a cycle of work."""
        for block in (*self.units, self.loader, self.broadcaster, self.collector):
            block.end_cycle()


def _run(cluster: Cluster) -> Cluster:
    """Run a cluster to its end."""
    now, latest = 0, _latest_end(cluster)
    while cluster.collector.pending:
        cluster.begin_cycle(now)
        if cluster.collector.pending:
            cluster.end_cycle()
            now += 1
        if now > latest:
            raise RuntimeError(f"the cluster hangs: still running after {latest} cycles")
    if cluster.program.completions:
        cluster.counters["cycles"] = now + cluster.layer.config.LATENCY.tail
    for _ in range(now, cluster.counters["cycles"]):
        cluster.end_cycle()
    return cluster


def _latest_end(cluster: Cluster) -> int:
    """Cycles of the program with nothing done at the same time as anything else."""
    latency = cluster.layer.config.LATENCY
    total = latency.start + 1
    for load in cluster.program.loads:
        total += load.beats + latency.load + latency.load_free
    for step in cluster.program.steps:
        jobs = [job for mine in step.chunk.jobs.values() for job in mine]
        total += step.chunk.words + sum(job.cycles for job in jobs) + latency.release
        if step.completes is not None:
            total += len(jobs) + latency.deliver + latency.collector_free
    return total
