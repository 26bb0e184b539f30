"""From a matched tile to the coordinate lists of row and column, and the queue before level 0.

    S[i] = max(T[i] + MATCH, F[i-1])

Tiles of a row lie at their coordinate, so that nothing need be counted to find one. What has been
fetched goes past an empty queue to level 0 at once.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.extensor.layouts import Layouts
from rtl.layouts import bits_for_count
from rtl.ram import Ram

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Fetch tiles.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    load : In(Layouts.load)
        What the loader writes; tiles are kept here.
    token : In(Layouts.token)
        Tokens; level 1 sends no more than the queue holds.
    work : Out(stream of Layouts.work)
        Tokens in order, tiles beside them.

    Notes
    -----
    ``LATENCY`` is the number of cycles from ``token`` to ``work``.
    """

    LATENCY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "load": In(layouts.load),
                "token": In(layouts.token),
                "work": Out(stream.Signature(layouts.work)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, load, token = self._layouts, self.load, self.token
        tile = Signal(layouts.tile_bits)
        m.d.comb += [
            bit.eq(Cat(token.hit[at] for at in range(layouts.tiles) if at >> place & 1).any())
            for place, bit in enumerate(tile)
        ]
        depth = layouts.config.rows_max * layouts.tiles
        m.submodules.rows = rows = Ram(layouts.row_tile, depth)
        m.submodules.columns = columns = Ram(layouts.column_tile, 2 * layouts.tiles)
        for ram, mine, where, wanted in (
            (rows, load.to_rows, load.row, token.row),
            (columns, ~load.to_rows, load.buffer, token.end.buffer),
        ):
            m.d.comb += [
                ram.write_enable.eq(load.tile_valid & mine),
                ram.write_address.eq(Cat(load.tile, where)),
                ram.write_data.mask.eq(load.mask),
                ram.write_data.base.eq(load.base),
                ram.read_enable.eq(1),
                ram.read_address.eq(Cat(tile, wanted)),
            ]
        fetched = Signal(layouts.work)
        valid, is_end, end = Signal(), Signal(), Signal(layouts.end)
        m.d.sync += [valid.eq(token.valid), is_end.eq(token.is_end), end.eq(token.end)]
        m.d.comb += [
            fetched.is_end.eq(is_end),
            fetched.end.eq(end),
            fetched.row.eq(rows.read_data),
            fetched.column.eq(columns.read_data),
        ]
        self._queue(m, fetched, valid)
        return m

    def _queue(self, m: Module, fetched, valid) -> None:
        """Tokens that wait: distributed RAM, read in the same cycle."""
        bits = bits_for_count(self._layouts.config.queue)
        m.submodules.queue = memory = Memory(shape=fetched.shape(), depth=1 << bits, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        newest, oldest = Signal(bits + 1), Signal(bits + 1)
        empty, taken = Signal(), Signal()
        m.d.comb += [
            empty.eq(newest == oldest),
            self.work.valid.eq(valid | ~empty),
            self.work.p.eq(Mux(empty, fetched, read.data)),
            taken.eq(self.work.valid & self.work.ready),
            write.en.eq(valid & ~(empty & taken)),
            write.addr.eq(newest),
            write.data.eq(fetched),
            read.addr.eq(oldest),
        ]
        m.d.sync += [newest.eq(newest + write.en), oldest.eq(oldest + (taken & ~empty))]
