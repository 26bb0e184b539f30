"""A cluster's assembly buffer: two halves, each a memory for every byte of a row."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from rtl.chip.control.payloads import Payloads
from rtl.lib.component import Component
from rtl.lib.ram import DualRam
from rtl.lib.widths import bits_for_count

__all__ = ["Assembly"]


class Assembly(Component):
    """Half t mod 2 is tile t's: it is filled, by codes or an operand, and then read.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    codes : In(Payloads.codes)
        Bytes from the collector: a byte for each of its lanes.
    operand : In(Payloads.half_write), mine : In(1)
        Bytes from the parser, where they are for this cluster.
    rows : In(ArrayLayout(.., half_lanes)), half : In(1), octets : Out(ArrayLayout(8, half_lanes))
        A byte of every lane is read in the next cycle; of a half that nobody fills.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        lanes = payloads.half_lanes
        super().__init__(
            {
                "codes": In(payloads.codes),
                "operand": In(payloads.half_write),
                "mine": In(1),
                "rows": In(data.ArrayLayout(bits_for_count(payloads.half_rows), lanes)),
                "half": In(1),
                "octets": Out(data.ArrayLayout(8, lanes)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        codes, operand, lanes = self.codes, self.operand, self._payloads.half_lanes
        bits = (lanes - 1).bit_length()
        width = len(codes.valid)
        shown = Signal()
        m.d.sync += shown.eq(self.half)
        for lane in range(lanes):
            halves = []
            for half in range(2):
                m.submodules[f"half{half}_{lane}"] = ram = DualRam(8, self._payloads.half_rows)
                halves.append(ram.read_data)
                hits = [
                    codes.valid[at] & (codes.half == half) & (codes.address[at][:bits] == lane)
                    for at in range(width)
                ]
                fills = self.mine & operand.enable[lane] & (operand.half == half)
                m.d.comb += [
                    ram.write_enable0.eq(fills | hits[0]),
                    ram.address0.eq(
                        Mux(
                            fills, operand.rows[lane],
                            Mux(hits[0], codes.address[0][bits:], self.rows[lane]),
                        )
                    ),
                    ram.write_data0.eq(Mux(fills, operand.data[lane], codes.code[0])),
                ]  # fmt: skip
                if width > 1:
                    m.d.comb += [
                        ram.write_enable1.eq(hits[1]),
                        ram.address1.eq(codes.address[1][bits:]),
                        ram.write_data1.eq(codes.code[1]),
                    ]
            m.d.comb += self.octets[lane].eq(Mux(shown, halves[1], halves[0]))
        return m
