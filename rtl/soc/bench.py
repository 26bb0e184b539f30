"""Verilog round the SoC: processor, an SDRAM that checks its rules, the far end of the line.

Written to the file that ``+results=`` names: ``u`` and a byte that the serial port sent, in
hexadecimal; ``x`` and a rule that was broken; ``t`` where the time was up. A byte 04 ends it. The
SDRAM begins with the words of ``+image=``, the processor's memory with those of ``+program=``. The
SDRAM's rules are those of a data sheet, in cycles.
"""

from __future__ import annotations

from rtl.soc.firmware_build import BOOT_BYTES
from rtl.soc.sdram_timing import SdramModel

__all__ = ["processor_verilog", "soc_bench_verilog"]

#: PicoRV32 with what the firmware wants of it: multiply, divide, and interrupts that follow a line.
_TOP = """\
module soc_top #(parameter PROGRAM = "") (
    input clk, input rst,
    output serial, output late,
    output [2:0] sdram__command, output [1:0] sdram__bank, output [@ROW@-1:0] sdram__address,
    output [1:0] sdram__dqm, output [15:0] sdram__dq_out, output sdram__dq_enable,
    input [15:0] sdram__dq_in
);
  wire valid, ready, interrupt;
  wire [31:0] address, write_data, read_data;
  wire [3:0] strobes;
  reg [31:0] program_words [0:@PROGRAM_WORDS@-1];
  initial if (PROGRAM != "") $readmemh(PROGRAM, program_words);
  wire own = valid && address[31:28] == 0;
  reg own_ready = 0;
  reg [31:0] own_data = 0;
  integer lane;
  always @(posedge clk) begin
    own_ready <= own && !own_ready;
    own_data <= program_words[address[31:2] % @PROGRAM_WORDS@];
    if (own && !own_ready) for (lane = 0; lane < 4; lane = lane + 1)
      if (strobes[lane])
        program_words[address[31:2] % @PROGRAM_WORDS@][8*lane+:8] <= write_data[8*lane+:8];
  end
  wire other_ready;
  wire [31:0] other_data;
  assign ready = own ? own_ready : other_ready;
  assign read_data = own ? own_data : other_data;
  picorv32 #(
      .ENABLE_FAST_MUL(1), .ENABLE_DIV(1), .BARREL_SHIFTER(1), .ENABLE_IRQ(1),
      .ENABLE_IRQ_TIMER(0), .LATCHED_IRQ(0), .COMPRESSED_ISA(0), .ENABLE_COUNTERS(0)
  ) cpu (
      .clk(clk), .resetn(!rst), .mem_valid(valid), .mem_ready(ready), .mem_addr(address),
      .mem_wdata(write_data), .mem_wstrb(strobes), .mem_rdata(read_data),
      .irq({28'b0, interrupt, 3'b0}), .pcpi_wr(1'b0), .pcpi_rd(32'b0), .pcpi_wait(1'b0),
      .pcpi_ready(1'b0)
  );
  soc soc (
      .clk(clk), .rst(rst), .interrupt(interrupt), .serial(serial), .late(late),
      .processor__valid(valid && !own), .processor__ready(other_ready),
      .processor__address(address),
      .processor__write_data(write_data), .processor__strobes(strobes),
      .processor__read_data(other_data),
      .sdram__command(sdram__command), .sdram__bank(sdram__bank),
      .sdram__address(sdram__address), .sdram__dqm(sdram__dqm), .sdram__dq_out(sdram__dq_out),
      .sdram__dq_enable(sdram__dq_enable), .sdram__dq_in(sdram__dq_in)
  );
endmodule
"""

