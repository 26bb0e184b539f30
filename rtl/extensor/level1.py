"""Level 1: intersects the tile coordinates of row and column, dot after dot.

    T[i] = max(T[i-1], G[i], S[i - queue]) + r[i]

A dot's last decision is followed by a cycle for its end token, in which the next dot's lists are
loaded, so that dots follow one another without a gap.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersect import Intersect
from rtl.extensor.layouts import Layouts

__all__ = ["Level1"]


class Level1(wiring.Component):
    """Make tokens.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    load : In(Layouts.load)
        What the loader writes; a complete fibre's tile coordinates are kept here.
    item : In(Layouts.item)
        The item whose rows are in the row buffer.
    token : Out(Layouts.token)
        The token made in the cycle before.
    begun : In(1)
        Level 0 begins a token in the next cycle.
    decides : Out(1)
        A decision or an end token is made in this cycle.
    waits : Out(1)
        Level 1 waits for a column, and level 0 has begun all tokens.

    Notes
    -----
    ``READY`` is the number of cycles from ``load`` with the end of a column to the first decision
    on it, ``TOKEN`` from a decision to ``token``.
    """

    READY = 2
    TOKEN = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "load": In(layouts.load),
                "item": In(layouts.item),
                "token": Out(layouts.token),
                "begun": In(1),
                "decides": Out(1),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, item = self._layouts, self.item
        m.submodules.intersect = intersect = Intersect(layouts.tiles)
        active, buffer, row = Signal(), Signal(), Signal(layouts.row_bits)
        channel, column = Signal(layouts.channel_bits), Signal(24)

        # Tokens that level 0 has not begun.
        queued, sends = Signal(layouts.queue_bits), Signal()
        ends, row_last, column_last = Signal(), Signal(), Signal()
        m.d.sync += queued.eq(Mux(self.start, 0, queued + sends - self.begun))
        m.d.comb += [
            self.decides.eq(active & (queued != layouts.config.queue)),
            ends.eq(self.decides & intersect.used_up),
            sends.eq(ends | (intersect.enable & intersect.match)),
            intersect.enable.eq(self.decides & ~intersect.used_up),
            row_last.eq(row == item.rows_last),
            column_last.eq(column == item.columns_last),
            self.waits.eq(~active & (queued == 0)),
        ]

        # The next dot, were this one at its end: the next row, or the next column's first.
        goes_on, next_row, next_buffer = Signal(), Signal(layouts.row_bits), Signal()
        loaded, available = Signal(2), Signal()
        m.d.comb += [
            goes_on.eq(active & ~row_last),
            next_row.eq(Mux(goes_on, row + 1, 0)),
            next_buffer.eq(buffer ^ (active & row_last)),
            available.eq(goes_on | loaded.bit_select(next_buffer, 1)),
            intersect.load.eq((ends | ~active) & available),
        ]
        self._read_fibres(m, intersect, next_row, next_buffer)
        with m.If(intersect.load):
            m.d.sync += active.eq(1)
        with m.Elif(ends):
            m.d.sync += active.eq(0)
        with m.If(ends):
            m.d.sync += [
                row.eq(next_row),
                buffer.eq(next_buffer),
                channel.eq(channel + 1),
            ]
            with m.If(row_last):
                m.d.sync += [
                    loaded.bit_select(buffer, 1).eq(0),
                    column.eq(Mux(column_last, 0, column + 1)),
                ]
        with m.If(intersect.load & ~goes_on):
            m.d.sync += channel.eq(item.channel)
        with m.If(self.load.fibre_valid & ~self.load.to_rows):
            m.d.sync += loaded.bit_select(self.load.buffer, 1).eq(1)
        with m.If(self.start):
            m.d.sync += [active.eq(0), buffer.eq(0), row.eq(0), column.eq(0), loaded.eq(0)]

        last = row_last & column_last
        m.d.sync += [
            self.token.valid.eq(sends),
            self.token.is_end.eq(intersect.used_up),
            self.token.hit.eq(intersect.hit),
            self.token.row.eq(row),
            self.token.end.channel.eq(channel),
            self.token.end.column_last.eq(row_last),
            self.token.end.buffer.eq(buffer),
            self.token.end.item_last.eq(last),
            self.token.end.final.eq(last & item.final),
        ]
        return m

    def _read_fibres(self, m: Module, intersect: Intersect, row, buffer) -> None:
        """Tile coordinates of the fibres, read in the same cycle."""
        layouts, load = self._layouts, self.load
        m.submodules.rows = rows = Memory(
            shape=layouts.tiles, depth=layouts.config.rows_max, init=[]
        )
        write, read = rows.write_port(), rows.read_port(domain="comb")
        columns = Signal(data.ArrayLayout(layouts.tiles, 2))
        m.d.comb += [
            write.en.eq(load.fibre_valid & load.to_rows),
            write.addr.eq(load.row),
            write.data.eq(load.tiles),
            read.addr.eq(row),
            intersect.load_left.eq(read.data),
            intersect.load_right.eq(columns[buffer]),
        ]
        with m.If(load.fibre_valid & ~load.to_rows):
            m.d.sync += columns[load.buffer].eq(load.tiles)
