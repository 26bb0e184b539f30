"""A FIFO behind a pipeline that does not stall: an item's place is kept before it enters.

So no enable runs back through the pipeline: whether an item may enter comes from a register.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component

__all__ = ["CreditFifo"]


class CreditFifo(Component):
    """Distributed RAM, and a register for the oldest item: who decides on it waits for no memory.

    Parameters
    ----------
    shape : shape-like
        Shape of an item.

    Members
    -------
    clear : In(1)
        Nothing is in the FIFO, nor on its way, from the next cycle on.
    room : Out(1), enter : In(1)
        An item may enter the pipeline, from a register; one does. A place is free again two
        cycles after ``pop``.
    push : In(1), item : In(shape)
        An item that had entered arrives.
    valid : Out(1), head : Out(shape), pop : In(1)
        The oldest item, from the cycle after ``push``; it goes.

    Notes
    -----
    ``DEPTH`` places are kept busy by one item a cycle where ``pop`` may come up to
    ``DEPTH - 2`` cycles after ``enter``.
    """

    DEPTH = 16

    def __init__(self, shape) -> None:
        self._shape = shape
        super().__init__(
            {
                "clear": In(1),
                "room": Out(1, init=1),  # pyright: ignore[reportCallIssue]
                "enter": In(1),
                "push": In(1),
                "item": In(shape),
                "valid": Out(1),
                "head": Out(shape),
                "pop": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        items: Memory[Any, Any] = Memory(shape=self._shape, depth=self.DEPTH, init=[])
        m.submodules.items = items
        write, read = items.write_port(), items.read_port(domain="comb")
        newest, oldest = Signal(range(self.DEPTH)), Signal(range(self.DEPTH))
        stored, moves = Signal(), Signal()
        m.d.comb += [
            stored.eq(newest != oldest),  # the memory is never full: an item is in the register
            moves.eq(self.pop | ~self.valid),
            write.en.eq(self.push),  # overwritten by the next item where this one passes it by
            write.addr.eq(newest),
            write.data.eq(self.item),
            read.addr.eq(oldest),
        ]
        with m.If(moves):
            m.d.sync += [
                self.valid.eq(stored | self.push),
                self.head.eq(Mux(stored, read.data, self.item)),
            ]
        with m.If(moves & stored):
            m.d.sync += oldest.eq(oldest + 1)
        with m.If(self.push & (stored | ~moves)):
            m.d.sync += newest.eq(newest + 1)
        free, popped = Signal(range(self.DEPTH + 1), init=self.DEPTH), Signal()
        next_free = Signal.like(free)
        m.d.comb += next_free.eq(free + popped - self.enter)
        m.d.sync += [popped.eq(self.pop), free.eq(next_free), self.room.eq(next_free.any())]
        with m.If(self.clear):
            m.d.sync += [newest.eq(0), oldest.eq(0), self.valid.eq(0)]
            m.d.sync += [popped.eq(0), free.eq(self.DEPTH), self.room.eq(1)]
        return m
