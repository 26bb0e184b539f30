"""The multiply-accumulate against sums in Python."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("amaranth")
from amaranth.hdl._mem import MemoryInstance
from amaranth.sim import Simulator

from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.layouts import Layouts
from rtl.cluster.unit.mac import Mac


@pytest.mark.parametrize(("tile", "slots"), [(1, 1), (3, 1), (2, 2)])
def test_partial_sums_of_segments(tile, slots):
    """Three segments of each position of a tile, back to back, some with gaps."""
    config = AcceleratorConfig.preset("toy").replace(
        segment_chunks=1, tile_positions=tile, filters_per_unit=slots
    )
    dut = Mac(Layouts(config))
    dice = random.Random(tile * 10 + slots)
    # (slot, psum, first, from_zero, store, commit after, live, activation, weight)
    steps, expected, sums = [], [], {}
    for segment in range(3):
        for position in range(tile):
            lengths = [dice.randint(1, 3) for _ in range(slots)]
            for slot in range(slots):
                for at in range(lengths[slot]):
                    live = dice.random() < 0.8
                    activation, weight = dice.randint(-256, 255), dice.randint(-128, 127)
                    key = (position, slot)
                    sums[key] = sums.get(key, 0) + (activation * weight if live else 0)
                    last = at == lengths[slot] - 1
                    steps.append(
                        {
                            "slot": slot,
                            "psum": position * slots + slot,
                            "first": at == 0,
                            "from_zero": segment == 0,
                            "store": last and segment < 2,
                            "commit": last and segment == 2 and slot == slots - 1,
                            "live": live,
                            "operands": (activation, weight),
                        }
                    )
            if segment == 2:
                expected.append([sums[position, slot] for slot in range(slots)])
    found = []

    async def bench(ctx) -> None:
        operands: list[tuple[int, int]] = [(0, 0)] * dut.OPERANDS
        commit = False
        waiting = list(steps)
        for _ in range(4 * len(steps) + 4 * dut.LATENCY):
            step = waiting.pop(0) if waiting and dice.random() < 0.9 else None
            ctx.set(dut.issue.valid, step is not None)
            if step is not None:
                for name in ("slot", "psum", "first", "from_zero", "store", "live"):
                    ctx.set(dut.issue[name], int(step[name]))
            ctx.set(dut.commit, commit)
            commit = step is not None and step["commit"]
            operands.append(step["operands"] if step else (99, 99))
            activation, weight = operands.pop(0)
            ctx.set(dut.activation, activation)
            ctx.set(dut.weight, weight)
            committed = ctx.get(dut.committed)
            await ctx.tick()
            if committed:
                found.append([ctx.get(dut.results[slot]) for slot in range(slots)])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_reach_the_ends_of_32_bits(sign):
    """A stored sum that is a product away from 2**31, as no short simulation reaches."""
    config = AcceleratorConfig.preset("toy").replace(segment_chunks=1, tile_positions=4)
    dut = Mac(Layouts(config))
    simulator = Simulator(dut)
    (stored,) = (
        fragment._data
        for fragment in simulator._design.fragments
        if isinstance(fragment, MemoryInstance)
    )
    activation, weight = (255, 127) if sign > 0 else (255, -128)
    end = (1 << 31) - 1 if sign > 0 else -(1 << 31)

    async def bench(ctx) -> None:
        ctx.set(stored[3], end - activation * weight)
        for commit in (0, 1):
            ctx.set(dut.issue.valid, not commit)
            ctx.set(dut.issue.live, 1)
            ctx.set(dut.issue.first, 1)
            ctx.set(dut.issue.psum, 3)
            ctx.set(dut.commit, commit)
            await ctx.tick()
        ctx.set(dut.commit, 0)
        ctx.set(dut.activation, activation)
        ctx.set(dut.weight, weight)
        await ctx.tick().repeat(dut.LATENCY + 1)
        assert ctx.get(dut.results[0]) == end

    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
