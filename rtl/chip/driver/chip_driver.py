"""A driver of the chip in Python, with the calls of the one in C, over any way to reach words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.chip.formats import ENTRY_BYTES, HEADER, MAGIC, VERSION, WINDOWS, decode
from golden.chip.program import form_windows
from golden.errors import FormatError, HardwareError
from golden.layer import LayerShape
from golden.program import Codes
from rtl.chip.registers import IDENTITY, Control, Status, register_map
from rtl.chip.status import Code

__all__ = ["ChipDriver", "Words"]


class Words(NamedTuple):
    """Reads and writes 32-bit words at addresses that count bytes, multiples of 4."""

    read: Callable[[int], int]
    write: Callable[[int, int], None]


class ChipDriver:
    """Loads a network's image, starts the chip, and reads what came of it.

    Parameters
    ----------
    registers, memory : Words
        Both from address 0.
    memory_bytes : int
    counters : mapping of str to str
        Counters of the chip's compute side.
    bus_address : int
        Of the memory, as the chip sees it; a multiple of 4096.

    Raises
    ------
    HardwareError
        There is no chip of this version.
    """

    def __init__(
        self,
        registers: Words,
        memory: Words,
        memory_bytes: int,
        counters: Mapping[str, str],
        bus_address: int = 0,
    ) -> None:
        self._registers, self._memory = registers, memory
        self._memory_bytes, self._bus_address = memory_bytes, bus_address
        self._addresses = register_map(counters).addresses
        self._header: dict[str, int] = {}
        for name, value in (("identity", IDENTITY), ("version", VERSION)):
            if (found := self.register(name)) != value:
                raise HardwareError(f"Register {name} must be 0x{value:x}, not 0x{found:x}")

    def register(self, name: str) -> int:
        """Return a register by its name, such as ``cycles``."""
        return self._registers.read(4 * self._addresses[name])

    def load(self, image: bytes) -> None:
        """Copy an image to the begin of the memory and take it.

        Raises
        ------
        FormatError
            It is no image, one for another chip, or it does not fit.
        HardwareError
            A network is running.
        """
        size = 4 * len(HEADER)
        header = decode(HEADER, image[:size].ljust(size, b"\0"))
        if header["magic"] != MAGIC or header["version"] != VERSION:
            raise FormatError("Image must begin with the header of a chip's program")
        if header["memory_bytes"] != len(image):
            raise FormatError(f"Image must be {header['memory_bytes']} bytes, not {len(image)}")
        if (found := self.register("configuration")) != header["configuration"]:
            raise FormatError(
                f"Image must be for the chip of configuration 0x{found:08x}, "
                f"not 0x{header['configuration']:08x}"
            )
        if len(image) > self._memory_bytes:
            raise FormatError(f"Image must be at most {self._memory_bytes} bytes, not {len(image)}")
        self._require_idle()
        octets = bytearray(image)
        for at in range(header["entries"]):
            place = header["list_address"] + at * ENTRY_BYTES
            address = int.from_bytes(octets[place : place + 4], "little") + self._bus_address
            octets[place : place + 4] = (address % 2**32).to_bytes(4, "little")
        self._store(0, bytes(octets))
        self._header = header

    def set_input(self, codes: Codes) -> None:
        """Store the network's input, axes y, x, channel, and form its windows."""
        header = self._loaded()
        shape = tuple(header[f"input_{axis}"] for axis in ("height", "width", "channels"))
        if codes.shape != shape:
            raise FormatError(f"Image must have shape {shape}, not {codes.shape}")
        self._store(header["input_address"], codes.tobytes())
        size = 4 * len(WINDOWS)
        for number in range(header["windows"]):
            record = decode(WINDOWS, self._fetch(header["windows_address"] + number * size, size))
            windows = form_windows(_window_shape(shape, record), codes)
            self._store(record["address"], windows.tobytes())

    def start(self, *, interrupt: bool = False) -> None:
        """Start the network.

        Raises
        ------
        HardwareError
            One is running.
        """
        header = self._loaded()
        self._require_idle()
        self._write("list_address", header["list_address"] + self._bus_address)
        self._write("list_entries", header["entries"])
        self._write("interrupt_enable", int(interrupt))
        self._write("control", Control.START)

    def poll(self) -> bool:
        """Return whether the network is done.

        Raises
        ------
        HardwareError
            It ended with an error.
        """
        status = self.register("status")
        if code := status >> Status.CODE & 255:
            name = Code(code).name if code in set(Code) else code
            raise HardwareError(
                f"The chip ended with code {name} at entry {self.register('error_entry')}"
            )
        return bool(status & Status.DONE)

    def wait(self, polls: int) -> None:
        """Poll until the network is done.

        Raises
        ------
        HardwareError
            It is not after so many polls, or it ended with an error.
        """
        for _ in range(polls):
            if self.poll():
                return
        raise HardwareError(f"The chip was not done after {polls} polls")

    def acknowledge(self) -> None:
        """Let the interrupt fall."""
        self._write("control", Control.CLEAR)

    def stop(self) -> None:
        """End the network early."""
        self._write("control", Control.STOP)

    def output(self) -> NDArray[np.int8 | np.uint8]:
        """Return the network's output, axis code."""
        header = self._loaded()
        data = self._fetch(header["output_address"], header["output_bytes"])
        return np.frombuffer(data, dtype=np.int8 if header["output_signed"] else np.uint8)

    def _loaded(self) -> dict[str, int]:
        if not self._header:
            raise HardwareError("An image must be loaded first")
        return self._header

    def _require_idle(self) -> None:
        if self.register("status") & Status.RUNNING:
            raise HardwareError("The chip must not be running")

    def _write(self, name: str, value: int) -> None:
        self._registers.write(4 * self._addresses[name], value)

    def _store(self, address: int, data: bytes) -> None:
        """Write bytes: words, of which the outer ones may be shared."""
        first, end = address & ~3, (address + len(data) + 3) & ~3
        if end == first:
            return
        octets = bytearray(end - first)
        for place in {first, end - 4}:
            octets[place - first : place - first + 4] = self._fetch(place, 4)
        octets[address - first : address - first + len(data)] = data
        for at, word in enumerate(np.frombuffer(bytes(octets), dtype="<u4").tolist()):
            self._memory.write(first + 4 * at, word)

    def _fetch(self, address: int, size: int) -> bytes:
        first = address & ~3
        words = [self._memory.read(place) for place in range(first, address + size, 4)]
        return np.array(words, dtype="<u4").tobytes()[address - first : address - first + size]


def _window_shape(shape: tuple[int, ...], record: dict[str, int]) -> LayerShape:
    """Return the convolution of a record; what lies below and right of it does not count."""
    height, width, channels = shape
    bottom = (record["out_height"] - 1) * record["stride_height"] + record["kernel_height"]
    right = (record["out_width"] - 1) * record["stride_width"] + record["kernel_width"]
    return LayerShape(
        name="windows",
        in_height=height,
        in_width=width,
        in_channels=channels,
        out_channels=1,
        pad_bottom=max(0, bottom - height - record["pad_top"]),
        pad_right=max(0, right - width - record["pad_left"]),
        kernel_height=record["kernel_height"],
        kernel_width=record["kernel_width"],
        stride_height=record["stride_height"],
        stride_width=record["stride_width"],
        pad_top=record["pad_top"],
        pad_left=record["pad_left"],
    )
