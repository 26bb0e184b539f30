"""Parts of the chip's tick oracle that give orders: engine, sequencer, and a tile's job."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from golden.chip.formats import Kind
from golden.chip.program import CompiledLayer
from tests.chip.oracle_fifos import Burst, ListEntry
from tests.oracle import Cluster

if TYPE_CHECKING:
    from tests.chip.oracle import Chip

__all__ = ["Engine", "Job", "Sequencer"]


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
                    self.ends[at] = now + cluster.layer.config.LATENCY.tail

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
            seen = bisect_right(events, now - latency.count)
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
        chip.flying.append(burst)
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


class Sequencer:
    """Starts tiles as jobs, in order."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.job: Job | None = None
        self.started = 0
        self.end: int | None = None
        self.known: dict[int, int] = {}  # when layers' descriptors and tables came

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
            earliest = before + 1 if chip.done else 0
            return max(earliest, chip.ready[tile], there)
        setup = latency.layer if tile == layer.first_tile else latency.tile
        return max(max(there, before) + setup, chip.ready[tile], free) + latency.job

    def records_there(self, tile: int) -> int | None:
        """Return d of the tile, None while unknown."""
        chip = self.chip
        number = chip.layer_of[tile].descriptor["layer"]
        expected = [chip.record_there.get(tile), self._layer_there(number)]
        if None in expected:
            return None
        return max(time for time in expected if time is not None) + chip.latency.fill

    def _layer_there(self, number: int) -> int | None:
        """Descriptor and tables of a layer are there: when the last one of them came."""
        chip = self.chip
        if number in self.known:
            return self.known[number]
        if any(e.layer == number and e.kind in (Kind.DESCRIPTOR, Kind.TABLES)
               for e in chip.entries):  # fmt: skip
            return None
        entry = chip.engine.entry
        if entry and entry.layer == number and entry.kind in (Kind.DESCRIPTOR, Kind.TABLES):
            return None
        kinds = (Kind.DESCRIPTOR, Kind.TABLES)
        mine = [b.there for b in chip.bursts if b.entry.layer == number and b.kind in kinds]
        self.known[number] = max(mine)
        return self.known[number]
