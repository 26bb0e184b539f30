"""Parts that are only measured: they do what they are measured for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.machines.scnn import ScnnConfig
from rtl.synth.parts import MultiplyAccumulate, ScatterArray


def simulate(dut, bench) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_multiply_accumulate_adds_up_and_starts_anew():
    rng = np.random.default_rng(1)
    dut = MultiplyAccumulate()
    activations, weights = rng.integers(-256, 256, 50), rng.integers(-128, 128, 50)

    async def bench(ctx):
        seen = []
        for cycle in range(53):
            if cycle < 50:
                ctx.set(dut.activation, int(activations[cycle]))
                ctx.set(dut.weight, int(weights[cycle]))
                ctx.set(dut.first, cycle in (0, 20))
            await ctx.tick()
            seen.append(ctx.get(dut.total))
        products = activations * weights
        assert seen[2:52] == [*np.cumsum(products[:20]), *np.cumsum(products[20:])]

    simulate(dut, bench)


def test_scatter_array_loses_no_product_and_takes_one_a_bank_and_cycle():
    config = ScnnConfig.preset("paper")
    dut = ScatterArray(config)
    rng = np.random.default_rng(2)
    sums: Counter[tuple[int, int]] = Counter()

    def draw():
        return [
            {
                "valid": int(rng.random() < 0.8),
                "value": int(rng.integers(-128, 128)),
                "bank": int(rng.integers(config.banks)),
                "entry": int(rng.integers(2 * config.bank_entries)),
            }
            for _ in range(4)
        ]

    async def bench(ctx):
        cycles = wanted = 0
        ctx.set(dut.valid, 1)
        for _ in range(60):
            weights, activations = draw(), draw()
            ctx.set(dut.weights, weights)
            ctx.set(dut.activations, activations)
            while not ctx.get(dut.ready):
                await ctx.tick()
                cycles += 1
            await ctx.tick()
            cycles += 1
            banks: Counter[int] = Counter()
            for w in weights:
                for a in activations:
                    if w["valid"] and a["valid"]:
                        bank = (w["bank"] + a["bank"]) % config.banks
                        entry = (w["entry"] + a["entry"]) % (2 * config.bank_entries)
                        sums[bank, entry] += w["value"] * a["value"]
                        banks[bank] += 1
            wanted += max(1, max(banks.values(), default=0))
        ctx.set(dut.valid, 0)
        while not ctx.get(dut.ready):
            await ctx.tick()
            cycles += 1
        await ctx.tick().repeat(3)
        assert cycles == wanted
        for bank in range(config.banks):
            for entry in range(2 * config.bank_entries):
                ctx.set(dut.read_bank, bank)
                ctx.set(dut.read_entry, entry)
                assert ctx.get(dut.total) == sums[bank, entry]

    simulate(dut, bench)
