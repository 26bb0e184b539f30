"""The registers of a design: as a table, and the port at which a host reads and writes them.

The table is the one source of addresses, widths and meanings.

Addresses count 32-bit registers. Layer registers begin at ``LAYER_BASE``, in order; the counters
of the design are read from ``COUNTER_BASE``, those of its units (``UNIT_COUNTERS``) from
``UNIT_BASE``, ``UNIT_STRIDE`` apart for each unit. Control is written last: what blocks derive
from layer registers follows them by a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError
from rtl.lib.bits import elements
from rtl.lib.component import Component
from rtl.lib.counters import StateCounters

__all__ = [
    "CONTROL",
    "COUNTER_BASE",
    "LAYER_BASE",
    "REGISTER_BYTES",
    "STATUS",
    "UNIT_BASE",
    "UNIT_MEANINGS",
    "UNIT_STRIDE",
    "Register",
    "RegisterFile",
    "RegisterMap",
    "RegisterTable",
    "layer_layout",
]

#: Write 1 to start a layer.
CONTROL = 0
#: Read: bit 0 running, bit 1 done (since the last start).
STATUS = 1
LAYER_BASE = 16
COUNTER_BASE = 96
UNIT_BASE = 128
UNIT_STRIDE = 8
#: Bytes of a register, where a bus counts bytes.
REGISTER_BYTES = 4

#: Counters of a unit, in cycles; they add up to the design's ``cycles``.
UNIT_MEANINGS: dict[str, str] = dict(
    zip(
        UNIT_COUNTERS,
        (
            "cycles that multiply at least one pair",
            "cycles of chunk pairs with no pair to multiply",
            "cycles of waits for a load",
            "cycles of waits for other units",
            "cycles of waits for what is on its way",
            "cycles of waits with results that the collector can't take yet",
            "all other cycles",
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Register:
    """A layer register.

    Parameters
    ----------
    name : str
    bits : int
        Its width, at most 32.
    meaning : str
        Those that count say how many less one.
    is_signed : bool
        It is read as two's complement.
    """

    name: str
    bits: int
    meaning: str
    is_signed: bool = False


RegisterTable = tuple[Register, ...]


def layer_layout(table: RegisterTable) -> data.StructLayout:
    """Return layer registers as a payload."""
    return data.StructLayout(
        {one.name: signed(one.bits) if one.is_signed else unsigned(one.bits) for one in table}
    )


@dataclass(frozen=True)
class RegisterMap:
    """All registers of a design.

    Parameters
    ----------
    layer : tuple of Register
        Layer registers; ``load_target`` and ``load_address`` are two of them.
    counters : mapping of str to str
        Counters of the design beside its units', at most 8, and what each counts.
    units : int
        Units that have counters.
    """

    layer: RegisterTable
    counters: Mapping[str, str]
    units: int = 1

    @property
    def addresses(self) -> dict[str, int]:
        """Address of every register by name; unit counters as ``unit3.busy_cycles``."""
        result = {"control": CONTROL, "status": STATUS}
        result |= {one.name: LAYER_BASE + at for at, one in enumerate(self.layer)}
        return result | self.counter_addresses

    @property
    def counter_addresses(self) -> dict[str, int]:
        """Address of every counter by name."""
        result = {name: COUNTER_BASE + at for at, name in enumerate(self.counters)}
        for unit in range(self.units):
            for at, name in enumerate(UNIT_COUNTERS):
                result[f"unit{unit}.{name}"] = UNIT_BASE + UNIT_STRIDE * unit + at
        return result

    def encode(self, layer: str, values: dict[str, int]) -> dict[str, int]:
        """Return values of layer registers as they are written, in the order of their addresses.

        Parameters
        ----------
        layer : str
            The layer's name, for the error.

        Raises
        ------
        CapacityError
            A value is too wide for its register.
        """
        result = {}
        for one in self.layer:
            if one.name not in values:
                continue
            value = values[one.name]
            if not -(1 << (one.bits - 1)) <= value < 1 << one.bits:
                raise CapacityError(
                    f"Layer {layer}: register {one.name} has {one.bits} bits, {value} does not "
                    "fit: split the layer"
                )
            result[one.name] = value & ((1 << one.bits) - 1)
        return result


class RegisterFile(Component):
    """Layer registers written, status and counters read; the counters themselves.

    Parameters
    ----------
    registers : RegisterMap

    Members
    -------
    address : In(16), write : In(1), write_data : In(32)
        A register is written one cycle after ``write``.
    read_data : Out(32)
        Register at ``address``, ``READ`` cycles later.
    layer : Out(layer_layout(RegisterMap.layer))
        Layer registers.
    load_begin : Out(1), load_address : Out(32)
        Pulse: that is written to ``load_address``.
    start : Out(1)
        Pulse, two cycles after control was written 1. Counters begin anew; ``done`` of the layer
        before falls ``START`` cycles after the write.
    hold : In(1)
        The design is not ready: a start waits.
    running, done : In(1)
        Status. Counters are complete when ``done`` is.
    increments : In(ArrayLayout(32, ...))
        What is added to each counter in this cycle, in the order of their names.
    counting : In(1), unit_events : In(ArrayLayout(len(UNIT_COUNTERS), units))
        The cycles that count for the units; what such a cycle is to each (``rtl.lib.counters``).
    """

    READ = 4
    START = 3

    def __init__(self, registers: RegisterMap) -> None:
        self._registers = registers.layer
        super().__init__(
            {
                "address": In(16),
                "write": In(1),
                "write_data": In(32),
                "read_data": Out(32),
                "layer": Out(layer_layout(registers.layer)),
                "load_begin": Out(1),
                "load_address": Out(32),
                "start": Out(1),
                "hold": In(1),
                "running": In(1),
                "done": In(1),
                "counting": In(1),
                "increments": In(data.ArrayLayout(32, len(registers.counters))),
                "unit_events": In(data.ArrayLayout(len(UNIT_COUNTERS), registers.units)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        address, write_data = Signal(16), Signal(32)
        control, chosen = Signal(), Signal(len(self._registers))  # what is written
        begin = [one.name for one in self._registers].index("load_address")
        asked, waiting = Signal(), Signal()  # for a start
        m.d.comb += asked.eq(((control & write_data[0]) | waiting) & ~self.running & ~self.start)
        m.d.sync += [
            address.eq(self.address),
            write_data.eq(self.write_data),
            control.eq(self.write & (self.address == CONTROL)),
            waiting.eq(asked & self.hold),
            self.start.eq(asked & ~self.hold),
        ]
        for at, one in enumerate(self._registers):
            m.d.sync += chosen[at].eq(self.write & (self.address == LAYER_BASE + at))
            with m.If(chosen[at]):
                m.d.sync += self.layer[one.name].eq(write_data)
        m.d.comb += [self.load_begin.eq(chosen[begin]), self.load_address.eq(write_data)]

        stride_bits = UNIT_STRIDE.bit_length() - 1
        late_address = Signal.like(address)
        unit = (late_address - UNIT_BASE)[stride_bits:]
        counts, unit_counts = self._count(m), self._count_units(m, address[:stride_bits])
        # Counts are read, then chosen from, then one of the kinds of registers.
        count, unit_count = Signal(32), Signal(32)
        of_unit, of_cluster = Signal(), Signal()
        m.d.sync += [
            late_address.eq(address),
            count.eq(counts[late_address[:stride_bits]]),
            unit_count.eq(unit_counts[unit[:8]]),
            of_unit.eq(late_address >= UNIT_BASE),
            of_cluster.eq(late_address >= COUNTER_BASE),
        ]
        with m.If(of_unit):
            m.d.sync += self.read_data.eq(unit_count)
        with m.Elif(of_cluster):
            m.d.sync += self.read_data.eq(count)
        with m.Else():
            m.d.sync += self.read_data.eq(self.running | (self.done << 1))
        return m

    def _count(self, m: Module) -> data.View:
        """The counters that are not a unit's; registers on the way keep the sums near."""
        counts = Signal(data.ArrayLayout(32, len(self.increments)))
        for counter, increment in zip(elements(counts), self.increments, strict=True):
            late = Signal(32)
            m.d.sync += [late.eq(increment), counter.eq(counter + late)]
            with m.If(self.start):
                m.d.sync += [late.eq(0), counter.eq(0)]
        return counts

    def _count_units(self, m: Module, index) -> data.View:
        counts = Signal(data.ArrayLayout(32, len(self.unit_events)))
        for number, events in enumerate(self.unit_events):
            m.submodules[f"unit{number}"] = counters = StateCounters()
            m.d.comb += [
                counters.start.eq(self.start),
                counters.running.eq(self.counting),
                counters.events.eq(events),
                counters.address.eq(index),
                counts[number].eq(counters.count),
            ]
        return counts
