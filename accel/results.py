"""What a simulation found: layer by layer, for each skip mode; ``docs/results.md`` defines it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from golden.counters import UNIT_COUNTERS, LayerCounters
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "CycleBreakdown",
    "LayerResult",
    "ModeResult",
    "NetworkResult",
    "csv_text",
]

#: Name and version of what ``to_json`` writes; the version rises when a key changes its meaning.
SCHEMA = "innerjoin.network_result"
SCHEMA_VERSION = 1


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Return flat rows, at least one and all with the same keys, as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class CycleBreakdown:
    """Unit-cycles of the whole machine by what a unit did (``docs/machine.md``, *Counters*).

    They add up to clusters * units * cycles: a cluster that is done before the slowest is idle.
    """

    busy_cycles: int
    bubble_cycles: int
    wait_memory_cycles: int
    wait_siblings_cycles: int
    wait_broadcast_cycles: int
    wait_collector_cycles: int
    idle_cycles: int

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in UNIT_COUNTERS)

    def shares(self) -> dict[str, float]:
        """Return each counter's share of all unit-cycles, 0..1, by its name."""
        total = max(1, self.total)
        return {name: getattr(self, name) / total for name in UNIT_COUNTERS}


@dataclass(frozen=True, kw_only=True, eq=False)
class ModeResult:
    """One layer, or a sum of layers, in one skip mode; sums over images.

    Parameters
    ----------
    cycles : int
        Images and layers one after another, each as long as its slowest cluster.
    pairs : int
        Pairs multiplied.
    breakdown : CycleBreakdown
    steps_delivered, steps_skipped : int
    input_bytes, filter_bytes, broadcast_bytes, output_bytes : int
        Bytes moved, by tensor.
    counters : LayerCounters, optional
        Every counter by cluster and unit, where it was asked for.
    """

    skip: SkipMode
    cycles: int
    pairs: int
    breakdown: CycleBreakdown
    steps_delivered: int
    steps_skipped: int
    input_bytes: int
    filter_bytes: int
    broadcast_bytes: int
    output_bytes: int
    counters: LayerCounters | None = None

    @classmethod
    def from_counters(
        cls,
        config: AcceleratorConfig,
        skip: SkipMode,
        counters: LayerCounters,
        *,
        input_bytes: int,
        keep_counters: bool = False,
    ) -> ModeResult:
        """Make a layer's result for one image from its counters."""
        unit_cycles = {name: int(counters.unit(name).sum()) for name in UNIT_COUNTERS}
        total = config.clusters * config.units * counters.cycles
        unit_cycles["idle_cycles"] += total - sum(unit_cycles.values())
        of_all = {name: int(counters.cluster(name).sum()) for name in _SUMMED}
        return cls(
            skip=skip,
            cycles=counters.cycles,
            pairs=of_all["pairs"],
            breakdown=CycleBreakdown(**unit_cycles),
            steps_delivered=of_all["steps_delivered"],
            steps_skipped=of_all["steps_skipped"],
            input_bytes=input_bytes,
            filter_bytes=of_all["filter_beats"] * config.filter_bus_bytes,
            broadcast_bytes=of_all["broadcast_words"] * config.broadcast_width,
            output_bytes=of_all["output_nonzeros"] + -(-of_all["outputs"] // 8),
            counters=counters if keep_counters else None,
        )

    @classmethod
    def sum(cls, parts: Iterable[ModeResult]) -> ModeResult:
        """Add up results of one skip mode; counters are kept where all have them."""
        parts = list(parts)
        sums = {name: sum(getattr(part, name) for part in parts) for name in _ADDITIVE}
        breakdown = {
            name: sum(getattr(part.breakdown, name) for part in parts) for name in UNIT_COUNTERS
        }
        kept = [part.counters for part in parts if part.counters is not None]
        counters = None
        if len(kept) == len(parts):
            counters = LayerCounters(
                clusters=np.sum([each.clusters for each in kept], axis=0),
                units=np.sum([each.units for each in kept], axis=0),
            )
        return cls(
            skip=parts[0].skip, breakdown=CycleBreakdown(**breakdown), counters=counters, **sums
        )


_SUMMED = (
    "pairs",
    "steps_delivered",
    "steps_skipped",
    "filter_beats",
    "broadcast_words",
    "outputs",
    "output_nonzeros",
)
_ADDITIVE = (
    "cycles",
    "pairs",
    "steps_delivered",
    "steps_skipped",
    "input_bytes",
    "filter_bytes",
    "broadcast_bytes",
    "output_bytes",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """One layer, or the whole network as ``NetworkResult.total``; sums over images.

    Parameters
    ----------
    name : str
    shape : LayerShape or None
        None for a total.
    weight_density, activation_density : float
        Share of weights, and of input activations (padding left out), that are not zero.
    dense_macs : int
        Multiply-accumulates of the dense layer, padding included.
    multipliers : int
        Multipliers of the machine.
    modes : dict of SkipMode to ModeResult
        The modes that were simulated.
    """

    name: str
    shape: LayerShape | None
    weight_density: float
    activation_density: float
    dense_macs: int
    multipliers: int
    modes: dict[SkipMode, ModeResult]

    @property
    def ideal_dense_cycles(self) -> int:
        """Cycles of a dense machine that never waits: dense MACs over multipliers."""
        return -(-self.dense_macs // self.multipliers)

    @property
    def effectual_pairs(self) -> int | None:
        """Pairs without a zero; None where mode ``both`` was not simulated."""
        both = self.modes.get(SkipMode.BOTH)
        return both.pairs if both else None

    @property
    def ideal_two_sided_cycles(self) -> float | None:
        """Cycles of a machine that multiplies all pairs without a zero and never waits."""
        pairs = self.effectual_pairs
        return None if pairs is None else pairs / self.multipliers

    def speed_up(self, skip: SkipMode, over: SkipMode) -> float | None:
        """Return the machine's cycles in mode ``over`` by those in ``skip``, if both are known."""
        if skip not in self.modes or over not in self.modes:
            return None
        return self.modes[over].cycles / self.modes[skip].cycles

    def speed_up_over_ideal_dense(self, skip: SkipMode) -> float:
        """Return dense MACs over multipliers over cycles."""
        return self.dense_macs / self.multipliers / self.modes[skip].cycles

    def ideal_share(self, skip: SkipMode) -> float | None:
        """Return the ideal two-sided machine's cycles as a share of the cycles, 0..1."""
        ideal = self.ideal_two_sided_cycles
        return None if ideal is None else ideal / self.modes[skip].cycles

    def utilisation(self, skip: SkipMode) -> float:
        """Return the share of multiplier-cycles that multiplied a pair (it may hold a zero)."""
        mode = self.modes[skip]
        return mode.pairs / (self.multipliers * mode.cycles)

    def row(self, skip: SkipMode) -> dict[str, Any]:
        """Return one flat row of a table; None is what is not known or does not apply."""
        mode = self.modes[skip]
        shape = {name: getattr(self.shape, name, None) for name in _SHAPE_COLUMNS}
        return {
            "layer": self.name,
            "skip": skip.value,
            **shape,
            "weight_density": self.weight_density,
            "activation_density": self.activation_density,
            "dense_macs": self.dense_macs,
            "effectual_pairs": self.effectual_pairs,
            "ideal_dense_cycles": self.ideal_dense_cycles,
            "ideal_two_sided_cycles": self.ideal_two_sided_cycles,
            "cycles": mode.cycles,
            "speed_up_over_dense": self.speed_up(skip, SkipMode.DENSE),
            "speed_up_over_static": self.speed_up(skip, SkipMode.STATIC),
            "speed_up_over_dynamic": self.speed_up(skip, SkipMode.DYNAMIC),
            "speed_up_over_ideal_dense": self.speed_up_over_ideal_dense(skip),
            "ideal_share": self.ideal_share(skip),
            "utilisation": self.utilisation(skip),
            **{name: getattr(mode, name) for name in _ADDITIVE if name != "cycles"},
            **{name: getattr(mode.breakdown, name) for name in UNIT_COUNTERS},
        }


_SHAPE_COLUMNS = (
    "in_channels",
    "in_height",
    "in_width",
    "out_channels",
    "out_height",
    "out_width",
    "kernel_height",
    "kernel_width",
    "stride_height",
    "stride_width",
    "groups",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkResult:
    """A network on a machine.

    Parameters
    ----------
    network, source : str
        Name, and where weights and activations come from.
    config : AcceleratorConfig
    images : int
    skips : tuple of SkipMode
        The modes simulated.
    layers : tuple of LayerResult
    total : LayerResult
        All layers; its densities are those of all weights, and of all input activations.
    """

    network: str
    source: str
    config: AcceleratorConfig
    images: int
    skips: tuple[SkipMode, ...]
    layers: tuple[LayerResult, ...]
    total: LayerResult

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each layer and mode; the totals come last."""
        return [part.row(skip) for part in (*self.layers, self.total) for skip in self.skips]

    def to_dataframe(self) -> pd.DataFrame:
        """Return ``rows`` as a data frame; the total is the layer named ``total``."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_csv(self) -> str:
        """Return ``rows`` as CSV text with a header line."""
        return csv_text(self.rows())

    def to_json(self) -> str:
        """Return the result as JSON text of schema ``SCHEMA``, version ``SCHEMA_VERSION``."""
        count = len(self.skips)
        rows = self.rows()
        return json.dumps(
            {
                "schema": SCHEMA,
                "version": SCHEMA_VERSION,
                "network": self.network,
                "source": self.source,
                "machine": self.config.to_dict(),
                "images": self.images,
                "layers": rows[:-count],
                "total": rows[-count:],
            },
            indent=1,
        )
