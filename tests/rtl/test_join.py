"""The inner join against a plain model: which pairs, where, and in exactly which cycles.

A few chunk pairs run in Amaranth's simulator, tens of thousands under Verilator. The model is the
cost rule alone: a step leaves in the first cycle in which the sink is ready, after the step
before it and no sooner than ``LATENCY`` cycles after its chunk pair was taken.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth")

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.cluster.layouts import WORD_BITS
from rtl.cluster.unit.join import ChunkPair, InnerJoin, JoinStep
from rtl.verilog.yosys import rtlil_to_verilog

TAG_BITS = 6
CHUNKS = (16, 32, 64, 128, 256)
DENSITIES = (0.0, 0.005, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0)


@dataclass
class Pairs:
    """Chunk pairs, axes (pair, position) where there are positions."""

    activation: NDArray[np.bool_]
    weight: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    skips_activations: NDArray[np.bool_]
    skips_weights: NDArray[np.bool_]
    tag: NDArray[np.int64]

    @classmethod
    def draw(cls, rng: np.random.Generator, chunk: int, count: int) -> Pairs:
        """Draw pairs of all densities, lengths and skip modes, some with whole words empty."""
        shape = (count, chunk)
        length = np.where(rng.random(count) < 0.7, chunk, rng.integers(1, chunk + 1, count))
        valid = np.arange(chunk) < length[:, None]

        def mask():
            bits = rng.random(shape) < rng.choice(DENSITIES, count)[:, None]
            words = rng.random((count, chunk // WORD_BITS)) < 0.3
            some = rng.random(count)[:, None] < 0.3
            return bits & valid & (~some | np.repeat(words, WORD_BITS, axis=1))

        both = rng.random(count) < 0.6
        return cls(
            activation=mask(),
            weight=mask(),
            valid=valid,
            skips_activations=both | (rng.random(count) < 0.3),
            skips_weights=both | (rng.random(count) < 0.3),
            tag=rng.integers(0, 1 << TAG_BITS, count),
        )

    @property
    def effective(self) -> NDArray[np.bool_]:
        """a' of ``docs/machine.md``."""
        return np.where(self.skips_activations[:, None], self.activation, self.valid)

    @property
    def to_multiply(self) -> NDArray[np.bool_]:
        """a' & w' of ``docs/machine.md``."""
        return self.effective & np.where(self.skips_weights[:, None], self.weight, self.valid)

    def payloads(self) -> NDArray[np.uint8]:
        """Return what the join's input carries; axes (pair, byte), padded to 32-bit words."""
        count, chunk = self.weight.shape
        layout = ChunkPair(chunk, TAG_BITS)
        bits = np.zeros((count, -(-layout.size // 32) * 32), dtype=np.uint8)

        def put(name, values):
            bits[:, layout[name].offset : layout[name].offset + layout[name].width] = values

        def flags(mask):
            return mask.reshape(count, -1, WORD_BITS).any(axis=2)

        prefix = np.cumsum(self.weight, axis=1)[:, WORD_BITS - 1 :: WORD_BITS]
        prefix = np.concatenate([np.zeros((count, 1), int), prefix[:, :-1]], axis=1)
        prefix_bits = prefix[:, :, None] >> np.arange((chunk - 1).bit_length()) & 1
        put("activation_mask", self.effective)
        put("activation_words", flags(self.effective))
        put("activation_filled", flags(self.activation))
        put("weight_mask", self.weight)
        put("weight_prefix", prefix_bits.reshape(count, -1))
        put("keep_zero_weights", ~self.skips_weights[:, None])
        put("tag", self.tag[:, None] >> np.arange(TAG_BITS) & 1)
        return np.packbits(bits, axis=1, bitorder="little")

    def steps(self) -> list[tuple]:
        """Return (tag, last, position, offset, activation, weight) of each step; None: undefined.

        The activation is the flag of its word: one that was sent may be zero.
        """
        result = []
        count = self.weight.shape[0]
        words = self.activation.reshape(count, -1, WORD_BITS).any(axis=2)
        offsets = np.cumsum(self.weight, axis=1) - self.weight
        for number, mask in enumerate(self.to_multiply):
            tag, positions = int(self.tag[number]), np.flatnonzero(mask)
            if not len(positions):
                result.append((tag, True, None, None, None, None))
            for position in positions.tolist():
                weight = bool(self.weight[number, position])
                offset = int(offsets[number, position]) if weight else None
                filled = bool(words[number, position // WORD_BITS])
                last = position == positions[-1]
                result.append((tag, bool(last), position, offset, filled, weight))
        return result

    def costs(self) -> NDArray[np.int64]:
        """Return max(1, pairs) of each chunk pair."""
        return np.maximum(1, self.to_multiply.sum(axis=1))


def decode(chunk: int, payloads: list[int]) -> list[tuple]:
    """Return steps as ``Pairs.steps`` does."""
    layout = JoinStep(chunk, TAG_BITS)
    words = np.array(payloads, dtype=np.int64)

    def values(name):
        field = layout[name]
        return (words >> field.offset & (1 << field.width) - 1).tolist()

    names = ("pair", "position", "weight_prefix", "weight_count")
    columns = [values(name) for name in (*names, "activation_nonzero", "weight_nonzero")]
    columns += [values(name) for name in ("last", "tag")]
    result = []
    for pair, position, prefix, count, activation, weight, last, tag in zip(*columns, strict=True):
        if not pair:
            result.append((tag, bool(last), None, None, None, None))
            continue
        offset = prefix + count if weight else None
        result.append((tag, bool(last), position, offset, bool(activation), bool(weight)))
    return result


def leaving_cycles(costs, taken, ready) -> list[int]:
    """Return the cycle in which each step leaves, by the cost rule alone."""
    cycles, cycle = [], -1
    for cost, since in zip(costs, taken, strict=True):
        for _ in range(cost):
            cycle = max(cycle + 1, since + InnerJoin.LATENCY)
            while not ready[cycle]:
                cycle += 1
            cycles.append(cycle)
    return cycles


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(("idle", "stall"), [(0.0, 0.0), (0.5, 0.5)])
def test_amaranth_simulator(chunk, idle, stall):
    rng = np.random.default_rng(chunk)
    pairs = Pairs.draw(rng, chunk, 2 + 1024 // chunk)
    join = InnerJoin(chunk, tag_bits=TAG_BITS)
    cycles = 60 + 8 * int(pairs.costs().sum() + len(pairs.tag))
    idles, ready = rng.random(cycles) < idle, rng.random(cycles) >= stall
    taken, left, payloads = [], [], []

    async def bench(ctx):
        waiting = [int.from_bytes(payload.tobytes(), "little") for payload in pairs.payloads()]
        waiting.reverse()
        offered = False
        for cycle in range(cycles):
            offered = offered or (bool(waiting) and not idles[cycle])
            ctx.set(join.chunks.valid, offered)
            if offered:
                ctx.set(join.chunks.payload.as_value(), waiting[-1])
            ctx.set(join.steps.ready, int(ready[cycle]))
            if offered and ctx.get(join.chunks.ready):
                taken.append(cycle)
                waiting.pop()
                offered = False
            if ready[cycle] and ctx.get(join.steps.valid):
                left.append(cycle)
                payloads.append(ctx.get(join.steps.payload.as_value()))
            await ctx.tick()

    simulator = Simulator(join)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert decode(chunk, payloads) == pairs.steps()
    assert left == leaving_cycles(pairs.costs(), taken, ready)


# -- Verilator ------------------------------------------------------------------------------------

MAIN = r"""
#include "Vjoins.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>
#include <vector>
template <class T> uint32_t* words(T& narrow) { return reinterpret_cast<uint32_t*>(&narrow); }
template <size_t N> uint32_t* words(VlWide<N>& wide) { return wide.data(); }
static std::vector<uint8_t> load(const char* name) {
  FILE* f = fopen(name, "rb"); std::vector<uint8_t> bytes; int c;
  while ((c = fgetc(f)) != EOF) bytes.push_back(c);
  fclose(f); return bytes;
}
// "___05F" is how Verilator writes "__".
// arguments: input, idle flags by cycle, ready flags by cycle, taken cycles, (cycle, step) pairs
#define RUN(N) if (chunk == N) for (size_t t = 0; t < idle.size(); t++) { \
    if (!offered && at < input.size() && !idle[t]) { offered = true; \
      memcpy(words(v.chunks##N##___05Fpayload), &input[at], bytes); } \
    v.chunks##N##___05Fvalid = offered; v.steps##N##___05Fready = ready[t]; v.eval(); \
    if (offered && v.chunks##N##___05Fready) { \
      uint32_t c = t; fwrite(&c, 4, 1, taken); at += bytes; offered = false; } \
    if (ready[t] && v.steps##N##___05Fvalid) { \
      uint32_t record[2] = {uint32_t(t), uint32_t(v.steps##N##___05Fpayload)}; \
      fwrite(record, 4, 2, left); } \
    v.clk = 1; v.eval(); v.clk = 0; v.eval(); }
int main(int, char** a) {
  int chunk = atoi(a[1]); size_t bytes = atoi(a[2]), at = 0; bool offered = false;
  auto input = load(a[3]), idle = load(a[4]), ready = load(a[5]);
  FILE *taken = fopen(a[6], "wb"), *left = fopen(a[7], "wb");
  Vjoins v; v.rst = 0; v.clk = 0; v.eval();
  RUN(16) RUN(32) RUN(64) RUN(128) RUN(256)
  fclose(taken); fclose(left); return 0;
}
"""


class Joins(wiring.Component):
    """One join of each chunk size, so that there is one build."""

    def __init__(self):
        self.joins = {chunk: InnerJoin(chunk, tag_bits=TAG_BITS) for chunk in CHUNKS}
        super().__init__(
            {
                f"{name}{chunk}": join.signature.members[name]
                for chunk, join in self.joins.items()
                for name in ("chunks", "steps")
            }
        )

    def elaborate(self, platform):
        m = Module()
        for chunk, join in self.joins.items():
            m.submodules[f"join{chunk}"] = join
            wiring.connect(m, wiring.flipped(getattr(self, f"chunks{chunk}")), join.chunks)
            wiring.connect(m, join.steps, wiring.flipped(getattr(self, f"steps{chunk}")))
        return m


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """Build the joins under Verilator; return the program."""
    for tool in ("verilator", "g++", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    pytest.importorskip("pyosys")
    folder = tmp_path_factory.mktemp("joins")
    (folder / "joins.il").write_text(rtlil.convert(Joins(), name="joins", emit_src=False))
    rtlil_to_verilog([folder / "joins.il"], folder / "joins.v")
    (folder / "main.cpp").write_text(MAIN)
    command = "verilator --cc --exe --build -Wno-fatal -O3 -CFLAGS -O1 --top-module joins"
    subprocess.run(
        [*command.split(), "joins.v", "main.cpp"], cwd=folder, check=True, capture_output=True
    )
    return folder / "obj_dir" / "Vjoins"


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(
    ("idle", "stall", "count"),
    [(0.0, 0.0, 1200), (0.9, 0.0, 400), (0.97, 0.02, 300), (0.0, 0.5, 300), (0.3, 0.9, 100)],
)
def test_verilator(bench, tmp_path, chunk, idle, stall, count):
    """More than 10,000 chunk pairs: bits, and the cycle of every step."""
    rng = np.random.default_rng([chunk, int(100 * idle), int(100 * stall)])
    pairs = Pairs.draw(rng, chunk, count)
    payloads = pairs.payloads()
    cycles = 200 + int(1.5 * (pairs.costs().sum() + count / (1 - idle)) / (1 - stall))
    ready = rng.random(cycles) >= stall
    names = [str(tmp_path / name) for name in ("input", "idle", "ready", "taken", "left")]
    payloads.tofile(names[0])
    (rng.random(cycles) < idle).tofile(names[1])
    ready.tofile(names[2])
    subprocess.run([bench, str(chunk), str(payloads.shape[1]), *names], check=True)
    taken = np.fromfile(names[3], dtype=np.uint32)
    left, steps = np.fromfile(names[4], dtype=np.uint32).reshape(-1, 2).T
    assert decode(chunk, steps.tolist()) == pairs.steps()
    assert left.tolist() == leaving_cycles(pairs.costs(), taken.tolist(), ready)
