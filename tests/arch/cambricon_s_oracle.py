"""The tick oracle of Cambricon-S: loader, selector, PEs and collector, stepped every cycle.

Written from ``docs/cambricon-s.md`` as state machines that talk over wires with a delay; no
equation of that page is evaluated here. Slow and plain: it is what the fast ones are held to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cambricon_s import (
    CORE_COUNTERS,
    Block,
    CambriconSConfig,
    CambriconSCounters,
    blocks,
)
from tests.oracle import Wire

__all__ = ["run_layer"]

Codes = NDArray[np.int8 | np.uint8]


def run_layer(
    config: CambriconSConfig,
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    requantisation: Requantisation,
) -> tuple[Codes, CambriconSCounters]:
    """Run a layer on one image.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel

    Returns
    -------
    ndarray of int8 or uint8, axes p, q, k
        Output codes.
    CambriconSCounters
    """
    tensors = Tensors(config, layer, weights, activations, requantisation)
    cores = [
        _run(Core(tensors, make_program(tensors, range(m, layer.positions, config.cores))))
        for m in range(config.cores)
    ]
    codes = np.zeros((layer.positions, layer.out_channels), dtype=requantisation.dtype)
    written = np.zeros(codes.shape, dtype=np.int64)
    for core in cores:
        for position, k, code in core.collector.drained:
            codes[position, k] = code
            written[position, k] += 1
    if np.any(written != 1):
        raise RuntimeError("an output was drained never or twice")
    counters = CambriconSCounters(
        np.array([[core.counters[name] for name in CORE_COUNTERS] for core in cores]),
        np.array([[[pe[n] for n in UNIT_COUNTERS] for pe in core.pe_counters] for core in cores]),
    )
    return codes.reshape(layer.out_height, layer.out_width, layer.out_channels), counters


# -- the program ------------------------------------------------------------------------------


class Tensors:
    """A layer, its input padded, its filters in windows."""

    def __init__(
        self,
        config: CambriconSConfig,
        layer: LayerShape,
        weights: NDArray[np.int8],
        activations: Codes,
        requantisation: Requantisation,
    ) -> None:
        self.config, self.layer, self.how = config, layer, requantisation
        self.blocks = blocks(config, layer, weights)
        pads = (
            (layer.pad_top, layer.pad_bottom),
            (layer.pad_left, layer.pad_right),
            (0, 0),
        )
        self.padded: NDArray[np.int64] = np.pad(activations.astype(np.int64), pads)
        self.run_length = layer.kernel_width * layer.group_channels
        self.run_windows = -(-self.run_length // config.window)
        self.runs = weights.astype(np.int64).reshape(layer.out_channels, -1, self.run_length)

    def places(self, window: int) -> tuple[int, slice]:
        """Return a window's kernel row, and its places in that row's run."""
        r, part = divmod(window, self.run_windows)
        first = part * self.config.window
        return r, slice(first, min(first + self.config.window, self.run_length))

    def neurons(self, group: int, position: int, window: int) -> NDArray[np.int64]:
        """Return what lies under a window at an output position."""
        layer = self.layer
        p, q = divmod(position, layer.out_width)
        r, places = self.places(window)
        y, x = p * layer.stride_height + r, q * layer.stride_width
        channels = slice(group * layer.group_channels, (group + 1) * layer.group_channels)
        pixels = self.padded[y, x : x + layer.kernel_width, channels]
        return pixels.reshape(-1)[places]

    def synapses(self, k: int, window: int) -> NDArray[np.int64]:
        """Return the weights of a filter in a window, zeros too."""
        r, places = self.places(window)
        return self.runs[k, r, places]


@dataclass(frozen=True)
class Step:
    """A kept window at a position; it ``completes`` the position, and may end its load."""

    block: Block
    load: int
    position: int
    window: int
    ends_load: bool
    completes: bool


@dataclass(frozen=True)
class Program:
    steps: list[Step]
    loads: list[list[int]]  # beats of each part: masks, then filters


def make_program(tensors: Tensors, positions: range) -> Program:
    """Return the program of the core that has these positions."""
    config = tensors.config
    program = Program([], [])
    for block in tensors.blocks if len(positions) else []:
        kept = block.kept.tolist()
        segments = [
            kept[first : first + config.segment_windows]
            for first in range(0, len(kept), config.segment_windows)
        ]
        tile = config.tile_positions if len(segments) > 1 else len(positions)
        for first in range(0, len(positions), tile):
            for segment in segments:
                program.loads.append(_load(tensors, block, segment))
                mine = positions[first : first + tile]
                for position in mine:
                    for window in segment:
                        last = window == segment[-1]
                        program.steps.append(
                            Step(
                                block=block,
                                load=len(program.loads) - 1,
                                position=position,
                                window=window,
                                ends_load=last and position == mine[-1],
                                completes=last and segment is segments[-1],
                            )
                        )
    return program


def _load(tensors: Tensors, block: Block, segment: list[int]) -> list[int]:
    """Return beats of each mask and of each filter's codes, in the order of the stream."""
    bus_bits = 8 * tensors.config.bus_bytes
    parts = []
    for window in segment:
        parts.append(-(-tensors.config.window // bus_bits))
        code_bits = int(np.count_nonzero(block.masks[window])) * tensors.config.code_bits
        parts += [-(-code_bits // bus_bits) for _ in block.filters]
    return parts


# -- the blocks of a core ---------------------------------------------------------------------


class Loader:
    """Fills the halves of the synapse buffer in turn, one beat a cycle."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pending = deque(enumerate(core.program.loads))
        self.in_use = [False, False]
        self.loading: int | None = None
        self.parts: deque[int] = deque()

    def finish(self, now: int) -> None:
        """First thing in a cycle: what was taken in the last one has arrived."""
        if self.loading is not None and not self.parts:
            self.core.loaded.send(now, self.loading)
            self.loading = None

    def begin_cycle(self, now: int) -> None:
        for number in self.core.load_used.receive(now):
            self.in_use[number % 2] = False
        if self.loading is None and self.pending and not self.in_use[self.pending[0][0] % 2]:
            self.loading, parts = self.pending.popleft()
            self.in_use[self.loading % 2] = True
            self.parts = deque(beats for beats in parts if beats)

    def end_cycle(self) -> None:
        if self.parts:
            self.core.counters["load_beats"] += 1
            self.parts[0] -= 1
            if not self.parts[0]:
                self.parts.popleft()


class Selector:
    """Looks at one window a step, and sends up to ``lanes`` selected neurons a cycle."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.steps = deque(core.program.steps)
        self.working: Step | None = None
        self.selected: deque[int] = deque()  # places still to send
        self.count = 0  # places of this step
        self.sent = False  # the step has had its last cycle
        self.reserved = 0  # cycles for which the collector is promised to the last position
        self.loads_seen = 0
        self.waits_for = ""

    def begin_cycle(self, now: int) -> None:
        for _ in self.core.loaded.receive(now):
            self.loads_seen += 1
        if self.working and self.sent and not (self.working.completes and self.reserved):
            self._finish(now, self.working)
            self.working = None
        if self.working or not self.steps:
            return
        if self.steps[0].load >= self.loads_seen:
            self.waits_for = "wait_memory_cycles"
        elif now < self.core.tensors.config.LATENCY.start:
            self.waits_for = "wait_broadcast_cycles"
        else:
            self._take(self.steps.popleft())

    def _take(self, step: Step) -> None:
        neurons = self.core.tensors.neurons(step.block.group, step.position, step.window)
        wanted = step.block.masks[step.window][: len(neurons)] & (neurons != 0)
        self.working, self.selected, self.sent = step, deque(np.flatnonzero(wanted).tolist()), False
        self.count = len(self.selected)

    def _finish(self, now: int, step: Step) -> None:
        counters = self.core.counters
        counters["steps"] += 1
        counters["selected"] += self.count
        counters["pairs"] += self.count * len(step.block.filters)
        if step.ends_load:
            self.core.load_used.send(now, step.load)
        if step.completes:
            filters = range(len(step.block.filters))
            sums = [self.core.sums.pop((pe, step.position)) for pe in filters]
            self.core.results.send(now, (step, sums))
            config = self.core.tensors.config
            beats = -(-len(step.block.filters) // config.output_width)
            reserved = config.LATENCY.deliver + beats + config.LATENCY.collector_free
            self.reserved = max(0, reserved)

    def end_cycle(self) -> None:
        """Count this cycle for every PE and send neurons."""
        step = self.working or (self.steps[0] if self.steps else None)
        if self.working and not self.sent:
            what = "busy_cycles" if self.count else "bubble_cycles"
            lanes = self.core.tensors.config.lanes
            places = [self.selected.popleft() for _ in range(min(lanes, len(self.selected)))]
            self.core.multiply(self.working, places)
            self.sent = not self.selected
        elif self.working:
            what = "wait_collector_cycles"
        else:
            what = self.waits_for
        for pe, counters in enumerate(self.core.pe_counters):
            has_filter = step is not None and pe < len(step.block.filters)
            counters[what if has_filter else "idle_cycles"] += 1
        self.reserved = max(0, self.reserved - 1)


class Collector:
    """Drains the results of the positions, ``output_width`` codes a cycle."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.draining: deque[tuple[int, int, int]] = deque()
        self.drained: list[tuple[int, int, int]] = []
        self.left = sum(step.completes for step in core.program.steps)

    def begin_cycle(self, now: int) -> None:
        for step, sums in self.core.results.receive(now):
            if self.draining:
                raise RuntimeError("a result was overwritten before it was drained")
            self.draining = deque(self._outputs(step, sums))

    def _outputs(self, step: Step, sums: list[int]) -> Iterator[tuple[int, int, int]]:
        how = self.core.tensors.how
        for k, total in zip(step.block.filters, sums, strict=True):
            mine = replace(
                how, bias=how.bias[[k]], multiplier=how.multiplier[[k]], shift=how.shift[[k]]
            )
            yield step.position, k, int(mine.apply(np.array([total], dtype=np.int64))[0])

    def end_cycle(self) -> None:
        if not self.draining:
            return
        for _ in range(min(self.core.tensors.config.output_width, len(self.draining))):
            self.drained.append(self.draining.popleft())
            self.core.counters["outputs"] += 1
        if not self.draining:
            self.left -= 1


class Core:
    """The blocks of one core and the wires between them."""

    def __init__(self, tensors: Tensors, program: Program) -> None:
        self.tensors, self.program = tensors, program
        self.counters: dict[str, int] = dict.fromkeys(CORE_COUNTERS, 0)
        self.pe_counters = [dict.fromkeys(UNIT_COUNTERS, 0) for _ in range(tensors.config.pes)]
        self.sums: dict[tuple[int, int], int] = {}  # by PE and position
        self.loaded: Wire[int] = Wire(tensors.config.LATENCY.load)
        self.load_used: Wire[int] = Wire(tensors.config.LATENCY.load_free)
        self.results: Wire[tuple[Step, list[int]]] = Wire(tensors.config.LATENCY.deliver)
        self.selector, self.loader = Selector(self), Loader(self)
        self.collector = Collector(self)

    def multiply(self, step: Step, places: list[int]) -> None:
        """Add products to the partial sum of every PE that has a filter."""
        neurons = self.tensors.neurons(step.block.group, step.position, step.window)
        for pe, k in enumerate(step.block.filters):
            synapses = self.tensors.synapses(k, step.window)
            before = self.sums.get((pe, step.position), 0)
            self.sums[pe, step.position] = before + int(synapses[places] @ neurons[places])

    def begin_cycle(self, now: int) -> None:
        self.loader.finish(now)
        self.selector.begin_cycle(now)
        self.collector.begin_cycle(now)
        self.loader.begin_cycle(now)

    def end_cycle(self) -> None:
        for block in (self.selector, self.loader, self.collector):
            block.end_cycle()


def _run(core: Core) -> Core:
    """Run a core to its end."""
    now, latest = 0, _latest_end(core)
    while core.collector.left:
        core.begin_cycle(now)
        core.end_cycle()
        now += 1
        if now > latest:
            raise RuntimeError(f"the core hangs: still running after {latest} cycles")
    if core.program.steps:
        core.counters["cycles"] = now + core.tensors.config.LATENCY.tail
    for _ in range(now, core.counters["cycles"]):
        core.end_cycle()
    return core


def _latest_end(core: Core) -> int:
    """Cycles of the program with nothing done at the same time as anything else."""
    config, program = core.tensors.config, core.program
    latency = config.LATENCY
    total = latency.start + 1
    total += sum(sum(load) + latency.load + abs(latency.load_free) for load in program.loads)
    total += len(program.steps) * (config.window + 1)
    total += len(program.steps) * (latency.deliver + config.pes + abs(latency.collector_free))
    return total
