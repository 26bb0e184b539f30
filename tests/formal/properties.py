"""What is proved of the blocks. Each function returns a module with a block and its assertions.

A name with a capital letter in it is an arbitrary constant: what holds for it holds for all.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal
from amaranth.hdl._ast import AnyConst, AnySeq
from amaranth.lib import data

from golden.machines.cluster.config import AcceleratorConfig
from rtl.chip.memory.engine import Engine
from rtl.chip.memory.write_buffer import WriteBuffer
from rtl.cluster.collector import Collector
from rtl.cluster.holders import track_holders
from rtl.cluster.layouts import Layouts
from rtl.cluster.loader import FilterLoader
from rtl.lib.countdown import Countdown, constant_count, count_down
from rtl.lib.fifo import CreditFifo
from rtl.lib.registers import CONTROL, LAYER_BASE, STATUS, Register, RegisterFile, RegisterMap
from tests.chip.cases import small_chip
from tests.formal.join import inner_join
from tests.formal.prove import Proof, inside, locals_of

__all__ = ["PROOFS"]


def _drive(m: Module, *ports) -> None:
    """Let inputs be anything in each cycle."""
    for port in ports:
        value = port.as_value() if hasattr(port, "as_value") else port
        m.d.comb += value.eq(AnySeq(len(value)))


def fifo_room() -> Module:
    """Nothing is lost: whatever enters where there is room has a place when it arrives."""
    m = Module()
    dut = CreditFifo(1)
    m.submodules.dut, inner = inside(dut)
    _drive(m, dut.clear, dut.enter, dut.push, dut.item, dut.pop)
    flying = Signal(6)  # entered, not yet arrived
    m.d.sync += flying.eq(flying + dut.enter - dut.push)
    with m.If(dut.clear):
        m.d.sync += flying.eq(0)
    stored = Signal(4)  # in the memory
    held = Signal(6)  # in the memory and the register
    newest, oldest, free = inner["newest"], inner["oldest"], inner["free"]
    popped = inner["popped"]
    m.d.comb += [
        stored.eq(newest - oldest),
        held.eq(stored + dut.valid),
        Assume(~dut.enter | dut.room),
        Assume(~dut.push | (flying + dut.enter > 0)),
        Assume(~dut.pop | dut.valid),
        # Credits, what is on its way and what is held are the places.
        Assert(free + popped + flying + held == dut.DEPTH),
        Assert(flying + held <= dut.DEPTH),
        Assert(dut.room == (free > 0)),
        Assert(dut.valid | (stored == 0)),
        Assert(~(dut.push & (held == dut.DEPTH))),
    ]
    return m


def fifo_order() -> Module:
    """Item N, of value V, is the N-th that goes; others may be anything."""
    m = Module()
    dut = CreditFifo(2)
    m.submodules.dut = dut
    m.d.comb += dut.clear.eq(0)
    _drive(m, dut.enter, dut.item, dut.pop)
    number, value = AnyConst(4), Signal(2)
    pushed, gone, known = Signal(4), Signal(4), Signal()
    m.d.comb += [
        dut.push.eq(dut.enter),
        Assume(~dut.enter | dut.room),
        Assume(~dut.pop | dut.valid),
        Assert(~(dut.valid & (gone == pushed))),
    ]
    m.d.sync += [pushed.eq(pushed + dut.push), gone.eq(gone + dut.pop)]
    with m.If(dut.push & (pushed == number)):
        m.d.sync += [value.eq(dut.item), known.eq(1)]
    with m.If(dut.pop & (gone == number)):
        m.d.comb += [Assert(known), Assert(dut.head == value)]
    return m


def countdown() -> Module:
    """``last`` is that nothing is left, however it counts and is loaded anew."""
    m = Module()
    amount = Signal(24)
    _drive(m, amount)
    constant = constant_count(m, amount)
    count = Signal(Countdown(24), init={"left": 0, "last": 1})
    loads, counts, started = Signal(), Signal(), Signal()
    _drive(m, loads, counts)
    m.d.sync += started.eq(1)
    with m.If(loads & started):
        m.d.sync += count.eq(constant)
    with m.Elif(counts):
        m.d.sync += count_down(count)
    m.d.comb += Assert(count.last == (count.left == 0))
    with m.If(started):
        m.d.comb += Assert(constant.last == (constant.left == 0))
    return m


def holders() -> Module:
    """A place is busy while any unit U of those that took it has not retired, and no longer."""
    m = Module()
    units, places = 8, 3
    taken = Signal(units)
    begins = Signal(places)
    retired = Signal(data.ArrayLayout(places, units))
    _drive(m, taken, begins, retired)
    listed = [retired[unit] for unit in range(units)]
    stays, inner = locals_of(
        lambda: track_holders(m, taken, [begins[at] for at in range(places)], listed),
        track_holders.__module__,
    )
    for place in range(places):
        model = [Signal(name=f"holds{place}_{unit}") for unit in range(units)]
        left = [model[unit] & ~retired[unit][place] for unit in range(units)]
        for unit in range(units):
            m.d.sync += model[unit].eq(left[unit] | (begins[place] & taken[unit]))
        m.d.comb += [
            Assert(stays[place] == Cat(left).any()),
            Assert(inner["busy"][place] == Cat(model)),
        ]
    return m


_TABLE = (
    Register("load_address", 32, ""),
    Register("wide", 16, ""),
    Register("narrow", 9, "", is_signed=True),
)


def register_port() -> Module:
    """A register holds what was last written to it; a start comes only where nothing runs."""
    m = Module()
    dut = RegisterFile(RegisterMap(_TABLE, ("one", "two"), 1))
    m.submodules.dut, inner = inside(dut)
    _drive(m, dut.address, dut.write, dut.write_data, dut.running, dut.done, dut.hold)
    _drive(m, dut.counting, dut.increments, dut.unit_events)
    chosen = Signal(2)
    m.d.comb += [chosen.eq(AnyConst(2)), Assume(chosen < len(_TABLE))]
    hit, value = Signal(), Signal(32)  # what is written arrives in the next cycle
    model = Signal(32)
    m.d.sync += [
        hit.eq(dut.write & (dut.address == LAYER_BASE + chosen)),
        value.eq(dut.write_data),
    ]
    with m.If(hit):
        m.d.sync += model.eq(value)
    for at, one in enumerate(_TABLE):
        with m.If(chosen == at):
            found = dut.layer[one.name].as_unsigned()
            m.d.comb += Assert(found == model[: one.bits])
    # Starts.
    asked, ran, held, waited, started = (Signal() for _ in range(5))
    m.d.sync += [
        asked.eq(dut.write & (dut.address == CONTROL) & dut.write_data[0]),
        ran.eq(dut.running),
        held.eq(dut.hold),
        started.eq(dut.start),
        waited.eq((asked | waited) & ~dut.running & ~dut.start & dut.hold),
    ]
    before = Signal()
    m.d.sync += before.eq((asked | waited) & ~dut.running & ~dut.start & ~dut.hold)
    m.d.comb += [Assert(dut.start == before), Assert(waited == inner["waiting"])]
    m.d.comb += [Assert(~(dut.start & (ran | held | started)))]
    # Status, four cycles after its address.
    addresses = [Signal(16, name=f"address{at}") for at in range(3)]
    statuses = Signal(2)
    early = dut.address
    for late in addresses:
        m.d.sync += late.eq(early)
        early = late
    m.d.sync += statuses.eq(Cat(dut.running, dut.done))
    old = Signal(16)
    m.d.sync += old.eq(addresses[2])
    cycles = Signal(3)
    m.d.sync += cycles.eq(cycles + (cycles < 5))
    with m.If((cycles == 5) & (old == STATUS)):
        m.d.comb += Assert(dut.read_data == statuses)
    return m


_SMALL = AcceleratorConfig.preset("toy").replace(
    units=2, chunk=16, filter_bus_bytes=2, broadcast_width=4, filter_buffer_chunks=4,
    filter_buffer_bytes=64, input_buffer_chunks=4, input_buffer_bytes=64,
)  # fmt: skip


def loader() -> Module:
    """A load's first beat waits for every unit that holds the buffer; no beat before a start."""
    m = Module()
    dut = FilterLoader(Layouts(_SMALL))
    m.submodules.dut, inner = inside(dut)
    for port in (dut.start, dut.layer, dut.beats.payload, dut.beats.valid, dut.pass_row,
                 dut.retire_buffers):  # fmt: skip
        _drive(m, port)
    since = Signal(4)  # cycles since the last start
    begun = Signal()
    with m.If(dut.start):
        m.d.sync += [since.eq(0), begun.eq(1)]
    with m.Elif(since != 15):
        m.d.sync += since.eq(since + 1)
    unit = Signal()
    m.d.comb += unit.eq(AnyConst(1))
    holds = Signal()  # unit U has not retired from the only buffer
    first = inner["go"] & inner["fresh"]
    freed = Mux(unit, dut.retire_buffers[1][0], dut.retire_buffers[0][0])
    active = inner["held"].bit_select(unit, 1)
    m.d.sync += holds.eq((holds & ~freed) | (first & active))
    beats = Signal(6)  # taken from the stream, not yet decided on
    m.d.sync += beats.eq(beats + (dut.beats.valid & dut.beats.ready) - dut.beat)
    m.d.comb += [
        Assert(~dut.beat | begun),
        Assert(~(dut.beat & (since < dut.START))),
        Assert(~(first & holds)),
        Assert(beats <= CreditFifo.DEPTH),
    ]
    return m


