"""The inner join against a plain model: which pairs, where, and in exactly how many cycles."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator

from rtl.join import WORD_BITS, InnerJoin

TAG_BITS = 6
DENSITIES = (0.0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0)


@dataclass
class Pair:
    """A chunk pair as lists of bits, and the effective masks by the definitions of the machine."""

    activation: list[int]
    weight: list[int]
    length: int
    skips_activations: bool
    skips_weights: bool
    tag: int

    def expected_steps(self, lanes: int) -> list[tuple]:
        """Steps as (tag, last, pairs), a pair as (position, offset, activation, weight)."""
        pairs, offset = [], 0
        for i in range(self.length):
            a, w = self.activation[i], self.weight[i]
            if (a or not self.skips_activations) and (w or not self.skips_weights):
                pairs.append((i, offset if w else None, a, w))
            offset += w
        groups = [tuple(pairs[i : i + lanes]) for i in range(0, len(pairs), lanes)] or [()]
        return [(self.tag, i == len(groups) - 1, group) for i, group in enumerate(groups)]

    def drive(self, ctx, payload) -> None:
        """Put the chunk pair on the join's input."""
        chunk = len(self.activation)

        def number(bits):
            return sum(bit << i for i, bit in enumerate(bits))

        def flags(bits):
            return number([int(any(bits[s : s + WORD_BITS])) for s in range(0, chunk, WORD_BITS)])

        effective = (
            self.activation
            if self.skips_activations
            else [int(i < self.length) for i in range(chunk)]
        )
        prefix = [sum(self.weight[:start]) for start in range(0, chunk, WORD_BITS)]
        ctx.set(
            payload,
            {
                "activation_mask": number(effective),
                "activation_words": flags(effective),
                "activation_filled": flags(self.activation),
                "weight_mask": number(self.weight),
                "weight_prefix": prefix,
                "keep_zero_weights": int(not self.skips_weights),
                "tag": self.tag,
            },
        )


def draw_pairs(rng: random.Random, chunk: int, count: int) -> list[Pair]:
    """Draw chunk pairs of all densities, lengths and skip modes, some of them with empty words."""

    def mask(length):
        density = rng.choice(DENSITIES)
        bits = [int(i < length and rng.random() < density) for i in range(chunk)]
        if rng.random() < 0.3:  # only some words have ones
            for start in range(0, chunk, WORD_BITS):
                if rng.random() < 0.7:
                    bits[start : start + WORD_BITS] = [0] * WORD_BITS
        return bits

    pairs = []
    for _ in range(count):
        length = chunk if rng.random() < 0.7 else rng.randint(1, chunk)
        skips_both = rng.random() < 0.6
        pairs.append(
            Pair(
                activation=mask(length),
                weight=mask(length),
                length=length,
                skips_activations=skips_both or rng.random() < 0.3,
                skips_weights=skips_both or rng.random() < 0.3,
                tag=rng.randrange(1 << TAG_BITS),
            )
        )
    return pairs


def run(join: InnerJoin, pairs: list[Pair], *, idle=0.0, stall=0.0, seed=0):
    """Send the pairs; return what came out and the cycle of each transfer at both ends.

    ``idle`` and ``stall`` are the chances that the source, and the sink, rests for a cycle.
    """
    rng = random.Random(seed)
    sent, steps, seen = [], [], []
    expected_count = sum(len(pair.expected_steps(join.lane_count)) for pair in pairs)
    limit = 50 + 20 * expected_count + 20 * len(pairs)

    async def source(ctx):
        cycle = 0
        for pair in pairs:
            while rng.random() < idle:
                await ctx.tick()
                cycle += 1
            pair.drive(ctx, join.chunks.payload)
            ctx.set(join.chunks.valid, 1)
            while True:
                _, _, ready = await ctx.tick().sample(join.chunks.ready)
                cycle += 1
                if ready:
                    break
            sent.append(cycle - 1)
            ctx.set(join.chunks.valid, 0)

    async def sink(ctx):
        extra = 0
        for cycle in range(limit):
            ready = rng.random() >= stall
            ctx.set(join.steps.ready, ready)
            _, _, valid, step = await ctx.tick().sample(join.steps.valid, join.steps.payload)
            if ready and valid:
                lanes = [
                    (
                        lane.position,
                        lane.weight_prefix + lane.weight_count if lane.weight_nonzero else None,
                        lane.activation_nonzero,
                        lane.weight_nonzero,
                    )
                    for lane in step.lanes
                    if lane.pair
                ]
                steps.append((step.tag, bool(step.last), tuple(lanes)))
                seen.append(cycle)
            extra += len(steps) >= expected_count
            if extra > 20:  # nothing may follow the last step
                break

    simulator = Simulator(join)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    return steps, sent, seen


def check_steps(pairs: list[Pair], steps: list[tuple], lanes: int) -> None:
    """Compare; an activation in a filled word may be flagged although it is zero."""
    expected = [step for pair in pairs for step in pair.expected_steps(lanes)]
    owners = [pair for pair in pairs for _ in pair.expected_steps(lanes)]
    assert len(steps) == len(expected)
    for owner, got, want in zip(owners, steps, expected, strict=True):
        relaxed = []
        for position, offset, _, weight in want[2]:
            start = position - position % WORD_BITS
            filled = int(any(owner.activation[start : start + WORD_BITS]))
            relaxed.append((position, offset, filled, weight))
        assert got == (want[0], want[1], tuple(relaxed))


@pytest.mark.parametrize("chunk", [16, 32, 64, 128, 256])
def test_costs_exactly_its_pairs_back_to_back(chunk):
    pairs = draw_pairs(random.Random(chunk), chunk, 12 * 256 // chunk)
    join = InnerJoin(chunk, tag_bits=TAG_BITS)
    steps, sent, seen = run(join, pairs)
    check_steps(pairs, steps, 1)
    assert seen == list(range(seen[0], seen[0] + len(steps)))
    assert seen[0] - sent[0] == InnerJoin.LATENCY


@pytest.mark.parametrize("chunk", [16, 32, 64, 128, 256])
@pytest.mark.parametrize(("idle", "stall"), [(0.3, 0.0), (0.0, 0.3), (0.9, 0.2), (0.2, 0.9)])
def test_bits_are_equal_under_idle_and_back_pressure(chunk, idle, stall):
    pairs = draw_pairs(random.Random(chunk + 1), chunk, 4 * 256 // chunk)
    steps, _, _ = run(InnerJoin(chunk, tag_bits=TAG_BITS), pairs, idle=idle, stall=stall)
    check_steps(pairs, steps, 1)
