"""One `Case` goes through every implementation: a machine, a layer with its tensors, a skip mode.

``CONFIGURATIONS`` are small machines, ``CATALOGUE`` is a fixed list that holds every feature
by name, and ``cases()`` is a hypothesis strategy over machines, layers and tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from golden.arithmetic import Requantisation, quantise_scale
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Balance, Dealing, SkipMode
from golden.machines.cluster.schedule import Schedule, make_schedule, window_density
from golden.machines.cluster.workload import LayerWorkload
from golden.program import LayerRun, LayerTask

__all__ = [
    "CATALOGUE",
    "CONFIGURATIONS",
    "HARDWARE_CONFIGURATIONS",
    "Case",
    "cases",
    "configurations",
    "hardware_ok",
    "make_case",
]


def hardware_ok(config: AcceleratorConfig) -> bool:
    """Say whether the hardware can do what this machine asks for."""
    return config.dealing is not Dealing.QUEUE and config.lanes == 1


@dataclass(frozen=True, eq=False)
class Case:
    """A layer on a machine.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel
    channel_density : ndarray of float64, axis input channel, or None
    """

    name: str
    config: AcceleratorConfig
    layer: LayerShape
    weights: NDArray[np.int8] = field(repr=False)
    activations: NDArray[np.int8 | np.uint8] = field(repr=False)
    requantisation: Requantisation = field(repr=False)
    skip: SkipMode
    channel_density: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def hardware_ok(self) -> bool:
        return hardware_ok(self.config)

    def workload(self) -> LayerWorkload:
        """Return the layer with its tensors in chunks."""
        return LayerWorkload.build(
            self.config, self.layer, self.weights, self.activations, self.requantisation
        )

    def schedule(self) -> Schedule:
        """Return the program of the layer."""
        density = window_density(self.config, self.layer, self.channel_density)
        return make_schedule(self.config, self.layer, self.workload().weights, density)

    def run(self) -> LayerRun:
        """Return the layer as hardware is given it."""
        task = LayerTask(
            layer=self.layer, weights=self.weights, channel_density=self.channel_density
        )
        return LayerRun(task=task, activations=self.activations, requantisation=self.requantisation)


# -- machines ---------------------------------------------------------------------------------

_BASE = AcceleratorConfig(
    name="base",
    clusters=1,
    units=4,
    chunk=32,
    lanes=1,
    fifo_depth=2,
    filters_per_unit=1,
    segment_chunks=0,
    tile_positions=1,
    balance=Balance.NONE,
    dealing=Dealing.INTERLEAVED,
    skip_empty_chunks=True,
    broadcast_width=8,
    filter_bus_bytes=4,
    filter_double_buffer=False,
    collector_width=1,
    filter_buffer_chunks=128,
    filter_buffer_bytes=8192,
    input_buffer_chunks=1024,
    input_buffer_bytes=16384,
)

_CHANGES: dict[str, dict[str, Any]] = {
    # The hardware runs these.
    "output-major": {},
    "one-unit": {
        "units": 1, "chunk": 16, "fifo_depth": 1, "broadcast_width": 16, "filter_bus_bytes": 1,
        "skip_empty_chunks": False,
    },
    "one-unit-wide-bus": {
        "units": 1, "chunk": 16, "fifo_depth": 1, "broadcast_width": 1, "filter_bus_bytes": 2,
        "segment_chunks": 1, "skip_empty_chunks": False,
    },
    "units-3": {
        "units": 3, "chunk": 16, "fifo_depth": 1, "broadcast_width": 2, "filter_bus_bytes": 8,
        "filter_double_buffer": True,
    },
    "two-filters": {
        "units": 2, "filters_per_unit": 2, "fifo_depth": 4, "balance": "filter",
        "broadcast_width": 4, "filter_bus_bytes": 2, "collector_width": 2,
    },
    "segments": {
        "units": 3, "chunk": 16, "fifo_depth": 1, "segment_chunks": 2, "tile_positions": 3,
        "broadcast_width": 4, "collector_width": 3,
    },
    "segments-double-buffer": {
        "units": 2, "chunk": 16, "filters_per_unit": 2, "segment_chunks": 1, "tile_positions": 4,
        "filter_double_buffer": True, "balance": "expected", "collector_width": 4,
        "filter_bus_bytes": 1,
    },
    "wide": {
        "chunk": 64, "fifo_depth": 4, "broadcast_width": 64, "filter_bus_bytes": 16,
        "filter_double_buffer": True, "collector_width": 4, "skip_empty_chunks": False,
    },
    "narrow": {
        "units": 2, "chunk": 128, "fifo_depth": 4, "broadcast_width": 8, "filter_bus_bytes": 1,
        "filter_buffer_chunks": 64,
    },
    "serial-broadcast": {
        "units": 3, "chunk": 16, "fifo_depth": 1, "broadcast_width": 1, "filter_bus_bytes": 8,
        "balance": "filter",
    },
    "clusters-tiles": {
        "clusters": 3, "units": 2, "dealing": "tiles", "segment_chunks": 3, "tile_positions": 2,
        "filter_double_buffer": True, "collector_width": 2,
    },
    "clusters-interleaved": {
        "clusters": 2, "units": 2, "filters_per_unit": 2, "chunk": 16, "broadcast_width": 2,
        "fifo_depth": 1,
    },
    "chunk-balance": {
        "units": 3, "filters_per_unit": 2, "balance": "chunk", "chunk": 16, "fifo_depth": 1,
        "collector_width": 3,
    },
    "chunk-balance-segments": {
        "units": 4, "filters_per_unit": 2, "balance": "chunk", "chunk": 16, "segment_chunks": 1,
        "tile_positions": 2, "filter_double_buffer": True, "filter_bus_bytes": 16,
    },
    # Simulator and oracle only.
    "two-lanes": {"lanes": 2, "broadcast_width": 16, "balance": "expected"},
    "widest-mask": {"chunk": 256, "lanes": 2, "broadcast_width": 128, "filter_bus_bytes": 2},
    "queue": {"clusters": 3, "units": 2, "dealing": "queue", "chunk": 16},
    "queue-segments": {
        "clusters": 2, "units": 2, "dealing": "queue", "chunk": 16, "segment_chunks": 2,
        "tile_positions": 3, "filter_double_buffer": True,
    },
    "everything": {
        "clusters": 2, "units": 2, "lanes": 2, "filters_per_unit": 2, "balance": "chunk",
        "dealing": "queue", "segment_chunks": 1, "tile_positions": 2, "chunk": 16,
        "filter_double_buffer": True, "collector_width": 2,
    },
}  # fmt: skip

#: Small machines by name.
CONFIGURATIONS: dict[str, AcceleratorConfig] = {
    name: _BASE.replace(name=name, **changes) for name, changes in _CHANGES.items()
}

#: Those that the hardware can be.
HARDWARE_CONFIGURATIONS: dict[str, AcceleratorConfig] = {
    name: config for name, config in CONFIGURATIONS.items() if hardware_ok(config)
}


# -- tensors ----------------------------------------------------------------------------------


def make_case(
    name: str,
    config: AcceleratorConfig,
    layer: LayerShape,
    *,
    skip: SkipMode = SkipMode.BOTH,
    weight_density: float = 0.4,
    activation_density: float = 0.5,
    zero_filters: Iterable[int] = (),
    zero_pixels: float = 0.0,
    zero_channels: slice | None = None,
    signed: bool = False,
    output_signed: bool = False,
    zero_point: int = 0,
    relu: bool = True,
    high: int | None = None,
    gain: float = 1.0,
    bias: int | None = None,
    with_density: bool = False,
    seed: int = 0,
) -> Case:
    """Draw the tensors of a case.

    Parameters
    ----------
    zero_pixels : float
        Share of input pixels whose channels are all zero.
    zero_channels : slice, optional
        Input channels that are zero everywhere.
    gain : float
        Output scale: 1 spreads the codes over most of their range, 100 saturates them.
    bias : int, optional
        The same for all channels instead of random ones.
    with_density : bool
        Give the schedule an expected density of each input channel.
    """
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, layer.weights_shape)
    weights = np.where(weights == 0, 1, weights) * (rng.random(weights.shape) < weight_density)
    weights[list(zero_filters)] = 0
    low_code, high_code = (-128, 127) if signed else (0, 255)
    shape = (layer.in_height, layer.in_width, layer.in_channels)
    activations = rng.integers(low_code, high_code + 1, shape)
    activations = np.where(activations == 0, 1, activations)
    activations *= rng.random(shape) < activation_density
    activations[rng.random(shape[:2]) < zero_pixels] = 0
    if zero_channels is not None:
        activations[..., zero_channels] = 0
    window = layer.taps * layer.group_channels
    pairs = max(1.0, window * weight_density * activation_density)
    spread = np.sqrt(pairs) * 74.0 * (74.0 if signed else 148.0)
    multiplier, shift = quantise_scale(
        gain * 100.0 / spread * rng.uniform(0.5, 2.0, layer.out_channels)
    )
    biases = rng.integers(-int(spread), int(spread) + 1, layer.out_channels)
    low_output, high_output = (-128, 127) if output_signed else (0, 255)
    return Case(
        name=name,
        config=config,
        layer=layer,
        weights=weights.astype(np.int8),
        activations=activations.astype(np.int8 if signed else np.uint8),
        requantisation=Requantisation(
            bias=biases if bias is None else np.full(layer.out_channels, bias, dtype=np.int64),
            multiplier=multiplier,
            shift=shift,
            low=zero_point if relu else low_output,
            high=high_output if high is None else high,
            signed=output_signed,
            zero_point=zero_point,
        ),
        skip=skip,
        channel_density=rng.random(layer.in_channels) if with_density else None,
    )


def _layer(
    channels: int,
    size: int | tuple[int, int],
    filters: int,
    kernel: int | tuple[int, int] = 1,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[int, int, int, int] = 0,
    groups: int = 1,
    name: str = "layer",
) -> LayerShape:
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    down, across = (stride, stride) if isinstance(stride, int) else stride
    pads = (pad,) * 4 if isinstance(pad, int) else pad
    return LayerShape(
        name=name,
        in_channels=channels,
        in_height=height,
        in_width=width,
        out_channels=filters,
        kernel_height=rows,
        kernel_width=columns,
        stride_height=down,
        stride_width=across,
        pad_top=pads[0],
        pad_left=pads[1],
        pad_bottom=pads[2],
        pad_right=pads[3],
        groups=groups,
    )


# -- the catalogue ----------------------------------------------------------------------------

_PLAIN = _layer(20, 4, 6, kernel=3, pad=1)

# name: (configuration, layer, tensor options)
_ENTRIES: dict[str, tuple[str, LayerShape, dict[str, Any]]] = {
    "plain-3x3": ("output-major", _PLAIN, {}),
    "skip-dense": ("output-major", _PLAIN, {"skip": "dense"}),
    "skip-static": ("output-major", _PLAIN, {"skip": "static"}),
    "skip-dynamic": ("output-major", _PLAIN, {"skip": "dynamic"}),
    "density-0": ("output-major", _PLAIN, {"weight_density": 0, "activation_density": 0}),
    "density-0-weights": ("two-filters", _PLAIN, {"weight_density": 0}),
    "density-0-activations": ("segments", _PLAIN, {"activation_density": 0}),
    "density-1": ("output-major", _PLAIN, {"weight_density": 1, "activation_density": 1}),
    "density-low": (
        "wide", _layer(60, 4, 6, kernel=3, pad=1),
        {"weight_density": 0.06, "activation_density": 0.1},
    ),
    "ragged-last-chunk": ("segments", _layer(37, 3, 5), {"skip": "dense"}),
    "one-channel": ("narrow", _layer(1, 5, 3, kernel=3), {}),
    "one-channel-1x1": ("one-unit", _layer(1, 3, 2), {}),
    "one-position": ("two-filters", _layer(50, 1, 9), {}),
    "fully-connected": ("wide", _layer(40, (2, 3), 10, kernel=(2, 3)), {}),
    "kernel-1x1": ("two-filters", _layer(70, 3, 7), {}),
    "kernel-5x5": ("one-unit", _layer(3, 7, 2, kernel=5, pad=1), {}),
    "kernel-11x11-stride-4": ("segments", _layer(3, 11, 4, kernel=11, stride=4, pad=2), {}),
    "kernel-1x3": ("serial-broadcast", _layer(9, (3, 6), 4, kernel=(1, 3), pad=(0, 1, 0, 1)), {}),
    "stride-2": ("clusters-interleaved", _layer(18, 7, 5, kernel=3, stride=2, pad=1), {}),
    "stride-1-by-4": ("two-filters", _layer(12, (5, 9), 4, kernel=2, stride=(1, 4)), {}),
    "padding-uneven": ("segments", _layer(17, 3, 3, kernel=3, pad=(2, 0, 1, 3)), {}),
    "padding-whole-window": ("output-major", _layer(10, 2, 3, kernel=2, pad=2), {}),
    "groups": ("two-filters", _layer(24, 4, 10, kernel=3, pad=1, groups=2), {}),
    "depthwise": ("output-major", _layer(6, 4, 6, kernel=3, pad=1, groups=6), {}),
    "depthwise-multiplier": ("two-filters", _layer(3, 4, 9, kernel=3, groups=3), {}),
    "fewer-filters-than-units": ("output-major", _layer(33, 3, 2, kernel=2), {}),
    "zero-filter": ("two-filters", _PLAIN, {"zero_filters": (0, 3)}),
    "zero-input-chunk": ("one-unit", _layer(40, 3, 2), {"zero_channels": slice(16, 32)}),
    "zero-input-chunk-skipped": ("segments", _layer(40, 3, 4), {"zero_channels": slice(0, 16)}),
    "zero-input-chunk-last": ("segments", _layer(40, 3, 4), {"zero_channels": slice(16, 32)}),
    "zero-pixels": ("wide", _PLAIN, {"zero_pixels": 0.6}),
    "zero-pixels-not-skipped-by-static": (
        "segments", _PLAIN, {"zero_pixels": 0.6, "skip": "static"}
    ),
    "last-chunk-zero": ("segments", _layer(40, 3, 4), {"zero_channels": slice(32, 40)}),
    "segments-dense": ("segments", _layer(34, 3, 4, kernel=2), {"skip": "dense"}),
    "segments-double-buffer": ("segments-double-buffer", _layer(40, 3, 9, kernel=2), {}),
    "segments-short-last-tile": ("segments", _layer(16, (1, 7), 4, kernel=2, pad=1), {}),
    "expected-balance": (
        "segments-double-buffer", _layer(30, 3, 7, kernel=2), {"with_density": True}
    ),
    # Units that sit out a pass, with the next pass's filters loaded long before it.
    "passes-of-groups": ("units-3", _layer(32, (1, 3), 8, groups=2), {"skip": "dense"}),
    # The load ends before the broadcaster may start.
    "load-short": ("segments-double-buffer", _layer(30, 2, 3), {"weight_density": 0}),
    "load-shortest": ("one-unit-wide-bus", _layer(1, 5, 1, kernel=5), {"weight_density": 0}),
    "fifo-1": ("serial-broadcast", _layer(48, 3, 6), {}),
    "fifo-4": ("narrow", _layer(260, 2, 4), {}),
    "collector-narrow": ("two-filters", _layer(8, 5, 9), {"activation_density": 0.1}),
    "broadcast-narrow": ("serial-broadcast", _PLAIN, {"activation_density": 1.0}),
    "all-negative-outputs": ("output-major", _PLAIN, {"bias": -(1 << 24)}),
    "all-negative-codes": (
        "output-major", _PLAIN,
        {"bias": -200_000, "output_signed": True, "relu": False, "gain": 0.15},
    ),
    "signed-activations": (
        "two-filters", _PLAIN, {"signed": True, "output_signed": True, "relu": False}
    ),
    "zero-point": ("wide", _PLAIN, {"relu": False, "zero_point": 131}),
    "relu6": ("segments", _PLAIN, {"high": 90, "gain": 2.0}),
    "saturated": ("narrow", _PLAIN, {"gain": 300.0, "relu": False, "output_signed": True}),
    "clusters-tiles": ("clusters-tiles", _layer(40, 3, 5, kernel=2, pad=1), {}),
    "clusters-empty": ("clusters-tiles", _layer(40, (2, 2), 5), {}),
    "clusters-interleaved": ("clusters-interleaved", _PLAIN, {"zero_pixels": 0.3}),
    "clusters-interleaved-empty": ("clusters-interleaved", _layer(20, 1, 5), {}),
    "two-lanes": ("two-lanes", _PLAIN, {"with_density": True}),
    "two-lanes-dense": ("two-lanes", _layer(33, 3, 5), {"skip": "dense"}),
    "widest-mask": ("widest-mask", _layer(300, 2, 5, kernel=2), {}),
    "queue": ("queue", _PLAIN, {"zero_pixels": 0.4}),
    "queue-passes": ("queue", _layer(36, 3, 7), {"zero_pixels": 0.5}),
    "queue-empty": ("queue", _layer(20, (1, 2), 2), {}),
    "queue-segments": ("queue-segments", _layer(36, 4, 5, kernel=2), {}),
    "chunk-balance": ("chunk-balance", _PLAIN, {}),
    "chunk-balance-odd": ("chunk-balance", _layer(40, 3, 9), {"zero_filters": (2,)}),
    "everything": ("everything", _layer(36, 4, 7, groups=1, kernel=2), {"zero_pixels": 0.3}),
    "chunk-balance-segments": (
        "chunk-balance-segments", _layer(40, 3, 13, kernel=2), {"zero_pixels": 0.2}
    ),
    # A unit that sits out the layer after it has had a share of every sum in the last one.
    "chunk-balance-inactive": ("chunk-balance-segments", _layer(40, 3, 3), {"skip": "static"}),
    "chunk-balance-groups": ("chunk-balance-segments", _layer(40, 3, 10, groups=2), {}),
    # Positions of the next tile begin while the last one's sums are being drained.
    "chunk-balance-collector": (
        "chunk-balance-segments", _layer(48, (1, 9), 8),
        {"activation_density": 1.0, "weight_density": 0.9, "zero_channels": slice(0, 16)},
    ),
    "chunk-balance-one-segment": (
        "chunk-balance-segments", _layer(16, 4, 8), {"activation_density": 0.1}
    ),
}  # fmt: skip


def _catalogue() -> list[Case]:
    result = []
    for seed, (name, (machine, layer, options)) in enumerate(_ENTRIES.items()):
        options = dict(options)
        skip = SkipMode(options.pop("skip", "both"))
        config = CONFIGURATIONS[machine]
        result.append(make_case(name, config, layer, skip=skip, seed=seed, **options))
    return result


#: Every feature, by name; the hardware runs those with ``hardware_ok``.
CATALOGUE: list[Case] = _catalogue()


# -- hypothesis -------------------------------------------------------------------------------

_STEPS_MAX = 500


@st.composite
def configurations(draw: st.DrawFn) -> AcceleratorConfig:
    """Draw a small machine: every option is free."""
    units = draw(st.integers(1, 4))
    filters_per_unit = draw(st.integers(1, 2))
    chunk = draw(st.sampled_from([16, 16, 32, 64, 128]))
    outputs = units * filters_per_unit
    balances = list(Balance) if filters_per_unit == 2 else [b for b in Balance if b != "chunk"]
    return AcceleratorConfig(
        name="drawn",
        clusters=draw(st.integers(1, 3)),
        units=units,
        chunk=chunk,
        lanes=draw(st.integers(1, 2)),
        fifo_depth=draw(st.sampled_from([1, 2, 3, 4, 16])),
        filters_per_unit=filters_per_unit,
        segment_chunks=draw(st.sampled_from([0, 0, 1, 2, 3, 1000])),
        tile_positions=draw(st.sampled_from([1, 2, 3, 5, 1000])),
        balance=draw(st.sampled_from(balances)),
        dealing=draw(st.sampled_from(list(Dealing))),
        skip_empty_chunks=draw(st.booleans()),
        broadcast_width=draw(st.sampled_from([w for w in (1, 2, 4, 8, 16, 64, 128) if w <= chunk])),
        filter_bus_bytes=draw(st.sampled_from([1, 2, 4, 16, 64])),
        filter_double_buffer=draw(st.booleans()),
        collector_width=draw(
            st.sampled_from([n for n in range(1, outputs + 1) if outputs % n == 0])
        ),
        filter_buffer_chunks=1024,
        filter_buffer_bytes=1 << 18,
        input_buffer_chunks=1 << 16,
        input_buffer_bytes=1 << 20,
    )


def _steps(config: AcceleratorConfig, layer: LayerShape) -> int:
    passes = -(-layer.group_filters // config.group_filters) * layer.groups
    return passes * layer.positions * layer.layout(config).filter_chunks


@st.composite
def _layers(draw: st.DrawFn, config: AcceleratorConfig, steps_max: int) -> LayerShape:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    if draw(st.integers(0, 9)) == 0:
        kernel = draw(st.sampled_from([(5, 5), (1, 7), (11, 11)]))
    stride = draw(st.tuples(st.sampled_from([1, 1, 2, 4]), st.sampled_from([1, 1, 2, 4])))
    pad = draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = [
        draw(st.integers(max(1, kernel[axis] - pad[axis] - pad[axis + 2]), kernel[axis] + 5))
        for axis in range(2)
    ]
    channels = draw(st.one_of(st.integers(1, 8), st.integers(1, 80), st.just(config.chunk)))
    filters = draw(st.integers(1, 9))

    def build() -> LayerShape:
        return _layer(
            channels * groups, (size[0], size[1]), filters * groups, kernel, stride, pad, groups
        )

    # Too long for the oracle: fewer rows and columns, then fewer channels.
    while _steps(config, build()) > steps_max:
        axis = int(np.argmax(size))
        if size[axis] > max(1, kernel[axis] - pad[axis] - pad[axis + 2]):
            size[axis] -= 1
        elif channels > 1:
            channels = channels // 2
        else:
            kernel, size = (1, 1), [1, 1]
    return build()


@st.composite
def cases(
    draw: st.DrawFn,
    configs: Iterable[AcceleratorConfig] | None = None,
    steps_max: int = _STEPS_MAX,
) -> Case:
    """Draw a case on one of the given machines, or on any.

    Parameters
    ----------
    steps_max : int
        Largest number of (pass, position, chunk) steps of the layer.
    """
    config = draw(configurations() if configs is None else st.sampled_from(list(configs)))
    # A queue is dealt by running every cluster again and again.
    layer = draw(_layers(config, steps_max // 3 if config.dealing is Dealing.QUEUE else steps_max))
    densities = st.sampled_from([0.0, 0.03, 0.1, 0.3, 0.6, 0.9, 1.0])
    output_signed = draw(st.booleans())
    zero_point = draw(st.sampled_from([0, 0, 3 if output_signed else 128]))
    seed = draw(st.integers(0, 2**32 - 1))
    return make_case(
        f"drawn-{seed}",
        config,
        layer,
        skip=draw(st.sampled_from(list(SkipMode))),
        weight_density=draw(densities),
        activation_density=draw(densities),
        zero_filters=draw(st.sets(st.integers(0, layer.out_channels - 1), max_size=2)),
        zero_pixels=draw(st.sampled_from([0.0, 0.0, 0.3, 0.8])),
        signed=draw(st.booleans()),
        output_signed=output_signed,
        zero_point=zero_point,
        relu=draw(st.booleans()),
        high=draw(st.sampled_from([None, None, zero_point + 60])),
        gain=draw(st.sampled_from([0.0, 0.3, 1.0, 1.0, 100.0])),
        bias=draw(st.sampled_from([None, None, 0, -(1 << 22)])),
        with_density=draw(st.booleans()),
        seed=seed,
    )
