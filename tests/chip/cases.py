"""Random chips and random networks of two to five layers, for all that runs them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from golden.arithmetic import Requantisation, quantise_scale
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.chip.formats import Kind, encode_entry
from golden.chip.program import ChipProgram, Entry
from golden.errors import CapacityError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Convolution,
    Network,
    Node,
    Padding,
    Pooling,
    PoolingKind,
    Rescaling,
    TensorInfo,
)
from golden.program import Codes

__all__ = ["ChipCase", "draw_case", "inputs_first", "slow_way_out", "small_chip"]


#: Tiles of a drawn network at most, where its buffers are as small as they can be.
_TILES_MAX = 24


@dataclass(frozen=True, eq=False)
class ChipCase:
    """A network with an image, on a chip with a memory."""

    config: ChipConfig
    network: Network
    image: Codes
    memory: str


def small_chip(**changes: object) -> ChipConfig:
    """Return a chip of four units, with some fields changed."""
    fields = {
        "name": "drawn", "clusters": 1, "units": 4, "chunk": 16, "lanes": 1, "fifo_depth": 2,
        "filters_per_unit": 1, "segment_chunks": 0, "tile_positions": 1, "balance": "filter",
        "dealing": "interleaved", "skip_empty_chunks": True, "broadcast_width": 4,
        "filter_bus_bytes": 4, "filter_double_buffer": True, "collector_width": 2,
        "filter_buffer_chunks": 512, "filter_buffer_bytes": 16384, "input_buffer_chunks": 256,
        "input_buffer_bytes": 2048, "bus_bytes": 8, "burst_bytes": 64, "outstanding": 4,
        "filter_bursts": 2, "row_bursts": 2, "residual_bursts": 6, "write_bursts": 2,
        "assembly_bytes": 1024, "vector_lanes": 4, "layer_tiles": 2,
    }  # fmt: skip
    return ChipConfig.from_dict(fields | changes)


def draw_case(seed: int) -> ChipCase:
    """Draw a case; the same for the same seed.

    In half of them buffers are as small as the network can do with.
    """
    rng = np.random.default_rng(seed)
    config = _draw_chip(rng)
    network = _Builder(rng).network(int(rng.integers(2, 6)))
    for name in ("input_buffer_chunks", "input_buffer_bytes", "assembly_bytes"):
        if rng.random() < 0.5:
            config = _tighten(network, config, name)
    info = network.input
    limits = np.iinfo(info.dtype)
    image = rng.integers(limits.min, limits.max + 1, info.shape)
    image *= rng.random(info.shape) < rng.choice([0.2, 0.6, 1.0])
    return ChipCase(config, network, image.astype(info.dtype), _draw_memory(rng))


def _tighten(network: Network, config: ChipConfig, name: str) -> ChipConfig:
    """Halve a buffer as long as the network fits, in not too many tiles."""
    while getattr(config, name) >= 4:
        smaller = config.replace(**{name: getattr(config, name) // 2})
        try:
            program = compile_network(network, smaller)
        except CapacityError:
            break
        if program.tiles > _TILES_MAX:
            break
        config = smaller
    return config


def _draw_chip(rng: np.random.Generator) -> ChipConfig:
    def pick(*values):
        return values[int(rng.integers(len(values)))]

    units, slots = pick(1, 2, 3, 4), pick(1, 2)
    width = 2 if units * slots % 2 == 0 and rng.random() < 0.6 else 1
    return small_chip(
        clusters=pick(1, 1, 2, 3), units=units, filters_per_unit=slots, chunk=pick(16, 16, 32),
        fifo_depth=pick(1, 2, 4), balance=pick("none", "filter", "expected"),
        skip_empty_chunks=pick(True, False), broadcast_width=pick(2, 4, 16),
        filter_bus_bytes=pick(1, 2, 8, 16), filter_double_buffer=pick(True, False),
        collector_width=width, input_buffer_chunks=pick(128, 256, 512),
        input_buffer_bytes=pick(1024, 2048, 8192), bus_bytes=pick(4, 8, 16),
        burst_bytes=pick(64, 128, 512), outstanding=pick(1, 2, 4, 16), filter_bursts=pick(1, 2, 4),
        row_bursts=pick(1, 2, 4), residual_bursts=pick(6, 8), write_bursts=pick(1, 2, 4),
        assembly_bytes=pick(256, 1024, 4096), vector_lanes=pick(1, 3, 8),
        layer_tiles=pick(1, 2, 3, 5),
    )  # fmt: skip


def _draw_memory(rng: np.random.Generator) -> str:
    kind = int(rng.integers(4))
    if kind == 0:
        return "ideal"
    if kind == 1:
        return f"rate:{rng.integers(1, 20)},{rng.integers(1, 60)}"
    if kind == 2:
        return "sdram"
    numbers = (
        rng.integers(1, 5), rng.integers(1, 5), rng.choice([48, 128, 1024]), rng.integers(0, 6),
        rng.integers(0, 6), rng.integers(1, 8), rng.integers(0, 5), rng.integers(60, 400),
        rng.integers(0, 30),
    )  # fmt: skip
    return "sdram:" + ",".join(map(str, numbers))


class _Builder:
    """Draws nodes one after another, each reading tensors made before."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        height, width = (int(n) for n in rng.integers(3, 9, 2))
        channels = int(rng.choice([1, 2, 3, 6, 17]))
        self.input = self._info("input", (height, width, channels), bool(rng.random() < 0.3))
        self.nodes: list[Node] = []
        self.tensors = [self.input]

    def network(self, layers: int) -> Network:
        """Return a network of so many nodes, or a few more."""
        while len(self.nodes) < layers:
            draw = self.rng.choice(
                [self._convolve, self._pool, self._add, self._rescale, self._concatenate,
                 self._pad, self._residual, self._branches],
                p=[0.37, 0.14, 0.09, 0.08, 0.08, 0.08, 0.09, 0.07],
            )  # fmt: skip
            draw()
        return Network(
            name="drawn", source="random", input=self.input, nodes=tuple(self.nodes),
            output=self.nodes[-1].output.name, channel_density={}, accuracy={},
        ).validate()  # fmt: skip

    def _info(self, name: str, shape, signed: bool | None = None, zero: int = 0) -> TensorInfo:
        if signed is None:
            signed = bool(self.rng.random() < 0.4)
        return TensorInfo(
            name=name, shape=tuple(int(n) for n in shape), dtype="int8" if signed else "uint8",
            scale=1.0, zero_point=zero,
        )  # fmt: skip

    def _name(self) -> str:
        return f"t{len(self.nodes)}"

    def _source(self) -> TensorInfo:
        # Mostly the latest, so that networks are deep.
        if self.rng.random() < 0.7:
            return self.tensors[-1]
        return self.tensors[int(self.rng.integers(len(self.tensors)))]

    def _put(self, node: Node) -> None:
        self.nodes.append(node)
        self.tensors.append(node.output)

    def _convolve(self, source: TensorInfo | None = None, shape=None) -> TensorInfo:
        rng, source = self.rng, source or self._source()
        height, width, channels = source.shape
        groups = int(rng.choice([g for g in (1, 1, 1, 2, channels) if channels % g == 0]))
        filters = groups * int(rng.integers(1, 1 + max(1, 9 // groups)))
        kernel = [
            int(min(n, k)) for n, k in zip((height, width), rng.integers(1, 4, 2), strict=True)
        ]
        if rng.random() < 0.15:
            kernel = [height, width]
        stride = [int(n) for n in rng.integers(1, 4, 2)]
        pads = [int(n) for n in rng.integers(0, 3, 4)] if rng.random() < 0.6 else [0] * 4
        if shape is not None:  # a shape is asked for
            groups, filters, kernel, stride, pads = 1, shape[2], [3, 3], [1, 1], [1] * 4
        layer = LayerShape(
            name=f"layer{len(self.nodes)}", in_channels=channels, in_height=height, in_width=width,
            out_channels=filters, kernel_height=kernel[0], kernel_width=kernel[1],
            stride_height=stride[0], stride_width=stride[1], pad_top=pads[0], pad_left=pads[1],
            pad_bottom=pads[2], pad_right=pads[3], groups=groups,
        )  # fmt: skip
        weights = rng.integers(-128, 128, layer.weights_shape)
        weights *= rng.random(weights.shape) < rng.choice(
            [0.0, 0.3, 0.6, 1.0], p=[0.04, 0.4, 0.4, 0.16]
        )
        spread = np.sqrt(layer.taps * layer.group_channels) * 6000
        multiplier, shift = quantise_scale(60 / spread * rng.uniform(0.5, 2, filters))
        zero = int(rng.integers(-3, 20)) if rng.random() < 0.3 else 0
        info = self._info(self._name(), (layer.out_height, layer.out_width, filters))
        zero = zero if info.dtype == "int8" else abs(zero)
        low, high = np.iinfo(info.dtype).min, np.iinfo(info.dtype).max
        how = Requantisation(
            bias=rng.integers(-int(spread), int(spread) + 1, filters), multiplier=multiplier,
            shift=shift, low=max(low, zero) if rng.random() < 0.5 else int(low),
            high=int(high) if rng.random() < 0.8 else 90, signed=info.dtype == "int8",
            zero_point=zero,
        )  # fmt: skip
        self._put(
            Convolution(
                input=source.name, output=info, layer=layer, weights=weights.astype(np.int8),
                weight_scales=np.ones(filters), requantisation=how,
            )
        )  # fmt: skip
        return info

    def _pool(self) -> None:
        rng, source = self.rng, self._source()
        height, width, channels = source.shape
        kind = PoolingKind.MAX if rng.random() < 0.6 else PoolingKind.AVERAGE
        kernel = tuple(
            int(min(n, k)) for n, k in zip((height, width), rng.integers(1, 4, 2), strict=True)
        )
        stride = kernel if rng.random() < 0.6 else tuple(int(n) for n in rng.integers(1, 3, 2))
        pads = (0, 0, 0, 0)
        if rng.random() < 0.3:
            pads = tuple(int(rng.integers(0, kernel[at % 2])) for at in range(4))
        size = (
            (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1,
            (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1,
        )
        ratio = rng.uniform(0.5, 1.5) if kind is PoolingKind.AVERAGE else 1.0
        info = self._info(self._name(), (*size, channels), source.dtype == "int8")
        if kind is PoolingKind.AVERAGE:
            info = self._info(self._name(), (*size, channels), None, int(rng.integers(0, 9)))
            info = replace(info, scale=source.scale / ratio)
        self._put(
            Pooling(
                input=source.name, output=info, kind=kind, kernel=kernel, stride=stride,
                pads=pads, count_include_pad=bool(rng.random() < 0.5),
            )
        )  # fmt: skip

    def _range(self, info: TensorInfo) -> tuple[int, int]:
        limits = np.iinfo(info.dtype)
        low = int(limits.min) if self.rng.random() < 0.6 else info.zero_point
        return low, int(limits.max) if self.rng.random() < 0.7 else 100

    def _sum(self, first: TensorInfo, second: TensorInfo) -> None:
        info = self._info(self._name(), first.shape, None, int(self.rng.integers(0, 9)))
        low, high = self._range(info)
        multipliers = tuple(int(n) for n in self.rng.integers(1, 1 << 31, 2))
        names = [first.name, second.name]
        if self.rng.random() < 0.5:
            names.reverse()
        self._put(
            Addition(
                inputs=tuple(names), output=info, multipliers=multipliers,
                shift=int(self.rng.integers(29, 33)), low=low, high=high,
            )
        )  # fmt: skip

    def _add(self) -> None:
        first = self._source()
        same = [info for info in self.tensors if info.shape == first.shape]
        self._sum(first, same[int(self.rng.integers(len(same)))])

    def _residual(self) -> None:
        source = self._source()
        self._sum(self._convolve(source, source.shape), source)

    def _branches(self) -> None:
        source = self._source()
        self._sum(self._convolve(source, source.shape), self._convolve(source, source.shape))

    def _rescale(self) -> None:
        source = self._source()
        info = self._info(self._name(), source.shape, None, int(self.rng.integers(0, 9)))
        low, high = self._range(info)
        self._put(
            Rescaling(
                input=source.name, output=info, multiplier=int(self.rng.integers(1, 1 << 31)),
                shift=int(self.rng.integers(29, 33)), low=low, high=high,
            )
        )  # fmt: skip

    def _concatenate(self) -> None:
        first = self._source()
        like = [
            i for i in self.tensors if i.shape[:2] == first.shape[:2] and i.dtype == first.dtype
        ]
        parts = [like[int(n)] for n in self.rng.integers(len(like), size=self.rng.integers(1, 4))]
        parts = [first, *parts]
        channels = sum(info.shape[2] for info in parts)
        if channels > 60:
            return
        info = self._info(self._name(), (*first.shape[:2], channels), first.dtype == "int8")
        self._put(Concatenation(inputs=tuple(i.name for i in parts), output=info))

    def _pad(self) -> None:
        source = self._source()
        pads: tuple = tuple(int(n) for n in self.rng.integers(0, 3, 4))
        height, width, channels = source.shape
        shape = (height + pads[0] + pads[2], width + pads[1] + pads[3], channels)
        info = self._info(self._name(), shape, source.dtype == "int8")
        limits = np.iinfo(info.dtype)
        value = int(self.rng.integers(limits.min, limits.max + 1))
        self._put(Padding(input=source.name, output=info, pads=pads, value=value))


def slow_way_out() -> ChipCase:
    """Return a case whose tiles are done long before they are written: the memory is slow."""
    rng = np.random.default_rng(1)
    layer = LayerShape(
        name="layer0", in_channels=2, in_height=8, in_width=8, out_channels=8, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    multiplier, shift = quantise_scale(np.full(8, 1e-3))
    node = Convolution(
        input="input",
        output=TensorInfo(name="t0", shape=(8, 8, 8), dtype="uint8", scale=1.0),
        layer=layer,
        weights=rng.integers(-128, 128, layer.weights_shape).astype(np.int8),
        weight_scales=np.ones(8),
        requantisation=Requantisation(
            bias=np.zeros(8, dtype=np.int64), multiplier=multiplier, shift=shift, low=0, high=255
        ),
    )
    info = TensorInfo(name="input", shape=(8, 8, 2), dtype="uint8", scale=1.0)
    padded = TensorInfo(name="t1", shape=(10, 9, 8), dtype="uint8", scale=1.0)
    network = Network(
        name="slow way out", source="random", input=info, output="t1", channel_density={},
        nodes=(node, Padding(input="t0", output=padded, pads=(1, 0, 1, 1), value=7)), accuracy={},
    )  # fmt: skip
    config = small_chip(filters_per_unit=2, layer_tiles=8, write_bursts=1, vector_lanes=1)
    image = rng.integers(0, 256, info.shape).astype(np.uint8)
    return ChipCase(config, network.validate(), image, "rate:1,50")


def inputs_first(program: ChipProgram) -> ChipProgram:
    """Return a program whose tiles' records and rows come before older tiles' writes.

    It is another legal order than the compiler's: halves are waited for, which the compiler's
    order leaves to the order of the list.
    """
    entries: list[Entry] = []
    for entry in program.entries:
        at = len(entries)
        if entry.kind in (Kind.TILE, Kind.ROWS):
            older = [
                place
                for place, other in enumerate(entries)
                if other.kind is Kind.WRITE
                and other.tile == entry.tile - 2
                and other.layer == entry.layer
            ]
            at = older[0] if older else at
        entries.insert(at, entry)
    image = program.image.copy()
    data = b"".join(
        encode_entry(e.kind, e.address, e.length, last=e.last, tiles=e.tiles, writes=e.writes,
                     gap=e.gap)
        for e in entries
    )  # fmt: skip
    image[program.list_address : program.list_address + len(data)] = list(data)
    return replace(program, entries=tuple(entries), image=image)
