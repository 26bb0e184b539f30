"""The tick oracle of ExTensor: loader, tile and scalar level and output of a PE, every cycle.

Written from ``docs/extensor.md`` as state machines on lists of coordinates that talk over wires
with a delay; no equation of that page is evaluated here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Item,
    map_layer,
)
from tests.oracle import Wire

__all__ = ["Intersection", "ProcessingElement", "kernel_operands", "run_layer"]

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
    mapping = map_layer(config, layer, weights)
    sums = np.zeros((layer.positions, layer.out_channels), dtype=np.int64)
    written = np.zeros(sums.shape, dtype=np.int64)
    pes = []
    for number in range(config.pes):
        pe = ProcessingElement(config)
        for index in range(number, mapping.items, config.pes):
            item = mapping.item(index)
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


@dataclass(frozen=True)
class Fibre:
    """What a row or column has in a tile: coordinates in order, and values."""

    coordinates: list[int]
    values: list[int]


@dataclass(frozen=True)
class Tile:
    """What a block or run has in a tile of the reduction axis: fibres by their number."""

    fibres: dict[int, Fibre]

    def beats(self, port_bytes: int) -> int:
        """Beats in which it is loaded."""
        return sum(-(-(2 + 2 * len(one.values)) // port_bytes) for one in self.fibres.values())


def cut(dense: NDArray[np.int64], tile: int) -> dict[int, Tile]:
    """Cut a block, axes row, e, into its tiles that have a non-zero, by coordinate."""
    tiles = {}
    for start in range(0, dense.shape[1], tile):
        fibres = {}
        for number, values in enumerate(dense[:, start : start + tile].tolist()):
            places = [place for place, value in enumerate(values) if value]
            if places:
                fibres[number] = Fibre(places, [values[place] for place in places])
        if fibres:
            tiles[start // tile] = Tile(fibres)
    return tiles


@dataclass(eq=False)
class Work:
    """An item: its tiles, and the output of each of its sums, column by column."""

    rows: dict[int, Tile]
    columns: dict[int, Tile]
    list_beats: int
    outputs: list[tuple[tuple[int, int], tuple[int, int]]]  # (column, row), (position, k)


@dataclass(eq=False)
class TilePair:
    """Two tiles that matched, as they wait for the scalar level."""

    rows: Tile
    columns: Tile


@dataclass(eq=False)
class End:
    """The end of an item, likewise."""

    item: Work


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
        self.items: list[Work] = []
        self.outputs: list[tuple[int, int, int]] = []
        self.counters = dict.fromkeys(PE_COUNTERS, 0)
        self.unit = dict.fromkeys(UNIT_COUNTERS, 0)
        # Loader.
        self.item = 0
        self.lists_left = 0
        self.in_lists = True
        self.pair: TilePair | None = None
        self.beats_left = 0
        self.buffers_in_use = 0
        self.end_in_use = False
        self.freed: Wire[TilePair | End] = Wire(config.LATENCY.load_free)
        # Tile level.
        self.listed: Wire[Work] = Wire(config.LATENCY.lists)
        self.tiles: Intersection | None = None
        self.matches: deque[TilePair] = deque()
        # Scalar level.
        self.loaded: Wire[TilePair | End] = Wire(config.LATENCY.load)
        self.waiting: deque[TilePair | End] = deque()
        self.work: TilePair | End | None = None
        self.places: deque[tuple[int, int]] = deque()  # column and row of fibre pairs to come
        self.scalars: Intersection | None = None
        self.sums: dict[tuple[int, int], int] = {}
        self.ends = 0
        # Output.
        self.ended: Wire[list[tuple[int, int, int]]] = Wire(config.LATENCY.drain)
        self.draining: deque[tuple[int, int, int]] = deque()
        self.drains = False

    def add_item(
        self, item: Item, rows: NDArray[np.int64], columns: NDArray[np.int64], group_filters: int
    ) -> None:
        """Append an item to the program."""
        tile, port = self.config.tile, self.config.port_bytes
        tiles = -(-rows.shape[1] // tile)
        self.items.append(
            Work(
                cut(rows[item.rows.start : item.rows.stop], tile),
                cut(columns[item.columns.start : item.columns.stop], tile),
                2 * -(-tiles // (8 * port)),
                [
                    (
                        (n - item.columns.start, m - item.rows.start),
                        (n, item.group * group_filters + m),
                    )
                    for n in item.columns
                    for m in item.rows
                ],
            )
        )

    def run(self) -> None:
        """Run the program to its end."""
        total = sum(len(item.outputs) for item in self.items)
        now, latest = 0, self._latest_end()
        while self.counters["outputs"] < total:
            self._take_lists(now)
            self._load(now)
            self._decide_on_tiles()
            self._work(now)
            self._drain(now)
            now += 1
            if now > latest:
                raise RuntimeError(f"the processing element hangs: runs after {now} cycles")
        if total:
            self.counters["cycles"] = now + self.config.LATENCY.tail
            self.unit["idle_cycles"] += self.config.LATENCY.tail

    def _latest_end(self) -> int:
        """Cycles of the program with nothing done at the same time as anything else."""
        delays = sum(astuple(self.config.LATENCY))
        latest = delays
        for item in self.items:
            latest += item.list_beats + len(item.outputs) + 2 * delays
            sides = [list(item.rows.values()), list(item.columns.values())]
            latest += sum(map(len, sides))
            for tile in sides[0] + sides[1]:
                latest += tile.beats(self.config.port_bytes) + delays
            most = [
                sum(len(one.values) for tile in side for one in tile.fibres.values())
                for side in sides
            ]
            latest += most[0] * len(item.outputs) + most[1] * len(item.outputs)
        return latest

    # -- loader and tile level --------------------------------------------------------------

    def _take_lists(self, now: int) -> None:
        for item in self.listed.receive(now):
            self.tiles = Intersection(sorted(item.rows), sorted(item.columns))

    def _load(self, now: int) -> None:
        """Take a beat of what comes next where there is room for it, or end an item."""
        for freed in self.freed.receive(now):
            if isinstance(freed, End):
                self.end_in_use = False
            else:
                self.buffers_in_use -= 1
        if self.item == len(self.items):
            return
        item = self.items[self.item]
        if self.in_lists:
            self.lists_left = self.lists_left or item.list_beats
            self.lists_left -= 1
            self.counters["load_beats"] += 1
            if not self.lists_left:
                self.in_lists, self.tiles = False, None
                self.listed.send(now + 1, item)
            return
        if self.pair is None:
            if self.matches:
                if self.buffers_in_use < 2:
                    self.buffers_in_use += 1
                    self.pair = self.matches.popleft()
                    port = self.config.port_bytes
                    self.beats_left = self.pair.rows.beats(port) + self.pair.columns.beats(port)
            elif self.tiles is not None and self.tiles.used_up and not self.end_in_use:
                self.end_in_use = True
                self.loaded.send(now + 1, End(item))
                self.item += 1
                self.in_lists = True
        if self.pair is not None:
            self.counters["load_beats"] += 1
            self.beats_left -= 1
            if not self.beats_left:
                self.loaded.send(now + 1, self.pair)
                self.pair = None

    def _decide_on_tiles(self) -> None:
        if self.tiles is None or self.tiles.used_up:
            return
        self.counters["tile_decisions"] += 1
        if match := self.tiles.decide():
            item = self.items[self.item]
            row, column = self.tiles.left[match[0]], self.tiles.right[match[1]]
            self.matches.append(TilePair(item.rows[row], item.columns[column]))
            self.counters["tile_pairs"] += 1

    # -- scalar level and output ------------------------------------------------------------

    def _work(self, now: int) -> None:
        """Make one decision on scalars, or end an item; count the cycle."""
        self.waiting.extend(self.loaded.receive(now))
        if self.work is None and self.waiting:
            self.work = self.waiting.popleft()
            if isinstance(self.work, TilePair):
                columns, rows = self.work.columns.fibres, self.work.rows.fibres
                self.places.extend((n, m) for n in columns for m in rows)
        if self.work is None:
            over = self.ends == len(self.items)
            self.unit["idle_cycles" if over else "wait_memory_cycles"] += 1
        elif isinstance(self.work, TilePair):
            self._decide_on_scalars(now, self.work)
        elif self.drains:
            self.unit["wait_collector_cycles"] += 1
        else:
            self.unit["bubble_cycles"] += 1
            self.ends += 1
            self.drains = True
            sums, self.sums = self.sums, {}
            self.ended.send(
                now + 1,
                [(*output, sums.get(place, 0)) for place, output in self.work.item.outputs],
            )
            self.freed.send(now + 1, self.work)
            self.work = None

    def _decide_on_scalars(self, now: int, pair: TilePair) -> None:
        place = self.places[0]
        column, row = pair.columns.fibres[place[0]], pair.rows.fibres[place[1]]
        if self.scalars is None:
            self.counters["fibre_pairs"] += 1
            self.scalars = Intersection(row.coordinates, column.coordinates)
        if match := self.scalars.decide():
            product = row.values[match[0]] * column.values[match[1]]
            self.sums[place] = self.sums.get(place, 0) + product
            self.unit["busy_cycles"] += 1
            self.counters["pairs"] += 1
        else:
            self.unit["bubble_cycles"] += 1
        if self.scalars.used_up:
            self.scalars = None
            self.places.popleft()
            if not self.places:
                self.freed.send(now + 1, pair)
                self.work = None

    def _drain(self, now: int) -> None:
        """Hand one sum out."""
        for outputs in self.ended.receive(now):
            self.draining.extend(outputs)
        if self.draining:
            self.outputs.append(self.draining.popleft())
            self.counters["outputs"] += 1
            self.drains = bool(self.draining)
