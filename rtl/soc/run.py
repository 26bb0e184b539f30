"""Runs networks on the SoC under Verilator, and returns what its serial port printed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import util
from pathlib import Path

import numpy as np

from golden.chip.config import ChipConfig
from golden.chip.memory import Memory
from golden.errors import HardwareError, UserError
from rtl.chip.chip import Chip
from rtl.chip.control.partition import COUNTERS
from rtl.host import Written
from rtl.lib.component import Component
from rtl.sim import runner
from rtl.sim.build import build, require_simulator, search_path
from rtl.soc.bench import soc_bench_verilog
from rtl.soc.firmware_build import Placed, build_firmware
from rtl.soc.sdram_timing import W9825G6KH_100MHZ, SdramModel
from rtl.soc.soc import Soc

__all__ = ["place_networks", "run_soc"]

#: In simulation a bit of the serial port is short, and the SDRAM wakes up soon.
_DIVIDER, _POWER_UP_CYCLES = 4, 100


def place_networks(images: Mapping[str, bytes]) -> list[Placed]:
    """Place images by name behind one another."""
    placed, end = [], 0
    for name, image in images.items():
        placed.append(Placed(name, image, end))
        end += -(-len(image) // 4096) * 4096
    return placed


def run_soc(
    config: ChipConfig,
    memory: Memory,
    networks: Sequence[Placed],
    cycle_limit: int,
    *,
    simulator: str = "verilator",
    make_chip: Callable[[ChipConfig], Component] = Chip,
) -> str:
    """Run networks one after the other; return all that was printed.

    Parameters
    ----------
    memory : Memory
        A ``sdram`` that a controller can keep.
    cycle_limit : int
        All is done in fewer cycles.
    simulator : str
        ``verilator`` or ``icarus``.
    make_chip : callable
        Returns the chip of a configuration.

    Raises
    ------
    UserError
        A tool is missing.
    HardwareError
        It is not done in time, or a rule of the SDRAM is broken.
    """
    require_simulator(simulator)
    if util.find_spec("pythondata_cpu_picorv32") is None:
        raise UserError(
            "The SoC needs PicoRV32, which is not installed: pip install 'innerjoin[soc]'"
        )
    model = SdramModel(memory=memory, timing=W9825G6KH_100MHZ)
    program = build_firmware(networks, COUNTERS)
    design = Written(
        top="soc",
        summary="a chip with memory, serial port, and a port for a processor",
        config=config,
        make=lambda: Soc(config, model, _DIVIDER, _POWER_UP_CYCLES, make_chip),
    )
    end = networks[-1].address + len(networks[-1].image)
    octets = np.zeros(1 << max(20, (end - 1).bit_length()), dtype=np.uint8)
    for one in networks:
        octets[one.address : one.address + len(one.image)] = np.frombuffer(one.image, np.uint8)
    bench = soc_bench_verilog(model, octets.size, _DIVIDER)
    built = build(design, simulator, bench, long=simulator == "verilator")
    with tempfile.TemporaryDirectory(prefix="soc-") as name:
        folder = Path(name)
        for file, words in (
            ("image", octets.view("<u2")),
            ("program", np.frombuffer(program, dtype="<u4")),
        ):
            (folder / file).write_text("\n".join(map("{:x}".format, words.tolist())), "ascii")
        try:
            runner.run(
                simulator, "test", {"PATH": search_path()}, folder,
                test_module="rtl.sim.cocotb_bench", hdl_toplevel="bench",
                hdl_toplevel_lang="verilog", build_dir=str(built), test_dir=str(folder),
                plusargs=[f"+results={folder / 'results'}", f"+image={folder / 'image'}",
                          f"+program={folder / 'program'}",
                          f"+limit={cycle_limit}"],
            )  # fmt: skip
        except RuntimeError as error:
            raise HardwareError(f"{simulator} did not run the bench: {error}") from None
        return _printed((folder / "results").read_text(encoding="ascii"))


def _printed(results: str) -> str:
    octets = bytearray()
    for line in results.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "u":
            octets.append(int(rest, 16))
            continue
        reason = f"broke a rule: {rest}" if kind == "x" else "was not done in time"
        raise HardwareError(
            f"The SoC {reason}; it had printed {octets.decode('ascii', 'replace')!r}"
        )
    return octets.rstrip(b"\x04").decode("ascii", "replace")
