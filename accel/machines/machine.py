"""What every machine is asked, and what it answers: the protocol of ``docs/machines.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape

__all__ = [
    "OPERANDS_BYTES_MIN",
    "Access",
    "AreaEstimate",
    "DramTraffic",
    "LayerCounts",
    "LayerTask",
    "Machine",
    "PreparedLayer",
    "input_share_bytes",
    "layer_buffer",
]

Codes = NDArray[np.int8 | np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerTask:
    """A layer of a network, as every machine gets it: dense tensors, real zeros in them.

    Parameters
    ----------
    layer : LayerShape
    weights : ndarray of int8, axes k, r, s, c
    channel_density : ndarray of float64, axis input channel, or None
        Share of non-zero activations of each channel on calibration images, where known.
    """

    layer: LayerShape
    weights: NDArray[np.int8]
    channel_density: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """Traffic of one kind of on-chip buffer, for the energy model.

    Parameters
    ----------
    buffer : str
        What it is, such as ``input values``.
    capacity_bytes : int
        Size of one instance: the energy of a bit depends on it.
    bits : int
        Bits read and written, all instances together.
    """

    buffer: str
    capacity_bytes: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class AreaEstimate:
    """What a machine without hardware here would consist of.

    Parameters
    ----------
    blocks : dict of str to int
        How many of each block of ``accel/costs/data/area.csv``.
    note : str
        What that leaves out or assumes.
    buffers : dict of int to int
        Buffers in block RAM beside those of the blocks: how many of each size, in bytes.
    """

    blocks: Mapping[str, int]
    note: str
    buffers: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DramTraffic:
    """Bytes that cross the chip's boundary in the machine's own formats, each tensor once."""

    input_bytes: int
    weight_bytes: int
    output_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.input_bytes + self.weight_bytes + self.output_bytes


#: Least size of a buffer that holds a layer's operands, in bytes.
OPERANDS_BYTES_MIN = 1024


def input_share_bytes(layer: LayerShape, parts: int = 1) -> int:
    """Return the bytes of dense input that each of some parts holds, at least a kilobyte."""
    size = layer.in_channels * layer.in_height * layer.in_width
    return max(OPERANDS_BYTES_MIN, size // parts)


def layer_buffer(dram: DramTraffic, moved_bytes: int) -> Access:
    """Return the traffic of the buffer that holds a layer's operands on the chip.

    Parameters
    ----------
    dram : DramTraffic
        The tensors that lie there; it is as large as the layer's input and weights.
    moved_bytes : int
        Bytes loaded from it into the machine's own buffers, each time anew, and outputs written.
    """
    size = max(OPERANDS_BYTES_MIN, dram.input_bytes + dram.weight_bytes)
    return Access(buffer="layer buffer", capacity_bytes=size, bits=8 * moved_bytes)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCounts:
    """What a machine counted while it ran one layer for one image.

    Parameters
    ----------
    cycles : int
        From start to the last output.
    pairs : int
        Multiplications that belong to an output: all that the machine does not skip.
    stray_pairs : int
        Multiplications whose product belongs to no output (a Cartesian product's).
    units : ndarray of int64, axes unit, counter
        In the order of ``golden.counters.UNIT_COUNTERS``, in cycles; every row adds up to
        ``cycles``. A unit is a machine's smallest part that waits on its own: a multiplier with
        its join, or a processing element with several.
    additions : int
        32-bit additions of accumulation.
    accesses : tuple of Access
    dram : DramTraffic
    details : dict of str to int
        Counters that only this machine has, by their documented names.
    """

    cycles: int
    pairs: int
    units: NDArray[np.int64]
    additions: int
    accesses: tuple[Access, ...]
    dram: DramTraffic
    stray_pairs: int = 0
    details: Mapping[str, int] = field(default_factory=dict)

    def unit(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every unit, axis unit, by its name."""
        return self.units[:, UNIT_COUNTERS.index(name)]


#: A layer with everything arranged that does not depend on the image: takes its input codes
#: (axes y, x, channel) and its output codes (axes p, q, k), and counts.
PreparedLayer = Callable[[Codes, Codes], LayerCounts]


class Machine(Protocol):
    """A machine of a certain size.

    Attributes
    ----------
    name : str
        Its key in ``accel.machines.registry``.
    summary : str
        What it skips and how, in one line.
    source : str
        Paper and section, or ``this project``.
    multipliers : int
        8-bit multipliers of the whole machine.
    units : int
        Rows of ``LayerCounts.units``.

    A machine may have ``estimate_area() -> AreaEstimate | None`` too; ``accel.costs.area``.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    @classmethod
    def with_multipliers(cls, multipliers: int) -> Machine:
        """Return the machine scaled to a number of multipliers.

        Raises
        ------
        ConfigError
            It can't have that many; the message says what is accepted.
        """
        ...

    @property
    def multipliers(self) -> int: ...

    @property
    def units(self) -> int: ...

    def parameters(self) -> dict[str, Any]:
        """Return all that describes this size of the machine, as plain values."""
        ...

    def prepare(self, task: LayerTask) -> PreparedLayer:
        """Arrange a layer.

        Raises
        ------
        CapacityError
            It does not fit a buffer.
        """
        ...
