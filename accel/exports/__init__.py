"""What is written for others: a network as an image with C headers, a machine as Verilog."""
