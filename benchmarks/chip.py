"""Whole networks on chips under memories: the tables of ``docs/chip.md``.

python -m benchmarks.chip
"""

from __future__ import annotations

import time

import accel
from accel.chip.simulator import ChipImage
from accel.machines.cluster.model import InnerJoin
from accel.run import run_machines
from accel.trace import Trace
from accel.costs.energy import load_table
from golden.chip.compiler import compile_network
from golden.chip.config import CHIP_LATENCY, ChipConfig
from golden.chip.memory import Memory

__all__ = ["main"]

MEMORIES = ("ideal", "rate:2,30", "rate:4,30", "rate:8,30", "rate:16,30", "sdram")
CASES = (
    ("lenet5", "board"),
    ("resnet8", "board"),
    ("resnet8", "chip-64"),
    ("resnet8", "chip-256"),
)


def main() -> None:
    """Print the table of cycles, where they go, and what memory costs the simulator."""
    images = {}
    print("| network, chip | " + " | ".join(f"`{memory}`" for memory in MEMORIES) + " | bytes |")
    print("|---" * (len(MEMORIES) + 2) + "|")
    for name, chip in CASES:
        net = accel.load(name)
        program = compile_network(net.network, ChipConfig.preset(chip))
        image = images[name, chip] = ChipImage(program, net.images[0])
        results = [image.run(Memory.parse(memory)) for memory in MEMORIES]
        cells = " | ".join(f"{result.cycles:,}" for result in results)
        print(f"| {name}, {chip} | {cells} | {results[0].bytes:,} |")


if __name__ == "__main__":
    main()
