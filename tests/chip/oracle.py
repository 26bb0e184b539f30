"""The chip's tick oracle: engine, FIFOs, parser, sequencer and vector unit, stepped every cycle.

Written from ``docs/chip.md`` alone. Clusters are those of the cluster's own tick oracle
(`tests.oracle`), whose loader takes its beats from the chip's filter FIFO.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from golden.chip.config import ChipLatency
from golden.chip.formats import Kind
from golden.chip.program import ChipProgram, CompiledLayer
from golden.machines.cluster.config import Latency, SkipMode
from golden.machines.cluster.workload import LayerWorkload, pack_activations
from tests.chip.slow_memory import SlowMemory
from tests.oracle import Cluster
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


@dataclass
class Burst:
    """A burst under way, or in a FIFO."""

    kind: Kind
    address: int
    length: int
    asked: int
    there: int
    entry: ListEntry


@dataclass
class ListEntry:
    """An entry as the memory holds it, with the tile and layer that it turns out to be for."""

    kind: Kind
    address: int
    length: int
    last: bool
    tiles: int
    writes: int
    layer: int
    tile: int
    pieces: list[tuple[int, int]] = field(default_factory=list)  # bursts: address, bytes
    block: int = 0
    left: int = 0


class Fifo:
    """Places for bursts: one is taken by a request, and is free a while after the burst is used."""

    def __init__(self, places: int, credit: int) -> None:
        self.free = places
        self.credit = credit
        self.returning: deque[int] = deque()

    def give_back(self, now: int) -> None:
        self.returning.append(now + self.credit)

    def begin_cycle(self, now: int) -> None:
        while self.returning and self.returning[0] <= now:
            self.returning.popleft()
            self.free += 1


class FedLoader:
    """A cluster's filter loader: it asks for beats, and is told of each."""

    def __init__(self, cluster: Cluster, buffers: int, beats: list[int], resident: bool) -> None:
        self.cluster, self.beats = cluster, beats
        self.users: list[set[int]] = [set() for _ in range(buffers)]
        self.number = 0
        self.taken = 0
        self.wants = False
        self.resident = resident
        if resident:
            self.number = len(beats)
            for load in range(len(beats)):
                cluster.loaded.send(0, load)

    def begin_cycle(self, now: int) -> None:
        cluster = self.cluster
        if self.wants and self.taken == self.beats[self.number]:
            cluster.loaded.send(now, self.number)
            self.number, self.taken, self.wants = self.number + 1, 0, False
        for number, unit in cluster.filters_used.receive(now):
            if not self.resident:
                self.users[number % len(self.users)].remove(unit)
        if not self.wants and self.number < len(self.beats):
            buffer = self.number % len(self.users)
            if not self.users[buffer]:
                self.users[buffer] = set(cluster.program.loads[self.number].units)
                self.wants = True

    def end_cycle(self) -> None:
        """Beats come from the chip."""


