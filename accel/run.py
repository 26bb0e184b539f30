"""Machines on a trace: every cycle of every layer, each with its real activations."""

# threadpoolctl has no stubs:
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accel.activations.trace import LayerTrace, Trace
from accel.costs.energy import EnergyTable
from accel.machines.machine import Count, LayerCounts, Machine, Program
from accel.placement import capacity_error, network_tasks
from accel.results import HostPart, LayerResult, MachineResult, Run, Timing
from golden.errors import CapacityError, UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.network import Convolution
from golden.program import LayerTask

__all__ = ["LayerArrays", "Progress", "count_cycles", "run_machines"]

#: Called with what is done, what there is in all, and what is next.
Progress = Callable[[int, int, str], None]

#: Threads that count at most.
_THREADS_MAX = 4


def run_machines(
    machines: Mapping[Machine, Sequence[SkipMode]],
    trace: Trace,
    table: EnergyTable,
    progress: Progress | None = None,
    *,
    keep_counters: bool = False,
) -> Run:
    """Run a network on machines, each layer with its real activations.

    Parameters
    ----------
    machines : dict of Machine to sequence of SkipMode
        The modes that each is run in, at least one; the last is what it is compared in.
    keep_counters : bool
        Keep every part's counters in ``Timing.counters``.

    Raises
    ------
    CapacityError
        A layer does not fit a machine.
    UserError
        There is no machine, two have the same name, or the network has no layer.
    """
    names = [str(machine.config.name) for machine in machines]
    if not names or len(set(names)) != len(names):
        raise UserError(f"Machines must be at least one, each once, not {', '.join(names)!r}")
    nodes = trace.network.convolutions
    if not nodes:
        raise UserError(f"Network {trace.network.name} must have a convolution or linear layer")
    tasks = network_tasks(trace.network)
    with _told_at_once(machines, tasks):
        programs = {
            task.layer.name: [machine.prepare(task) for machine in machines] for task in tasks
        }
    found: dict[tuple[Machine, str], list[_Counted]] = {
        (machine, node.layer.name): [] for node in nodes for machine in machines
    }
    done, total = 0, len(trace) * len(machines)
    # Threads of the linear algebra would wait for one another at the cost of everything else.
    with (
        _told_at_once(machines, tasks),
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(min(_THREADS_MAX, os.cpu_count() or 1)) as pool,
    ):
        pending: list[_Pending] = []
        for step in trace:
            name = step.node.layer.name
            begun: list[_Pending] = []
            for machine, program in zip(machines, programs[name], strict=True):
                if progress:
                    progress(done, total, f"{name} on {machine.config.name}")
                begun.append(_Pending(pool, machine, program, step, machines[machine]))
                done += 1
            # One layer is counted while the next one's activations are computed.
            for each in pending:
                found[each.machine, each.layer].append(each.result(table, keep_counters))
            pending = begun
        for each in pending:
            found[each.machine, each.layer].append(each.result(table, keep_counters))
    if progress:
        progress(done, total, "done")
    return Run(
        network=trace.network.name,
        source=trace.network.source,
        images=len(trace.images),
        technology_node=table.node,
        energy_sources=tuple(table.sources),
        host=tuple(
            HostPart(name=node.name, operator=node.operator, macs=node.macs, reason=node.reason)
            for node in trace.network.host_nodes
        ),
        machine_share=trace.network.machine_share,
        machines=tuple(
            MachineResult(
                name=str(machine.config.name),
                machine=machine.name,
                size=machine.size,
                configuration=machine.parameters(),
                layers=tuple(
                    _sum_images(node, machine, found[machine, node.layer.name]) for node in nodes
                ),
            )
            for machine in machines
        ),
    )


@contextmanager
def _told_at_once(machines: Iterable[Machine], tasks: Sequence[LayerTask]) -> Generator[None]:
    """Where a layer does not fit, say which others may not, and what would make all fit."""
    try:
        yield
    except CapacityError:
        for machine in machines:
            if (error := capacity_error(machine, tasks)) is not None:
                raise error from None
        raise


class _Counted:
    """One layer of one image on one machine."""

    def __init__(self, step: LayerTrace, timings: dict[SkipMode, Timing]) -> None:
        self.activation_density = float(np.count_nonzero(step.activations)) / step.activations.size
        self.effectual_pairs = step.effectual_pairs
        self.timings = timings


class _Pending:
    """A layer of one image whose cycles are being counted."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        machine: Machine,
        program: Program,
        step: LayerTrace,
        modes: Sequence[SkipMode],
    ) -> None:
        self.machine = machine
        self.layer = step.node.layer.name
        self._step = step
        count: Count = program(step.activations, step.output)
        self._modes: dict[SkipMode, Future[LayerCounts]] = {
            mode: pool.submit(count, mode) for mode in modes
        }

    def result(self, table: EnergyTable, keep_counters: bool) -> _Counted:
        """Wait for all modes."""
        timings = {
            mode: Timing.of(counts.result(), table, keep_counters=keep_counters)
            for mode, counts in self._modes.items()
        }
        return _Counted(self._step, timings)


def _sum_images(node: Convolution, machine: Machine, parts: list[_Counted]) -> LayerResult:
    """Add up one layer's results over images."""
    layer = node.layer
    return LayerResult(
        name=layer.name,
        shape=layer,
        weight_density=float(np.count_nonzero(node.weights)) / node.weights.size,
        activation_density=sum(part.activation_density for part in parts) / len(parts),
        dense_macs=layer.dense_macs * len(parts),
        effectual_pairs=sum(part.effectual_pairs for part in parts),
        multipliers=machine.multipliers,
        units=machine.units,
        timings={
            mode: Timing.sum([part.timings[mode] for part in parts], keep_counters=True)
            for mode in parts[0].timings
        },
    )


class LayerArrays(Protocol):
    """A layer's tensors."""

    @property
    def layer(self) -> LayerShape: ...

    @property
    def weights(self) -> NDArray[np.int8]:
        """Axes k, r, s, c."""
        ...

    @property
    def activations(self) -> NDArray[np.int8]:
        """Axes y, x, channel."""
        ...


def count_cycles(
    machine: Machine, layers: Iterable[LayerArrays], mode: SkipMode | None = None
) -> dict[str, int]:
    """Return the cycles of layers given one by one, for searches that ask often.

    They are exact for these tensors, and do not depend on the outputs. A layer that is named
    several times has the sum.

    Parameters
    ----------
    mode : SkipMode, optional
        The machine's last where None.

    Raises
    ------
    CapacityError
        A layer does not fit a buffer.
    """
    cycles: dict[str, int] = {}
    for each in layers:
        shape = each.layer
        unknown = np.zeros((shape.out_height, shape.out_width, shape.out_channels), dtype=np.uint8)
        program = machine.prepare(LayerTask(layer=shape, weights=each.weights))
        counted = program(each.activations, unknown)(mode or machine.modes[-1]).cycles
        cycles[shape.name] = cycles.get(shape.name, 0) + counted
    return cycles
