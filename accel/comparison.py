"""One network on several machines: the same tensors, layer by layer, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accel.costs.energy import Energy, EnergyTable
from accel.functional import quantise_images, run_nodes
from accel.machines.machine import LayerCounts, LayerTask, Machine
from accel.results import csv_text
from golden.counters import UNIT_COUNTERS
from golden.errors import UserError
from golden.network import Convolution, Network

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "SCHEMA_VERSION", "Comparison", "MachineLayer", "compare"]

#: Name and version of what ``to_json`` writes; the version rises when a key changes its meaning.
SCHEMA = "innerjoin.comparison"
SCHEMA_VERSION = 1

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class MachineLayer:
    """One layer on one machine, or a sum of layers; sums over images.

    Parameters
    ----------
    layer, machine : str
        The layer named ``total`` is the sum of all.
    multipliers, units : int
        Of the machine.
    dense_macs : int
        Multiply-accumulates of the dense layer, padding included.
    cycles, pairs, stray_pairs : int
        As in ``accel.machines.machine.LayerCounts``.
    unit_cycles : dict of str to int
        Every unit counter, all units added up; together units * cycles.
    input_bytes, weight_bytes, output_bytes : int
        From and to DRAM.
    energy : Energy
    details : dict of str to int
    """

    layer: str
    machine: str
    multipliers: int
    units: int
    dense_macs: int
    cycles: int
    pairs: int
    stray_pairs: int
    unit_cycles: dict[str, int]
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    energy: Energy
    details: dict[str, int]

    @classmethod
    def of(
        cls, machine: Machine, node: Convolution, counts: LayerCounts, table: EnergyTable
    ) -> Self:
        """Make one image's result from what the machine counted."""
        return cls(
            layer=node.layer.name,
            machine=machine.name,
            multipliers=machine.multipliers,
            units=machine.units,
            dense_macs=node.layer.dense_macs,
            cycles=counts.cycles,
            pairs=counts.pairs,
            stray_pairs=counts.stray_pairs,
            unit_cycles={name: int(counts.unit(name).sum()) for name in UNIT_COUNTERS},
            input_bytes=counts.dram.input_bytes,
            weight_bytes=counts.dram.weight_bytes,
            output_bytes=counts.dram.output_bytes,
            energy=table.energy(counts),
            details=dict(counts.details),
        )

    def __add__(self, other: MachineLayer) -> MachineLayer:
        """Add up work done one after the other on the same machine."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _ADDITIVE}
        return replace(
            self,
            unit_cycles={
                name: self.unit_cycles[name] + other.unit_cycles[name] for name in UNIT_COUNTERS
            },
            details={
                name: self.details[name] + other.details[name]
                for name in self.details
                if name in other.details
            },
            **sums,
        )

    @property
    def own_ideal_share(self) -> float:
        """Cycles if every multiplier multiplied a pair in every cycle, as a share of the cycles."""
        return self.pairs / (self.multipliers * self.cycles)

    @property
    def utilisation(self) -> float:
        """Share of multiplier-cycles that multiplied, for an output or not."""
        return (self.pairs + self.stray_pairs) / (self.multipliers * self.cycles)

    @property
    def dram_bytes(self) -> int:
        return self.input_bytes + self.weight_bytes + self.output_bytes

    def shares(self) -> dict[str, float]:
        """Return each unit counter's share of all unit-cycles, 0..1."""
        total = max(1, sum(self.unit_cycles.values()))
        return {name: count / total for name, count in self.unit_cycles.items()}

    def row(self, baseline: MachineLayer) -> dict[str, Any]:
        """Return one flat row of a table."""
        return {
            "layer": self.layer,
            "machine": self.machine,
            "multipliers": self.multipliers,
            "units": self.units,
            "dense_macs": self.dense_macs,
            "cycles": self.cycles,
            "speed_up": baseline.cycles / self.cycles,
            "own_ideal_share": self.own_ideal_share,
            "utilisation": self.utilisation,
            "pairs": self.pairs,
            "stray_pairs": self.stray_pairs,
            **self.unit_cycles,
            "input_bytes": self.input_bytes,
            "weight_bytes": self.weight_bytes,
            "output_bytes": self.output_bytes,
            **asdict(self.energy),
            "total_pj": self.energy.total_pj,
        }


