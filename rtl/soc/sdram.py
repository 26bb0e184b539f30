"""A controller of a 16-bit SDR SDRAM that keeps the cycles of the ``sdram`` memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from golden.errors import ConfigError
from rtl.chip.signatures import axi_signature
from rtl.lib.bits import elements
from rtl.lib.component import Component
from rtl.soc.sdram_requests import SdramRequests
from rtl.soc.sdram_schedule import (
    ALL_BANKS,
    Command,
    SdramSchedule,
    issue_layout,
    slot_layout,
)
from rtl.soc.sdram_timing import SdramModel

__all__ = ["SdramController", "processor_signature", "sdram_signature"]

_REFRESHES = 8  # after power-up
#: One word a command, and the latency.
_MODE_LATENCY, _MODE_SINGLE_WRITES = 4, 1 << 9


def sdram_signature(model: SdramModel) -> wiring.Signature:
    """Return an SDRAM's pins as its controller sees them; chip select and clock enable hold."""
    return wiring.Signature(
        {
            "command": Out(Command, init=Command.NOP),  # pyright: ignore[reportCallIssue]
            "bank": Out(2),
            "address": Out(model.timing.row_bits),
            "dqm": Out(2),
            "dq_out": Out(16),
            "dq_enable": Out(1),
            "dq_in": In(16),
        }
    )


def processor_signature() -> wiring.Signature:
    """Return a processor's port as it sees it: a word of 32 bits is written or read.

    ``valid`` and all with it stay until ``ready``, with which ``read_data`` comes. No bit of
    ``strobes`` is set where it reads.
    """
    return wiring.Signature(
        {
            "valid": Out(1), "address": Out(32), "write_data": Out(32), "strobes": Out(4),
            "ready": In(1), "read_data": In(32),
        }
    )  # fmt: skip


