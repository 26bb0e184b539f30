"""What was counted: one result, for one machine or many, for a layer or a network.

A ``Run`` has a ``MachineResult`` for each machine, that a ``LayerResult`` for each layer, and that
a ``Timing`` for each skip mode. ``docs/results.md`` says what each key means,
``docs/run.schema.json`` what the JSON looks like.
"""

# pandas has no stubs:
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.costs.energy import Energy, EnergyTable
from accel.machines.machine import DramTraffic, LayerCounts
from golden.counters import UNIT_COUNTERS, Counters
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "HostPart",
    "LayerResult",
    "MachineResult",
    "Run",
    "Timing",
    "csv_text",
]

#: Name and version of what ``Run.to_json`` writes; it rises when a key changes its meaning.
SCHEMA = "innerjoin.run"
SCHEMA_VERSION = 2

#: Names that stand for the sums over a network's layers.
TOTAL = "total"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a machine counted in one skip mode: for a layer, or summed over layers and images.

    Parameters
    ----------
    cycles, pairs, stray_pairs, additions : int
        As in ``accel.machines.machine.LayerCounts``.
    unit_cycles : dict of str to int
        Every unit counter, all units added up; together units * cycles.
    dram : DramTraffic
    energy : Energy
    details : dict of str to int
        Counts that only this machine has.
    counters : tuple of Counters
        Every part's counters, a layer's for each image, where they were kept.
    """

    cycles: int
    pairs: int
    stray_pairs: int
    additions: int
    unit_cycles: Mapping[str, int]
    dram: DramTraffic
    energy: Energy
    details: Mapping[str, int]
    counters: tuple[Counters, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, counts: LayerCounts, table: EnergyTable, *, keep_counters: bool = False) -> Timing:
        """Return the timing of one layer and image."""
        kept = (counts.counters,) if keep_counters and counts.counters is not None else ()
        return cls(
            cycles=counts.cycles,
            pairs=counts.pairs,
            stray_pairs=counts.stray_pairs,
            additions=counts.additions,
            unit_cycles={
                name: int(count)
                for name, count in zip(UNIT_COUNTERS, counts.units.sum(axis=0), strict=True)
            },
            dram=counts.dram,
            energy=table.energy(counts),
            details=dict(counts.details),
            counters=kept,
        )

    @classmethod
    def sum(cls, parts: Sequence[Timing], *, keep_counters: bool = False) -> Timing:
        """Add up work that a machine does one piece after the other.

        A detail that only some pieces have is left out.
        """
        common = [name for name in parts[0].details if all(name in part.details for part in parts)]
        dram, energy = parts[0].dram, parts[0].energy
        for part in parts[1:]:
            dram, energy = dram + part.dram, energy + part.energy
        return cls(
            cycles=sum(part.cycles for part in parts),
            pairs=sum(part.pairs for part in parts),
            stray_pairs=sum(part.stray_pairs for part in parts),
            additions=sum(part.additions for part in parts),
            unit_cycles={
                name: sum(part.unit_cycles[name] for part in parts) for name in UNIT_COUNTERS
            },
            dram=dram,
            energy=energy,
            details={name: sum(part.details[name] for part in parts) for name in common},
            counters=tuple(each for part in parts for each in part.counters)
            if keep_counters
            else (),
        )

    def shares(self) -> dict[str, float]:
        """Return each unit counter's share of all unit-cycles, 0..1."""
        total = max(1, sum(self.unit_cycles.values()))
        return {name: count / total for name, count in self.unit_cycles.items()}


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """One layer on one machine, or the sum of all; sums over images.

    Parameters
    ----------
    name : str
        The layer's, ``total`` for the sum of all.
    shape : LayerShape or None
        None for the sum.
    weight_density, activation_density : float
        Share of weights, and of input codes without padding, that are not zero, 0..1; of
        activations the mean over images.
    dense_macs : int
        Multiply-accumulates of the dense layer, padding included.
    effectual_pairs : int
        Multiplications with neither a zero weight nor a zero activation.
    multipliers, units : int
        Of the machine.
    timings : dict of SkipMode to Timing
    """

    name: str
    shape: LayerShape | None
    weight_density: float
    activation_density: float
    dense_macs: int
    effectual_pairs: int
    multipliers: int
    units: int
    timings: Mapping[SkipMode, Timing]

    @property
    def mode(self) -> SkipMode:
        """The mode that this layer is compared in: the last one."""
        return list(self.timings)[-1]

    @property
    def cycles(self) -> int:
        """Cycles in that mode."""
        return self.timings[self.mode].cycles

    @property
    def ideal_dense_cycles(self) -> int:
        """Cycles of a dense machine of as many multipliers that never waits."""
        return -(-self.dense_macs // self.multipliers)

    @property
    def ideal_two_sided_cycles(self) -> float:
        """Cycles of a machine that multiplies just the effectual pairs and never waits."""
        return self.effectual_pairs / self.multipliers

    def speed_up(self, mode: SkipMode, over: SkipMode) -> float | None:
        """Return this machine's cycles in mode ``over`` by those in ``mode``, if both are known."""
        if mode not in self.timings or over not in self.timings:
            return None
        return self.timings[over].cycles / self.timings[mode].cycles

    def ideal_share(self, mode: SkipMode) -> float:
        """Return the ideal two-sided machine's cycles as a share of the cycles, 0..1."""
        return self.ideal_two_sided_cycles / self.timings[mode].cycles

    def own_ideal_share(self, mode: SkipMode) -> float:
        """Return the cycles, did every multiplier multiply in each, as a share of the cycles."""
        timing = self.timings[mode]
        return timing.pairs / (self.multipliers * timing.cycles)

    def utilisation(self, mode: SkipMode) -> float:
        """Return the share of multiplier-cycles that multiplied, for an output or not."""
        timing = self.timings[mode]
        return (timing.pairs + timing.stray_pairs) / (self.multipliers * timing.cycles)

    def row(self, mode: SkipMode, baseline: LayerResult | None = None) -> dict[str, Any]:
        """Return one flat row of a table; None is what is not known or does not apply."""
        timing = self.timings[mode]
        return {
            "layer": self.name,
            "skip": mode.value,
            **{name: getattr(self.shape, name, None) for name in _SHAPE_COLUMNS},
            "weight_density": self.weight_density,
            "activation_density": self.activation_density,
            "dense_macs": self.dense_macs,
            "effectual_pairs": self.effectual_pairs,
            "multipliers": self.multipliers,
            "units": self.units,
            "ideal_dense_cycles": self.ideal_dense_cycles,
            "ideal_two_sided_cycles": self.ideal_two_sided_cycles,
            "cycles": timing.cycles,
            "speed_up": None if baseline is None else baseline.cycles / timing.cycles,
            "speed_up_over_dense": self.speed_up(mode, SkipMode.DENSE),
            "speed_up_over_static": self.speed_up(mode, SkipMode.STATIC),
            "speed_up_over_dynamic": self.speed_up(mode, SkipMode.DYNAMIC),
            "speed_up_over_ideal_dense": self.dense_macs / self.multipliers / timing.cycles,
            "ideal_share": self.ideal_share(mode),
            "own_ideal_share": self.own_ideal_share(mode),
            "utilisation": self.utilisation(mode),
            "pairs": timing.pairs,
            "stray_pairs": timing.stray_pairs,
            "additions": timing.additions,
            **timing.unit_cycles,
            "dram_input_bytes": timing.dram.input_bytes,
            "dram_weight_bytes": timing.dram.weight_bytes,
            "dram_output_bytes": timing.dram.output_bytes,
            **asdict(timing.energy),
            "total_pj": timing.energy.total_pj,
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


@dataclass(frozen=True, kw_only=True)
class MachineResult:
    """A network on one machine.

    Parameters
    ----------
    name : str
        What reports call it: its configuration's name.
    machine : str
        Its key in ``golden.machines.registry``.
    size : str
        How large it is, in its own parts.
    configuration : dict of str to object
        All that describes it, as plain values.
    layers : tuple of LayerResult
        In the network's order.
    """

    name: str
    machine: str
    size: str
    configuration: Mapping[str, Any]
    layers: tuple[LayerResult, ...]

    @property
    def modes(self) -> tuple[SkipMode, ...]:
        """The modes that were counted."""
        return tuple(self.layers[0].timings)

    @property
    def total(self) -> LayerResult:
        """All layers; its densities are those of all weights, and of all input codes."""
        layers = self.layers
        shapes = [layer.shape for layer in layers if layer.shape is not None]
        weights = [int(np.prod(shape.weights_shape)) for shape in shapes]
        inputs = [shape.in_channels * shape.in_height * shape.in_width for shape in shapes]
        return LayerResult(
            name=TOTAL,
            shape=None,
            weight_density=float(np.average([x.weight_density for x in layers], weights=weights)),
            activation_density=float(
                np.average([x.activation_density for x in layers], weights=inputs)
            ),
            dense_macs=sum(layer.dense_macs for layer in layers),
            effectual_pairs=sum(layer.effectual_pairs for layer in layers),
            multipliers=layers[0].multipliers,
            units=layers[0].units,
            timings={
                mode: Timing.sum([layer.timings[mode] for layer in layers]) for mode in self.modes
            },
        )


@dataclass(frozen=True, kw_only=True)
class HostPart:
    """A node that ran on the host, whatever the machine; its time is not counted.

    Parameters
    ----------
    name, operator : str
    macs : int
        Its dense multiply-accumulates for one image.
    reason : str
        Why it is there.
    """

    name: str
    operator: str
    macs: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A network on one machine or many. Two runs of the same are equal.

    Parameters
    ----------
    network, source : str
        Name, and where weights and activations come from.
    images : int
    technology_node : str
        Of the energies.
    energy_sources : tuple of str
        Where the energies come from, a line each.
    machines : tuple of MachineResult
    host : tuple of HostPart
        In the network's order.
    machine_share : float
        Share of the network's multiply-accumulates that is on the machine, 0..1.
    """

    network: str
    source: str
    images: int
    technology_node: str
    energy_sources: tuple[str, ...]
    machines: tuple[MachineResult, ...]
    host: tuple[HostPart, ...] = ()
    machine_share: float = 1.0

    def __getitem__(self, name: str) -> MachineResult:
        """Return a machine's result by its name, or by its key in the registry."""
        for machine in self.machines:
            if name in (machine.name, machine.machine):
                return machine
        raise KeyError(name)

    @property
    def baseline(self) -> MachineResult:
        """The machine that speed-ups are over: ``dense``, or the first one without it."""
        dense = [machine for machine in self.machines if machine.modes == (SkipMode.DENSE,)]
        return (dense or list(self.machines))[0]

    @property
    def total(self) -> LayerResult:
        """The sum of all layers on the first machine."""
        return self.machines[0].total

    @property
    def layers(self) -> tuple[LayerResult, ...]:
        """The layers on the first machine."""
        return self.machines[0].layers

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each machine, layer and mode; a machine's total comes last."""
        baseline = self.baseline
        over = {layer.name: layer for layer in (*baseline.layers, baseline.total)}
        details = list(
            dict.fromkeys(
                name
                for machine in self.machines
                for timing in machine.layers[0].timings.values()
                for name in timing.details
            )
        )
        return [
            {
                "machine": machine.name,
                **layer.row(mode, over[layer.name]),
                **{name: layer.timings[mode].details.get(name) for name in details},
            }
            for machine in self.machines
            for layer in (*machine.layers, machine.total)
            for mode in machine.modes
        ]

    def to_dataframe(self) -> pd.DataFrame:
        """Return ``rows`` as a data frame; the total is the layer named ``total``."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_csv(self) -> str:
        """Return ``rows`` as CSV text with a header line; each says where its network is from."""
        stated = {
            "network": self.network,
            "source": self.source,
            "technology_node": self.technology_node,
        }
        return csv_text([{**stated, **row} for row in self.rows()])

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values, of schema ``SCHEMA``, version ``SCHEMA_VERSION``."""
        rows = self.rows()
        machines: list[dict[str, Any]] = []
        for machine in self.machines:
            mine = [
                {key: value for key, value in row.items() if key != "machine"}
                for row in rows
                if row["machine"] == machine.name
            ]
            count = len(machine.modes)
            described: dict[str, Any] = {
                "name": machine.name,
                "machine": machine.machine,
                "size": machine.size,
                "multipliers": machine.layers[0].multipliers,
                "units": machine.layers[0].units,
                "configuration": dict(machine.configuration),
                "layers": mine[:-count],
                "total": mine[-count:],
            }
            if counters := _kept_counters(machine):
                described["counters"] = counters
            machines.append(described)
        return {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "network": self.network,
            "source": self.source,
            "images": self.images,
            "technology_node": self.technology_node,
            "energy_sources": list(self.energy_sources),
            "baseline": self.baseline.name,
            "machine_share": self.machine_share,
            "host": [asdict(part) for part in self.host],
            "machines": machines,
        }

    def to_json(self) -> str:
        """Return ``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def __str__(self) -> str:
        from accel.report.text import run_text

        return run_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from accel.report.text import run_html

        return run_html(self)


def _kept_counters(machine: MachineResult) -> list[dict[str, Any]]:
    """Return every part's counters of each layer, mode and image, where they were kept."""
    return [
        {
            "layer": layer.name,
            "skip": mode.value,
            "image": image,
            "tables": [
                {"axes": [*table.what.split(", "), "counter"], "names": list(table.names),
                 "counts": table.counts.tolist()}
                for table in counters.tables()
            ],
        }
        for layer in machine.layers
        for mode, timing in layer.timings.items()
        for image, counters in enumerate(timing.counters)
    ]  # fmt: skip


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return flat rows as CSV text with a header line; None, and what a row lacks, are empty."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
