"""Shapes of the layers that run on the machine, and how they are cut into chunks."""

from __future__ import annotations

from dataclasses import dataclass

from golden.errors import ConfigError
from golden.machines.cluster.config import AcceleratorConfig

__all__ = ["IM2ROW_MAX_CHANNELS_SHARE", "ChunkLayout", "LayerShape"]

#: A layer whose channels per group fill at most this share of a chunk is laid out im2row.
IM2ROW_MAX_CHANNELS_SHARE = 8


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A convolution; a fully connected layer is one whose kernel covers its input.

    Index letters (``docs/naming.md``): y, x input row and column; p, q output row and
    column; r, s kernel row and column; c channel within its group; k filter; g group.
    ``im2row`` False keeps a shallow layer from being laid out im2row: nobody forms its windows.

    Raises
    ------
    ConfigError
        A size is not positive, groups do not divide the channels, or the output is empty.
    """

    name: str
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride_height: int = 1
    stride_width: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    groups: int = 1
    im2row: bool = True

    def __post_init__(self) -> None:
        for field in ("in_channels", "in_height", "in_width", "out_channels", "kernel_height",
                      "kernel_width", "stride_height", "stride_width", "groups"):  # fmt: skip
            if getattr(self, field) < 1:
                raise ConfigError(
                    f"Layer {self.name}: {field} must be positive, not {getattr(self, field)!r}"
                )
        for field in ("pad_top", "pad_left", "pad_bottom", "pad_right"):
            if getattr(self, field) < 0:
                raise ConfigError(
                    f"Layer {self.name}: {field} must not be negative, not {getattr(self, field)!r}"
                )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ConfigError(
                f"Layer {self.name}: groups must divide in_channels ({self.in_channels}) and "
                f"out_channels ({self.out_channels}), not {self.groups!r}"
            )
        if self.out_height < 1 or self.out_width < 1:
            raise ConfigError(f"Layer {self.name}: the kernel is larger than its padded input")

    @property
    def out_height(self) -> int:
        padded = self.in_height + self.pad_top + self.pad_bottom
        return (padded - self.kernel_height) // self.stride_height + 1

    @property
    def out_width(self) -> int:
        padded = self.in_width + self.pad_left + self.pad_right
        return (padded - self.kernel_width) // self.stride_width + 1

    @property
    def positions(self) -> int:
        """Output pixels, numbered row by row."""
        return self.out_height * self.out_width

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return self.in_channels // self.groups

    @property
    def group_filters(self) -> int:
        """Filters of one group."""
        return self.out_channels // self.groups

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights, axes k, r, s, c."""
        return self.out_channels, self.kernel_height, self.kernel_width, self.group_channels

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates of the dense layer, padding included."""
        return self.positions * self.out_channels * self.taps * self.group_channels

    @property
    def taps(self) -> int:
        """Kernel positions r, s."""
        return self.kernel_height * self.kernel_width

    def layout(self, config: AcceleratorConfig) -> ChunkLayout:
        """Return how this layer is cut into chunks on a machine."""
        shallow = self.group_channels * IM2ROW_MAX_CHANNELS_SHARE <= config.chunk
        im2row = self.im2row and shallow and self.taps > 1
        taps = 1 if im2row else self.taps
        length = self.group_channels * (self.taps if im2row else 1)
        return ChunkLayout(im2row=im2row, taps=taps, row_length=length, chunk=config.chunk)


@dataclass(frozen=True, kw_only=True)
class ChunkLayout:
    """How one filter, and one input window, is cut into chunks.

    A *row* is a run of ``row_length`` consecutive positions cut into
    ``row_chunks`` chunks, the last one ragged. Without im2row a row is the channels
    of one pixel (one tap), and a window is ``taps`` rows; with im2row a row is a whole
    window, ordered r, s, c, with padded pixels as zeros, and a window is one row.
    Chunk ``i`` of a filter is row ``i // row_chunks``, chunk ``i % row_chunks`` of it.
    """

    im2row: bool
    taps: int
    row_length: int
    chunk: int

    @property
    def row_chunks(self) -> int:
        return -(-self.row_length // self.chunk)

    @property
    def filter_chunks(self) -> int:
        """Chunks of one filter, and of one input window."""
        return self.taps * self.row_chunks

    def chunk_length(self, index: int) -> int:
        """Positions of filter chunk ``index`` that exist (the rest is the zero tail)."""
        return min(self.chunk, self.row_length - (index % self.row_chunks) * self.chunk)
