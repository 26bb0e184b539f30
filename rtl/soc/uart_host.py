"""The host's end of a board's serial line: ``python -m rtl.soc.uart_host /dev/ttyUSB0 lenet5.bin``.

It loads the image that ``accel export`` wrote, runs it, and prints class and counters.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from golden.errors import HardwareError, UserError
from rtl.chip.control.partition import COUNTERS
from rtl.chip.driver.chip_driver import ChipDriver, Words
from rtl.soc.uart_bridge import DONE, READ, WRITE

__all__ = ["BoardWords", "main", "open_line", "run_image"]

#: Where chip and SDRAM lie (``rtl.soc.soc``), and the SDRAM's bytes.
_REGISTERS, _MEMORY, _MEMORY_BYTES = 0x20000000, 0x40000000, 1 << 25
_WORDS = 256  # of a command
_ANSWERS = 64  # of commands under way: more would fill the operating system's buffers
_POLLS = 100_000


class BoardWords:
    """Words of a board behind its serial line.

    Writes of words behind one another are sent together, at the latest before a read.

    Parameters
    ----------
    send : callable
        Takes bytes.
    receive : callable
        Returns so many bytes, fewer where none come any more.
    """

    def __init__(self, send: Callable[[bytes], object], receive: Callable[[int], bytes]) -> None:
        self._send, self._receive = send, receive
        self._first, self._words, self._answers = 0, bytearray(), 0

    def at(self, base: int) -> Words:
        """Return the words from an address on."""
        return Words(
            lambda address: self.read(base + address),
            lambda address, word: self.write(base + address, word),
        )

    def write(self, address: int, word: int) -> None:
        """Write a word."""
        behind = self._first + len(self._words)
        if self._words and (address != behind or len(self._words) == 4 * _WORDS):
            self._flush()
        if not self._words:
            self._first = address
        self._words += (word % 2**32).to_bytes(4, "little")

    def read(self, address: int) -> int:
        """Return a word.

        Raises
        ------
        HardwareError
            The board does not answer.
        """
        self._flush()
        self._wait()
        self._send(_command(READ, address, 1))
        return int.from_bytes(self._exactly(4), "little")

    def finish(self) -> None:
        """Wait until all that was written is."""
        self._flush()
        self._wait()

    def _flush(self) -> None:
        if not self._words:
            return
        if self._answers == _ANSWERS:
            self._wait()
        self._send(_command(WRITE, self._first, len(self._words) // 4) + bytes(self._words))
        self._answers += 1
        self._words.clear()

    def _wait(self) -> None:
        if self._exactly(self._answers) != bytes([DONE]) * self._answers:
            raise HardwareError("The board must answer each write with k: is it this bitstream?")
        self._answers = 0

    def _exactly(self, count: int) -> bytes:
        data = self._receive(count) if count else b""
        if len(data) != count:
            raise HardwareError(f"The board must answer with {count} bytes, not {len(data)}")
        return data


def _command(name: int, address: int, words: int) -> bytes:
    return bytes([name]) + address.to_bytes(4, "little") + bytes([words - 1])


def open_line(path: str, baud: int) -> BoardWords:
    """Open a serial device; a read from it ends after a second of silence.

    Raises
    ------
    UserError
        It can't be opened, or knows no such speed.
    """
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise UserError(f"Speed of the line must be one of the system's, not {baud}")
    try:
        line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        modes = termios.tcgetattr(line)
        control = termios.CS8 | termios.CREAD | termios.CLOCAL
        modes[:6] = [0, 0, control, 0, speed, speed]
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 0, 10
        termios.tcsetattr(line, termios.TCSANOW, modes)
        termios.tcflush(line, termios.TCIOFLUSH)
    except (OSError, termios.error) as error:
        raise UserError(f"Line {path} can't be opened: {error}") from None

    def send(data: bytes) -> None:
        while data:
            data = data[os.write(line, data) :]

    def receive(count: int) -> bytes:
        data = b""
        while len(data) < count and (more := os.read(line, count - len(data))):
            data += more
        return data

    return BoardWords(send, receive)


def run_image(board: BoardWords, image: bytes) -> list[str]:
    """Load an image with its input, run it; return what came of it, a line each."""
    chip = ChipDriver(board.at(_REGISTERS), board.at(_MEMORY), _MEMORY_BYTES, COUNTERS)
    chip.load(image)
    board.finish()
    chip.start()
    chip.wait(_POLLS)
    lines = [f"class {int(np.argmax(chip.output()))}"]
    return lines + [f"{name} {chip.register(name)}" for name in ("cycles", *COUNTERS)]


def main(arguments: Sequence[str]) -> int:
    """Run; return the exit status."""
    if len(arguments) not in (2, 3) or (len(arguments) == 3 and not arguments[2].isdigit()):
        print("error: Arguments must be DEVICE IMAGE [BAUD]", file=sys.stderr)
        return 2
    path, image, *baud = arguments
    try:
        try:
            octets = Path(image).read_bytes()
        except OSError as error:
            raise UserError(f"Image {image} can't be read: {error.strerror}") from None
        print("\n".join(run_image(open_line(path, int(*baud or ["1000000"])), octets)))
    except (HardwareError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
