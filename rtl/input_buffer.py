"""Buffers and tables of a cluster that the load stream fills before a layer starts.

Words of 32 bits are gathered into a row; a full row is written, and the address goes on.

| target | words of a row |
|---|---|
| index | the mask, least significant first, then the pointer |
| values | ``broadcast_width`` values, four a word |
| requantisation | for each collector lane: bias; multiplier + 2**24 * shift |
| passes | held unit-slots, least significant first, then whether the pass is its group's last |
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.layouts import MAX_PASSES, Layouts, bits_for_count
from rtl.ram import Ram
from rtl.registers import LOAD_TARGETS

__all__ = ["InputBuffer", "gather_rows", "row_words"]


def row_words(layouts: Layouts) -> dict[str, int]:
    """Return the 32-bit words of a row of each load target."""
    config = layouts.config
    return {
        "index": -(-config.chunk // 32) + 1,
        "values": -(-config.broadcast_width // 4),
        "requantisation": 2 * config.collector_width,
        "passes": -(-layouts.held_bits // 32) + 1,
    }


def gather_rows(m: Module, stream_in, target, first, begin, words: list[int]):
    """Gather the words of a load stream into rows.

    Parameters
    ----------
    stream_in : stream of 32 bits
        It is always ready.
    target, first, begin
        What is filled; its first row, taken at the pulse ``begin``.
    words : list of int
        Words of a row of each target.

    Returns
    -------
    (list of (row, write pulse) by target, address of the row)
    """
    longest = max(words)
    row = Signal(32 * longest)  # the newest word is the highest
    count, last = (Signal(range(longest + 1)) for _ in range(2))
    address, write = Signal(32), Signal()
    m.d.comb += stream_in.ready.eq(1)
    m.d.comb += last.eq(Array(number - 1 for number in words)[target])
    m.d.sync += write.eq(stream_in.valid & (count == last))
    with m.If(stream_in.valid):
        m.d.sync += [row.eq(Cat(row, stream_in.payload)[32:]), count.eq(count + 1)]
        with m.If(count == last):
            m.d.sync += count.eq(0)
    with m.If(write):
        m.d.sync += address.eq(address + 1)
    with m.If(begin):
        m.d.sync += [count.eq(0), address.eq(first)]
    rows = []
    for number, size in enumerate(words):
        pulse = Signal(name=f"write_target{number}")
        m.d.comb += pulse.eq(write & (target == number))
        rows.append((row[32 * (longest - size) :], pulse))
    return rows, address


class InputBuffer(wiring.Component):
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
    index_address : In, index_mask, index_pointer : Out
        Read port of the index buffer, data one cycle later.
    value_pointer : In, value_rows : Out
        Read port of the value buffer: the aligned even and odd row around the pointer, likewise.
    pass_address0..2 : In, pass_row0..2 : Out
        Three read ports of the pass table (three copies), likewise.
    entry_address : In, entries : Out
        Read port of the requantisation table, likewise.
    """

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        config = layouts.config
        ports = {}
        for port in range(3):
            ports[f"pass_address{port}"] = In(bits_for_count(MAX_PASSES))
            ports[f"pass_row{port}"] = Out(layouts.pass_row)
        self._entries = data.ArrayLayout(layouts.requantisation, config.collector_width)
        super().__init__(
            {
                "words": In(stream.Signature(32)),
                "target": In(2),
                "address": In(32),
                "begin": In(1),
                "index_address": In(layouts.input_bits),
                "index_mask": Out(config.chunk),
                "index_pointer": Out(layouts.pointer_bits),
                "value_pointer": In(layouts.pointer_bits),
                "value_rows": Out(data.ArrayLayout(8, 2 * config.broadcast_width)),
                "entry_address": In(bits_for_count(layouts.requantisation_rows)),
                "entries": Out(self._entries),
                **ports,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, config = self._layouts, self._layouts.config
        words = row_words(layouts)
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
            ram.read_address.eq(self.index_address),
            ram.read_enable.eq(1),
            self.index_mask.eq(ram.read_data.mask),
            self.index_pointer.eq(ram.read_data.pointer),
        ]

        # Values: even and odd rows in two banks, so that any two adjacent rows are read at once.
        gathered, pulse = rows[LOAD_TARGETS.index("values")]
        width = config.broadcast_width
        wanted = self.value_pointer[width.bit_length() - 1 :]
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
                m.d.comb += self.value_rows[odd * width + at].eq(ram.read_data[at])

        gathered, pulse = rows[LOAD_TARGETS.index("requantisation")]
        m.submodules.requantisation = ram = Ram(self._entries, layouts.requantisation_rows)
        m.d.comb += [
            ram.write_address.eq(address),
            ram.write_enable.eq(pulse),
            ram.read_address.eq(self.entry_address),
            ram.read_enable.eq(1),
            self.entries.eq(ram.read_data),
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
                ram.read_address.eq(getattr(self, f"pass_address{number}")),
                getattr(self, f"pass_row{number}").eq(ram.read_data),
            ]
        return m
