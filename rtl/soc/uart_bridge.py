"""A serial line in a processor's place: whoever is at its other end reads and writes words.

| sent | answer |
|---|---|
| ``W``, address (4 bytes), words less one, the words | ``k`` when the last one is written |
| ``R``, address (4 bytes), words less one | the words |

All numbers are little endian. Other bytes in a command's place say nothing; a command whose rest
does not come is forgotten.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component
from rtl.soc.sdram import processor_signature
from rtl.soc.uart import UartReceiver, UartTransmitter

__all__ = ["DONE", "READ", "WRITE", "UartBridge"]

#: Commands, and the answer to a write.
WRITE, READ, DONE = b"WRk"


class UartBridge(Component):
    """Between a serial line and a processor's port.

    Parameters
    ----------
    divider : int
        Cycles of a bit.
    patience_bits : int
        Bits of the line for which the rest of a command is awaited; a power of two.

    Members
    -------
    receive : In(1), transmit : Out(1)
    processor : Out(processor_signature)
    """

    def __init__(self, divider: int, patience_bits: int = 1 << 19) -> None:
        self._divider, self._patience = divider, patience_bits * divider
        super().__init__(
            {"receive": In(1), "transmit": Out(1), "processor": Out(processor_signature())}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._divider)
        m.submodules.transmitter = transmitter = UartTransmitter(self._divider)
        port, coming, going = self.processor, receiver.octets, transmitter.octets
        header, word = Signal(40), Signal(32)
        address, left = header[:32], header[32:]
        writes, number = Signal(), Signal(range(5))
        patience = Signal(range(self._patience))
        m.d.comb += [
            receiver.line.eq(self.receive),
            self.transmit.eq(transmitter.line),
            port.address.eq(address),
            port.write_data.eq(word),
            port.strobes.eq(Mux(writes, 15, 0)),
        ]
        m.d.sync += patience.eq(patience - 1)
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += coming.ready.eq(1)
                m.d.sync += [writes.eq(coming.payload == WRITE), number.eq(0)]
                m.d.sync += patience.eq(self._patience - 1)
                with m.If(coming.valid & ((coming.payload == WRITE) | (coming.payload == READ))):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += coming.ready.eq(1)
                with m.If(coming.valid):
                    m.d.sync += [header.eq(Cat(header[8:], coming.payload)), number.eq(number + 1)]
                    m.d.sync += patience.eq(self._patience - 1)
                    with m.If(number == 4):
                        m.d.sync += number.eq(0)
                        with m.If(writes):
                            m.next = "DATA"
                        with m.Else():
                            m.next = "READ"
                with m.Elif(patience == 0):
                    m.next = "COMMAND"
            with m.State("DATA"):
                m.d.comb += coming.ready.eq(1)
                with m.If(coming.valid):
                    m.d.sync += [word.eq(Cat(word[8:], coming.payload)), number.eq(number + 1)]
                    m.d.sync += patience.eq(self._patience - 1)
                    with m.If(number == 3):
                        m.d.sync += number.eq(0)
                        m.next = "WRITE"
                with m.Elif(patience == 0):
                    m.next = "COMMAND"
            with m.State("WRITE"):
                m.d.comb += port.valid.eq(1)
                with m.If(port.ready):
                    m.d.sync += [address.eq(address + 4), left.eq(left - 1)]
                    m.d.sync += patience.eq(self._patience - 1)
                    m.next = "DATA"
                    with m.If(left == 0):
                        m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [going.valid.eq(1), going.payload.eq(DONE)]
                with m.If(going.ready):
                    m.next = "COMMAND"
            with m.State("READ"):
                m.d.comb += port.valid.eq(1)
                with m.If(port.ready):
                    m.d.sync += word.eq(port.read_data)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [going.valid.eq(1), going.payload.eq(word)]
                with m.If(going.ready):
                    m.d.sync += [word.eq(word >> 8), number.eq(number + 1)]
                    with m.If(number == 3):
                        m.d.sync += [number.eq(0), address.eq(address + 4), left.eq(left - 1)]
                        m.next = "READ"
                        with m.If(left == 0):
                            m.next = "COMMAND"
        return m
