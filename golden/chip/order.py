"""The transfer list: every entry of a network, in the order in which the engine serves them.

``docs/chip.md``, *The transfer list*, says which orders would make the engine wait for ever, and
which one this is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from golden.chip.config import ChipConfig
from golden.chip.derived import slice_bytes
from golden.chip.formats import DESCRIPTOR_BYTES, TILE_BYTES, Kind
from golden.chip.program import CompiledLayer, Entry, Map
from golden.chip.tiles import Tile
from golden.errors import CapacityError

__all__ = ["COUNT_LAG", "Addresses", "Ring", "order_entries"]

#: An entry waits for all but so many of the tiles and writes before it.
COUNT_LAG = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the parts of a layer's program lie.

    Parameters
    ----------
    records : int
        The first tile's record; the others follow.
    tables : (int, int)
        Address and bytes.
    loads : tuple of (int, int)
        The same of each pass.
    """

    descriptor: int
    records: int
    tables: tuple[int, int]
    loads: tuple[tuple[int, int], ...]


class Ring:
    """Where rows lie in the rings, and which tile must be done before one can be loaded."""

    def __init__(self, config: ChipConfig) -> None:
        self._sizes = (config.input_buffer_chunks, config.input_buffer_bytes)
        self._next = (0, 0)
        #: First chunk, first byte, and last tile of the rows that may be alive.
        self._rows: deque[tuple[int, int, int]] = deque()
        self._dead = 0

    @property
    def place(self) -> int:
        """Index place of the next row, counted on for ever."""
        return self._next[0]

    def skip(self, chunks: int, values: int) -> None:
        """Leave room for a row that is not loaded."""
        self._next = (self._next[0] + chunks, self._next[1] + values)

    def take(self, chunks: int, values: int, last_tile: int) -> int:
        """Place a row that is read up to a tile; return how many tiles must be done before."""
        begin = self._next
        self.skip(chunks, values)
        while self._rows and (
            self._rows[0][0] < self._next[0] - self._sizes[0]
            or self._rows[0][1] < self._next[1] - self._sizes[1]
        ):
            self._dead = max(self._dead, self._rows.popleft()[2] + 1)
        self._rows.append((begin[0], begin[1], last_tile))
        return self._dead


@dataclass(frozen=True)
class _Item:
    """An entry to come, with the pixels of a map that it reads or writes."""

    entry: Entry
    map: str | None = None
    first: int = 0
    end: int = 0

    def touches(self, other: _Item) -> bool:
        return self.map == other.map and self.first < other.end and other.first < self.end


