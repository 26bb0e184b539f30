"""The tick oracle of ExTensor: loader and both intersect units of a PE, stepped every cycle.

Written from ``docs/extensor.md`` as state machines on lists of coordinates that talk over wires
with a delay; no equation of that page is evaluated here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.counters import UNIT_COUNTERS
from golden.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Item,
    Latency,
    fibre_bytes,
    map_kernel,
)
from golden.layer import LayerShape
from tests.oracle import Wire

__all__ = ["Dot", "Fibre", "Load", "ProcessingElement", "kernel_operands", "run_layer"]

Codes = NDArray[np.int8 | np.uint8]


def run_layer(
    config: ExTensorConfig,
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    requantisation: Requantisation,
) -> tuple[Codes, ExTensorCounters]:
    """Run a layer on one image.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel

    Returns
    -------
    ndarray of int8 or uint8, axes p, q, k
        Output codes.
    ExTensorCounters
    """
    rows, columns = kernel_operands(layer, weights, activations)
    row_bytes = np.array([fibre_bytes(a != 0, config.tile, config.port_bytes) for a in rows])
    mapping = map_kernel(config, layer.groups, layer.positions, row_bytes, layer.name)
    sums = np.zeros((layer.positions, layer.out_channels), dtype=np.int64)
    written = np.zeros(sums.shape, dtype=np.int64)
    pes = []
    for number in range(config.pes):
        pe = ProcessingElement(config)
        for item in mapping.items[number :: config.pes]:
            pe.add_item(item, rows[item.group], columns[item.group], layer.group_filters)
        pe.run()
        pes.append(pe)
        for position, k, total in pe.outputs:
            sums[position, k] = total
            written[position, k] += 1
    if np.any(written != 1):
        raise RuntimeError("an output was given never or twice")
    cycles = max(pe.counters["cycles"] for pe in pes)
    for pe in pes:
        pe.unit["idle_cycles"] += cycles - pe.counters["cycles"]
    counters = ExTensorCounters(
        np.array([[pe.counters[name] for name in PE_COUNTERS] for pe in pes]),
        np.array([[pe.unit[name] for name in UNIT_COUNTERS] for pe in pes]),
    )
    codes = requantisation.apply(sums)
    return codes.reshape(layer.out_height, layer.out_width, layer.out_channels), counters


def kernel_operands(
    layer: LayerShape, weights: NDArray[np.int8], activations: Codes
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return A, axes group, m, e, and the columns of B, axes group, n, e."""
    channels, length = layer.group_channels, layer.taps * layer.group_channels
    rows = np.zeros((layer.groups, layer.group_filters, length), dtype=np.int64)
    columns = np.zeros((layer.groups, layer.positions, length), dtype=np.int64)
    for g, r, s, c in np.ndindex(layer.groups, layer.kernel_height, layer.kernel_width, channels):
        e = (r * layer.kernel_width + s) * channels + c
        for m in range(layer.group_filters):
            rows[g, m, e] = weights[g * layer.group_filters + m, r, s, c]
        for n in range(layer.positions):
            y = n // layer.out_width * layer.stride_height + r - layer.pad_top
            x = n % layer.out_width * layer.stride_width + s - layer.pad_left
            if 0 <= y < layer.in_height and 0 <= x < layer.in_width:
                columns[g, n, e] = activations[y, x, g * channels + c]
    return rows, columns


