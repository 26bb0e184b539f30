"""Designs under a simulator: Amaranth's own, Icarus, Verilator."""
