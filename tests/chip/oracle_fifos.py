"""Parts of the chip's tick oracle that bursts pass through: FIFOs, parser, vector unit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from golden.chip.formats import Kind

if TYPE_CHECKING:
    from tests.chip.oracle import Chip

__all__ = ["Burst", "Fifo", "ListEntry", "Parser", "VectorUnit"]


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
        self.residual_used = 0  # bytes of the oldest burst
        self.stalled = False

    def has(self, now: int) -> bool:
        return bool(self.made) and now >= self.made[0]

    def take(self) -> None:
        self.made.popleft()

    def step(self, now: int) -> None:
        """Do one cycle; ``stalled`` says that only a residual is missing."""
        self.stalled = False
        if self.todo and not self.todo[0][2]:  # a tile without outputs
            entry = self.todo[0][0]
            if self._computed(entry.tile, now):
                self.chip.half_read[entry.tile] = now + 1
                self.todo.popleft()
            return
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
        have = -self.residual_used
        for burst in self.chip.residuals:
            if have >= length:
                break
            if now < burst.there + self.chip.latency.fill:
                return False
            have += burst.length
        return have >= length

    def _use_residual(self, length: int, now: int) -> None:
        self.residual_used += length
        residuals = self.chip.residuals
        while residuals and residuals[0].length <= self.residual_used:
            self.residual_used -= residuals.popleft().length
            self.chip.fifos[Kind.RESIDUAL].give_back(now)

    def _cycles(self, entry: ListEntry, begin: int, length: int, channels: int) -> int:
        descriptor = self.chip.layer_of[entry.tile].descriptor
        count, size = 0, 0
        for place in range(begin, begin + length):
            if size == 0 or place % channels == 0 or size == self.chip.config.vector_lanes:
                count, size = count + 1, 0
            size += 1
        return count * descriptor["window_height"] * descriptor["window_width"]
