"""When an SDRAM's commands are issued: the ``sdram`` memory of ``docs/chip.md``, as hardware.

A request that comes in cycle R, or waits, is *accepted* in cycle max(D, R). The model's terms for
refresh, turn and row are then a countdown to its first *slot*: a slot is a cycle in which a word
goes through, D follows the last one. Commands are issued at fixed distances from slots.

Those of writes are *late*: they reach the pins ``turn`` cycles later than others, so that the data
of a read just before have left the bus; a read just after comes ``turn`` later itself.

A refresh that is due is run when nothing is asked. The burst that comes then waits for another
one, as the model says; where one is under way it stands for that.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, enum
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.lib.component import Component
from rtl.soc.sdram_requests import request_layout
from rtl.soc.sdram_timing import SdramModel

__all__ = ["ALL_BANKS", "Command", "SdramSchedule", "issue_layout", "slot_layout"]

BANKS = 4
#: Address bit that makes a precharge one of all banks.
ALL_BANKS = 1 << 10


class Command(enum.Enum, shape=3):
    """``ras_n``, ``cas_n``, ``we_n``, from bit 2 down."""

    MODE = 0
    REFRESH = 1
    PRECHARGE = 2
    ACTIVATE = 3
    WRITE = 4
    READ = 5
    NOP = 7


def issue_layout(model: SdramModel) -> data.StructLayout:
    """Return a command with its bank and address."""
    return data.StructLayout({"command": Command, "bank": 2, "address": model.timing.row_bits})


def slot_layout(model: SdramModel) -> data.StructLayout:
    """Return a slot: of what request, the lowest bits of its word, and whether it is the last."""
    return data.StructLayout(
        {"valid": 1, "write": 1, "processor": 1, "word": model.timing.column_bits, "last": 1}
    )


class SdramSchedule(Component):
    """Serve requests in order.

    Parameters
    ----------
    config : ChipConfig
    model : SdramModel

    Members
    -------
    available : In(1), head : In(request_layout), accept : Out(1)
    begins : In(1)
        Cycle 0 of a network: no row is open, the bus reads, tREFI passes until the next refresh.
    enable : In(1)
        The SDRAM is there.
    issue : Out(issue_layout), late : Out(1)
    slot : Out(slot_layout)
        Its command is issued in the same cycle.
    quiet : Out(1)
        Nothing has been under way for 8 cycles, nor is a refresh due within 24.
    """

    def __init__(self, config: ChipConfig, model: SdramModel) -> None:
        self._model = model
        self._request = request_layout(config, model.word_bits)
        super().__init__(
            {
                "available": In(1),
                "head": In(self._request),
                "accept": Out(1),
                "begins": In(1),
                "enable": In(1),
                "issue": Out(
                    issue_layout(model),
                    init={"command": Command.NOP},  # pyright: ignore[reportCallIssue]
                ),
                "late": Out(1),
                "slot": Out(slot_layout(model)),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._m, self._active = m, Signal()
        due, phase, until = self._refresh()
        writing = Signal()
        is_open, hit = self._rows(due)
        model = self._model
        lead = (
            Mux(due, model["tRFC"], 0)
            + Mux(self.head.write != writing, model["turn"], 0)
            + Mux(hit, 0, Mux(is_open, model["tRP"] + model["tRCD"], model["tRCD"]))
        )
        with m.If(self.accept):
            m.d.sync += writing.eq(self.head.write)
        with m.If(self.begins):
            m.d.sync += writing.eq(0)
        self._count_down(lead, is_open, hit)
        self._refresh_commands(phase, writing)
        quiet_for, busy = Signal(range(9), init=8), Signal()
        m.d.comb += busy.eq(self._active | self.available | phase.any() | (until <= 24))
        with m.If(busy):
            m.d.sync += quiet_for.eq(8)
        with m.Elif(quiet_for.any()):
            m.d.sync += quiet_for.eq(quiet_for - 1)
        m.d.comb += self.quiet.eq(self.enable & ~quiet_for.any() & ~busy)
        return m

    def _rows(self, due):
        """Keep the open rows; say whether the oldest request finds one open, and its own."""
        m, timing = self._m, self._model.timing
        rows = [Signal(timing.row_bits, name=f"row{bank}") for bank in range(BANKS)]
        opened, is_open, hit = Signal(BANKS), Signal(), Signal()
        bank, row = self._place(self.head)
        m.d.comb += [
            is_open.eq(opened.bit_select(bank, 1) & ~due),
            hit.eq(is_open & (Array(rows)[bank] == row)),
        ]
        with m.If(self.accept):
            m.d.sync += opened.eq(Mux(due, 0, opened) | (1 << bank))
            for number, register in enumerate(rows):
                with m.If(bank == number):
                    m.d.sync += register.eq(row)
        with m.If(self.begins):
            m.d.sync += opened.eq(0)
        return is_open, hit

    def _count_down(self, lead, is_open, hit) -> None:
        """Accept requests; issue the commands of their rows, then their slots."""
        m, timing, model = self._m, self._model.timing, self._model
        request, word = Signal(self._request), Signal(model.word_bits)
        active, ends = self._active, Signal()
        count, left = Signal(len(lead)), Signal(len(lead))
        opens, opening, replaces, replacing = Signal(), Signal(), Signal(), Signal()
        now, done = Signal(self._request), Signal.like(self.head.more)
        m.d.comb += [
            self.accept.eq(self.available & ~active & self.enable),
            now.eq(Mux(active, request.as_value(), self.head.as_value())),
            count.eq(Mux(active, left, lead)),
            opens.eq(Mux(active, opening, ~hit)),
            replaces.eq(Mux(active, replacing, is_open & ~hit)),
            word.eq(now.word + done),
            ends.eq(self.slot.valid & (done == now.more)),
            self.slot.valid.eq((active | self.accept) & (count == 0)),
            self.slot.write.eq(now.write),
            self.slot.processor.eq(now.processor),
            self.slot.word.eq(word),
            self.slot.last.eq(ends),
        ]
        m.d.sync += [
            active.eq((active | self.accept) & ~ends),
            left.eq(Mux(count == 0, 0, count - 1)),
            done.eq(Mux(ends, 0, done + self.slot.valid)),
        ]
        with m.If(self.accept):
            m.d.sync += [request.eq(self.head), opening.eq(opens), replacing.eq(replaces)]
        bank, row = self._place(now)
        serves = active | self.accept
        m.d.comb += [self.late.eq(now.write), self.issue.bank.eq(bank)]
        with m.If(self.slot.valid):
            m.d.comb += [
                self.issue.command.eq(Mux(now.write, Command.WRITE, Command.READ)),
                self.issue.address.eq(word[: timing.column_bits]),
            ]
        with m.Elif(serves & opens & (count == timing.rcd)):
            m.d.comb += [self.issue.command.eq(Command.ACTIVATE), self.issue.address.eq(row)]
        with m.Elif(serves & replaces & (count == timing.rcd + timing.rp)):
            m.d.comb += self.issue.command.eq(Command.PRECHARGE)

    def _refresh(self):
        """Say whether a refresh is due, where in one it is (0: in none), and when the next is."""
        m, model = self._m, self._model
        until = Signal(range(model["tREFI"]), init=model["tREFI"] - 1)
        was_due, due, wanted, tick, refreshes = (Signal() for _ in range(5))
        phase = Signal(range(model["tRFC"] + 1))
        rest = Signal(range(model["tRFC"] + 1))  # of the time that a burst waits for one
        idle = ~self._active & ~self.available & self.enable
        m.d.comb += [
            tick.eq((until == 0) & self.enable),
            due.eq(was_due | tick),
            refreshes.eq((phase == 0) & Mux(self.accept, due, idle & (wanted | tick))),
        ]
        m.d.sync += [
            until.eq(Mux(until == 0, model["tREFI"] - 1, until - 1)),
            was_due.eq(due),
            wanted.eq((wanted | tick) & ~refreshes),
            rest.eq(Mux(rest.any(), rest - 1, 0)),
            phase.eq(Mux(phase == model["tRFC"], 0, phase + (phase.any() | refreshes))),
        ]
        with m.If(self.accept & due):
            m.d.sync += rest.eq(model["tRFC"])
        with m.If(rest == 1):  # what became due in between is done too
            m.d.sync += [was_due.eq(0), wanted.eq(0)]
        with m.If(self.begins):
            m.d.sync += [until.eq(model["tREFI"] - 1), was_due.eq(0), wanted.eq(0)]
        return due, phase, until

    def _refresh_commands(self, phase, writing) -> None:
        """Issue what a refresh needs, after the last words; they are late where those were."""
        m, model = self._m, self._model
        was_writing = Signal()
        with m.If(phase == 0):
            m.d.sync += was_writing.eq(writing)
        precharge = (phase == model.lead) | self.begins
        with m.If(precharge | (phase == model.lead + model.timing.rp)):
            m.d.comb += [
                self.issue.command.eq(Mux(precharge, Command.PRECHARGE, Command.REFRESH)),
                self.issue.address.eq(ALL_BANKS),
                self.late.eq(was_writing & ~self.begins),
            ]

    def _place(self, request):
        """Return a request's bank and row."""
        column_bits = self._model.timing.column_bits
        return request.word[column_bits : column_bits + 2], request.word[column_bits + 2 :]
