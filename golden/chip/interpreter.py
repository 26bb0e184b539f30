"""Runs what a memory holds, entry by entry: no times, the bits of ``docs/chip.md``.

It is given a chip and a memory, and follows the transfer list in order as if every entry were
served at once. It refuses a list whose order would make the engine wait for ever, and keeps rings
and assembly halves as the chip does, so that a row that is loaded too early destroys what it
destroys there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden.chip.config import ChipConfig
from golden.chip.formats import (
    DESCRIPTOR,
    ENTRY_BYTES,
    HEADER,
    MAGIC,
    TILE,
    VERSION,
    Kind,
    VectorOp,
    decode,
)
from golden.errors import FormatError

__all__ = ["run_image"]

Octets = NDArray[np.uint8]


def run_image(config: ChipConfig, memory: Octets) -> None:
    """Run the network that a memory holds; its activations are written there.

    Raises
    ------
    FormatError
        The memory breaks the format, or the list would make the chip wait for ever.
    """
    header = decode(HEADER, memory[: 4 * len(HEADER)].tobytes())
    if header["magic"] != MAGIC or header["version"] != VERSION:
        raise FormatError("Memory must begin with the header of a chip's program")
    chip = _Chip(config, memory)
    start = header["list_address"]
    for at in range(header["entries"]):
        where = start + at * ENTRY_BYTES
        chip.serve(memory[where : where + ENTRY_BYTES].view("<u4").tolist())
    chip.finish()


@dataclass
class _Tile:
    """A tile on its way through the chip."""

    descriptor: dict[str, int]
    record: dict[str, int]
    number: int
    tables: bytes
    loads: int = 0
    ready: bool = False
    begun: bool = False
    filled: int = 0
    written: int = 0
    filters: list[_Load] = field(default_factory=list)

    @property
    def vector(self) -> bool:
        return bool(self.descriptor["op"])


@dataclass
class _Load:
    """The filters of a pass: dense, axes filter, chunk, position; and where outputs go."""

    dense: NDArray[np.int64]
    channels: list[int]
    entries: list[tuple[int, int, int]]  # bias, multiplier, shift
    group: int


class _Chip:
    """Buffers of the chip, and the counts that entries wait for."""

    def __init__(self, config: ChipConfig, memory: Octets) -> None:
        self.config, self.memory = config, memory
        self.masks = np.zeros((config.input_buffer_chunks, config.chunk), dtype=bool)
        self.pointers = np.zeros(config.input_buffer_chunks, dtype=np.int64)
        self.values = np.zeros(config.input_buffer_bytes, dtype=np.uint8)
        self.halves = np.zeros((2, config.clusters, config.half_bytes), dtype=np.uint8)
        self.index_place = self.value_place = 0
        self.descriptors: list[dict[str, int]] = []
        self.tables: dict[int, bytes] = {}
        self.tiles: list[_Tile] = []
        self.done = self.writes = self.out = 0
        self.residual = self.stream = b""
        self.resident: list[_Load] = []

    # -- entries ----------------------------------------------------------------------------

    def serve(self, words: list[int]) -> None:
        """Serve one entry."""
        address, second, waits, third = words
        kind, last, length = Kind(second & 15), bool(second >> 4 & 1), second >> 8
        self._start()
        for name, count, wanted in (
            ("tiles", self.done, waits & 0xFFFF),
            ("writes", self.writes, waits >> 16),
        ):
            if (count - wanted) & 0xFFFF >= 1 << 15:
                raise FormatError(f"An entry waits for {wanted} {name} for ever: {count} are done")
        data = b"" if kind is Kind.WRITE else self.memory[address : address + length].tobytes()
        if kind is Kind.DESCRIPTOR:
            self.descriptors.append(decode(DESCRIPTOR, data))
        elif kind is Kind.TABLES:
            self.tables[len(self.descriptors) - 1] = data
        elif kind is Kind.TILE:
            layer = len(self.descriptors) - 1
            self.tiles.append(
                _Tile(self.descriptors[layer], decode(TILE, data), len(self.tiles), b"")
            )
        elif kind is Kind.FILTERS:
            self.stream += data
            if last:
                self._load(self.stream)
                self.stream = b""
            elif len(self.stream) > self.config.filter_bursts * self.config.burst_bytes:
                raise FormatError("Filters wait for room in their FIFO for ever")
        elif kind is Kind.ROWS:
            self._parse_rows(self._coming(False), data, third & 0xFFFF, last)
        elif kind is Kind.OPERAND:
            self._parse_operand(self._coming(True), data, last)
        elif kind is Kind.RESIDUAL:
            self.residual += data
        elif kind is Kind.WRITE:
            self._write(address, length, last)
        else:
            raise FormatError(f"An entry must not have kind {kind}")

    def finish(self) -> None:
        """Check that nothing is left."""
        self._start()
        if self.done != len(self.tiles) or self.out != len(self.tiles) or self.residual:
            raise FormatError("The list ends before its tiles do")

    def _coming(self, vector: bool) -> _Tile:
        """Return the tile whose input comes: the first one that is not ready."""
        for tile in self.tiles:
            if not tile.ready and tile.vector == vector:
                return tile
        raise FormatError("Input must belong to a tile whose record is there")

    # -- input ------------------------------------------------------------------------------

    def _parse_rows(self, tile: _Tile, data: bytes, gap: int, last: bool) -> None:
        """Write rows into the ring, row by row, each group's chunks together."""
        d, chunk = tile.descriptor, self.config.chunk
        width, channels, groups = d["in_width"], d["in_channels"], d["groups"]
        mine = channels // groups
        row_chunks = -(-mine // chunk)
        pitch = groups * width * row_chunks
        self.index_place += gap * pitch
        self.value_place += gap * width * channels
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width, groups, mine)
        for row in rows:
            at = self.value_place
            for x in range(width):
                for g in range(groups):
                    for i in range(row_chunks):
                        codes = row[x, g, i * chunk : (i + 1) * chunk]
                        place = self.index_place + (g * width + x) * row_chunks + i
                        place %= len(self.masks)
                        self.masks[place] = False
                        self.masks[place, : len(codes)] = codes != 0
                        self.pointers[place] = at
                        packed = codes[codes != 0]
                        self.values[(at + np.arange(len(packed))) % len(self.values)] = packed
                        at += len(packed)
            self.index_place += pitch
            self.value_place += width * channels
        tile.ready = last

    def _parse_operand(self, tile: _Tile, data: bytes, last: bool) -> None:
        if not tile.begun:
            if tile.number > self.out + 1:
                raise FormatError("An operand waits for its assembly half for ever")
            tile.begun = True
        channels = tile.descriptor["in_channels"]
        pixels = np.frombuffer(data, dtype=np.uint8).reshape(-1, channels)
        for codes in pixels:
            self._put(tile, tile.filled, 0, codes)
            tile.filled += 1
        if last:
            if tile.filled != tile.record["pixels"]:
                raise FormatError("An operand must have the pixels of its tile's record")
            tile.ready = True

    def _put(self, tile: _Tile, pixel: int, channel: int, codes: Octets) -> None:
        """Write codes of a pixel into the tile's half."""
        cluster, place = pixel % self.config.clusters, pixel // self.config.clusters
        at = place * tile.descriptor["out_channels"] + channel
        if at + len(codes) > self.config.half_bytes:
            raise FormatError("A tile must fit its assembly half")
        self.halves[tile.number % 2, cluster, at : at + len(codes)] = codes

    # -- clusters ---------------------------------------------------------------------------

    def _start(self) -> None:
        """Let tiles run that have all they need."""
        while self.done < len(self.tiles):
            tile = self.tiles[self.done]
            if not tile.ready or (not tile.vector and tile.number > self.out + 1):
                return
            if not tile.vector:
                d = tile.descriptor
                if d["resident"] and not tile.record["first"]:
                    for load in self.resident:
                        self._run_pass(tile, load)
                elif tile.loads < d["passes"]:
                    return
            self.done += 1

    def _load(self, data: bytes) -> None:
        """Take the filters of the next pass, and run it."""
        tile = next((t for t in self.tiles[self.done :] if not t.vector), None)
        if tile is None or tile.number != self.done or not tile.ready:
            raise FormatError("Filters wait for the start of their tile for ever")
        if tile.number > self.out + 1:
            raise FormatError("A tile waits for its assembly half for ever")
        if tile.record["first"] and not tile.loads:
            self.resident = []
        load = self._decode_load(tile, data)
        self.resident.append(load)
        tile.loads += 1
        self._run_pass(tile, load)

    def _decode_load(self, tile: _Tile, data: bytes) -> _Load:
        """Read tables and stream of a pass."""
        config, d = self.config, tile.descriptor
        tables = self.tables[d["layer"]]
        filters, chunk, bus = d["table_entries"], config.chunk, config.filter_bus_bytes
        mine = d["in_channels"] // d["groups"]
        row_chunks = -(-mine // chunk)
        chunks = d["kernel_height"] * d["kernel_width"] * row_chunks
        entry_bytes, channel_bytes = (
            -(-size * filters // config.bus_bytes) * config.bus_bytes for size in (8, 2)
        )
        order = np.frombuffer(tables, dtype="<u2", count=filters, offset=entry_bytes).tolist()
        held_bytes = -(-config.group_filters // 32) * 4
        row_bytes = 1 << (held_bytes + 3).bit_length()
        begin, group = 0, 0
        at = entry_bytes + channel_bytes
        for _ in range(tile.loads):
            held = int.from_bytes(tables[at : at + held_bytes], "little").bit_count()
            begin += -(-held // config.collector_width) * config.collector_width
            group += int.from_bytes(tables[at + held_bytes : at + held_bytes + 4], "little")
            at += row_bytes
        held = int.from_bytes(tables[at : at + held_bytes], "little").bit_count()
        entries = []
        for number in range(begin, begin + held):
            bias = int.from_bytes(tables[8 * number : 8 * number + 4], "little", signed=True)
            word = int.from_bytes(tables[8 * number + 4 : 8 * number + 8], "little")
            entries.append((bias, word & 0xFFFFFF, word >> 24))
        dense = np.zeros((held, chunks, chunk), dtype=np.int64)
        at = 0
        for number in range(held):
            for i in range(chunks):
                mask = int.from_bytes(data[at : at + chunk // 8], "little")
                at += config.mask_beats * bus
                ones = [bit for bit in range(chunk) if mask >> bit & 1]
                packed = np.frombuffer(data, dtype=np.int8, count=len(ones), offset=at)
                dense[number, i, ones] = packed
                at += -(-len(ones) // bus) * bus
        if at != len(data):
            raise FormatError(f"A load must have {at} bytes, not {len(data)}")
        return _Load(dense, order[begin : begin + held], entries, group)

    def _run_pass(self, tile: _Tile, load: _Load) -> None:
        """Compute a pass's channels of a tile from the ring."""
        d, record = tile.descriptor, tile.record
        low, high = d["clamp_low"], d["clamp_high"]
        for pixel in range(record["pixels"]):
            p, q = divmod(
                record["first_y"] * d["out_width"] + record["first_x"] + pixel, d["out_width"]
            )
            window = self._window(tile, p, q, load.group)
            sums = np.einsum("kip,ip->k", load.dense, window).tolist()
            for total, channel, (bias, multiplier, shift) in zip(
                sums, load.channels, load.entries, strict=True
            ):
                scaled = _divide((total + bias) * multiplier, shift)
                code = min(max(scaled + d["zero_point"], low), high)
                self._put(tile, pixel, channel, np.array([code & 255], dtype=np.uint8))

    def _window(self, tile: _Tile, p: int, q: int, group: int) -> NDArray[np.int64]:
        """Read the chunks under a window, axes chunk, position."""
        d, chunk = tile.descriptor, self.config.chunk
        width = d["in_width"]
        row_chunks = -(-(d["in_channels"] // d["groups"]) // chunk)
        result = []
        for r in range(d["kernel_height"]):
            for s in range(d["kernel_width"]):
                y = p * d["stride_height"] + r - d["pad_top"]
                x = q * d["stride_width"] + s - d["pad_left"]
                for i in range(row_chunks):
                    dense = np.zeros(chunk, dtype=np.int64)
                    if 0 <= y < d["in_height"] and 0 <= x < width:
                        place = tile.record["ring_row"]
                        place += ((y * d["groups"] + group) * width + x) * row_chunks + i
                        place %= len(self.masks)
                        mask = self.masks[place]
                        at = self.pointers[place] + np.arange(mask.sum())
                        codes = self.values[at % len(self.values)]
                        dense[mask] = codes.view(np.int8) if d["signed_activations"] else codes
                    result.append(dense)
        return np.stack(result)

    # -- the way out ------------------------------------------------------------------------

    def _write(self, address: int, pixels: int, last: bool) -> None:
        """Write the next pixels of the tile that the vector unit works on."""
        if self.out >= self.done:
            raise FormatError("A write waits for its tile for ever")
        tile = self.tiles[self.out]
        d, record = tile.descriptor, tile.record
        channels = d["out_channels"]
        for _ in range(pixels):
            o = record["first_output"] + tile.written
            p, q = divmod(o, d["map_width"])
            other = [0] * channels
            if d["residual"]:
                if len(self.residual) < channels:
                    raise FormatError("A write waits for its residual for ever")
                kind = np.int8 if d["signed_residual"] else np.uint8
                other = np.frombuffer(self.residual[:channels], dtype=kind).tolist()
                self.residual = self.residual[channels:]
            codes = self._pixel(tile, p, q, other)
            self.memory[address : address + channels] = codes
            address += d["pixel_stride"]
            tile.written += 1
        self.writes += 1
        if last:
            if tile.written != record["outputs"]:
                raise FormatError("A tile must be written whole")
            self.out += 1

    def _pixel(self, tile: _Tile, p: int, q: int, other: list[int]) -> Octets:
        """Return the codes of an output pixel."""
        d, record = tile.descriptor, tile.record
        channels, taps = d["out_channels"], []
        for r in range(d["window_height"]):
            for s in range(d["window_width"]):
                y = p * d["window_stride_height"] + r - d["window_top"]
                x = q * d["window_stride_width"] + s - d["window_left"]
                if not (0 <= y < d["out_height"] and 0 <= x < d["out_width"]):
                    continue
                i = (y - record["first_y"]) * record["half_width"] + x - record["first_x"]
                if not 0 <= i < record["pixels"]:
                    raise FormatError("A window must lie in its tile's half")
                place = i // self.config.clusters * channels
                half = self.halves[tile.number % 2, i % self.config.clusters]
                codes = half[place : place + channels]
                taps.append((codes.view(np.int8) if d["signed_operand"] else codes).tolist())
        result = [self._combine(d, [tap[c] for tap in taps], other[c]) for c in range(channels)]
        return (np.array(result, dtype=np.int64) & 255).astype(np.uint8)

    def _combine(self, d: dict[str, int], codes: list[int], other: int) -> int:
        """Apply the vector operation to one channel."""
        op = VectorOp(d["vector_op"])
        if op is VectorOp.COPY:
            return codes[0] if codes else d["pad_value"]
        if op is VectorOp.MAX:
            return max(codes)
        if op is VectorOp.SCALE:
            total = (codes[0] - d["operand_zero"]) * d["multiplier"]
            if d["residual"]:
                total += (other - d["residual_zero"]) * d["residual_multiplier"]
            shift = d["shift"]
        else:
            count = d["window_height"] * d["window_width"] if d["include_pad"] else len(codes)
            table = self.tables[d["layer"]][8 * count : 8 * count + 8]
            multiplier, shift = np.frombuffer(table, dtype="<u4").tolist()
            total = sum(code - d["operand_zero"] for code in codes) * multiplier
        scaled = _divide(total, shift) + d["vector_zero"]
        return min(max(scaled, d["vector_low"]), d["vector_high"])


def _divide(value: int, shift: int) -> int:
    """Divide by ``2**shift`` to the nearest integer, halves to the even one."""
    quotient, rest = divmod(value, 1 << shift)
    half = 1 << (shift - 1)
    return quotient + (rest > half or (rest == half and quotient % 2 == 1))
