"""What a network took on a chip: cycles by layer and by reason, and what crossed the bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accel.chip.arrays import TILE_COUNTERS

__all__ = ["ChipLayerResult", "ChipResult", "Stream"]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one kind of transfer moved."""

    bytes: int
    bursts: int


@dataclass(frozen=True, kw_only=True)
class ChipLayerResult:
    """A layer of a network on a chip.

    Parameters
    ----------
    tile_ends : tuple of int
        The cycle in which each of its tiles was done.
    cycles : int
        From the end of the layer before to its own; the last layer's up to the end.
    counters : dict of str to int
        Its cycles by what they were spent on (``docs/chip.md``, *Counters*).
    """

    name: str
    tile_ends: tuple[int, ...]
    cycles: int
    counters: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ChipResult:
    """A network on a chip with a memory.

    Parameters
    ----------
    network, source : str
        Name, and where weights and activations come from.
    chip, memory : str
    multipliers : int
    cycles : int
        From the start to done.
    pairs : int
        Multiplications.
    dma_busy_cycles : int
        Cycles in which the memory served a burst.
    layers : tuple of ChipLayerResult
    streams : dict of str to Stream
        By kind of list entry; ``list`` is the list itself.
    """

    network: str
    source: str
    chip: str
    memory: str
    multipliers: int
    cycles: int
    pairs: int
    dma_busy_cycles: int
    layers: tuple[ChipLayerResult, ...]
    streams: Mapping[str, Stream]

    @property
    def counters(self) -> dict[str, int]:
        """The counters of all layers; they add up to ``cycles``."""
        return {name: sum(layer.counters[name] for layer in self.layers) for name in TILE_COUNTERS}

    @property
    def bytes(self) -> int:
        """Bytes that crossed the bus."""
        return sum(stream.bytes for stream in self.streams.values())

    def frames_per_second(self, clock_hertz: float) -> float:
        """Return how many images a second a clock gives."""
        return clock_hertz / self.cycles

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self) | {"counters": self.counters, "bytes": self.bytes}

    def __str__(self) -> str:
        from accel.report.text import chip_text

        return chip_text(self)

    __repr__ = __str__
