"""What is written to a processing element to make it run its part of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, HardwareError
from golden.layer import LayerShape
from golden.machines.extensor import (
    PE_COUNTERS,
    ExTensorConfig,
    ExTensorCounters,
    Item,
    Mapping,
    map_layer,
)
from golden.program import Codes, LayerRun
from rtl.extensor.layouts import MAX_ITEMS, MAX_TILES, register_map
from rtl.extensor.tables import ITEM_WORDS
from rtl.host import Beat, Program, counters_by_register
from rtl.lib.widths import MAX_OUTPUTS

__all__ = [
    "Kernel",
    "decode_outputs",
    "expected_beats",
    "expected_counters",
    "layer_counters",
    "make_programs",
]

#: In a beat's last byte: the last of its list or tile.
_LAST = 1


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
        layer = run.task.layer
        rows = run.task.weights.reshape(layer.groups, layer.group_filters, -1).view(np.uint8)
        pads = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
        padded = np.pad(run.activations.view(np.uint8), pads)
        kernel = layer.kernel_height, layer.kernel_width
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(0, 1))
        windows = windows[:: layer.stride_height, :: layer.stride_width]
        # Axes p, q, group, c, r, s to group, p, q, r, s, c.
        windows = windows.reshape(*windows.shape[:2], layer.groups, -1, *kernel)
        columns = windows.transpose(2, 0, 1, 4, 5, 3).reshape(layer.groups, layer.positions, -1)
        kernel = cls(rows, columns, map_layer(config, layer, run.task.weights))
        kernel._check(config, layer)
        return kernel

    def items(self, config: ExTensorConfig, pe: int) -> list[Item]:
        """Return the items of a processing element."""
        return [self.mapping.item(at) for at in range(pe, self.mapping.items, config.pes)]

    def _check(self, config: ExTensorConfig, layer: LayerShape) -> None:
        tiles = -(-self.rows.shape[2] // config.tile)
        items = -(-self.mapping.items // config.pes)
        for what, demand, size, cure in (
            ("reduction axis", tiles, MAX_TILES, "tiles: raise tile"),
            ("item table", items, MAX_ITEMS, "items: raise pes, rows_max or columns_max"),
            ("requantisation table", layer.out_channels, MAX_OUTPUTS, "channels: split the layer"),
        ):
            if demand > size:
                unit, _, advice = cure.partition(": ")
                raise CapacityError(
                    f"Layer {layer.name}: the {what} must hold {demand} {unit}, it has {size}: "
                    f"{advice}"
                )


def make_programs(config: ExTensorConfig, run: LayerRun) -> list[Program | None]:
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
    registers = register_map().encode(run.task.layer.name, values)
    entries = _entry_words(run)
    programs: list[Program | None] = []
    for number in range(config.pes):
        items = kernel.items(config, number)
        if not items:
            programs.append(None)
            continue
        stream = np.concatenate([_item_beats(config, kernel, item) for item in items])
        outputs = sum(len(item.rows) * len(item.columns) for item in items)
        programs.append(
            Program(
                registers=registers,
                loads={
                    "requantisation": entries,
                    "items": _item_words(items, run.task.layer.group_filters),
                },
                beats=stream,
                output_beats=outputs,
                cycle_limit=1000 + 8 * len(stream) + outputs * (64 + 4 * kernel.rows.shape[2]),
            )
        )
    return programs


def _item_beats(config: ExTensorConfig, kernel: Kernel, item: Item) -> NDArray[np.uint8]:
    """Return what is loaded for an item, axes beat, byte; the last byte holds flags."""
    sides = [
        _cut(config, dense[item.group, numbers.start : numbers.stop])
        for dense, numbers in ((kernel.rows, item.rows), (kernel.columns, item.columns))
    ]
    parts = [_flagged(config, np.packbits(full, bitorder="little")) for _, full in sides]
    for tile in np.flatnonzero(sides[0][1] & sides[1][1]):
        parts += [_flagged(config, _tile_bytes(config, tiles[:, tile])) for tiles, _ in sides]
    return np.concatenate(parts)


def _cut(
    config: ExTensorConfig, dense: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a block, axes fibre, tile, coordinate, and whether a tile has a non-zero."""
    fibres, length = dense.shape
    tiles = -(-length // config.tile)
    padded = np.zeros((fibres, tiles * config.tile), dtype=np.uint8)
    padded[:, :length] = dense
    cut = padded.reshape(fibres, tiles, config.tile)
    return cut, np.asarray(cut.any(axis=(0, 2)))


def _tile_bytes(config: ExTensorConfig, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a tile as it is loaded, axes fibre, coordinate: each fibre begins with a new beat."""
    port = config.port_bytes
    fibres = []
    for number, values in enumerate(tile):
        places = np.flatnonzero(values)
        if len(places):
            pairs = np.zeros((-(-(1 + len(places)) * 2 // port) * port // 2, 2), dtype=np.uint8)
            pairs[0] = number, len(places) - 1
            pairs[1 : 1 + len(places), 0] = places
            pairs[1 : 1 + len(places), 1] = values[places]
            fibres.append(pairs.ravel())
    return np.concatenate(fibres)


def _flagged(config: ExTensorConfig, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return whole beats, axes beat, byte, the last one flagged."""
    port = config.port_bytes
    beats = np.zeros((-(-len(content) // port), port + 1), dtype=np.uint8)
    padded = np.zeros(len(beats) * port, dtype=np.uint8)
    padded[: len(content)] = content
    beats[:, :port] = padded.reshape(-1, port)
    beats[-1, port] = _LAST
    return beats


def _item_words(items: list[Item], group_filters: int) -> NDArray[np.uint32]:
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
    wide = how.bias[(how.bias + (1 << 31)) >> 32 != 0]
    if wide.size:
        raise CapacityError(
            f"Layer {run.task.layer.name}: a bias of {int(wide[0])} does not fit int32"
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
    layer = run.task.layer
    kernel = Kernel.build(config, run)
    codes = np.zeros((layer.positions, layer.out_channels), dtype=np.uint8)
    for number, given in enumerate(outputs):
        mine = kernel.items(config, number)
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


def expected_beats(config: ExTensorConfig, run: LayerRun, codes: Codes) -> list[list[Beat]]:
    """Return the outputs that each processing element must give for codes, axes p, q, k."""
    layer, kernel = run.task.layer, Kernel.build(config, run)
    flat = codes.view(np.uint8).reshape(layer.positions, layer.out_channels)
    result = []
    for pe in range(config.pes):
        beats: list[Beat] = []
        for item in kernel.items(config, pe):
            first = item.group * layer.group_filters
            rows = slice(first + item.rows.start, first + item.rows.stop)
            block = flat[item.columns.start : item.columns.stop, rows]
            beats += [(code, 0xFF) for code in block.reshape(-1).tolist()]
        result.append(beats)
    return result


def expected_counters(config: ExTensorConfig, counters: ExTensorCounters) -> list[dict[str, int]]:
    """Return counters of each PE by register: each one's own end with its own cycles."""
    units = counters.units.copy()
    cycles = counters.pes[:, PE_COUNTERS.index("cycles")]
    units[:, UNIT_COUNTERS.index("idle_cycles")] -= cycles.max() - cycles
    return counters_by_register(PE_COUNTERS, counters.pes, units[:, None])


def layer_counters(config: ExTensorConfig, read: list[dict[str, int] | None]) -> ExTensorCounters:
    """Return counters from what was read of each PE; None for one that did not run."""
    pes = np.zeros((config.pes, len(PE_COUNTERS)), dtype=np.int64)
    units = np.zeros((config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
    for number, counters in enumerate(read):
        if counters is None:
            continue
        pes[number] = [counters[name] for name in PE_COUNTERS]
        units[number] = [counters[f"unit0.{name}"] for name in UNIT_COUNTERS]
    # Each one's own counters end with its own cycles.
    units[:, UNIT_COUNTERS.index("idle_cycles")] += pes[:, 0].max() - pes[:, 0]
    return ExTensorCounters(pes, units)
