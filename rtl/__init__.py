"""The hardware in Amaranth, and its Verilog."""
