"""The ULX3S with an LFE5U-85F: the SoC with a serial line in the processor's place, and its pins.

Pins are those of the board's public constraints (version 2.x and 3.0.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.chip.config import ChipConfig
from golden.chip.memory import Memory
from golden.errors import UserError
from rtl.lib.component import Component
from rtl.soc.sdram import sdram_signature
from rtl.soc.sdram_timing import W9825G6KH_100MHZ, SdramModel
from rtl.soc.soc import Soc
from rtl.soc.uart_bridge import UartBridge

__all__ = ["BAUD", "Clock", "Ulx3s", "constraints", "sdram_model", "top_verilog"]

#: Of the serial line.
BAUD = 1_000_000
_CRYSTAL_MHZ, _VCO_MHZ = 25.0, 600.0
#: A row of the SDRAM in 64 ms / 8192, in microseconds; it wakes up in 200.
_REFRESH_US, _POWER_UP_US = 7.8, 200
#: Steps of the oscillator by which the SDRAM's clock is ahead, so that what it gives and takes does
#: not change at its edges.
_AHEAD = 2


@dataclass(frozen=True)
class Clock:
    """A clock that the PLL makes of 25 MHz.

    Parameters
    ----------
    megahertz : float

    Raises
    ------
    UserError
        It makes none such.
    """

    megahertz: float

    def __post_init__(self) -> None:
        if self.megahertz not in (12.5, 25.0, 37.5, 50.0, 75.0, 100.0):
            raise UserError(
                f"Clock must be 12.5, 25, 37.5, 50, 75 or 100 MHz, not {self.megahertz:g}"
            )

    @property
    def dividers(self) -> tuple[int, int, int]:
        """Of the crystal, of the feedback, of the oscillator (600 MHz)."""
        before = 1 if self.megahertz % _CRYSTAL_MHZ == 0 else 2
        feedback = round(self.megahertz * before / _CRYSTAL_MHZ)
        return before, feedback, round(_VCO_MHZ / self.megahertz)

    @property
    def bit_cycles(self) -> int:
        """Cycles of a bit of the serial line."""
        return round(self.megahertz * 1e6 / BAUD)


def sdram_model(clock: Clock) -> SdramModel:
    """Return the memory that the board has at a clock: refreshes are a matter of time."""
    refresh = floor(_REFRESH_US * clock.megahertz)
    return SdramModel(
        memory=Memory.parse(f"sdram:2,4,1024,3,3,3,2,{refresh},9"), timing=W9825G6KH_100MHZ
    )


class Ulx3s(Component):
    """Chip, SDRAM controller, and a serial line that reads and writes both.

    Parameters
    ----------
    config : ChipConfig
    clock : Clock

    Members
    -------
    receive : In(1), transmit : Out(1)
    interrupt, late : Out(1)
        As the SoC's.
    sdram : Out(sdram_signature)
    """

    def __init__(self, config: ChipConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._model = sdram_model(clock)
        super().__init__(
            {
                "receive": In(1),
                "transmit": Out(1),
                "interrupt": Out(1),
                "late": Out(1),
                "sdram": Out(sdram_signature(self._model)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bit_cycles = self._clock.bit_cycles
        power_up = round(_POWER_UP_US * self._clock.megahertz)
        m.submodules.soc = soc = Soc(self._config, self._model, bit_cycles, power_up)
        m.submodules.bridge = bridge = UartBridge(bit_cycles)
        wiring.connect(m, bridge.processor, soc.processor)
        wiring.connect(m, soc.sdram, wiring.flipped(self.sdram))
        m.d.comb += [
            bridge.receive.eq(self.receive),
            self.transmit.eq(bridge.transmit),
            self.interrupt.eq(soc.interrupt),
            self.late.eq(soc.late),
        ]
        return m


_TOP = """\
// ULX3S, LFE5U-85F: chip, SDRAM controller and serial line at @MHZ@ MHz, @BAUD@ baud.
module ulx3s (
    input clk_25mhz, input ftdi_txd, output ftdi_rxd, input [1:1] btn, output [7:0] led,
    output sdram_clk, output sdram_cke, output sdram_csn, output sdram_wen, output sdram_rasn,
    output sdram_casn, output [12:0] sdram_a, output [1:0] sdram_ba, output [1:0] sdram_dqm,
    inout [15:0] sdram_d
);
  wire clk, locked;
  (* FREQUENCY_PIN_CLKI = "25", FREQUENCY_PIN_CLKOP = "@MHZ@", FREQUENCY_PIN_CLKOS = "@MHZ@" *)
  (* ICP_CURRENT = "12", LPF_RESISTOR = "8", MFG_ENABLE_FILTEROPAMP = "1", MFG_GMCREF_SEL = "2" *)
  EHXPLLL #(
      .PLLRST_ENA("DISABLED"), .INTFB_WAKE("DISABLED"), .STDBY_ENABLE("DISABLED"),
      .DPHASE_SOURCE("DISABLED"), .OUTDIVIDER_MUXA("DIVA"), .OUTDIVIDER_MUXB("DIVB"),
      .OUTDIVIDER_MUXC("DIVC"), .OUTDIVIDER_MUXD("DIVD"), .CLKI_DIV(@BEFORE@),
      .CLKOP_ENABLE("ENABLED"), .CLKOP_DIV(@DIV@), .CLKOP_CPHASE(@PHASE@), .CLKOP_FPHASE(0),
      .CLKOS_ENABLE("ENABLED"), .CLKOS_DIV(@DIV@), .CLKOS_CPHASE(@SDRAM_PHASE@), .CLKOS_FPHASE(0),
      .FEEDBK_PATH("CLKOP"), .CLKFB_DIV(@FEEDBACK@)
  ) pll (
      .RST(1'b0), .STDBY(1'b0), .CLKI(clk_25mhz), .CLKOP(clk), .CLKOS(sdram_clk), .CLKFB(clk),
      .CLKINTFB(), .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(1'b1),
      .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .LOCK(locked)
  );
  // Reset: until the PLL has been locked for 2**12 cycles, and while the button FIRE1 is pressed.
  reg [12:0] locked_for = 0;
  reg [1:0] pressed = 0;
  reg rst = 1;
  always @(posedge clk or negedge locked)
    if (!locked) locked_for <= 0;
    else if (!locked_for[12]) locked_for <= locked_for + 1;
  always @(posedge clk) begin
    pressed <= {pressed[0], btn[1]};
    rst <= !locked_for[12] || pressed[1];
  end

  wire interrupt, late, dq_enable;
  wire [2:0] command;
  wire [15:0] dq_out, dq_in;
  soc soc (
      .clk(clk), .rst(rst), .receive(ftdi_txd), .transmit(ftdi_rxd), .interrupt(interrupt),
      .late(late), .sdram__command(command), .sdram__bank(sdram_ba), .sdram__address(sdram_a),
      .sdram__dqm(sdram_dqm), .sdram__dq_out(dq_out), .sdram__dq_enable(dq_enable),
      .sdram__dq_in(dq_in)
  );
  assign sdram_cke = 1, sdram_csn = 0;
  assign {sdram_rasn, sdram_casn, sdram_wen} = command;
  assign led = {locked, rst, 4'b0, late, interrupt};
  genvar i;
  generate for (i = 0; i < 16; i = i + 1) begin : pads
    BB pad (.I(dq_out[i]), .T(!dq_enable), .O(dq_in[i]), .B(sdram_d[i]));
  end endgenerate
endmodule
"""


def top_verilog(clock: Clock) -> str:
    """Return module ``ulx3s``, whose ``soc`` is an ``Ulx3s``."""
    before, feedback, divider = clock.dividers
    values = {
        "MHZ": f"{clock.megahertz:g}",
        "BAUD": BAUD,
        "BEFORE": before,
        "FEEDBACK": feedback,
        "DIV": divider,
        "PHASE": divider // 2,
        "SDRAM_PHASE": divider // 2 - _AHEAD,
    }
    text = _TOP
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


_SDRAM_ADDRESS = "M20 M19 L20 L19 K20 K19 K18 J20 J19 H20 N19 G20 G19"
_SDRAM_DATA = "J16 L18 M18 N18 P18 T18 T17 U20 E19 D20 D19 C20 E18 F18 J18 J17"
_LEDS = "B2 C2 C1 D2 D1 E2 E1 H3"
_PINS: dict[str, str] = {
    "clk_25mhz": "G2", "ftdi_rxd": "L4", "ftdi_txd": "M1", "btn[1]": "R1", "sdram_clk": "F19",
    "sdram_cke": "F20", "sdram_csn": "P20", "sdram_wen": "T20", "sdram_rasn": "R20",
    "sdram_casn": "T19", "sdram_ba[0]": "P19", "sdram_ba[1]": "N20", "sdram_dqm[0]": "U19",
    "sdram_dqm[1]": "E20",
    **{f"sdram_a[{at}]": site for at, site in enumerate(_SDRAM_ADDRESS.split())},
    **{f"sdram_d[{at}]": site for at, site in enumerate(_SDRAM_DATA.split())},
    **{f"led[{at}]": site for at, site in enumerate(_LEDS.split())},
}  # fmt: skip
_PULLS = {"ftdi_rxd": "UP", "ftdi_txd": "UP", "btn[1]": "DOWN"}
_INPUTS = {"clk_25mhz", "ftdi_txd", "btn[1]"}


def constraints() -> str:
    """Return the LPF file: sites, levels, the crystal's frequency."""
    lines = [
        "BLOCK RESETPATHS ;",
        "BLOCK ASYNCPATHS ;",
        "SYSCONFIG CONFIG_IOVOLTAGE=3.3 COMPRESS_CONFIG=ON MCCLK_FREQ=62 MASTER_SPI_PORT=DISABLE "
        "SLAVE_SPI_PORT=DISABLE SLAVE_PARALLEL_PORT=DISABLE ;",
        f'FREQUENCY PORT "clk_25mhz" {_CRYSTAL_MHZ:g} MHz ;',
    ]
    for name, site in _PINS.items():
        drive = "" if name in _INPUTS else " DRIVE=4"
        lines += [
            f'LOCATE COMP "{name}" SITE "{site}" ;',
            f'IOBUF PORT "{name}" PULLMODE={_PULLS.get(name, "NONE")} IO_TYPE=LVCMOS33{drive} ;',
        ]
    return "\n".join(lines) + "\n"
