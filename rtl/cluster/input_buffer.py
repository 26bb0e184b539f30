"""Buffers and tables of a cluster that the load stream fills before a layer starts.

| target | words of a row |
|---|---|
| index | the mask, least significant first, then the pointer |
| values | ``broadcast_width`` values, four a word |
| requantisation | for each collector lane: bias; multiplier + 2**24 * shift |
| passes | held unit-slots, least significant first, then whether the pass is its group's last |
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import In

from rtl.cluster.core import buffer_signature
from rtl.cluster.layouts import LOAD_TARGETS, MAX_PASSES, Layouts
from rtl.lib.component import Component
from rtl.lib.load_stream import gather_rows
from rtl.lib.ram import Ram

__all__ = ["InputBuffer"]


class InputBuffer(Component):
    """Index and value buffers, pass table and requantisation table.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    words : In(stream of 32 bits; always ready)
        The load stream.
    target : In(2), address : In(32), begin : In(1)
        What is filled; its first row, taken at the pulse ``begin``.
    core : In(rtl.cluster.core.buffer_signature)
        What the core reads.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        self._entries = data.ArrayLayout(layouts.requantisation, config.collector_width)
        super().__init__(
            {
                "words": In(stream.Signature(32)),
                "target": In(2),
                "address": In(32),
                "begin": In(1),
                "core": In(buffer_signature(layouts)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, config, core = self._layouts, self._layouts.config, self.core
        words = layouts.row_words
        rows, address = gather_rows(
            m, self.words, self.target, self.address, self.begin, [words[n] for n in LOAD_TARGETS]
        )

        # Index: mask and pointer.
        gathered, pulse = rows[LOAD_TARGETS.index("index")]
        entry = data.StructLayout({"mask": config.chunk, "pointer": layouts.pointer_bits})
        m.submodules.index = ram = Ram(entry, config.input_buffer_chunks)
        m.d.comb += [
            ram.write_address.eq(address),
            ram.write_enable.eq(pulse),
            ram.write_data.mask.eq(gathered),
            ram.write_data.pointer.eq(gathered[32 * (words["index"] - 1) :]),
            ram.read_address.eq(core.index_address),
            ram.read_enable.eq(1),
            core.index_mask.eq(ram.read_data.mask),
            core.index_pointer.eq(ram.read_data.pointer),
        ]

        # Values: even and odd rows in two banks, so that any two adjacent rows are read at once.
        gathered, pulse = rows[LOAD_TARGETS.index("values")]
        width = config.broadcast_width
        wanted = core.value_pointer[width.bit_length() - 1 :]
        depth = -(-config.input_buffer_bytes // (2 * width))
        for odd, name in enumerate(("even", "odd")):
            m.submodules[name] = ram = Ram(data.ArrayLayout(8, width), depth)
            m.d.comb += [
                ram.write_address.eq(address >> 1),
                ram.write_enable.eq(pulse & (address[0] == odd)),
                ram.write_data.eq(gathered),
                ram.read_address.eq((wanted if odd else wanted + 1) >> 1),
                ram.read_enable.eq(1),
            ]
            for at in range(width):
                m.d.comb += core.value_rows[odd * width + at].eq(ram.read_data[at])

        gathered, pulse = rows[LOAD_TARGETS.index("requantisation")]
        m.submodules.requantisation = ram = Ram(self._entries, layouts.requantisation_rows)
        m.d.comb += [
            ram.write_address.eq(address),
            ram.write_enable.eq(pulse),
            ram.read_address.eq(core.entry_address),
            ram.read_enable.eq(1),
            core.entries.eq(ram.read_data),
        ]
        for lane in range(config.collector_width):
            m.d.comb += [
                ram.write_data[lane].bias.eq(gathered[64 * lane :]),
                ram.write_data[lane].multiplier.eq(gathered[64 * lane + 32 :]),
                ram.write_data[lane].shift.eq(gathered[64 * lane + 56 :]),
            ]

        gathered, pulse = rows[LOAD_TARGETS.index("passes")]
        for number in range(3):
            m.submodules[f"passes{number}"] = ram = Ram(layouts.pass_row, MAX_PASSES)
            m.d.comb += [
                ram.write_address.eq(address),
                ram.write_enable.eq(pulse),
                ram.write_data.held.eq(gathered),
                ram.write_data.last_of_group.eq(gathered[32 * (words["passes"] - 1)]),
                ram.read_enable.eq(1),
                ram.read_address.eq(getattr(core, f"pass_address{number}")),
                getattr(core, f"pass_row{number}").eq(ram.read_data),
            ]
        return m
