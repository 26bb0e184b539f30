"""The vector unit's arithmetic against rational numbers, and its reads against a plain map."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.chip.formats import VectorOp
from rtl.chip.control.payloads import Payloads
from rtl.chip.datapath.vector_pipeline import VectorPipeline, divide
from tests.chip.cases import small_chip

_HEIGHT, _WIDTH, _CHANNELS, _LANES = 3, 4, 5, 3


def expected(op: VectorOp, d: dict[str, int], codes: list[int], other: int, table) -> int:
    """Return a result as docs/chip.md defines it; halves to even is what ``round`` does."""
    if op is VectorOp.COPY:
        return codes[0] if codes else d["pad_value"]
    if op is VectorOp.MAX:
        return max(codes)
    if op is VectorOp.SCALE:
        exact = (codes[0] - d["operand_zero"]) * d["multiplier"]
        if d["residual"]:
            exact += (other - d["residual_zero"]) * d["residual_multiplier"]
        ratio = Fraction(exact, 1 << d["shift"])
    else:
        number = d["window_taps"] if d["include_pad"] else len(codes)
        multiplier, shift = table[number]
        ratio = Fraction(sum(c - d["operand_zero"] for c in codes) * multiplier, 1 << shift)
    return min(max(round(ratio) + d["vector_zero"], d["vector_low"]), d["vector_high"])


def draw_layer(rng: np.random.Generator, op: VectorOp) -> dict[str, int]:
    window = (1, 1) if op in (VectorOp.COPY, VectorOp.SCALE) else tuple(rng.integers(1, 4, 2))
    low, high = sorted(int(n) for n in rng.integers(-128, 256, 2))
    extreme = [-(1 << 31), (1 << 31) - 1, 1, int(rng.integers(-(1 << 31), 1 << 31))]
    return {
        "vector_op": op.value, "out_height": _HEIGHT, "out_width": _WIDTH,
        "out_channels": _CHANNELS, "window_height": int(window[0]), "window_width": int(window[1]),
        "window_taps": int(window[0] * window[1]),
        "residual": int(rng.integers(2)) * (op is VectorOp.SCALE),
        "multiplier": int(rng.choice(extreme)), "residual_multiplier": int(rng.choice(extreme)),
        "operand_zero": int(rng.integers(-128, 256)), "residual_zero": int(rng.integers(-128, 256)),
        "shift": int(rng.choice([1, 2, 31, 33, 62, 63, int(rng.integers(1, 64))])),
        "vector_zero": int(rng.integers(-128, 256)), "vector_low": low, "vector_high": high,
        "pad_value": int(rng.integers(-128, 256)), "include_pad": int(rng.integers(2)),
        "signed_operand": int(rng.integers(2)), "signed_residual": int(rng.integers(2)),
    }  # fmt: skip


def as_code(octet: int, signed: int) -> int:
    return octet - 256 if signed and octet > 127 else octet


@pytest.mark.parametrize("clusters", [1, 3])
@pytest.mark.parametrize("op", VectorOp)
def test_operations(op, clusters):
    """Windows that reach over the map, pieces from any channel, extremes of every field."""
    rng = np.random.default_rng(100 * clusters + op.value)
    config = small_chip(clusters=clusters, vector_lanes=_LANES)
    payloads = Payloads(config)
    dut = VectorPipeline(payloads)
    codes = rng.integers(0, 256, (_HEIGHT * _WIDTH, _CHANNELS))
    halves = np.zeros((clusters, payloads.half_rows * payloads.half_lanes), dtype=int)
    for pixel, row in enumerate(codes):
        at = pixel // clusters * _CHANNELS
        halves[pixel % clusters, at : at + _CHANNELS] = row
    table = [(int(rng.integers(1 << 31)), int(rng.integers(1, 64))) for _ in range(10)]
    results: list[list[int]] = []
    wanted: list[list[int]] = []

    async def half(ctx) -> None:
        while True:
            rows = [ctx.get(row) for row in dut.rows]
            await ctx.tick()
            for cluster in range(clusters):
                for lane, row in enumerate(rows):
                    octet = int(halves[cluster, row * payloads.half_lanes + lane])
                    ctx.set(dut.octets[cluster][lane], octet)

    async def take(ctx) -> None:
        while True:
            _, _, valid, piece = await ctx.tick().sample(dut.piece_valid, dut.piece)
            if valid:
                results.append([piece.data[lane] for lane in range(piece.count)])

    async def drive(ctx) -> None:
        words = [n for pair in table for n in pair]
        lanes = config.bus_bytes // 4
        for number in range(0, len(words), lanes):
            packed = sum(
                word << (32 * at) for at, word in enumerate(words[number : number + lanes])
            )
            ctx.set(dut.table, {"average": 1, "number": number // lanes, "data": packed})
            await ctx.tick()
        ctx.set(dut.table.average, 0)
        ctx.set(dut.records[0], {"first_y": 0, "first_x": 0, "half_width": _WIDTH})
        for _ in range(12):
            d = draw_layer(rng, op)
            ctx.set(dut.descriptors[0], d)
            for _ in range(4):
                await piece(ctx, d)
            ctx.set(dut.tap.valid, 0)
            await ctx.tick().repeat(VectorPipeline.LATENCY + 2)

    async def piece(ctx, d) -> None:
        channel = int(rng.integers(_CHANNELS))
        size = int(rng.integers(1, min(_LANES, _CHANNELS - channel) + 1))
        y, x = (int(rng.integers(-1, n)) for n in (_HEIGHT, _WIDTH))
        if op is not VectorOp.COPY:  # a window has a tap in the map
            y, x = max(y, 1 - d["window_height"]), max(x, 1 - d["window_width"])
        residual = [int(n) for n in rng.integers(0, 256, _LANES)]
        taps = [(r, s) for r in range(d["window_height"]) for s in range(d["window_width"])]
        inside = []
        for number, (r, s) in enumerate(taps):
            ctx.set(
                dut.tap,
                {
                    "valid": 1, "y": y + r, "x": x + s, "channel": channel, "size": size,
                    "first": number == 0, "last": number + 1 == len(taps),
                },
            )  # fmt: skip
            ctx.set(dut.residual, residual)
            await ctx.tick()
            if 0 <= y + r < _HEIGHT and 0 <= x + s < _WIDTH:
                inside.append(codes[(y + r) * _WIDTH + x + s])
        row = []
        for lane in range(size):
            mine = [as_code(int(tap[channel + lane]), d["signed_operand"]) for tap in inside]
            other = as_code(residual[lane], d["signed_residual"])
            row.append(expected(op, d, mine, other, table) & 255)
        wanted.append(row)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(half, background=True)
    simulator.add_testbench(take, background=True)
    simulator.run()
    assert len(wanted) == 48
    assert results == wanted


@pytest.mark.parametrize("divisor", [1, 2, 3, 5, 8, 31, 63])
def test_division_by_a_constant(divisor):
    from amaranth.hdl import Module, Signal

    m, number = Module(), Signal(24)
    quotient, rest = Signal(24), Signal(8)
    wide, remainder = divide(number, divisor)
    m.d.comb += [quotient.eq(wide), rest.eq(remainder)]

    async def check(ctx) -> None:
        for value in [0, 1, divisor, (1 << 24) - 1, (1 << 24) - divisor, *range(12345, 12400)]:
            ctx.set(number, value)
            assert (ctx.get(quotient), ctx.get(rest)) == divmod(value, divisor)

    simulator = Simulator(m)
    simulator.add_testbench(check)
    simulator.run()
