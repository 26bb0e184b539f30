"""A FIFO of whole bursts: bus words in, a window of bytes at any place out.

A burst's place is kept before it is asked for, and a place holds the burst as it lies in memory,
modulo ``burst_bytes``. Rows lie in two banks, so that a window may cross from one to the next;
each cycle reads what the next cycle's window covers.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component
from rtl.lib.ram import Ram
from rtl.lib.widths import bits_for_count

__all__ = ["BurstFifo", "beat_layout"]


def beat_layout(config: ChipConfig) -> data.StructLayout:
    """Return a beat of the bus for a FIFO: ``data``; ``word``, its place in the burst's place."""
    words = config.burst_bytes // config.bus_bytes
    return data.StructLayout(
        {"data": 8 * config.bus_bytes, "word": bits_for_count(words), "last": 1}
    )


class BurstFifo(Component):
    """Bursts in the order in which they are asked for.

    Parameters
    ----------
    config : ChipConfig
    places : int
        Bursts that it holds.
    width : int
        Bytes of the window.
    tag : shape-like
        What goes with each burst.
    aligned : bool
        ``width`` bytes are taken each time, and every burst begins at a multiple of them.
    spans : bool
        The window goes on into the next burst where that follows in memory.

    Members
    -------
    clear : In(1)
        Nothing is in the FIFO from the next cycle on.
    room : Out(1)
        There is a place: one cycle after ``free``.
    take : In(1), offset : In, bytes : In, tag : In
        A place is taken by a burst at ``offset`` modulo ``burst_bytes``.
    beat : In(beat_layout), beat_valid : In(1)
        The oldest burst of which not all is there gets a beat.
    free : In
        So many places are free, of bursts that have been used.
    valid : Out(1), window : Out(ArrayLayout(8, width))
        The window's first byte is the oldest burst's next one, from ``FILL`` cycles after its last
        beat on.
    count : Out
        How many of the window's bytes belong to the burst (not where it ``spans``).
    fresh : Out(1), window_tag : Out
        Nothing of the burst has been taken; the burst's tag.
    taken : In
        Bytes that are taken in this cycle; 0 where ``valid`` is not.
    used : Out(2), arrived : Out(24)
        Bursts whose last byte is taken in this cycle; bytes of all bursts that are there, from
        the cycle after the last beat.
    """

    FILL = 2

    def __init__(
        self,
        config: ChipConfig,
        places: int,
        width: int,
        tag,
        *,
        aligned: bool = False,
        spans: bool = False,
    ) -> None:
        self._config, self._places, self._width, self._tag = config, places, width, tag
        self._aligned, self._spans = aligned, spans
        self._row = max(config.bus_bytes, 1 << (width - 1).bit_length())  # bytes
        self._slots = max(2, 1 << (places - 1).bit_length())
        offset, octets = (config.burst_bytes - 1).bit_length(), config.burst_bytes.bit_length()
        self._header = data.StructLayout({"offset": offset, "bytes": octets, "tag": tag})
        super().__init__(
            {
                "clear": In(1),
                "room": Out(1),
                "take": In(1),
                "offset": In(offset),
                "bytes": In(octets),
                "tag": In(tag),
                "beat": In(beat_layout(config)),
                "beat_valid": In(1),
                "free": In(range(places + 1)),
                "valid": Out(1),
                "window": Out(data.ArrayLayout(8, width)),
                "count": Out(range(width + 1)),
                "fresh": Out(1),
                "window_tag": Out(tag),
                "taken": In(range(width + 1)),
                "used": Out(2),
                "arrived": Out(24),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left = Signal(range(self._places + 1), init=self._places)
        m.d.sync += left.eq(left + self.free - self.take)
        m.d.comb += self.room.eq(left.any())
        newest, next_slot, filled = (Signal(range(self._slots), name=n) for n in
                                     ("newest", "next_slot", "filled"))  # fmt: skip
        m.submodules.headers = headers = Memory(shape=self._header, depth=self._slots, init=[])
        write, filling = headers.write_port(), headers.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.take),
            write.addr.eq(newest),
            write.data.offset.eq(self.offset),
            write.data.bytes.eq(self.bytes),
            write.data.tag.eq(self.tag),
            filling.addr.eq(filled),
        ]
        with m.If(self.take):
            m.d.sync += newest.eq(newest + 1)
        arrives = Signal()  # a burst's last beat
        m.d.comb += arrives.eq(self.beat_valid & self.beat.last)
        with m.If(arrives):
            m.d.sync += filled.eq(filled + 1)
            m.d.sync += self.arrived.eq(self.arrived + filling.data.bytes)
        address = self._walk(m, headers, next_slot, newest, arrives)
        self._store(m, filled, address)
        with m.If(self.clear):
            m.d.sync += [newest.eq(0), next_slot.eq(0), filled.eq(0), self.arrived.eq(0)]
            m.d.sync += left.eq(self._places)
        return m

    def _walk(self, m: Module, headers, next_slot, newest, arrives):
        """Go through the bursts; return this and the next cycle's byte of the memory."""
        burst = self._config.burst_bytes
        place, next_place = (Signal(range(self._slots * burst), name=n) for n in
                             ("place", "next_place"))  # fmt: skip
        left, tag = Signal(range(burst + 1)), Signal(self._tag)
        active, ends, late = Signal(), Signal(), Signal()
        there = Signal(range(self._slots + 1))
        slot, header, known = self._follow(m, headers, next_slot, newest)
        over = Signal(range(self._width + 1))  # bytes taken of the next burst
        m.d.comb += [
            self.valid.eq(active if self._spans else active & there.any()),
            self.window_tag.eq(tag),
            ends.eq(active & self.taken.any() & (self.taken >= left)),
            self.used.eq(ends),
            self.count.eq(Mux(left < self._width, left, self._width)),
            next_place.eq(place + self.taken),
        ]
        m.d.sync += [late.eq(arrives), there.eq(there + late - ends), place.eq(next_place)]
        with m.If(self.taken.any()):
            m.d.sync += [left.eq(left - self.taken), self.fresh.eq(0)]
        with m.If(ends):
            m.d.sync += active.eq(0)
            m.d.comb += over.eq(self.taken - left)
        goes_on = over.any() if self._spans else Const(0)
        with m.If((ends | ~active) & known):
            m.d.sync += [active.eq(1), tag.eq(header.tag), self.fresh.eq(1)]
            m.d.sync += [left.eq(header.bytes - over), next_slot.eq(slot + 1)]
            with m.If(~goes_on):
                m.d.comb += next_place.eq(Cat(header.offset, slot))
        if self._spans:
            self._skip(m, headers, next_slot, newest, over, (active, left, next_place))
        with m.If(self.clear):
            m.d.sync += [active.eq(0), there.eq(0), late.eq(0)]
        return place, next_place

    def _follow(self, m: Module, headers, slot, newest):
        """Return a slot, its header, and whether it has been taken."""
        read = headers.read_port(domain="comb")
        m.d.comb += read.addr.eq(slot)
        return slot, read.data, slot != newest

    def _skip(self, m: Module, headers, next_slot, newest, over, state) -> None:
        """Where the next burst is used up too, go to the one behind it."""
        active, left, next_place = state
        _, following, _ = self._follow(m, headers, next_slot, newest)
        slot, header, known = self._follow(m, headers, (next_slot + 1)[: len(next_slot)], newest)
        with m.If(over.any() & (over == following.bytes)):
            m.d.comb += self.used.eq(2)
            m.d.sync += [active.eq(known), left.eq(header.bytes)]
            m.d.comb += next_place.eq(Cat(header.offset, slot))
            with m.If(known):
                m.d.sync += next_slot.eq(slot + 1)

    def _store(self, m: Module, filled, address) -> None:
        """The memory: two banks of rows, one where nothing crosses; a RAM for each bus word."""
        bus, row = self._config.bus_bytes, self._row
        banks, lanes = 1 if self._aligned else 2, row // bus
        total = self._slots * self._config.burst_bytes // row
        row_bits, bank_bits, lane_bits = (n.bit_length() - 1 for n in (row, banks, lanes))
        place, next_place = address
        where = Cat(self.beat.word, filled)  # in bus words
        read: list[list[Signal]] = []
        for bank in range(banks):
            index = next_place[row_bits:]
            if banks == 2:
                index = (index + (1 - bank))[1 : len(index)]
            read.append([])
            for lane in range(lanes):
                m.submodules[f"bank{bank}_{lane}"] = ram = Ram(8 * bus, total // banks)
                mine = where[:lane_bits] == lane if lane_bits else 1
                if bank_bits:
                    mine = mine & (where[lane_bits] == bank)
                m.d.comb += [
                    ram.write_enable.eq(self.beat_valid & mine),
                    ram.write_address.eq(where[lane_bits + bank_bits :]),
                    ram.write_data.eq(self.beat.data),
                    ram.read_enable.eq(1),
                    ram.read_address.eq(index),
                ]
                read[bank].append(ram.read_data)
        rows = [Cat(*words) for words in read]
        if self._aligned:
            at = place[(self._width - 1).bit_length() : row_bits]
            window = rows[0].word_select(at, 8 * self._width) if len(at) else rows[0]
        else:
            odd = place[row_bits]
            pair = Signal(unsigned(16 * row))
            m.d.comb += pair.eq(Mux(odd, Cat(rows[1], rows[0]), Cat(rows[0], rows[1])))
            window = pair.bit_select(place[:row_bits] << 3, 8 * self._width)
        m.d.comb += self.window.as_value().eq(window)
