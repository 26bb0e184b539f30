"""The multiply-accumulate of chunk balancing against sums in Python."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

pytest.importorskip("amaranth")
from amaranth.sim import Simulator

from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.layouts import Layouts
from rtl.cluster.unit.merging_mac import MergingMac

TILES, SEGMENTS = 4, 2


@pytest.mark.parametrize(("tile", "lanes"), [(1, 1), (1, 8), (2, 2), (3, 4)])
def test_sums_of_homes(tile, lanes):
    """Every chunk pair has a home of its own; the next tile runs on while a position is drained."""
    config = AcceleratorConfig.preset("toy").replace(
        filters_per_unit=2, balance="chunk", segment_chunks=1, tile_positions=tile,
        collector_width=lanes,
    )  # fmt: skip
    layouts = Layouts(config)
    dut = MergingMac(layouts)
    dice = random.Random(tile * 10 + lanes)
    lane_bits = lanes.bit_length() - 1
    issues, expected = [], []
    for first in range(0, TILES * tile, tile):
        sums: list[dict[int, int]] = [defaultdict(int) for _ in range(tile)]
        for segment in range(SEGMENTS):
            for position in range(tile):
                pairs = dice.randint(1, 4)
                for number in range(pairs):
                    home, length = dice.choice([0, 0, *range(8)]), dice.randint(1, 3)
                    for at in range(length):
                        live = dice.random() < 0.8
                        operands = dice.randint(-256, 255), dice.randint(-128, 127)
                        sums[position][home] += operands[0] * operands[1] if live else 0
                        last = at == length - 1
                        issues.append(
                            {
                                "psum": (first + position) % (tile + 1) << layouts.home_bits | home,
                                "first": at == 0,
                                "from_zero": segment == 0 and number == 0,
                                "store": last,
                                "live": live,
                                "operands": operands,
                                "commit": last and number == pairs - 1 and segment == SEGMENTS - 1,
                            }
                        )
        expected += [[mine[home] for home in range(8)] for mine in sums]
    found = []

    async def bench(ctx) -> None:
        operands: list[tuple[int, int]] = [(0, 0)] * dut.OPERANDS
        waiting, commit, taken = list(issues), False, 0
        draining: list[int] = []
        shown: list[int] = []
        ctx.set(dut.drain.enable, 1)
        for _ in range(4 * len(issues) + 20 * len(expected)):
            # The result register's rule: a position completes when the last one is drained.
            ready = waiting and not (waiting[0]["commit"] and taken > len(found))
            issue = waiting.pop(0) if ready and dice.random() < 0.95 else None
            ctx.set(dut.issue.valid, issue is not None)
            if issue is not None:
                for name in ("psum", "first", "from_zero", "store", "live"):
                    ctx.set(dut.issue[name], int(issue[name]))
            ctx.set(dut.commit, commit)
            commit = issue is not None and issue["commit"]
            taken += commit
            operands.append(issue["operands"] if issue else (99, 99))
            activation, weight = operands.pop(0)
            ctx.set(dut.activation, activation)
            ctx.set(dut.weight, weight)
            if draining:
                ctx.set(dut.drain.position, len(found) % (tile + 1))
                ctx.set(dut.drain.beat, draining[0])
            if ctx.get(dut.committed):
                draining = list(range(8 >> lane_bits))
                ctx.set(dut.drain.position, len(found) % (tile + 1))
                ctx.set(dut.drain.beat, 0)
            ctx.set(dut.valid, bool(draining))
            await ctx.tick()
            if draining:
                draining.pop(0)
                shown += [ctx.get(dut.results[lane]) for lane in range(lanes)]
                if not draining:
                    found.append(shown)
                    shown = []
        ctx.set(dut.valid, 0)
        assert [ctx.get(dut.results[lane]) for lane in range(lanes)] == [0] * lanes

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == expected
