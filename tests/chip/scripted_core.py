"""A compute side that computes nothing: it knows what it has to say, and checks what it gets.

Without stalls it acts in the cycles that the simulator says; with them, whenever it may.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.chip.arrays import Work
from golden.chip.config import CHIP_LATENCY
from golden.chip.formats import Kind
from golden.chip.program import ChipProgram, Entry

__all__ = ["ScriptedCore", "cut", "pieces_of"]

#: Cycles from the last read of a piece to the piece; from P to the burst's header.
_PIECE, _HEADER = 8, 10


def cut(address: int, length: int, burst_bytes: int) -> list[tuple[int, int]]:
    """Cut a run of bytes into bursts: address, bytes."""
    edges = [address, *(a for a in range(address + 1, address + length) if a % burst_bytes == 0)]
    return [(a, b - a) for a, b in pairwise([*edges, address + length]) if b > a]


def pieces_of(offset: int, length: int, unit: int, longest: int) -> list[int]:
    """Return the bytes of each piece: it ends with a unit of the entry's bytes."""
    result, at = [], offset
    while at < offset + length:
        size = min(longest, unit - at % unit, offset + length - at)
        result.append(size)
        at += size
    return result


@dataclass
class _Burst:
    """A burst of the list, in its stream."""

    kind: Kind
    entry: Entry
    address: int
    length: int
    pieces: list[int]
    first: bool
    last: bool
    step: int = 0


