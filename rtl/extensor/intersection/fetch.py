"""From a fibre pair to its lists of coordinates, and those that wait for the scalar level."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersection.fibres import FibreLevel
from rtl.extensor.intersection.queue import Queue
from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component
from rtl.lib.ram import Ram

__all__ = ["Fetch"]


class Fetch(Component):
    """Fetch fibres.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    load : In(Layouts.load)
        What the loader writes; coordinates are kept here.
    token : In(Layouts.token), token_valid : In(1)
        Tokens; no more than ``FibreLevel.AHEAD`` before they are taken.
    work : Out(stream of Layouts.work)
        Tokens in order, fibres beside them.

    Notes
    -----
    ``LATENCY`` is the number of cycles from ``token`` to ``work``.
    """

    LATENCY = 1

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "load": In(layouts.load),
                "token": In(layouts.token),
                "token_valid": In(1),
                "work": Out(stream.Signature(layouts.work)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, load, token = self._layouts, self.load, self.token
        m.submodules.rows = rows = Ram(layouts.fibre, 2 << layouts.row_bits)
        m.submodules.columns = columns = Ram(layouts.fibre, 2 << layouts.column_bits)
        for ram, mine, wanted in (
            (rows, ~load.of_columns, token.row),
            (columns, load.of_columns, token.column),
        ):
            m.d.comb += [
                ram.write_enable.eq(load.fibre_valid & mine),
                ram.write_address.eq(Cat(load.place[: len(wanted)], load.buffer)),
                ram.write_data.eq(load.fibre),
                ram.read_enable.eq(1),
                ram.read_address.eq(Cat(wanted, token.buffer)),
            ]
        m.submodules.queue = queue = Queue(layouts.work, FibreLevel.AHEAD)
        valid, fetched = Signal(), Signal(layouts.token)
        m.d.sync += [valid.eq(self.token_valid & ~self.start), fetched.eq(token)]
        m.d.comb += [
            queue.start.eq(self.start),
            queue.valid.eq(valid),
            queue.payload.is_end.eq(fetched.is_end),
            queue.payload.last.eq(fetched.last),
            queue.payload.buffer.eq(fetched.buffer),
            queue.payload.row.eq(rows.read_data),
            queue.payload.column.eq(columns.read_data),
            self.work.valid.eq(queue.output.valid),
            self.work.p.eq(queue.output.p),
            queue.output.ready.eq(self.work.ready),
        ]
        return m
