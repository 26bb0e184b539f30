"""The compiler: a network becomes layers, tiles, a transfer list and one image of memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golden.chip.config import ChipConfig
from golden.chip.derived import derived_fields
from golden.chip.formats import (
    DESCRIPTOR,
    DESCRIPTOR_BYTES,
    ENTRY_BYTES,
    HEADER,
    MAGIC,
    TILE,
    TILE_BYTES,
    VERSION,
    WINDOWS,
    encode,
    encode_entry,
)
from golden.chip.graph import Part, chip_layers, find_parts, with_fixed_averages
from golden.chip.order import Addresses, order_entries
from golden.chip.program import MAP_ALIGNMENT, ChipProgram, CompiledLayer, Map
from golden.chip.streams import average_table, prepare_filters
from golden.chip.tiles import can_pool, convolution_tiles, vector_tiles
from golden.errors import CapacityError, UserError
from golden.machines.cluster.config import SkipMode
from golden.network import Network, TensorInfo

__all__ = ["compile_network"]

_HEADER_BYTES = 4 * len(HEADER)
#: Addresses have 32 bits.
_MEMORY_BYTES_MAX = 1 << 32


def compile_network(
    network: Network, config: ChipConfig, skip: SkipMode = SkipMode.BOTH
) -> ChipProgram:
    """Compile a network for a chip.

    Parameters
    ----------
    skip : SkipMode
        Which zeros the clusters skip.

    Raises
    ------
    CapacityError
        A layer does not fit: the message names what, the demand, the size and a remedy.
    UserError
        The chip can't run a node.
    """
    network = with_fixed_averages(network)
    layers: list[CompiledLayer] = []
    first_tile = 0
    for layer in chip_layers(network, config, lambda shape, rows: can_pool(config, shape, rows)):
        if layer.windows:
            assert layer.shape is not None
            shape = (layer.shape.in_height, layer.shape.in_width, layer.shape.in_channels)
            windows = replace(layer.source, name=f"windows of {layer.name}", shape=shape)
            layer = replace(layer, source=windows)
        filters = None
        if layer.node is None:
            tiles = vector_tiles(config, layer)
        else:
            density = network.channel_density.get(layer.node.input)
            filters = prepare_filters(config, layer, density)
            streamed_bytes = 0 if filters.resident else sum(map(len, filters.loads))
            tiles = convolution_tiles(config, layer, streamed_bytes)
        layers.append(
            CompiledLayer(
                layer=layer,
                tiles=tuple(tiles),
                first_tile=first_tile,
                filters=filters,
                descriptor={"layer": len(layers)},
            )
        )
        first_tile += len(tiles)
    if not layers:
        raise UserError(f"Network {network.name} must have a node that the chip runs")
    return _lay_out(network, config, layers, skip)


def _lay_out(
    network: Network, config: ChipConfig, layers: list[CompiledLayer], skip: SkipMode
) -> ChipProgram:
    """Give everything its address, and write the image."""
    memory = _Allocator()
    memory.take(_HEADER_BYTES, config.burst_bytes)
    addresses, blobs = [], []
    for compiled in layers:
        place, mine = _place_program(memory, config, compiled)
        addresses.append(place)
        blobs += mine
    maps = _place_maps(memory, network, layers)
    layers = [
        replace(compiled, descriptor=_descriptor(config, compiled, maps, skip))
        for compiled in layers
    ]
    entries, ring_rows = order_entries(config, layers, maps, addresses)
    list_address = memory.take(len(entries) * ENTRY_BYTES, config.burst_bytes)
    windows = _window_records(layers, maps)
    windows_address = memory.take(len(windows), 4)
    if memory.end > _MEMORY_BYTES_MAX:
        raise CapacityError(
            f"Network {network.name} needs {memory.end} bytes of memory, addresses reach "
            f"{_MEMORY_BYTES_MAX}: make it smaller"
        )
    image = np.zeros(memory.end, dtype=np.uint8)

    def store(address: int, data: bytes) -> None:
        image[address : address + len(data)] = np.frombuffer(data, dtype=np.uint8)

    source, result = maps[network.input.name], maps[network.output]
    header = {
        "magic": MAGIC, "version": VERSION, "list_address": list_address,
        "entries": len(entries), "input_address": source.address,
        "input_bytes": int(np.prod(source.info.shape)), "output_address": result.address,
        "output_bytes": int(np.prod(result.info.shape)), "memory_bytes": memory.end,
        "configuration": config.digest, "input_height": source.info.shape[0],
        "input_width": source.info.shape[1], "input_channels": source.info.shape[2],
        "output_signed": int(result.info.dtype == "int8"), "windows_address": windows_address,
        "windows": len(windows) // (4 * len(WINDOWS)),
    }  # fmt: skip
    store(0, encode(HEADER, header, f"Network {network.name}"))
    store(windows_address, windows)
    for address, data in blobs:
        store(address, data)
    for compiled, place in zip(layers, addresses, strict=True):
        what = f"Layer {compiled.layer.name}"
        store(place.descriptor, encode(DESCRIPTOR, compiled.descriptor, what))
        for at, tile in enumerate(compiled.tiles):
            record = {
                "pixels": tile.pixels, "first_y": tile.origin[0], "first_x": tile.origin[1],
                "ring_row": ring_rows[compiled.first_tile + at], "half_width": tile.half_width,
                "first_output": tile.first_output, "outputs": tile.outputs, "first": at == 0,
            }  # fmt: skip
            store(place.records + at * TILE_BYTES, encode(TILE, record, what))
    store(
        list_address,
        b"".join(
            encode_entry(
                e.kind, e.address, e.length, last=e.last, tiles=e.tiles, writes=e.writes, gap=e.gap
            )
            for e in entries
        ),
    )
    return ChipProgram(
        config=config,
        network=network,
        layers=tuple(layers),
        entries=tuple(entries),
        maps=maps,
        image=image,
        list_address=list_address,
    )


class _Allocator:
    """Places things behind one another."""

    def __init__(self) -> None:
        self.end = 0

    def take(self, size: int, alignment: int) -> int:
        """Return the address of so many bytes."""
        address = -(-self.end // alignment) * alignment
        self.end = address + size
        return address


def _place_program(
    memory: _Allocator, config: ChipConfig, compiled: CompiledLayer
) -> tuple[Addresses, list[tuple[int, bytes]]]:
    """Place a layer's descriptor, records, tables and filters."""
    tables = average_table(compiled.layer)
    loads: tuple[bytes, ...] = ()
    if compiled.filters is not None:
        tables, loads = compiled.filters.tables, compiled.filters.loads
    descriptor = memory.take(DESCRIPTOR_BYTES, 256)
    records = memory.take(TILE_BYTES * len(compiled.tiles), TILE_BYTES)
    blobs = [(memory.take(len(data), config.burst_bytes), data) for data in (tables, *loads)]
    place = Addresses(
        descriptor=descriptor,
        records=records,
        tables=(blobs[0][0], len(tables)),
        loads=tuple((address, len(data)) for address, data in blobs[1:]),
    )
    return place, blobs


