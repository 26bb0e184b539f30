"""A chip as a host sees it: registers and a memory, with the interpreter inside."""

from __future__ import annotations

import numpy as np

from golden.chip.config import ChipConfig
from golden.chip.formats import MAGIC
from golden.chip.interpreter import run_image

__all__ = ["FakeChip"]

#: Register numbers, from ``docs/chip.md``'s table of them.
CONTROL, STATUS, LIST_ADDRESS, LIST_ENTRIES, ENABLE = 0, 1, 16, 17, 18
IDENTITY, VERSION, CONFIGURATION, ERROR_ENTRY, CYCLES = 96, 97, 98, 99, 100


class FakeChip:
    """Registers and memory; ``serve`` does what the chip does once it is started.

    Parameters
    ----------
    base : int
        Address of the memory, as the chip sees it.
    """

    def __init__(self, config: ChipConfig, memory_bytes: int, base: int = 0) -> None:
        self.config, self.base = config, base
        self.registers = np.zeros(1024, dtype="<u4")
        self.memory = np.full(memory_bytes, 0xA5, dtype=np.uint8)
        self.registers[[IDENTITY, VERSION, CONFIGURATION]] = MAGIC, 1, config.digest

    def serve(self) -> None:
        """Run the list that the registers name: all addresses are the chip's."""
        assert self.registers[CONTROL] == 1
        space = np.zeros(self.base + self.memory.size, dtype=np.uint8)
        space[self.base :] = self.memory
        # The interpreter begins at a header at 0: one with the registers' list.
        header = space[: 4 * 16].view("<u4")
        header[:2] = MAGIC, 1
        header[2:4] = self.registers[LIST_ADDRESS], self.registers[LIST_ENTRIES]
        run_image(self.config, space)
        self.memory[:] = space[self.base :]
        self.end(0)

    def end(self, code: int, entry: int = 0) -> None:
        """Say that the network has ended."""
        self.registers[CONTROL] = 0
        self.registers[STATUS] = 2 | code << 8
        self.registers[ERROR_ENTRY] = entry
        self.registers[CYCLES] = 4711
