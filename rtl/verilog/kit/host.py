"""A host: it resets a design, gives it a vector, waits, and reads what came of it."""

from __future__ import annotations

from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from .description import Description
from .drivers import LoadDriver, RegisterPort, Stalls, StreamDriver
from .monitors import OutputMonitor
from .scoreboard import Scoreboard
from .vectors import Vector

__all__ = ["Host"]

#: Cycles after done in which no further output may come.
DRAIN_CYCLES = 40
#: How much longer a program may take where streams pause.
STALLED = 8


class Host:
    """All drivers and monitors of a design; make it with ``await Host.start(dut)``.

    Parameters
    ----------
    dut : cocotb handle
    description : Description, optional
    stalls : Stalls, optional
        Pauses of every stream.
    """

    def __init__(
        self, dut: Any, description: Description | None = None, stalls: Stalls | None = None
    ) -> None:
        self.dut = dut
        self.description = description or Description()
        self.stalls = stalls or Stalls()
        self.registers = RegisterPort(dut, self.description)
        self.loads = LoadDriver(self.registers, self.stalls.fork(1))
        self.filters = StreamDriver(dut, "filters", self.stalls.fork(2))
        self.outputs = OutputMonitor(dut, self.stalls.fork(3))

    @classmethod
    async def start(
        cls, dut: Any, description: Description | None = None, stalls: Stalls | None = None
    ) -> Host:
        """Start the clock, reset the design with every input at 0, and return its host."""
        description = description or Description()
        for name in description.inputs:
            getattr(dut, name).value = 0
        Clock(dut.clk, 10, unit="ns").start()
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        return cls(dut, description, stalls)

    async def give(self, vector: Vector) -> None:
        """Write a vector's tables, buffers and layer registers, and have its beats ready."""
        for target, words in vector.loads.items():
            await self.loads.fill(target, words)
        for name, value in vector.registers.items():
            await self.registers.write(name, value)
        self.filters.send(vector.filters)

    async def go(self, cycle_limit: int) -> None:
        """Start the layer and wait until it is done.

        Raises
        ------
        AssertionError
            It is not done in time.
        """
        await self.registers.write("control", 1)
        await ClockCycles(self.dut.clk, self.description.start_cycles)
        for _ in range(cycle_limit):
            await RisingEdge(self.dut.clk)
            if int(self.dut.done.value):
                return
        raise AssertionError(f"The design was not done in {cycle_limit} cycles")

    async def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        return {name: await self.registers.read(name) for name in self.description.counters}

    async def run(self, vector: Vector) -> tuple[list[int], dict[str, int]]:
        """Run a vector; return its output beats and counters.

        Raises
        ------
        AssertionError
            It is not done in time, or beats of its filter stream are left.
        """
        self.outputs.clear()
        await self.give(vector)
        stalled = self.stalls.seed is not None
        await self.go(vector.cycle_limit * (STALLED if stalled else 1))
        await ClockCycles(self.dut.clk, DRAIN_CYCLES)
        assert not self.filters.left, f"{self.filters.left} beats of the filter stream are left"
        return list(self.outputs.beats), await self.counters()

    async def check(self, vector: Vector) -> None:
        """Run a vector and compare all that it gives.

        Raises
        ------
        AssertionError
            Something differs.
        """
        beats, counters = await self.run(vector)
        Scoreboard(vector, stalled=self.stalls.seed is not None).check(beats, counters)
