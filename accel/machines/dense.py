"""A dense array whose mapping is chosen anew for every layer; ``docs/machines.md``, *Dense*."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.machines.machine import (
    OPERANDS_BYTES_MIN,
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
from golden.errors import ConfigError
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.machines.dense import DenseConfig
from golden.program import LayerTask

__all__ = ["Dense", "Unrolling"]

#: Cycles of the pipeline beside the adder tree: operand registers, product, sum, output.
_PIPELINE_CYCLES = 5
#: Bytes of partial sums that a multiplier keeps for itself.
_LOCAL_BYTES = 64


@dataclass(frozen=True)
class Unrolling:
    """What the array does at once: filters x reduction positions x output positions."""

    filters: int
    reduction: int
    positions: int

    def steps(self, layer: LayerShape) -> tuple[int, int, int]:
        """Return how often each of the three is stepped through, for one group."""
        return (
            -(-layer.group_filters // self.filters),
            -(-layer.taps * layer.group_channels // self.reduction),
            -(-layer.positions // self.positions),
        )

    def compute_cycles(self, layer: LayerShape) -> int:
        filters, reduction, positions = self.steps(layer)
        return layer.groups * filters * reduction * positions

    @property
    def reads_a_step(self) -> int:
        """Operands read in a step; each is shared by all multipliers that need it."""
        return self.reduction * (self.filters + self.positions)

    @property
    def fill_cycles(self) -> int:
        return _PIPELINE_CYCLES + self.reduction.bit_length() - 1


class Dense(Machine):
    """The dense baseline."""

    name = "dense"
    summary = "skips nothing; the best unrolling of each layer"
    source = "this project"
    preset = "array-1k"
    modes = (SkipMode.DENSE,)

    config: DenseConfig

    @classmethod
    def with_multipliers(cls, multipliers: int) -> Dense:
        if multipliers < 1 or multipliers & (multipliers - 1):
            raise ConfigError(
                f"Multipliers of machine dense must be a power of two, not {multipliers!r}"
            )
        return cls(DenseConfig(name=cls.name, multipliers=multipliers))

    @property
    def units(self) -> int:
        return self.multipliers

    @property
    def size(self) -> str:
        return f"{self.multipliers} multipliers"

    def estimate_area(self) -> AreaEstimate:
        """Return multipliers and sums."""
        return AreaEstimate(
            blocks={"multiply-accumulate": self.multipliers},
            note="multipliers and their sums only, a lower bound: no buffers, and no network that "
            "brings operands to them",
        )

    def unrolling(self, layer: LayerShape) -> Unrolling:
        """Return the mapping with the fewest cycles; of equal ones that with fewest reads."""
        bits = self.multipliers.bit_length() - 1
        choices = [
            Unrolling(1 << k, 1 << c, 1 << (bits - k - c))
            for k in range(bits + 1)
            for c in range(bits + 1 - k)
        ]
        return min(
            choices,
            key=lambda it: (
                it.compute_cycles(layer) + it.fill_cycles,
                it.reads_a_step,
                -it.filters,
            ),
        )

    def prepare(self, task: LayerTask) -> Program:
        layer = task.layer
        unrolling = self.unrolling(layer)
        compute = unrolling.compute_cycles(layer)
        cycles = compute + unrolling.fill_cycles
        busy = _busy_cycles(layer, unrolling)
        units = np.zeros((self.units, len(UNIT_COUNTERS)), dtype=np.int64)
        units[:, UNIT_COUNTERS.index("busy_cycles")] = busy
        units[:, UNIT_COUNTERS.index("idle_cycles")] = cycles - busy
        pairs = layer.dense_macs
        counts = LayerCounts(
            cycles=cycles,
            pairs=pairs,
            units=units,
            additions=pairs,
            accesses=_accesses(layer, unrolling),
            dram=DramTraffic(
                input_bytes=layer.in_channels * layer.in_height * layer.in_width,
                weight_bytes=int(np.prod(layer.weights_shape)),
                output_bytes=layer.out_channels * layer.positions,
            ),
        )

        return program_of(lambda activations, output: counts)


def _busy_cycles(layer: LayerShape, unrolling: Unrolling) -> NDArray[np.int64]:
    """Cycles in which each multiplier's filter, reduction position and output position exist."""

    def uses(size: int, lanes: int) -> NDArray[np.int64]:
        return (size - np.arange(lanes) + lanes - 1) // lanes

    filters = uses(layer.group_filters, unrolling.filters)
    reduction = uses(layer.taps * layer.group_channels, unrolling.reduction)
    positions = uses(layer.positions, unrolling.positions)
    return layer.groups * np.einsum("k,c,p->kcp", filters, reduction, positions).ravel()


def _accesses(layer: LayerShape, unrolling: Unrolling) -> tuple[Access, ...]:
    """Operands are read once a step and shared by all multipliers that need them."""
    compute = unrolling.compute_cycles(layer)
    sums = compute * unrolling.filters * unrolling.positions
    weights = Access(
        buffer="weights",
        capacity_bytes=max(OPERANDS_BYTES_MIN, int(np.prod(layer.weights_shape))),
        bits=8 * compute * unrolling.filters * unrolling.reduction,
    )
    inputs = Access(
        buffer="inputs",
        capacity_bytes=input_share_bytes(layer),
        bits=8 * compute * unrolling.reduction * unrolling.positions,
    )
    return (
        weights,
        inputs,
        Access(buffer="partial sums", capacity_bytes=_LOCAL_BYTES, bits=2 * 32 * sums),
    )
