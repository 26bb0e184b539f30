"""Cambricon-S: its configuration, and how a layer is cut into blocks and windows.

The specification is ``docs/cambricon-s.md``; after Zhou et al., MICRO'18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from golden.config import TomlConfig
from golden.counters import UNIT_COUNTERS, Counters, CounterTable
from golden.errors import ConfigError
from golden.layer import LayerShape

__all__ = [
    "CORE_COUNTERS",
    "Block",
    "CambriconSConfig",
    "CambriconSCounters",
    "Latency",
    "WindowLayout",
    "blocks",
]

#: Counters of each core; what they mean is in ``docs/cambricon-s.md``, *Counters*.
CORE_COUNTERS = ("cycles", "pairs", "steps", "load_beats", "outputs", "selected")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Constant latencies of the hardware's pipelines, in cycles; symbols of the specification."""

    start: int = 9  # start to the first step
    load: int = 11  # last beat of a load to the first step that needs it
    load_free: int = 0  # last step of a load to the reuse of its half of the synapse buffer
    deliver: int = 9  # last step of a position to the first output drained
    # Last output drained to the earliest end of the next position: its results come so much later.
    collector_free: int = -9
    tail: int = 7  # last output drained to done


@dataclass(frozen=True, kw_only=True)
class CambriconSConfig(TomlConfig):
    """A machine: ``cores`` x ``pes`` x ``lanes`` multipliers; ``docs/cambricon-s.md``.

    Parameters
    ----------
    name : str
        What reports call the machine.
    cores : int
        Independent cores.
    pes : int
        Processing elements of a core: outputs that share one index.
    lanes : int
        Multipliers of a processing element.
    window : int
        Neurons that the selector looks at in a cycle; a power of two.
    code_bits : int
        Bits of a weight in the synapse buffer, 4 or 8: an index into the codebook.
    segment_windows : int
        Kept windows that one half of the synapse buffer holds.
    tile_positions : int
        Partial sums that a processing element keeps.
    bus_bytes : int
        Bytes of weight stream that a core takes in a cycle; a power of two.
    output_width : int
        Codes that a core drains in a cycle; divides ``pes``.
    neuron_buffer_bytes : int
        Bytes of (padded) input that a core holds.

    Raises
    ------
    ConfigError
        A value is out of range, or two contradict one another.
    """

    PRESETS: ClassVar[str] = "presets/cambricon-s"
    #: Latencies of this kind of machine; no choice of a design.
    LATENCY: ClassVar[Latency] = Latency()

    name: str
    cores: int
    pes: int
    lanes: int
    window: int
    code_bits: int
    segment_windows: int
    tile_positions: int
    bus_bytes: int
    output_width: int
    neuron_buffer_bytes: int

    def check(self) -> None:
        self.require_range("cores", 1, 1024)
        self.require_range("pes", 1, 64)
        self.require_range("lanes", 1, 64)
        self.require_range("window", 8, 512)
        self.require_range("segment_windows", 1, 1 << 16)
        self.require_range("tile_positions", 1, 1 << 16)
        self.require_range("bus_bytes", 1, 512)
        self.require_range("neuron_buffer_bytes", 1, 1 << 40)
        self.require_power_of_two("window")
        self.require_power_of_two("bus_bytes")
        if self.lanes > self.window:
            raise ConfigError(
                f"Configuration key lanes must be at most window ({self.window}), "
                f"not {self.lanes!r}"
            )
        if self.code_bits not in (4, 8):
            raise ConfigError(f"Configuration key code_bits must be 4 or 8, not {self.code_bits!r}")
        if self.output_width < 1 or self.pes % self.output_width:
            raise ConfigError(
                f"Configuration key output_width must divide pes ({self.pes}), "
                f"not {self.output_width!r}"
            )

    @property
    def multipliers(self) -> int:
        """Multipliers of the whole machine."""
        return self.cores * self.pes * self.lanes

    @property
    def mask_beats(self) -> int:
        """Beats of the weight stream that the mask of a window takes."""
        return -(-self.window // (8 * self.bus_bytes))

    def weight_beats(self, kept: int) -> int:
        """Beats that one filter's codes of a window take, ``kept`` of them."""
        return -(-kept * self.code_bits // (8 * self.bus_bytes))


@dataclass(frozen=True, eq=False)
class CambriconSCounters(Counters):
    """What a machine counted while it ran one layer for one image.

    Parameters
    ----------
    cores : ndarray of int64, axes core, counter (``CORE_COUNTERS``)
    units : ndarray of int64, axes core, pe, counter (``golden.counters.UNIT_COUNTERS``)
        In cycles; every PE's add up to its own core's ``cycles``.
    """

    cores: NDArray[np.int64]
    units: NDArray[np.int64]

    @property
    def cycles(self) -> int:
        """Cycles of the layer: those of the slowest core."""
        return int(self.core("cycles").max())

    def core(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every core, axis core, by name."""
        return self.cores[:, CORE_COUNTERS.index(name)]

    def unit(self, name: str) -> NDArray[np.int64]:
        """Return one counter of every PE, axes core, pe, by name."""
        return self.units[:, :, UNIT_COUNTERS.index(name)]

    def tables(self) -> tuple[CounterTable, ...]:
        return (
            CounterTable("core", CORE_COUNTERS, self.cores),
            CounterTable("core, pe", UNIT_COUNTERS, self.units),
        )


@dataclass(frozen=True, kw_only=True)
class WindowLayout:
    """How a filter, and the input under it, is cut into windows.

    Parameters
    ----------
    runs : int
        Kernel rows.
    run_length : int
        Positions of a run: kernel_width * group_channels, ordered s, c.
    window : int
        Positions of a window.
    """

    runs: int
    run_length: int
    window: int

    @classmethod
    def of(cls, config: CambriconSConfig, layer: LayerShape) -> WindowLayout:
        """Return the layout of a layer on a machine."""
        length = layer.kernel_width * layer.group_channels
        return cls(runs=layer.kernel_height, run_length=length, window=config.window)

    @property
    def run_windows(self) -> int:
        return -(-self.run_length // self.window)

    @property
    def windows(self) -> int:
        """Windows of a filter, numbered run by run."""
        return self.runs * self.run_windows


@dataclass(frozen=True, eq=False)
class Block:
    """Filters that share one index.

    Parameters
    ----------
    group : int
        Their convolution group.
    filters : range
        Their numbers, consecutive.
    masks : ndarray of bool, axes window, position
        Where any of them has a non-zero weight; ragged windows end in zeros.
    kept : ndarray of int64, axis kept window
        Windows whose mask has a one, in order; window 0 where there is none.
    """

    group: int
    filters: range
    masks: NDArray[np.bool_]
    kept: NDArray[np.int64]


def blocks(config: CambriconSConfig, layer: LayerShape, weights: NDArray[np.int8]) -> list[Block]:
    """Cut the filters of a layer into blocks, group by group.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    """
    layout = WindowLayout.of(config, layer)
    nonzero = weights.reshape(layer.out_channels, layout.runs, layout.run_length) != 0
    tail = layout.run_windows * layout.window - layout.run_length
    nonzero = np.pad(nonzero, ((0, 0), (0, 0), (0, tail)))
    nonzero = nonzero.reshape(layer.out_channels, layout.windows, layout.window)
    found: list[Block] = []
    for group in range(layer.groups):
        first = group * layer.group_filters
        for start in range(first, first + layer.group_filters, config.pes):
            filters = range(start, min(start + config.pes, first + layer.group_filters))
            masks: NDArray[np.bool_] = np.any(nonzero[filters.start : filters.stop], axis=0)
            kept = np.flatnonzero(np.any(masks, axis=1))
            found.append(Block(group, filters, masks, kept if len(kept) else np.array([0])))
    return found
