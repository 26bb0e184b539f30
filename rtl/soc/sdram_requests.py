"""What is asked of a memory: the chip's bursts and a processor's words, in the order they come."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component

__all__ = ["SdramRequests", "request_layout"]


def request_layout(config: ChipConfig, word_bits: int) -> data.StructLayout:
    """Return a request: words of two bytes from ``word`` on, of which ``more`` follow the first."""
    more = (config.burst_bytes // 2).bit_length()
    return data.StructLayout({"write": 1, "processor": 1, "word": word_bits, "more": more})


class SdramRequests(Component):
    """A queue that a request passes in no time where it is empty.

    Parameters
    ----------
    config : ChipConfig
    word_bits : int
        Bits of a word's number.

    Members
    -------
    enable : In(1)
    address, octets, write : In; read_valid, write_valid : In(1); ready : Out(1)
        The bus's requests: bytes less one; never both in one cycle.
    cpu_valid : In(1), cpu_address : In(32), cpu_write : In(1), cpu_taken : Out(1)
        The processor's, taken where the bus asks for nothing.
    available : Out(1), head : Out(request_layout), accept : In(1)
        The oldest, in the cycle in which it comes at the earliest.
    """

    def __init__(self, config: ChipConfig, word_bits: int) -> None:
        self._depth = 1 << config.outstanding.bit_length()
        self._request = request_layout(config, word_bits)
        super().__init__(
            {
                "enable": In(1),
                "address": In(32),
                "octets": In((config.burst_bytes - 1).bit_length()),
                "read_valid": In(1),
                "write_valid": In(1),
                "ready": Out(1),
                "cpu_valid": In(1),
                "cpu_address": In(32),
                "cpu_write": In(1),
                "cpu_taken": Out(1),
                "available": Out(1),
                "head": Out(self._request),
                "accept": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Memory(shape=self._request, depth=self._depth, init=[])
        write, read = queue.write_port(), queue.read_port(domain="comb")
        first, last = Signal(range(self._depth)), Signal(range(self._depth))
        level = Signal(range(self._depth + 1))
        new, asked, waits = Signal(self._request), Signal(), Signal()
        of_bus = self.read_valid | self.write_valid
        m.d.comb += [
            self.ready.eq(self.enable & (level != self._depth)),
            self.cpu_taken.eq(self.cpu_valid & ~of_bus & self.ready),
            asked.eq((of_bus & self.ready) | self.cpu_taken),
            new.write.eq(Mux(of_bus, self.write_valid, self.cpu_write)),
            new.processor.eq(~of_bus),
            new.word.eq(Mux(of_bus, self.address[1:], self.cpu_address[2:] << 1)),
            new.more.eq(Mux(of_bus, (self.address[0] + self.octets) >> 1, 1)),
            waits.eq(level.any()),
            self.available.eq(waits | asked),
            self.head.eq(Mux(waits, read.data.as_value(), new.as_value())),
            write.en.eq(asked & (waits | ~self.accept)),
            write.addr.eq(last),
            write.data.eq(new),
            read.addr.eq(first),
        ]
        m.d.sync += [
            level.eq(level + asked - self.accept),
            last.eq(last + write.en),
            first.eq(first + (self.accept & waits)),
        ]
        return m
