"""A chip that only moves bytes: what a SoC needs of one, and small enough for every test run."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.control.partition import COUNTERS
from rtl.chip.csr import Csr, axi_lite_signature
from rtl.chip.signatures import axi_signature
from rtl.lib.component import Component

__all__ = ["StubChip"]


class StubChip(Component):
    """Copies the first burst of its list to the second one's place, and counts what it waits.

    Members
    -------
    As ``rtl.chip.chip.Chip``. ``compute_cycles`` reads the cycles from the read's request to its
    last beat, ``write_cycles`` those to the response.
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
        config, axi = self._config, self.axi
        m.submodules.csr = csr = Csr(COUNTERS, config.digest)
        wiring.connect(m, wiring.flipped(self.host), csr.bus)
        beats = config.burst_bytes // config.bus_bytes
        beat, held = Signal(range(beats)), Signal(8 * config.bus_bytes * beats)
        counts = dict.fromkeys(COUNTERS, 0)
        waits, answers, left = Signal(32), Signal(32), Signal(range(4), init=3)
        counts |= {"compute_cycles": waits, "write_cycles": answers}
        m.d.comb += [
            self.interrupt.eq(csr.interrupt),
            self.begins.eq(csr.start),
            axi.araddr.eq(csr.list_address),
            axi.awaddr.eq(csr.list_address + config.burst_bytes),
            axi.rready.eq(1),
            axi.bready.eq(1),
            axi.wdata.eq(held),
            axi.wstrb.eq(-1),
            axi.wlast.eq(beat == beats - 1),
        ]
        for channel in ("ar", "aw"):
            m.d.comb += [
                getattr(axi, f"{channel}len").eq(beats - 1),
                getattr(axi, f"{channel}size").eq((config.bus_bytes - 1).bit_length()),
                getattr(axi, f"{channel}burst").eq(1),
                getattr(axi, f"{channel}user").eq(config.burst_bytes - 1),
            ]
        m.d.comb += [value.eq(counts[name]) for name, value in
                     zip(COUNTERS, csr.counters, strict=True)]  # fmt: skip
        with m.FSM():
            with m.State("IDLE"), m.If(csr.start):
                m.d.sync += [left.eq(2), waits.eq(0), answers.eq(0), beat.eq(0)]
                m.next = "START"  # cycle 1 comes; the request stands in cycle 4
            with m.State("START"):
                m.d.comb += csr.running.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [csr.running.eq(1), axi.arvalid.eq(1)]
                with m.If(axi.arready):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += csr.running.eq(1)
                m.d.sync += waits.eq(waits + 1)
                with m.If(axi.rvalid):
                    m.d.sync += held.eq(axi.rdata << 8 * config.bus_bytes * (beats - 1)
                                        | held >> 8 * config.bus_bytes)  # fmt: skip
                    with m.If(axi.rlast):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [csr.running.eq(1), axi.awvalid.eq(1)]
                with m.If(axi.awready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += [csr.running.eq(1), axi.wvalid.eq(1)]
                m.d.sync += answers.eq(answers + 1)
                with m.If(axi.wready):
                    m.d.sync += [beat.eq(beat + 1), held.eq(held >> 8 * config.bus_bytes)]
                    with m.If(axi.wlast):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += csr.running.eq(1)
                m.d.sync += answers.eq(answers + 1)
                with m.If(axi.bvalid):
                    m.d.comb += csr.ended.eq(1)
                    m.next = "IDLE"
        return m
