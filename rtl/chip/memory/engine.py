"""The engine: entries of the list in order, cut into bursts, each asked for when it may be.

A burst is *granted* in the cycle before its request stands on the bus: then its place is taken.
Symbols are those of ``docs/chip.md``, *Timing*.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from golden.chip.formats import DESCRIPTOR_BYTES, TILE_BYTES
from rtl.chip.memory.list_reader import ENTRY
from rtl.chip.signatures import Kind, Layouts
from rtl.chip.status import Code
from rtl.lib.component import Component

__all__ = ["Engine", "granted_layout", "request_layout", "write_layout"]


def granted_layout(config: ChipConfig) -> data.StructLayout:
    """Return what is known of a burst that is granted.

    ``first`` and ``last`` of its entry, ``begins`` a load of filters; ``closes`` its tile;
    ``number`` of the entry.
    """
    return data.StructLayout(
        {
            "kind": 4, "address": 32, "bytes": config.burst_bytes.bit_length(), "first": 1,
            "last": 1, "begins": 1, "gap": 16, "number": 24,
        }
    )  # fmt: skip


def request_layout(config: ChipConfig) -> data.StructLayout:
    """Return a request for the bus."""
    return data.StructLayout({"write": 1, "address": 32, "bytes": config.burst_bytes.bit_length()})


def write_layout(config: ChipConfig) -> data.StructLayout:
    """Return a write burst that has been made: ``Layouts.burst``, and its ``offset``."""
    offset = (config.burst_bytes - 1).bit_length()
    return data.StructLayout({**Layouts(config).burst.members, "offset": offset})


class Engine(Component):
    """Grants bursts.

    Parameters
    ----------
    config : ChipConfig

    Members
    -------
    clear, start : In(1)
    entries : In(stream of ENTRY)
    tile_done, half_read : In(1)
        done, Z.
    written : In(16)
        Write entries that are done, from the cycle after W on.
    room : In
        Whether a FIFO has a place for a burst; ``closings`` for a tile's end.
    made : In(stream of write_layout)
        The oldest write burst that has been made.
    answered : In(2)
        Bursts that end in this cycle: A.
    halt : In(1)
        Nothing more is granted.
    granted : Out(1), burst : Out(granted_layout)
        A burst's request stands on the bus from the next cycle on.
    closes : Out(1), closes_empty : Out(1)
        The last entry of a tile's rows or operands is through; with a burst, or without.
    write_ends : Out(1)
        A write entry's last burst is granted, or it has none.
    requests : Out(stream of request_layout)
    idle, in_work : Out(1)
        No burst is under way or asked for; an entry is being served.
    code : Out(8), number : Out(24)
        Not 0: the entry of this number can't be, and why.
    """

    def __init__(self, config: ChipConfig) -> None:
        self._config = config
        self._offset_bits = (config.burst_bytes - 1).bit_length()
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "entries": In(stream.Signature(ENTRY)),
                "tile_done": In(1),
                "half_read": In(1),
                "written": In(16),
                "room": In(
                    data.StructLayout({"filters": 1, "rows": 1, "residual": 1, "closings": 1})
                ),
                "made": In(stream.Signature(write_layout(config))),
                "answered": In(2),
                "halt": In(1),
                "granted": Out(1),
                "burst": Out(granted_layout(config)),
                "closes": Out(1),
                "closes_empty": Out(1),
                "write_ends": Out(1),
                "requests": Out(stream.Signature(request_layout(config))),
                "idle": Out(1),
                "in_work": Out(1),
                "code": Out(8),
                "number": Out(24),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        entry, begun = Signal(ENTRY), Signal()
        starts, running = Signal(), Signal()
        m.d.sync += starts.eq(self.start)
        with m.If(starts):
            m.d.sync += running.eq(1)
        m.d.comb += self.entries.ready.eq(running & ~self.in_work & ~self.halt)
        with m.If(self.entries.valid & self.entries.ready):
            m.d.sync += [entry.eq(self.entries.payload), self.in_work.eq(1), begun.eq(0)]
        is_kind = {kind: entry.kind == kind.value for kind in Kind}
        inputs = is_kind[Kind.ROWS] | is_kind[Kind.OPERAND]
        writes = is_kind[Kind.WRITE]

        size, step, last = self._cut(m, entry, writes)
        empty = Signal()
        m.d.comb += empty.eq(entry.length == 0)
        may_serve = self._waits(m, entry)
        has_place = self._places(m, entry, is_kind, inputs)
        free = ~self.requests.valid | self.requests.ready
        in_flight = self._count_flight(m)
        self._check(m, entry, is_kind)
        grants, ends = Signal(), Signal()
        m.d.comb += [
            grants.eq(
                may_serve & ~empty & has_place & free & (in_flight != self._config.outstanding)
            ),
            ends.eq((grants & last) | (may_serve & empty & (~inputs | self.room.closings))),
            self.granted.eq(grants),
            self.made.ready.eq(grants & writes),
            self.closes.eq(ends & inputs & entry.last),
            self.closes_empty.eq(empty),
            self.write_ends.eq(ends & writes),
        ]
        with m.If(grants):
            m.d.sync += [
                begun.eq(1),
                entry.address.eq(entry.address + step),
                self.requests.payload.write.eq(writes),
                self.requests.payload.address.eq(entry.address),
                self.requests.payload.bytes.eq(size),
            ]
            with m.If(~writes):
                m.d.sync += entry.length.eq(entry.length - size)
        with m.If(free):
            m.d.sync += self.requests.valid.eq(grants)
        with m.If(ends):
            m.d.sync += self.in_work.eq(0)
        begins = self._follow_loads(m, grants, ends, entry, is_kind[Kind.FILTERS])
        m.d.comb += [
            self.burst.kind.eq(entry.kind),
            self.burst.address.eq(entry.address),
            self.burst.bytes.eq(size),
            self.burst.first.eq(~begun),
            self.burst.last.eq(last),
            self.burst.begins.eq(begins),
            self.burst.gap.eq(entry.gap),
            self.burst.number.eq(entry.number),
            self.number.eq(entry.number),
            self.idle.eq((in_flight == 0) & ~self.requests.valid),
        ]
        with m.If(self.clear):
            m.d.sync += [running.eq(0), starts.eq(0), self.in_work.eq(0)]
        return m

    def _cut(self, m: Module, entry, writes):
        """Return the next burst's bytes, the step to the one after it, whether it is the last."""
        burst = self._config.burst_bytes
        offset = entry.address[: self._offset_bits]
        edge, size = Signal(range(burst + 1)), Signal(range(burst + 1))
        step, last, whole = Signal(17), Signal(), Signal()
        made = self.made.payload
        m.d.comb += [
            edge.eq(burst - offset),
            whole.eq(entry.length <= edge),
            size.eq(Mux(writes, made.bytes, Mux(whole, entry.length, edge))),
            step.eq(Mux(writes, made.step, size)),
            last.eq(Mux(writes, made.last, whole)),
        ]
        return size, step, last

    def _waits(self, m: Module, entry):
        """Return whether an entry is there and all that it waits for has happened."""
        tiles = Signal(16)
        with m.If(self.tile_done):
            m.d.sync += tiles.eq(tiles + 1)
        with m.If(self.clear):
            m.d.sync += tiles.eq(0)
        behind = Cat((tiles - entry.tiles)[15], (self.written - entry.writes)[15])
        is_list = entry.kind == Kind.LIST.value
        may_serve = Signal()
        m.d.comb += may_serve.eq(
            self.in_work & ~self.halt & (self.code == 0) & (is_list | ~behind.any())
        )
        return may_serve

    def _places(self, m: Module, entry, is_kind, inputs):
        """Return whether there is a place for the next burst."""
        # Halves that may be filled: fewer than 0 where rows are ahead of them.
        halves = Signal(range(-16, 3), init=2)
        m.d.sync += halves.eq(halves + self.half_read - self.closes)
        with m.If(self.clear):
            m.d.sync += halves.eq(2)
        has_place = Signal()
        m.d.comb += has_place.eq(1)
        with m.If(is_kind[Kind.FILTERS]):
            m.d.comb += has_place.eq(self.room.filters)
        with m.Elif(inputs):
            half = is_kind[Kind.ROWS] | (halves > 0)
            m.d.comb += has_place.eq(self.room.rows & half & self.room.closings)
        with m.Elif(is_kind[Kind.RESIDUAL]):
            m.d.comb += has_place.eq(self.room.residual)
        with m.Elif(is_kind[Kind.WRITE]):
            m.d.comb += has_place.eq(self.made.valid)
        return has_place

    def _count_flight(self, m: Module):
        in_flight = Signal(range(self._config.outstanding + 1))
        m.d.sync += in_flight.eq(in_flight + self.granted - self.answered)
        return in_flight

    def _follow_loads(self, m: Module, grants, ends, entry, filters):
        """Return whether a filter burst is the first of its load."""
        begins = Signal(init=1)
        with m.If(grants & filters):
            m.d.sync += begins.eq(0)
        with m.If((ends & filters & entry.last) | self.clear):
            m.d.sync += begins.eq(1)
        return begins

    def _check(self, m: Module, entry, is_kind) -> None:
        """Find entries that can't be."""
        made = self.made
        misfit = made.valid & (made.payload.offset != entry.address[: self._offset_bits])
        beats = self._config.filter_bus_bytes - 1
        with m.If(self.in_work):
            with m.If(entry.kind > Kind.WRITE.value):
                m.d.comb += self.code.eq(Code.KIND)
            with m.Elif(is_kind[Kind.DESCRIPTOR] & (entry.length > DESCRIPTOR_BYTES)):
                m.d.comb += self.code.eq(Code.LENGTH)
            with m.Elif(is_kind[Kind.TILE] & (entry.length != TILE_BYTES)):
                m.d.comb += self.code.eq(Code.LENGTH)
            with m.Elif(is_kind[Kind.FILTERS] & ((entry.length | entry.address) & beats).any()):
                m.d.comb += self.code.eq(Code.LENGTH)
            with m.Elif(is_kind[Kind.WRITE] & entry.length.any() & misfit):
                m.d.comb += self.code.eq(Code.WRITE_PLACE)
