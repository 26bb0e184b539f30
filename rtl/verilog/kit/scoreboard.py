"""What a design gave beside what it must give."""

from __future__ import annotations

from .vectors import Vector

__all__ = ["Scoreboard"]


class Scoreboard:
    """Compare output beats and counters with a vector's.

    Parameters
    ----------
    vector : Vector
    stalled : bool
        Streams paused: counters of time are not compared, those of work are.
    """

    def __init__(self, vector: Vector, *, stalled: bool = False) -> None:
        self.vector, self.stalled = vector, stalled

    def differences(self, beats: list[int], counters: dict[str, int]) -> list[str]:
        """Return every difference in words; empty where there is none."""
        wanted = self.vector.outputs
        found = [
            f"output beat {number} is {beat:x}, not {right:x} (bits {defined:x} count)"
            for number, (beat, (right, defined)) in enumerate(zip(beats, wanted, strict=False))
            if (beat ^ right) & defined
        ]
        if len(beats) != len(wanted):
            found.append(f"there are {len(beats)} output beats, not {len(wanted)}")
        for name, right in self.vector.counters.items():
            if self.stalled and (name == "cycles" or "wait_" in name or "idle_" in name):
                continue
            if counters[name] != right:
                found.append(f"counter {name} is {counters[name]}, not {right}")
        return found

    def check(self, beats: list[int], counters: dict[str, int]) -> None:
        """Raise AssertionError with the first differences where there are any."""
        found = self.differences(beats, counters)
        if found:
            shown = "\n  ".join(found[:8])
            raise AssertionError(f"{self.vector.name}: {len(found)} differences\n  {shown}")
