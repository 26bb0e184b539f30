"""The register port of a cluster: layer registers, control, status, counters.

Addresses count 32-bit registers. ``LAYER_REGISTERS`` begin at ``LAYER_BASE``, in order; counters
are read from ``CLUSTER_BASE`` (``golden.counters.CLUSTER_COUNTERS``) and ``UNIT_BASE``
(``UNIT_COUNTERS``, ``UNIT_STRIDE`` apart for each unit). Control is written last: what blocks
derive from layer registers follows them by a cycle.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from rtl.counters import StateCounters

__all__ = [
    "CLUSTER_BASE",
    "CONTROL",
    "LAYER_BASE",
    "LAYER_REGISTERS",
    "LOAD_TARGETS",
    "STATUS",
    "UNIT_BASE",
    "UNIT_STRIDE",
    "RegisterFile",
    "RegisterTable",
    "layer_layout",
    "register_map",
]

#: Write 1 to start a layer.
CONTROL = 0
#: Read: bit 0 running, bit 1 done (since the last start).
STATUS = 1
LAYER_BASE = 16
CLUSTER_BASE = 96
UNIT_BASE = 128
UNIT_STRIDE = 8

#: Tables and buffers that the load stream fills: value of ``load_target``.
LOAD_TARGETS = ("index", "values", "requantisation", "passes")

RegisterTable = tuple[tuple[str, int, str], ...]
#: Name, width in bits, meaning. Those that count say how many less one.
LAYER_REGISTERS: RegisterTable = (
    ("load_target", 2, "what the load stream fills: index, values, requantisation, passes"),
    ("load_address", 32, "row at which it goes on; a write begins a row anew"),
    ("skip_activations", 1, "zeros of activations are skipped"),
    ("skip_weights", 1, "zeros of weights are skipped"),
    ("signed_activations", 1, "input codes are int8, else uint8"),
    ("signed_outputs", 1, "output codes are int8, else uint8"),
    ("zero_point", 9, "output code that stands for zero, signed"),
    ("clamp_low", 9, "least output code, signed"),
    ("clamp_high", 9, "greatest output code, signed"),
    ("passes_last", 16, "passes, less one"),
    ("positions_last", 24, "positions of this cluster, less one"),
    ("tile_last", 24, "positions in a tile, less one"),
    ("tiles_last", 24, "tiles of a pass, less one"),
    ("segments_last", 16, "segments of a filter, less one"),
    ("segment_last", 16, "chunks in a segment, less one"),
    ("segment_short_last", 16, "chunks in the last segment, less one"),
    ("row_chunks_last", 16, "chunks in a row of the input, less one"),
    ("kernel_width_last", 8, "kernel columns, less one"),
    ("ragged_length", 9, "positions that exist in the last chunk of a row"),
    ("height", 16, "rows of the input"),
    ("width", 16, "columns of the input"),
    ("first_y", 16, "input row of the first position's window, signed"),
    ("first_x", 16, "input column of it, signed"),
    ("first_address", 32, "index row of its first chunk (wraps where outside)"),
    ("step_x", 16, "to the next position: columns"),
    ("step_y", 16, "to the next position: rows"),
    ("step_address", 32, "to the next position: index rows"),
    ("end_x", 16, "column at which a row of positions ends, signed"),
    ("wrap_x", 16, "then: columns back"),
    ("wrap_y", 16, "then: further rows"),
    ("wrap_address", 32, "then: further index rows (wraps)"),
    ("line_address", 32, "from the end of a kernel row to the next: index rows"),
    ("group_address", 32, "to the next group: index rows"),
)

_SIGNED = {"zero_point", "clamp_low", "clamp_high", "first_y", "first_x", "end_x"}


def layer_layout(registers: RegisterTable = LAYER_REGISTERS) -> data.StructLayout:
    """Return the layer registers as a payload."""
    from amaranth.hdl import signed, unsigned

    return data.StructLayout(
        {
            name: signed(width) if name in _SIGNED else unsigned(width)
            for name, width, _ in registers
        }
    )


def register_map(
    units: int,
    registers: RegisterTable = LAYER_REGISTERS,
    counters: tuple[str, ...] = CLUSTER_COUNTERS,
) -> dict[str, int]:
    """Return the address of every register by name; unit counters as ``unit3.busy_cycles``."""
    result = {"control": CONTROL, "status": STATUS}
    result |= {name: LAYER_BASE + at for at, (name, _, _) in enumerate(registers)}
    result |= {name: CLUSTER_BASE + at for at, name in enumerate(counters)}
    for unit in range(units):
        for at, name in enumerate(UNIT_COUNTERS):
            result[f"unit{unit}.{name}"] = UNIT_BASE + UNIT_STRIDE * unit + at
    return result


class RegisterFile(wiring.Component):
    """Layer registers written, status and counters read; the counters themselves.

    Parameters
    ----------
    units : int
        Units that have counters.
    registers : tuple of (name, width, meaning)
        Layer registers; ``load_address`` is one of them.
    counters : tuple of str
        Counters beside the units', at most 8.

    Members
    -------
    address : In(16), write : In(1), write_data : In(32)
        A register is written one cycle after ``write``.
    read_data : Out(32)
        Register at ``address``, ``READ`` cycles later.
    layer : Out(layer_layout(registers))
        Layer registers.
    load_begin : Out(1), load_address : Out(32)
        Pulse: that is written to ``load_address``.
    start : Out(1)
        Pulse, two cycles after control was written 1. Counters begin anew; ``done`` of the layer
        before falls ``START`` cycles after the write.
    running, done : In(1)
        Status. Counters are complete when ``done`` is.
    increments : In(ArrayLayout(32, ...))
        What is added to each counter in this cycle, in the order of their names.
    counting : In(1), unit_events : In(ArrayLayout(len(UNIT_COUNTERS), units))
        The cycles that count for the units; what such a cycle is to each (``rtl.counters``).
    """

    READ = 4
    START = 3

    def __init__(
        self,
        units: int,
        registers: RegisterTable = LAYER_REGISTERS,
        counters: tuple[str, ...] = CLUSTER_COUNTERS,
    ) -> None:
        self._registers = registers
        super().__init__(
            {
                "address": In(16),
                "write": In(1),
                "write_data": In(32),
                "read_data": Out(32),
                "layer": Out(layer_layout(registers)),
                "load_begin": Out(1),
                "load_address": Out(32),
                "start": Out(1),
                "running": In(1),
                "done": In(1),
                "counting": In(1),
                "increments": In(data.ArrayLayout(32, len(counters))),
                "unit_events": In(data.ArrayLayout(len(UNIT_COUNTERS), units)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        address, write_data = Signal(16), Signal(32)
        control, chosen = Signal(), Signal(len(self._registers))  # what is written
        begin = [name for name, _, _ in self._registers].index("load_address")
        m.d.sync += [
            address.eq(self.address),
            write_data.eq(self.write_data),
            control.eq(self.write & (self.address == CONTROL)),
            self.start.eq(control & write_data[0] & ~self.running & ~self.start),
        ]
        for at, (name, _, _) in enumerate(self._registers):
            m.d.sync += chosen[at].eq(self.write & (self.address == LAYER_BASE + at))
            with m.If(chosen[at]):
                m.d.sync += self.layer[name].eq(write_data)
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
            of_cluster.eq(late_address >= CLUSTER_BASE),
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
        counts = Signal(self.increments.shape())
        for counter, increment in zip(counts, self.increments, strict=True):
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
