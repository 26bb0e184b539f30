"""A layer's tiles: how large, which input they read, and what fits the buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from golden.chip.config import ChipConfig
from golden.chip.graph import Layer
from golden.errors import CapacityError
from golden.layer import LayerShape

__all__ = ["Tile", "can_pool", "convolution_tiles", "row_chunks_of", "vector_tiles"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A tile of a layer.

    Parameters
    ----------
    pixels : int
        Positions of a convolution; pixels of a vector tile's operand.
    first : int
        First position of a convolution.
    rows : tuple of int
        Input rows that a convolution's tile reads, ascending.
    runs : tuple of (int, int)
        Runs of pixels, first and count, that make up a vector tile's operand.
    origin : tuple of int
        Row and column of the assembly half's first pixel.
    half_width : int
        Pixels of a row in the half.
    first_output, outputs : int
        Pixels that are written.
    """

    pixels: int
    first: int = 0
    rows: tuple[int, ...] = ()
    runs: tuple[tuple[int, int], ...] = ()
    origin: tuple[int, int]
    half_width: int
    first_output: int
    outputs: int


def row_chunks_of(config: ChipConfig, shape: LayerShape) -> int:
    """Return the index places of an image row in the ring, all groups together."""
    return shape.groups * shape.in_width * shape.layout(config).row_chunks


def can_pool(config: ChipConfig, shape: LayerShape, rows: int) -> bool:
    """Say whether a tile of a convolution can be so many output rows."""
    return shape.out_height >= rows and _refusal(config, shape, rows * shape.out_width) is None


def convolution_tiles(config: ChipConfig, layer: Layer, streamed_bytes: int) -> list[Tile]:
    """Cut a convolution into tiles.

    Parameters
    ----------
    streamed_bytes : int
        Filters that every tile but the first loads anew. Where they are more than its maps, a
        layer is one tile, if that fits.

    Raises
    ------
    CapacityError
        Not even one position fits.
    """
    shape, vector = layer.shape, layer.vector
    assert shape is not None
    width = shape.out_width
    maps = shape.in_height * shape.in_width * shape.in_channels
    maps += shape.positions * shape.out_channels
    size = _choose(
        1 if streamed_bytes > maps else config.layer_tiles,
        shape.out_height, width, vector.window[0],
        lambda pixels: _refusal(config, shape, pixels),
    )  # fmt: skip
    tiles = []
    for first in range(0, shape.positions, size):
        pixels = min(size, shape.positions - first)
        low, high = first, first + pixels
        if vector.window != (1, 1):
            rows, columns = layer.output.shape[:2]
            low = min(first // width // vector.window[0], rows) * columns
            high = min((first + pixels) // width // vector.window[0], rows) * columns
        tiles.append(
            Tile(
                pixels=pixels,
                first=first,
                rows=_rows_read(shape, first, pixels),
                origin=divmod(first, width),
                half_width=width,
                first_output=low,
                outputs=high - low,
            )
        )
    return tiles


def vector_tiles(config: ChipConfig, layer: Layer) -> list[Tile]:
    """Cut a layer of the vector unit into tiles.

    Raises
    ------
    CapacityError
        Not even one pixel's window fits half an assembly buffer.
    """
    height, width, channels = layer.output.shape

    def refusal(pixels: int) -> str | None:
        for tile in _vector_tiles(layer, pixels):
            if reason := _half_refusal(config, layer.name, tile.pixels, channels):
                return reason
        return None

    return list(_vector_tiles(layer, _choose(config.layer_tiles, height, width, 1, refusal)))


def _choose(tiles: int, height: int, width: int, rows_step: int, refusal) -> int:
    """Return the pixels of a tile: whole rows where they fit, else a part of one."""
    rows = -(-height // tiles)
    rows = -(-rows // rows_step) * rows_step
    while rows > rows_step and refusal(rows * width):
        rows -= rows_step
    if not refusal(rows * width):
        return rows * width
    pixels = width
    for parts in range(2, width + 1):
        pixels = -(-width // parts)
        if not refusal(pixels):
            return pixels
    raise CapacityError(refusal(pixels))


def _refusal(config: ChipConfig, shape: LayerShape, pixels: int) -> str | None:
    """Say why tiles of so many positions do not fit; None where they do."""
    if reason := _half_refusal(config, shape.name, pixels, shape.out_channels):
        return reason
    most = 0
    for first in range(0, shape.positions, pixels):
        rows = _rows_read(shape, first, min(pixels, shape.positions - first))
        if rows:
            most = max(most, rows[-1] - rows[0] + 1)
    for name, demand, unit in (
        ("input_buffer_chunks", most * row_chunks_of(config, shape), "chunks"),
        ("input_buffer_bytes", most * shape.in_width * shape.in_channels, "bytes"),
    ):
        if demand > getattr(config, name):
            return (
                f"Layer {shape.name} needs {demand} {unit} in {name} for {most} rows, "
                f"which holds {getattr(config, name)}: raise {name} to {_power_above(demand)}"
            )
    return None


def _half_refusal(config: ChipConfig, name: str, pixels: int, channels: int) -> str | None:
    demand = -(-pixels // config.clusters) * channels
    if demand <= config.half_bytes:
        return None
    return (
        f"Layer {name} needs {demand} bytes in each half of assembly_bytes, which holds "
        f"{config.half_bytes}: raise assembly_bytes to {2 * demand}"
    )


def _rows_read(shape: LayerShape, first: int, pixels: int) -> tuple[int, ...]:
    """Return the input rows under some positions."""
    top, bottom = first // shape.out_width, (first + pixels - 1) // shape.out_width
    rows = {
        p * shape.stride_height - shape.pad_top + r
        for p in range(top, bottom + 1)
        for r in range(shape.kernel_height)
    }
    return tuple(sorted(y for y in rows if 0 <= y < shape.in_height))


def _vector_tiles(layer: Layer, size: int) -> Iterator[Tile]:
    vector = layer.vector
    height, width = layer.source.shape[:2]
    out_height, out_width = layer.output.shape[:2]
    for start in range(0, out_height * out_width, size):
        # A part of a row ends with it.
        first, end = start, min(start + size, out_height * out_width)
        while first < end:
            stop = end
            if size < out_width:
                stop = min(end, (first // out_width + 1) * out_width)
            yield _vector_tile(vector, first, stop, (height, width), out_width)
            first = stop


def _vector_tile(vector, first: int, stop: int, size: tuple[int, int], out_width: int) -> Tile:
    height, width = size
    p, q = divmod(first, out_width)
    last_p, last_q = divmod(stop - 1, out_width)
    if last_p > p:
        q, last_q = 0, out_width - 1
    top = max(0, p * vector.stride[0] - vector.pads[0])
    bottom = min(height, last_p * vector.stride[0] - vector.pads[0] + vector.window[0])
    left = max(0, q * vector.stride[1] - vector.pads[1])
    right = min(width, last_q * vector.stride[1] - vector.pads[1] + vector.window[1])
    rows, columns = max(0, bottom - top), max(0, right - left)
    if columns == width:
        runs = ((top * width, rows * width),)
    else:
        runs = tuple((y * width + left, columns) for y in range(top, top + rows))
    if not rows or not columns:
        runs = ()
    return Tile(
        pixels=rows * columns,
        runs=runs,
        origin=(top, left) if runs else (0, 0),
        half_width=columns if runs else 0,
        first_output=first,
        outputs=stop - first,
    )


def _power_above(value: int) -> int:
    return 1 << (value - 1).bit_length()
