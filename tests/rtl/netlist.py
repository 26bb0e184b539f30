"""Netlists of an ECP5, and the cells that they are made of as Verilog that can be simulated.

Small cells are yosys's own models. It has none for block RAM and multiplier: they are here, for
what ``synth_ecp5`` uses of them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["synthesise"]

#: Block RAM: 2,048 bytes of 9 bits; a narrow port has parts of a byte's lower 8, a wide one several
#: bytes. A port of 36 bits writes with both ports' inputs and reads with both ports' outputs.
#: Rows are undefined before they are written, and where one port reads what the other one writes:
#: no block may use such.
_BLOCK_RAM = """
module DP16KD (
    input CLKA, CLKB, CEA, CEB, OCEA, OCEB, WEA, WEB, RSTA, RSTB,
    input CSA0, CSA1, CSA2, CSB0, CSB1, CSB2,
    {ports}
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC", CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter [319:0] {initial};
  initial begin
    if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CLKAMUX != "CLKA" || CLKBMUX != "CLKB"
        || CSDECODE_A != "0b000" || CSDECODE_B != "0b000"
        || WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH"
        || {{{names}}} != 0) begin
      $display("this model of DP16KD has no such mode");
      $finish;
    end
  end

  reg [8:0] bytes [0:2047];
  wire [13:0] address_a = {{{address_a}}}, address_b = {{{address_b}}};
  wire [35:0] data_a = {{{data_b}, {data_a}}}, data_b = {{18'b0, {data_b}}};
  reg [35:0] out_a, out_b;
  assign {{{out_a}}} = DATA_WIDTH_B == 36 ? out_b[17:0] : out_a[17:0];
  assign {{{out_b}}} = DATA_WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];

  // Parts of a byte, or bytes, of a row.
  function [35:0] row(input integer width, input [13:0] address);
    case (width)
      36: row = {{bytes[{{address[13:5], 2'd3}}], bytes[{{address[13:5], 2'd2}}],
                 bytes[{{address[13:5], 2'd1}}], bytes[{{address[13:5], 2'd0}}]}};
      18: row = {{18'b0, bytes[{{address[13:4], 1'b1}}], bytes[{{address[13:4], 1'b0}}]}};
      9: row = {{27'b0, bytes[address[13:3]]}};
      4: row = {{27'b0, bytes[address[13:3]] >> {{address[2], 2'b0}}}};
      2: row = {{27'b0, bytes[address[13:3]] >> {{address[2:1], 1'b0}}}};
      default: row = {{27'b0, bytes[address[13:3]] >> address[2:0]}};
    endcase
  endfunction
  task store(input integer width, input [13:0] address, input [35:0] data);
    case (width)
      36: for (b = 0; b < 4; b = b + 1)
        if (address[b]) bytes[{{address[13:5], b[1:0]}}] = data[9*b+:9];
      18: for (b = 0; b < 2; b = b + 1)
        if (address[b]) bytes[{{address[13:4], b[0]}}] = data[9*b+:9];
      9: bytes[address[13:3]] = data[8:0];
      4: bytes[address[13:3]][{{address[2], 2'b0}}+:4] = data[3:0];
      2: bytes[address[13:3]][{{address[2:1], 1'b0}}+:2] = data[1:0];
      default: bytes[address[13:3]][address[2:0]] = data[0];
    endcase
  endtask
  function integer address_bits(input integer width);
    address_bits = width == 36 ? 5 : width == 18 ? 4 : width == 9 ? 3 : width / 2;
  endfunction
  // A wide port has an enable for each byte where a narrow one has bits of its address.
  function enabled(input integer width, input [3:0] enables);
    enabled = width < 18 || enables[1:0] != 0 || width == 36 && enables[3:2] != 0;
  endfunction
  localparam SAME = address_bits(DATA_WIDTH_A > DATA_WIDTH_B ? DATA_WIDTH_A : DATA_WIDTH_B);
  wire meet = address_a >> SAME == address_b >> SAME;
  wire writes_a = CEA && WEA && enabled(DATA_WIDTH_A, address_a[3:0]);
  wire writes_b = CEB && WEB && enabled(DATA_WIDTH_B, address_b[3:0]);

  integer b;
  always @(posedge CLKA) begin
    // What is read is what was there before.
    if (CEA && (!WEA || WRITEMODE_A == "READBEFOREWRITE"))
      out_a <= writes_b && meet ? 36'bx : row(DATA_WIDTH_A, address_a);
    if (CEB && (!WEB || WRITEMODE_B == "READBEFOREWRITE"))
      out_b <= writes_a && meet ? 36'bx : row(DATA_WIDTH_B, address_b);
    if (CEA && WEA) store(DATA_WIDTH_A, address_a, data_a);
    if (CEB && WEB) store(DATA_WIDTH_B, address_b, data_b);
  end
endmodule
"""

#: Multiplier without its registers.
_MULTIPLIER = """
module MULT18X18D (
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    {ports}
);
  wire signed [18:0] a = {{SIGNEDA & A17, {a}}}, b = {{SIGNEDB & B17, {b}}};
  wire signed [37:0] product = a * b;
  assign {{{p}}} = product[35:0];
endmodule
"""

#: Cells whose models are yosys's.
_SMALL = ("LUT2", "LUT4", "PFUMX", "L6MUX21", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4")


def _bits(name: str, count: int) -> str:
    return ", ".join(f"{name}{bit}" for bit in reversed(range(count)))


def _cells() -> str:
    """Return the models of all cells."""
    ports = [f"input {_bits(f'DI{port}', 18)}, {_bits(f'AD{port}', 14)}" for port in "AB"]
    ports.append(f"output {_bits('DOA', 18)}, {_bits('DOB', 18)}")
    names = [f"INITVAL_{number:02X}" for number in range(64)]
    block_ram = _BLOCK_RAM.format(
        ports=",\n    ".join(ports),
        initial=", ".join(f"{name} = 320'h0" for name in names),
        names=", ".join(names),
        address_a=_bits("ADA", 14),
        address_b=_bits("ADB", 14),
        data_a=_bits("DIA", 18),
        data_b=_bits("DIB", 18),
        out_a=_bits("DOA", 18),
        out_b=_bits("DOB", 18),
    )
    inputs = ", ".join(_bits(name, 18) for name in "ABC")
    multiplier = _MULTIPLIER.format(
        ports=f"input {inputs},\n    output {_bits('P', 36)}",
        a=_bits("A", 18),
        b=_bits("B", 18),
        p=_bits("P", 36),
    )
    return f"{_small_cells()}\n{block_ram}\n{multiplier}"


def _small_cells() -> str:
    """Return yosys's models, without times and without what only its mapper needs."""
    spec = find_spec("pyosys")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "share" / "ecp5"
    texts = [(folder / name).read_text("utf-8") for name in ("common_sim.vh", "ccu2c_sim.vh")]
    text = re.sub(r"^\s*specify$.*?^\s*endspecify$", "", "\n".join(texts), flags=re.M | re.S)
    return "\n".join(text for name, text in _modules(text) if name in _SMALL)


def synthesise(verilog: str, block: str, folder: Path, options: str = "") -> str:
    """Put the netlist of a block, by stock yosys, into the place of its module.

    Parameters
    ----------
    verilog : str
    block : str
        Name of a module; all that it is made of is in the netlist.
    folder : Path
        Where yosys's log and ``stat.txt`` stay.
    options : str
        Of ``synth_ecp5``.

    Returns
    -------
    str
        Verilog with the cells' models.
    """
    (folder / "in.v").write_text(verilog, "utf-8")
    commands = (
        "read_verilog in.v",
        f"synth_ecp5 {options} -top {block}",
        "tee -q -o stat.txt stat",
        "write_verilog -noattr out.v",
    )
    program = "from pyosys import libyosys as y; d = y.Design()\n"
    program += "".join(f"y.Pass.call(d, 'tee -q -a log.txt {one}')\n" for one in commands)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True)
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr[-1000:])
    netlist = (folder / "out.v").read_text("utf-8")
    made = re.findall(r"^module (\\?\S+?) ?\(", netlist, re.M)
    others = [text for name, text in _modules(verilog) if name not in made]
    return "\n".join(["`timescale 1ns / 1ps", _cells(), *others, netlist, ""])


def _modules(verilog: str) -> list[tuple[str, str]]:
    """Return name and text of each module."""
    found = re.finditer(r"^module (\w+).*?^endmodule", verilog, re.M | re.S)
    return [(module[1], module[0]) for module in found]
