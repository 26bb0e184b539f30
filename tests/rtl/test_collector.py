"""The collector against ``Requantisation.apply`` and a plain walk over the held unit-slots."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.arithmetic import Requantisation
from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.collector import Collector
from rtl.cluster.layouts import Layouts

PASSES = ([1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0])
POSITIONS = 3
#: Cycles from start, or from a position's last sum taken, to the next one's sums: 8 at least in a
#: cluster, because units commit when they see the collector's turn.
UNITS_TAKE = (8, 11)


@pytest.mark.parametrize("lanes", [1, 2, 8])
@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("balance", ["filter", "chunk"])
def test_passes_and_positions(balance, lanes, stalls):
    """Three passes that hold all, some and one of the unit-slots; three positions each.

    With chunk balancing every unit has a share of each sum.
    """
    config = AcceleratorConfig.preset("toy").replace(
        filters_per_unit=2, collector_width=lanes, balance=balance
    )
    merges = balance == "chunk"
    dut = Collector(Layouts(config))
    dice = random.Random(lanes)
    filters = sum(map(sum, PASSES))
    rng = np.random.default_rng(lanes)
    how = Requantisation(
        bias=rng.integers(-1000, 1000, filters),
        multiplier=rng.integers(1 << 23, 1 << 24, filters),
        shift=rng.integers(28, 32, filters),
        low=0,
        high=200,
    )
    # Rows of the table: each pass begins a new one.
    table: list[list[int]] = []
    sums = rng.integers(-30_000, 60_000, (POSITIONS, filters))
    expected, first = [], 0
    wanted = how.apply(sums)
    for held in PASSES:
        numbers = list(range(first, first + sum(held)))
        table += [numbers[at : at + lanes] for at in range(0, len(numbers), lanes)]
        for position in range(POSITIONS):
            codes = [int(code) for code in wanted[position, numbers]]
            expected += [codes[at : at + lanes] for at in range(0, len(codes), lanes)]
        first += sum(held)
    found, taken_after = [], []
    done = []
    shares = rng.integers(-(1 << 30), 1 << 30, (4, POSITIONS, filters))
    shares[3] = sums - shares[:3].sum(axis=0)
    shares = (shares + (1 << 31)) % (1 << 32) - (1 << 31)  # the units' sums wrap at 32 bits
    complete: list[list[list[int]]] = []  # of each position so far, its filters' shares by unit

    async def share(ctx) -> None:
        """What the units show of the last position, one cycle after it is asked for."""
        while merges:
            _, _, enabled, slot, beat = await ctx.tick().sample(
                dut.drain.enable, dut.drain.position, dut.drain.beat
            )
            if not enabled or not complete:
                continue
            asked = complete[(len(complete) - 1 - slot) // 2 * 2 + slot]  # two slots, in turn
            for unit in range(4):
                for lane in range(lanes):
                    at = beat * lanes + lane
                    known = at < len(asked)
                    value = asked[at][unit] if known else 12345
                    ctx.set(dut.results[unit * lanes + lane], value)

    async def answer(ctx) -> None:
        """Pass table and requantisation table: data one cycle after the address."""
        while True:
            _, _, number, row = await ctx.tick().sample(dut.pass_address, dut.entry_address)
            if number < len(PASSES):
                ctx.set(dut.pass_row.held, sum(bit << at for at, bit in enumerate(PASSES[number])))
            for lane, k in enumerate(table[row] if row < len(table) else []):
                ctx.set(dut.entries[lane].bias, int(how.bias[k]))
                ctx.set(dut.entries[lane].multiplier, int(how.multiplier[k]))
                ctx.set(dut.entries[lane].shift, int(how.shift[k]))

    async def units(ctx) -> None:
        """Complete a position, wait until it is taken, then the next."""
        ctx.set(dut.layer.clamp_high, how.high)
        ctx.set(dut.layer.passes_last, len(PASSES) - 1)
        ctx.set(dut.layer.positions_last, POSITIONS - 1)
        await ctx.tick()  # control is written after the other registers
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        first = 0
        for held in PASSES:
            active = sum((held[at] | held[at + 1]) << at // 2 for at in range(0, 8, 2))
            for position in range(POSITIONS):
                mine = shares[:, position, first : first + sum(held)]
                complete.append(mine.T.tolist())
                await ctx.tick().repeat(dice.randint(*UNITS_TAKE))
                k = first
                for at, bit in enumerate(held if not merges else ()):
                    ctx.set(dut.results[at], int(sums[position, k]) if bit else 12345)
                    k += bit
                ctx.set(dut.valid, active)
                cycles, taken = 0, False
                while not taken:
                    _, _, taken = await ctx.tick().sample(dut.taken)
                    cycles += 1
                taken_after.append((cycles, sum(held)))
                ctx.set(dut.valid, 0)
            first += sum(held)
        for _ in range(100):
            await ctx.tick()
        assert done == [True]

    async def outputs(ctx) -> None:
        while True:
            ctx.set(dut.outputs.ready, not stalls or dice.random() < 0.5)
            _, _, finished, valid, ready, beat = await ctx.tick().sample(
                dut.finished, dut.outputs.valid, dut.outputs.ready, dut.outputs.payload
            )
            if valid and ready:
                values = iter(beat.values)
                lanes_held = [lane for lane in range(lanes) if beat.held >> lane & 1]
                found.append([next(values) if beat.mask >> at & 1 else 0 for at in lanes_held])
                assert beat.mask & ~beat.held == 0
            if finished:
                done.append(len(found) == len(expected))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(units)
    simulator.add_testbench(answer, background=True)
    simulator.add_testbench(share, background=True)
    simulator.add_testbench(outputs, background=True)
    simulator.run()
    assert found == expected
    if not stalls:
        assert all(cycles == dut.BEGIN + -(-count // lanes) for cycles, count in taken_after)
