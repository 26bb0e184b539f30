"""A timeline: for each unit, intervals named as the counter that their cycles count for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS

__all__ = ["Interval", "Timeline", "Track", "track_of_cycles"]


@dataclass(frozen=True)
class Interval:
    """Cycles ``start`` to ``end - 1``, which count for ``counter``."""

    counter: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Track:
    """One unit's intervals, from cycle 0 on and without a gap.

    Parameters
    ----------
    name : str
        Such as ``cluster 0, unit 3``.
    states : ndarray of uint8, axis interval
        Places in ``golden.counters.UNIT_COUNTERS``; two that follow one another differ.
    ends : ndarray of int64, axis interval
        The first cycle after each.
    """

    name: str
    states: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @property
    def cycles(self) -> int:
        return int(self.ends[-1]) if self.ends.size else 0

    @property
    def intervals(self) -> list[Interval]:
        """All intervals, in order."""
        ends = self.ends.tolist()
        starts = [0, *ends[:-1]] if ends else []
        return [
            Interval(UNIT_COUNTERS[state], start, end)
            for state, start, end in zip(self.states.tolist(), starts, ends, strict=True)
        ]

    def counters(self) -> NDArray[np.int64]:
        """Return the unit's counters, axis counter: what the intervals of each add up to."""
        lengths = np.diff(self.ends, prepend=0)
        counts = np.zeros(len(UNIT_COUNTERS), dtype=np.int64)
        np.add.at(counts, self.states, lengths)
        return counts


@dataclass(frozen=True, eq=False)
class Timeline:
    """A layer on a machine, unit by unit.

    Parameters
    ----------
    title : str
        Network, layer, machine and where the intervals come from.
    tracks : tuple of Track
    """

    title: str
    tracks: tuple[Track, ...]

    @property
    def cycles(self) -> int:
        """Cycles of the part that takes longest."""
        return max((track.cycles for track in self.tracks), default=0)

    @property
    def intervals(self) -> int:
        return sum(track.states.size for track in self.tracks)

    def difference(self, other: Timeline) -> str:
        """Return in words where two timelines differ first; empty where they are equal."""
        if len(self.tracks) != len(other.tracks):
            return f"{len(self.tracks)} and {len(other.tracks)} tracks"
        for mine, theirs in zip(self.tracks, other.tracks, strict=True):
            if mine.name != theirs.name:
                return f"tracks {mine.name} and {theirs.name}"
            for one, two in zip(mine.intervals, theirs.intervals, strict=False):
                if one != two:
                    return f"{mine.name}: {_words(one)} and {_words(two)}"
            if mine.states.size != theirs.states.size:
                return f"{mine.name}: {mine.states.size} and {theirs.states.size} intervals"
        return ""

    def __repr__(self) -> str:
        return (
            f"Timeline({self.title!r}: {len(self.tracks)} tracks, {self.intervals} intervals, "
            f"{self.cycles} cycles)"
        )


def track_of_cycles(name: str, states: NDArray[np.uint8]) -> Track:
    """Return the track of a unit whose state is given for each cycle."""
    states = np.asarray(states, dtype=np.uint8)
    if not states.size:
        return Track(name, states, np.zeros(0, dtype=np.int64))
    lasts = np.append(np.flatnonzero(states[1:] != states[:-1]), states.size - 1)
    return Track(name, states[lasts], lasts + 1)


def _words(interval: Interval) -> str:
    return f"{interval.counter} in cycles {interval.start} to {interval.end - 1}"