class Job:
    """The clusters' work on one tile."""

    def __init__(self, chip: Chip, layer: CompiledLayer, number: int) -> None:
        tile = layer.tiles[number - layer.first_tile]
        resident = not layer.loads(number)
        model = chip.model(layer)
        passes = len(model.schedule.assignment)
        self.clusters: list[Cluster] = []
        for m in range(chip.config.clusters):
            mine = list(range(tile.first + m, tile.first + tile.pixels, chip.config.clusters))
            if not mine:
                continue
            cluster = Cluster(model, model.program([mine] * passes))
            beats = [load.beats for load in cluster.program.loads]
            buffers = 2 if chip.config.filter_double_buffer else 1
            cluster.loader = FedLoader(cluster, buffers, beats, resident)  # type: ignore[assignment]
            self.clusters.append(cluster)
        self.ends: list[int | None] = [None] * len(self.clusters)

    def begin_cycle(self, now: int) -> None:
        for at, cluster in enumerate(self.clusters):
            if self.ends[at] is None:
                cluster.begin_cycle(now)
                if not cluster.collector.pending:
                    self.ends[at] = now + Latency.TAIL

    @property
    def wants_beat(self) -> bool:
        return all(cluster.loader.wants and not self._full(cluster) for cluster in self.clusters)

    @staticmethod
    def _full(cluster: Cluster) -> bool:
        loader = cluster.loader
        return loader.taken == loader.beats[loader.number]

    def take_beat(self) -> None:
        for cluster in self.clusters:
            cluster.loader.taken += 1

    @property
    def waits_for_filters(self) -> bool:
        def waits(cluster: Cluster) -> bool:
            broadcaster = cluster.broadcaster
            idle = broadcaster.step is not None and not broadcaster.sending
            return idle and broadcaster.waits_for == "wait_memory_cycles"

        return all(
            end is None and waits(cluster)
            for cluster, end in zip(self.clusters, self.ends, strict=True)
        )

    def end_cycle(self) -> None:
        for cluster, end in zip(self.clusters, self.ends, strict=True):
            if end is None:
                cluster.end_cycle()

    @property
    def ended(self) -> int | None:
        return None if None in self.ends else max(end for end in self.ends if end is not None)


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
        self.residuals: list[Burst] = []
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
        for burst in self.bursts:
            if burst.there != now:
                continue
            entry = burst.entry
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
        if now < burst.there + self.latency.fill:
            return
        if not self.beats_left:
            self.beats_left = burst.length // self.config.filter_bus_bytes
        job.take_beat()
        self.beats_left -= 1
        if not self.beats_left:
            self.filters.popleft()
            self.fifos[Kind.FILTERS].give_back(now + 1)


class Engine:
    """Serves the list in order, a request a cycle at most."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.last_request = chip.latency.start - chip.latency.entry
        self.entry: ListEntry | None = None
        self.at = 0
        self.under_way: deque[Burst] = deque()

    @property
    def finished(self) -> bool:
        return self.entry is None and not self.chip.entries

    def step(self, now: int) -> None:
        chip, latency = self.chip, self.chip.latency
        if self.entry is None:
            if not chip.entries:
                return
            entry = chip.entries[0]
            if now < self.last_request + latency.entry or not self._may_serve(entry, now):
                return
            chip.entries.popleft()
            if not entry.pieces:
                self.last_request = now
                self._served_empty(entry, now)
                return
            self.entry, self.at = entry, 0
        elif now < self.last_request + 1:
            return
        self._request(self.entry, now)

    def _may_serve(self, entry: ListEntry, now: int) -> bool:
        chip, latency = self.chip, self.chip.latency
        if entry.kind is Kind.LIST:
            return True
        there = chip.blocks_there.get(entry.block)
        if there is None or now < there + latency.list:
            return False
        for events, wanted in ((chip.done, entry.tiles), (chip.written, entry.writes)):
            seen = sum(time + latency.count <= now for time in events)
            if (seen - wanted) & 0xFFFF >= 1 << 15:
                return False
        return True

    def _request(self, entry: ListEntry, now: int) -> None:
        chip, latency = self.chip, self.chip.latency
        if len(self.under_way) >= chip.config.outstanding:
            oldest = self.under_way[-chip.config.outstanding]
            if now < oldest.there + latency.credit:
                return
        fifo = chip.fifos.get(entry.kind)
        if fifo is not None and not fifo.free:
            return
        if entry.kind is Kind.OPERAND:
            free = chip.half_free(entry.tile)
            if free is None or now < free:
                return
        if entry.kind is Kind.WRITE and not chip.vector.has(now):
            return
        address, length = entry.pieces[self.at]
        if fifo is not None:
            fifo.free -= 1
        if entry.kind is Kind.WRITE:
            chip.vector.take()
        there = chip.memory.serve(now, address, length, entry.kind is Kind.WRITE)
        burst = Burst(entry.kind, address, length, now, there, entry)
        chip.bursts.append(burst)
        self.under_way.append(burst)
        if entry.kind is Kind.FILTERS:
            chip.filters.append(burst)
        if entry.kind in (Kind.ROWS, Kind.OPERAND):
            chip.inputs.append(burst)
        if entry.kind is Kind.RESIDUAL:
            chip.residuals.append(burst)
        self.last_request = now
        self.at += 1
        if self.at == len(entry.pieces):
            if entry.kind in (Kind.ROWS, Kind.OPERAND) and entry.last:
                chip.parser.close(entry.tile, burst)
            self.entry = None

    def _served_empty(self, entry: ListEntry, now: int) -> None:
        if entry.kind is Kind.WRITE:
            # Its turn comes after the writes before it.
            before = [b.there for b in self.chip.bursts if b.kind is Kind.WRITE]
            self.chip.written.append(max(now, *before, *self.chip.written, 0))
        elif entry.kind in (Kind.ROWS, Kind.OPERAND) and entry.last:
            self.chip.parser.close_empty(entry.tile, now)


class Parser:
    """Takes a piece a cycle of the oldest burst of rows or operands."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.left = 0
        self.free = 0  # XR of the last burst so far
        self.closing: dict[int, int] = {}
        self.empty: list[tuple[int, int]] = []
        self.begun: dict[int, int] = {}  # bytes of each entry so far, by identity

    def close(self, tile: int, burst: Burst) -> None:
        self.closing[id(burst)] = tile

    def close_empty(self, tile: int, now: int) -> None:
        self.empty.append((tile, now))

    def step(self, now: int) -> None:
        chip = self.chip
        if chip.inputs and not self.left and now >= chip.inputs[0].there + chip.latency.fill:
            self.left = self._pieces(chip.inputs[0])
        if self.left:
            self.left -= 1
            if not self.left:
                burst = chip.inputs.popleft()
                chip.fifos[Kind.ROWS].give_back(now + 1)
                self.free = now + 1
                if id(burst) in self.closing:
                    chip.ready[self.closing[id(burst)]] = now + 1 + chip.latency.parse
        if not chip.inputs:
            for tile, asked in self.empty:
                chip.ready[tile] = max(asked, self.free) + chip.latency.parse
            self.empty = []

    def _pieces(self, burst: Burst) -> int:
        config = self.chip.config
        descriptor = self.chip.layer_of[burst.entry.tile].descriptor
        channels = descriptor["in_channels"]
        mine = channels // descriptor["groups"]
        count, size = 0, 0
        for address in range(burst.address, burst.address + burst.length):
            place = (address - burst.entry.address) % channels
            fresh = place == 0
            if burst.kind is Kind.ROWS:
                fresh = place % mine % config.chunk == 0
            if size == 0 or fresh or size == config.bus_bytes:
                count, size = count + 1, 0
            size += 1
        return count


