"""Counts the points of a sweep: layers outermost, machines inside, each layer's work shared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from accel.activations.trace import LayerTrace, Trace
from accel.costs.energy import EnergyTable
from accel.machines.machine import Counted, Machine
from accel.placement import layer_task
from accel.results import Timing
from accel.sweeps.engine.outcome import BOUNDED, FAILED, INFEASIBLE, OK, Outcome
from accel.sweeps.space.point import Point
from accel.sweeps.space.pruning import prune_network
from golden.errors import CapacityError, ConfigError, UserError
from golden.machines.cluster.config import SkipMode
from golden.network import Network
from golden.program import Codes

__all__ = ["Evaluator"]

#: Bytes of a trace that is held in memory while machines are counted.
_HELD_BYTES_MAX = 512 << 20
#: A density and a pattern, or neither.
_Pruned = tuple[float | None, str | None]

#: Called with the layers' machines that are done and all that there are.
Tick = Callable[[int, int], None]


class Evaluator:
    """A network and its images, on which points are counted.

    Parameters
    ----------
    network : Network
    images : ndarray of int8 or uint8, axes n, y, x, channel
    table : EnergyTable
    modes : sequence of SkipMode, optional
        All of a machine's where it is None; only its last one where it is empty.
    """

    def __init__(
        self,
        network: Network,
        images: Codes,
        table: EnergyTable,
        modes: Sequence[SkipMode] | None = (),
    ) -> None:
        self.network = network
        self.images = images
        self.table = table
        self.modes = modes
        self._traces: dict[_Pruned, _Held] = {}

    def bound(self, points: Sequence[Point], tick: Tick | None = None) -> list[Outcome]:
        """Return what points take at least, in their order: infeasible, failed, or bounded."""
        return self._run(points, tick, self._bound)

    def evaluate(self, points: Sequence[Point], tick: Tick | None = None) -> list[Outcome]:
        """Count points, in their order."""
        return self._run(points, tick, self._count)

    def _run(
        self,
        points: Sequence[Point],
        tick: Tick | None,
        count: Callable[[list[_Running], LayerTrace, Any], None],
    ) -> list[Outcome]:
        """Take points through the layers."""
        outcomes: dict[int, Outcome] = {}
        running: dict[_Pruned, dict[int, _Running]] = {}
        for index, point in enumerate(points):
            try:
                machine = point.load()
                modes = self._modes(machine)
            except UserError as error:
                outcomes[index] = Outcome(status=INFEASIBLE, message=str(error))
            else:
                pruned = point.weight_density, point.weight_pattern
                running.setdefault(pruned, {})[index] = _Running(machine, modes)
        total = len(points) * len(self.network.convolutions) * len(self.images)
        done = len(outcomes) * len(self.network.convolutions) * len(self.images)
        with threadpool_limits(limits=1, user_api="blas"):
            for pruned, each in running.items():
                for step, task in self._trace(*pruned):
                    for group in _groups(each.values()):
                        self._share(group, step, task, count)
                    done += len(each)
                    if tick:
                        tick(done, total)
                outcomes |= {index: one.outcome() for index, one in each.items()}
        return [outcomes[index] for index in range(len(points))]

    def _modes(self, machine: Machine) -> tuple[SkipMode, ...]:
        if self.modes is None:
            return machine.modes
        if not self.modes:
            return machine.modes[-1:]
        if missing := [mode.value for mode in self.modes if mode not in machine.modes]:
            raise ConfigError(f"Machine {machine.name} must have mode {missing[0]}")
        return tuple(self.modes)

    def _trace(self, density: float | None, pattern: str | None) -> _Held:
        if (density, pattern) not in self._traces:
            network = self.network
            if density is not None and pattern is not None:
                network = prune_network(network, density, pattern)
            self._traces[density, pattern] = _Held(Trace(network, self.images))
        return self._traces[density, pattern]

    def _share(
        self,
        group: list[_Running],
        step: LayerTrace,
        task: Any,
        count: Callable[[list[_Running], LayerTrace, Any], None],
    ) -> None:
        """Take machines of one kind through a layer, and divide the time among them."""
        begun = time.process_time()
        try:
            count(group, step, task)
        except Exception as error:  # of one of them: the others go on without it
            if len(group) > 1:
                for each in group:
                    self._share([each], step, task, count)
                return
            group[0].fail(FAILED, f"{type(error).__name__}: {error}")
            return
        spent = (time.process_time() - begun) / len(group)
        for each in group:
            each.cpu_seconds += spent

    def _count(self, group: list[_Running], step: LayerTrace, task: Any) -> None:
        machines = [each.machine for each in group]
        counted = type(machines[0]).count_machines(
            machines, task, step.activations, step.output, group[0].modes
        )
        for each, found in zip(group, counted, strict=True):
            each.add(step.node.layer.name, found, self.table)

    def _bound(self, group: list[_Running], step: LayerTrace, task: Any) -> None:
        machines = [each.machine for each in group]
        bounds = type(machines[0]).bound_machines(
            machines, task, step.activations, step.output, group[0].modes[-1]
        )
        for each, least in zip(group, bounds, strict=True):
            each.bound(step.node.layer.name, least)


def _groups(running: Iterable[_Running]) -> Iterator[list[_Running]]:
    """Yield the machines that still run, by kind."""
    kinds: dict[type[Machine], list[_Running]] = {}
    for each in running:
        if not each.status:
            kinds.setdefault(type(each.machine), []).append(each)
    yield from kinds.values()


class _Held:
    """A trace, held in memory where it is not too large."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._steps: list[LayerTrace] | None = None

    def __iter__(self) -> Iterator[tuple[LayerTrace, Any]]:
        if self._steps is not None:
            steps: Iterable[LayerTrace] = self._steps
        else:
            steps = self._trace
        kept: list[LayerTrace] = []
        size = 0
        for step in steps:
            size += step.activations.nbytes + step.output.nbytes
            if size <= _HELD_BYTES_MAX:
                kept.append(step)
            yield step, layer_task(self._trace.network, step.node)
        if size <= _HELD_BYTES_MAX:
            self._steps = kept


