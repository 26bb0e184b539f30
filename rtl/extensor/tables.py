"""The tables that are written before a program starts: items, and how channels are requantised."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import LOAD_TARGETS, MAX_ITEMS, Layouts
from rtl.lib.component import Component
from rtl.lib.load_stream import gather_rows
from rtl.lib.ram import Ram
from rtl.lib.widths import MAX_OUTPUTS, REQUANTISATION, bits_for_count

__all__ = ["ITEM_WORDS", "Tables"]

#: Place of the item table's fields in the two words of a row: first bit.
ITEM_WORDS = {"rows_last": 0, "columns_last": 8, "channel": 32, "final": 63}


class Tables(Component):
    """Item table and requantisation table.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    words : In(stream of 32 bits; always ready)
        The load stream: two words a row.
    target : In(1), address : In(32), begin : In(1)
        What is filled; its first row, taken at the pulse ``begin``.
    item_address : In, item : Out(Layouts.item)
        Read port of the item table, data one cycle later.
    entry_address, entry_enable : In, entry : Out(REQUANTISATION)
        Read port of the requantisation table, likewise, held while not enabled.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "words": In(stream.Signature(32)),
                "target": In(1),
                "address": In(32),
                "begin": In(1),
                "item_address": In(bits_for_count(MAX_ITEMS)),
                "item": Out(layouts.item),
                "entry_address": In(layouts.channel_bits),
                "entry_enable": In(1),
                "entry": Out(REQUANTISATION),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        rows, address = gather_rows(
            m, self.words, self.target, self.address, self.begin, [2] * len(LOAD_TARGETS)
        )
        m.submodules.items = items = Ram(self._layouts.item, MAX_ITEMS)
        m.submodules.entries = entries = Ram(REQUANTISATION, MAX_OUTPUTS)
        for name, ram in (("requantisation", entries), ("items", items)):
            m.d.comb += [
                ram.write_enable.eq(rows[LOAD_TARGETS.index(name)][1]),
                ram.write_address.eq(address),
            ]
        row = rows[LOAD_TARGETS.index("items")][0]
        m.d.comb += [items.write_data[name].eq(row[first:]) for name, first in ITEM_WORDS.items()]
        m.d.comb += [
            entries.write_data.eq(rows[LOAD_TARGETS.index("requantisation")][0]),
            items.read_address.eq(self.item_address),
            items.read_enable.eq(1),
            self.item.eq(items.read_data),
            entries.read_address.eq(self.entry_address),
            entries.read_enable.eq(self.entry_enable),
            self.entry.eq(entries.read_data),
        ]
        return m
