"""The transfer list: read a block ahead, and given out entry by entry.

The reads of its blocks are entries themselves: of blocks 0 and 1 first, of block b + 2 after the
last entry of block b.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from golden.chip.formats import ENTRY_BYTES
from rtl.chip.memory.burst_fifo import beat_layout
from rtl.chip.signatures import Kind
from rtl.lib.component import Component

__all__ = ["ENTRY", "ListReader"]

#: An entry: ``docs/chip.md``, *The transfer list*; ``number`` counts those before it.
ENTRY = data.StructLayout(
    {
        "address": 32, "kind": 4, "last": 1, "length": 24, "tiles": 16, "writes": 16, "gap": 16,
        "number": 24,
    }
)  # fmt: skip
#: An entry's bits in memory.
_WORDS = data.StructLayout(
    {
        "address": 32, "kind": 4, "last": 1, "unused": 3, "length": 24, "tiles": 16, "writes": 16,
        "gap": 16, "rest": 16,
    }
)  # fmt: skip


#: In place of a kind that is none.
NO_KIND = 15


class ListReader(Component):
    """Two blocks of the list, and the entry that comes next.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    start : In(1), address : In(32), length : In(24)
        The list's first byte and its entries, from the cycle after ``start`` on.
    beat : In(beat_layout), beat_valid : In(1)
        A beat of the oldest block that has been asked for.
    entries : Out(stream of ENTRY)
        An entry may be taken in the cycle of its block's last beat.
    exhausted : Out(1)
        All entries have been taken.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "address": In(32),
                "length": In(24),
                "beat": In(beat_layout(config)),
                "beat_valid": In(1),
                "entries": Out(stream.Signature(ENTRY)),
                "exhausted": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        per_block = self._config.burst_bytes // ENTRY_BYTES
        left, number = Signal(24), Signal(24)  # entries to be given out; those that were
        to_fetch, due = Signal(24), Signal(2)  # entries not asked for; blocks that have room
        fetch_address = Signal(32)
        # Blocks are of two halves of the memory in turn.
        head, half, filling = Signal(range(per_block)), Signal(), Signal()
        there = Signal(2)
        fetches, takes = Signal(), Signal()
        size = Signal(range(per_block + 1))
        entry = self.entries.payload
        arrives = self.beat_valid & self.beat.last
        m.d.comb += [
            fetches.eq(due.any() & to_fetch.any()),
            size.eq(Mux(to_fetch < per_block, to_fetch, per_block)),
            self.exhausted.eq(~left.any()),
            takes.eq(self.entries.valid & self.entries.ready & ~fetches),
            entry.number.eq(number),
        ]
        found = self._read(m, filling, Cat(head, half))
        with m.If(fetches):
            m.d.comb += [
                self.entries.valid.eq(1),
                entry.kind.eq(Kind.LIST),
                entry.address.eq(fetch_address),
                entry.length.eq(size << 4),
            ]
        with m.Else():
            now = arrives & (filling == half)
            m.d.comb += self.entries.valid.eq(left.any() & (there.bit_select(half, 1) | now))
            for name in ("address", "last", "length", "tiles", "writes", "gap"):
                m.d.comb += entry[name].eq(found[name])
            # Reads of the list stand in no list.
            m.d.comb += entry.kind.eq(Mux(found.kind == Kind.LIST.value, NO_KIND, found.kind))
        with m.If(arrives):
            m.d.sync += [filling.eq(~filling), there.bit_select(filling, 1).eq(1)]
        with m.If(self.entries.valid & self.entries.ready & fetches):
            m.d.sync += [to_fetch.eq(to_fetch - size), due.eq(due - 1)]
            m.d.sync += fetch_address.eq(fetch_address + self._config.burst_bytes)
        with m.If(takes):
            m.d.sync += [head.eq(head + 1), left.eq(left - 1), number.eq(number + 1)]
            with m.If((head == per_block - 1) | (left == 1)):
                m.d.sync += [head.eq(0), half.eq(~half), due.eq(due + 1)]
                m.d.sync += there.bit_select(half, 1).eq(0)
        with m.If(self.start):
            m.d.sync += [
                left.eq(self.length), to_fetch.eq(self.length), fetch_address.eq(self.address),
                due.eq(2), number.eq(0), head.eq(0), half.eq(0), filling.eq(0), there.eq(0),
            ]  # fmt: skip
        return m

    def _read(self, m: Module, filling, place) -> data.View:
        """Return the entry at a place, with what arrives of it in this cycle."""
        bus = self._config.bus_bytes
        row = max(bus, ENTRY_BYTES)
        lanes, per_row = row // bus, row // ENTRY_BYTES
        lane_bits, entry_bits = lanes.bit_length() - 1, per_row.bit_length() - 1
        where = Cat(self.beat.word, filling)
        depth = 2 * self._config.burst_bytes // row
        words = []
        for lane in range(lanes):
            m.submodules[f"lane{lane}"] = memory = Memory(shape=8 * bus, depth=depth, init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            mine = where[:lane_bits] == lane if lane_bits else 1
            m.d.comb += [
                write.en.eq(self.beat_valid & mine),
                write.addr.eq(where[lane_bits:]),
                write.data.eq(self.beat.data),
                read.addr.eq(place[entry_bits:]),
            ]
            passes = write.en & (write.addr == read.addr)
            words.append(Mux(passes, write.data, read.data))
        bits = Cat(*words)
        if per_row > 1:
            bits = bits.word_select(place[:entry_bits], 8 * ENTRY_BYTES)
        found = Signal(_WORDS)
        m.d.comb += found.as_value().eq(bits)
        return found
