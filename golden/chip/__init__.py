"""The chip of ``docs/chip.md``: what it is, and the program and memory image of a network."""
