"""The memories of ``docs/chip.md`` as one integer function of the bursts so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.compiled import helper, njit
from golden.chip.memory import Memory

__all__ = ["memory_parameters", "memory_state", "serve_burst"]

_IDEAL, _RATE, _SDRAM = range(3)
#: Columns of the state; the open row of each bank follows, -1 for none.
_FREE, _WRITING, _REFRESH, _BUSY, _BANKS = range(5)


def memory_parameters(memory: Memory) -> NDArray[np.int64]:
    """Return a memory as the kernel takes it: kind, then its parameters."""
    kind = {"ideal": _IDEAL, "rate": _RATE, "sdram": _SDRAM}[memory.kind]
    return np.array([kind, *memory.values], dtype=np.int64)


def memory_state(memory: Memory) -> NDArray[np.int64]:
    """Return the state of a memory that has served nothing."""
    banks = memory.values[1] if memory.kind == "sdram" else 0
    state = np.zeros(_BANKS + banks, dtype=np.int64)
    if memory.kind == "sdram":
        state[_REFRESH] = memory.values[7]
        state[_BANKS:] = -1
    return state


@njit
def serve_burst(request, address, length, write, bus_bytes, parameters, state):
    """Serve one burst; return A. D and the sum of M(i) are in the state."""
    begun = max(state[_FREE], request)
    ended = begun
    if parameters[0] == _SDRAM:
        ended = _serve_pages(begun, address, length, write, bus_bytes, parameters, state)
        latency = parameters[6]
    else:
        cycles = (address + length - 1) // bus_bytes - address // bus_bytes + 1
        latency = np.int64(1)
        if parameters[0] == _RATE:
            cycles = max(cycles, -(-length // parameters[1]))
            latency = parameters[2]
        ended += cycles
    state[_BUSY] += ended - begun
    state[_FREE] = ended
    return ended + latency


@helper
def _serve_pages(now, address, length, write, bus_bytes, parameters, state):
    rate, banks, row_bytes, activate, precharge = parameters[1:6]
    turn, interval, refresh = parameters[7:10]
    if now >= state[_REFRESH]:
        now += refresh
        state[_BANKS:] = -1
        state[_REFRESH] += ((now - state[_REFRESH]) // interval + 1) * interval
    if write != state[_WRITING]:
        state[_WRITING] = write
        now += turn
    end = address + length
    while address < end:
        row = address // row_bytes
        stop = min(end, (row + 1) * row_bytes)
        open_row = state[_BANKS + row % banks]
        if open_row != row:
            now += activate + (precharge if open_row >= 0 else 0)
            state[_BANKS + row % banks] = row
        beats = (stop - 1) // bus_bytes - address // bus_bytes + 1
        words = (stop - 1) // rate - address // rate + 1
        now += max(beats, words)
        address = stop
    return now
