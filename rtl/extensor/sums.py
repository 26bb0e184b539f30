"""Sums of two items: one's grow, the other's are handed out and set to zero.

A reset may leave sums that were on their way: all are set to zero after it, one a cycle.

    D[end] = F[end] + DRAIN + outputs

A sum is read, and written back a cycle later. Where the fibre pair after has the same sum, what is
being written takes the place of what was read.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component
from rtl.lib.ram import Ram

__all__ = ["Sums"]


class Sums(Component):
    """Keep sums.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin; not while ``clearing``.
    clearing : Out(1)
        After a reset: sums are being set to zero.
    place : In(Layouts.place), place_next : In(1)
        Which sum will grow in the next cycle, if one does.
    total : In(signed(32)), total_valid : In(1)
        By how much it grows.
    end : In(1), item : In(Layouts.item)
        Pulse: the scalar level ends an item; which one.
    ended : In(1)
        All sums of the item have grown.
    move : In(1)
        What is handed out is taken.
    draining : Out(1)
        An item's sums are still to be handed out.
    sum : Out(signed(32)), sum_valid : Out(1), channel : Out, final : Out(1)
        A sum, its output channel, and whether it is the program's last: column by column.

    Notes
    -----
    ``READY`` is the number of cycles from ``ended`` to the read of the first sum, ``LATENCY`` from
    a read to ``sum``.
    """

    READY = 0
    LATENCY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "clearing": Out(1, init=1),  # pyright: ignore[reportCallIssue]
                "place": In(layouts.place),
                "place_next": In(1),
                "total": In(signed(32)),
                "total_valid": In(1),
                "end": In(1),
                "item": In(layouts.item),
                "ended": In(1),
                "move": In(1),
                "draining": Out(1),
                "sum": Out(signed(32)),
                "sum_valid": Out(1),
                "channel": Out(layouts.channel_bits),
                "final": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, item = self._layouts, Signal(self._layouts.item)
        halves = [Ram(signed(32), 1 << layouts.place.size) for _ in range(2)]
        m.submodules.half0, m.submodules.half1 = halves
        # The half that grows; and its reads, which are a cycle earlier than its writes.
        half, next_half = Signal(), Signal()
        grown = Signal(layouts.place)
        m.d.comb += next_half.eq(half ^ self.ended)
        m.d.sync += half.eq(next_half)

        # Growing.
        same, written, read = Signal(), Signal(signed(32)), Signal(signed(32))
        new = Signal(signed(32))
        m.d.comb += [
            read.eq(Mux(half, halves[1].read_data, halves[0].read_data)),
            new.eq(Mux(same, written, read) + self.total),
        ]
        m.d.sync += [
            grown.eq(self.place),
            written.eq(new),
            same.eq(
                self.total_valid & self.place_next & (grown.as_value() == self.place.as_value())
            ),
        ]

        # Handing out: a sum is read, and set to zero in the next cycle.
        busy, reads, begun, last = Signal(), Signal(), Signal(), Signal()
        at, cleared, clears = Signal(layouts.place), Signal(layouts.place), Signal()
        row_last, channel = Signal(), Signal(layouts.channel_bits)
        m.d.comb += [
            reads.eq((self.ended | begun) & self.move),
            self.draining.eq(busy | (self.sum_valid & ~self.move)),
            row_last.eq(at.row == item.rows_last),
            last.eq(row_last & (at.column == item.columns_last)),
        ]
        m.d.sync += [clears.eq(reads), cleared.eq(at)]
        with m.If(self.end):
            m.d.sync += [busy.eq(1), item.eq(self.item)]
            m.d.sync += [at.row.eq(0), at.column.eq(0), channel.eq(self.item.channel)]
        with m.If(self.ended):
            m.d.sync += begun.eq(1)
        with m.If(reads):
            m.d.sync += [
                at.row.eq(Mux(row_last, 0, at.row + 1)),
                at.column.eq(at.column + row_last),
                channel.eq(Mux(row_last, item.channel, channel + 1)),
            ]
            with m.If(last):
                m.d.sync += [begun.eq(0), busy.eq(0)]
        with m.If(self.move):
            m.d.sync += [
                self.sum_valid.eq(reads),
                self.channel.eq(channel),
                self.final.eq(last & item.final),
            ]
        clear_at = Signal(layouts.place.size)
        m.d.sync += clear_at.eq(clear_at + 1)
        with m.If(clear_at.all()):
            m.d.sync += self.clearing.eq(0)
        m.d.comb += self.sum.eq(Mux(half, halves[0].read_data, halves[1].read_data))
        for number, ram in enumerate(halves):
            grows, reads_growing = half == number, next_half == number
            m.d.comb += [
                ram.read_enable.eq(reads_growing | self.move),
                ram.read_address.eq(Mux(reads_growing, self.place, at)),
                ram.write_enable.eq(self.clearing | Mux(grows, self.total_valid, clears)),
                ram.write_address.eq(Mux(self.clearing, clear_at, Mux(grows, grown, cleared))),
                ram.write_data.eq(Mux(grows & ~self.clearing, new, 0)),
            ]
        with m.If(self.start):
            m.d.sync += [begun.eq(0), busy.eq(0), self.sum_valid.eq(0), clears.eq(0)]
        return m
