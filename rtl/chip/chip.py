"""The chip: memory side, compute side, and the registers through which a host starts it."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.core import Core
from rtl.chip.csr import Csr, axi_lite_signature
from rtl.chip.memory.memory_side import MemorySide
from rtl.chip.signatures import axi_signature
from rtl.lib.component import Component

__all__ = ["Chip"]


class Chip(Component):
    """Runs a whole network from memory after one start.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    axi : Out(axi_signature)
        The memory.
    host : In(axi_lite_signature)
        Registers of ``rtl.chip.registers``.
    interrupt : Out(1)
        A network has ended; until it is cleared.
    begins : Out(1)
        Cycle 0 of a network, for a memory that begins anew with it.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "axi": Out(axi_signature(config)),
                "host": In(axi_lite_signature()),
                "interrupt": Out(1),
                "begins": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.core = core = Core(self._config)
        m.submodules.memory = memory = MemorySide(self._config)
        m.submodules.csr = csr = Csr(Core.COUNTERS, self._config.digest)
        wiring.connect(m, memory.core, core.memory)
        wiring.connect(m, wiring.flipped(self.axi), memory.axi)
        wiring.connect(m, wiring.flipped(self.host), csr.bus)
        m.d.comb += [
            self.interrupt.eq(csr.interrupt),
            self.begins.eq(csr.start),
            csr.counters.eq(core.counters),
        ]
        for name in ("start", "stop", "list_address", "list_entries", "kind"):
            m.d.comb += getattr(memory, name).eq(getattr(csr, name))
        for name in ("running", "ended", "code", "entry", "bytes", "bursts"):
            m.d.comb += getattr(csr, name).eq(getattr(memory, name))
        return m
