"""The monitor of the output stream; it gives the back-pressure too."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from .drivers import Stalls

__all__ = ["OutputMonitor"]


class OutputMonitor:
    """Take the output stream, keep its beats, and see that nothing is taken back.

    Parameters
    ----------
    dut : cocotb handle
    stalls : Stalls, optional
        Back-pressure.

    Attributes
    ----------
    beats : list of int
        What was taken since the last ``clear``.
    """

    def __init__(self, dut: Any, stalls: Stalls | None = None) -> None:
        self._dut, self.stalls = dut, stalls or Stalls()
        self.beats: list[int] = []
        self._task = cocotb.start_soon(self._run())

    def clear(self) -> None:
        """Forget what was taken."""
        self.beats = []

    async def _run(self) -> None:
        dut, held = self._dut, None
        while True:
            await FallingEdge(dut.clk)
            ready = not self.stalls()
            dut.outputs__ready.value = int(ready)
            await RisingEdge(dut.clk)
            if not int(dut.outputs__valid.value):
                assert held is None, "An output beat was withdrawn before it was taken"
                continue
            value = dut.outputs__payload.value
            assert value.is_resolvable, f"An output beat has undefined bits: {value}"
            beat = int(value)
            assert held in (None, beat), f"Output beat {held:x} changed to {beat:x} while it waited"
            held = None if ready else beat
            if ready:
                self.beats.append(beat)
