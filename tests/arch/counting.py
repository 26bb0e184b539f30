"""A layer on a machine, in one step."""

from __future__ import annotations

from accel.machines.machine import LayerCounts, Machine
from golden.machines.cluster.config import SkipMode
from golden.program import LayerTask


def count_image(machine: Machine, layer, weights, inputs, output, mode: SkipMode | None = None):
    """Return the ``LayerCounts`` of one image; in the machine's last mode where None is given."""
    program = machine.prepare(LayerTask(layer=layer, weights=weights))
    counts = program(inputs, output)(mode or machine.modes[-1])
    assert isinstance(counts, LayerCounts)
    return counts
