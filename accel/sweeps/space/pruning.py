"""A network with fewer weights: density, and the pattern of what stays, as axes of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from golden.network import Convolution, Network

__all__ = ["PATTERNS", "prune_network"]

#: Channels that stay or go together, or of which as many stay everywhere.
_RUN = 16

Magnitudes = NDArray[np.int64]


def prune_network(network: Network, density: float, pattern: str = "element") -> Network:
    """Set the smallest weights of each layer to 0, so that at most this share stays.

    Accuracy is not looked at: it is a way to ask how a machine fares at a density. A layer that
    is sparser already keeps its weights.

    Parameters
    ----------
    density : float
        Share of each layer's weights, above 0 and at most 1; at least one weight stays, or one of
        what goes together.
    pattern : str
        Of `PATTERNS`.
    """
    nodes = tuple(
        replace(node, weights=_prune(node.weights, density, pattern))
        if isinstance(node, Convolution)
        else node
        for node in network.nodes
    )
    return replace(
        network,
        name=f"{network.name}@{density:g}{'' if pattern == 'element' else f' {pattern}'}",
        source=f"{network.source}; pruned by magnitude to {density:g} of each layer's weights, "
        f"pattern {pattern}",
        nodes=nodes,
    )


def _prune(weights: NDArray[np.int8], density: float, pattern: str) -> NDArray[np.int8]:
    kept = PATTERNS[pattern](np.abs(weights.astype(np.int64)), density)
    return np.where(kept, weights, 0).astype(np.int8)


def _largest(
    sums: Magnitudes, density: float, sizes: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Return which of some sums stay, each of so many weights: as many as the share allows."""
    # The order is stable: of equal ones those that come first stay, on every machine.
    order = np.argsort(-sums.reshape(-1), kind="stable")
    taken = np.ones(sums.size, dtype=np.int64) if sizes is None else sizes.reshape(-1)
    kept = np.searchsorted(np.cumsum(taken[order]), density * taken.sum(), side="right")
    stays = np.zeros(sums.size, dtype=np.bool_)
    stays[order[: max(1, int(kept))]] = True
    return stays.reshape(sums.shape)


def _runs(magnitudes: Magnitudes) -> Magnitudes:
    """Cut channels into runs, axes k, r, s, run, channel; the last one is padded with zeros."""
    padding = -magnitudes.shape[-1] % _RUN
    padded = np.pad(magnitudes, [(0, 0)] * 3 + [(0, padding)])
    return padded.reshape(*magnitudes.shape[:-1], -1, _RUN)


def _run_lengths(channels: int) -> NDArray[np.int64]:
    return np.minimum(_RUN, channels - np.arange(0, channels, _RUN))


def _vector(magnitudes: Magnitudes, density: float) -> NDArray[np.bool_]:
    sums = _runs(magnitudes).sum(axis=-1)
    lengths = np.broadcast_to(_run_lengths(magnitudes.shape[-1]), sums.shape)
    stays = _largest(sums, density, lengths)
    return np.repeat(stays, _RUN, axis=-1)[..., : magnitudes.shape[-1]]


def _balanced(magnitudes: Magnitudes, density: float) -> NDArray[np.bool_]:
    kept = np.maximum(1, (density * _run_lengths(magnitudes.shape[-1])).astype(np.int64))
    order = np.argsort(-_runs(magnitudes), axis=-1, kind="stable")
    stays = order.argsort(axis=-1, kind="stable") < kept[:, None]
    return stays.reshape(*magnitudes.shape[:-1], -1)[..., : magnitudes.shape[-1]]


def _together(*axes: int) -> Callable[[Magnitudes, float], NDArray[np.bool_]]:
    def keep(magnitudes: Magnitudes, density: float) -> NDArray[np.bool_]:
        stays = _largest(magnitudes.sum(axis=axes, keepdims=True), density)
        return np.broadcast_to(stays, magnitudes.shape)

    return keep


#: Which weights, axes k, r, s, c, stay at a density: each by itself; 16 channels of a tap together;
#: as many of each 16 channels; all taps of a filter's channel; all of a filter.
PATTERNS: dict[str, Callable[[Magnitudes, float], NDArray[np.bool_]]] = {
    "element": _largest,
    "vector": _vector,
    "balanced": _balanced,
    "kernel": _together(1, 2),
    "filter": _together(1, 2, 3),
}
