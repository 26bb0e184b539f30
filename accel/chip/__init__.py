"""The simulator of the chip of ``docs/chip.md``: a whole network's cycles, memory included."""