def collector() -> Module:
    """A beat stays until it is taken, none is lost, and sums are taken where there is room."""
    m = Module()
    dut = Collector(Layouts(_SMALL))
    m.submodules.dut, inner = inside(dut)
    for port in (dut.start, dut.pass_row, dut.entries, dut.results, dut.valid, dut.outputs.ready):
        _drive(m, port)
    m.d.comb += dut.layer.as_value().eq(AnyConst(len(dut.layer.as_value())))
    output = dut.outputs
    payload, waited, cleared = Signal(len(output.payload.as_value())), Signal(), Signal()
    on_way = Signal(6)
    m.d.sync += [
        payload.eq(output.payload.as_value()),
        waited.eq(output.valid & ~output.ready),
        cleared.eq(1),
        on_way.eq(on_way + inner["take"] - (output.valid & output.ready)),
    ]
    m.d.comb += [
        Assume(~(dut.start & cleared)),  # a start belongs where no layer runs
        Assert(~waited | (output.valid & (payload == output.payload.as_value()))),
        Assert(on_way <= CreditFifo.DEPTH),
        Assert(~(output.valid & (on_way == 0))),
        Assert(~dut.taken | inner["take"]),
    ]
    return m


#: A chip whose bursts are short; what is proved of addresses holds for any.
_CHIP = small_chip(
    bus_bytes=4, burst_bytes=64, filter_bus_bytes=4, outstanding=2, write_bursts=1, vector_lanes=2
)


