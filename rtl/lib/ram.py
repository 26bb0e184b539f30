"""The memories that buffers are made of: one write port, one synchronous read port.

For simulation and synthesis they are Amaranth's memories; for emission as Verilog (platform
``VerilogPlatform``) instances of ``RAM_VERILOG``, because the writer would spell out the
initial value of every row.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.lib.component import Component, VerilogPlatform
from rtl.lib.widths import bits_for_count

__all__ = ["RAM_VERILOG", "ByteRam", "DualRam", "Ram"]

RAM_VERILOG = """\
// One write port, one synchronous read port. Nobody uses what is read from a row being written.
module innerjoin_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4
) (
    input wire clk,
    input wire write_enable,
    input wire [ADDRESS_BITS-1:0] write_address,
    input wire [WIDTH-1:0] write_data,
    input wire read_enable,
    input wire [ADDRESS_BITS-1:0] read_address,
    output reg [WIDTH-1:0] read_data
);
  (* no_rw_check *) reg [WIDTH-1:0] ram_rows [0:DEPTH-1];
  always @(posedge clk) begin
    if (write_enable) ram_rows[write_address] <= write_data;
    if (read_enable) read_data <= ram_rows[read_address];
  end
endmodule

// Two ports, each of which writes or reads; what is read while writing is not used.
module innerjoin_dual_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4
) (
    input wire clk,
    input wire write_enable0,
    input wire [ADDRESS_BITS-1:0] address0,
    input wire [WIDTH-1:0] write_data0,
    output reg [WIDTH-1:0] read_data,
    input wire write_enable1,
    input wire [ADDRESS_BITS-1:0] address1,
    input wire [WIDTH-1:0] write_data1
);
  (* no_rw_check *) reg [WIDTH-1:0] ram_rows [0:DEPTH-1];
  always @(posedge clk) begin
    if (write_enable0) ram_rows[address0] <= write_data0;
    else read_data <= ram_rows[address0];
  end
  always @(posedge clk) if (write_enable1) ram_rows[address1] <= write_data1;
endmodule

// Rows of bytes are written, single bytes are read.
module innerjoin_byte_ram #(
    parameter BYTES = 16,
    parameter DEPTH = 16,
    parameter BYTE_BITS = 4,
    parameter ADDRESS_BITS = 8
) (
    input wire clk,
    input wire write_enable,
    input wire [ADDRESS_BITS-BYTE_BITS-1:0] write_address,
    input wire [8*BYTES-1:0] write_data,
    input wire read_enable,
    input wire [ADDRESS_BITS-1:0] read_address,
    output reg [7:0] read_data
);
  (* no_rw_check *) reg [7:0] ram_bytes [0:DEPTH*BYTES-1];
  generate
    if (BYTES == 1) begin : single
      always @(posedge clk) if (write_enable) ram_bytes[write_address] <= write_data;
    end else begin : several
      // The lower bits of the address are a constant for each byte: so one row is one write port.
      integer i;
      always @(posedge clk)
        if (write_enable)
          for (i = 0; i < BYTES; i = i + 1)
            ram_bytes[{write_address, i[BYTE_BITS-1:0]}] <= write_data[8*i+:8];
    end
  endgenerate
  always @(posedge clk) if (read_enable) read_data <= ram_bytes[read_address];
