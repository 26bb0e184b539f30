"""Where each part of a network runs, what of it does not fit a machine, and what would fit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from accel.machines.machine import Machine
from golden.errors import LINE_CHARACTERS, CapacityError, one_line
from golden.layer import LayerShape
from golden.network import Convolution, HostNode, Network
from golden.program import LayerTask

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "PlacedNode",
    "Placement",
    "Shortage",
    "capacity_error",
    "fitting_settings",
    "layer_task",
    "network_tasks",
    "place",
    "shortages",
]

#: Name and version of what ``Placement.to_json`` writes.
SCHEMA = "innerjoin.check"
SCHEMA_VERSION = 1

#: Layers that a message names, and characters of their names: the settings must fit beside them.
_NAMED_MAX, _NAME_MAX = 2, 40


@dataclass(frozen=True)
class Shortage:
    """A buffer that is too small for a layer.

    Parameters
    ----------
    layer : str
    key : str
        Of the configuration.
    needed, held : int
        What the layer needs if none of its input is zero, and what the configuration has.
    """

    layer: str
    key: str
    needed: int
    held: int


@dataclass(frozen=True, kw_only=True)
class PlacedNode:
    """A node of a network and where it runs.

    Parameters
    ----------
    name, operator : str
    place : str
        ``machine``, ``vector`` (on codes beside the machine) or ``host``.
    macs : int
        Dense multiply-accumulates.
    reason : str
        Why it is on the host.
    shape : LayerShape or None
        Of a layer on the machine.
    shortages : tuple of Shortage
        Of a layer that does not fit.
    """

    name: str
    operator: str
    place: str
    macs: int = 0
    reason: str = ""
    shape: LayerShape | None = None
    shortages: tuple[Shortage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What ``accel check`` finds.

    Parameters
    ----------
    network : str
    kind : str
        What the network is, in words.
    machine : str
        The configuration's name.
    nodes : tuple of PlacedNode
        In the network's order.
    settings : dict of str to int
        Changes of the configuration with which every layer fits; empty where all do.
    machine_share : float
        Share of the multiply-accumulates on the machine, 0..1.
    """

    network: str
    kind: str
    machine: str
    nodes: tuple[PlacedNode, ...]
    settings: Mapping[str, int]
    machine_share: float

    @property
    def shortages(self) -> tuple[Shortage, ...]:
        """All that does not fit."""
        return tuple(each for node in self.nodes for each in node.shortages)

    @property
    def fits(self) -> bool:
        """Whether there is a layer for the machine, and all of them fit it."""
        return not self.shortages and any(node.place == "machine" for node in self.nodes)

    @property
    def refusal(self) -> str:
        """One line that says why it does not fit and what would; empty where it does."""
        if self.shortages:
            return _refusal(self.machine, self.shortages, self.settings)
        if not self.fits:
            found = {node.operator: node.reason for node in self.nodes if node.place == "host"}
            kinds = "; ".join(f"{kind}: {reason}" for kind, reason in sorted(found.items()))
            return (
                f"Network {self.network}, {self.kind}, must have a convolution or matrix product "
                f"that fits the machine; what would run on the host: {kinds or 'nothing'}"
            )
        return ""

    def counts(self, place: str) -> dict[str, int]:
        """Return how many nodes of each operator run in a place."""
        found = Counter(node.operator for node in self.nodes if node.place == place)
        return dict(sorted(found.items()))

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each node; ``needs`` has the keys that are too small."""
        total = max(1, sum(node.macs for node in self.nodes))
        return [
            {
                "name": node.name,
                "operator": node.operator,
                "place": node.place,
                "macs": node.macs,
                "macs_share": node.macs / total,
                "reason": node.reason,
                "needs": {each.key: each.needed for each in node.shortages},
            }
            for node in self.nodes
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, of schema ``SCHEMA``, version ``SCHEMA_VERSION``."""
        return {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "network": self.network,
            "kind": self.kind,
            "machine": self.machine,
            "fits": self.fits,
            "machine_share": self.machine_share,
            "settings": dict(self.settings),
            "shortages": [asdict(each) for each in self.shortages],
            "nodes": self.rows(),
        }

    def to_json(self) -> str:
        """Return ``to_dict`` as JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def __str__(self) -> str:
        from accel.report.placement import placement_report
        from accel.report.text import render

        return render(placement_report(self)).removesuffix("\n")

    __repr__ = __str__


def place(network: Network, machine: Machine, kind: str = "a network") -> Placement:
    """Say where each node of a network runs, and check every layer against the machine.

    Nothing is simulated; a layer's input is taken to have no zeros.
    """
    tasks = {task.layer.name: task for task in network_tasks(network)}
    short: dict[str, list[Shortage]] = {}
    for each in shortages(machine, tasks.values()):
        short.setdefault(each.layer, []).append(each)
    settings = fitting_settings(machine, tasks.values()) if short else {}
    nodes: list[PlacedNode] = []
    for node in network.nodes:
        if isinstance(node, Convolution):
            layer = node.layer
            placed = PlacedNode(
                name=layer.name,
                operator="Conv",
                place="machine",
                macs=layer.dense_macs,
                shape=layer,
                shortages=tuple(short.get(layer.name, ())),
            )
        elif isinstance(node, HostNode):
            placed = PlacedNode(
                name=node.name,
                operator=node.operator,
                place="host",
                macs=node.macs,
                reason=node.reason,
            )
        else:
            operator = type(node).__name__
            placed = PlacedNode(name=node.output.name, operator=operator, place="vector")
        nodes.append(placed)
    return Placement(
        network=network.name,
        kind=kind,
        machine=str(machine.config.name),
        nodes=tuple(nodes),
        settings=settings,
        machine_share=network.machine_share,
    )


def network_tasks(network: Network) -> list[LayerTask]:
    """Return what a machine is given of each layer."""
    return [layer_task(network, node) for node in network.convolutions]


def layer_task(network: Network, node: Convolution) -> LayerTask:
    """Return what all images share of a layer."""
    density = network.channel_density.get(node.input)
    return LayerTask(layer=node.layer, weights=node.weights, channel_density=density)


def shortages(machine: Machine, tasks: Iterable[LayerTask]) -> list[Shortage]:
    """Return every buffer that is too small for a layer whose input has no zeros."""
    return [
        Shortage(task.layer.name, key, needed, getattr(machine.config, key))
        for task in tasks
        for key, needed in machine.demands(task).items()
        if needed > getattr(machine.config, key)
    ]


def fitting_settings(machine: Machine, tasks: Iterable[LayerTask]) -> dict[str, int]:
    """Return changes of a configuration with which every layer fits."""
    settings: dict[str, int] = {}
    tasks = list(tasks)
    # Another buffer may change what is asked of the next one, so that it is looked at again.
    while found := shortages(machine, tasks):
        for each in found:
            settings[each.key] = max(settings.get(each.key, 0), each.needed)
        machine = type(machine)(machine.config.replace(**settings))
    return settings


def capacity_error(machine: Machine, tasks: Sequence[LayerTask]) -> CapacityError | None:
    """Return one error for all layers that may not fit a machine, or None where all do."""
    found = shortages(machine, tasks)
    if not found:
        return None
    return CapacityError(
        _refusal(str(machine.config.name), found, fitting_settings(machine, tasks))
    )


def _refusal(machine: str, found: Sequence[Shortage], settings: Mapping[str, int]) -> str:
    """Return one line; settings are what it is for, so that details give way to them."""
    layers: dict[str, Shortage] = {}
    for each in found:
        layers.setdefault(each.layer, each)
    options = " ".join(f"--set {key}={value}" for key, value in settings.items())
    for with_details in (True, False):
        named = [
            one_line(each.layer, _NAME_MAX)
            + (f" ({each.key} {each.needed}, not {each.held})" if with_details else "")
            for each in list(layers.values())[:_NAMED_MAX]
        ]
        if len(layers) > _NAMED_MAX:
            named.append(f"{len(layers) - _NAMED_MAX} more")
        noun = "layer" if len(layers) == 1 else "layers"
        text = f"Buffers of {machine} must hold {noun} {', '.join(named)}: all fit with {options}"
        if len(text) <= LINE_CHARACTERS:
            break
    return text
