"""A network of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from accel.activations.trace import content_digest
from accel.costs.energy import EnergyTable
from accel.sweeps.engine.evaluator import Evaluator
from golden.machines.cluster.config import SkipMode
from golden.network import Network
from golden.program import Codes

__all__ = ["SweptNetwork"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SweptNetwork:
    """A network of a sweep, with its images and what is asked of it.

    Parameters
    ----------
    network : Network
    images : ndarray of int8 or uint8, axes n, y, x, channel
    modes : tuple of SkipMode, or None
        As `Evaluator` takes them.
    technology_node : str
        Of the energies.
    weight : float
        In sums over networks.
    """

    network: Network
    images: Codes
    modes: tuple[SkipMode, ...] | None = ()
    technology_node: str = "45nm"
    weight: float = 1

    @property
    def name(self) -> str:
        return self.network.name

    @cached_property
    def content(self) -> str:
        """Digest of the network and its images."""
        network = self.network
        return content_digest(
            network.input, network.nodes, network.synthetic_inputs, network.channel_density,
            self.images,
        )  # fmt: skip

    @cached_property
    def evaluator(self) -> Evaluator:
        """What counts points on it, in this process."""
        table = EnergyTable.load(self.technology_node)
        return Evaluator(self.network, self.images, table, self.modes)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: not what was made of it here."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
