"""The chip's tick oracle: engine, FIFOs, parser, sequencer and vector unit, stepped every cycle.

Written from ``docs/chip.md`` alone. Clusters are those of the cluster's own tick oracle
(`tests.oracle`), whose loader takes its beats from the chip's filter FIFO.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from golden.chip.config import ChipLatency
from golden.chip.formats import Kind
from golden.chip.program import ChipProgram, CompiledLayer
from golden.machines.cluster.config import SkipMode
from golden.machines.cluster.workload import LayerWorkload, pack_activations
from tests.chip.oracle_control import Engine, Sequencer
from tests.chip.oracle_fifos import Burst, Fifo, ListEntry, Parser, VectorUnit
from tests.chip.slow_memory import SlowMemory
from tests.program import Layer

__all__ = ["Bursts", "OracleResult", "run_chip"]

COUNTERS = ("compute_cycles", "filter_cycles", "descriptor_cycles", "row_cycles", "write_cycles",
            "residual_cycles", "idle_cycles")  # fmt: skip

#: Kind, address, bytes, cycle of the request, cycle of the response.
Bursts = list[tuple[int, int, int, int, int]]


@dataclass
class OracleResult:
    cycles: int
    counters: dict[str, int]
    bursts: Bursts
    tile_starts: list[int]
    tile_ends: list[int]
    dma_busy_cycles: int


class Chip:
    """All parts, and the events that they see of one another."""

    def __init__(
        self, program: ChipProgram, memory: NDArray[np.uint8], model: str, latency: ChipLatency
    ) -> None:
        self.program, self.config, self.latency = program, program.config, latency
        self.octets = memory
        self.memory = SlowMemory(model, program.config.bus_bytes)
        self._models: dict[int, Layer] = {}
        self.layer_of = [layer for layer in program.layers for _ in layer.tiles]
        self.blocks_there: dict[int, int] = {}
        self.record_there: dict[int, int] = {}
        self.layer_there: dict[int, int] = {}
        self.ready: dict[int, int] = {}
        self.starts: dict[int, int] = {}
        self.done: list[int] = []
        self.written: list[int] = []  # when each write entry was done
        self.half_read: dict[int, int] = {}  # Z
        self.bursts: list[Burst] = []
        self.flying: deque[Burst] = deque()
        self.fifos = {
            kind: Fifo(places, latency.credit)
            for kind, places in (
                (Kind.FILTERS, self.config.filter_bursts),
                (Kind.ROWS, self.config.row_bursts),
                (Kind.RESIDUAL, self.config.residual_bursts),
            )
        }
        self.fifos[Kind.OPERAND] = self.fifos[Kind.ROWS]
        self.entries = self._read_list()
        self.filters: deque[Burst] = deque()
        self.inputs: deque[Burst] = deque()
        self.residuals: deque[Burst] = deque()
        self.engine = Engine(self)
        self.parser = Parser(self)
        self.vector = VectorUnit(self)
        self.sequencer = Sequencer(self)
        self.beats_left = 0

    def model(self, layer: CompiledLayer) -> Layer:
        """Return a layer's steps for the clusters, with its true input."""
        if layer.first_tile not in self._models:
            shape, node, filters = layer.layer.shape, layer.layer.node, layer.filters
            assert shape
            assert node
            assert filters
            codes = self.program.maps[layer.layer.source.name].read(self.octets)
            workload = LayerWorkload(
                shape,
                filters.weights,
                pack_activations(codes, shape, self.config.chunk, im2row=False),
                node.requantisation,
            )
            skip = {
                (0, 0): SkipMode.DENSE, (1, 0): SkipMode.DYNAMIC, (0, 1): SkipMode.STATIC,
                (1, 1): SkipMode.BOTH,
            }[layer.descriptor["skip_activations"], layer.descriptor["skip_weights"]]  # fmt: skip
            self._models[layer.first_tile] = Layer(self.config, workload, filters.schedule, skip)
        return self._models[layer.first_tile]

    def _read_list(self) -> deque[ListEntry]:
        """Read the list, with the reads of the list itself between."""
        burst = self.config.burst_bytes
        start = self.program.list_address
        count = int(self.octets[12:16].view("<u4")[0])
        per_block = burst // 16
        blocks = [
            ListEntry(Kind.LIST, start + at * 16, 16 * min(per_block, count - at), False, 0, 0,
                      0, -1, block=at // per_block)
            for at in range(0, count, per_block)
        ]  # fmt: skip
        layer = -1
        records = -1
        inputs, outs = -1, 0
        result: deque[ListEntry] = deque(blocks[:2])
        for at in range(count):
            where = start + 16 * at
            address, second, waits, _ = self.octets[where : where + 16].view("<u4").tolist()
            kind = Kind(second & 15)
            layer += kind is Kind.DESCRIPTOR
            records += kind is Kind.TILE
            tile = records
            if kind in (Kind.ROWS, Kind.OPERAND):
                inputs = max(inputs, 0)
                tile = inputs
                inputs += second >> 4 & 1
            if kind in (Kind.WRITE, Kind.RESIDUAL):
                tile = outs
                outs += kind is Kind.WRITE and second >> 4 & 1
            result.append(
                ListEntry(kind, address, second >> 8, bool(second >> 4 & 1), waits & 0xFFFF,
                          waits >> 16, layer, tile, block=at // per_block)
            )  # fmt: skip
            if (at + 1) % per_block == 0 and at // per_block + 2 < len(blocks):
                result.append(blocks[at // per_block + 2])
        for entry in result:
            entry.pieces = self._cut(entry)
            entry.left = len(entry.pieces)
        return result

    def _cut(self, entry: ListEntry) -> list[tuple[int, int]]:
        runs = [(entry.address, entry.length)]
        if entry.kind is Kind.WRITE:
            descriptor = self.layer_of[entry.tile].descriptor
            channels, stride = descriptor["out_channels"], descriptor["pixel_stride"]
            runs = [(entry.address, entry.length * channels)]
            if stride != channels:
                runs = [(entry.address + i * stride, channels) for i in range(entry.length)]
        pieces = []
        for address, length in runs:
            edges = [address]
            edges += [
                a for a in range(address + 1, address + length) if a % self.config.burst_bytes == 0
            ]
            edges.append(address + length)
            pieces += [(a, b - a) for a, b in pairwise(edges) if b > a]
        return pieces

    def half_free(self, tile: int) -> int | None:
        """Cycle from which a tile's assembly half may be filled; None where it is not known yet."""
        if tile < 2:
            return 0
        if tile - 2 not in self.half_read:
            return None
        return self.half_read[tile - 2] + self.latency.half

    def arrivals(self, now: int) -> None:
        """Hand over what has arrived in this cycle."""
        while self.flying and self.flying[0].there <= now:
            entry = self.flying.popleft().entry
            entry.left -= 1
            if entry.kind is Kind.LIST:
                self.blocks_there[entry.block] = now
            elif entry.kind is Kind.TILE and entry.left == 0:
                self.record_there[entry.tile] = now
            elif entry.kind in (Kind.DESCRIPTOR, Kind.TABLES) and entry.left == 0:
                self.layer_there[entry.layer] = now
            elif entry.kind is Kind.WRITE:
                self.vector.places.give_back(now)
                if entry.left == 0:
                    self.written.append(now)

    def feed(self, now: int) -> None:
        """Move one beat of filters where all clusters of the job want it."""
        job = self.sequencer.job
        if job is None or not self.filters or not job.wants_beat:
            return
        burst = self.filters[0]
        if now < burst.there + self.latency.fill + self.latency.feed:
            return
        if not self.beats_left:
            self.beats_left = burst.length // self.config.filter_bus_bytes
        job.take_beat()
        self.beats_left -= 1
        if not self.beats_left:
            self.filters.popleft()
            self.fifos[Kind.FILTERS].give_back(now + 1 + self.latency.feed)


def run_chip(
    program: ChipProgram,
    memory: NDArray[np.uint8],
    model: str,
    latency: ChipLatency,
    limit: int = 1_000_000,
    watch: Callable[[Chip, int], None] | None = None,
) -> OracleResult:
    """Run a program whose activations, the computed ones too, are in memory.

    Raises
    ------
    RuntimeError
        The chip is not done after ``limit`` cycles.
    """
    chip = Chip(program, memory, model, latency)
    counters: Counter[str] = Counter()
    now = 0
    while True:
        for fifo in (*chip.fifos.values(), chip.vector.places):
            fifo.begin_cycle(now)
        chip.arrivals(now)
        chip.sequencer.begin_cycle(now)
        job = chip.sequencer.job
        if job is not None:
            job.begin_cycle(now - chip.sequencer.started)
            ended = job.ended
            chip.sequencer.end = None if ended is None else chip.sequencer.started + ended
        chip.engine.step(now)
        if chip.engine.finished and chip.bursts[-1].there < now:
            break
        chip.vector.step(now)
        counters[_state(chip, now)] += 1
        chip.parser.step(now)
        chip.feed(now)
        if job is not None:
            job.end_cycle()
        if watch:
            watch(chip, now)
        now += 1
        if now > limit:
            raise RuntimeError(f"the chip hangs: still running after {limit} cycles")
    last = max(*(b.there for b in chip.bursts), chip.engine.last_request)
    cycles = last + latency.end
    for cycle in range(now, cycles):
        counters[_state(chip, cycle)] += 1
    counters["write_cycles"] -= sum(counters.values()) - cycles
    return OracleResult(
        cycles,
        {name: counters[name] for name in COUNTERS},
        [(int(b.kind), b.address, b.length, b.asked, b.there) for b in chip.bursts],
        [chip.starts.get(tile, -1) for tile in range(program.tiles)],
        chip.done,
        chip.memory.busy,
    )


def _state(chip: Chip, now: int) -> str:
    """Say which counter a cycle belongs to."""
    job, tile = chip.sequencer.job, len(chip.done)
    if job is not None:
        return "filter_cycles" if job.waits_for_filters else "compute_cycles"
    waits = "residual_cycles" if chip.vector.stalled else "write_cycles"
    if tile == chip.program.tiles:
        return waits
    there = chip.sequencer.records_there(tile)
    if there is None or now < there:
        return "descriptor_cycles"
    free = chip.half_free(tile)
    half = free is None or now < free
    if chip.layer_of[tile].filters is None:
        return waits if half else "row_cycles"
    if now < chip.ready.get(tile, now + 1):
        return "row_cycles"
    return waits if half else "idle_cycles"
