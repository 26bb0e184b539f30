"""What runs on a worker of Dask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import Outcome
from accel.sweeps.results.keys import code_digest
from accel.sweeps.space.point import Point
from golden.errors import UserError

__all__ = ["count_block", "network_plugin"]

#: What this worker was sent, by content.
_networks: dict[str, SweptNetwork] = {}


def network_plugin(distributed: Any, network: SweptNetwork) -> Any:
    """Return what brings a network to each worker."""

    class Networks(distributed.WorkerPlugin):
        name = f"innerjoin-{network.content}"

        def setup(self, worker: Any) -> None:
            del worker
            keep_network(network)

    return Networks()


def keep_network(network: SweptNetwork) -> None:
    """Keep a network that this worker was sent."""
    _networks[network.content] = network


def count_block(content: str, code: str, points: Sequence[Point], bound: bool) -> list[Outcome]:
    """Count or bound points on a worker."""
    if code != code_digest():
        raise UserError("Workers must have the same version of this package as the sweep")
    evaluator = _networks[content].evaluator
    return evaluator.bound(points) if bound else evaluator.evaluate(points)
