"""An AXI4 slave with the cycles of ``docs/chip.md``, and the rules that a master must keep.

It sees the bus once a cycle and says what stands on it in the next one.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.chip.slow_memory import SlowMemory

__all__ = ["BUS", "AxiMemory", "Seen"]

#: What a master drives.
BUS: tuple[str, ...] = (
    "araddr", "arlen", "arsize", "arburst", "aruser", "arvalid", "awaddr", "awlen", "awsize",
    "awburst", "awuser", "awvalid", "wdata", "wstrb", "wlast", "wvalid", "rready", "bready",
)  # fmt: skip
_ADDRESS = ("addr", "len", "size", "burst", "user")
_CHANNELS = {"ar": _ADDRESS, "aw": _ADDRESS, "w": ("data", "strb", "last")}


@dataclass
class Seen:
    """A burst: when it was asked for, and when it was there or answered."""

    write: bool
    address: int
    length: int
    asked: int
    due: int
    beats: int
    there: int = -1

    def base(self, bus_bytes: int, left: int) -> int:
        """Return the first byte of a beat, so many of them being left."""
        return (self.address // bus_bytes + self.beats - left) * bus_bytes


class AxiMemory:
    """A memory that serves one burst after another.

    Parameters
    ----------
    octets : ndarray of uint8
        What it holds; writes change it.
    model : str
        As the command line takes it.
    bus_bytes, burst_bytes : int
    stalls : int, optional
        Seed of random stalls on every channel; cycles are not those of the model then.
    fails : int, optional
        Number of the burst that is answered with an error.

    Attributes
    ----------
    bursts : list of Seen
    """

    def __init__(
        self,
        octets: NDArray[np.uint8],
        model: str,
        bus_bytes: int,
        burst_bytes: int,
        stalls: int | None = None,
        fails: int | None = None,
    ) -> None:
        self.octets, self.bus_bytes, self.burst_bytes = octets, bus_bytes, burst_bytes
        self.model = SlowMemory(model, bus_bytes)
        self.dice = None if stalls is None else random.Random(stalls)
        self.fails = fails
        self.bursts: list[Seen] = []
        self._reads: deque[tuple[int, Seen]] = deque()
        self._writes: deque[tuple[int, Seen]] = deque()
        self._to_write: deque[Seen] = deque()
        self._data: deque[dict[str, int]] = deque()
        self._read_left = self._write_left = 0  # beats of the oldest bursts
        self._held: dict[str, dict[str, int]] = {}
        self._ready: dict[str, int] = dict.fromkeys(("ar", "aw", "w"), 1)
        self._read: dict[str, int] = {"rvalid": 0}
        self._response: dict[str, int] = {"bvalid": 0}

    @property
    def outputs(self) -> dict[str, int]:
        """What the slave drives in the coming cycle."""
        ready = {f"{channel}ready": value for channel, value in self._ready.items()}
        return ready | self._read | self._response

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not (self._reads or self._writes or self._to_write or self._data)

    def step(self, now: int, bus: dict[str, int]) -> None:
        """See the bus in a cycle.

        Raises
        ------
        AssertionError
            The master breaks a rule.
        """
        moved = self._check_held(bus)
        for channel in ("ar", "aw"):
            if channel in moved:
                self._request(now, bus, channel)
        assert not {"ar", "aw"} <= moved, "two requests in one cycle"
        if "w" in moved:
            self._data.append({name: bus[name] for name in ("wdata", "wstrb", "wlast")})
        # Data may come before their request.
        while self._data and self._to_write:
            self._take(self._data.popleft(), now)
        if bus["rready"] and self._read["rvalid"]:
            self._end_beat(now)
        if bus["bready"] and self._response["bvalid"]:
            self._writes.popleft()[1].there = now
            self._response = {"bvalid": 0}
        self._offer(now + 1)
        if self.dice is not None:
            self._ready = {name: int(self.dice.random() < 0.5) for name in self._ready}

    def _check_held(self, bus: dict[str, int]) -> set[str]:
        """A channel that waits must not change; return those that move."""
        moved = set()
        for channel, names in _CHANNELS.items():
            valid = bus[f"{channel}valid"]
            values = {name: bus[channel + name] for name in names}
            if channel in self._held:
                assert valid, f"{channel}valid fell before {channel}ready"
                assert values == self._held[channel], f"{channel} changed before {channel}ready"
            self._held.pop(channel, None)
            if valid and not self._ready[channel]:
                self._held[channel] = values
            elif valid:
                moved.add(channel)
        return moved

    def _request(self, now: int, bus: dict[str, int], channel: str) -> None:
        address, size = bus[f"{channel}addr"], bus[f"{channel}user"] + 1
        beats = (address % self.bus_bytes + size - 1) // self.bus_bytes + 1
        assert bus[f"{channel}len"] + 1 == beats, "beats are not those of the bytes"
        assert 1 << bus[f"{channel}size"] == self.bus_bytes
        assert bus[f"{channel}burst"] == 1, "a burst must be INCR"
        assert address // 4096 == (address + size - 1) // 4096, "a burst crosses 4096 bytes"
        assert address // self.burst_bytes == (address + size - 1) // self.burst_bytes
        number, write = len(self.bursts), channel == "aw"
        there = self.model.serve(now, address, size, write)
        burst = Seen(write, address, size, now, there, beats)
        self.bursts.append(burst)
        (self._writes if write else self._reads).append((number, burst))
        if write:
            self._to_write.append(burst)

    def _take(self, bus: dict[str, int], now: int) -> None:
        burst = self._to_write[0]
        left = self._write_left or burst.beats
        base = burst.base(self.bus_bytes, left)
        assert bus["wlast"] == (left == 1), "wlast is not at the end"
        for lane in range(self.bus_bytes):
            inside = burst.address <= base + lane < burst.address + burst.length
            assert bool(bus["wstrb"] >> lane & 1) == inside, "strobes are not the burst's bytes"
            if inside:
                self.octets[base + lane] = bus["wdata"] >> (8 * lane) & 255
        self._write_left = left - 1
        if left == 1:
            assert self.dice or now < burst.due, "data come too late for the response"
            self._to_write.popleft()

    def _end_beat(self, now: int) -> None:
        self._read_left -= 1
        if not self._read_left:
            self._reads.popleft()[1].there = now
        self._read = {"rvalid": 0}

    def _offer(self, now: int) -> None:
        """Offer what is due in a cycle."""
        if not self._read["rvalid"] and self._reads and not self._stalls():
            number, burst = self._reads[0]
            left = self._read_left or burst.beats
            if burst.due - left + 1 <= now:
                self._read_left = left
                base = burst.base(self.bus_bytes, left)
                octets = self.octets[base : base + self.bus_bytes].tobytes()
                self._read = {
                    "rvalid": 1, "rdata": int.from_bytes(octets, "little"),
                    "rresp": 2 * (number == self.fails), "rlast": int(left == 1),
                }  # fmt: skip
        if not self._response["bvalid"] and self._writes and not self._stalls():
            number, burst = self._writes[0]
            taken = not any(burst is other for other in self._to_write)
            if taken and burst.due <= now:
                self._response = {"bvalid": 1, "bresp": 2 * (number == self.fails)}

    def _stalls(self) -> bool:
        return self.dice is not None and self.dice.random() < 0.4
