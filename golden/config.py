"""The one description of a machine that golden model, simulator and hardware share."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

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


class Latency:
    """Constant latencies of the hardware's pipelines, in cycles.

    The RTL tests measure them, the simulator and the tick oracle use them,
    ``docs/machine.md`` tabulates them. Their symbols are those of its equations.
    """

    START = 5  # start to the first cycle in which the broadcaster may send
    RELEASE = 9  # a unit's finish to the reuse of its slot
    LOAD = 3  # last filter beat to the first broadcast word of that segment
    LOAD_FREE = 7  # last unit's finish of a segment to the reuse of its filter buffer
    DELIVER = 7  # last unit's finish of a position to the first output drained
    COLLECTOR_FREE = 1  # last output drained to a free result register
    TAIL = 15  # last output drained to done


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = {"str": str, "int": int, "bool": bool}.get(str(field.type))
            if kind is None:
                enum = {"Balance": Balance, "Dealing": Dealing}[str(field.type)]
                try:
                    object.__setattr__(self, field.name, enum(value))
                except ValueError:
                    accepted = ", ".join(member.value for member in enum)
                    raise ConfigError(
                        f"Configuration key {field.name} must be one of {accepted}, not {value!r}"
                    ) from None
            elif type(value) is not kind:
                raise ConfigError(
                    f"Configuration key {field.name} must be of type {field.type}, not {value!r}"
                )
        self._require_range("clusters", 1, 1024)
        self._require_range("units", 1, 256)
        self._require_range("lanes", 1, 2)
        self._require_range("fifo_depth", 1, 16)
        self._require_range("filters_per_unit", 1, 2)
        self._require_range("segment_chunks", 0, 1 << 20)
        self._require_range("tile_positions", 1, 1 << 20)
        for name in (
            "filter_buffer_chunks",
            "filter_buffer_bytes",
            "input_buffer_chunks",
            "input_buffer_bytes",
        ):
            self._require_range(name, 1, 1 << 40)
        if self.chunk not in (16, 32, 64, 128, 256):
            raise ConfigError(
                f"Configuration key chunk must be 16, 32, 64, 128 or 256, not {self.chunk!r}"
            )
        for name in ("broadcast_width", "filter_bus_bytes"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ConfigError(f"Configuration key {name} must be a power of two, not {value!r}")
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

    def _require_range(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ConfigError(
                f"Configuration key {name} must be between {low} and {high}, not {value!r}"
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

    # -- disk -------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> AcceleratorConfig:
        """Return a copy with some fields changed; an unknown name raises ConfigError."""
        _check_keys(set(changes), required=set(), where="replace()")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            key: value.value if isinstance(value, StrEnum) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "configuration") -> AcceleratorConfig:
        """Build from plain values; unknown and missing keys raise ConfigError by name."""
        names = {field.name for field in fields(cls)}
        _check_keys(set(data), required=names, where=where)
        return cls(**data)

    @classmethod
    def from_toml(cls, path: str | Path) -> AcceleratorConfig:
        """Read a TOML file."""
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Configuration {path} can't be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"Configuration {path} must be TOML: {error}") from None
        return cls.from_dict(data, where=str(path))

    @classmethod
    def preset(cls, name: str) -> AcceleratorConfig:
        """Return a shipped machine by its name."""
        if name not in preset_names():
            raise ConfigError(f"Preset must be one of {', '.join(preset_names())}, not {name!r}")
        text = (resources.files("golden") / "presets" / f"{name}.toml").read_text("utf-8")
        return cls.from_dict(tomllib.loads(text), where=f"preset {name}")


def preset_names() -> list[str]:
    """Return the names of the shipped machines, sorted."""
    folder = resources.files("golden") / "presets"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def _check_keys(found: set[str], required: set[str], where: str) -> None:
    known = {field.name for field in fields(AcceleratorConfig)}
    if unknown := sorted(found - known):
        raise ConfigError(
            f"Unknown key {', '.join(unknown)} in {where}; accepted: {', '.join(sorted(known))}"
        )
    if missing := sorted(required - found):
        raise ConfigError(f"Missing key {', '.join(missing)} in {where}")