class SdramController(Component):
    """An AXI4 slave, and a port for a processor.

    Parameters
    ----------
    config : ChipConfig
        The chip's.
    model : SdramModel
    power_up_cycles : int
        Before the first command: 200 us.

    Members
    -------
    axi : In(rtl.chip.signatures.axi_signature)
        ``rready`` and ``bready`` must be 1, and write data stand on the bus from the second cycle
        after their request on, as the chip does it. The user bits count bytes.
    processor : In(processor_signature)
        Served when the chip asks for nothing in that cycle.
    begins : In(1)
        Cycle 0 of a network: the first state of the model. Only while ``quiet`` was 1 up to 8
        cycles ago, and nothing has been asked since.
    quiet : Out(1)
    late : Out(1)
        Write data came too late, and what was written is wrong; it stays.
    pins : Out(sdram_signature)
        The SDRAM takes what stands there at the end of a cycle.

    Raises
    ------
    ConfigError
        A burst may cross a row.
    """

    def __init__(self, config: ChipConfig, model: SdramModel, power_up_cycles: int) -> None:
        if config.burst_bytes > model["row"]:
            raise ConfigError(
                f"Configuration key burst_bytes must be at most a row of the SDRAM "
                f"({model['row']}), not {config.burst_bytes}"
            )
        self._config, self._model, self._power_up = config, model, power_up_cycles
        self._lane_bits = (config.bus_bytes // 2 - 1).bit_length()
        super().__init__(
            {
                "axi": In(axi_signature(config)),
                "processor": In(processor_signature()),
                "begins": In(1),
                "quiet": Out(1),
                "late": Out(1),
                "pins": Out(sdram_signature(model)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.requests = requests = SdramRequests(self._config, self._model.word_bits)
        m.submodules.schedule = schedule = SdramSchedule(self._config, self._model)
        axi, cpu = self.axi, self.processor
        waits_for_cpu = Signal()
        m.d.comb += [
            requests.read_valid.eq(axi.arvalid),
            requests.write_valid.eq(axi.awvalid),
            requests.address.eq(Mux(axi.arvalid, axi.araddr, axi.awaddr)),
            requests.octets.eq(Mux(axi.arvalid, axi.aruser, axi.awuser)),
            axi.arready.eq(requests.ready),
            axi.awready.eq(requests.ready & ~axi.arvalid),
            requests.cpu_valid.eq(cpu.valid & ~waits_for_cpu),
            requests.cpu_address.eq(cpu.address),
            requests.cpu_write.eq(cpu.strobes.any()),
            schedule.available.eq(requests.available),
            schedule.head.eq(requests.head),
            requests.accept.eq(schedule.accept),
            schedule.begins.eq(self.begins),
            self.quiet.eq(schedule.quiet),
        ]
        m.d.sync += waits_for_cpu.eq((waits_for_cpu | requests.cpu_taken) & ~cpu.ready)
        ready, start = self._start(m)
        m.d.comb += [requests.enable.eq(ready), schedule.enable.eq(ready)]
        self._drive_pins(m, schedule, start)
        self._answer(m, schedule.slot)
        return m

    def _start(self, m: Module):
        """Wake the SDRAM; return whether it is awake, and the commands for it."""
        timing, start = self._model.timing, Signal(issue_layout(self._model))
        left, refreshes, ready = Signal(range(self._power_up + 1)), Signal(range(16)), Signal()
        m.d.comb += [start.command.eq(Command.NOP), start.address.eq(ALL_BANKS)]
        m.d.sync += left.eq(Mux(left == 0, timing.rfc + timing.rp, left - 1))
        with m.If(~ready & (left == 0)):
            m.d.sync += refreshes.eq(refreshes + 1)
            with m.Switch(refreshes):
                with m.Case(0):
                    m.d.sync += left.eq(self._power_up)
                with m.Case(1):
                    m.d.comb += start.command.eq(Command.PRECHARGE)
                with m.Case(_REFRESHES + 2):
                    mode = timing.cl << _MODE_LATENCY | _MODE_SINGLE_WRITES
                    m.d.comb += [start.command.eq(Command.MODE), start.address.eq(mode)]
                with m.Case(_REFRESHES + 3):
                    m.d.sync += ready.eq(1)
                with m.Default():
                    m.d.comb += start.command.eq(Command.REFRESH)
        return ready, start

    def _drive_pins(self, m: Module, schedule, start) -> None:
        """Give commands and write data to the pins' registers; late ones ``turn`` later."""
        pins, axi, cpu = self.pins, self.axi, self.processor
        late_issue = Signal(issue_layout(self._model), init={"command": Command.NOP})
        late_slot = Signal(slot_layout(self._model))
        issue, slot = schedule.issue, schedule.slot
        for number in range(self._model["turn"]):
            last = number == self._model["turn"] - 1
            later = late_issue if last else Signal.like(late_issue, name=f"issue{number}")
            later_slot = late_slot if last else Signal.like(late_slot, name=f"slot{number}")
            m.d.sync += [later.eq(issue), later_slot.eq(slot)]
            if number == 0:
                with m.If(~schedule.late):
                    m.d.sync += [later.command.eq(Command.NOP), later_slot.valid.eq(0)]
            issue, slot = later, later_slot
        chosen = Signal(issue_layout(self._model))
        writes = Signal()
        lane = late_slot.word[: self._lane_bits]
        half = late_slot.word[0]
        of_cpu = late_slot.processor
        octets = Mux(of_cpu, cpu.write_data.word_select(half, 16), axi.wdata.word_select(lane, 16))
        strobes = Mux(of_cpu, cpu.strobes.word_select(half, 2), axi.wstrb.word_select(lane, 2))
        m.d.comb += [
            writes.eq(late_slot.valid & late_slot.write),
            axi.wready.eq(writes & ~of_cpu & (lane.all() | late_slot.last)),
            chosen.eq(schedule.issue),
        ]
        with m.If(schedule.late):
            m.d.comb += chosen.command.eq(Command.NOP)
        with m.If(late_issue.command != Command.NOP):
            m.d.comb += chosen.eq(late_issue)
        with m.If(start.command != Command.NOP):
            m.d.comb += chosen.eq(start)
        m.d.sync += [
            Cat(pins.command, pins.bank, pins.address).eq(chosen),
            pins.dq_out.eq(octets),
            pins.dq_enable.eq(writes),
            pins.dqm.eq(Mux(writes, ~strobes, 0)),
            self.late.eq(self.late | (writes & ~of_cpu & ~axi.wvalid)),
        ]

    def _answer(self, m: Module, slot) -> None:
        """Give read data and responses, in the cycles in which they are due."""
        axi, cpu = self.axi, self.processor
        for _ in range(self._model["CL"] + 1):
            later = Signal(slot_layout(self._model))
            m.d.sync += later.eq(slot)
            slot = later
        word, previous = Signal(16), Signal(16)
        beat = Signal(data.ArrayLayout(16, self._config.bus_bytes // 2))
        m.d.sync += [word.eq(self.pins.dq_in), previous.eq(word)]
        lane = slot.word[: self._lane_bits]
        for number, part in enumerate(elements(beat)):
            here = slot.valid & (lane == number)
            m.d.comb += axi.rdata.word_select(number, 16).eq(Mux(here, word, part))
            with m.If(here):
                m.d.sync += part.eq(word)
        of_bus = slot.valid & ~slot.processor
        m.d.comb += [
            axi.rvalid.eq(of_bus & ~slot.write & (lane.all() | slot.last)),
            axi.rlast.eq(slot.last),
            axi.bvalid.eq(of_bus & slot.write & slot.last),
            cpu.ready.eq(slot.valid & slot.processor & slot.last),
            cpu.read_data.eq(Cat(previous, word)),
        ]
