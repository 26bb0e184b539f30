"""The chip's AXI4-Lite slave: a host's way to start it, and to see how it ended."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.chip.formats import VERSION
from rtl.chip.registers import IDENTITY, TRAFFIC, Control, Status, register_map
from rtl.lib.component import Component
from rtl.lib.registers import CONTROL, STATUS

__all__ = ["Csr", "axi_lite_signature"]


def axi_lite_signature() -> wiring.Signature:
    """Return AXI4-Lite as the host, its master, sees it: 32 bits of data, 12 of address."""
    return wiring.Signature(
        {
            "awaddr": Out(12), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(12), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        }
    )  # fmt: skip


class Csr(Component):
    """Registers of ``rtl.chip.registers``.

    Parameters
    ----------
    counters : dict of str to str
        Of the compute side: name and meaning.
    configuration : int
        The chip's ``ChipConfig.digest``.

    Members
    -------
    bus : In(axi_lite_signature)
        A register is written whole, whatever the strobes; addresses without a register read 0.
    interrupt : Out(1)
    start, stop : Out(1)
        Pulse, only while not ``running``; until the network has ended.
    list_address : Out(32), list_entries : Out(24)
    running, ended : In(1), code : In(8), entry : In(24)
        Of the memory side.
    kind : Out(4), bytes : In(32), bursts : In(32)
        The memory side's counts of a kind, a cycle later.
    counters : In(ArrayLayout(32, ...))
    """

    def __init__(self, counters: dict[str, str], configuration: int) -> None:
        self._configuration = configuration
        self._map, self._names = register_map(counters), list(counters)
        super().__init__(
            {
                "bus": In(axi_lite_signature()),
                "interrupt": Out(1),
                "start": Out(1),
                "stop": Out(1),
                "list_address": Out(32),
                "list_entries": Out(24),
                "running": In(1),
                "ended": In(1),
                "code": In(8),
                "entry": In(24),
                "kind": Out(4),
                "bytes": In(32),
                "bursts": In(32),
                "counters": In(data.ArrayLayout(32, len(counters))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        write, address, word = self._take_writes(m)
        addresses = self._map.addresses
        control = write & (address == CONTROL)
        enabled, done, raised, refused = Signal(), Signal(), Signal(), Signal()
        cycles = Signal(32)
        written = {
            "list_address": self.list_address,
            "list_entries": self.list_entries,
            "interrupt_enable": enabled,
        }
        for name, register in written.items():
            with m.If(write & (address == addresses[name])):
                m.d.sync += register.eq(word)
        starts = control & (word & Control.START).any()
        busy = self.running | self.start
        m.d.sync += self.start.eq(starts & ~busy)
        with m.If(starts):
            m.d.sync += refused.eq(busy)
        with m.If(control & (word & Control.STOP).any() & busy):
            m.d.sync += self.stop.eq(1)
        with m.If(control & (word & Control.CLEAR).any()):
            m.d.sync += raised.eq(0)
        with m.If(self.running):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(self.start):
            m.d.sync += [cycles.eq(1), done.eq(0), raised.eq(0)]
        with m.If(self.ended):
            m.d.sync += [done.eq(1), raised.eq(1), self.stop.eq(0)]
        m.d.comb += self.interrupt.eq(raised & enabled)
        status = Cat(busy, done, raised, refused)
        values = {
            "identity": IDENTITY, "version": VERSION, "configuration": self._configuration,
            "error_entry": self.entry, "cycles": cycles,
            **dict(zip(self._names, self.counters, strict=True)),
        }  # fmt: skip
        self._give_reads(m, status, written, values)
        return m

    def _take_writes(self, m: Module):
        """Take address and data in either order; return when, where, and what."""
        bus = self.bus
        address, word = Signal(10), Signal(32)
        has_address, has_word, write = Signal(), Signal(), Signal()
        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_word),
            write.eq(has_address & has_word & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_word.eq(1), word.eq(bus.wdata)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_word.eq(0), bus.bvalid.eq(1)]
        return write, address, word

    def _give_reads(self, m: Module, status, written, values) -> None:
        """Read in steps, so that the choice among many registers is near nothing else."""
        bus, addresses = self.bus, self._map.addresses
        address, step = Signal(10), Signal(range(5))
        value, traffic, bursts, is_traffic = Signal(32), Signal(32), Signal(), Signal()
        m.d.comb += bus.arready.eq((step == 0) & ~bus.rvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [address.eq(bus.araddr[2:]), step.eq(1)]
        with m.Elif(step == 4):
            m.d.sync += step.eq(0)
        with m.Elif(step != 0):
            m.d.sync += step.eq(step + 1)
        with m.Switch(address):
            with m.Case(STATUS):
                m.d.sync += value.eq(status | self.code << Status.CODE)
            for name, register in (written | values).items():
                with m.Case(addresses[name]):
                    m.d.sync += value.eq(register)
            with m.Default():
                m.d.sync += value.eq(0)
        m.d.sync += is_traffic.eq(0)
        with m.Switch(address):
            for name, (kind, of_bursts) in TRAFFIC.items():
                with m.Case(addresses[name]):
                    m.d.sync += [self.kind.eq(kind), bursts.eq(of_bursts), is_traffic.eq(1)]
        m.d.sync += traffic.eq(self.bytes)
        with m.If(bursts):
            m.d.sync += traffic.eq(self.bursts)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(step == 4):
            m.d.sync += bus.rvalid.eq(1)
            m.d.sync += bus.rdata.eq(value)
            with m.If(is_traffic):
                m.d.sync += bus.rdata.eq(traffic)