class _List:
    """Entries so far, and which writes touched which pixels."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._writes: list[_Item] = []

    def emit(self, item: _Item) -> None:
        entry = item.entry
        # What was done long ago is named all the same: entries hold the counts modulo 2**16.
        entry = replace(
            entry,
            tiles=max(entry.tiles, entry.tile - 1 - COUNT_LAG),
            writes=max(entry.writes, self.writes - COUNT_LAG),
        )
        if entry.kind is Kind.WRITE:
            self._writes.append(item)
        elif item.map is not None:
            last = (at for at in range(len(self._writes), 0, -1)
                    if self._writes[at - 1].touches(item))  # fmt: skip
            entry = replace(entry, writes=max(entry.writes, next(last, 0)))
        self.entries.append(entry)

    @property
    def writes(self) -> int:
        return len(self._writes)


def order_entries(
    config: ChipConfig,
    layers: list[CompiledLayer],
    maps: dict[str, Map],
    addresses: list[Addresses],
) -> tuple[list[Entry], list[int]]:
    """Return all entries in order, and ``ring_row`` of every tile."""
    tiles = [(number, at) for number, layer in enumerate(layers) for at in range(len(layer.tiles))]
    preparations, ring_rows = _prepare(config, layers, maps, addresses)
    result = _List()
    pending: list[_Item] = []
    #: Write entries when the last one of each layer had been emitted.
    written: dict[int, int] = {}

    def emit(items: Iterable[_Item]) -> None:
        for item in items:
            if item.entry.kind is Kind.DESCRIPTOR:
                # It takes the place of the last layer's but one.
                writes = written.get(item.entry.layer - 2, 0)
                item = replace(item, entry=replace(item.entry, writes=writes))
            result.emit(item)
            if item.entry.kind is Kind.WRITE:
                written[item.entry.layer] = result.writes

    emit(preparations[0])
    head = 0
    for t, (number, at) in enumerate(tiles):
        layer = layers[number]
        mine = _write_items(config, layer, at, maps)
        coming = preparations[t + 1] if t + 1 < len(tiles) else []
        early = 0
        while early < len(coming) and _may_come_early(coming[early], t, mine):
            early += 1
        background = deque([*pending, *coming[:early]])
        loads = []
        if layer.loads(t):
            loads = [_load_item(where, size, number, t) for where, size in addresses[number].loads]
            address, size = addresses[number].loads[0]
            loads[0] = _load_item(address + head, size - head, number, t)
        head = 0
        for index, load in enumerate(loads):
            emit([load])
            if index > 0:
                share = -(-len(background) // (len(loads) - index))
                emit(background.popleft() for _ in range(share))
        emit(background)
        if early < len(coming) and layers[tiles[t + 1][0]].loads(t + 1):
            # What the FIFO holds of the next tile's filters need not wait for the rest.
            number = tiles[t + 1][0]
            address, size = addresses[number].loads[0]
            head = min(size, config.filter_bursts * config.burst_bytes)
            emit([_load_item(address, head, number, t + 1, last=False)])
        pending = mine
        for item in coming[early:]:
            touched = [place for place, write in enumerate(pending)
                       if write.entry.kind is Kind.WRITE and item.touches(write)]  # fmt: skip
            if touched:
                emit(pending[: touched[-1] + 1])
                pending = pending[touched[-1] + 1 :]
            emit([item])
    emit(pending)
    return result.entries, ring_rows


def _load_item(address: int, size: int, layer: int, tile: int, last: bool = True) -> _Item:
    return _Item(
        Entry(
            kind=Kind.FILTERS, address=address, length=size, last=last, layer=layer, tile=tile
        )
    )  # fmt: skip


def _may_come_early(item: _Item, tile: int, writes: list[_Item]) -> bool:
    """Say whether an entry waits for nothing that a tile in work still does."""
    return item.entry.tiles <= tile and not any(
        item.touches(write) for write in writes if write.entry.kind is Kind.WRITE
    )


def _prepare(
    config: ChipConfig,
    layers: list[CompiledLayer],
    maps: dict[str, Map],
    addresses: list[Addresses],
) -> tuple[list[list[_Item]], list[int]]:
    """Return what comes before each tile: descriptor, record, rows or operand, tables."""
    ring = Ring(config)
    result, ring_rows = [], []
    for number, layer in enumerate(layers):
        where, first = addresses[number], layer.first_tile
        base = ring.place
        rows_of = _ring_entries(config, layer, number, ring, maps) if layer.filters else None
        for at, tile in enumerate(layer.tiles):
            t = first + at
            items = []
            if at == 0:
                items.append(
                    _Item(
                        Entry(
                            kind=Kind.DESCRIPTOR, address=where.descriptor,
                            length=DESCRIPTOR_BYTES, layer=number, tile=t,
                            tiles=layers[number - 1].first_tile if number else 0,
                        )
                    )
                )  # fmt: skip
            record = where.records + at * TILE_BYTES
            items.append(
                _Item(
                    Entry(kind=Kind.TILE, address=record, length=TILE_BYTES, layer=number, tile=t)
                )
            )
            items += rows_of[at] if rows_of else _operand_items(layer, tile, number, t, maps)
            if at == 0 and where.tables[1]:
                items.append(
                    _Item(
                        Entry(
                            kind=Kind.TABLES, address=where.tables[0], length=where.tables[1],
                            layer=number, tile=t, tiles=t,
                        )
                    )
                )  # fmt: skip
            result.append(items)
            ring_rows.append(base % config.input_buffer_chunks)
    return result, ring_rows


def _ring_entries(
    config: ChipConfig,
    layer: CompiledLayer,
    number: int,
    ring: Ring,
    maps: dict[str, Map],
) -> list[list[_Item]]:
    """Return the row entries of each tile of a convolution; every row is loaded once."""
    shape, source = layer.layer.shape, maps[layer.layer.source.name]
    assert shape is not None
    row_bytes = shape.in_width * shape.in_channels
    chunks = shape.groups * shape.in_width * shape.layout(config).row_chunks
    last_tile = {y: layer.first_tile + at for at, tile in enumerate(layer.tiles) for y in tile.rows}
    # A slice leaves room for other transfers between.
    slice_rows = max(1, slice_bytes(config) // row_bytes)
    result: list[list[_Item]] = []
    y_next = 0
    for at, tile in enumerate(layer.tiles):
        loads: list[tuple[int, int, int, int]] = []  # first row, rows, wait, gap
        for y in tile.rows:
            if y < y_next:
                continue
            gap = y - y_next
            for _ in range(gap):
                ring.skip(chunks, row_bytes)
            wait = ring.take(chunks, row_bytes, last_tile[y])
            y_next = y + 1
            if loads and not gap and loads[-1][2] == wait and loads[-1][1] < slice_rows:
                loads[-1] = (loads[-1][0], loads[-1][1] + 1, wait, loads[-1][3])
            else:
                loads.append((y, 1, wait, gap))
        t = layer.first_tile + at
        items = [
            _Item(
                Entry(
                    kind=Kind.ROWS, address=source.address + y * row_bytes,
                    length=rows * row_bytes, last=index + 1 == len(loads), tiles=wait, gap=gap,
                    layer=number, tile=t,
                ),
                source.whole, y * shape.in_width, (y + rows) * shape.in_width,
            )
            for index, (y, rows, wait, gap) in enumerate(loads)
        ]  # fmt: skip
        if not items:
            items.append(
                _Item(Entry(kind=Kind.ROWS, address=0, length=0, last=True, layer=number, tile=t))
            )
        result.append(items)
    return result


def _operand_items(
    layer: CompiledLayer, tile: Tile, number: int, t: int, maps: dict[str, Map]
) -> list[_Item]:
    source = maps[layer.layer.source.name]
    channels = source.info.shape[2]
    items = [
        _Item(
            Entry(
                kind=Kind.OPERAND, address=source.address + first * channels,
                length=count * channels, last=index + 1 == len(tile.runs), layer=number, tile=t,
            ),
            source.whole, first, first + count,
        )
        for index, (first, count) in enumerate(tile.runs)
    ]  # fmt: skip
    if not items:
        items.append(
            _Item(Entry(kind=Kind.OPERAND, address=0, length=0, last=True, layer=number, tile=t))
        )
    return items


def _write_items(
    config: ChipConfig, layer: CompiledLayer, at: int, maps: dict[str, Map]
) -> list[_Item]:
    """Return the writes of a tile in slices, each after the residual of the one that follows."""
    tile, target = layer.tiles[at], maps[layer.layer.output.name]
    number, t = layer.descriptor["layer"], layer.first_tile + at
    channels = target.info.shape[2]
    step = max(1, slice_bytes(config) // channels)
    starts = range(tile.first_output, tile.first_output + tile.outputs, step)
    writes, residuals = [], []
    for first in starts:
        pixels = min(step, tile.first_output + tile.outputs - first)
        address = target.address + first * target.pixel_stride
        writes.append(
            _Item(
                Entry(
                    kind=Kind.WRITE, address=address, length=pixels, layer=number, tile=t,
                    last=first == starts[-1],
                ),
                target.whole, first, first + pixels,
            )
        )  # fmt: skip
        if layer.layer.vector.residual is not None:
            other = maps[layer.layer.vector.residual]
            residuals.append(
                _Item(
                    Entry(
                        kind=Kind.RESIDUAL, address=other.address + first * channels,
                        length=pixels * channels, layer=number, tile=t,
                    ),
                    other.whole, first, first + pixels,
                )
            )  # fmt: skip
    if not writes:
        return [_Item(Entry(kind=Kind.WRITE, address=target.address, length=0, last=True,
                            layer=number, tile=t))]  # fmt: skip
    if not residuals:
        return writes
    _check_residuals(config, layer, [item.entry for item in residuals])
    result = [residuals[0]]
    for index, write in enumerate(writes):
        result += [*residuals[index + 1 : index + 2], write]
    return result


def _check_residuals(config: ChipConfig, layer: CompiledLayer, entries: list[Entry]) -> None:
    size = config.burst_bytes
    bursts = [(e.address + e.length - 1) // size - e.address // size + 1 for e in entries]
    most = max(sum(bursts[at : at + 2]) for at in range(len(bursts)))
    if most > config.residual_bursts:
        raise CapacityError(
            f"Layer {layer.layer.name} needs {most} bursts in residual_bursts, which holds "
            f"{config.residual_bursts}: raise residual_bursts to {most}"
        )
