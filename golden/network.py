"""A quantised network: what the frontend makes and golden model and simulator run.

Codes are 8 bits. A value is ``(code - zero_point) * scale``. Convolutions run on the
machine; every other node is a *vector* operation of the host, done on codes in the
fixed-point arithmetic defined here, and costs no cycles of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation, check_accumulator
from golden.errors import FormatError
from golden.layer import LayerShape

__all__ = [
    "Addition",
    "Concatenation",
    "Convolution",
    "Network",
    "Node",
    "Padding",
    "Pooling",
    "PoolingKind",
    "Rescaling",
    "TensorInfo",
]


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An activation tensor, axes y, x, channel.

    Parameters
    ----------
    dtype : str
        ``uint8`` or ``int8``.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: str
    scale: float
    zero_point: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution:
    """A convolution or fully connected layer; the machine's only operation.

    The input's zero point is 0 as far as the machine is concerned: the importer folds
    any other one into the bias, and pads explicitly (``Padding``) before.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    weight_scales : ndarray of float64, axis k
    """

    input: str
    output: TensorInfo
    layer: LayerShape
    weights: NDArray[np.int8]
    weight_scales: NDArray[np.float64]
    requantisation: Requantisation

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


class PoolingKind(StrEnum):
    MAX = "max"
    AVERAGE = "average"


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling:
    """Max or average pooling.

    Max: the largest code of the window, padding left out. Average: the sum of
    ``code - input zero point`` over the window, times ``multiplier[n]``, rounded shift by
    ``shift[n]``, plus the output's zero point, clamped; n = the number of elements counted
    (index 0 unused): those inside the input, or all of the kernel with ``count_include_pad``.
    ``multiplier`` and ``shift`` have axis n = 0 .. kernel_height * kernel_width; empty for max.
    """

    input: str
    output: TensorInfo
    kind: PoolingKind
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    count_include_pad: bool
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Addition:
    """Residual addition.

    ``clamp((sum over inputs of (code - zero point) * multiplier[i] + 2**(shift - 1) >> shift)
    + output zero point, low, high)``, exact in 64 bits; multipliers below 2**31.
    """

    inputs: tuple[str, ...]
    output: TensorInfo
    multipliers: tuple[int, ...]
    shift: int
    low: int
    high: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Rescaling:
    """Another scale, zero point or range of one tensor: a lone ReLU, clip or requantisation.

    Arithmetic is that of ``Addition`` with one input.
    """

    input: str
    output: TensorInfo
    multiplier: int
    shift: int
    low: int
    high: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation:
    """Concatenation along channels of tensors that share scale, zero point and dtype."""

    inputs: tuple[str, ...]
    output: TensorInfo


@dataclass(frozen=True, eq=False, kw_only=True)
class Padding:
    """Border of the code ``value`` around the pixels: top, left, bottom, right."""

    input: str
    output: TensorInfo
    pads: tuple[int, int, int, int]
    value: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


Node = Convolution | Pooling | Addition | Rescaling | Concatenation | Padding


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A quantised network.

    Parameters
    ----------
    name : str
    source : str
        Where weights and activations come from, as every report states it.
    input : TensorInfo
    nodes : tuple of Node
        In an order in which they can run. A node is known by its output's name; a
        convolution also by ``layer.name``.
    output : str
        Name of the tensor that is the network's result.
    channel_density : dict of str to ndarray of float64, axis channel
        For each convolution's input tensor (by tensor name), the expected share of
        non-zero codes of each channel, from calibration; may be empty.
    accuracy : dict of str to float
        Stated accuracies, such as ``float``, ``pruned``, ``int8``; may be empty.
    synthetic_inputs : dict of str to ndarray of int8 or uint8, axes y, x, channel
        Codes that stand in for what a tensor (by name) would hold: who runs the network takes
        them as the input of the convolutions that read that tensor and computes nothing. Empty
        but for networks that are known by their published densities alone.
    """

    name: str
    source: str
    input: TensorInfo
    nodes: tuple[Node, ...]
    output: str
    channel_density: dict[str, NDArray[np.float64]]
    accuracy: dict[str, float]
    synthetic_inputs: dict[str, NDArray[np.int8 | np.uint8]] = field(default_factory=dict)

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Convolution))

    def tensor(self, name: str) -> TensorInfo:
        """Return a tensor's description by name; KeyError where there is none."""
        if name == self.input.name:
            return self.input
        return next(node.output for node in self.nodes if node.output.name == name)

    def validate(self) -> Network:
        """Return self; raise FormatError (graph) or CapacityError (accumulator) by name."""
        known = {self.input.name: self.input}
        layers: set[str] = set()
        for node in self.nodes:
            for name in node.inputs:
                if name not in known:
                    raise FormatError(f"Node {node.output.name} reads {name}, not made before it")
            if node.output.name in known:
                raise FormatError(f"Tensor {node.output.name} is made twice")
            if isinstance(node, Convolution):
                _validate_convolution(node, known[node.input], layers)
            known[node.output.name] = node.output
        if self.output not in known:
            raise FormatError(f"The network's output {self.output} is made by no node")
        for name, codes in self.synthetic_inputs.items():
            if name not in known:
                raise FormatError(f"Synthetic input {name} must be a tensor of the network")
            if codes.shape != known[name].shape or codes.dtype != np.dtype(known[name].dtype):
                raise FormatError(
                    f"Synthetic input {name} must be {known[name].dtype} of shape "
                    f"{known[name].shape}, not {codes.dtype} of shape {codes.shape}"
                )
        return self


def _validate_convolution(node: Convolution, source: TensorInfo, layers: set[str]) -> None:
    layer = node.layer
    if layer.name in layers:
        raise FormatError(f"Layer {layer.name} appears twice")
    layers.add(layer.name)
    if node.weights.shape != layer.weights_shape or node.weights.dtype != np.int8:
        raise FormatError(
            f"Layer {layer.name}: weights must be int8 of shape {layer.weights_shape}, "
            f"not {node.weights.dtype} of shape {node.weights.shape}"
        )
    if source.shape != (layer.in_height, layer.in_width, layer.in_channels):
        raise FormatError(
            f"Layer {layer.name}: input {source.name} must have shape "
            f"{(layer.in_height, layer.in_width, layer.in_channels)}, not {source.shape}"
        )
    if node.output.shape != (layer.out_height, layer.out_width, layer.out_channels):
        raise FormatError(
            f"Layer {layer.name}: output {node.output.name} must have shape "
            f"{(layer.out_height, layer.out_width, layer.out_channels)}, not {node.output.shape}"
        )
    check_accumulator(
        layer.name,
        node.weights,
        node.requantisation.bias,
        255 if source.dtype == "uint8" else 128,
    )