def _place_maps(
    memory: _Allocator, network: Network, layers: list[CompiledLayer]
) -> dict[str, Map]:
    """Place every tensor that is stored."""
    maps: dict[str, Map] = {}

    def place(info: TensorInfo) -> None:
        if info.name not in maps:
            address = memory.take(int(np.prod(info.shape)), MAP_ALIGNMENT)
            maps[info.name] = Map(
                info=info, whole=info.name, address=address, pixel_stride=info.shape[2]
            )

    parts: dict[str, Part] = find_parts(network)
    place(network.input)
    for compiled in layers:
        layer = compiled.layer
        if layer.windows:
            place(layer.source)
        part = parts.get(layer.output.name)
        if part is None:
            place(layer.output)
            continue
        place(network.tensor(part.whole))
        whole = maps[part.whole]
        maps[layer.output.name] = Map(
            info=layer.output,
            whole=part.whole,
            address=whole.address + part.channel,
            pixel_stride=whole.pixel_stride,
        )
    return maps


def _window_records(layers: list[CompiledLayer], maps: dict[str, Map]) -> bytes:
    """Return how the maps of windows are formed."""
    records = b""
    for layer in (compiled.layer for compiled in layers):
        if layer.windows and layer.node is not None:
            shape = layer.node.layer
            record = {
                "address": maps[layer.source.name].address,
                "kernel_height": shape.kernel_height, "kernel_width": shape.kernel_width,
                "stride_height": shape.stride_height, "stride_width": shape.stride_width,
                "pad_top": shape.pad_top, "pad_left": shape.pad_left,
                "out_height": shape.out_height, "out_width": shape.out_width,
            }  # fmt: skip
            records += encode(WINDOWS, record, f"Layer {layer.name}")
    return records


