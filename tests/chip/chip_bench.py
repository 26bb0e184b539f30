"""The whole chip under Amaranth's simulator, between a memory and a host."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.sim import Simulator

from golden.chip.config import CHIP_LATENCY
from golden.chip.program import ChipProgram
from rtl.chip.chip import Chip
from rtl.chip.core import Core
from rtl.chip.registers import Control, Status, register_map
from rtl.lib.component import Component
from tests.chip.axi_memory import BUS, AxiMemory

__all__ = ["ChipRun", "run_chip_hardware"]


@dataclass
class ChipRun:
    """What a host reads after a network.

    Attributes
    ----------
    registers : dict of str to int
        All that can be read; ``status`` and every counter.
    """

    registers: dict[str, int]


def run_chip_hardware(
    program: ChipProgram,
    memory: AxiMemory,
    limit: int = 200_000,
    chip: Component | None = None,
    watch=None,
    starts: int = 1,
) -> ChipRun:
    """Start a network by the registers, wait for its end, read all counters.

    Parameters
    ----------
    watch : callable, optional
        Called in every cycle with the simulator's context, the chip and the cycle.
    starts : int
        How often it is started; the registers are those after the last one.
    """
    dut = chip or Chip(program.config)
    header = program.image[:32].view("<u4").tolist()
    addresses = register_map(Core.COUNTERS).addresses
    result = ChipRun({})
    now = 0  # of the network, from its first request on

    async def host(ctx) -> None:
        await write(ctx, "list_address", header[2])
        await write(ctx, "list_entries", header[3])
        for _ in range(starts):
            await write(ctx, "control", Control.START)
            while not await read(ctx, "status") & Status.DONE:
                if now > limit:
                    raise AssertionError(f"the chip hangs: still running after {limit} cycles")
        for name in addresses:
            result.registers[name] = await read(ctx, name)

    async def write(ctx, name: str, value: int) -> None:
        bus = dut.host
        ctx.set(bus.awaddr, 4 * addresses[name])
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, 15)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        ctx.set(bus.bready, 1)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        await ctx.tick().until(bus.bvalid)

    async def read(ctx, name: str) -> int:
        bus = dut.host
        ctx.set(bus.araddr, 4 * addresses[name])
        ctx.set(bus.arvalid, 1)
        ctx.set(bus.rready, 1)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        (value,) = await ctx.tick().sample(bus.rdata).until(bus.rvalid)
        return value

    async def bus(ctx) -> None:
        nonlocal now
        driven: dict[str, int] = {}
        while True:
            for name, value in memory.outputs.items():
                if driven.get(name) != value:
                    driven[name] = value
                    ctx.set(getattr(dut.axi, name), value)
            if watch:
                watch(ctx, dut, now)
            _, _, *values = await ctx.tick().sample(*(getattr(dut.axi, name) for name in BUS))
            seen = dict(zip(BUS, values, strict=True))
            if now or seen["arvalid"]:
                now = now + 1 if now else CHIP_LATENCY.start
                memory.step(now, seen)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(bus, background=True)
    simulator.run()
    return result
