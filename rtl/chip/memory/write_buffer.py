"""The write buffer: pieces of the vector unit are packed into bursts, and sent when they are asked.

A piece may cross from one row to the next, so that rows lie in two banks whose bytes are written
one by one.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.memory.engine import write_layout
from rtl.chip.signatures import Layouts
from rtl.lib.component import Component

__all__ = ["WriteBuffer"]


class WriteBuffer(Component):
    """Write bursts in the order in which they are made.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    clear : In(1)
    pieces : In(stream of Layouts.piece), bursts : In(stream of Layouts.burst)
        From the vector unit; always ready. It knows how many places there are.
    made : Out(stream of write_layout)
        The oldest burst that has not been granted: from the cycle after ``bursts`` on.
    granted : In(1)
        The burst of ``made`` is granted; its data stand on the bus two cycles later at the
        earliest.
    wdata, wstrb, wlast, wvalid : Out, wready : In(1)
        The bus's write data.
    idle : Out(1)
        No data of a granted burst are left.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        layouts = Layouts(config)
        self._row = max(config.bus_bytes, 1 << (config.vector_lanes - 1).bit_length())  # bytes
        self._slots = max(2, 1 << (config.write_bursts - 1).bit_length())
        self._offset_bits = (config.burst_bytes - 1).bit_length()
        super().__init__(
            {
                "clear": In(1),
                "pieces": In(stream.Signature(layouts.piece)),
                "bursts": In(stream.Signature(layouts.burst)),
                "made": Out(stream.Signature(write_layout(config))),
                "granted": In(1),
                "wdata": Out(8 * config.bus_bytes),
                "wstrb": Out(config.bus_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        slots = range(self._slots)
        offsets_end, newest, oldest, sent = (
            Signal(slots, name=name) for name in ("offsets_end", "newest", "oldest", "sent")
        )
        offset_bits = self._offset_bits
        m.submodules.offsets = offsets = Memory(shape=offset_bits, depth=len(slots), init=[])
        layout = self.bursts.payload.shape()
        m.submodules.headers = headers = Memory(shape=layout, depth=len(slots), init=[])
        offset_in, header_in = offsets.write_port(), headers.write_port()
        offset_out, header_out = (x.read_port(domain="comb") for x in (offsets, headers))
        fresh = Signal(init=1)
        piece = self.pieces
        m.d.comb += [
            piece.ready.eq(1),
            self.bursts.ready.eq(1),
            offset_in.en.eq(piece.valid & fresh),
            offset_in.addr.eq(offsets_end),
            offset_in.data.eq(piece.payload.offset),
            header_in.en.eq(self.bursts.valid),
            header_in.addr.eq(newest),
            header_in.data.eq(self.bursts.payload),
            offset_out.addr.eq(oldest),
            header_out.addr.eq(oldest),
            self.made.payload.offset.eq(offset_out.data),
        ]
        known = Signal(range(self._slots + 1))  # made, not granted
        m.d.sync += known.eq(known + self.bursts.valid - self.granted)
        m.d.comb += self.made.valid.eq(known.any())
        header = data.View(layout, header_out.data)
        m.d.comb += [
            self.made.payload.bytes.eq(header.bytes),
            self.made.payload.step.eq(header.step),
            self.made.payload.last.eq(header.last),
        ]
        with m.If(piece.valid):
            m.d.sync += fresh.eq(piece.payload.last)
        ends = piece.valid & piece.payload.last
        m.d.sync += [
            offsets_end.eq(offsets_end + ends),
            newest.eq(newest + self.bursts.valid),
            oldest.eq(oldest + self.granted),
        ]
        banks = self._store(m, Cat(self._place(m, fresh), offsets_end))
        self._send(m, banks, (offsets, headers), oldest, sent)
        with m.If(self.clear):
            m.d.sync += [offsets_end.eq(0), newest.eq(0), oldest.eq(0), sent.eq(0), known.eq(0)]
            m.d.sync += fresh.eq(1)
        return m

    def _place(self, m: Module, fresh):
        """Return where in its burst's place a piece begins."""
        piece = self.pieces
        place, after = Signal(self._offset_bits), Signal(self._offset_bits)
        m.d.comb += place.eq(Mux(fresh, piece.payload.offset, after))
        with m.If(piece.valid):
            m.d.sync += after.eq(place + piece.payload.count)
        return place

    def _store(self, m: Module, place) -> list:
        """Write the bytes of a piece; return the banks' memories."""
        row, piece = self._row, self.pieces
        row_bits = row.bit_length() - 1
        depth = self._slots * self._config.burst_bytes // (2 * row)
        at = place[: row_bits + 1]
        enables = Signal(2 * row)
        mask = (1 << piece.payload.count) - 1
        m.d.comb += enables.eq(_rotate(mask, at, 2 * row, 1))
        octets = _rotate(piece.payload.data.as_value(), at, 2 * row, 8)
        banks = []
        for bank in range(2):
            name = f"bank{bank}"
            m.submodules[name] = memory = Memory(shape=8 * row, depth=depth, init=[])
            write = memory.write_port(granularity=8)
            index = (place[row_bits:] + (1 - bank))[1 : len(place) - row_bits]
            m.d.comb += [
                write.addr.eq(index),
                write.data.eq(octets[8 * row * bank : 8 * row * (bank + 1)]),
                write.en.eq(Mux(piece.valid, enables[row * bank : row * (bank + 1)], 0)),
            ]
            banks.append(memory)
        return banks

    def _send(self, m: Module, banks, headers, oldest, sent) -> None:
        """Read word after word of the bursts that are granted."""
        config, row = self._config, self._row
        bus_bits = config.bus_bytes.bit_length() - 1
        offsets, headers = (x.read_port(domain="comb") for x in headers)
        to_send = Signal(range(self._slots + 1))
        moves, begun = Signal(), Signal()
        end, word, last_word = (
            Signal(self._offset_bits),
            Signal(self._offset_bits - bus_bits),
            Signal(),
        )
        next_word = Signal.like(word)
        issues, finishes = Signal(), Signal()
        m.d.comb += [
            offsets.addr.eq(sent),
            headers.addr.eq(sent),
            end.eq(offsets.data + headers.data.bytes - 1),  # the last byte's place
            word.eq(Mux(begun, next_word, offsets.data[bus_bits:])),
            last_word.eq(word == end[bus_bits:]),
            moves.eq(~self.wvalid | self.wready),
            issues.eq(to_send.any() & moves),
            finishes.eq(issues & last_word),
            self.idle.eq(~to_send.any() & ~self.wvalid),
        ]
        m.d.sync += [to_send.eq(to_send + self.granted - finishes), sent.eq(sent + finishes)]
        with m.If(issues):
            m.d.sync += [begun.eq(~last_word), next_word.eq(word + 1)]
        place = Cat(word, sent)
        lane_bits = row.bit_length() - 1 - bus_bits
        lane, odd = Signal(max(1, lane_bits)), Signal()
        words = []
        for memory in banks:
            read = memory.read_port()
            m.d.comb += [read.addr.eq(place[lane_bits + 1 :]), read.en.eq(moves)]
            words.append(read.data)
        first = Mux(begun, 0, offsets.data[:bus_bits])
        count = Mux(last_word, end[:bus_bits], config.bus_bytes - 1)
        above = ((1 << config.bus_bytes) - 1 << first)[: config.bus_bytes]
        below = ((2 << count) - 1)[: config.bus_bytes]
        with m.If(moves):
            m.d.sync += [
                self.wvalid.eq(issues),
                self.wlast.eq(last_word),
                self.wstrb.eq(above & below),
                odd.eq(place[lane_bits]),
                lane.eq(place[:lane_bits] if lane_bits else 0),
            ]
        chosen = Mux(odd, words[1], words[0])
        m.d.comb += self.wdata.eq(chosen.word_select(lane, 8 * config.bus_bytes))
        with m.If(self.clear):
            m.d.sync += [to_send.eq(0), begun.eq(0)]


def _rotate(value, by, size: int, unit: int):
    """Return ``size`` units, a value in them from unit ``by`` on and over the end."""
    amount = Cat(Const(0, unit.bit_length() - 1), by)
    wide = (value << amount)[: 2 * size * unit]
    return wide[: size * unit] | wide[size * unit :]
