"""The one description of a machine that golden model, simulator and hardware share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from golden.config import TomlConfig
from golden.errors import ConfigError

__all__ = [
    "AcceleratorConfig",
    "Balance",
    "Dealing",
    "Latency",
    "SkipMode",
    "preset_names",
]


class SkipMode(StrEnum):
    """Which zeros are skipped; a run-time register of the hardware."""

    DENSE = "dense"
    STATIC = "static"
    DYNAMIC = "dynamic"
    BOTH = "both"

    @property
    def skips_weights(self) -> bool:
        return self in (SkipMode.STATIC, SkipMode.BOTH)

    @property
    def skips_activations(self) -> bool:
        return self in (SkipMode.DYNAMIC, SkipMode.BOTH)


class Balance(StrEnum):
    """How filters are dealt to units (``docs/machine.md``, *Balancing*)."""

    NONE = "none"
    FILTER = "filter"
    EXPECTED = "expected"
    CHUNK = "chunk"


class Dealing(StrEnum):
    """How output positions are dealt to clusters."""

    TILES = "tiles"
    INTERLEAVED = "interleaved"
    QUEUE = "queue"


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Constant latencies of the hardware's pipelines, in cycles.

    The RTL tests measure them, the simulator and the tick oracle use them,
    ``docs/machine.md`` tabulates them. Their symbols are those of its equations.
    """

    start: int = 17  # start to the first cycle in which the broadcaster may send
    release: int = 9  # a unit's finish to the reuse of its slot
    load: int = 3  # last filter beat to the first broadcast word of that segment
    load_free: int = 7  # last unit's finish of a segment to the reuse of its filter buffer
    deliver: int = 7  # last unit's finish of a position to the first output drained
    collector_free: int = 1  # last output drained to a free result register
    tail: int = 15  # last output drained to done


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig(TomlConfig):
    """A machine: ``clusters`` x ``units`` compute units around a broadcast bus.

    Every field must be given, in TOML too; presets are in ``golden/presets``.

    Parameters
    ----------
    name : str
        What reports call the machine.
    clusters : int
        Number of clusters.
    units : int
        Compute units in a cluster; they share one broadcast.
    chunk : int
        Positions covered by one bit mask; 16, 32, 64, 128 or 256.
    lanes : int
        Pairs that a unit multiplies in a cycle; 1 or 2.
    fifo_depth : int
        Chunks that a unit holds beside the one it works on.
    filters_per_unit : int
        Filters that a unit holds; 1 or 2.
    segment_chunks : int
        Filter chunks of one filter that a unit holds at once; 0 means the whole filter.
    tile_positions : int
        Partial sums per filter that a unit keeps.
    balance : Balance
        How filters are dealt to units.
    dealing : Dealing
        How output positions are dealt to clusters.
    skip_empty_chunks : bool
        All-zero input chunks are not broadcast (where the skip mode skips activations).
    broadcast_width : int
        Positions of an input chunk that the broadcast bus carries in a cycle;
        a power of two that divides ``chunk``.
    filter_bus_bytes : int
        Bytes of filter stream that a cluster takes in a cycle; a power of two.
    filter_double_buffer : bool
        The next filter segment loads while the present one is used.
    collector_width : int
        Outputs that the collector takes in a cycle; divides ``units * filters_per_unit``.
    filter_buffer_chunks : int
        Filter chunks that one unit can hold, all its filters and buffers together.
    filter_buffer_bytes : int
        Filter values that one unit can hold, in bytes, likewise.
    input_buffer_chunks : int
        Chunks in a cluster's input index buffer.
    input_buffer_bytes : int
        Bytes in a cluster's input value buffer.

    Raises
    ------
    ConfigError
        A value is out of range, or two contradict one another.
    """

    ENUMS: ClassVar[dict[str, type[StrEnum]]] = {"Balance": Balance, "Dealing": Dealing}
    PRESETS: ClassVar[str] = "presets/cluster"
    #: Latencies of this kind of machine; no choice of a design.
    LATENCY: ClassVar[Latency] = Latency()

    name: str
    clusters: int
    units: int
    chunk: int
    lanes: int
    fifo_depth: int
    filters_per_unit: int
    segment_chunks: int
    tile_positions: int
    balance: Balance
    dealing: Dealing
    skip_empty_chunks: bool
    broadcast_width: int
    filter_bus_bytes: int
    filter_double_buffer: bool
    collector_width: int
    filter_buffer_chunks: int
    filter_buffer_bytes: int
    input_buffer_chunks: int
    input_buffer_bytes: int

    def check(self) -> None:
        self.require_range("clusters", 1, 1024)
        self.require_range("units", 1, 256)
        self.require_range("lanes", 1, 2)
        self.require_range("fifo_depth", 1, 16)
        self.require_range("filters_per_unit", 1, 2)
        self.require_range("segment_chunks", 0, 1 << 20)
        self.require_range("tile_positions", 1, 1 << 20)
        for name in (
            "filter_buffer_chunks",
            "filter_buffer_bytes",
            "input_buffer_chunks",
            "input_buffer_bytes",
        ):
            self.require_range(name, 1, 1 << 40)
        if self.chunk not in (16, 32, 64, 128, 256):
            raise ConfigError(
                f"Configuration key chunk must be 16, 32, 64, 128 or 256, not {self.chunk!r}"
            )
        for name in ("broadcast_width", "filter_bus_bytes"):
            self.require_power_of_two(name)
        if self.broadcast_width > self.chunk:
            raise ConfigError(
                f"Configuration key broadcast_width must be at most chunk ({self.chunk}), "
                f"not {self.broadcast_width!r}"
            )
        outputs = self.units * self.filters_per_unit
        if self.collector_width < 1 or outputs % self.collector_width:
            raise ConfigError(
                f"Configuration key collector_width must divide units * filters_per_unit "
                f"({outputs}), not {self.collector_width!r}"
            )
        if self.balance is Balance.CHUNK and self.filters_per_unit != 2:
            raise ConfigError(
                "Configuration key balance must not be 'chunk' where filters_per_unit is 1: "
                "chunk balancing pairs two filters on a unit"
            )

    # -- derived: nobody derives these again ------------------------------------------------

    @property
    def multipliers(self) -> int:
        """Multipliers of the whole machine."""
        return self.clusters * self.units * self.lanes

    @property
    def group_filters(self) -> int:
        """Filters that a cluster works on at once."""
        return self.units * self.filters_per_unit

    @property
    def chunk_words(self) -> int:
        """64-bit words that hold one mask in memory."""
        return -(-self.chunk // 64)

    @property
    def broadcast_words(self) -> int:
        """Broadcast words in a chunk."""
        return self.chunk // self.broadcast_width

    @property
    def mask_beats(self) -> int:
        """Beats of the filter stream that one mask takes."""
        return -(-self.chunk // (8 * self.filter_bus_bytes))

    @property
    def slots(self) -> int:
        """Chunk slots in a unit: ``fifo_depth`` waiting and one in work."""
        return self.fifo_depth + 1


def preset_names() -> list[str]:
    """Return the names of the shipped machines, sorted."""
    return AcceleratorConfig.preset_names()
