"""All of a system on a chip but its processor and the memory of its program, which are Verilog.

| address | what |
|---|---|
| 0x00000000 | the memory of the processor's program; not here |
| 0x10000000 | the serial port: a byte that is written is sent |
| 0x20000000 | the chip's registers |
| 0x40000000 | the SDRAM, which the chip sees from 0 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from rtl.chip.chip import Chip
from rtl.chip.csr import axi_lite_signature
from rtl.lib.component import Component
from rtl.soc.sdram import SdramController, processor_signature, sdram_signature
from rtl.soc.sdram_timing import SdramModel
from rtl.soc.uart import UartTransmitter

__all__ = ["RegisterBridge", "Soc"]

_SERIAL, _CHIP, _SDRAM = 0x1, 0x2, 0x4


class Soc(Component):
    """A chip with memory, serial port, and a port for a processor.

    Parameters
    ----------
    config : ChipConfig
    model : SdramModel
    divider : int
        Cycles of a bit of the serial port.
    power_up_cycles : int
        Of the SDRAM.
    make_chip : callable
        Returns the chip of a configuration.

    Members
    -------
    processor : In(processor_signature)
    interrupt : Out(1)
        The chip's.
    serial : Out(1)
    sdram : Out(sdram_signature)
    late : Out(1)
        The chip's write data came too late (``rtl.soc.sdram``).
    """

    def __init__(
        self,
        config: ChipConfig,
        model: SdramModel,
        divider: int,
        power_up_cycles: int,
        make_chip: Callable[[ChipConfig], Any] = Chip,
    ) -> None:
        self._config, self._model = config, model
        self._divider, self._power_up, self._make_chip = divider, power_up_cycles, make_chip
        super().__init__(
            {
                "processor": In(processor_signature()),
                "interrupt": Out(1),
                "serial": Out(1),
                "sdram": Out(sdram_signature(model)),
                "late": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.chip = chip = self._make_chip(self._config)
        m.submodules.controller = controller = SdramController(
            self._config, self._model, self._power_up
        )
        m.submodules.bridge = bridge = RegisterBridge()
        m.submodules.serial_port = serial = UartTransmitter(self._divider)
        wiring.connect(m, chip.axi, controller.axi)
        wiring.connect(m, bridge.bus, chip.host)
        wiring.connect(m, controller.pins, wiring.flipped(self.sdram))
        cpu = self.processor
        chosen = {place: cpu.valid & (cpu.address[28:] == place) for place in
                  (_SERIAL, _CHIP, _SDRAM)}  # fmt: skip
        m.d.comb += [
            controller.begins.eq(chip.begins),
            self.late.eq(controller.late),
            self.interrupt.eq(chip.interrupt),
            self.serial.eq(serial.line),
            serial.octets.valid.eq(chosen[_SERIAL] & cpu.strobes.any()),
            serial.octets.payload.eq(cpu.write_data),
            # A start finds the memory as the model begins: it waits until that rests.
            bridge.hold.eq(~controller.quiet),
        ]
        for place, port in ((_CHIP, bridge.processor), (_SDRAM, controller.processor)):
            m.d.comb += [port.valid.eq(chosen[place]), port.address.eq(cpu.address[:28])]
            m.d.comb += [port.write_data.eq(cpu.write_data), port.strobes.eq(cpu.strobes)]
        answers = (
            (_SERIAL, serial.octets.ready, 0),
            (_CHIP, bridge.processor.ready, bridge.processor.read_data),
            (_SDRAM, controller.processor.ready, controller.processor.read_data),
        )
        m.d.comb += cpu.ready.eq(1)  # nothing lies there
        for place, ready, word in answers:
            with m.If(chosen[place]):
                m.d.comb += [cpu.ready.eq(ready), cpu.read_data.eq(word)]
        return m


class RegisterBridge(Component):
    """A processor's port before AXI4-Lite.

    Members
    -------
    processor : In(processor_signature)
    bus : Out(axi_lite_signature)
    hold : In(1)
        A write does not begin.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "processor": In(processor_signature()),
                "bus": Out(axi_lite_signature()),
                "hold": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        cpu, bus = self.processor, self.bus
        asked, writes = Signal(), Signal()
        m.d.comb += [
            writes.eq(cpu.strobes.any()),
            bus.awaddr.eq(cpu.address),
            bus.araddr.eq(cpu.address),
            bus.wdata.eq(cpu.write_data),
            bus.wstrb.eq(cpu.strobes),
            bus.bready.eq(1),
            bus.rready.eq(1),
            cpu.read_data.eq(bus.rdata),
            cpu.ready.eq(cpu.valid & asked & (bus.bvalid | bus.rvalid)),
        ]
        with m.If(cpu.valid & ~asked & ~(writes & self.hold)):
            m.d.sync += [
                asked.eq(1), bus.awvalid.eq(writes), bus.wvalid.eq(writes), bus.arvalid.eq(~writes),
            ]  # fmt: skip
        with m.If(bus.awready & bus.awvalid):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(bus.wready & bus.wvalid):
            m.d.sync += bus.wvalid.eq(0)
        with m.If(bus.arready & bus.arvalid):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(cpu.ready):
            m.d.sync += asked.eq(0)
        return m
