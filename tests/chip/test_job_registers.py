"""The registers of each cluster's job against the positions that it works on."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.chip.config import CHIP_LATENCY
from golden.chip.derived import derived_fields
from rtl.chip.control.job_registers import JobRegisters
from rtl.chip.control.payloads import Payloads
from tests.chip.cases import small_chip


@pytest.mark.parametrize("clusters", [1, 2, 3, 7])
def test_windows_of_positions(clusters):
    """First windows and steps, by walking all positions of a tile as the cluster's core does."""
    rng = np.random.default_rng(clusters)
    config = small_chip(clusters=clusters)
    places = config.input_buffer_chunks
    dut = JobRegisters(Payloads(config))

    async def check(ctx) -> None:
        for _ in range(12):
            d, record = draw(rng, config)
            ctx.set(dut.descriptor, d)
            ctx.set(dut.record, record)
            for waited in range(CHIP_LATENCY.tile):
                ctx.set(dut.waited, waited)
                await ctx.tick()
            first = record["first_y"] * d["out_width"] + record["first_x"]
            for m in range(clusters):
                positions = range(first + m, first + record["pixels"], clusters)
                assert (ctx.get(dut.active) >> m) & 1 == bool(positions)
                if positions:
                    compare(ctx, dut.layers[m], d, record, positions, places)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(check)
    simulator.run()


def draw(rng: np.random.Generator, config) -> tuple[dict[str, int], dict[str, int]]:
    """Return a descriptor and the record of a tile within the map."""

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    d = {
        "in_channels": 40, "groups": pick(1, 3), "in_width": pick(3, 9), "in_height": 7,
        "out_width": pick(1, 7), "out_channels": 4, "kernel_height": 2, "kernel_width": 3,
        "stride_height": pick(1, 4), "stride_width": pick(1, 4), "pad_top": pick(0, 3),
        "pad_left": pick(0, 3), "passes": 2, "window_height": 1, "window_width": 1,
    }  # fmt: skip
    d |= derived_fields(config, d, None)
    record = {"first_y": pick(0, 4), "first_x": pick(0, d["out_width"]), "pixels": pick(1, 30),
              "ring_row": pick(0, config.input_buffer_chunks)}  # fmt: skip
    return d, record


def compare(ctx, layer, d, record, positions, places) -> None:
    """Walk as ``rtl.cluster.sequencer`` does, and compare each position's window."""
    known = {name: ctx.get(layer[name]) for name in
             ("first_y", "first_x", "first_address", "positions_last", "step_x", "step_y",
              "step_address", "end_x", "wrap_x", "wrap_y", "wrap_address", "line_address",
              "group_address")}  # fmt: skip
    assert known["positions_last"] == len(positions) - 1
    y, x, address = known["first_y"], known["first_x"], known["first_address"]
    for position in positions:
        p, q = divmod(position, d["out_width"])
        top, left = p * d["stride_height"] - d["pad_top"], q * d["stride_width"] - d["pad_left"]
        place = record["ring_row"] + (top * d["groups"] * d["in_width"] + left) * d["row_chunks"]
        assert (y, x, address % places) == (top, left, place % places)
        wraps = x + known["step_x"] >= known["end_x"]
        y += known["step_y"] + wraps * known["wrap_y"]
        x += known["step_x"] - wraps * known["wrap_x"]
        address += known["step_address"] + wraps * known["wrap_address"]
    # From the end of a kernel row's last chunk to the next row, and a group on.
    line = d["groups"] * d["in_width"] * d["row_chunks"]
    steps = known["line_address"] + d["kernel_width"] * d["row_chunks"] - 1
    assert steps % places == line % places
    assert known["group_address"] == d["in_width"] * d["row_chunks"]
