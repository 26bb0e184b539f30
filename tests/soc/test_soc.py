"""The SoC: its processor runs the driver in C, and its serial port says what came of it."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.soc import compare_soc
from golden.chip.config import ChipConfig
from golden.chip.formats import HEADER, MAGIC, encode
from golden.chip.memory import Memory
from golden.errors import HardwareError
from rtl.soc.run import place_networks, run_soc
from tests.chip.slow_memory import SlowMemory
from tests.soc.stub_chip import StubChip

pytest.importorskip("pythondata_cpu_picorv32")
pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(
        shutil.which("riscv64-unknown-elf-gcc") is None, reason="no C compiler for RISC-V"
    ),
]

CONFIG = ChipConfig.preset("board").replace(bus_bytes=4, burst_bytes=64, filter_bus_bytes=4)
LIST, OUTPUT = 0x800, 0x840  # the stub copies the list's first burst behind it


def image_of(codes, configuration):
    """Return an image with a list of four entries, whose copy is the output."""
    words = dict.fromkeys([name for name, _ in HEADER], 0)
    words |= {"magic": MAGIC, "version": 1, "list_address": LIST, "entries": 4,
              "output_address": OUTPUT, "output_bytes": len(codes), "memory_bytes": 0x1000,
              "configuration": configuration, "output_signed": 1}  # fmt: skip
    image = bytearray(0x1000)
    image[: 4 * len(HEADER)] = encode(HEADER, words, "image")
    image[LIST : LIST + len(codes)] = bytes(code & 255 for code in codes)
    return bytes(image)


def test_the_processor_starts_a_chip_and_prints():
    """Two networks, the second behind the first, where the driver moves its list."""
    codes = [-3, 5, 1, 0] + [0] * 4 + [-128] * 7 + [9, 4]
    first, second = image_of(codes, CONFIG.digest), image_of([7, -1], CONFIG.digest)
    networks = place_networks({"one": first, "two": second, "bad": image_of([1], 0)})
    printed = run_soc(CONFIG, Memory.parse("sdram"), networks, 400_000, simulator="icarus",
                      make_chip=StubChip)  # fmt: skip
    names, values = [], []
    for line in printed.splitlines():
        name, _, number = line.strip().partition(" ")
        if not number:
            names.append(name)
            values.append({})
        else:
            values[-1][name] = int(number)
    assert names == ["one", "two", "bad"]
    assert values[0]["class"] == 15
    # The move adds 0x1000 to the first words of the list: the second code is 16 more there.
    assert values[1]["class"] == 1
    assert values[2]["result"] == 3  # an image for another chip
    # The memory's cycles, from its first state on at each start.
    for at in (0, 0x1000):
        slow = SlowMemory("sdram", CONFIG.bus_bytes)
        there = slow.serve(4, at + LIST, 64, False)
        answered = slow.serve(there + 1, at + LIST + 64, 64, True)
        mine = values[at // 0x1000]
        assert mine["compute_cycles"] == there - 4
        assert mine["write_cycles"] == answered - (there + 1)
        assert mine["cycles"] == answered + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_a_shipped_network_is_as_the_simulator_says(name):
    printed = compare_soc([name])
    assert printed.startswith(f"{name}\n  class ")


def test_the_bench_says_when_time_is_up():
    networks = place_networks({"one": image_of([1], CONFIG.digest)})
    with pytest.raises(HardwareError, match="not done in time"):
        run_soc(CONFIG, Memory.parse("sdram"), networks, 2_000, simulator="icarus",
                make_chip=StubChip)  # fmt: skip
