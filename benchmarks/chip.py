"""Whole networks on chips under memories: the table of ``docs/chip.md``, *Figures*.

python -m benchmarks.chip
"""

from __future__ import annotations

import accel
from accel.chip.simulator import ChipImage, choose_chip
from golden.chip.compiler import compile_network
from golden.chip.memory import Memory

MEMORIES = ("ideal", "rate:2,30", "rate:4,30", "rate:8,30", "rate:16,30", "sdram")
CASES = (
    ("lenet5", "board"),
    ("resnet8", "board"),
    ("resnet8", "chip-64"),
    ("resnet8", "chip-256"),
)


def main() -> None:
    """Print cycles of the first image, and the bytes that cross the bus."""
    print("| network, chip | " + " | ".join(f"`{memory}`" for memory in MEMORIES) + " | bytes |")
    print("|---" * (len(MEMORIES) + 2) + "|")
    for name, chip in CASES:
        net = accel.load(name)
        image = ChipImage(compile_network(net.network, choose_chip(chip)), net.images[0])
        results = [image.run(Memory.parse(memory)) for memory in MEMORIES]
        cells = " | ".join(f"{result.cycles:,}" for result in results)
        print(f"| {name}, {chip} | {cells} | {results[0].bytes:,} |")


if __name__ == "__main__":
    main()