_BENCH = """\
// Memory @MODEL@.
`timescale 1ns / 1ps
module bench;
  localparam SIZE = @SIZE@;        // words of the SDRAM
  localparam DIVIDER = @DIVIDER@;  // cycles of a bit
  localparam RCD = @RCD@, RP = @RP@, RAS = @RAS@, RFC = @RFC@, WR = @WR@, CL = @CL@;
  reg clk = 0;
  reg rst = 1;
  reg go = 0;
  reg finished = 0;
  wire serial, late;
  wire [2:0] command;
  wire [1:0] bank, dqm;
  wire [@ROW@-1:0] address;
  wire [15:0] dq_out;
  wire dq_enable;
  reg [15:0] dq_in = 16'hdead;
  soc_top top (
      .clk(clk), .rst(rst), .serial(serial), .late(late),
      .sdram__command(command), .sdram__bank(bank), .sdram__address(address), .sdram__dqm(dqm),
      .sdram__dq_out(dq_out), .sdram__dq_enable(dq_enable), .sdram__dq_in(dq_in)
  );

  integer results, limit, i;
  reg [8*1024-1:0] path;
  reg [15:0] words [0:SIZE-1];
  initial begin
    if (!$value$plusargs("results=%s", path)) $finish;
    results = $fopen(path, "w");
    if (!$value$plusargs("image=%s", path)) $finish;
    $readmemh(path, words);
    if (!$value$plusargs("program=%s", path)) $finish;
    $readmemh(path, top.program_words);
    if (!$value$plusargs("limit=%d", limit)) $finish;
  end
  task stop;
    begin
      $fflush(results);
      finished <= 1;
    end
  endtask
  task broken(input [8*40-1:0] rule);
    if (!finished) begin
      $fwrite(results, "x %0s\\n", rule);
      stop;
    end
  endtask

  // -- the far end of the line
  integer bit_cycles = 0, bits = 0;
  reg [7:0] octet;
  always @(posedge clk) if (!rst && !finished) begin
    if (bits == 0) begin
      if (!serial) begin
        bits <= 1;
        bit_cycles <= DIVIDER + DIVIDER / 2 - 1;
      end
    end else if (bit_cycles != 0) bit_cycles <= bit_cycles - 1;
    else begin
      bit_cycles <= DIVIDER - 1;
      bits <= bits + 1;
      if (bits <= 8) octet <= {serial, octet[7:1]};
      else begin
        bits <= 0;
        if (!serial) broken("a stop bit is missing");
        $fwrite(results, "u %h\\n", octet);
        if (octet == 8'h04) stop;
      end
    end
  end

  // -- the SDRAM
  reg [@ROW@-1:0] rows [0:3];
  reg [3:0] opened = 0;
  integer now = 0, refreshed = -1000, refreshes = 0;
  integer activated [0:3], closed [0:3], written [0:3];
  reg ready = 0;
  reg [15:0] coming [0:CL];
  reg [CL:0] comes = 0;
  integer at;
  initial for (i = 0; i < 4; i = i + 1) begin
    activated[i] = -1000;
    closed[i] = -1000;
    written[i] = -1000;
  end
  always @(posedge clk) if (!finished && !rst) begin
    now <= now + 1;
    if (now == limit) begin
      $fwrite(results, "t\\n");
      stop;
    end
    if (late) broken("write data came too late");
    // What a read brings stands on the bus CL cycles later, and for one.
    comes = comes << 1;
    for (i = CL; i > 0; i = i - 1) coming[i] = coming[i-1];
    dq_in <= comes[CL-1] ? coming[CL-1] : 16'hdead;
    if (command != 7 && now - refreshed < RFC) broken("a command within tRFC");
    if (dq_enable && command != 4) broken("data without a write");
    if (dq_enable && comes[CL]) broken("both drive the bus");
    case (command)
      0: begin
        if (opened != 0) broken("mode with open rows");
        if (address[6:4] != CL || address[2:0] != 0) broken("mode");
        if (refreshes < 2) broken("mode before refreshes");
        ready <= 1;
      end
      1: begin
        for (i = 0; i < 4; i = i + 1) if (now - closed[i] < RP) broken("refresh within tRP");
        if (opened != 0) broken("refresh with open rows");
        refreshed <= now;
        refreshes <= refreshes + 1;
        if (ready && now - refreshed > 2 * @REFI@) broken("refreshes are too rare");
      end
      2: for (i = 0; i < 4; i = i + 1) if ((address[10] || i == bank) && opened[i]) begin
        if (now - activated[i] < RAS) broken("precharge within tRAS");
        if (now - written[i] < WR) broken("precharge within tWR");
        opened[i] <= 0;
        closed[i] <= now;
      end
      3: begin
        if (!ready || opened[bank]) broken("activate");
        if (now - closed[bank] < RP) broken("activate within tRP");
        opened[bank] <= 1;
        rows[bank] <= address;
        activated[bank] <= now;
      end
      4, 5: begin
        if (!opened[bank]) broken("no row is open");
        if (now - activated[bank] < RCD) broken("an access within tRCD");
        at = {rows[bank], bank, address[@COLUMN@-1:0]};
        if (at >= SIZE) broken("an address is outside the memory");
        else if (command == 5) begin
          comes[0] = 1;
          coming[0] = words[at];
        end else begin
          if (!dqm[0]) words[at][7:0] <= dq_out[7:0];
          if (!dqm[1]) words[at][15:8] <= dq_out[15:8];
          written[bank] <= now;
        end
      end
      7: ;
      default: broken("a command that is none");
    endcase
  end
endmodule
"""


def processor_verilog() -> str:
    """Return PicoRV32's source.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.
    """
    from pythondata_cpu_picorv32 import data_file

    with open(data_file("picorv32.v"), encoding="utf-8") as file:
        return file.read()


def soc_bench_verilog(model: SdramModel, memory_bytes: int, divider: int) -> str:
    """Return modules ``bench`` and ``soc_top``, and the processor."""
    timing = model.timing
    values = {
        "MODEL": model.memory,
        "SIZE": memory_bytes // 2,
        "PROGRAM_WORDS": BOOT_BYTES // 4,
        "DIVIDER": divider,
        "ROW": timing.row_bits,
        "COLUMN": timing.column_bits,
        "RCD": timing.rcd,
        "RP": timing.rp,
        "RAS": timing.ras,
        "RFC": timing.rfc,
        "WR": timing.wr,
        "CL": timing.cl,
        "REFI": model["tREFI"],
    }
    text = _BENCH + _TOP
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return f"{text}\n/* verilator lint_off */\n{processor_verilog()}"
