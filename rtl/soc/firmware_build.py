"""Compiles the firmware: the chip's driver, and a program that runs the networks in memory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden.errors import HardwareError, UserError
from rtl.chip.driver.headers import driver_sources, registers_header

__all__ = ["BOOT_BYTES", "Placed", "build_firmware"]

#: Of the processor's own memory: ``firmware/link.ld``.
BOOT_BYTES = 1 << 14
_PREFIX = "riscv64-unknown-elf-"
_FLAGS = (
    "-march=rv32im", "-mabi=ilp32", "-std=gnu99", "-Os", "-Wall", "-Wextra", "-Werror",
    "-ffreestanding", "-nostdlib", "-fno-tree-loop-distribute-patterns", "-Wl,--gc-sections",
    "-ffunction-sections", "-Wl,--no-warn-rwx-segments",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Placed:
    """A network's image in the memory that processor and chip share.

    Parameters
    ----------
    address : int
        From the memory's begin, a multiple of 4096.
    """

    name: str
    image: bytes
    address: int


def build_firmware(networks: Sequence[Placed], counters: Mapping[str, str]) -> bytes:
    """Return the processor's memory.

    Parameters
    ----------
    counters : mapping of str to str
        Of the chip's compute side; they are printed, and ``cycles`` before them.

    Raises
    ------
    UserError
        There is no compiler for the processor.
    HardwareError
        It refuses the program, or the program does not fit.
    """
    if shutil.which(f"{_PREFIX}gcc") is None:
        raise UserError(
            f"The firmware needs {_PREFIX}gcc, which is not installed: "
            "apt-get install gcc-riscv64-unknown-elf"
        )
    sources = Path(__file__).parent / "firmware"
    with tempfile.TemporaryDirectory(prefix="firmware-") as name:
        folder = Path(name)
        shutil.copytree(sources, folder, dirs_exist_ok=True)
        files = driver_sources() | {
            "innerjoin_registers.h": registers_header(counters),
            "networks.h": _networks_header(networks, ["cycles", *counters]),
        }
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        parts = ("start.S", "main.c", "innerjoin_chip.c")
        for command in (
            ["gcc", *_FLAGS, "-T", "link.ld", *parts, "-lgcc", "-o", "firmware.elf"],
            ["objcopy", "-O", "binary", "firmware.elf", "firmware.bin"],
        ):
            tool, *arguments = command
            done = subprocess.run(
                [_PREFIX + tool, *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise HardwareError(f"{_PREFIX}{tool} did not take the firmware: {done.stderr}")
        return (folder / "firmware.bin").read_bytes().ljust(BOOT_BYTES, b"\0")


def _networks_header(networks: Sequence[Placed], registers: Sequence[str]) -> str:
    rows = [f'{{"{one.name}", {one.address}u, {len(one.image)}u}}' for one in networks]
    counts = [f'{{"{name}", INNERJOIN_{name.upper()}}}' for name in registers]
    return f"#define NETWORKS {', '.join(rows)}\n#define COUNTERS {', '.join(counts)}\n"
