"""A cocotb test: the chip between a host and a memory of cocotbext-axi, with pauses.

It takes what it needs from the environment: ``IMAGE`` and ``OUTPUT``, files of the memory; and
``COMMANDS``, JSON of registers' byte addresses and what is written to them, in order.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam


def pauses(seed: int):
    """Yield pauses in four of ten cycles."""
    dice = random.Random(seed)
    while True:
        yield dice.random() < 0.4


@cocotb.test()
async def play(dut) -> None:
    """Start a network, wait for its interrupt, keep the memory."""
    Clock(dut.clk, 2, unit="ns").start()
    image = Path(os.environ["IMAGE"]).read_bytes()
    ram = AxiRam(AxiBus.from_prefix(dut, "axi"), dut.clk, dut.rst, size=1 << 20)
    ram.write(0, image)
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "host"), dut.clk, dut.rst)
    channels = (
        ram.read_if.ar_channel, ram.read_if.r_channel, ram.write_if.aw_channel,
        ram.write_if.w_channel, ram.write_if.b_channel,
    )  # fmt: skip
    for seed, channel in enumerate(channels):
        channel.set_pause_generator(pauses(seed))
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 4)
    for address, value in json.loads(os.environ["COMMANDS"]):
        await host.write(address, value.to_bytes(4, "little"))
    await with_timeout(RisingEdge(dut.interrupt), 200, "us")
    status = int.from_bytes((await host.read(4, 4)).data, "little")
    assert status == 0b110, f"status is {status:#x}"
    Path(os.environ["OUTPUT"]).write_bytes(ram.read(0, len(image)))
