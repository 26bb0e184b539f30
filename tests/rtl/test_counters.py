"""The counters of a part that is in one state a cycle, against plain counting."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.counters import UNIT_COUNTERS
from rtl.lib.counters import StateCounters


def test_runs_are_counted_anew_and_cycles_outside_are_not():
    dut = StateCounters()
    dice = random.Random(1)
    states = len(UNIT_COUNTERS)
    idle = states - 1
    runs: list[tuple[list[int], list[int]]] = []

    async def bench(ctx) -> None:
        for run in range(3):
            ctx.set(dut.start, 1)
            ctx.set(dut.events, 1 << idle)
            await ctx.tick()
            ctx.set(dut.start, 0)
            wanted = [0] * states
            for _ in range(300):
                running = dice.random() < 0.8
                # Some states only ever occur in some runs; idle is where there is nothing else.
                state = dice.choice([at for at in range(states) if (at + run) % 3 or at == idle])
                ctx.set(dut.running, running)
                ctx.set(dut.events, 1 << state | 1 << idle)
                wanted[state] += running
                await ctx.tick()
            ctx.set(dut.running, 0)
            await ctx.tick().repeat(2)
            found = []
            for address in range(states):
                ctx.set(dut.address, address)
                await ctx.tick()
                found.append(ctx.get(dut.count))
            runs.append((found, wanted))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(runs) == 3
    for found, wanted in runs:
        assert found == wanted
