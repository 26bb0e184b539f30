"""A table that is written by beats of the bus and read by rows of another size."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component
from rtl.lib.ram import Ram
from rtl.lib.widths import bits_for_count

__all__ = ["TableRam"]


class TableRam(Component):
    """A table in memory's layout.

    Parameters
    ----------
    row_bytes, beat_bytes : int
        Powers of two.
    rows : int
    copies : int
        Read ports; the table is kept as many times.

    Members
    -------
    write : In(1), number : In(16), beat : In(8 * beat_bytes)
        Beat ``number`` of the table is written at the end of the cycle.
    address0.. : In, row0.. : Out(8 * row_bytes)
        A row, in the next cycle.
    """

    inline = True

    def __init__(self, row_bytes: int, beat_bytes: int, rows: int, copies: int = 1) -> None:
        self._row_bytes, self._beat_bytes, self._rows = row_bytes, beat_bytes, rows
        self._copies = copies
        ports = {}
        for copy in range(copies):
            ports[f"address{copy}"] = In(bits_for_count(rows))
            ports[f"row{copy}"] = Out(8 * row_bytes)
        super().__init__({"write": In(1), "number": In(16), "beat": In(8 * beat_bytes), **ports})

    def elaborate(self, platform) -> Module:
        m = Module()
        for copy in range(self._copies):
            address, row = getattr(self, f"address{copy}"), getattr(self, f"row{copy}")
            if self._beat_bytes >= self._row_bytes:
                self._read_part(m, copy, address, row)
            else:
                self._read_banks(m, copy, address, row)
        return m

    def _read_part(self, m: Module, copy: int, address, row) -> None:
        """Rows are parts of a beat."""
        parts = self._beat_bytes // self._row_bytes
        bits = (parts - 1).bit_length()
        m.submodules[f"beats{copy}"] = ram = Ram(8 * self._beat_bytes, -(-self._rows // parts))
        part = Signal(max(1, bits), name=f"part{copy}")
        m.d.sync += part.eq(address[:bits])
        m.d.comb += [
            ram.write_enable.eq(self.write),
            ram.write_address.eq(self.number),
            ram.write_data.eq(self.beat),
            ram.read_enable.eq(1),
            ram.read_address.eq(address[bits:]),
            row.eq(ram.read_data.word_select(part, 8 * self._row_bytes)),
        ]

    def _read_banks(self, m: Module, copy: int, address, row) -> None:
        """Beats are parts of a row."""
        banks = self._row_bytes // self._beat_bytes
        bits = (banks - 1).bit_length()
        parts = []
        for bank in range(banks):
            m.submodules[f"bank{copy}_{bank}"] = ram = Ram(8 * self._beat_bytes, self._rows)
            m.d.comb += [
                ram.write_enable.eq(self.write & (self.number[:bits] == bank)),
                ram.write_address.eq(self.number[bits:]),
                ram.write_data.eq(self.beat),
                ram.read_enable.eq(1),
                ram.read_address.eq(address),
            ]
            parts.append(ram.read_data)
        m.d.comb += row.eq(Cat(*parts))
