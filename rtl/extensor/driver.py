"""What is written to a processing element to make it run its part of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.errors import CapacityError
from golden.extensor import ExTensorConfig, Item, Mapping, fibre_bytes, map_kernel
from golden.layer import LayerShape
from rtl.driver import ClusterProgram, HardwareError, encode_registers
from rtl.extensor.layouts import MAX_ITEMS, MAX_TILES
from rtl.extensor.registers import LAYER_REGISTERS
from rtl.extensor.tables import ITEM_WORDS
from rtl.layouts import MAX_OUTPUTS

__all__ = ["Kernel", "LayerRun", "decode_outputs", "make_programs"]

Codes = NDArray[np.int8] | NDArray[np.uint8]

#: Bits of a beat's last byte.
_LAST, _EMPTY = 1, 2


class LayerRun(NamedTuple):
    """A layer to run.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel
    """

    layer: LayerShape
    weights: NDArray[np.int8]
    activations: Codes
    requantisation: Requantisation


@dataclass(frozen=True, eq=False)
class Kernel:
    """A layer as rows and columns, and where they go.

    Parameters
    ----------
    rows, columns : ndarray of uint8, axes group, row or column, e
        Values as bytes.
    """

    rows: NDArray[np.uint8]
    columns: NDArray[np.uint8]
    mapping: Mapping

    @classmethod
    def build(cls, config: ExTensorConfig, run: LayerRun) -> Kernel:
        """Arrange a layer.

        Raises
        ------
        CapacityError
            It does not fit the hardware.
        """
        layer = run.layer
        rows = run.weights.reshape(layer.groups, layer.group_filters, -1).view(np.uint8)
        pads = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
        padded = np.pad(run.activations.view(np.uint8), pads)
        kernel = layer.kernel_height, layer.kernel_width
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(0, 1))
        windows = windows[:: layer.stride_height, :: layer.stride_width]
        # Axes p, q, group, c, r, s to group, p, q, r, s, c.
        windows = windows.reshape(*windows.shape[:2], layer.groups, -1, *kernel)
        columns = windows.transpose(2, 0, 1, 4, 5, 3).reshape(layer.groups, layer.positions, -1)
        row_bytes = np.array([fibre_bytes(a != 0, config.tile, config.port_bytes) for a in rows])
        mapping = map_kernel(config, layer.groups, layer.positions, row_bytes, layer.name)
        kernel = cls(rows, columns, mapping)
        kernel._check(config, layer)
        return kernel

    def _check(self, config: ExTensorConfig, layer: LayerShape) -> None:
        tiles = -(-self.rows.shape[2] // config.tile)
        items = -(-len(self.mapping.items) // config.pes)
        for what, demand, size, cure in (
            ("reduction axis", tiles, MAX_TILES, "tiles: raise tile"),
            ("item table", items, MAX_ITEMS, "items: raise pes or rows_max"),
            ("requantisation table", layer.out_channels, MAX_OUTPUTS, "channels: split the layer"),
        ):
            if demand > size:
                unit, _, advice = cure.partition(": ")
                raise CapacityError(
                    f"Layer {layer.name}: the {what} must hold {demand} {unit}, it has {size}: "
                    f"{advice}"
                )


def make_programs(config: ExTensorConfig, run: LayerRun) -> list[ClusterProgram | None]:
    """Return what each processing element is given; None for one without an item.

    Raises
    ------
    CapacityError
        The layer does not fit the hardware.
    """
    kernel = Kernel.build(config, run)
    how = run.requantisation
    values = {
        "signed_activations": int(run.activations.dtype == np.int8),
        "zero_point": how.zero_point,
        "clamp_low": how.low,
        "clamp_high": how.high,
    }
    registers = encode_registers(run.layer.name, values, LAYER_REGISTERS)
    entries = _entry_words(run)
    rows = [[_fibre_beats(config, row) for row in group] for group in kernel.rows]
    columns = [[_fibre_beats(config, column) for column in group] for group in kernel.columns]
    programs: list[ClusterProgram | None] = []
    for number in range(config.pes):
        items = kernel.mapping.items[number :: config.pes]
        if not items:
            programs.append(None)
            continue
        beats = []
        for item in items:
            beats += [rows[item.group][m] for m in item.rows]
            beats += [columns[item.group][n] for n in item.columns]
        stream = np.concatenate(beats)
        dots = sum(len(item.rows) * len(item.columns) for item in items)
        programs.append(
            ClusterProgram(
                registers=registers,
                loads={
                    "requantisation": entries,
                    "items": _item_words(items, run.layer.group_filters),
                },
                beats=stream,
                output_beats=dots,
                cycle_limit=1000 + 8 * len(stream) + dots * (64 + 4 * kernel.rows.shape[2]),
            )
        )
    return programs


def _fibre_beats(config: ExTensorConfig, dense: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a fibre as it is loaded, axes beat, byte; the last byte holds flags."""
    port = config.port_bytes
    tiles = []
    for start in range(0, len(dense), config.tile):
        tile = dense[start : start + config.tile]
        places = np.flatnonzero(tile)
        if len(places):
            pairs = np.zeros((-(-(1 + len(places)) * 2 // port) * port // 2, 2), dtype=np.uint8)
            pairs[0] = start // config.tile, len(places) - 1
            pairs[1 : 1 + len(places), 0] = places
            pairs[1 : 1 + len(places), 1] = tile[places]
            tiles.append(pairs.reshape(-1, port))
    beats = np.concatenate(tiles) if tiles else np.zeros((1, port), dtype=np.uint8)
    flags = np.zeros((len(beats), 1), dtype=np.uint8)
    flags[-1] = _LAST if tiles else _LAST | _EMPTY
    return np.hstack([beats, flags])


def _item_words(items: tuple[Item, ...], group_filters: int) -> NDArray[np.uint32]:
    """Return the rows of the item table as words."""
    words = []
    for number, item in enumerate(items):
        fields = {
            "columns_last": len(item.columns) - 1,
            "rows_last": len(item.rows) - 1,
            "channel": item.group * group_filters + item.rows.start,
            "final": int(number == len(items) - 1),
        }
        row = sum(value << ITEM_WORDS[name] for name, value in fields.items())
        words += [row & 0xFFFFFFFF, row >> 32]
    return np.array(words, dtype=np.uint32)


def _entry_words(run: LayerRun) -> NDArray[np.uint32]:
    """Return the rows of the requantisation table as words."""
    how = run.requantisation
    if np.any(np.abs(how.bias) >= 1 << 31):
        raise CapacityError(
            f"Layer {run.layer.name}: a bias of {int(np.abs(how.bias).max())} does not fit int32"
        )
    table = np.stack([how.bias, how.multiplier + (how.shift << 24)], axis=1)
    return (table.reshape(-1) & 0xFFFFFFFF).astype(np.uint32)


def decode_outputs(config: ExTensorConfig, run: LayerRun, outputs: list[list[int]]) -> Codes:
    """Return the codes, axes p, q, k, from the outputs of each processing element.

    Raises
    ------
    HardwareError
        There are more or fewer outputs than the program gives.
    """
    layer = run.layer
    items = Kernel.build(config, run).mapping.items
    codes = np.zeros((layer.positions, layer.out_channels), dtype=np.uint8)
    for number, given in enumerate(outputs):
        mine = items[number :: config.pes]
        wanted = sum(len(item.rows) * len(item.columns) for item in mine)
        if len(given) != wanted:
            raise HardwareError(
                f"Processing element {number} gave {len(given)} outputs, not {wanted}"
            )
        first = 0
        for item in mine:
            shape = len(item.columns), len(item.rows)
            block = np.array(given[first : first + shape[0] * shape[1]], dtype=np.uint8)
            channel = item.group * layer.group_filters + item.rows.start
            codes[item.columns.start : item.columns.stop, channel : channel + shape[1]] = (
                block.reshape(shape)
            )
            first += block.size
    result = codes.reshape(layer.out_height, layer.out_width, layer.out_channels)
    return result.view(np.int8) if run.requantisation.signed else result
