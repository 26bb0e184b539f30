"""The memory that buffers are made of: one write port, one synchronous read port.

For simulation and synthesis it is Amaranth's memory; for emission as Verilog (platform
``VerilogPlatform``) an instance of ``RAM_VERILOG``, because the writer would spell out the
initial value of every row.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, Shape
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.layouts import bits_for_count

__all__ = ["RAM_VERILOG", "Ram", "VerilogPlatform"]

RAM_VERILOG = """\
// One write port, one synchronous read port; a read of the row being written gives the old row.
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
  reg [WIDTH-1:0] rows [0:DEPTH-1];
  always @(posedge clk) begin
    if (write_enable) rows[write_address] <= write_data;
    if (read_enable) read_data <= rows[read_address];
  end
endmodule
"""


class VerilogPlatform:
    """Given to ``elaborate`` where the design is emitted as Verilog."""


class Ram(wiring.Component):
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
        A row is read in the next cycle, and kept while not enabled. A read of the row being
        written gives the old one.
    """

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

    def elaborate(self, platform) -> Module:
        m = Module()
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
            m.submodules.ram = Instance(
                "innerjoin_ram",
                p_WIDTH=Shape.cast(self._shape).width,
                p_DEPTH=self._depth,
                p_ADDRESS_BITS=len(self.read_address),
                **ports,
            )
            return m
        m.submodules.rows = rows = Memory(shape=self._shape, depth=self._depth, init=[])
        write, read = rows.write_port(), rows.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
        ]
        return m
