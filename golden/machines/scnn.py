"""SCNN: its configuration and the constants of its format.

The specification is ``docs/scnn.md``; after Parashar et al., ISCA'17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from golden.config import TomlConfig
from golden.errors import ConfigError

__all__ = ["ACCUMULATOR_BITS", "RUN_BITS", "STORED_BITS", "Latency", "ScnnConfig"]

#: Bits of the zero run that goes with a stored value.
RUN_BITS = 4
#: Bits of a stored value with its zero run.
STORED_BITS = 8 + RUN_BITS
#: Bits of a partial sum.
ACCUMULATOR_BITS = 24


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Constant latencies, in cycles; symbols of the specification, values our assumption."""

    start: int = 4  # start to the first weight vector sent
    # Last vector multiplied to the last sum in its bank, and all PEs' signal of it.
    barrier: int = 4
    tail: int = 4  # last sum drained to done


@dataclass(frozen=True, kw_only=True)
class ScnnConfig(TomlConfig):
    """A grid of processing elements (PEs) with a multiplier array each; ``docs/scnn.md``.

    Parameters
    ----------
    name : str
        What reports call the machine.
    grid_height, grid_width : int
        PEs; each has a tile of the input plane.
    weight_lanes, input_lanes : int
        Weights and activations of a Cartesian product, F and I of the paper.
    group_outputs : int
        Output channels accumulated at once, Kc of the paper; a power of two.
    banks : int
        Accumulator banks of a PE, each in two halves; a power of two.
    bank_entries : int
        Partial sums in a half of a bank.
    bank_queue : int
        Products that may wait before each bank: 0, 1, 3, 7 or 15.
    fifo_vectors : int
        Weight vectors that a PE's FIFO holds.
    iaram_bytes, oaram_bytes : int
        Input and output activation memory of a PE.
    drain_width : int
        Partial sums that a PE drains in a cycle.
    stride_phases : bool
        Activations and weights are stored by their place modulo the stride, so that only those
        that can meet in an output are multiplied.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    PRESETS: ClassVar[str] = "presets/scnn"
    #: Latencies of this kind of machine; no choice of a design.
    LATENCY: ClassVar[Latency] = Latency()

    name: str
    grid_height: int
    grid_width: int
    weight_lanes: int
    input_lanes: int
    group_outputs: int
    banks: int
    bank_entries: int
    bank_queue: int
    fifo_vectors: int
    iaram_bytes: int
    oaram_bytes: int
    drain_width: int
    stride_phases: bool

    def check(self) -> None:
        self.require_range("grid_height", 1, 256)
        self.require_range("grid_width", 1, 256)
        self.require_range("weight_lanes", 1, 4)
        self.require_range("input_lanes", 1, 4)
        self.require_range("group_outputs", 1, 1024)
        self.require_range("banks", 1, 32)
        self.require_range("bank_entries", 1, 1 << 20)
        self.require_range("fifo_vectors", 1, 1 << 20)
        self.require_range("iaram_bytes", 1, 1 << 40)
        self.require_range("oaram_bytes", 1, 1 << 40)
        self.require_range("drain_width", 1, 1024)
        if self.bank_queue not in (0, 1, 3, 7, 15):
            raise ConfigError(
                f"Configuration key bank_queue must be 0, 1, 3, 7 or 15, not {self.bank_queue!r}"
            )
        for name in ("group_outputs", "banks"):
            self.require_power_of_two(name)

    @property
    def pes(self) -> int:
        """Processing elements, numbered row by row of the grid."""
        return self.grid_height * self.grid_width

    @property
    def multipliers(self) -> int:
        """Multipliers of the whole machine."""
        return self.pes * self.weight_lanes * self.input_lanes

    @property
    def accumulators(self) -> int:
        """Partial sums in a half of a PE's accumulator buffer."""
        return self.banks * self.bank_entries
