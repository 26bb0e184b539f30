"""The parser: what lies in rings and halves after rows and operands in pieces of any size."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from rtl.chip.control.payloads import Payloads
from rtl.chip.datapath.parser import Parser
from tests.chip.cases import small_chip

#: Input width, channels, groups of a layer.
_LAYERS = [(3, 5, 1), (2, 17, 1), (4, 6, 3), (1, 40, 2), (5, 1, 1)]
_ROWS = 4


def windows(
    rng: np.random.Generator, octets: np.ndarray, bus: int
) -> Generator[tuple[int, int], int, None]:
    """Cut an entry into bursts; yield where a window begins and how long its burst still is."""
    at = 0
    while at < len(octets):
        end = min(len(octets), at + int(rng.integers(1, 4 * bus)))
        while at < end:
            taken = yield at, min(bus, end - at)
            at += taken


def run_parser(dut: Parser, entries, layers) -> list[dict[str, Any]]:
    """Give it entries (octets, header of the payload) without a pause; return its writes."""
    rng = np.random.default_rng(5)
    writes: list[dict[str, Any]] = []
    bus = len(dut.rows.payload.data)

    async def drive(ctx) -> None:
        for number, layer in enumerate(layers):
            ctx.set(dut.descriptors[number], layer)
        ctx.set(dut.slots, 0b10)
        for octets, header in entries:
            cuts = windows(rng, octets, bus)
            place = next(cuts)
            first = 1
            while place is not None:
                at, count = place
                shown = octets[at : at + bus].tolist()
                ctx.set(dut.rows.payload, {"count": count, "first": first, **header})
                for lane in range(bus):
                    value = shown[lane] if lane < len(shown) else int(rng.integers(256))
                    ctx.set(dut.rows.payload.data[lane], value)
                ctx.set(dut.rows.valid, 1)
                taken = ctx.get(dut.taken)
                assert 1 <= taken <= count
                await ctx.tick()
                first = 0
                try:
                    place = cuts.send(taken)
                except StopIteration:
                    place = None
        ctx.set(dut.rows.valid, 0)
        await ctx.tick().repeat(Parser.LATENCY + 2)

    async def watch(ctx) -> None:
        while True:
            _, _, ring, half = await ctx.tick().sample(dut.ring, dut.half)
            writes.append({"ring": ring, "half": half})

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return writes


def descriptor(width: int, channels: int, groups: int, chunk: int) -> dict[str, int]:
    row_chunks = -(-channels // groups // chunk)
    return {
        "in_width": width, "in_channels": channels, "groups": groups,
        "group_channels": channels // groups, "row_chunks": row_chunks,
        "line_places": width * row_chunks, "row_places": groups * width * row_chunks,
        "row_bytes": width * channels, "out_channels": channels,
    }  # fmt: skip


@pytest.mark.parametrize(("width", "channels", "groups"), _LAYERS)
def test_rows(width, channels, groups):
    """Masks and packed codes lie where the page says, gaps skipped, around the rings' ends."""
    rng = np.random.default_rng(channels)
    config = small_chip(input_buffer_chunks=64, input_buffer_bytes=256, bus_bytes=8)
    payloads, chunk = Payloads(config), config.chunk
    layer = descriptor(width, channels, groups, chunk)
    rows = rng.integers(0, 256, (_ROWS, width, channels)) * (
        rng.random((_ROWS, width, channels)) < 0.6
    )
    gap = 5
    header = {"operand": 0, "tile": 0}
    entries = [(rows[:1].reshape(-1), header | {"gap": 0}),
               (rows[1:].reshape(-1), header | {"gap": gap, "tile": 1})]  # fmt: skip
    masks, pointers = {}, {}
    values = np.zeros(config.input_buffer_bytes, dtype=int)
    dut = Parser(payloads)
    for write in run_parser(dut, entries, [layer, layer]):
        ring = write["ring"]
        if ring.index_valid:
            masks[ring.index_address] = ring.mask
            pointers[ring.index_address] = ring.pointer
        for lane in range(payloads.ring_lanes):
            if ring.enable >> lane & 1:
                at = ring.rows[lane] * payloads.ring_lanes + lane
                values[at % len(values)] = ring.data[lane]
    # The first row may be dead, and written over, when the others come.
    for y, row in enumerate(rows[1:], start=1):
        line = y + gap
        for g in range(groups):
            mine = row.reshape(width, groups, -1)[:, g]
            for x, pixel in enumerate(mine):
                for i in range(layer["row_chunks"]):
                    codes = pixel[i * chunk : (i + 1) * chunk]
                    place = line * layer["row_places"]
                    place = (place + (g * width + x) * layer["row_chunks"] + i) % 64
                    assert masks[place] == sum(1 << at for at, n in enumerate(codes) if n)
                    at = pointers[place] + np.arange(np.count_nonzero(codes))
                    assert values[at % len(values)].tolist() == codes[codes != 0].tolist()
                    begin = (line * layer["row_bytes"]) % len(values)
                    assert (pointers[place] - begin) % len(values) <= layer["row_bytes"]


@pytest.mark.parametrize("clusters", [1, 3])
def test_operands(clusters):
    """Pixel i lies on cluster i mod clusters; a second entry goes on, a second tile begins anew."""
    rng = np.random.default_rng(clusters)
    config = small_chip(clusters=clusters, bus_bytes=8)
    payloads, channels = Payloads(config), 7
    layer = descriptor(3, channels, 1, config.chunk)
    pixels = rng.integers(0, 256, (2, 8, channels))
    entries = []
    for tile, mine in enumerate(pixels):
        header = {"operand": 1, "tile": tile, "gap": 0}
        entries += [(mine[:3].reshape(-1), header), (mine[3:].reshape(-1), header)]
    halves = np.full((2, clusters, config.half_bytes), -1)
    for write in run_parser(Parser(payloads), entries, [layer, layer]):
        half = write["half"]
        for lane in range(payloads.half_lanes):
            if half.enable >> lane & 1:
                at = half.rows[lane] * payloads.half_lanes + lane
                halves[half.half, half.cluster, at] = half.data[lane]
    for tile, mine in enumerate(pixels):
        for i, codes in enumerate(mine):
            at = i // clusters * channels
            assert halves[tile, i % clusters, at : at + channels].tolist() == codes.tolist()
    assert (halves >= 0).sum() == pixels.size
