"""A design under Amaranth's own simulator: for small cases, without any other tool."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS
from golden.errors import HardwareError
from rtl.host import Design, Program, Result
from rtl.lib.component import Component, Elaborate, PlacingPlatform
from rtl.lib.registers import RegisterFile

__all__ = ["DRAIN_CYCLES", "run_programs"]

#: Cycles after done in which no further output may come.
DRAIN_CYCLES = 40


def run_programs(
    design: Design,
    programs: list[Program],
    stalls: int | None = None,
    states: list[NDArray[np.uint8]] | None = None,
) -> list[Result]:
    """Run programs one after another on one instance of a design.

    Parameters
    ----------
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none.
    states : list, optional
        Gets an array of uint8 for each program, axes unit, cycle: the place in
        ``golden.counters.UNIT_COUNTERS`` of what the cycle counts for. Cycle 0 is the first one
        in which some unit is not idle.

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
    events: list[int] = []  # of each counted cycle, those of all units
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
            if states is not None:
                states.append(_states(events, design.registers.units))
            events.clear()

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

    async def watch(ctx) -> None:
        file = finder.registers
        units = file.unit_events.as_value()
        async for _, _, counting, found in ctx.tick().sample(file.counting, units):
            if counting:
                events.append(found)

    finder = _Finder()
    simulator = Simulator(Fragment.get(dut, finder))
    simulator.add_clock(1e-6)
    simulator.add_testbench(control)
    simulator.add_testbench(send_filters, background=True)
    simulator.add_testbench(take_outputs, background=True)
    if states is not None:
        simulator.add_testbench(watch, background=True)
    simulator.run()
    return results


class _Finder(PlacingPlatform):
    """Finds a design's registers while it is elaborated."""

    registers: RegisterFile

    def place(self, component: Component, elaborate: Elaborate) -> Any:
        if isinstance(component, RegisterFile):
            self.registers = component
        return elaborate(component, self)


def _states(events: list[int], units: int) -> NDArray[np.uint8]:
    """Return the lowest event of each unit in each cycle; the machine's first one is cycle 0.

    What units do is known some stages late. The idle cycles of these stages go to the end.
    """
    width = len(UNIT_COUNTERS)
    shifts = [width * unit for unit in range(units)]
    bits = np.array([[found >> by & (1 << width) - 1 for found in events] for by in shifts])
    states = np.log2(bits & -bits).astype(np.uint8)
    works = (states != UNIT_COUNTERS.index("idle_cycles")).any(axis=0)
    return np.roll(states, -int(works.argmax()), axis=1)
