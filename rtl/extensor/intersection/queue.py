"""A short queue; what comes to an empty one may leave it in the same cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["Queue"]


class Queue(Component):
    """A queue in distributed RAM.

    Parameters
    ----------
    shape : shape-like
    depth : int
        The sender sends no more than this before they are taken.

    Members
    -------
    start : In(1)
        Pulse: be empty.
    valid : In(1), payload : In(shape)
        What is sent.
    output : Out(stream of shape)
    """

    def __init__(self, shape, depth: int) -> None:
        self._shape, self._bits = shape, bits_for_count(depth)
        super().__init__(
            {
                "start": In(1),
                "valid": In(1),
                "payload": In(shape),
                "output": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rows = memory = Memory(shape=self._shape, depth=1 << self._bits, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        newest, oldest = Signal(self._bits + 1), Signal(self._bits + 1)
        empty, taken = Signal(), Signal()
        m.d.comb += [
            empty.eq(newest == oldest),
            self.output.valid.eq(self.valid | ~empty),
            self.output.p.eq(Mux(empty, self.payload, read.data)),
            taken.eq(self.output.valid & self.output.ready),
            write.en.eq(self.valid & ~(empty & taken)),
            write.addr.eq(newest),
            write.data.eq(self.payload),
            read.addr.eq(oldest),
        ]
        m.d.sync += [newest.eq(newest + write.en), oldest.eq(oldest + (taken & ~empty))]
        with m.If(self.start):
            m.d.sync += [newest.eq(0), oldest.eq(0)]
        return m
