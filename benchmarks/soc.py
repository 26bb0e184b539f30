"""Networks on the SoC, its processor's C driver starting them: ``python -m benchmarks.soc NAMES``.

What the serial port prints is shown, then held to the simulator of the chip.
"""

from __future__ import annotations

import sys

import numpy as np

import accel
from accel.activations.functional import run_network
from accel.chip.simulator import ChipImage
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.chip.memory import Memory
from golden.errors import HardwareError
from rtl.soc.run import place_networks, run_soc

__all__ = ["compare_soc"]

#: The processor needs these cycles beside a network's.
_OVERHEAD = 3_000_000


def compare_soc(names: list[str], chip: str = "board", image: int = 0) -> str:
    """Run networks on the SoC; return what it printed.

    Raises
    ------
    HardwareError
        A class, the cycles or a counter is not that of the simulator.
    """
    config, memory = ChipConfig.preset(chip), Memory.parse("sdram")
    images, wanted = {}, []
    limit = _OVERHEAD
    for name in names:
        net = accel.load(name)
        program = compile_network(net.network, config)
        codes = net.images[image]
        result = ChipImage(program, codes).run(memory)
        limit += result.cycles
        images[name] = program.memory(codes).tobytes()
        output = run_network(program.network, codes)[program.network.output]
        counters = {"class": int(np.argmax(output)), "cycles": result.cycles, **result.counters}
        wanted.append((name, counters | {"pairs": result.pairs}))
    printed = run_soc(config, memory, place_networks(images), limit)
    if (found := _parse(printed)) != wanted:
        raise HardwareError(f"The SoC printed {found}, the simulator has {wanted}")
    return printed


def _parse(text: str) -> list[tuple[str, dict[str, int]]]:
    result: list[tuple[str, dict[str, int]]] = []
    for line in text.splitlines():
        name, _, number = line.strip().partition(" ")
        if number:
            result[-1][1][name] = int(number)
        else:
            result.append((name, {}))
    return result


if __name__ == "__main__":
    names = sys.argv[1:] or ["lenet5", "resnet8"]
    print(compare_soc(names), end="")
    print("Classes, cycles and counters are those of the simulator.")