class VectorUnit:
    """Makes the write bursts of tile after tile, ahead of the engine."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.places = Fifo(chip.config.write_bursts, chip.latency.credit)
        self.todo: deque[tuple[ListEntry, int, int, int]] = deque()
        for entry in chip.entries:
            if entry.kind is not Kind.WRITE:
                continue
            channels = chip.layer_of[entry.tile].descriptor["out_channels"]
            begin = 0
            for _, length in entry.pieces:
                self.todo.append((entry, begin, length, channels))
                begin += length
            if not entry.pieces:
                self.todo.append((entry, 0, 0, channels))
        self.left = 0
        self.made: deque[int] = deque()
        self.last_read = 0
        self.residual_used = 0  # bytes
        self.residual_freed = 0  # bursts
        self.stalled = False

    def has(self, now: int) -> bool:
        return bool(self.made) and now >= self.made[0]

    def take(self) -> None:
        self.made.popleft()

    def step(self, now: int) -> None:
        """Do one cycle; ``stalled`` says that only a residual is missing."""
        self.stalled = False
        while self.todo and not self.todo[0][2]:  # a tile without outputs
            entry = self.todo[0][0]
            if not self._computed(entry.tile, now):
                return
            done = self.chip.done[entry.tile] + self.chip.latency.encode
            self.chip.half_read[entry.tile] = max(self.last_read, done)
            self.todo.popleft()
        if not self.todo:
            return
        entry, begin, length, channels = self.todo[0]
        if not self.left:
            if not self._computed(entry.tile, now) or not self.places.free:
                return
            if not self._residual_there(entry, length, now):
                self.stalled = True
                return
            self.places.free -= 1
            self.left = self._cycles(entry, begin, length, channels)
        self.left -= 1
        if self.left:
            return
        self.last_read = now + 1
        self.made.append(now + 1 + self.chip.latency.vector)
        if self.chip.layer_of[entry.tile].descriptor["residual"]:
            self._use_residual(length, now + 1)
        self.todo.popleft()
        if not self.todo or self.todo[0][0].tile != entry.tile:
            self.chip.half_read[entry.tile] = now + 1

    def _computed(self, tile: int, now: int) -> bool:
        done = self.chip.done
        return tile < len(done) and now >= done[tile] + self.chip.latency.encode

    def _residual_there(self, entry: ListEntry, length: int, now: int) -> bool:
        if not self.chip.layer_of[entry.tile].descriptor["residual"]:
            return True
        needed, have = self.residual_used + length, 0
        for burst in self.chip.residuals:
            if have >= needed:
                break
            if now < burst.there + self.chip.latency.fill:
                return False
            have += burst.length
        return have >= needed

    def _use_residual(self, length: int, now: int) -> None:
        self.residual_used += length
        end = 0
        for at, burst in enumerate(self.chip.residuals):
            end += burst.length
            if end <= self.residual_used and at >= self.residual_freed:
                self.residual_freed += 1
                self.chip.fifos[Kind.RESIDUAL].give_back(now)

    def _cycles(self, entry: ListEntry, begin: int, length: int, channels: int) -> int:
        descriptor = self.chip.layer_of[entry.tile].descriptor
        count, size = 0, 0
        for place in range(begin, begin + length):
            if size == 0 or place % channels == 0 or size == self.chip.config.vector_lanes:
                count, size = count + 1, 0
            size += 1
        return count * descriptor["window_height"] * descriptor["window_width"]


class Sequencer:
    """Starts tiles as jobs, in order."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.job: Job | None = None
        self.started = 0
        self.end: int | None = None

    def begin_cycle(self, now: int) -> None:
        """See what has happened up to this cycle: a job's end, then the next one's start."""
        chip = self.chip
        if self.job is not None:
            if self.end == now:
                chip.done.append(now)
                self.job, self.end = None, None
            else:
                return
        while len(chip.done) < chip.program.tiles:
            tile = len(chip.done)
            layer = chip.layer_of[tile]
            begin = self._begin(tile, layer, now)
            if begin is None or now < begin:
                return
            if layer.filters is None:
                chip.done.append(begin)
                continue
            self.job, self.started = Job(chip, layer, tile), now
            chip.starts[tile] = now
            return

    def _begin(self, tile: int, layer: CompiledLayer, now: int) -> int | None:
        """Return the cycle of a job's start, or of a vector tile's end; None while unknown."""
        chip, latency = self.chip, self.chip.latency
        there, free = self.records_there(tile), chip.half_free(tile)
        before = chip.done[-1] if chip.done else 0
        if there is None or tile not in chip.ready or free is None:
            return None
        if layer.filters is None:
            return max(before, chip.ready[tile], there)
        setup = latency.layer if tile == layer.first_tile else latency.tile
        return max(max(there, before) + setup, chip.ready[tile], free) + latency.job

    def records_there(self, tile: int) -> int | None:
        """Return d of the tile, None while unknown."""
        chip = self.chip
        number = chip.program.layers.index(chip.layer_of[tile])
        expected = [chip.record_there.get(tile), self._layer_there(number)]
        if None in expected:
            return None
        return max(time for time in expected if time is not None) + chip.latency.fill

    def _layer_there(self, number: int) -> int | None:
        """Descriptor and tables of a layer are there: when the last one of them came."""
        chip = self.chip
        if any(e.layer == number and e.kind in (Kind.DESCRIPTOR, Kind.TABLES)
               for e in chip.entries):  # fmt: skip
            return None
        entry = chip.engine.entry
        if entry and entry.layer == number and entry.kind in (Kind.DESCRIPTOR, Kind.TABLES):
            return None
        kinds = (Kind.DESCRIPTOR, Kind.TABLES)
        return max(b.there for b in chip.bursts if b.entry.layer == number and b.kind in kinds)


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
        if chip.engine.finished and all(b.there < now for b in chip.bursts):
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
