"""The memories of ``docs/chip.md``, one burst after another."""

from __future__ import annotations

__all__ = ["SlowMemory"]


class SlowMemory:
    """Serves bursts in order.

    Parameters
    ----------
    model : str
        As the command line takes it.
    bus_bytes : int
    """

    def __init__(self, model: str, bus_bytes: int) -> None:
        kind, _, rest = model.partition(":")
        self.kind, self.bus_bytes = kind, bus_bytes
        self.numbers = [int(n) for n in rest.split(",")] if rest else []
        if kind == "sdram" and not rest:
            self.numbers = [2, 4, 1024, 3, 3, 3, 2, 780, 9]
        self.free = 0
        self.busy = 0
        self.open: dict[int, int] = {}
        self.writing = False
        self.refresh = self.numbers[7] if kind == "sdram" else 0

    def serve(self, now: int, address: int, length: int, write: bool) -> int:
        """Return when a burst asked for in this cycle is there, or its response."""
        begin = max(now, self.free)
        if self.kind == "sdram":
            end, latency = self._sdram(begin, address, length, write), self.numbers[5]
        else:
            beats = self._beats(address, length)
            latency = 1
            if self.kind == "rate":
                rate, latency = self.numbers
                beats = max(beats, (length + rate - 1) // rate)
            end = begin + beats
        self.busy += end - begin
        self.free = end
        return end + latency

    def _beats(self, address: int, length: int) -> int:
        first, last = address // self.bus_bytes, (address + length - 1) // self.bus_bytes
        return last - first + 1

    def _sdram(self, time: int, address: int, length: int, write: bool) -> int:
        rate, banks, row_bytes, rcd, rp, _, turn, refi, rfc = self.numbers
        if time >= self.refresh:
            time += rfc
            self.open = {}
            while self.refresh <= time:
                self.refresh += refi
        if write != self.writing:
            time += turn
            self.writing = write
        while length:
            row = address // row_bytes
            part = min(length, (row + 1) * row_bytes - address)
            bank = row % banks
            if bank not in self.open:
                time += rcd
            elif self.open[bank] != row:
                time += rp + rcd
            self.open[bank] = row
            words = len({octet // rate for octet in range(address, address + part)})
            time += max(self._beats(address, part), words)
            address, length = address + part, length - part
        return time
