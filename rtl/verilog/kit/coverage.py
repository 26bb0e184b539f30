"""Functional coverage of a bench, with cocotb-coverage where that is installed.

Covered are the four states of valid and ready on both streams that have back-pressure, each field
of an output beat as 0 and not, and each counter as one that moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from .description import Description

__all__ = ["Coverage"]

_HANDSHAKE = [(0, 0), (0, 1), (1, 0), (1, 1)]


class Coverage:
    """Collect coverage of a design from now on.

    Parameters
    ----------
    dut : cocotb handle
    description : Description

    Raises
    ------
    ImportError
        cocotb-coverage is not installed.
    """

    def __init__(self, dut: Any, description: Description) -> None:
        from cocotb_coverage.coverage import CoverPoint, coverage_db

        self._database = coverage_db
        self._dut, self._description = dut, description
        top = description.top

        @CoverPoint(f"{top}.filters", xf=lambda valid, ready: (valid, ready), bins=_HANDSHAKE)
        def filters(valid: int, ready: int) -> None:
            """Sample the filter stream."""

        @CoverPoint(f"{top}.outputs", xf=lambda valid, ready: (valid, ready), bins=_HANDSHAKE)
        def outputs(valid: int, ready: int) -> None:
            """Sample the output stream."""

        @CoverPoint(f"{top}.beats", xf=lambda kind: kind, bins=self._bins())
        def beats(kind: str) -> None:
            """Sample a field of an output beat."""

        @CoverPoint(f"{top}.counters", xf=lambda name: name, bins=description.counters)
        def moved(name: str) -> None:
            """Sample a counter that moved."""

        self._filters, self._outputs, self._beats, self._moved = filters, outputs, beats, moved
        self._task = cocotb.start_soon(self._run())

    def sample_counters(self, counters: dict[str, int]) -> None:
        """Cover the counters that are not 0."""
        for name, value in counters.items():
            if value:
                self._moved(name)

    def report(self, path: str | Path) -> float:
        """Write all as XML, print it to the log, and return the share that is covered, 0..100."""
        self._database.export_to_xml(str(path))
        self._database.report_coverage(self._dut._log.info, bins=False)
        return self._database[self._description.top].cover_percentage

    def _bins(self) -> list[str]:
        return [f"{name} {is_}" for name in self._description.outputs for is_ in ("0", "not 0")]

    async def _run(self) -> None:
        dut = self._dut
        while True:
            await RisingEdge(dut.clk)
            valid, ready = int(dut.outputs__valid.value), int(dut.outputs__ready.value)
            self._filters(int(dut.filters__valid.value), int(dut.filters__ready.value))
            self._outputs(valid, ready)
            if valid and ready:
                beat = int(dut.outputs__payload.value)
                for name, value in self._description.fields(beat).items():
                    self._beats(f"{name} not 0" if value else f"{name} 0")
