"""Machines and cases of Cambricon-S: a fixed catalogue, and how more are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from golden.arithmetic import Requantisation, quantise_scale
from golden.layer import LayerShape
from golden.machines.cambricon_s import CambriconSConfig

__all__ = ["CATALOGUE", "CONFIGURATIONS", "CambriconSCase", "cases", "make_case"]

_TOY = CambriconSConfig.preset("toy").replace(name="toy")

#: Small machines by name; the hardware runs them all.
CONFIGURATIONS: dict[str, CambriconSConfig] = {
    "toy": _TOY,
    # A codebook of 16, two windows a segment, one position a tile, a bus wider than a row.
    "codes-4-bits": _TOY.replace(
        name="codes-4-bits", code_bits=4, window=16, segment_windows=2, tile_positions=1,
        bus_bytes=16, pes=3, lanes=3, output_width=3,
    ),
    # Two beats of mask, a window a segment, one lane, one output a cycle, two cores.
    "narrow": _TOY.replace(
        name="narrow", window=16, bus_bytes=1, segment_windows=1, tile_positions=3, pes=2,
        lanes=1, output_width=1, cores=2,
    ),
    # Many lanes: most steps take one cycle.
    "wide": _TOY.replace(
        name="wide", window=64, lanes=16, pes=2, output_width=2, bus_bytes=32, segment_windows=8,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class CambriconSCase:
    """A layer with its tensors on a machine.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel
    """

    name: str
    config: CambriconSConfig
    layer: LayerShape
    weights: NDArray[np.int8] = field(repr=False)
    activations: NDArray[np.int8 | np.uint8] = field(repr=False)
    requantisation: Requantisation = field(repr=False)

    @property
    def arguments(self):
        """What ``run_layer`` takes after the configuration."""
        return self.layer, self.weights, self.activations, self.requantisation


def make_case(
    name: str,
    config: CambriconSConfig,
    layer: LayerShape,
    *,
    block_density: float = 0.5,
    weight_density: float = 1.0,
    activation_density: float = 0.5,
    signed: bool = False,
    output_signed: bool = False,
    zero_point: int = 0,
    gain: float = 1.0,
    seed: int = 0,
) -> CambriconSCase:
    """Draw the tensors of a case.

    Parameters
    ----------
    block_density : float
        Share of places that a block of ``pes`` filters keeps.
    weight_density : float
        Share of the weights there that are not zero.
    gain : float
        Output scale: 1 spreads the codes over most of their range, 100 saturates them.
    """
    rng = np.random.default_rng(seed)
    book = rng.integers(-128, 128, 15)  # as many values as a codebook of 16 takes
    book[book == 0] = 1
    shape = layer.weights_shape
    values = rng.choice(book, shape) if config.code_bits == 4 else rng.integers(-128, 128, shape)
    group = np.arange(layer.out_channels) // layer.group_filters
    within = np.arange(layer.out_channels) % layer.group_filters
    number = group * (layer.group_filters // config.pes + 1) + within // config.pes
    kept = rng.random((number.max() + 1, *shape[1:])) < block_density
    weights = values * kept[number] * (rng.random(shape) < weight_density)
    low, high = (-128, 127) if signed else (0, 255)
    size = (layer.in_height, layer.in_width, layer.in_channels)
    activations = rng.integers(low, high + 1, size) * (rng.random(size) < activation_density)
    density = block_density * weight_density * activation_density
    spread = np.sqrt(max(1.0, layer.taps * layer.group_channels * density)) * 74.0 * 148.0
    multiplier, shift = quantise_scale(
        gain * 100.0 / spread * rng.uniform(0.5, 2.0, layer.out_channels)
    )
    low_output, high_output = (-128, 127) if output_signed else (0, 255)
    requantisation = Requantisation(
        bias=rng.integers(-int(spread), int(spread) + 1, layer.out_channels),
        multiplier=multiplier,
        shift=shift,
        low=low_output,
        high=high_output,
        signed=output_signed,
        zero_point=zero_point,
    )
    return CambriconSCase(
        name,
        config,
        layer,
        weights.astype(np.int8),
        activations.astype(np.int8 if signed else np.uint8),
        requantisation,
    )


def layer_of(
    channels: int,
    size: tuple[int, int],
    filters: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    pad: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
) -> LayerShape:
    """Return a layer; sizes are height, width; pads top, left, bottom, right."""
    return LayerShape(
        name="layer", in_channels=channels, in_height=size[0], in_width=size[1],
        out_channels=filters, kernel_height=kernel[0], kernel_width=kernel[1],
        stride_height=stride[0], stride_width=stride[1], pad_top=pad[0], pad_left=pad[1],
        pad_bottom=pad[2], pad_right=pad[3], groups=groups,
    )  # fmt: skip


_PLAIN = layer_of(20, (4, 5), 6, (3, 3), pad=(1, 1, 1, 1))

_ENTRIES = {
    "plain-3x3": (_PLAIN, {}),
    "one-position": (layer_of(50, (1, 1), 9), {}),
    "one-weight": (layer_of(1, (1, 1), 1), {"block_density": 1.0, "activation_density": 1.0}),
    "dense": (_PLAIN, {"block_density": 1.0, "activation_density": 1.0}),
    "no-weights": (_PLAIN, {"block_density": 0.0}),
    "no-neurons": (_PLAIN, {"activation_density": 0.0}),
    "sparse-in-blocks": (_PLAIN, {"weight_density": 0.3}),
    "few-windows": (layer_of(70, (3, 3), 5, (2, 2)), {"block_density": 0.02}),
    "kernel-5x5-stride-2": (layer_of(3, (9, 8), 4, (5, 5), (2, 2), (1, 2, 0, 1)), {}),
    "groups": (layer_of(24, (4, 3), 10, (3, 2), groups=2), {}),
    "depthwise": (layer_of(5, (4, 4), 5, (3, 3), pad=(1, 1, 1, 1), groups=5), {}),
    "fully-connected": (layer_of(30, (2, 3), 10, (2, 3)), {"signed": True}),
    "signed": (_PLAIN, {"signed": True, "output_signed": True, "zero_point": -5}),
    "saturated": (_PLAIN, {"gain": 300.0, "output_signed": True}),
    "short-positions": (layer_of(3, (5, 5), 8), {"block_density": 1.0}),
}


def _catalogue() -> list[CambriconSCase]:
    return [
        make_case(f"{machine}-{name}", config, layer, seed=seed, **options)
        for machine, config in CONFIGURATIONS.items()
        for seed, (name, (layer, options)) in enumerate(_ENTRIES.items())
    ]


#: Every feature on every machine.
CATALOGUE: list[CambriconSCase] = _catalogue()


@st.composite
def _layers(draw: st.DrawFn, config: CambriconSConfig, steps_max: int) -> LayerShape:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.sampled_from([1, 1, 2, 4]), st.sampled_from([1, 1, 2, 4])))
    pad = draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = [
        draw(st.integers(max(1, kernel[axis] - pad[axis] - pad[axis + 2]), kernel[axis] + 4))
        for axis in range(2)
    ]
    channels = draw(st.one_of(st.integers(1, 8), st.integers(1, 80), st.just(config.window)))
    filters = draw(st.integers(1, 2 * config.pes + 1))
    while True:  # too long for the oracle: fewer channels, then a single pixel
        layer = layer_of(
            channels * groups, (size[0], size[1]), filters * groups, kernel, stride, pad, groups
        )
        windows = kernel[0] * -(-kernel[1] * channels // config.window)
        block_count = groups * -(-filters // config.pes)
        if layer.positions * windows * block_count <= steps_max:
            return layer
        if channels > 1:
            channels //= 2
        else:
            kernel, size, pad = (1, 1), [1, 1], (0, 0, 0, 0)
            groups = 1


@st.composite
def cases(draw: st.DrawFn, config: CambriconSConfig, steps_max: int = 300) -> CambriconSCase:
    """Draw a case on a machine, of at most ``steps_max`` steps where every window is kept."""
    output_signed = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    densities = st.sampled_from([0.0, 0.03, 0.1, 0.3, 0.6, 0.9, 1.0])
    return make_case(
        f"drawn-{seed}",
        config,
        draw(_layers(config, steps_max)),
        block_density=draw(densities),
        weight_density=draw(st.sampled_from([0.3, 1.0, 1.0])),
        activation_density=draw(densities),
        signed=draw(st.booleans()),
        output_signed=output_signed,
        zero_point=draw(st.sampled_from([0, 3 if output_signed else 128])),
        gain=draw(st.sampled_from([0.0, 0.3, 1.0, 1.0, 100.0])),
        seed=seed,
    )
