"""The register port of a processing element: layer registers, control, status, counters.

Addresses count 32-bit registers. ``LAYER_REGISTERS`` begin at ``LAYER_BASE``, in order; counters
are read from ``COUNTER_BASE``: ``golden.extensor.PE_COUNTERS``, then
``golden.counters.UNIT_COUNTERS``.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.counters import UNIT_COUNTERS
from golden.extensor import PE_COUNTERS
from rtl.registers import CONTROL, STATUS

__all__ = [
    "COUNTERS",
    "LAYER_REGISTERS",
    "LOAD_TARGETS",
    "Registers",
    "layer_layout",
    "register_map",
]

LAYER_BASE = 16
COUNTER_BASE = 32

#: All counters in the order of their addresses.
COUNTERS = (*PE_COUNTERS, *UNIT_COUNTERS)
#: Tables that the load stream fills: value of ``load_target``. Two words a row.
LOAD_TARGETS = ("requantisation", "items")

#: Name, shape, meaning.
LAYER_REGISTERS = (
    ("load_target", unsigned(1), "what the load stream fills: requantisation, items"),
    ("load_address", unsigned(32), "row at which it goes on; a write begins a row anew"),
    ("signed_activations", unsigned(1), "input codes are int8, else uint8"),
    ("zero_point", signed(9), "output code that stands for zero"),
    ("clamp_low", signed(9), "least output code"),
    ("clamp_high", signed(9), "greatest output code"),
)


def layer_layout() -> data.StructLayout:
    """Return the layer registers as a payload."""
    return data.StructLayout({name: shape for name, shape, _ in LAYER_REGISTERS})


def register_map() -> dict[str, int]:
    """Return the address of every register by name."""
    result = {"control": CONTROL, "status": STATUS}
    result |= {name: LAYER_BASE + at for at, (name, _, _) in enumerate(LAYER_REGISTERS)}
    return result | {name: COUNTER_BASE + at for at, name in enumerate(COUNTERS)}


class Registers(wiring.Component):
    """Layer registers written, status and counters read.

    Members
    -------
    address : In(16), write : In(1), write_data : In(32)
        A register is written in the cycle of ``write``.
    read_data : Out(32)
        Register at ``address``, one cycle later.
    layer : Out(layer_layout())
        Layer registers.
    load_begin : Out(1)
        Pulse: ``load_address`` was written.
    start : Out(1)
        Pulse: control was written 1.
    running, done : In(1)
        Status.
    counters : In(ArrayLayout(32, ...))
        In the order of ``COUNTERS``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "address": In(16),
                "write": In(1),
                "write_data": In(32),
                "read_data": Out(32),
                "layer": Out(layer_layout()),
                "load_begin": Out(1),
                "start": Out(1),
                "running": In(1),
                "done": In(1),
                "counters": In(data.ArrayLayout(32, len(COUNTERS))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        begin = register_map()["load_address"]
        with m.If(self.write):
            for at, (name, _, _) in enumerate(LAYER_REGISTERS):
                with m.If(self.address == LAYER_BASE + at):
                    m.d.sync += self.layer[name].eq(self.write_data)
        m.d.sync += self.load_begin.eq(self.write & (self.address == begin))
        m.d.comb += self.start.eq(
            self.write & (self.address == CONTROL) & self.write_data[0] & ~self.running
        )
        with m.If(self.address >= COUNTER_BASE):
            at = self.address - COUNTER_BASE
            m.d.sync += self.read_data.eq(self.counters[at[: len(COUNTERS).bit_length()]])
        with m.Else():
            m.d.sync += self.read_data.eq(self.running | (self.done << 1))
        return m
