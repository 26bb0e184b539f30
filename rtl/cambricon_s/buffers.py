"""Buffers and tables of a core that the load stream fills before a layer starts.

| target | words of a row |
|---|---|
| neurons | ``window`` neurons, four a word |
| windows | the neuron under a kept window's first place, counted from the position's |
| blocks | kept windows - 1, then 2**16 * (filters - 1) + 2**31 * whether it is its group's last |
| requantisation | for each output of a beat: bias; multiplier + 2**24 * shift |
| codebook | the weight of a code |
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import LOAD_TARGETS, MAX_BLOCKS, MAX_KEPT_WINDOWS, CoreLayouts
from rtl.lib.component import Component
from rtl.lib.load_stream import gather_rows
from rtl.lib.ram import Ram
from rtl.lib.widths import bits_for_count

__all__ = ["CoreBuffers"]


class CoreBuffers(Component):
    """Neuron buffer, window, block and requantisation tables; the way to the codebooks.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    words : In(stream of 32 bits; always ready)
        The load stream.
    target : In(3), address : In(32), begin : In(1)
        What is filled; its first row, taken at the pulse ``begin``.
    neuron_address : In(ArrayLayout(row, 2)), neuron_enable : In(1), neuron_rows : Out
        Read ports of the even and the odd bank, data one cycle later, held while not enabled.
    window_address : In, window_offset : Out
        Read port of the window table, always enabled.
    block_address0..1 : In, block_row0..1 : Out(CoreLayouts.block)
        Two read ports of the block table (two copies), likewise.
    entry_address : In, entries : Out(CoreLayouts.entries)
        Read port of the requantisation table, likewise.
    codebook : Out(CoreLayouts.codebook)
        A write to every codebook.
    """

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        window = layouts.config.window
        ports = {}
        for port in range(2):
            ports[f"block_address{port}"] = In(layouts.block_bits)
            ports[f"block_row{port}"] = Out(layouts.block)
        super().__init__(
            {
                "words": In(stream.Signature(32)),
                "target": In(3),
                "address": In(32),
                "begin": In(1),
                "neuron_address": In(data.ArrayLayout(bits_for_count(layouts.bank_rows), 2)),
                "neuron_enable": In(1),
                "neuron_rows": Out(data.ArrayLayout(data.ArrayLayout(8, window), 2)),
                "window_address": In(layouts.window_bits),
                "window_offset": Out(layouts.address_bits),
                "entry_address": In(layouts.entry_bits),
                "entries": Out(layouts.entries),
                "codebook": Out(layouts.codebook),
                **ports,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self._layouts
        words = layouts.row_words
        gathered, address = gather_rows(
            m, self.words, self.target, self.address, self.begin, [words[n] for n in LOAD_TARGETS]
        )
        rows = dict(zip(LOAD_TARGETS, gathered, strict=True))

        def place(name: str, shape, depth: int, write_enable, write_address, read_address):
            m.submodules[name] = ram = Ram(shape, depth)
            m.d.comb += [
                ram.write_enable.eq(write_enable),
                ram.write_address.eq(write_address),
                ram.read_address.eq(read_address),
                ram.read_enable.eq(1),
            ]
            return ram

        row, pulse = rows["neurons"]
        bank = data.ArrayLayout(8, layouts.config.window)
        for odd, name in enumerate(("even", "odd")):
            ram = place(
                name, bank, layouts.bank_rows, pulse & (address[0] == odd), address >> 1,
                self.neuron_address[odd],
            )  # fmt: skip
            m.d.comb += [
                ram.write_data.eq(row),
                ram.read_enable.eq(self.neuron_enable),
                self.neuron_rows[odd].eq(ram.read_data),
            ]

        row, pulse = rows["windows"]
        ram = place(
            "windows", layouts.address_bits, MAX_KEPT_WINDOWS, pulse, address, self.window_address
        )
        m.d.comb += [ram.write_data.eq(row), self.window_offset.eq(ram.read_data)]

        row, pulse = rows["blocks"]
        for port in range(2):
            read_address = getattr(self, f"block_address{port}")
            ram = place(f"blocks{port}", layouts.block, MAX_BLOCKS, pulse, address, read_address)
            m.d.comb += [
                ram.write_data.windows_last.eq(row[:16]),
                ram.write_data.pes_last.eq(row[16:31]),
                ram.write_data.last_of_group.eq(row[31]),
                getattr(self, f"block_row{port}").eq(ram.read_data),
            ]

        row, pulse = rows["requantisation"]
        ram = place(
            "requantisation", layouts.entries, layouts.requantisation_rows, pulse, address,
            self.entry_address,
        )  # fmt: skip
        m.d.comb += self.entries.eq(ram.read_data)
        for lane in range(layouts.config.output_width):
            m.d.comb += [
                ram.write_data[lane].bias.eq(row[64 * lane :]),
                ram.write_data[lane].multiplier.eq(row[64 * lane + 32 :]),
                ram.write_data[lane].shift.eq(row[64 * lane + 56 :]),
            ]

        row, pulse = rows["codebook"]
        m.d.sync += [
            self.codebook.valid.eq(pulse),
            self.codebook.code.eq(address),
            self.codebook.weight.eq(row),
        ]
        return m
