"""The register file at its limits: widest values, full counters, status bits, held starts."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.counters import UNIT_COUNTERS
from rtl.lib.registers import (
    CONTROL,
    COUNTER_BASE,
    LAYER_BASE,
    STATUS,
    UNIT_BASE,
    Register,
    RegisterFile,
    RegisterMap,
)

_TABLE = (
    Register("load_address", 32, ""),
    Register("wide", 24, ""),
    Register("narrow", 9, "", is_signed=True),
)
_COUNTERS = tuple(f"counter{at}" for at in range(8))


def play(bench) -> None:
    """Run a bench, which is given the context, the block, and functions that write and read."""
    dut = RegisterFile(RegisterMap(_TABLE, _COUNTERS, 2))

    async def run(ctx) -> None:
        async def write(address: int, value: int) -> None:
            ctx.set(dut.address, address)
            ctx.set(dut.write_data, value)
            ctx.set(dut.write, 1)
            await ctx.tick()
            ctx.set(dut.write, 0)

        async def read(address: int) -> int:
            ctx.set(dut.address, address)
            await ctx.tick().repeat(dut.READ)
            return ctx.get(dut.read_data)

        await bench(ctx, dut, write, read)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()


def test_layer_registers_hold_their_widest_values():
    async def bench(ctx, dut, write, read) -> None:
        for value in (0xFFFFFFFF, 0x55555555, 0x80000000, 0):
            for at in range(len(_TABLE)):
                await write(LAYER_BASE + at, value)
            await ctx.tick()
            narrow = value & 0x1FF
            assert ctx.get(dut.layer.load_address) == value
            assert ctx.get(dut.layer.wide) == value & 0xFFFFFF
            assert ctx.get(dut.layer.narrow) == narrow - 0x200 * (narrow >> 8)

    play(bench)


def test_a_write_of_load_address_begins_a_row_anew_and_no_other_does():
    async def bench(ctx, dut, write, read) -> None:
        await write(LAYER_BASE, 0xFEDCBA98)
        assert (ctx.get(dut.load_begin), ctx.get(dut.load_address)) == (1, 0xFEDCBA98)
        await write(LAYER_BASE + 1, 5)
        assert ctx.get(dut.load_begin) == 0

    play(bench)


def test_counters_count_to_their_last_and_begin_anew():
    async def bench(ctx, dut, write, read) -> None:
        # Four times 2**30 - 1, and 3: 2**32 - 1.
        for at in range(len(_COUNTERS)):
            ctx.set(dut.increments[at], (1 << 30) - 1)
        await ctx.tick().repeat(4)
        for at in range(len(_COUNTERS)):
            ctx.set(dut.increments[at], 3)
        await ctx.tick()
        for at in range(len(_COUNTERS)):
            ctx.set(dut.increments[at], 0)
        await ctx.tick().repeat(2)
        for at in range(len(_COUNTERS)):
            assert await read(COUNTER_BASE + at) == (1 << 32) - 1
        await write(CONTROL, 1)
        await ctx.tick().repeat(4)
        assert await read(COUNTER_BASE) == 0

    play(bench)


@pytest.mark.parametrize(("running", "done"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_status_bits(running, done):
    async def bench(ctx, dut, write, read) -> None:
        ctx.set(dut.running, running)
        ctx.set(dut.done, done)
        assert await read(STATUS) == running | done << 1

    play(bench)


def test_a_start_comes_once_and_only_where_nothing_runs():
    async def bench(ctx, dut, write, read) -> None:
        async def starts(value: int, running: int) -> list[int]:
            ctx.set(dut.running, running)
            await write(CONTROL, value)
            seen = []
            for _ in range(6):
                await ctx.tick()
                seen.append(ctx.get(dut.start))
            return seen

        assert await starts(1, 0) == [1, 0, 0, 0, 0, 0]
        assert await starts(0xFFFFFFFE, 0) == [0] * 6  # bit 0 starts, no other
        assert await starts(1, 1) == [0] * 6
        ctx.set(dut.hold, 1)
        assert await starts(1, 0) == [0] * 6
        ctx.set(dut.hold, 0)  # it waited
        await ctx.tick()
        assert ctx.get(dut.start) == 1
        await ctx.tick()
        assert ctx.get(dut.start) == 0

    play(bench)


def test_a_unit_counts_for_its_lowest_event():
    async def bench(ctx, dut, write, read) -> None:
        ctx.set(dut.counting, 1)
        ctx.set(dut.unit_events[1], 0b1000100)
        await ctx.tick().repeat(300)
        ctx.set(dut.counting, 0)
        await ctx.tick().repeat(3)
        counts = [await read(UNIT_BASE + 8 + at) for at in range(len(UNIT_COUNTERS))]
        assert counts == [0, 0, 300, 0, 0, 0, 0]

    play(bench)
