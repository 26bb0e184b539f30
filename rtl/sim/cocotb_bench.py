"""The cocotb test that drives ``rtl.sim.bench``: clock, reset, go, and the wait for its end."""

from __future__ import annotations

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

__all__ = ["play"]


@cocotb.test()
async def play(dut) -> None:
    """Run all commands."""
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    dut.go.value = 1
    await RisingEdge(dut.finished)
