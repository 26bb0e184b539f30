"""A design under Amaranth's own simulator: for small cases, without any other tool."""

from __future__ import annotations

import random
from collections.abc import Callable

from amaranth.sim import Simulator

from golden.errors import HardwareError
from rtl.host import Design, Program, Result
from rtl.lib.registers import RegisterFile

__all__ = ["DRAIN_CYCLES", "run_programs"]

#: Cycles after done in which no further output may come.
DRAIN_CYCLES = 40


def run_programs(
    design: Design,
    programs: list[Program],
    stalls: int | None = None,
) -> list[Result]:
    """Run programs one after another on one instance of a design.

    Parameters
    ----------
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none.

    Raises
    ------
    HardwareError
        The design was not done in time, or left beats of its filter stream.
    """
    dut = design.make()
    registers = design.registers.addresses
    results: list[Result] = []
    seen: list[int] = []
    feed: list[int] = []
    dice = random.Random(stalls)
    pause: Callable[[], bool] = (lambda: False) if stalls is None else (lambda: dice.random() < 0.4)

    async def write(ctx, name: str, value: int) -> None:
        ctx.set(dut.address, registers[name])
        ctx.set(dut.write_data, value)
        ctx.set(dut.write, 1)
        await ctx.tick()
        ctx.set(dut.write, 0)

    async def control(ctx) -> None:
        for program in programs:
            seen.clear()
            for target, name in enumerate(design.load_rows):
                await write(ctx, "load_target", target)
                await write(ctx, "load_address", 0)
                await ctx.tick()
                for word in program.loads[name].tolist():
                    while pause():
                        await ctx.tick()
                    ctx.set(dut.words.payload, word)
                    ctx.set(dut.words.valid, 1)
                    await ctx.tick()
                    ctx.set(dut.words.valid, 0)
                await ctx.tick()
            for name, value in program.registers.items():
                await write(ctx, name, value)
            packed = [int.from_bytes(row.tobytes(), "little") for row in program.beats]
            feed.extend(packed)
            await write(ctx, "control", 1)
            await ctx.tick().repeat(RegisterFile.START)  # done falls
            for _ in range(program.cycle_limit * (1 if stalls is None else 8)):
                if ctx.get(dut.done):
                    break
                await ctx.tick()
            else:
                raise HardwareError("The design was not done in time")
            await ctx.tick().repeat(DRAIN_CYCLES)
            if feed:
                raise HardwareError(f"The design left {len(feed)} beats of its filter stream")
            counters = {}
            for name, address in design.registers.counter_addresses.items():
                ctx.set(dut.address, address)
                await ctx.tick().repeat(RegisterFile.READ)
                counters[name] = ctx.get(dut.read_data)
            results.append((list(seen), counters))

    async def send_filters(ctx) -> None:
        while True:
            if not feed or pause():
                ctx.set(dut.filters.valid, 0)
                await ctx.tick()
                continue
            ctx.set(dut.filters.payload, feed[0])
            ctx.set(dut.filters.valid, 1)
            await ctx.tick().until(dut.filters.ready)
            feed.pop(0)

    async def take_outputs(ctx) -> None:
        while True:
            ctx.set(dut.outputs.ready, not pause())
            _, _, valid, ready, beat = await ctx.tick().sample(
                dut.outputs.valid, dut.outputs.ready, dut.outputs.payload.as_value()
            )
            if valid and ready:
                seen.append(beat)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(control)
    simulator.add_testbench(send_filters, background=True)
    simulator.add_testbench(take_outputs, background=True)
    simulator.run()
    return results
