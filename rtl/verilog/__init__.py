"""Designs as Verilog."""
