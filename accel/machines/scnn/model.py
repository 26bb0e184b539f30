"""SCNN: Cartesian products of activations and weights; the specification is ``docs/scnn.md``.

After Parashar et al., ISCA'17.
"""

from __future__ import annotations

from collections import Counter

from accel.machines.machine import AreaEstimate, Machine, Program, program_of
from accel.machines.scnn.connected import ScnnConnected
from accel.machines.scnn.convolution import ScnnConvolution
from accel.machines.scnn.layout import least_accumulators
from golden.errors import ConfigError
from golden.machines.scnn import ScnnConfig
from golden.program import LayerTask

__all__ = ["Scnn"]

_PE_MULTIPLIERS = 16
_MULTIPLIERS_MAX = 1 << 16


class Scnn(Machine):
    """A grid of PEs with a multiplier array and accumulator banks each; a unit is a PE."""

    name = "scnn"
    summary = "multiplies all non-zero activations of a channel by all its non-zero weights"
    source = "Parashar et al., ISCA'17, sections 3 and 4"
    preset = "paper"

    config: ScnnConfig

    @classmethod
    def with_multipliers(cls, multipliers: int) -> Scnn:
        """Return PEs of 4 x 4 multipliers in a grid as square as powers of two can be.

        Below 16 multipliers it is one PE of 4 x 2, 2 x 2, 2 x 1 or 1.

        Raises
        ------
        ConfigError
            The number is not a power of two up to 65,536.
        """
        if multipliers < 1 or multipliers & (multipliers - 1) or multipliers > _MULTIPLIERS_MAX:
            raise ConfigError(
                f"Multipliers of machine scnn must be a power of two up to {_MULTIPLIERS_MAX}, "
                f"not {multipliers!r}"
            )
        in_pe = min(multipliers, _PE_MULTIPLIERS)
        pes = multipliers // in_pe
        height = 1 << ((pes.bit_length() - 1) // 2)
        weight_lanes = 1 << (in_pe.bit_length() // 2)
        return cls(
            ScnnConfig.preset("paper").replace(
                name=cls.name,
                grid_height=height,
                grid_width=pes // height,
                weight_lanes=weight_lanes,
                input_lanes=in_pe // weight_lanes,
                banks=2 * in_pe,
                bank_entries=1024 // (2 * in_pe),
            )
        )

    @property
    def units(self) -> int:
        return self.config.pes

    @property
    def size(self) -> str:
        lanes = f"{self.config.weight_lanes} x {self.config.input_lanes}"
        return f"{self.config.grid_height} x {self.config.grid_width} PEs of {lanes}"

    def estimate_area(self) -> AreaEstimate | None:
        """Return multipliers, crossbar, banks and activation memories; PEs of 4 x 4 only."""
        config = self.config
        if config.multipliers != _PE_MULTIPLIERS * config.pes:
            return None
        buffers = Counter([config.iaram_bytes, config.oaram_bytes])
        return AreaEstimate(
            blocks={"scnn-array paper": config.pes},
            buffers={size_bytes: count * config.pes for size_bytes, count in buffers.items()},
            note="multipliers, crossbar, banks, activation memories; no queues before the banks, "
            "weight FIFO, coordinates of outputs, halos, control",
        )

    def prepare(self, task: LayerTask) -> Program:
        program = ScnnConnected if task.layer.positions == 1 else ScnnConvolution
        return program_of(program(self.config, task))

    def demands(self, task: LayerTask) -> dict[str, int]:
        if task.layer.positions == 1:
            return {}
        sums = least_accumulators(self.config, task.layer)
        return {"bank_entries": -(-sums // self.config.banks)}
