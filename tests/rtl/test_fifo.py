"""The FIFO behind a pipeline: order, no loss however long it is not emptied, an item a cycle."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from rtl.lib.fifo import CreditFifo

ITEMS = 200


def send_through(stages: int, pop_chance: float) -> tuple[list[int], int]:
    """Send numbers through a pipeline of some stages; return what comes out, and cycles."""
    dut = CreditFifo(16)
    dice = random.Random(stages)
    found: list[int] = []
    cycles = 0

    async def bench(ctx) -> None:
        nonlocal cycles
        pipeline: list[int | None] = [None] * stages
        sent, inside = 0, 0
        while len(found) < ITEMS:
            enters = ctx.get(dut.room) and sent < ITEMS
            pipeline.append(sent if enters else None)
            sent += bool(enters)
            arrives = pipeline.pop(0)
            ctx.set(dut.enter, enters)
            ctx.set(dut.push, arrives is not None)
            ctx.set(dut.item, arrives or 0)
            pops = ctx.get(dut.valid) and dice.random() < pop_chance
            ctx.set(dut.pop, pops)
            inside += bool(enters)
            if pops:
                found.append(ctx.get(dut.head))
                inside -= 1
            assert inside <= dut.DEPTH
            cycles += 1
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run_until(1e-6 * 40 * ITEMS)
    return found, cycles


@pytest.mark.parametrize("stages", [0, 1, 7, 13])
def test_nothing_is_lost_where_it_is_seldom_emptied(stages):
    found, _ = send_through(stages, 0.3)
    assert found == list(range(ITEMS))


@pytest.mark.parametrize("stages", [0, 7, 13])
def test_an_item_a_cycle(stages):
    """The last one enters ``ITEMS - 1`` cycles after the first, and goes ``stages + 1`` later."""
    found, cycles = send_through(stages, 1.0)
    assert found == list(range(ITEMS))
    assert cycles == ITEMS + stages + 1


def test_clear_leaves_nothing_behind():
    """Full, then cleared while an item arrives: it is empty, has all places, and is in order."""
    dut = CreditFifo(16)

    async def bench(ctx) -> None:
        for number in range(dut.DEPTH):
            assert ctx.get(dut.room)
            ctx.set(dut.enter, 1)
            ctx.set(dut.push, 1)
            ctx.set(dut.item, number)
            await ctx.tick()
        assert not ctx.get(dut.room)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.enter, 0)
        ctx.set(dut.push, 0)
        for _ in range(3):
            assert not ctx.get(dut.valid)
            assert ctx.get(dut.room)
            await ctx.tick()
        for number in range(dut.DEPTH):
            assert ctx.get(dut.room)
            ctx.set(dut.enter, 1)
            ctx.set(dut.push, 1)
            ctx.set(dut.item, 100 + number)
            await ctx.tick()
        assert not ctx.get(dut.room)
        ctx.set(dut.enter, 0)
        ctx.set(dut.push, 0)
        ctx.set(dut.pop, 1)
        for number in range(dut.DEPTH):
            assert ctx.get(dut.valid)
            assert ctx.get(dut.head) == 100 + number
            await ctx.tick()
        assert not ctx.get(dut.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