class _Running:
    """A machine on its way through the layers."""

    def __init__(self, machine: Machine, modes: tuple[SkipMode, ...]) -> None:
        self.machine = machine
        self.modes = modes
        self.status = ""
        self.cpu_seconds = 0.0
        self._message = ""
        self._timings: dict[SkipMode, list[Timing]] = {mode: [] for mode in modes}
        self._cycles: dict[str, int] = {}

    def add(self, layer: str, counted: Counted, table: EnergyTable) -> None:
        """Add a layer's counts; a layer that does not fit ends it."""
        if isinstance(counted, CapacityError):
            self.fail(INFEASIBLE, str(counted))
            return
        for mode in self.modes:
            timing = Timing.of(counted[mode], table)
            self._timings[mode].append(timing)
            if mode == self.modes[-1]:
                self._cycles[layer] = self._cycles.get(layer, 0) + timing.cycles

    def bound(self, layer: str, least: int | CapacityError) -> None:
        """Add cycles that a layer takes at least; a layer that does not fit ends it."""
        if isinstance(least, CapacityError):
            self.fail(INFEASIBLE, str(least))
            return
        self._cycles[layer] = self._cycles.get(layer, 0) + least

    def fail(self, status: str, message: str) -> None:
        self.status, self._message = status, message

    def outcome(self) -> Outcome:
        if self.status:
            return Outcome(status=self.status, message=self._message, cpu_seconds=self.cpu_seconds)
        return Outcome(
            status=OK if self._timings[self.modes[-1]] else BOUNDED,
            timings={mode: Timing.sum(parts) for mode, parts in self._timings.items() if parts},
            layer_cycles=self._cycles,
            cpu_seconds=self.cpu_seconds,
        )
