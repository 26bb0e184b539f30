"""An SDRAM that refuses what a real one could not do. Times are cycles, from its data sheet."""

from __future__ import annotations

import numpy as np

__all__ = ["SdramChip"]

MODE, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, BURST_STOP, NOP = range(8)
_LONG_AGO = -(10**9)


class SdramChip:
    """Four banks of 16-bit words, one a command.

    Parameters
    ----------
    octets : ndarray of uint8
        What it holds; row r of bank b begins at byte (4 r + b) times a row's.
    rcd, rp, ras, rc, rrd, rfc, wr, cl : int
        Its data sheet, in cycles.
    refresh_cycles : int
        A refresh is wanted so often, on average over nine.
    """

    def __init__(self, octets, refresh_cycles, rcd=2, rp=2, ras=5, rc=6, rrd=2, rfc=6, wr=2, cl=2):
        self.words = octets.view("<u2")
        self.rcd, self.rp, self.ras, self.rc, self.rrd = rcd, rp, ras, rc, rrd
        self.rfc, self.wr, self.cl = rfc, wr, cl
        self.refresh_cycles = refresh_cycles
        self.now = 0
        self.rows: list[int | None] = [None] * 4
        self.activated, self.closed, self.written = ([_LONG_AGO] * 4 for _ in range(3))
        self.refreshes: list[int] = []
        self.mode: int | None = None
        self.coming: dict[int, int] = {}  # read data by the cycle in which the bus has them
        self.accesses: list[int] = []

    def step(self, command, bank, address, dqm, data, enable):
        """Take the pins at the end of a cycle; return the data that stand there in the next one."""
        if enable:
            assert self.now not in self.coming, "both drive the data bus"
            assert self.now - 1 not in self.coming, "the data bus has no cycle to turn"
        if command != NOP:
            assert command != BURST_STOP
            since = [self.now - x for x in self.refreshes[-1:]]
            assert not since or since[0] >= self.rfc, "a command within tRFC"
        if command in (READ, WRITE):
            self._access(command, bank, address, dqm, data, enable)
        else:
            assert not enable, "data without a write"
            if command == ACTIVATE:
                self._activate(bank, address)
            elif command == PRECHARGE:
                for one in range(4) if address >> 10 & 1 else [bank]:
                    self._precharge(one)
            elif command == REFRESH:
                self._idle("refresh")
                self.refreshes.append(self.now)
                if len(self.refreshes) > 9 and self.mode is not None:
                    spent = self.now - self.refreshes[-10]
                    assert spent <= 10 * self.refresh_cycles, "refreshes are too rare"
            elif command == MODE:
                self._idle("mode")
                assert len(self.refreshes) >= 2
                assert address & 7 == 0, "one word a command"
                assert address >> 4 & 7 == self.cl
                self.mode = address
        self.now += 1
        self.coming.pop(self.now - 2, None)
        return self.coming.get(self.now, 0xDEAD)

    def _idle(self, what):
        for bank in range(4):
            assert self.rows[bank] is None, f"{what} with an open row"
            assert self.now - self.closed[bank] >= self.rp, f"{what} within tRP"

    def _activate(self, bank, row):
        assert self.mode is not None
        assert self.rows[bank] is None, "the bank is open"
        assert self.now - self.closed[bank] >= self.rp, "tRP"
        assert self.now - self.activated[bank] >= self.rc, "tRC"
        assert all(self.now - x >= self.rrd for x in self.activated), "tRRD"
        self.rows[bank], self.activated[bank] = row, self.now

    def _precharge(self, bank):
        if self.rows[bank] is None:
            return
        assert self.now - self.activated[bank] >= self.ras, "tRAS"
        assert self.now - self.written[bank] >= self.wr, "tWR"
        self.rows[bank], self.closed[bank] = None, self.now

    def _access(self, command, bank, address, dqm, data, enable):
        row = self.rows[bank]
        assert row is not None, "no row is open"
        assert self.now - self.activated[bank] >= self.rcd, "tRCD"
        assert not address >> 10 & 1, "no automatic precharge"
        self.accesses.append(self.now)
        at = (row * 4 + bank) * 512 + address
        if command == READ:
            assert dqm == 0
            self.coming[self.now + self.cl] = int(self.words[at])
            return
        assert enable, "a write without data"
        keep = np.uint16((0xFF if dqm & 1 else 0) | (0xFF00 if dqm & 2 else 0))
        self.words[at] = (self.words[at] & keep) | (np.uint16(data) & ~keep)
        self.written[bank] = self.now
