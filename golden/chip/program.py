"""A network compiled for a chip: entries, tiles, maps, and the image of the memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden.chip.config import ChipConfig
from golden.chip.formats import Kind
from golden.chip.graph import Layer
from golden.chip.streams import Filters
from golden.chip.tiles import Tile
from golden.errors import FormatError
from golden.layer import LayerShape
from golden.network import Network, TensorInfo
from golden.program import Codes

__all__ = ["ChipProgram", "CompiledLayer", "Entry", "Map", "form_windows"]

#: Maps begin at multiples of it.
MAP_ALIGNMENT = 4096


@dataclass(frozen=True, kw_only=True)
class Map:
    """Where a tensor lies in memory.

    Parameters
    ----------
    info : TensorInfo
    whole : str
        The map that it is a part of; its own name where it is whole.
    address : int
        Its first byte.
    pixel_stride : int
        Bytes from one pixel to the next.
    """

    info: TensorInfo
    whole: str
    address: int
    pixel_stride: int

    @property
    def pixels(self) -> int:
        return self.info.shape[0] * self.info.shape[1]

    def read(self, memory: NDArray[np.uint8]) -> Codes:
        """Return the codes that lie there, axes y, x, channel."""
        height, width, channels = self.info.shape
        offsets = np.arange(self.pixels)[:, None] * self.pixel_stride + np.arange(channels)
        codes = memory[self.address + offsets].reshape(height, width, channels)
        return codes.view(self.info.dtype)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the transfer list, and what it is for.

    Parameters
    ----------
    tiles, writes : int
        Tiles and write entries that must be done before, counted from the network's start.
    layer, tile : int
        Whose it is; tiles are numbered over the network.
    """

    kind: Kind
    address: int
    length: int
    last: bool = False
    tiles: int = 0
    writes: int = 0
    gap: int = 0
    layer: int
    tile: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledLayer:
    """A layer with its tiles.

    Parameters
    ----------
    first_tile : int
        Number of its first tile in the network.
    filters : Filters, optional
        Of a convolution.
    descriptor : dict of str to int
    """

    layer: Layer
    tiles: tuple[Tile, ...]
    first_tile: int
    filters: Filters | None
    descriptor: dict[str, int]

    def loads(self, tile: int) -> bool:
        """Say whether a tile, by its number in the network, loads filters."""
        return self.filters is not None and (tile == self.first_tile or not self.filters.resident)


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipProgram:
    """What the memory of a chip holds before it is started.

    Parameters
    ----------
    image : ndarray of uint8, axis byte
        All but the network's input; zeros where activations will be.
    maps : dict of str to Map
        Every stored tensor by name; windows of the input as ``windows of`` their layer.
    list_address : int
    """

    config: ChipConfig
    network: Network
    layers: tuple[CompiledLayer, ...]
    entries: tuple[Entry, ...]
    maps: dict[str, Map]
    image: NDArray[np.uint8] = field(repr=False)
    list_address: int

    @property
    def tiles(self) -> int:
        """Tiles of the network."""
        return sum(len(layer.tiles) for layer in self.layers)

    def memory(self, codes: Codes) -> NDArray[np.uint8]:
        """Return the memory with the network's input in it, ready for the start.

        Parameters
        ----------
        codes : ndarray of int8 or uint8, axes y, x, channel

        Raises
        ------
        FormatError
            The codes do not have the input's shape and type.
        """
        info = self.network.input
        if codes.shape != info.shape or codes.dtype != info.dtype:
            raise FormatError(
                f"Image must be {info.dtype} of shape {info.shape}, "
                f"not {codes.dtype} of shape {codes.shape}"
            )
        memory = self.image.copy()
        _store(memory, self.maps[info.name], codes)
        for compiled in self.layers:
            layer = compiled.layer
            if layer.windows and layer.node is not None:
                _store(memory, self.maps[layer.source.name], form_windows(layer.node.layer, codes))
        return memory

    def read(self, memory: NDArray[np.uint8], tensor: str) -> Codes:
        """Return a stored tensor's codes, axes y, x, channel, by its name."""
        return self.maps[tensor].read(memory)


def form_windows(layer: LayerShape, codes: Codes) -> Codes:
    """Return the map of windows of a convolution without groups, axes p, q, (r, s, c)."""
    padded = np.pad(
        codes,
        ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0)),
    )
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (layer.kernel_height, layer.kernel_width), axis=(0, 1)
    )[:: layer.stride_height, :: layer.stride_width]
    # axes p, q, c, r, s -> p, q, (r s c)
    rows = windows.transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(rows).reshape(layer.out_height, layer.out_width, -1)


def _store(memory: NDArray[np.uint8], where: Map, codes: Codes) -> None:
    data = np.ascontiguousarray(codes).view(np.uint8).reshape(-1)
    memory[where.address : where.address + data.size] = data
