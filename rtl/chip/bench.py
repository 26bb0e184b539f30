"""The bench around a chip: a host that plays a file, and a memory with the cycles of the page.

Python need not touch the design between start and end. Commands, one a line, ``op argument`` in
hexadecimal:

| op | argument | |
|---|---|---|
| 1 | address * 2**32 + data | write a register |
| 2 | cycles | let time pass |
| 3 | most cycles | wait for the interrupt |
| 4 | address | read a register |
| 5 | cycles | reset the chip and the memory, whose bytes stay |

The memory is read from a file of bytes and written to one at the end. Results: ``r`` and a
register's value; ``b``, 1 for a write, address, bytes, cycles of request and response of a burst;
``t`` where the wait took too long; ``x`` and a rule that the chip broke. The memory is written from
``docs/chip.md``, *Timing*, and AXI's rules.
"""

from __future__ import annotations

from golden.chip.config import CHIP_LATENCY, ChipConfig

__all__ = ["chip_bench_verilog"]

_BENCH = """\
`timescale 1ns / 1ps
module bench;
  localparam BUS = @BUS@;      // bytes of a beat
  localparam BURST = @BURST@;  // bytes that a burst may not cross a multiple of
  localparam SIZE = @SIZE@;    // bytes of the memory
  localparam QUEUE = 128;      // bursts under way at most
  reg clk = 0;
  reg rst = 1;
  reg go = 0;        // set by cocotb
  reg finished = 0;  // all commands are done
  reg resets = 0;

  reg [11:0] awaddr = 0, araddr = 0;
  reg [31:0] wdata = 0;
  reg awvalid = 0, wvalid = 0, arvalid = 0;
  wire awready, wready, bvalid, arready, rvalid, interrupt;
  wire [31:0] rdata;

  wire [31:0] m_araddr, m_awaddr;
  wire [7:0] m_arlen, m_awlen;
  wire [2:0] m_arsize, m_awsize;
  wire [1:0] m_arburst, m_awburst;
  wire [@USER@-1:0] m_aruser, m_awuser;
  wire m_arvalid, m_awvalid, m_wvalid, m_wlast, m_rready, m_bready;
  wire [8*BUS-1:0] m_wdata;
  wire [BUS-1:0] m_wstrb;
  reg m_arready = 1, m_awready = 1, m_wready = 1;
  reg m_rvalid = 0, m_rlast = 0, m_bvalid = 0;
  reg [1:0] m_rresp = 0, m_bresp = 0;
  reg [8*BUS-1:0] m_rdata = 0;

  @TOP@ dut (
      .clk(clk), .rst(rst || resets), .interrupt(interrupt), .begins(),
      .host__awaddr(awaddr), .host__awvalid(awvalid), .host__awready(awready),
      .host__wdata(wdata), .host__wstrb(4'hf), .host__wvalid(wvalid), .host__wready(wready),
      .host__bresp(), .host__bvalid(bvalid), .host__bready(1'b1),
      .host__araddr(araddr), .host__arvalid(arvalid), .host__arready(arready),
      .host__rdata(rdata), .host__rresp(), .host__rvalid(rvalid), .host__rready(1'b1),
      .axi__araddr(m_araddr), .axi__arlen(m_arlen), .axi__arsize(m_arsize),
      .axi__arburst(m_arburst), .axi__aruser(m_aruser), .axi__arvalid(m_arvalid),
      .axi__arready(m_arready),
      .axi__awaddr(m_awaddr), .axi__awlen(m_awlen), .axi__awsize(m_awsize),
      .axi__awburst(m_awburst), .axi__awuser(m_awuser), .axi__awvalid(m_awvalid),
      .axi__awready(m_awready),
      .axi__rdata(m_rdata), .axi__rresp(m_rresp), .axi__rlast(m_rlast), .axi__rvalid(m_rvalid),
      .axi__rready(m_rready),
      .axi__wdata(m_wdata), .axi__wstrb(m_wstrb), .axi__wlast(m_wlast), .axi__wvalid(m_wvalid),
      .axi__wready(m_wready),
      .axi__bresp(m_bresp), .axi__bvalid(m_bvalid), .axi__bready(m_bready)
  );

  integer commands, results, count, image_bytes, fails = -1;
  reg [8*1024-1:0] path, output_path;
  reg [7:0] octets [0:SIZE-1];
  reg stalling = 0;
  reg [31:0] dice = 1;  // xorshift: the same stalls in every simulator
  // The model: 0 ideal, 1 rate, 2 sdram; its numbers as the command line takes them.
  integer model = 0, n0 = 0, n1 = 0, n2 = 0, n3 = 0, n4 = 0, n5 = 0, n6 = 0, n7 = 0, n8 = 0;
  integer i;
  initial begin
    if ($value$plusargs("stalls=%d", dice)) stalling = 1;
    if (dice == 0) dice = 1;
    count = $value$plusargs("fails=%d", fails);
    count = $value$plusargs("model=%d", model);
    count = $value$plusargs("n0=%d", n0);
    count = $value$plusargs("n1=%d", n1);
    count = $value$plusargs("n2=%d", n2);
    count = $value$plusargs("n3=%d", n3);
    count = $value$plusargs("n4=%d", n4);
    count = $value$plusargs("n5=%d", n5);
    count = $value$plusargs("n6=%d", n6);
    count = $value$plusargs("n7=%d", n7);
    count = $value$plusargs("n8=%d", n8);
    count = $value$plusargs("commands=%s", path);
    commands = $fopen(path, "r");
    count = $value$plusargs("results=%s", path);
    results = $fopen(path, "w");
    count = $value$plusargs("bytes=%d", image_bytes);
    for (i = image_bytes; i < SIZE; i = i + 1) octets[i] = 0;
    count = $value$plusargs("image=%s", path);
    $readmemh(path, octets, 0, image_bytes - 1);
    count = $value$plusargs("output=%s", output_path);
    for (i = 0; i < 256; i = i + 1) open_row[i] = -1;
  end
  wire [31:0] dice1 = dice ^ (dice << 13);
  wire [31:0] dice2 = dice1 ^ (dice1 >> 17);
  always @(posedge clk) dice <= dice2 ^ (dice2 << 5);

  // -- the host ------------------------------------------------------------------------------
  localparam NEXT = 0, WRITE = 1, WAIT = 2, READ = 3, PASS = 4;
  reg [2:0] state = NEXT;
  reg [7:0] op;
  reg [63:0] argument, left;
  task finish;
    begin
      $writememh(output_path, octets, 0, image_bytes - 1);
      $fclose(results);
      finished <= 1;
    end
  endtask
  always @(posedge clk) if (go && !finished) begin
    if (awready) awvalid <= 0;
    if (wready) wvalid <= 0;
    if (arready) arvalid <= 0;
    case (state)
      NEXT: begin
        if ($fscanf(commands, "%h %h\\n", op, argument) != 2) finish;
        else if (op == 1) begin
          awaddr <= argument[43:32];
          wdata <= argument[31:0];
          awvalid <= 1;
          wvalid <= 1;
          state <= WRITE;
        end else if (op == 2 || op == 5) begin
          left <= argument;
          resets <= op == 5;
          state <= PASS;
        end else if (op == 3) begin
          left <= argument;
          state <= WAIT;
        end else begin
          araddr <= argument[11:0];
          arvalid <= 1;
          state <= READ;
        end
      end
      WRITE: if (bvalid) state <= NEXT;
      PASS: begin
        left <= left - 1;
        if (left <= 1) begin
          resets <= 0;
          state <= NEXT;
        end
      end
      WAIT: begin
        left <= left - 1;
        if (interrupt) state <= NEXT;
        else if (left == 0) begin
          $fwrite(results, "t\\n");
          finish;
        end
      end
      default: if (rvalid) begin
        $fwrite(results, "r %h\\n", rdata);
        state <= NEXT;
      end
    endcase
  end

  // -- the memory's cycles -------------------------------------------------------------------
  reg signed [63:0] now = 0;  // of the network, from its first request on
  reg signed [63:0] through = 0, refresh;  // D; the next refresh
  reg signed [63:0] open_row [0:255];
  reg refreshed = 0, writing = 0;
  function integer beats_of(input [31:0] address, input integer bytes);
    beats_of = (address % BUS + bytes + BUS - 1) / BUS;
  endfunction
  function integer most(input integer a, input integer b);
    most = a > b ? a : b;
  endfunction
  reg signed [63:0] due, row;
  integer part, rest, bank;
  reg [31:0] place;
  task serve(input [31:0] address, input integer bytes, input write);
    begin
      if (now > through) through = now;
      if (model == 0) begin
        through = through + beats_of(address, bytes);
        due = through + 1;
      end else if (model == 1) begin
        through = through + most(beats_of(address, bytes), (bytes + n0 - 1) / n0);
        due = through + n1;
      end else begin
        if (!refreshed) refresh = n7;
        refreshed = 1;
        if (through >= refresh) begin
          through = through + n8;
          for (i = 0; i < n1; i = i + 1) open_row[i] = -1;
          while (refresh <= through) refresh = refresh + n7;
        end
        if (write != writing) through = through + n6;
        writing = write;
        place = address;
        rest = bytes;
        while (rest > 0) begin
          row = place / n2;
          bank = row % n1;
          part = n2 - place % n2;
          if (part > rest) part = rest;
          if (open_row[bank] != row) through = through + n3 + (open_row[bank] < 0 ? 0 : n4);
          open_row[bank] = row;
          through = through + most(beats_of(place, part), (place % n0 + part + n0 - 1) / n0);
          place = place + part;
          rest = rest - part;
        end
        due = through + n5;
      end
    end
  endtask

  // -- AXI -----------------------------------------------------------------------------------
  reg [31:0] read_address [0:QUEUE-1], write_address [0:QUEUE-1];
  integer read_bytes [0:QUEUE-1], write_bytes [0:QUEUE-1];
  integer read_number [0:QUEUE-1], write_number [0:QUEUE-1];
  reg signed [63:0] read_asked [0:QUEUE-1], read_due [0:QUEUE-1];
  reg signed [63:0] write_asked [0:QUEUE-1], write_due [0:QUEUE-1];
  integer reads_in = 0, reads_out = 0, writes_in = 0, writes_out = 0, bursts = 0;
  integer beat = 0;         // of the oldest read
  integer w_beat = 0;       // of the oldest write whose data come
  integer written = 0;      // writes whose data are there
  reg [BUS-1:0] strobes;
  reg [31:0] base;
  reg [8*BUS+BUS:0] held_w;
  reg [63:0] held_ar, held_aw;
  reg was_w = 0, was_ar = 0, was_aw = 0;
  wire [63:0] ar = {m_araddr, m_arlen, m_arsize, m_arburst, {19-@USER@{1'b0}}, m_aruser};
  wire [63:0] aw = {m_awaddr, m_awlen, m_awsize, m_awburst, {19-@USER@{1'b0}}, m_awuser};
  task broken(input [8*40-1:0] rule);
    begin
      $fwrite(results, "x %0s\\n", rule);
      finish;
    end
  endtask
  task check(input [31:0] address, input [7:0] len, input [2:0] size, input [1:0] burst,
             input integer bytes);
    begin
      if (len + 1 != beats_of(address, bytes)) broken("beats are not those of the bytes");
      if ((1 << size) != BUS) broken("a beat must be as wide as the bus");
      if (burst != 1) broken("a burst must be INCR");
      if (address / 4096 != (address + bytes - 1) / 4096) broken("a burst crosses 4096 bytes");
      if (address / BURST != (address + bytes - 1) / BURST) broken("a burst is not cut");
      if (address + bytes > SIZE) broken("an address is outside the memory");
    end
  endtask
  function [BUS-1:0] strobes_of(input [31:0] first, input integer bytes, input [31:0] at);
    integer lane;
    for (lane = 0; lane < BUS; lane = lane + 1)
      strobes_of[lane] = at + lane >= first && at + lane < first + bytes;
  endfunction
  wire begins = m_arvalid && now == 0;
  integer w;
  always @(posedge clk) if (go && !finished) begin
    if (begins) now = @START@;
    if (was_ar && (!m_arvalid || held_ar != ar)) broken("ar changed before arready");
    if (was_aw && (!m_awvalid || held_aw != aw)) broken("aw changed before awready");
    if (was_w && (!m_wvalid || held_w != {m_wdata, m_wstrb, m_wlast}))
      broken("w changed before wready");
    was_ar = m_arvalid && !m_arready;
    was_aw = m_awvalid && !m_awready;
    was_w = m_wvalid && !m_wready;
    held_ar = ar;
    held_aw = aw;
    held_w = {m_wdata, m_wstrb, m_wlast};
    if (m_arvalid && m_arready) begin
      check(m_araddr, m_arlen, m_arsize, m_arburst, m_aruser + 1);
      serve(m_araddr, m_aruser + 1, 0);
      i = reads_in % QUEUE;
      read_address[i] = m_araddr;
      read_bytes[i] = m_aruser + 1;
      read_asked[i] = now;
      read_due[i] = due;
      read_number[i] = bursts;
      reads_in = reads_in + 1;
      bursts = bursts + 1;
    end
    if (m_awvalid && m_awready) begin
      if (m_arvalid && m_arready) broken("two requests in one cycle");
      check(m_awaddr, m_awlen, m_awsize, m_awburst, m_awuser + 1);
      serve(m_awaddr, m_awuser + 1, 1);
      i = writes_in % QUEUE;
      write_address[i] = m_awaddr;
      write_bytes[i] = m_awuser + 1;
      write_asked[i] = now;
      write_due[i] = due;
      write_number[i] = bursts;
      writes_in = writes_in + 1;
      bursts = bursts + 1;
    end
    if (m_wvalid && m_wready) begin
      // Ready falls where the request of the data has not come: see below.
      i = written % QUEUE;
      base = (write_address[i] / BUS + w_beat) * BUS;
      if (m_wstrb != strobes_of(write_address[i], write_bytes[i], base))
        broken("strobes are not the burst's bytes");
      for (w = 0; w < BUS; w = w + 1)
        if (m_wstrb[w] && base + w < SIZE) octets[base + w] = m_wdata[8*w+:8];
      w_beat = w_beat + 1;
      if (m_wlast != (w_beat == beats_of(write_address[i], write_bytes[i])))
        broken("wlast is not at the end");
      if (m_wlast) begin
        if (!stalling && now >= write_due[i]) broken("data come too late for the response");
        written = written + 1;
        w_beat = 0;
      end
    end
    if (m_rvalid && m_rready) begin
      beat = beat + 1;
      if (m_rlast) begin
        i = reads_out % QUEUE;
        $fwrite(results, "b 0 %0d %0d %0d %0d\\n", read_address[i], read_bytes[i], read_asked[i],
                now);
        reads_out = reads_out + 1;
        beat = 0;
      end
      m_rvalid <= 0;
    end
    if (m_bvalid && m_bready) begin
      i = writes_out % QUEUE;
      $fwrite(results, "b 1 %0d %0d %0d %0d\\n", write_address[i], write_bytes[i], write_asked[i],
              now);
      writes_out = writes_out + 1;
      m_bvalid <= 0;
    end
    i = reads_out % QUEUE;
    if (reads_in != reads_out && (!m_rvalid || m_rready) && !(stalling && dice[3:0] < 7)
        && read_due[i] - beats_of(read_address[i], read_bytes[i]) + beat + 1 <= now + 1) begin
      base = (read_address[i] / BUS + beat) * BUS;
      for (w = 0; w < BUS; w = w + 1) m_rdata[8*w+:8] <= base + w < SIZE ? octets[base + w] : 0;
      m_rvalid <= 1;
      m_rlast <= beat + 1 == beats_of(read_address[i], read_bytes[i]);
      m_rresp <= read_number[i] == fails ? 2 : 0;
    end
    i = writes_out % QUEUE;
    if (written != writes_out && (!m_bvalid || m_bready) && !(stalling && dice[11:8] < 7)
        && write_due[i] <= now + 1) begin
      m_bvalid <= 1;
      m_bresp <= write_number[i] == fails ? 2 : 0;
    end
    m_arready <= !(stalling && dice[19:16] < 7);
    m_awready <= !(stalling && dice[23:20] < 7);
    m_wready <= writes_in != written && !(stalling && dice[27:24] < 7);
    if (now != 0) now = now + 1;
    if (resets) begin
      now = 0;
      through = 0;
      refreshed = 0;
      writing = 0;
      for (i = 0; i < 256; i = i + 1) open_row[i] = -1;
      reads_out = reads_in;
      writes_out = writes_in;
      written = writes_in;
      beat = 0;
      w_beat = 0;
      was_ar = 0;
      was_aw = 0;
      was_w = 0;
      m_rvalid <= 0;
      m_bvalid <= 0;
    end
  end
endmodule
"""


def chip_bench_verilog(config: ChipConfig, top: str, memory_bytes: int) -> str:
    """Return module ``bench`` for a chip.

    Parameters
    ----------
    top : str
        Name of the chip's module.
    memory_bytes : int
        Bytes of the memory.
    """
    values = {
        "TOP": top,
        "BUS": config.bus_bytes,
        "BURST": config.burst_bytes,
        "SIZE": memory_bytes,
        "USER": (config.burst_bytes - 1).bit_length(),
        "START": CHIP_LATENCY.start,
    }
    text = _BENCH
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text
