"""Read data: each beat goes where its burst was asked for."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.memory.burst_fifo import beat_layout
from rtl.chip.memory.engine import granted_layout
from rtl.chip.signatures import Kind, Layouts
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["ReadRouter"]


class ReadRouter(Component):
    """Keeps for each read burst under way what its beats are.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    clear : In(1)
    granted : In(1), burst : In(granted_layout)
        Of which reads are kept.
    rdata, rresp, rlast, rvalid : In
        The bus's read data, always taken.
    beat : Out(beat_layout)
        The beat of this cycle.
    list_valid, filters_valid, rows_valid, residual_valid : Out(1)
        Whose it is.
    control : Out(stream of Layouts.control)
        Descriptors, tables and records, a cycle later.
    answered : Out(1)
        A burst's last beat.
    error : Out(1), number : Out(24)
        The beat came with an error; its entry.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "clear": In(1),
                "granted": In(1),
                "burst": In(granted_layout(config)),
                "rdata": In(8 * config.bus_bytes),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "beat": Out(beat_layout(config)),
                "list_valid": Out(1),
                "filters_valid": Out(1),
                "rows_valid": Out(1),
                "residual_valid": Out(1),
                "control": Out(stream.Signature(Layouts(config).control)),
                "answered": Out(1),
                "error": Out(1),
                "number": Out(24),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self._config
        bus_bits, offset_bits = (
            config.bus_bytes.bit_length() - 1,
            config.burst_bytes.bit_length() - 1,
        )
        words = config.burst_bytes // config.bus_bytes
        kept = data.StructLayout(
            {"kind": 4, "word": bits_for_count(words), "lane": bus_bits, "last": 1, "number": 24}
        )
        depth = max(2, 1 << (config.outstanding - 1).bit_length())
        m.submodules.bursts = bursts = Memory(shape=kept, depth=depth, init=[])
        write, read = bursts.write_port(), bursts.read_port(domain="comb")
        newest, oldest = Signal(range(depth)), Signal(range(depth))
        m.d.comb += [
            write.en.eq(self.granted & (self.burst.kind != Kind.WRITE.value)),
            write.addr.eq(newest),
            write.data.kind.eq(self.burst.kind),
            write.data.word.eq(self.burst.address[bus_bits:offset_bits]),
            write.data.lane.eq(self.burst.address[:bus_bits]),
            write.data.last.eq(self.burst.last),
            write.data.number.eq(self.burst.number),
            read.addr.eq(oldest),
        ]
        m.d.sync += [newest.eq(newest + write.en), oldest.eq(oldest + self.answered)]
        begun, word = Signal(), Signal.like(self.beat.word)
        head = read.data
        m.d.comb += [
            self.beat.data.eq(self.rdata),
            self.beat.word.eq(Mux(begun, word, head.word)),
            self.beat.last.eq(self.rlast),
            self.answered.eq(self.rvalid & self.rlast),
            self.error.eq(self.rvalid & self.rresp[1]),
            self.number.eq(head.number),
        ]
        with m.If(self.rvalid):
            m.d.sync += [begun.eq(~self.rlast), word.eq(self.beat.word + 1)]
        for name, kinds in (
            ("list", [Kind.LIST]),
            ("filters", [Kind.FILTERS]),
            ("rows", [Kind.ROWS, Kind.OPERAND]),
            ("residual", [Kind.RESIDUAL]),
        ):
            mine = sum((head.kind == kind.value for kind in kinds), start=0)
            m.d.comb += getattr(self, f"{name}_valid").eq(self.rvalid & (mine != 0))
        self._pass_control(m, head)
        with m.If(self.clear):
            m.d.sync += [newest.eq(0), oldest.eq(0), begun.eq(0)]
        return m

    def _pass_control(self, m: Module, head) -> None:
        """Give descriptors, tables and records on, with the number of their words."""
        words = self._config.bus_bytes // 4
        word, control = Signal(16), self.control.payload
        is_control = Signal()
        m.d.comb += is_control.eq(
            (head.kind >= Kind.DESCRIPTOR.value) & (head.kind <= Kind.TILE.value)
        )
        ends = self.rlast & head.last
        m.d.sync += self.control.valid.eq(self.rvalid & is_control)
        with m.If(self.rvalid & is_control):
            m.d.sync += [
                word.eq(Mux(ends, 0, word + words)),
                control.kind.eq(head.kind),
                control.word.eq(word),
                control.last.eq(ends),
                control.data.as_value().eq(self.rdata),
            ]
            if self._config.bus_bytes > 32:  # a record may begin in the middle of a beat
                with m.If(head.lane[5]):
                    m.d.sync += control.data.as_value().eq(self.rdata >> 256)
        with m.If(self.clear):
            m.d.sync += word.eq(0)
