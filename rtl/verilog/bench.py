"""A place to begin: this runs the design beside it under cocotb, with a program of one output.

    python bench.py [icarus | verilator]

What the registers and streams mean is in the JSON file, which has the program too. ``accel verify``
runs whole layers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

FOLDER = Path(__file__).resolve().parent
#: Most cycles that the program takes.
LIMIT = 2000


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
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def read(dut, register):
    """Return a register by its name."""
    dut.address.value = describe()["registers"][register]
    await ClockCycles(dut.clk, describe()["register_cycles"]["read"])
    await FallingEdge(dut.clk)
    return int(dut.read_data.value)


async def write(dut, register, value):
    """Write a register by its name."""
    dut.address.value = describe()["registers"][register]
    dut.write_data.value = value
    dut.write.value = 1
    await FallingEdge(dut.clk)
    dut.write.value = 0


async def load(dut, target, words):
    """Fill a buffer or table from its first row on; the load stream is always ready."""
    await write(dut, "load_target", describe()["load_targets"][target]["number"])
    await write(dut, "load_address", 0)
    await ClockCycles(dut.clk, 2)
    for word in words:
        await FallingEdge(dut.clk)
        dut.words__payload.value = word
        dut.words__valid.value = 1
    await FallingEdge(dut.clk)
    dut.words__valid.value = 0
    await ClockCycles(dut.clk, 2)
    await FallingEdge(dut.clk)


async def send(dut, beats):
    """Drive the filter stream."""
    for beat in beats:
        dut.filters__payload.value = int(beat, 16)
        dut.filters__valid.value = 1
        while True:
            taken = bool(dut.filters__ready.value)
            await FallingEdge(dut.clk)
            if taken:
                break
    dut.filters__valid.value = 0


async def take(dut, seen):
    """Take the output stream; keep its beats."""
    dut.outputs__ready.value = 1
    while True:
        await RisingEdge(dut.clk)
        if dut.outputs__valid.value:
            seen.append(int(dut.outputs__payload.value))


def code_of(beat):
    """Return the first code of an output beat: the lowest byte of its widest field."""
    first, _ = max(describe()["output_stream"].values(), key=lambda field: field[1])
    return beat >> first & 0xFF


@cocotb.test()
async def runs_a_program(dut):
    """A product with itself, 1 * 1 + ... + 8 * 8; the counters are the layer's own."""
    program, seen = describe()["example"], []
    await reset(dut)
    assert await read(dut, "status") == 0
    for target, words in program["loads"].items():
        await load(dut, target, words)
    for name, value in program["layer_registers"].items():
        await write(dut, name, value)
    cocotb.start_soon(take(dut, seen))
    await write(dut, "control", 1)
    await ClockCycles(dut.clk, describe()["register_cycles"]["start"])
    await FallingEdge(dut.clk)
    await send(dut, program["beats"])
    for _ in range(LIMIT):
        if dut.done.value:
            break
        await FallingEdge(dut.clk)
    assert await read(dut, "status") == 2  # done, not running
    assert [code_of(beat) for beat in seen] == [program["code"]]
    for name, wanted in program["counters"].items():
        assert await read(dut, name) == wanted, name
    assert await read(dut, "cycles") > wanted


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