class ScriptedCore:
    """What stands on the compute side's ports, cycle by cycle.

    Parameters
    ----------
    program : ChipProgram
    octets : ndarray of uint8
        The memory as it is when the network is done: maps share nothing.
    work : Work
        The simulator's events.
    stalls : int, optional
        Seed of random pauses.
    """

    def __init__(
        self,
        program: ChipProgram,
        octets: NDArray[np.uint8],
        work: Work,
        stalls: int | None = None,
    ) -> None:
        self.program, self.config, self.octets, self.work = program, program.config, octets, work
        self.dice = None if stalls is None else random.Random(stalls)
        bursts = [burst for entry in program.entries for burst in self._cut(entry)]
        of = {kind: [b for b in bursts if b.kind is kind] for kind in Kind}
        self.filters, self.writes = of[Kind.FILTERS], of[Kind.WRITE]
        self.rows = [b for b in bursts if b.kind in (Kind.ROWS, Kind.OPERAND)]
        self.controls = deque(
            e for e in program.entries if e.kind in (Kind.DESCRIPTOR, Kind.TABLES, Kind.TILE)
        )
        self.residual = b"".join(self._bytes(b) for b in of[Kind.RESIDUAL])
        self.counts: Counter[str] = Counter()
        self.at: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))  # burst, piece
        self.words: list[int] = []
        self.agenda: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
        self.machine = None if self.dice is None else _Machine(self)
        if self.dice is None:
            self._plan()

    # -- what is to come ----------------------------------------------------------------------

    def _cut(self, entry: Entry) -> list[_Burst]:
        config, descriptor = self.config, self.program.layers[entry.layer].descriptor
        runs, unit, longest = [(entry.address, entry.length)], 1 << 30, config.bus_bytes
        stride = 0
        if entry.kind is Kind.WRITE:
            unit, longest = descriptor["out_channels"], config.vector_lanes
            runs, stride = [(entry.address, entry.length * unit)], descriptor["pixel_stride"]
            if stride != unit:
                runs = [(entry.address + i * stride, unit) for i in range(entry.length)]
        elif entry.kind is Kind.OPERAND:
            unit = descriptor["in_channels"]
        elif entry.kind is Kind.ROWS:
            unit = 0
        result = []
        for address, length in runs:
            for begin, size in cut(address, length, config.burst_bytes):
                sizes = []
                if unit:
                    sizes = pieces_of(begin - address, size, unit, longest)
                else:
                    sizes = self._row_pieces(descriptor, begin - address, size)
                result.append(_Burst(entry.kind, entry, begin, size, sizes, not result, False))
        for burst, following in pairwise(result):
            burst.step = following.address - burst.address
        if result:
            result[-1].last = True
        return result

    def _row_pieces(self, descriptor: dict[str, int], offset: int, length: int) -> list[int]:
        """Pieces end with chunks of a group's channels."""
        channels = descriptor["in_channels"] // descriptor["groups"]
        result, at = [], offset
        while at < offset + length:
            place = at % channels
            chunk = min(channels, (place // self.config.chunk + 1) * self.config.chunk) - place
            result.append(min(chunk, self.config.bus_bytes, offset + length - at))
            at += result[-1]
        return result

    def _bytes(self, burst: _Burst) -> bytes:
        return self.octets[burst.address : burst.address + burst.length].tobytes()

    def _plan(self) -> None:
        """Put on the agenda what the simulator says."""
        k, work, plan = CHIP_LATENCY, self.work, self.agenda
        for done, half in zip(work.tiles["done"], work.tiles["half"], strict=True):
            plan[int(done)].append(("tile_done", 1))
            plan[int(half)].append(("half_read", 1))
        for f, burst in enumerate(self.filters):
            beats = burst.length // self.config.filter_bus_bytes
            end = int(work.filters["used"][f]) + k.feed
            for cycle in range(end - beats + 1, end + 1):
                plan[cycle].append(("filters_used", 1))
        for w, burst in enumerate(self.writes):
            made, layer = int(work.writes["made"][w]), self.program.layers[burst.entry.layer]
            d = layer.descriptor
            taps = d["window_height"] * d["window_width"]
            for number in range(len(burst.pieces)):
                read = made - 1 - (len(burst.pieces) - 1 - number) * taps
                if d["residual"]:
                    plan[read].append(("residual", (w, number)))
                plan[read + _PIECE].append(("piece", (w, number)))
            if d["residual"]:
                plan[made].append(("release", 1))
            plan[made + _HEADER].append(("burst", w))

    # -- each cycle ---------------------------------------------------------------------------

    def outputs(self, now: int) -> dict[str, int]:
        """Return what the compute side drives in a cycle."""
        result: dict[str, Any] = dict.fromkeys(
            ("tile_done", "half_read", "filters_used", "residual_release"), 0
        )
        pieces: dict[str, Any] = {"pieces": None, "bursts": None, "residual": 0}
        actions = self.machine.actions() if self.machine else self.agenda.pop(now, [])
        for what, value in actions:
            if what == "piece":
                pieces["pieces"] = self._piece(*value)
            elif what == "burst":
                burst = self.writes[value]
                pieces["bursts"] = (burst.length, burst.step or burst.length, int(burst.last))
            elif what == "residual":
                pieces["residual"] = self.writes[value[0]].pieces[value[1]]
            elif what == "release":
                result["residual_release"] = 1
            else:
                result[what] = value
        number, piece = self.at["rows"]
        taken = self.rows[number].pieces[piece] if number < len(self.rows) else 0
        result["rows_ready"] = int(taken > 0 and not self._pauses())
        result["rows_taken"] = taken
        result["filters_ready"] = int(not self._pauses())
        return result | pieces

    def _pauses(self) -> bool:
        return self.dice is not None and self.dice.random() < 0.4

    def _piece(self, number: int, piece: int) -> tuple[int, int, int, int]:
        """Return data, count, offset, last."""
        burst = self.writes[number]
        begin = burst.address + sum(burst.pieces[:piece])
        data = self.octets[begin : begin + burst.pieces[piece]].tobytes()
        last = piece + 1 == len(burst.pieces)
        return (int.from_bytes(data, "little"), len(data),
                burst.address % self.config.burst_bytes, int(last))  # fmt: skip

    def step(self, now: int, seen: dict[str, int]) -> None:
        """See a cycle: what the memory side gave, and what was driven."""
        self._see_rows(now, seen)
        self._see_filters(now, seen)
        self._see_residual(seen)
        if seen["control_valid"]:
            self._see_control(seen)
        if seen["rows_closed"]:
            tile = self.counts["closed"]
            self.counts["closed"] += 1
            if self.dice is None:
                wanted = int(self.work.tiles["ready"][tile]) - CHIP_LATENCY.parse + 1
                wanted = max(wanted, self.counts["closed_at"] + 1)
                assert now == wanted, f"tile {tile} closed in {now}, not {wanted}"
                self.counts["closed_at"] = now
        self.counts["write_free"] += seen["write_free"]
        self.counts["arrived"] = seen["residual_arrived"]

    def _see_rows(self, now: int, seen: dict[str, int]) -> None:
        if not (seen["rows_valid"] and seen["rows_ready"]):
            return
        number, piece = self.at["rows"]
        burst = self.rows[number]
        size = burst.pieces[piece]
        left = sum(burst.pieces[piece:])
        assert seen["rows_count"] == min(left, self.config.bus_bytes)
        begin = burst.address + burst.length - left
        wanted = self.octets[begin : begin + size].tobytes()
        assert seen["rows_data"].to_bytes(64, "little")[:size] == wanted, f"row burst {number}"
        assert seen["rows_operand"] == (burst.kind is Kind.OPERAND)
        assert seen["rows_first"] == (burst.first and piece == 0)
        assert seen["rows_gap"] == burst.entry.gap
        assert seen["rows_tile"] == burst.entry.tile % 16
        self.at["rows"] = (number, piece + 1)
        if piece + 1 == len(burst.pieces):
            self.at["rows"] = (number + 1, 0)
            if self.dice is None:
                wanted = int(self.work.rows[number])
                assert now + 1 == wanted, f"XR of row burst {number} is {now + 1}, not {wanted}"

    def _see_filters(self, now: int, seen: dict[str, int]) -> None:
        if not (seen["filters_valid"] and seen["filters_ready"]):
            return
        number, beat = self.at["filters"]
        burst, width = self.filters[number], self.config.filter_bus_bytes
        begin = burst.address + beat * width
        assert seen["filters_data"] == int.from_bytes(
            self.octets[begin : begin + width].tobytes(), "little"
        ), f"filter burst {number}, beat {beat}"
        begins = beat == 0 and bool(self.work.filters["begins"][number])
        assert seen["filters_first"] == begins
        if self.dice is None and beat == 0:
            there = int(self.work.filters["there"][number]) + CHIP_LATENCY.fill
            wanted = max(there, self.counts["filtered"] + 1)
            assert now == wanted, f"filter burst {number} leaves in {now}, not {wanted}"
        self.counts["filtered"] = now
        self.counts["beats"] += 1
        ends = (beat + 1) * width == burst.length
        self.at["filters"] = (number + 1, 0) if ends else (number, beat + 1)

    def _see_residual(self, seen: dict[str, int]) -> None:
        size = seen["residual_taken"]
        if not size:
            return
        assert seen["residual_valid"]
        begin = self.counts["residual"]
        assert seen["residual_arrived"] >= begin + size
        wanted = self.residual[begin : begin + size]
        assert seen["residual_data"].to_bytes(64, "little")[:size] == wanted, "residual"
        self.counts["residual"] += size

    def _see_control(self, seen: dict[str, int]) -> None:
        entry, words = self.controls[0], self.config.bus_bytes // 4
        assert seen["control_kind"] == entry.kind
        assert seen["control_word"] == len(self.words)
        self.words += [seen["control_data"] >> (32 * at) & 0xFFFFFFFF for at in range(words)]
        assert seen["control_last"] == (4 * len(self.words) >= entry.length)
        if seen["control_last"]:
            wanted = self.octets[entry.address : entry.address + entry.length].view("<u4").tolist()
            assert self.words[: len(wanted)] == wanted, f"{entry.kind.name} at {entry.address}"
            self.words = []
            self.controls.popleft()
            self.counts[entry.kind.name] += 1

    def finish(self) -> None:
        """Check that nothing is left."""
        assert self.at["rows"] == (len(self.rows), 0)
        assert self.at["filters"] == (len(self.filters), 0)
        assert not self.controls
        assert self.counts["residual"] == len(self.residual)
        assert self.counts["closed"] == self.program.tiles
        assert self.counts["write_free"] == len(self.writes)


class _Machine:
    """A compute side with pauses, which does things in an order that is possible."""

    def __init__(self, core: ScriptedCore) -> None:
        self.core, self.dice = core, core.dice
        self.done = self.used = self.started = self.written = 0
        self.needed = 0  # residual bytes
        self.todo: deque[list[tuple[str, Any]]] = deque()
        self.beats: Counter[int] = Counter()
        for burst in core.filters:
            self.beats[burst.entry.tile] += burst.length // core.config.filter_bus_bytes
        #: Write bursts up to each tile's last one.
        self.ends = np.cumsum(
            [sum(b.entry.tile == t for b in core.writes) for t in range(core.program.tiles)]
        ).tolist()

    def actions(self) -> list[tuple[str, Any]]:
        result: list[tuple[str, Any]] = []
        counts, tiles = self.core.counts, self.core.program.tiles
        assert self.dice is not None
        beats = sum(self.beats[t] for t in range(self.done + 1))
        if (
            self.done < tiles
            and counts["closed"] > self.done
            and counts["TILE"] > self.done
            and counts["beats"] >= beats
            and self.dice.random() < 0.2
        ):
            self.done += 1
            result.append(("tile_done", 1))
        if self.used < counts["beats"] and self.dice.random() < 0.5:
            self.used += 1
            result.append(("filters_used", 1))
        if not self.todo and self.written < self.done:
            self._next_burst()
        if self.todo and self.dice.random() < 0.6:
            result += self.todo.popleft()
        return result

    def _next_burst(self) -> None:
        core, number = self.core, self.started
        if number == self.ends[self.written]:
            self.todo.append([("half_read", 1)])
            self.written += 1
            return
        burst = core.writes[number]
        residual = core.program.layers[burst.entry.layer].descriptor["residual"]
        needed = self.needed + burst.length * residual
        if core.counts["arrived"] < needed:
            return
        if number - core.counts["write_free"] >= core.config.write_bursts:
            return
        self.started, self.needed = number + 1, needed
        for at in range(len(burst.pieces)):
            taken = [("residual", (number, at))] if residual else []
            self.todo.append([("piece", (number, at)), *taken])
        self.todo.append([("burst", number), *([("release", 1)] if residual else [])])
