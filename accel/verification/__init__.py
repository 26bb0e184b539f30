"""The simulator and the hardware, held against the golden model."""