endmodule
"""

#: Block RAM needs no bypass: nobody uses what is read from a row being written.
_ATTRIBUTES: Any = {"no_rw_check": 1}


def _row(address: Signal, depth: int) -> Signal | Const:
    """The row at an address: of a memory of one row its address, a bit wide, chooses nothing."""
    return address if depth > 1 else Const(0, len(address))


class Ram(Component):
    """A memory.

    Parameters
    ----------
    shape : shape-like
        Shape of a row.
    depth : int
        Rows; what is in them at the beginning is undefined.

    Members
    -------
    write_enable : In(1), write_address : In, write_data : In(shape)
        A row is written at the end of the cycle.
    read_enable : In(1), read_address : In, read_data : Out(shape)
        A row is read in the next cycle, and kept while not enabled. Undefined where it is
        being written.
    """

    inline = True

    def __init__(self, shape, depth: int) -> None:
        self._shape, self._depth = shape, depth
        bits = bits_for_count(depth)
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(bits),
                "write_data": In(shape),
                "read_enable": In(1),
                "read_address": In(bits),
                "read_data": Out(shape),
            }
        )

    def elaborate(self, platform) -> Module | Instance:
        if isinstance(platform, VerilogPlatform):
            ports = {
                "i_clk": ClockSignal(),
                "i_write_enable": self.write_enable,
                "i_write_address": _row(self.write_address, self._depth),
                "i_write_data": self.write_data,
                "i_read_enable": self.read_enable,
                "i_read_address": _row(self.read_address, self._depth),
                "o_read_data": self.read_data,
            }
            return Instance(
                "innerjoin_ram",
                p_WIDTH=Shape.cast(self._shape).width,
                p_DEPTH=self._depth,
                p_ADDRESS_BITS=len(self.read_address),
                **ports,
            )
        m = Module()
        m.submodules.rows = rows = Memory(
            shape=self._shape, depth=self._depth, init=[], attrs=_ATTRIBUTES
        )
        write, read = rows.write_port(), rows.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.read_address),
        ]
        with m.If(self.read_enable):
            m.d.sync += self.read_data.eq(read.data)
        return m


class DualRam(Component):
    """A memory with two ports: one writes or reads, the other writes.

    Parameters
    ----------
    shape : shape-like
        Shape of a row.
    depth : int
        Rows; what is in them at the beginning is undefined.

    Members
    -------
    write_enable0, write_enable1 : In(1), address0, address1 : In, write_data0, write_data1 : In
        Rows are written at the end of the cycle, not the same one by both.
    read_data : Out(shape)
        The row at ``address0`` in a cycle without ``write_enable0``, in the next one.
    """

    inline = True

    def __init__(self, shape, depth: int) -> None:
        self._shape, self._depth = shape, depth
        members = {}
        for port in range(2):
            members[f"write_enable{port}"] = In(1)
            members[f"address{port}"] = In(bits_for_count(depth))
            members[f"write_data{port}"] = In(shape)
        super().__init__({**members, "read_data": Out(shape)})

    def elaborate(self, platform) -> Module | Instance:
        if isinstance(platform, VerilogPlatform):
            ports = {}
            for port in range(2):
                address = getattr(self, f"address{port}")
                ports[f"i_write_enable{port}"] = getattr(self, f"write_enable{port}")
                ports[f"i_address{port}"] = _row(address, self._depth)
                ports[f"i_write_data{port}"] = getattr(self, f"write_data{port}")
            return Instance(
                "innerjoin_dual_ram",
                p_WIDTH=Shape.cast(self._shape).width,
                p_DEPTH=self._depth,
                p_ADDRESS_BITS=len(self.address0),
                i_clk=ClockSignal(),
                o_read_data=self.read_data,
                **ports,
            )
        m = Module()
        m.submodules.rows = rows = Memory(shape=self._shape, depth=self._depth, init=[])
        read = rows.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.address0)
        with m.If(~self.write_enable0):
            m.d.sync += self.read_data.eq(read.data)
        for port in range(2):
            write = rows.write_port()
            m.d.comb += [
                write.en.eq(getattr(self, f"write_enable{port}")),
                write.addr.eq(getattr(self, f"address{port}")),
                write.data.eq(getattr(self, f"write_data{port}")),
            ]
        return m


class ByteRam(Component):
    """A memory of bytes that is written by rows: synthesis makes both widths of block RAM's ports.

    Parameters
    ----------
    row_bytes : int
        Bytes of a row; a power of two.
    depth : int
        Rows; what is in them at the beginning is undefined.

    Members
    -------
    write_enable : In(1), write_address : In, write_data : In(ArrayLayout(8, row_bytes))
        A row is written at the end of the cycle.
    read_enable : In(1), read_address : In, read_data : Out(8)
        Byte ``read_address % row_bytes`` of row ``read_address // row_bytes`` is read in the next
        cycle, and kept while not enabled. Undefined where its row is being written.
    """

    inline = True

    def __init__(self, row_bytes: int, depth: int) -> None:
        self._row_bytes, self._depth = row_bytes, depth
        row_bits = bits_for_count(depth)
        self._byte_bits = row_bytes.bit_length() - 1
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(row_bits),
                "write_data": In(data.ArrayLayout(8, row_bytes)),
                "read_enable": In(1),
                "read_address": In(row_bits + self._byte_bits),
                "read_data": Out(8),
            }
        )

    def elaborate(self, platform) -> Module | Instance:
        if isinstance(platform, VerilogPlatform):
            ports = {
                "i_clk": ClockSignal(),
                "i_write_enable": self.write_enable,
                "i_write_address": self.write_address,
                "i_write_data": self.write_data,
                "i_read_enable": self.read_enable,
                "i_read_address": self.read_address,
                "o_read_data": self.read_data,
            }
            return Instance(
                "innerjoin_byte_ram",
                p_BYTES=self._row_bytes,
                p_DEPTH=self._depth,
                p_BYTE_BITS=self._byte_bits,
                p_ADDRESS_BITS=len(self.read_address),
                **ports,
            )
        m = Module()
        m.submodules.bytes = memory = Memory(
            shape=8, depth=self._depth * self._row_bytes, init=[], attrs=_ATTRIBUTES
        )
        read = memory.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.read_address)
        with m.If(self.read_enable):
            m.d.sync += self.read_data.eq(read.data)
        for number in range(self._row_bytes):
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.write_enable),
                write.addr.eq(Cat(Const(number, self._byte_bits), self.write_address)),
                write.data.eq(self.write_data[number]),
            ]
        return m
