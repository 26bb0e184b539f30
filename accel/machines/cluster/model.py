"""The cluster machine of ``docs/machine.md`` as this project's, SparTen's, and a one-sided one."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from accel.machines.cluster.capacity import check_filters, check_inputs
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import LayerProgram, prepare_layer, run_layer
from accel.machines.machine import (
    Access,
    AreaEstimate,
    Codes,
    DramTraffic,
    LayerCounts,
    LayerTask,
    PreparedLayer,
    input_share_bytes,
    layer_buffer,
)
from accel.simulator import window_density
from golden.counters import UNIT_COUNTERS, LayerCounters
from golden.errors import ConfigError
from golden.machines.cluster.config import AcceleratorConfig, Balance, SkipMode
from golden.machines.cluster.schedule import make_schedule

__all__ = [
    "ClusterMachine",
    "InnerJoinMachine",
    "OneSidedActivations",
    "OneSidedWeights",
    "SparTen",
    "SparTenSoftware",
]

#: Units of a cluster at most; there are as many clusters as make up the multipliers.
_UNITS_MAX = 32


class ClusterMachine:
    """A cluster machine in one skip mode.

    Parameters
    ----------
    config : AcceleratorConfig
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    preset: ClassVar[str]
    skip: ClassVar[SkipMode] = SkipMode.BOTH
    balance: ClassVar[Balance]

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config

    @classmethod
    def with_multipliers(cls, multipliers: int) -> Self:
        units = min(_UNITS_MAX, multipliers)
        clusters, rest = divmod(multipliers, units) if multipliers > 0 else (0, 1)
        if rest or multipliers > 1024 * _UNITS_MAX:
            raise ConfigError(
                f"Multipliers of machine {cls.name} must be at most {_UNITS_MAX}, or a multiple "
                f"of {_UNITS_MAX} up to {1024 * _UNITS_MAX}, not {multipliers!r}"
            )
        config = AcceleratorConfig.preset(cls.preset)
        group = units * config.filters_per_unit
        return cls(
            config.replace(
                name=cls.name,
                clusters=clusters,
                units=units,
                balance=cls.balance,
                # As wide as the preset's, where the filters of a pass can be cut so.
                collector_width=max(
                    width for width in range(1, config.collector_width + 1) if group % width == 0
                ),
                # A machine of one cluster holds the input that many would share.
                input_buffer_chunks=1 << 22,
                input_buffer_bytes=1 << 28,
            )
        )

    @property
    def multipliers(self) -> int:
        return self.config.multipliers

    @property
    def units(self) -> int:
        return self.config.clusters * self.config.units

    def parameters(self) -> dict[str, Any]:
        return {**self.config.to_dict(), "skip": self.skip.value}

    def prepare(self, task: LayerTask) -> PreparedLayer:
        config, layer = self.config, task.layer
        weights = pack_filters(config, layer, task.weights)
        density = window_density(config, layer, task.channel_density)
        schedule = make_schedule(config, layer, weights, density)
        check_filters(config, layer, weights, schedule)
        weight_bytes = weights.masks.shape[0] * weights.masks.shape[1] * config.chunk // 8
        weight_bytes += len(weights.values)

        def count(activations: Codes, output: Codes) -> LayerCounts:
            masks = activation_masks(config, layer, activations)
            check_inputs(config, layer, masks)
            program = prepare_layer(config, layer, weights, masks, schedule, output)
            counters = run_layer(program, self.skip)
            return self._counts(program, counters, weight_bytes, activations)

        return count

    def _counts(
        self,
        program: LayerProgram,
        counters: LayerCounters,
        weight_bytes: int,
        activations: Codes,
    ) -> LayerCounts:
        sums = {
            name: int(counters.cluster(name).sum())
            for name in ("pairs", "steps_delivered", "steps_skipped", "broadcast_words",
                         "filter_beats", "outputs", "output_nonzeros")
        }  # fmt: skip
        units = counters.units.reshape(self.units, -1).copy()
        # A cluster that is done before the slowest is idle.
        idle = UNIT_COUNTERS.index("idle_cycles")
        ended = np.repeat(counters.cluster("cycles"), self.config.units)
        units[:, idle] += counters.cycles - ended
        dram = DramTraffic(
            input_bytes=_mask_bytes(activations.size) + int(np.count_nonzero(activations)),
            weight_bytes=weight_bytes,
            output_bytes=sums["output_nonzeros"] + _mask_bytes(sums["outputs"]),
        )
        streamed = sums["filter_beats"] * self.config.filter_bus_bytes
        return LayerCounts(
            cycles=counters.cycles,
            pairs=sums["pairs"],
            units=units,
            additions=sums["pairs"],
            accesses=(
                layer_buffer(dram, streamed + dram.output_bytes),
                *self._accesses(sums, program),
            ),
            dram=dram,
            details=sums,
        )

    def _accesses(self, sums: dict[str, int], program: LayerProgram) -> tuple[Access, ...]:
        config = self.config
        streamed = 8 * config.filter_bus_bytes * sums["filter_beats"]
        broadcast = 8 * config.broadcast_width * sums["broadcast_words"]
        # A step sends one mask to every unit; each reads one of its filters' for every slot.
        active = int((program.schedule.assignment >= 0).any(axis=2).sum(axis=1).max())
        masks = config.chunk * sums["steps_delivered"] * active * (1 + config.filters_per_unit)
        slots_bytes = config.slots * config.chunk
        return (
            Access(
                buffer="input values",
                capacity_bytes=input_share_bytes(program.layer, config.clusters),
                bits=broadcast,
            ),
            Access(
                buffer="chunk slots",
                capacity_bytes=slots_bytes,
                bits=broadcast * active + 8 * sums["pairs"],
            ),
            Access(buffer="masks", capacity_bytes=slots_bytes // 8, bits=masks),
            Access(
                buffer="filter values",
                capacity_bytes=config.filter_buffer_bytes,
                bits=streamed + 8 * sums["pairs"],
            ),
            Access(
                buffer="accumulators",
                capacity_bytes=4 * config.tile_positions * config.filters_per_unit,
                bits=2 * 32 * sums["pairs"],
            ),
        )


def _mask_bytes(codes: int) -> int:
    return -(-codes // 8)


class InnerJoinMachine(ClusterMachine):
    """Output-major, expected pairs, positions from a queue."""

    name = "innerjoin"
    summary = "two-sided bitmask join, output-major, FIFO of 4, balanced on expected pairs"
    source = "this project, after SparTen (MICRO'19)"
    preset = "output-major"
    balance = Balance.EXPECTED


class SparTen(ClusterMachine):
    """Chunk-stationary, GB-H: pairs of filters chosen anew for each chunk."""

    name = "sparten"
    summary = "two-sided bitmask join, chunk-stationary, balanced by chunk (GB-H)"
    source = "Gondimalla et al., MICRO'19"
    preset = "sparten-1k"
    balance = Balance.CHUNK


class SparTenSoftware(ClusterMachine):
    """Chunk-stationary, GB-S: pairs of filters chosen once, in software."""

    name = "sparten-gb-s"
    summary = "two-sided bitmask join, chunk-stationary, balanced by filter (GB-S)"
    source = "Gondimalla et al., MICRO'19"
    preset = "sparten-1k"
    balance = Balance.FILTER

    def estimate_area(self) -> AreaEstimate:
        """Return its units."""
        return AreaEstimate(
            blocks={"unit sparten-1k": self.multipliers},
            note="its own units, synthesised at this size one by one; no input buffer, broadcast, "
            "collector, requantisation",
        )


class _OneSided(ClusterMachine):
    def estimate_area(self) -> AreaEstimate | None:
        """Return whole clusters of the two-sided machine, those of preset small."""
        clusters, rest = divmod(self.multipliers, AcceleratorConfig.preset("small").units)
        if rest:
            return None
        return AreaEstimate(
            blocks={"cluster small": clusters},
            note="clusters of the two-sided machine, which has this as a mode; of 8 units with one "
            "filter each, where the simulated ones have 32 with two",
        )


class OneSidedWeights(_OneSided):
    """Skips zeros of weights only."""

    name = "one-sided-weights"
    summary = "skips zero weights only; output-major, FIFO of 4, balanced by weights"
    source = "this project"
    preset = "output-major"
    skip = SkipMode.STATIC
    balance = Balance.FILTER


class OneSidedActivations(_OneSided):
    """Skips zeros of activations only."""

    name = "one-sided-activations"
    summary = "skips zero activations only; output-major, FIFO of 4"
    source = "this project"
    preset = "output-major"
    skip = SkipMode.DYNAMIC
    balance = Balance.NONE
