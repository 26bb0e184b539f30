"""Cambricon-X: every processing element indexes the neurons of its own filter's weights.

After Zhang et al., MICRO'16; the specification is ``docs/machines.md``, *Cambricon-X*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.machines.cambricon_s.model import scaled
from accel.machines.machine import (
    Access,
    AreaEstimate,
    DramTraffic,
    LayerCounts,
    Machine,
    Program,
    input_share_bytes,
    program_of,
)
from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cambricon_s import CambriconSConfig, WindowLayout
from golden.machines.cluster.config import SkipMode
from golden.program import LayerTask

__all__ = ["FILL_CYCLES", "CambriconX"]

#: Cycles from the first to the first result, and from the last result to the end.
FILL_CYCLES = 16


class CambriconX(Machine):
    """Skips zero weights only, of each filter its own; sizes are those of Cambricon-S.

    Of the configuration, what belongs to shared indices is not used.
    """

    name = "cambricon-x"
    summary = "skips zero weights; each filter has an index of its own"
    source = "Zhang et al., MICRO'16"
    preset = "paper"
    modes = (SkipMode.STATIC,)

    config: CambriconSConfig

    @classmethod
    def with_multipliers(cls, multipliers: int) -> CambriconX:
        return cls(scaled(multipliers, cls.name))

    @property
    def units(self) -> int:
        return self.config.cores * self.config.pes

    def parameters(self) -> dict[str, Any]:
        names = ("cores", "pes", "lanes", "window", "bus_bytes")
        return {name: getattr(self.config, name) for name in names}

    def estimate_area(self) -> AreaEstimate | None:
        """Return a selector and multipliers for each PE; cores of Cambricon-S's paper only."""
        config, paper = self.config, CambriconSConfig.preset("paper")
        if (config.pes, config.lanes) != (paper.pes, paper.lanes):
            return None
        return AreaEstimate(
            blocks={
                "cambricon-s-selector paper": config.cores * config.pes,
                "multiply-accumulate": config.multipliers,
            },
            note="a selector of Cambricon-S for each PE, though it skips zero neurons too, and "
            "multipliers with a sum each; no buffers, control, requantisation",
        )

    def prepare(self, task: LayerTask) -> Program:
        config, layer = self.config, task.layer
        steps, nonzeros = _filter_steps(config, layer, task.weights)
        loads = -(-(nonzeros + _index_bytes(layer)) // config.bus_bytes)
        cores = [
            _core(config, layer, np.maximum(steps, 1), steps == 0, loads, positions)
            for positions in _positions(config, layer)
        ]
        cycles = max(ended for ended, _ in cores)
        units = np.concatenate([counters for _, counters in cores])
        # A core that is done before the slowest is idle, and so is a PE without a filter.
        units[:, UNIT_COUNTERS.index("idle_cycles")] = cycles - units.sum(axis=1)
        pairs = int(nonzeros.sum()) * layer.positions
        counts = LayerCounts(
            cycles=cycles,
            pairs=pairs,
            units=units,
            additions=pairs,
            accesses=self._accesses(layer, steps, nonzeros),
            dram=DramTraffic(
                input_bytes=layer.in_channels * layer.in_height * layer.in_width,
                weight_bytes=int(nonzeros.sum()) + layer.out_channels * _index_bytes(layer),
                output_bytes=layer.out_channels * layer.positions,
            ),
            details={"steps": int(np.maximum(steps, 1).sum()) * layer.positions},
        )

        return program_of(lambda activations, output: counts)

    def _accesses(
        self, layer: LayerShape, steps: NDArray[np.int64], nonzeros: NDArray[np.int64]
    ) -> tuple[Access, ...]:
        config = self.config
        total_steps = int(np.maximum(steps, 1).sum()) * layer.positions
        reads = 8 * int(nonzeros.sum()) * layer.positions
        return (
            # The window is read once for the PEs of a core.
            Access(
                buffer="neurons",
                capacity_bytes=input_share_bytes(layer, config.cores),
                bits=8 * config.window * total_steps // config.pes,
            ),
            Access(buffer="synapses", capacity_bytes=2048, bits=reads),
            Access(buffer="indices", capacity_bytes=256, bits=config.window * total_steps),
        )


def _filter_steps(
    config: CambriconSConfig, layer: LayerShape, weights: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return cycles a position, and non-zeros, of every filter."""
    layout = WindowLayout.of(config, layer)
    runs = weights.reshape(layer.out_channels, layout.runs, layout.run_length) != 0
    starts = np.arange(0, layout.run_length, config.window)
    by_window = np.add.reduceat(runs, starts, axis=2, dtype=np.int64)
    steps = -(-by_window // config.lanes)
    return steps.sum(axis=(1, 2)), by_window.sum(axis=(1, 2))


def _index_bytes(layer: LayerShape) -> int:
    """Bytes of one filter's index: a bit for every position."""
    return -(-layer.taps * layer.group_channels // 8)


def _positions(config: CambriconSConfig, layer: LayerShape) -> list[int]:
    """Return how many positions each core has: position p is core p mod cores's."""
    return [-(-(layer.positions - core) // config.cores) for core in range(config.cores)]


def _core(
    config: CambriconSConfig,
    layer: LayerShape,
    steps: NDArray[np.int64],
    empty: NDArray[np.bool_],
    loads: NDArray[np.int64],
    positions: int,
) -> tuple[int, NDArray[np.int64]]:
    """Run one core through all blocks; return its cycles, and its PEs' counters without idle."""
    units = np.zeros((config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
    if positions <= 0:
        return 0, units
    busy, bubble, memory, siblings, broadcast = (
        units[:, UNIT_COUNTERS.index(name)]
        for name in ("busy_cycles", "bubble_cycles", "wait_memory_cycles",
                     "wait_siblings_cycles", "wait_broadcast_cycles")
    )  # fmt: skip
    loaded, ended, ended_before = 0, 0, 0
    for first in range(0, layer.out_channels, layer.group_filters):
        for start in range(first, first + layer.group_filters, config.pes):
            block = slice(start, min(start + config.pes, first + layer.group_filters))
            held = block.stop - block.start
            loaded = max(loaded, ended_before) + int(loads[block].sum())
            begun = max(ended, loaded)
            span = positions * int(steps[block].max())
            worked = positions * steps[block]
            busy[:held] += np.where(empty[block], 0, worked)
            bubble[:held] += np.where(empty[block], worked, 0)
            memory[:held] += begun - ended
            siblings[:held] += span - worked
            ended_before, ended = ended, begun + span
    broadcast += FILL_CYCLES
    return ended + FILL_CYCLES, units
