"""The bench around a generated design: it plays files into the ports and writes what comes out.

Python need not touch the design between start and end, so that whole layers run at the
simulator's own speed. Commands, one a line, ``op argument`` in hexadecimal:

| op | argument | |
|---|---|---|
| 1 | address * 2**32 + data | write a register |
| 2 | word | one word of the load stream |
| 3 | most cycles | wait for done, and ``DRAIN_CYCLES`` more |
| 4 | address | read a register |

Filter beats are read from a file of their own, one a line. Results: ``o`` and an output beat,
``r`` and a register's value, ``d`` where a wait ended, ``t`` where it took too long, ``f`` and
the number of filter beats taken.
"""

from __future__ import annotations

from rtl.host import Design
from rtl.lib.registers import RegisterFile
from rtl.sim.amaranth import DRAIN_CYCLES

__all__ = ["bench_verilog"]

_BENCH = """\
`timescale 1ns / 1ps
module bench;
  reg clk = 0;
  reg rst = 1;
  reg go = 0;        // set by cocotb
  reg finished = 0;  // all commands are done

  reg [15:0] address = 0;
  reg write = 0;
  reg [31:0] write_data = 0;
  wire [31:0] read_data;
  reg [31:0] words__payload = 0;
  reg words__valid = 0;
  wire words__ready;
  reg [@BEAT@-1:0] filters__payload = 0;
  reg filters__valid = 0;
  wire filters__ready;
  wire [@OUTPUT@-1:0] outputs__payload;
  wire outputs__valid;
  reg outputs__ready = 0;
  wire done;

  @TOP@ dut (
      .clk(clk), .rst(rst), .address(address), .write(write), .write_data(write_data),
      .read_data(read_data), .words__payload(words__payload), .words__valid(words__valid),
      .words__ready(words__ready), .filters__payload(filters__payload),
      .filters__valid(filters__valid), .filters__ready(filters__ready),
      .outputs__payload(outputs__payload), .outputs__valid(outputs__valid),
      .outputs__ready(outputs__ready), .done(done)
  );

  integer commands, beats, results, count;
  reg [8*1024-1:0] path;
  reg stalling = 0;
  reg [31:0] dice = 1;  // xorshift: the same stalls in every simulator
  initial begin
    if ($value$plusargs("stalls=%d", dice)) stalling = 1;
    if (dice == 0) dice = 1;
    count = $value$plusargs("commands=%s", path);
    commands = $fopen(path, "r");
    count = $value$plusargs("beats=%s", path);
    beats = $fopen(path, "r");
    count = $value$plusargs("results=%s", path);
    results = $fopen(path, "w");
  end
  wire [31:0] dice1 = dice ^ (dice << 13);
  wire [31:0] dice2 = dice1 ^ (dice1 >> 17);
  always @(posedge clk) dice <= dice2 ^ (dice2 << 5);
  // Each stream pauses in 7 of 16 cycles.
  wire pause_words = stalling && dice[3:0] < 7;
  wire pause_filters = stalling && dice[11:8] < 7;
  wire pause_outputs = stalling && dice[19:16] < 7;

  localparam NEXT = 0, WAIT = 1, DRAIN = 2, READ = 3;
  reg [1:0] state = NEXT;
  reg [7:0] op;
  reg [63:0] argument;
  reg [63:0] left;
  always @(posedge clk) begin
    write <= 0;
    words__valid <= 0;
    if (go && !finished) begin
      case (state)
        NEXT: if (!pause_words) begin
          if ($fscanf(commands, "%h %h\\n", op, argument) != 2) begin
            $fwrite(results, "f %0d\\n", beats_taken);
            $fclose(results);
            finished <= 1;
          end else case (op)
            1: begin
              address <= argument[47:32];
              write_data <= argument[31:0];
              write <= 1;
            end
            2: begin
              words__payload <= argument[31:0];
              words__valid <= 1;
            end
            3: begin
              left <= argument;
              state <= WAIT;
            end
            default: begin
              address <= argument[15:0];
              left <= @READ@;
              state <= READ;
            end
          endcase
        end
        WAIT: begin
          left <= left - 1;
          if (left == 0) begin
            $fwrite(results, "t\\n");
            $fclose(results);
            finished <= 1;
          end else if (done && left + @START@ < argument) begin
            left <= @DRAIN@;
            state <= DRAIN;
          end
        end
        DRAIN: begin
          left <= left - 1;
          if (left == 0) begin
            $fwrite(results, "d\\n");
            state <= NEXT;
          end
        end
        READ: begin
          left <= left - 1;
          if (left == 0) begin
            $fwrite(results, "r %h\\n", read_data);
            state <= NEXT;
          end
        end
      endcase
    end
  end

  reg [63:0] beats_taken = 0;
  reg [@BEAT@-1:0] beat;
  always @(posedge clk) if (go && !finished) begin
    if (filters__valid && filters__ready) beats_taken <= beats_taken + 1;
    if (!filters__valid || filters__ready) begin
      filters__valid <= 0;
      if (!pause_filters) begin
        if ($fscanf(beats, "%h\\n", beat) == 1) begin
          filters__payload <= beat;
          filters__valid <= 1;
        end
      end
    end
  end

  always @(posedge clk) if (go && !finished) begin
    outputs__ready <= !pause_outputs;
    if (outputs__valid && outputs__ready) $fwrite(results, "o %h\\n", outputs__payload);
  end
endmodule
"""


def bench_verilog(design: Design) -> str:
    """Return module ``bench`` for a design."""
    return (
        _BENCH.replace("@TOP@", design.top)
        .replace("@BEAT@", str(design.beat_bits))
        .replace("@OUTPUT@", str(design.output.size))
        .replace("@DRAIN@", str(DRAIN_CYCLES))
        .replace("@READ@", str(RegisterFile.READ))
        .replace("@START@", str(RegisterFile.START))
    )
