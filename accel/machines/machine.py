"""What every machine is asked, and what it answers: the protocol of ``docs/machines.md``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from accel.machines.timeline import Track
from golden.counters import UNIT_COUNTERS, Counters
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun, LayerTask

__all__ = [
    "OPERANDS_BYTES_MIN",
    "Access",
    "AreaEstimate",
    "AreaModel",
    "Count",
    "Counted",
    "DramTraffic",
    "Features",
    "Fields",
    "LayerCounts",
    "Machine",
    "Program",
    "input_share_bytes",
    "layer_buffer",
    "program_of",
]


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


#: Fields of a configuration that are counts, by name; and what cells grow with, found from them.
Fields = Mapping[str, int]
Features = Callable[[Fields], list[float]]


@dataclass(frozen=True, kw_only=True)
class AreaModel:
    """What the cells of a machine of any size follow from, by a fit to sizes in a table.

    Parameters
    ----------
    table : str
        ``accel/costs/data/TABLE.csv``: fields, cells, and whether a row is kept aside.
    fields : dict of str to int
        This machine's.
    pieces : int
        How many of what the table's rows are it has.
    features : dict of str to function
        For each kind of cell, what it grows with.
    exact : dict of str to int
        Cells of a piece that are known.
    note : str
        What is left out or differs.
    """

    table: str
    fields: Fields
    pieces: int
    features: Mapping[str, Features]
    exact: Mapping[str, int]
    note: str


@dataclass(frozen=True, kw_only=True)
class DramTraffic:
    """Bytes that cross the chip's boundary in the machine's own formats, each tensor once."""

    input_bytes: int
    weight_bytes: int
    output_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.input_bytes + self.weight_bytes + self.output_bytes

    def __add__(self, other: DramTraffic) -> DramTraffic:
        return DramTraffic(
            input_bytes=self.input_bytes + other.input_bytes,
            weight_bytes=self.weight_bytes + other.weight_bytes,
            output_bytes=self.output_bytes + other.output_bytes,
        )


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
        Counts that only this machine has, by their documented names.
    counters : Counters, optional
        Every counter that its hardware has too.
    """

    cycles: int
    pairs: int
    units: NDArray[np.int64]
    additions: int
    accesses: tuple[Access, ...]
    dram: DramTraffic
    stray_pairs: int = 0
    details: Mapping[str, int] = field(default_factory=dict)
    counters: Counters | None = None

    def unit(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every unit, axis unit, by its name."""
        return self.units[:, UNIT_COUNTERS.index(name)]


#: Counts a layer of one image in one skip mode.
Count = Callable[[SkipMode], LayerCounts]
#: A layer's counts on one machine in each mode, or why it does not fit.
Counted = Mapping[SkipMode, LayerCounts] | CapacityError
#: A layer arranged for a machine, checked against its buffers: all that does not depend on the
#: image. It takes an image's input codes (axes y, x, channel) and output codes (axes p, q, k) and
#: returns what counts it; several threads may count at once. Cycles do not depend on the output.
Program = Callable[[Codes, Codes], Count]


def program_of(count: Callable[[Codes, Codes], LayerCounts]) -> Program:
    """Return the program of a machine with a single skip mode."""

    def load(activations: Codes, output: Codes) -> Count:
        return lambda mode: count(activations, output)

    return load


class Machine(ABC):
    """A machine of a certain size.

    Parameters
    ----------
    config : TomlConfig
        Of the class that the machine's line in ``golden.machines.registry`` names.

    Attributes
    ----------
    name : str
        Its key in ``golden.machines.registry``.
    summary : str
        What it skips and how, in one line.
    source : str
        Paper and section, or ``this project``.
    preset : str
        The configuration where none is named.
    hardware_preset : str
        The same where its hardware is run or written: small, for a simulator is slow.
    modes : tuple of SkipMode
        The modes that it has; machines are compared in the last one.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    preset: ClassVar[str]
    hardware_preset: ClassVar[str] = "toy"
    modes: ClassVar[tuple[SkipMode, ...]] = (SkipMode.BOTH,)

    config: Any

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def with_multipliers(cls, multipliers: int) -> Self:
        """Return the machine scaled to a number of multipliers.

        Raises
        ------
        ConfigError
            It can't have that many; the message says what is accepted.
        """

    @property
    def multipliers(self) -> int:
        """8-bit multipliers of the whole machine."""
        return self.config.multipliers

    @property
    @abstractmethod
    def units(self) -> int:
        """Rows of ``LayerCounts.units``."""

    @property
    def size(self) -> str:
        """How large it is, in its own parts: ``2 x 32 units``."""
        return f"{self.units} units"

    def parameters(self) -> dict[str, Any]:
        """Return all that describes this size of the machine, as plain values."""
        return self.config.to_dict()

    @abstractmethod
    def prepare(self, task: LayerTask) -> Program:
        """Arrange a layer.

        Raises
        ------
        CapacityError
            It does not fit a buffer.
        """

    def demands(self, task: LayerTask) -> dict[str, int]:
        """Return the least values of the buffers with which a layer fits, whatever its input.

        Returns
        -------
        dict of str to int
            By the configuration's keys; empty where the machine holds any layer. An input with
            zeros may do with less.
        """
        del task
        return {}

    @property
    def sharing_key(self) -> tuple:
        """What machines of this kind have in common that ``count_machines`` is fastest with."""
        return ()

    @classmethod
    def count_machines(
        cls,
        machines: Sequence[Self],
        task: LayerTask,
        activations: Codes,
        output: Codes,
        modes: Sequence[SkipMode],
    ) -> list[Counted]:
        """Count a layer of one image on several machines of this kind, in their order.

        It is what each one's program counts, but that ``LayerCounts.units`` may have a single
        row, all units added up. A kind may share work among its machines.
        """
        found: list[Counted] = []
        for machine in machines:
            try:
                count = machine.prepare(task)(activations, output)
            except CapacityError as error:
                found.append(error)
            else:
                found.append({mode: count(mode) for mode in modes})
        return found

    def timeline(self, run: LayerRun, output: Codes, mode: SkipMode) -> tuple[Track, ...]:
        """Return what each unit does in each cycle of a layer, as the simulator has it.

        Raises
        ------
        CapacityError
            The layer does not fit a buffer.
        ConfigError
            The simulator of this machine counts without an order of cycles.
        """
        raise ConfigError(
            f"Machine of a simulated timeline must be a cluster machine, not {self.name}; "
            "its hardware, where it has one, gives it too (--from hardware)"
        )

    @classmethod
    def bound_machines(
        cls,
        machines: Sequence[Self],
        task: LayerTask,
        activations: Codes,
        output: Codes,
        mode: SkipMode,
    ) -> list[int | CapacityError]:
        """Return cycles that a layer takes at least on several machines of this kind.

        It is found sooner than their cycles. 0 where nothing is proved; the error says why a layer
        does not fit.
        """
        del task, activations, output, mode
        return [0 for _ in machines]

    def estimate_area(self) -> AreaEstimate | None:
        """Return what the machine would consist of, where it has no measured hardware."""
        return None

    @property
    def piece(self) -> tuple[str, int] | None:
        """The block of the hardware that the machine repeats, and how many times."""
        return None

    @property
    def area_model(self) -> AreaModel | None:
        """What its cells follow from, where sizes around it have been synthesised."""
        return None
