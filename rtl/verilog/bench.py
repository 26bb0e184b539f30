"""A place to begin: this runs the design beside it under cocotb and reads one register.

    python bench.py [icarus | verilator]

What the registers and streams mean is in the JSON file. ``accel verify`` runs whole layers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

FOLDER = Path(__file__).resolve().parent


def describe():
    """Return the description of the design in this folder."""
    (path,) = FOLDER.glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))


async def reset(dut):
    """Start the clock, with every input at 0, and reset."""
    for port in describe()["ports"]:
        if port["direction"] == "input" and port["name"] != "clk":
            getattr(dut, port["name"]).value = 0
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def read(dut, register):
    """Return a register by its name."""
    dut.address.value = describe()["registers"][register]
    await ClockCycles(dut.clk, 2)
    return int(dut.read_data.value)


@cocotb.test()
async def counts_nothing_before_start(dut):
    await reset(dut)
    assert await read(dut, "cycles") == 0


def main():
    """Build and run the tests above."""
    from cocotb_tools.runner import get_runner

    simulator = sys.argv[1] if len(sys.argv) > 1 else "icarus"
    runner = get_runner(simulator)
    arguments = {
        "icarus": ["-g2012"],
        # Only ports are visible to cocotb, and -O1: with all signals public a build takes minutes.
        "verilator": ["-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1", "-CFLAGS", "-O1"],
    }[simulator]
    top = describe()["top"]
    runner.build(
        sources=[FOLDER / f"{top}.v"],
        hdl_toplevel=top,
        build_args=arguments,
        build_dir=FOLDER / "sim",
    )
    runner.test(hdl_toplevel=top, test_module="bench", build_dir=FOLDER / "sim")


if __name__ == "__main__":
    main()