@dataclass
class Fibre:
    """Tile coordinates in order; coordinates and values of each tile."""

    tiles: list[int] = field(default_factory=list)
    coordinates: list[list[int]] = field(default_factory=list)
    values: list[list[int]] = field(default_factory=list)

    @classmethod
    def of(cls, dense: Sequence[int], tile: int) -> Fibre:
        """Compress a row or a column."""
        fibre = cls()
        for e, value in enumerate(dense):
            if not value:
                continue
            if not fibre.tiles or fibre.tiles[-1] != e // tile:
                fibre.tiles.append(e // tile)
                fibre.coordinates.append([])
                fibre.values.append([])
            fibre.coordinates[-1].append(e % tile)
            fibre.values[-1].append(value)
        return fibre

    def beats(self, port_bytes: int) -> int:
        """Beats in which it is loaded."""
        if not self.tiles:
            return 1
        return sum(-(-(2 + 2 * len(tile)) // port_bytes) for tile in self.coordinates)


@dataclass(frozen=True)
class Load:
    """Rows of an item (``column`` is None), or one column, by its number in the program."""

    beats: int
    column: int | None


@dataclass(frozen=True)
class Dot:
    """A row against a column, and what it is the last of."""

    row: Fibre
    column: Fibre
    output: tuple[int, int]  # position, k
    column_number: int
    last_of_column: bool
    last_of_item: bool


@dataclass(frozen=True)
class Token:
    """Two matched tiles, by their place in row and column; None for the end of a dot."""

    dot: Dot
    tiles: tuple[int, int] | None


class Intersection:
    """Two sorted lists with a current coordinate each; one decision a cycle, with skip-ahead."""

    def __init__(self, left: list[int], right: list[int]) -> None:
        self.left, self.right = left, right
        self.at_left = self.at_right = 0

    @property
    def used_up(self) -> bool:
        return self.at_left == len(self.left) or self.at_right == len(self.right)

    def decide(self) -> tuple[int, int] | None:
        """Decide once; return the places of a match, or None."""
        left, right = self.left[self.at_left], self.right[self.at_right]
        if left == right:
            match = self.at_left, self.at_right
            self.at_left, self.at_right = self.at_left + 1, self.at_right + 1
            return match
        if left < right:
            while self.at_left < len(self.left) and self.left[self.at_left] < right:
                self.at_left += 1
        else:
            while self.at_right < len(self.right) and self.right[self.at_right] < left:
                self.at_right += 1
        return None


class ProcessingElement:
    """One PE: its program, its blocks and the wires between them."""

    def __init__(self, config: ExTensorConfig) -> None:
        self.config = config
        self.loads: deque[Load] = deque()
        self.dots: deque[Dot] = deque()
        self.columns = 0
        self.outputs: list[tuple[int, int, int]] = []
        self.counters = dict.fromkeys(PE_COUNTERS, 0)
        self.unit = dict.fromkeys(UNIT_COUNTERS, 0)
        # Loader.
        self.beats_left = 0
        self.rows_in_use = False
        self.columns_in_use: set[int] = set()
        self.freed: Wire[Dot] = Wire(Latency.LOAD_FREE)
        self.loaded: Wire[int] = Wire(Latency.LOAD)
        self.columns_seen = 0
        # Level 1.
        self.tiles: Intersection | None = None
        self.queued = 0  # tokens that level 1 has made and level 0 has not begun
        self.waits_for_column = False
        self.tokens: Wire[Token] = Wire(Latency.MATCH)
        # Level 0.
        self.arrived: deque[Token] = deque()
        self.token: Token | None = None
        self.coordinates: Intersection | None = None
        self.total = 0

    def add_item(
        self, item: Item, rows: NDArray[np.int64], columns: NDArray[np.int64], group_filters: int
    ) -> None:
        """Append an item to the program."""
        tile, port = self.config.tile, self.config.port_bytes
        block = [Fibre.of(rows[m].tolist(), tile) for m in item.rows]
        self.loads.append(Load(sum(fibre.beats(port) for fibre in block), None))
        for n in item.columns:
            column = Fibre.of(columns[n].tolist(), tile)
            self.loads.append(Load(column.beats(port), self.columns))
            for m, row in zip(item.rows, block, strict=True):
                last = m == item.rows[-1]
                self.dots.append(
                    Dot(
                        row,
                        column,
                        (n, item.group * group_filters + m),
                        self.columns,
                        last,
                        last and n == item.columns[-1],
                    )
                )
            self.columns += 1

    def run(self) -> None:
        """Run the program to its end."""
        dots = len(self.dots)
        now, latest = 0, self._latest_end()
        while self.counters["outputs"] < dots:
            self._begin_token(now)
            self._load(now)
            self._level1(now)
            self._level0(now)
            now += 1
            if now > latest:
                raise RuntimeError(f"the processing element hangs: runs after {now} cycles")
        if dots:
            self.counters["cycles"] = now + Latency.TAIL
            self.unit["idle_cycles"] += Latency.TAIL

    def _latest_end(self) -> int:
        """Cycles of the program with nothing done at the same time as anything else."""
        delays = Latency.LOAD + Latency.LOAD_FREE + Latency.MATCH
        decisions = sum(
            1 + 2 * len(fibre.tiles) + sum(map(len, fibre.coordinates))
            for dot in self.dots
            for fibre in (dot.row, dot.column)
        )
        tokens = sum(1 + len(dot.row.tiles) for dot in self.dots)
        beats = sum(load.beats for load in self.loads)
        return beats + decisions + (tokens + len(self.loads)) * delays

    def _load(self, now: int) -> None:
        """Take a beat where there is room for it."""
        for dot in self.freed.receive(now):
            self.columns_in_use.remove(dot.column_number)
            if dot.last_of_item:
                self.rows_in_use = False
        if not self.loads:
            return
        load = self.loads[0]
        if not self.beats_left:
            if self.rows_in_use if load.column is None else len(self.columns_in_use) == 2:
                return
            self.beats_left = load.beats
            if load.column is None:
                self.rows_in_use = True
            else:
                self.columns_in_use.add(load.column)
        self.beats_left -= 1
        self.counters["load_beats"] += 1
        if not self.beats_left:
            self.loads.popleft()
            if load.column is not None:
                self.loaded.send(now + 1, load.column)

    def _level1(self, now: int) -> None:
        """Make one decision on tile coordinates, or an end token."""
        for _ in self.loaded.receive(now):
            self.columns_seen += 1
        self.waits_for_column = False
        if not self.dots:
            return
        dot = self.dots[0]
        if self.tiles is None:
            if dot.column_number >= self.columns_seen:
                self.waits_for_column = True
                return
            self.tiles = Intersection(dot.row.tiles, dot.column.tiles)
        if self.queued >= self.config.queue:
            return
        self.counters["level1_decisions"] += 1
        if self.tiles.used_up:
            self.dots.popleft()
            self.tiles = None
            self.counters["dots"] += 1
            self._send(now, Token(dot, None))
        elif match := self.tiles.decide():
            self.counters["tile_tokens"] += 1
            self._send(now, Token(dot, match))

    def _send(self, now: int, token: Token) -> None:
        self.queued += 1
        self.tokens.send(now + 1, token)

    def _begin_token(self, now: int) -> None:
        """Take up the next token where there is one: first thing in a cycle."""
        self.arrived.extend(self.tokens.receive(now))
        if self.token is not None or not self.arrived:
            return
        self.token = self.arrived.popleft()
        self.queued -= 1
        if self.token.tiles is not None:
            left, right = self.token.tiles
            dot = self.token.dot
            self.coordinates = Intersection(
                dot.row.coordinates[left], dot.column.coordinates[right]
            )

    def _level0(self, now: int) -> None:
        """Make one decision on coordinates, or end a dot; count the cycle."""
        token = self.token
        if token is None:
            if self.waits_for_column and not self.queued:
                self.unit["wait_memory_cycles"] += 1
            else:
                self.unit["wait_broadcast_cycles"] += 1
            return
        dot = token.dot
        if token.tiles is None:
            self.unit["bubble_cycles"] += 1
            self.outputs.append((*dot.output, self.total))
            self.counters["outputs"] += 1
            self.total, self.token = 0, None
            if dot.last_of_column:
                self.freed.send(now + 1, dot)
            return
        assert self.coordinates is not None
        match = self.coordinates.decide()
        if match is None:
            self.unit["bubble_cycles"] += 1
        else:
            left, right = token.tiles
            self.total += dot.row.values[left][match[0]] * dot.column.values[right][match[1]]
            self.unit["busy_cycles"] += 1
            self.counters["pairs"] += 1
        if self.coordinates.used_up:
            self.token = None
