"""What became of a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from accel.results import Timing
from golden.machines.cluster.config import SkipMode

__all__ = ["BOUNDED", "DOMINATED", "FAILED", "INFEASIBLE", "OK", "Outcome"]

OK, DOMINATED, INFEASIBLE, FAILED = "ok", "dominated", "infeasible", "failed"
#: Of an outcome on the way: its cycles are at least those of its layers.
BOUNDED = "bounded"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a point on a network.

    Parameters
    ----------
    status : str
        ``ok``; ``dominated``: not counted, since its cycles are at least those of ``layer_cycles``
        and a point that was counted is no worse; ``infeasible``: such a machine can't be, or a
        layer does not fit it; ``failed``: something else went wrong.
    message : str
        The rule, or what went wrong.
    timings : dict of SkipMode to Timing
        Sums over layers and images, for each mode that was counted.
    layer_cycles : dict of str to int
        Of each layer, in the last of these modes, summed over images.
    cpu_seconds : float
        Spent on it; what machines share is divided evenly.
    """

    status: str
    message: str = ""
    timings: Mapping[SkipMode, Timing] = field(default_factory=dict)
    layer_cycles: Mapping[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return all that was counted, as plain values."""
        return {
            "modes": {mode.value: _plain(timing) for mode, timing in self.timings.items()},
            "layer_cycles": dict(self.layer_cycles),
        }


def _plain(timing: Timing) -> dict[str, Any]:
    return {
        "cycles": timing.cycles,
        "pairs": timing.pairs,
        "stray_pairs": timing.stray_pairs,
        "additions": timing.additions,
        "unit_cycles": dict(timing.unit_cycles),
        "dram": asdict(timing.dram),
        "energy": asdict(timing.energy),
        "details": dict(timing.details),
    }
