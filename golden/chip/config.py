"""The one description of a chip: its clusters, and the buffers and buses round them."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import ClassVar

from golden.errors import ConfigError
from golden.machines.cluster.config import AcceleratorConfig, Balance, Dealing

__all__ = ["CHIP_LATENCY", "ChipConfig", "ChipLatency"]


@dataclass(frozen=True, kw_only=True)
class ChipLatency:
    """Constant latencies of the chip, in cycles; from and to which event says ``docs/chip.md``."""

    start: int = 4
    list: int = 2
    entry: int = 2
    count: int = 2
    fill: int = 2
    feed: int = 2
    credit: int = 2
    parse: int = 6
    layer: int = 40
    tile: int = 8
    job: int = 3
    encode: int = 3
    vector: int = 12
    half: int = 2
    end: int = 2


#: The latencies that the hardware is to have.
CHIP_LATENCY = ChipLatency()


@dataclass(frozen=True, kw_only=True)
class ChipConfig(AcceleratorConfig):
    """A chip: the clusters of an ``AcceleratorConfig`` with a memory interface.

    ``input_buffer_chunks`` and ``input_buffer_bytes`` are a cluster's rings.

    Parameters
    ----------
    bus_bytes : int
        Bytes that the memory bus carries in a cycle; 4 to 64.
    burst_bytes : int
        Bursts are cut at multiples of it; 64 to 512.
    outstanding : int
        Bursts under way at most.
    filter_bursts, row_bursts, residual_bursts, write_bursts : int
        Bursts that the filter FIFO, the row FIFO, the residual FIFO and the write buffer hold.
    assembly_bytes : int
        Both halves of a cluster's assembly buffer.
    vector_lanes : int
        Codes that the vector unit takes in a cycle.
    layer_tiles : int
        Tiles that a layer is cut into where its size allows and buffers do not ask for more.

    Raises
    ------
    ConfigError
        A value is out of range, or the chip can't do what the clusters ask for.
    """

    PRESETS: ClassVar[str] = "presets/chip"

    bus_bytes: int
    burst_bytes: int
    outstanding: int
    filter_bursts: int
    row_bursts: int
    residual_bursts: int
    write_bursts: int
    assembly_bytes: int
    vector_lanes: int
    layer_tiles: int

    def check(self) -> None:
        super().check()
        self.require_range("bus_bytes", 4, 64)
        self.require_range("burst_bytes", 64, 512)
        self.require_range("outstanding", 1, 64)
        for name in ("filter_bursts", "row_bursts", "write_bursts"):
            self.require_range(name, 1, 256)
        # A write burst may begin within one residual burst and end within the third.
        self.require_range("residual_bursts", 4, 256)
        self.require_range("assembly_bytes", 2, 1 << 24)
        self.require_range("vector_lanes", 1, 64)
        self.require_range("layer_tiles", 1, 1 << 10)
        self.require_range("collector_width", 1, 2)
        self.require_range("lanes", 1, 1)
        self.require_range("segment_chunks", 0, 0)
        for name in ("bus_bytes", "burst_bytes", "input_buffer_chunks", "input_buffer_bytes"):
            self.require_power_of_two(name)
        if self.filter_bus_bytes > self.burst_bytes:
            raise ConfigError(
                f"Configuration key filter_bus_bytes must be at most burst_bytes "
                f"({self.burst_bytes}), not {self.filter_bus_bytes!r}"
            )
        if self.dealing is not Dealing.INTERLEAVED:
            raise ConfigError(
                f"Configuration key dealing must be 'interleaved' on a chip, whose rings all hold "
                f"the same rows, not {self.dealing.value!r}"
            )
        if self.balance is Balance.CHUNK:
            raise ConfigError(
                "Configuration key balance must not be 'chunk' on a chip: its filters stay in a "
                "unit for a pass"
            )

    # -- derived ----------------------------------------------------------------------------

    @property
    def digest(self) -> int:
        """32 bits that tell chips apart, so that an image is not run on another one."""
        fields = {name: str(value) for name, value in asdict(self).items() if name != "name"}
        return zlib.crc32(repr(sorted(fields.items())).encode())

    @property
    def half_bytes(self) -> int:
        """One half of a cluster's assembly buffer."""
        return self.assembly_bytes // 2

    @property
    def filter_buffers(self) -> int:
        """Filter buffers of a unit."""
        return 2 if self.filter_double_buffer else 1