def bus_requests() -> Module:
    """A request stays as it is until it is taken, has bytes, and crosses no multiple of a burst.

    So it crosses no multiple of 4096 either. Never are more under way than may be.
    """
    m = Module()
    dut = Engine(_CHIP)
    m.submodules.dut, inner = inside(dut)
    entries, made, requests = dut.entries, dut.made, dut.requests
    for port in (entries.payload, entries.valid, made.payload, made.valid, requests.ready,
                 dut.start, dut.clear, dut.tile_done, dut.half_read, dut.written, dut.room,
                 dut.answered, dut.halt):  # fmt: skip
        _drive(m, port)
    burst, outstanding = _CHIP.burst_bytes, _CHIP.outstanding
    payload, waited = Signal(len(requests.payload.as_value())), Signal()
    m.d.sync += [
        payload.eq(requests.payload.as_value()),
        waited.eq(requests.valid & ~requests.ready),
    ]
    request, parts = requests.payload, made.payload
    offset = request.address[: (burst - 1).bit_length()]
    flight = inner["in_flight"]
    m.d.comb += [
        # What the vector unit makes is cut already (``docs/chip.md``, *Vector unit*).
        Assume(~made.valid | ((parts.bytes != 0) & (parts.offset + parts.bytes <= burst))),
        Assume(dut.answered <= flight),
        Assert(~waited | (requests.valid & (payload == requests.payload.as_value()))),
        Assert(~requests.valid | ((request.bytes != 0) & (offset + request.bytes <= burst))),
        Assert(flight <= outstanding),
    ]
    return m


def bus_write_data() -> Module:
    """A beat of write data stays as it is until it is taken."""
    m = Module()
    dut = WriteBuffer(_CHIP)
    m.submodules.dut, _ = inside(dut)
    for port in (dut.pieces.payload, dut.pieces.valid, dut.bursts.payload, dut.bursts.valid,
                 dut.granted, dut.wready, dut.clear, dut.made.ready):  # fmt: skip
        _drive(m, port)
    beat, kept, waited = Cat(dut.wdata, dut.wstrb, dut.wlast), Signal(37), Signal()
    m.d.sync += [kept.eq(beat), waited.eq(dut.wvalid & ~dut.wready)]
    m.d.comb += [
        Assume(~dut.clear | dut.idle),  # all that is under way ends first
        Assert(~waited | (dut.wvalid & (kept == beat))),
    ]
    return m


PROOFS = (
    Proof(name="bus: requests", make=bus_requests, depth=3, widths="4 bytes, bursts of 64"),
    Proof(name="bus: write data", make=bus_write_data, depth=3, widths="4 bytes, bursts of 64"),
    Proof(name="FIFO: room", make=fifo_room, depth=2, widths="16 places, any pipeline"),
    Proof(name="FIFO: order", make=fifo_order, depth=12, widths="2 bits, 12 cycles", bounded=True),
    Proof(name="countdown", make=countdown, depth=2, widths="24 bits"),
    Proof(name="holders", make=holders, depth=2, widths="3 places, 8 units"),
    Proof(name="register port", make=register_port, depth=6, widths="3 registers of 9 to 32 bits"),
    Proof(name="join", make=inner_join, depth=2, widths="chunk 128"),
    Proof(
        name="loader", make=loader, depth=10, widths="2 units, chunk 16, 10 cycles", bounded=True
    ),
    Proof(
        name="collector",
        make=collector,
        depth=12,
        widths="2 units, 1 lane, 12 cycles",
        bounded=True,
    ),
)
