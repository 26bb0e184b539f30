"""A network with fewer weights: density as an axis of a sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from golden.network import Convolution, Network

__all__ = ["prune_network"]


def prune_network(network: Network, density: float) -> Network:
    """Set the smallest weights of each layer to 0, so that at most this share stays.

    Accuracy is not looked at: it is a way to ask how a machine fares at a density. A layer that
    is sparser already keeps its weights.

    Parameters
    ----------
    density : float
        Share of each layer's weights, above 0 and at most 1; at least one weight stays.
    """
    nodes = tuple(
        replace(node, weights=_prune(node.weights, density))
        if isinstance(node, Convolution)
        else node
        for node in network.nodes
    )
    return replace(
        network,
        name=f"{network.name}@{density:g}",
        source=f"{network.source}; pruned by magnitude to {density:g} of each layer's weights",
        nodes=nodes,
    )


def _prune(weights: NDArray[np.int8], density: float) -> NDArray[np.int8]:
    kept = max(1, int(density * weights.size))
    # The order is stable: of equal weights those that come first stay, on every machine.
    order = np.argsort(-np.abs(weights.reshape(-1).astype(np.int16)), kind="stable")
    pruned = weights.reshape(-1).copy()
    pruned[order[kept:]] = 0
    return pruned.reshape(weights.shape)