_ADDITIVE = (
    "dense_macs",
    "cycles",
    "pairs",
    "stray_pairs",
    "input_bytes",
    "weight_bytes",
    "output_bytes",
    "energy",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A network on several machines.

    Parameters
    ----------
    network, source : str
        Name, and where weights and activations come from.
    images : int
    node : str
        Technology node of the energy table.
    energy_sources : list of str
        Where its rows come from.
    parameters : dict of str to dict
        Each machine's parameters, by its name.
    layers : dict of str to tuple of MachineLayer
        By machine, in the network's order.
    """

    network: str
    source: str
    images: int
    node: str
    energy_sources: list[str]
    parameters: dict[str, dict[str, Any]]
    layers: dict[str, tuple[MachineLayer, ...]]

    @property
    def machines(self) -> list[str]:
        return list(self.layers)

    @property
    def baseline(self) -> str:
        """The machine that speed-ups are over: ``dense``, or the first one without it."""
        return "dense" if "dense" in self.layers else self.machines[0]

    def total(self, machine: str) -> MachineLayer:
        """Return the sum of all layers on a machine."""
        first, *rest = self.layers[machine]
        result = replace(first, layer="total")
        for layer in rest:
            result = result + layer
        return result

    def speed_up(self, machine: str, over: str | None = None) -> float:
        """Return how often faster a machine is on the whole network."""
        return self.total(over or self.baseline).cycles / self.total(machine).cycles

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each machine and layer; each machine's total comes last."""
        base = {layer.layer: layer for layer in self.layers[self.baseline]}
        base["total"] = self.total(self.baseline)
        return [
            layer.row(base[layer.layer])
            for machine in self.machines
            for layer in (*self.layers[machine], self.total(machine))
        ]

    def to_dataframe(self) -> pd.DataFrame:
        """Return ``rows`` as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_csv(self) -> str:
        """Return ``rows`` as CSV text; each says where its network comes from."""
        stated = {"network": self.network, "source": self.source, "node": self.node}
        return csv_text([{**stated, **row} for row in self.rows()])

    def to_json(self) -> str:
        """Return the comparison as JSON text of schema ``SCHEMA``, version ``SCHEMA_VERSION``."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "version": SCHEMA_VERSION,
                "network": self.network,
                "source": self.source,
                "images": self.images,
                "baseline": self.baseline,
                "technology_node": self.node,
                "energy_sources": self.energy_sources,
                "machines": self.parameters,
                "rows": self.rows(),
            },
            indent=1,
        )


def compare(
    machines: Sequence[Machine],
    network: Network,
    images: NDArray,
    table: EnergyTable,
    progress: Progress | None = None,
) -> Comparison:
    """Run a network on several machines, each layer with its real activations.

    Parameters
    ----------
    images : ndarray, axes n, y, x, channel
        Codes of the network's input, or floats, which are quantised.
    progress : callable, optional
        Called with layers done, layers in all, and what is next.

    Raises
    ------
    CapacityError
        A layer does not fit a machine.
    UserError
        There is no machine, or one twice; images are not what they should be.
    """
    names = [machine.name for machine in machines]
    if not names or len(set(names)) != len(names):
        raise UserError(f"Machines must be at least one, each once, not {', '.join(names)!r}")
    if not network.convolutions:
        raise UserError(f"Network {network.name} must have a convolution or linear layer")
    codes = quantise_images(network, images)
    prepared = {}
    for node in network.convolutions:
        density = network.channel_density.get(node.input)
        task = LayerTask(layer=node.layer, weights=node.weights, channel_density=density)
        prepared[node.layer.name] = [machine.prepare(task) for machine in machines]
    found: dict[str, dict[str, MachineLayer]] = {name: {} for name in names}
    done, total = 0, len(codes) * len(prepared) * len(names)
    with threadpool_limits(limits=1, user_api="blas"):
        for node, source, output in _layers(network, codes):
            name = node.layer.name
            for machine, count in zip(machines, prepared[name], strict=True):
                if progress:
                    progress(done, total, f"{name} on {machine.name}")
                counts = count(source, output)
                layer = MachineLayer.of(machine, node, counts, table)
                before = found[machine.name].get(name)
                found[machine.name][name] = before + layer if before else layer
                done += 1
    if progress:
        progress(done, total, "done")
    return Comparison(
        network=network.name,
        source=network.source,
        images=len(codes),
        node=table.node,
        energy_sources=table.sources,
        parameters={machine.name: machine.parameters() for machine in machines},
        layers={name: tuple(layers.values()) for name, layers in found.items()},
    )


def _layers(
    network: Network, codes: NDArray[np.int8 | np.uint8]
) -> Iterator[tuple[Convolution, NDArray, NDArray]]:
    """Yield every convolution of every image with its input and output codes."""
    for image in codes:
        for node, inputs, output in run_nodes(network, image):
            if isinstance(node, Convolution):
                yield node, inputs[0], output
