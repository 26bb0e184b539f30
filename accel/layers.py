"""Cycles of layers given one by one, for searches that ask often: no network, no images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.capacity import check_filters, check_inputs
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import prepare_layer, run_layer
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import make_schedule

__all__ = ["LayerArrays", "count_cycles"]


class LayerArrays(Protocol):
    """A layer's tensors."""

    @property
    def layer(self) -> LayerShape: ...

    @property
    def weights(self) -> NDArray[np.int8]:
        """Axes k, r, s, c."""
        ...

    @property
    def activations(self) -> NDArray[np.int8]:
        """Axes y, x, channel."""
        ...


def count_cycles(
    config: AcceleratorConfig, layers: Iterable[LayerArrays], skip: SkipMode = SkipMode.BOTH
) -> dict[str, int]:
    """Return the cycles of each layer by its name, exact for these tensors.

    The cycles do not depend on the outputs. A layer that is named several times has the sum.

    Raises
    ------
    CapacityError
        A layer does not fit a buffer.
    """
    cycles: dict[str, int] = {}
    for each in layers:
        weights = pack_filters(config, each.layer, each.weights)
        masks = activation_masks(config, each.layer, each.activations)
        schedule = make_schedule(config, each.layer, weights)
        check_filters(config, each.layer, weights, schedule)
        check_inputs(config, each.layer, masks)
        program = prepare_layer(config, each.layer, weights, masks, schedule, None)
        counted = run_layer(program, skip).cycles
        cycles[each.layer.name] = cycles.get(each.layer.name, 0) + counted
    return cycles
