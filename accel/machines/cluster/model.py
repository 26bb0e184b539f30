"""The cluster machine of ``docs/machine.md`` as this project's, SparTen's, and a one-sided one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from accel.machines.cluster.area import area_model
from accel.machines.cluster.batch.bounds import bound_shared
from accel.machines.cluster.batch.counters import Totals
from accel.machines.cluster.batch.program import count_shared, group_key
from accel.machines.cluster.capacity import (
    check_filters,
    check_inputs,
    demands,
    filter_demand,
    input_demand,
)
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import prepare_layer, run_layer
from accel.machines.cluster.shared import SharedLayer
from accel.machines.cluster.timeline import walk_layer
from accel.machines.machine import (
    Access,
    AreaEstimate,
    AreaModel,
    Count,
    Counted,
    DramTraffic,
    LayerCounts,
    Machine,
    Program,
    input_share_bytes,
    layer_buffer,
)
from accel.machines.timeline import Track
from golden.counters import UNIT_COUNTERS, LayerCounters
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Balance, SkipMode
from golden.machines.cluster.program import schedule_task
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from golden.program import Codes, LayerRun, LayerTask
from golden.tensor import popcount

__all__ = [
    "ClusterMachine",
    "InnerJoin",
    "OneSidedActivations",
    "OneSidedWeights",
    "SparTen",
    "SparTenSoftware",
    "count_layer",
]

#: Units of a cluster at most; there are as many clusters as make up the multipliers.
_UNITS_MAX = 32


def count_layer(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    mode: SkipMode,
    output: NDArray[np.integer] | None = None,
) -> LayerCounters:
    """Count every cycle of a layer whose schedule is given.

    Parameters
    ----------
    output : ndarray of int8 or uint8, axes p, q, k, optional
        Codes of the layer's output, for ``output_nonzeros``; None counts them as 0.
    """
    masks = workload.activations.masks
    program = prepare_layer(config, workload.layer, workload.weights, masks, schedule, output)
    return run_layer(program, mode)


class ClusterMachine(Machine):
    """A cluster machine; a unit is a compute unit. Its skip mode is a register of the hardware."""

    hardware_preset = "small"
    modes = tuple(SkipMode)
    balance: ClassVar[Balance]

    config: AcceleratorConfig

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
    def units(self) -> int:
        return self.config.clusters * self.config.units

    @property
    def size(self) -> str:
        return f"{self.config.clusters} x {self.config.units} units"

    @property
    def piece(self) -> tuple[str, int]:
        return "cluster", self.config.clusters

    @property
    def area_model(self) -> AreaModel | None:
        return area_model(self.config)

    def prepare(self, task: LayerTask) -> Program:
        config, layer = self.config, task.layer
        weights = pack_filters(config, layer, task.weights)
        schedule = schedule_task(config, task, weights)
        weight_counts = popcount(weights.masks).reshape(layer.out_channels, -1)
        check_filters(config, layer, filter_demand(schedule, weight_counts))
        weight_bytes = weight_counts.size * config.chunk // 8 + len(weights.values)

        def load(activations: Codes, output: Codes) -> Count:
            masks = activation_masks(config, layer, activations)
            demand = input_demand(config, layer, counts := popcount(masks))
            check_inputs(config, layer, demand)
            input_bytes = counts.size * config.chunk // 8 + int(counts.sum())
            program = prepare_layer(config, layer, weights, masks, schedule, output)
            dram_input_bytes = _mask_bytes(activations.size) + int(np.count_nonzero(activations))

            def count(mode: SkipMode) -> LayerCounts:
                counters = run_layer(program, mode)
                return self._counts(
                    layer, schedule, Totals.of(counters), weight_bytes, dram_input_bytes,
                    input_bytes, counters,
                )  # fmt: skip

            return count

        return load

    def timeline(self, run: LayerRun, output: Codes, mode: SkipMode) -> tuple[Track, ...]:
        config, task = self.config, run.task
        weights = pack_filters(config, task.layer, task.weights)
        weight_counts = popcount(weights.masks).reshape(task.layer.out_channels, -1)
        schedule = schedule_task(config, task, weights)
        check_filters(config, task.layer, filter_demand(schedule, weight_counts))
        masks = activation_masks(config, task.layer, run.activations)
        check_inputs(config, task.layer, input_demand(config, task.layer, popcount(masks)))
        return walk_layer(prepare_layer(config, task.layer, weights, masks, schedule, output), mode)

    def demands(self, task: LayerTask) -> dict[str, int]:
        config, layer = self.config, task.layer
        weights = pack_filters(config, layer, task.weights)
        schedule = schedule_task(config, task, weights)
        counts = popcount(weights.masks).reshape(layer.out_channels, -1)
        dense = np.ones((layer.in_height, layer.in_width, layer.in_channels), dtype=np.uint8)
        inputs = popcount(activation_masks(config, layer, dense))
        return demands(config, filter_demand(schedule, counts), input_demand(config, layer, inputs))

    @property
    def sharing_key(self) -> tuple:
        return group_key(self.config)

    @classmethod
    def count_machines(
        cls,
        machines: Sequence[Self],
        task: LayerTask,
        activations: Codes,
        output: Codes,
        modes: Sequence[SkipMode],
    ) -> list[Counted]:
        shared = SharedLayer(task, activations, output)
        dram_input_bytes = _mask_bytes(activations.size) + int(np.count_nonzero(activations))

        def counts(machine: Self, totals: Totals) -> LayerCounts:
            packed = shared.packed(machine.config)
            return machine._counts(
                task.layer, shared.schedule(machine.config), totals, packed.weight_bytes,
                dram_input_bytes, packed.input_bytes,
            )  # fmt: skip

        counted = count_shared([machine.config for machine in machines], shared, modes)
        return [
            found
            if isinstance(found, CapacityError)
            else {mode: counts(machine, totals) for mode, totals in found.items()}
            for machine, found in zip(machines, counted, strict=True)
        ]

    @classmethod
    def bound_machines(
        cls,
        machines: Sequence[Self],
        task: LayerTask,
        activations: Codes,
        output: Codes,
        mode: SkipMode,
    ) -> list[int | CapacityError]:
        shared = SharedLayer(task, activations, output)
        return bound_shared([machine.config for machine in machines], shared, mode)

    def _counts(
        self,
        layer: LayerShape,
        schedule: Schedule,
        totals: Totals,
        weight_bytes: int,
        dram_input_bytes: int,
        input_bytes: int,
        counters: LayerCounters | None = None,
    ) -> LayerCounts:
        sums = totals.clusters
        units = totals.units[None]
        if counters is not None:
            units = counters.units.reshape(self.units, -1).copy()
            # A cluster that is done before the slowest is idle.
            ended = np.repeat(counters.cluster("cycles"), self.config.units)
            units[:, UNIT_COUNTERS.index("idle_cycles")] += totals.cycles - ended
        dram = DramTraffic(
            input_bytes=dram_input_bytes,
            weight_bytes=weight_bytes,
            output_bytes=sums["output_nonzeros"] + _mask_bytes(sums["outputs"]),
        )
        streamed = sums["filter_beats"] * self.config.filter_bus_bytes
        return LayerCounts(
            cycles=totals.cycles,
            pairs=sums["pairs"],
            units=units,
            additions=sums["pairs"],
            accesses=(
                layer_buffer(dram, streamed + dram.output_bytes),
                *self._accesses(sums, layer, schedule),
            ),
            dram=dram,
            details={
                **{name: count for name, count in sums.items() if name != "pairs"},
                "input_bytes": input_bytes,
                "filter_bytes": streamed,
                "broadcast_bytes": sums["broadcast_words"] * self.config.broadcast_width,
            },
            counters=counters,
        )

    def _accesses(
        self, sums: dict[str, int], layer: LayerShape, schedule: Schedule
    ) -> tuple[Access, ...]:
        config = self.config
        streamed = 8 * config.filter_bus_bytes * sums["filter_beats"]
        broadcast = 8 * config.broadcast_width * sums["broadcast_words"]
        # A step sends one mask to every unit; each reads one of its filters' for every slot.
        active = int((schedule.assignment >= 0).any(axis=2).sum(axis=1).max())
        masks = config.chunk * sums["steps_delivered"] * active * (1 + config.filters_per_unit)
        slots_bytes = config.slots * config.chunk
        return (
            Access(
                buffer="input values",
                capacity_bytes=input_share_bytes(layer, config.clusters),
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


class InnerJoin(ClusterMachine):
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
    modes = (SkipMode.DENSE, SkipMode.STATIC)
    balance = Balance.FILTER


class OneSidedActivations(_OneSided):
    """Skips zeros of activations only."""

    name = "one-sided-activations"
    summary = "skips zero activations only; output-major, FIFO of 4"
    source = "this project"
    preset = "output-major"
    modes = (SkipMode.DENSE, SkipMode.DYNAMIC)
    balance = Balance.NONE
