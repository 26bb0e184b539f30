"""A system round the chip: a memory controller, a processor, and a serial port."""
