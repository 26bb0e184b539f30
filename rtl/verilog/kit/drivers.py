"""Drivers of a design's ports. They change inputs at the falling edge of the clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, Event, FallingEdge, RisingEdge

from .description import Description

__all__ = ["LoadDriver", "RegisterPort", "Stalls", "StreamDriver"]


class Stalls:
    """Random pauses of a stream: asked once a cycle, they say whether it pauses.

    Parameters
    ----------
    seed : int, optional
        None for no pause at all.
    share : float
        Share of cycles that pause.
    """

    def __init__(self, seed: int | None = None, share: float = 0.4) -> None:
        self.seed, self.share = seed, share
        self._dice = random.Random(seed)

    def __call__(self) -> bool:
        return self.seed is not None and self._dice.random() < self.share

    def fork(self, number: int) -> Stalls:
        """Return the pauses of another stream, which follow from the same seed."""
        return Stalls(None if self.seed is None else self.seed * 1000 + number, self.share)


class RegisterPort:
    """Write and read registers by name.

    Parameters
    ----------
    dut : cocotb handle
    description : Description
    """

    def __init__(self, dut: Any, description: Description) -> None:
        self.dut, self.description = dut, description

    async def write(self, name: str, value: int) -> None:
        """Write a register; it has the value a cycle later."""
        await FallingEdge(self.dut.clk)
        self.dut.address.value = self.description.registers[name]
        self.dut.write_data.value = value & 0xFFFFFFFF
        self.dut.write.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.write.value = 0

    async def read(self, name: str) -> int:
        """Return what a register holds, ``read_cycles`` after its address was given."""
        await FallingEdge(self.dut.clk)
        self.dut.address.value = self.description.registers[name]
        await ClockCycles(self.dut.clk, self.description.read_cycles)
        await FallingEdge(self.dut.clk)
        return int(self.dut.read_data.value)


class LoadDriver:
    """Fill buffers and tables through the load stream, which is always ready.

    Parameters
    ----------
    registers : RegisterPort
    stalls : Stalls, optional
    """

    def __init__(self, registers: RegisterPort, stalls: Stalls | None = None) -> None:
        self.registers, self.stalls = registers, stalls or Stalls()

    async def fill(self, target: str, words: Sequence[int], row: int = 0) -> None:
        """Write words into a target, from one of its rows on."""
        dut = self.registers.dut
        number = self.registers.description.targets[target]
        await self.registers.write("load_target", number)
        await self.registers.write("load_address", row)
        await ClockCycles(dut.clk, 2)  # the address is on its way
        for word in words:
            await FallingEdge(dut.clk)
            while self.stalls():
                dut.words__valid.value = 0
                await FallingEdge(dut.clk)
            dut.words__payload.value = word
            dut.words__valid.value = 1
        await FallingEdge(dut.clk)
        dut.words__valid.value = 0
        await ClockCycles(dut.clk, 2)  # the last row is on its way


class StreamDriver:
    """Send beats into a stream of a design, one after another, as soon as it takes them.

    Parameters
    ----------
    dut : cocotb handle
    name : str
        Its ports are ``NAME__payload``, ``NAME__valid``, ``NAME__ready``.
    stalls : Stalls, optional
    """

    def __init__(self, dut: Any, name: str, stalls: Stalls | None = None) -> None:
        self._clk = dut.clk
        self._payload = getattr(dut, f"{name}__payload")
        self._valid = getattr(dut, f"{name}__valid")
        self._ready = getattr(dut, f"{name}__ready")
        self.stalls = stalls or Stalls()
        self._left: deque[int] = deque()
        self._given = Event()
        self._task = cocotb.start_soon(self._run())

    @property
    def left(self) -> int:
        """How many beats were not taken yet."""
        return len(self._left)

    def send(self, beats: Sequence[int]) -> None:
        """Add beats to those that are sent."""
        self._left.extend(beats)
        self._given.set()

    async def _run(self) -> None:
        while True:
            if not self._left:
                self._valid.value = 0
                self._given.clear()
                await self._given.wait()
                await FallingEdge(self._clk)
            if self.stalls():
                self._valid.value = 0
                await FallingEdge(self._clk)
                continue
            self._payload.value = self._left[0]
            self._valid.value = 1
            while True:
                await RisingEdge(self._clk)
                taken = bool(self._ready.value)
                await FallingEdge(self._clk)
                if taken:
                    break
            self._left.popleft()