def _descriptor(
    config: ChipConfig, compiled: CompiledLayer, maps: dict[str, Map], skip: SkipMode
) -> dict[str, int]:
    """Return the fields of a layer's descriptor."""
    layer, vector = compiled.layer, compiled.layer.vector
    height, width, channels = layer.source.shape
    convolution: dict[str, int] = dict.fromkeys(
        ("passes", "kernel_height", "kernel_width", "stride_height", "stride_width", "pad_top",
         "pad_left", "signed_activations", "signed_outputs", "zero_point", "clamp_low",
         "clamp_high", "resident"), 0,
    )  # fmt: skip
    groups = 1
    if layer.shape is not None and layer.node is not None and compiled.filters is not None:
        shape, how = layer.shape, layer.node.requantisation
        groups = shape.groups
        convolution = {
            "passes": len(compiled.filters.schedule.assignment),
            "resident": int(compiled.filters.resident),
            "kernel_height": shape.kernel_height, "kernel_width": shape.kernel_width,
            "stride_height": shape.stride_height, "stride_width": shape.stride_width,
            "pad_top": shape.pad_top, "pad_left": shape.pad_left,
            "signed_activations": int(layer.source.dtype == "int8"),
            "signed_outputs": int(how.signed), "zero_point": how.zero_point,
            "clamp_low": how.low, "clamp_high": how.high,
        }  # fmt: skip
    out_height, out_width, out_channels = layer.operand.shape
    fields = {
        **compiled.descriptor, **convolution,
        "op": int(layer.node is None), "groups": groups,
        "map_offset": maps[layer.output.name].address % config.burst_bytes,
        "in_height": height, "in_width": width, "in_channels": channels,
        "out_height": out_height, "out_width": out_width, "out_channels": out_channels,
        "skip_activations": int(skip.skips_activations), "skip_weights": int(skip.skips_weights),
        "vector_op": int(vector.op), "residual": int(vector.residual is not None),
        "window_height": vector.window[0], "window_width": vector.window[1],
        "window_stride_height": vector.stride[0], "window_stride_width": vector.stride[1],
        "window_top": vector.pads[0], "window_left": vector.pads[1],
        "map_height": layer.output.shape[0], "map_width": layer.output.shape[1],
        "multiplier": vector.multiplier, "residual_multiplier": vector.residual_multiplier,
        "operand_zero": vector.operand_zero, "residual_zero": vector.residual_zero,
        "shift": vector.shift, "vector_zero": vector.zero, "vector_low": vector.low,
        "vector_high": vector.high, "pad_value": vector.pad_value,
        "include_pad": int(vector.include_pad),
        "signed_operand": int(layer.operand.dtype == "int8"),
        "signed_residual": int(vector.residual_signed),
        "pixel_stride": maps[layer.output.name].pixel_stride,
    }  # fmt: skip
    return fields | derived_fields(config, fields, compiled.filters)
