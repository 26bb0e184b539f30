"""The vector unit's arithmetic: bytes of an assembly half, and of a residual, to codes.

Each tap takes a place in a pipeline: its pixel's place in the half, its bytes, what its window has
come to, and with the last tap of a piece the result: exact in 64 bits, halves to the even code.
"""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.chip.formats import AVERAGE_MAX, VectorOp
from rtl.chip.control.payloads import DESCRIPTOR, RECORD, RECORDS, Payloads
from rtl.chip.control.table_ram import TableRam
from rtl.chip.datapath.parser import rotate
from rtl.chip.datapath.vector_unit import tap_layout
from rtl.chip.signatures import Layouts
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["VectorPipeline"]

#: Stages: the pixel in its map, its number, its byte, read bytes, turned codes, window, products,
#: their sum, what is left after the shift, the code.
_STAGES = 10


class VectorPipeline(Component):
    """Take a tap a cycle.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    tap : In(rtl.chip.datapath.vector_unit.tap_layout)
    residual : In(ArrayLayout(8, vector_lanes))
        Of the tap.
    descriptors, records : In
        Of ``rtl.chip.control.program_store.ProgramStore``.
    table : In(Payloads.table_beat)
    rows : Out(ArrayLayout(.., half_lanes)), half : Out(1), octets : In(...)
        Read port of all clusters' assembly buffers.
    piece : Out(Layouts.piece), piece_valid : Out(1)
        ``LATENCY`` cycles after the last tap.
    """

    LATENCY = _STAGES

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        config, lanes = payloads.config, payloads.half_lanes
        super().__init__(
            {
                "tap": In(tap_layout(payloads)),
                "residual": In(data.ArrayLayout(8, config.vector_lanes)),
                "descriptors": In(data.ArrayLayout(DESCRIPTOR, 2)),
                "records": In(data.ArrayLayout(RECORD, RECORDS)),
                "table": In(payloads.table_beat),
                "rows": Out(data.ArrayLayout(bits_for_count(payloads.half_rows), lanes)),
                "half": Out(1),
                "octets": In(data.ArrayLayout(data.ArrayLayout(8, lanes), config.clusters)),
                "piece": Out(Layouts(config).piece),
                "piece_valid": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self._payloads.config
        taps = [self.tap]
        for number in range(1, _STAGES + 1):
            tap = Signal(self.tap.shape(), name=f"tap{number}")
            m.d.sync += tap.eq(taps[-1])
            taps.append(tap)
        layers = [self.descriptors[tap.slot] for tap in taps]
        inside = self._read(m, taps, layers)
        codes = self._turn(m, taps, layers)
        residuals = self._residuals(m, layers)
        multiplier, shift = self._scales(m, taps, layers, inside)
        for lane in range(config.vector_lanes):
            code = self._lane(m, lane, taps, layers, inside, codes[lane], residuals[lane],
                              multiplier, shift)  # fmt: skip
            m.d.comb += self.piece.data[lane].eq(code)
        last = taps[_STAGES]
        m.d.comb += [
            self.piece_valid.eq(last.valid & last.last),
            self.piece.count.eq(last.size),
            self.piece.offset.eq(last.offset),
            self.piece.last.eq(last.burst_last),
        ]
        return m

    def _read(self, m: Module, taps, layers) -> list:
        """From a tap's pixel to its bytes' place; return by stage whether it is in the map."""
        config, payloads = self._payloads.config, self._payloads
        record, layer = self.records[taps[0].place], layers[0]
        down, right = Signal(18), Signal(18)
        inside = [Signal(name=f"inside{number}") for number in range(_STAGES + 1)]
        y, x = taps[0].y, taps[0].x
        m.d.comb += inside[0].eq(
            (y >= 0) & (y < layer.out_height) & (x >= 0) & (x < layer.out_width)
        )
        m.d.sync += [late.eq(early) for early, late in pairwise(inside)]
        m.d.sync += [down.eq(y - record.first_y), right.eq(x - record.first_x)]
        number = Signal(bits_for_count(config.clusters * config.half_bytes))
        m.d.sync += number.eq(down * self.records[taps[1].place].half_width + right)
        turn, cluster = divide(number, config.clusters)
        address = Signal(payloads.half_bits)
        m.d.sync += address.eq(turn * layers[2].out_channels + taps[2].channel)
        self._cluster, self._late_address = Signal(len(cluster)), Signal.like(address)
        read_cluster = Signal(len(cluster))
        m.d.sync += [
            read_cluster.eq(cluster),
            self._cluster.eq(read_cluster),
            self._late_address.eq(address),
        ]
        bits = (payloads.half_lanes - 1).bit_length()
        row = address[bits:]
        for lane in range(payloads.half_lanes):
            m.d.comb += self.rows[lane].eq(Mux(address[:bits] > lane, row + 1, row))
        m.d.comb += self.half.eq(taps[3].half)
        return inside

    def _turn(self, m: Module, taps, layers) -> list:
        """Return the bytes of the tap as numbers, from the first channel on."""
        payloads = self._payloads
        lanes, bits = payloads.half_lanes, (payloads.half_lanes - 1).bit_length()
        chosen = Signal(data.ArrayLayout(8, lanes))
        m.d.comb += chosen.eq(self.octets[self._cluster])
        first = (lanes - self._late_address[:bits])[:bits]
        turned = rotate([chosen[lane] for lane in range(lanes)], first, lanes)
        codes = []
        for lane in range(payloads.config.vector_lanes):
            code = Signal(signed(9), name=f"code{lane}")
            sign = layers[4].signed_operand & turned[lane][7]
            m.d.sync += code.eq(Cat(turned[lane], sign).as_signed())
            codes.append(code)
        return codes

    def _residuals(self, m: Module, layers) -> list:
        """Return the residual's codes less their zero, beside the window's sum."""
        kept = self.residual
        for stage in range(1, 6):
            late = Signal(kept.shape(), name=f"residual{stage}")
            m.d.sync += late.eq(kept)
            kept = late
        layer, result = layers[5], []
        for lane in range(self._payloads.config.vector_lanes):
            octet = kept[lane]
            code = Cat(octet, layer.signed_residual & octet[7]).as_signed()
            value = Signal(signed(11), name=f"other{lane}")
            m.d.sync += value.eq(code - layer.residual_zero)
            result.append(value)
        return result

    def _scales(self, m: Module, taps, layers, inside):
        """Return multiplier and shift, beside the window's sum."""
        config, layer = self._payloads.config, layers[2]
        before, count = Signal(17), Signal(17)
        m.d.comb += count.eq(Mux(taps[2].first, 0, before) + inside[2])
        with m.If(taps[2].valid):
            m.d.sync += before.eq(count)
        m.submodules.averages = averages = TableRam(8, config.bus_bytes, 2 * AVERAGE_MAX)
        number = Signal(bits_for_count(AVERAGE_MAX))
        slot = Signal()
        m.d.sync += [
            number.eq(Mux(layer.include_pad, layer.window_taps, count)),
            slot.eq(taps[2].slot),
        ]
        m.d.comb += [
            averages.write.eq(self.table.average),
            averages.number.eq(self.table.number),
            averages.beat.eq(self.table.data),
            averages.address0.eq(Cat(number, slot)),
        ]
        table, multiplier, shift = Signal(64), Signal(signed(33)), Signal(6)
        m.d.sync += table.eq(averages.row0)
        is_average = layers[5].vector_op == VectorOp.AVERAGE
        m.d.sync += [
            multiplier.eq(Mux(is_average, table[:32], layers[5].multiplier)),
            shift.eq(Mux(is_average, table[32:38], layers[5].shift)),
        ]
        return multiplier, shift

    def _lane(self, m: Module, lane, taps, layers, inside, code, other, multiplier, shift):
        """From a tap's code to the piece's."""
        first, layer = taps[5].first, layers[5]
        before, total = Signal(signed(27), name=f"sum{lane}"), Signal(signed(27))
        term = Mux(inside[5], code - layer.operand_zero, 0)
        largest, most = Signal(signed(10), name=f"largest{lane}"), Signal(signed(10))
        value = Mux(inside[5], code, -256)
        m.d.comb += [
            total.eq(Mux(first, 0, before) + term),
            most.eq(Mux(first | (value > largest), value, largest)),
        ]
        with m.If(taps[5].valid):
            m.d.sync += [before.eq(total), largest.eq(most)]
        # At the last tap: products, their sum, the shift.
        product, second = Signal(signed(60), name=f"product{lane}"), Signal(signed(44))
        copied, late_shift = Signal(8, name=f"copied{lane}"), Signal(6)
        pads = (layers[6].vector_op == VectorOp.COPY) & ~inside[6]
        copy = Mux(pads, layers[6].pad_value, largest)
        m.d.sync += [
            product.eq(before * multiplier),
            second.eq(Mux(layers[6].residual, other * layers[6].residual_multiplier, 0)),
            copied.eq(copy),
            late_shift.eq(shift),
        ]
        exact, last_shift = Signal(signed(64), name=f"exact{lane}"), Signal(6)
        late_copied = Signal(8, name=f"late_copied{lane}")
        m.d.sync += [
            exact.eq(product + second),
            last_shift.eq(late_shift),
            late_copied.eq(copied),
        ]
        # The quotient, the half below it, and whether anything is below that.
        quotient, half, below = Signal(signed(64), name=f"quotient{lane}"), Signal(), Signal()
        last_copied = Signal(8, name=f"last_copied{lane}")
        bits = Cat(Const(0, 1), exact)
        m.d.sync += [
            quotient.eq(exact >> last_shift),
            half.eq(bits.bit_select(last_shift, 1)),
            below.eq((exact & ((Const(1, 64) << last_shift) >> 1) - 1).any() & (last_shift != 0)),
            last_copied.eq(late_copied),
        ]
        layer = layers[9]
        rounded = Signal(signed(65), name=f"rounded{lane}")
        m.d.comb += rounded.eq(quotient + (half & (below | quotient[0])) + layer.vector_zero)
        result = Signal(8, name=f"result{lane}")
        copies = (layer.vector_op == VectorOp.COPY) | (layer.vector_op == VectorOp.MAX)
        with m.If(copies):
            m.d.sync += result.eq(last_copied)
        with m.Elif(rounded < layer.vector_low):
            m.d.sync += result.eq(layer.vector_low)
        with m.Elif(rounded > layer.vector_high):
            m.d.sync += result.eq(layer.vector_high)
        with m.Else():
            m.d.sync += result.eq(rounded)
        return result


def divide(number, divisor: int):
    """Return quotient and remainder by a constant."""
    if divisor & (divisor - 1) == 0:
        bits = divisor.bit_length() - 1
        return number[bits:], number[:bits] if bits else Const(0, 1)
    # Exact for numbers of this width: the error of the reciprocal is below 1 / divisor.
    bits = len(number) + (divisor - 1).bit_length()
    reciprocal = -(-(1 << bits) // divisor)
    quotient = (number * reciprocal) >> bits
    remainder = (number - quotient * divisor)[: (divisor - 1).bit_length()]
    return quotient, remainder
