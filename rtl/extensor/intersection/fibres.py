"""The fibre level: a tile pair to its fibre pairs, one a cycle; fibres of B are the outer loop.

Empty fibres are not in a tile, so that nothing need be skipped here.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from rtl.extensor.intersection.queue import Queue
from rtl.extensor.layouts import Layouts
from rtl.lib.component import Component

__all__ = ["FibreLevel"]

#: Tile pairs and ends that may wait: two buffers, and one end (the loader sees to it).
_TASKS = 3


class FibreLevel(Component):
    """Make fibre pairs.

    Parameters
    ----------
    layouts : Layouts

    Members
    -------
    start : In(1)
        Pulse: begin.
    load : In(Layouts.load)
        What the loader writes; its tasks are taken here.
    token : Out(Layouts.token), token_valid : Out(1)
        A fibre pair or an end.
    begun : In(1)
        The scalar level begins a token in the next cycle.

    Notes
    -----
    ``READY`` is the number of cycles from ``load`` with a task to its first token, ``AHEAD`` that
    of tokens that the scalar level has not begun, at most.
    """

    READY = 1
    AHEAD = 2

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "start": In(1),
                "load": In(layouts.load),
                "token": Out(layouts.token),
                "token_valid": Out(1),
                "begun": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts = self._layouts
        m.submodules.tasks = tasks = Queue(layouts.task, _TASKS)
        active, task = Signal(), Signal(layouts.task)
        row, column = Signal(layouts.row_bits), Signal(layouts.column_bits)
        queued, row_last, last = Signal(range(self.AHEAD + 1)), Signal(), Signal()
        m.d.comb += [
            tasks.start.eq(self.start),
            tasks.valid.eq(self.load.task_valid),
            tasks.payload.eq(self.load.task),
            tasks.output.ready.eq(~active | (self.token_valid & last)),
            row_last.eq(row == task.rows_last),
            last.eq(task.is_end | (row_last & (column == task.columns_last))),
            self.token_valid.eq(active & (queued != self.AHEAD)),
            self.token.is_end.eq(task.is_end),
            self.token.last.eq(last),
            self.token.buffer.eq(task.buffer),
            self.token.row.eq(row),
            self.token.column.eq(column),
        ]
        m.d.sync += queued.eq(Mux(self.start, 0, queued + self.token_valid - self.begun))
        with m.If(self.token_valid):
            m.d.sync += [row.eq(Mux(row_last, 0, row + 1)), column.eq(column + row_last)]
        with m.If(tasks.output.ready):
            m.d.sync += [active.eq(tasks.output.valid), task.eq(tasks.output.p)]
            m.d.sync += [row.eq(0), column.eq(0)]
        with m.If(self.start):
            m.d.sync += active.eq(0)
        return m
