"""A quantised network: what the frontend makes and golden model and simulator run.

Codes are 8 bits. A value is ``(code - zero_point) * scale``. Convolutions run on the
machine. A *vector* node is done on codes beside it, in the arithmetic defined here; a *host*
node (``HostNode``) is whatever else a model holds, run by ONNX Runtime. Neither costs
cycles of the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import MULTIPLIER_BITS, SHIFT_MAX, Requantisation, check_accumulator
from golden.errors import FormatError
from golden.layer import LayerShape

__all__ = [
    "CODES",
    "Addition",
    "Concatenation",
    "Constant",
    "Convolution",
    "HostNode",
    "Network",
    "Node",
    "Padding",
    "Pooling",
    "PoolingKind",
    "Product",
    "Rearrangement",
    "Rescaling",
    "Table",
    "TensorInfo",
]

#: Types of the tensors that machine and vector nodes read and make.
CODES = ("int8", "uint8")


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An activation tensor.

    Parameters
    ----------
    shape : tuple of int
        Axes y, x, channel, of codes and of every input of a network. What a host node makes
        and is no code has the axes of the model that it comes from; there a size of 0 is one that
        the image decides.
    dtype : str
        ``uint8`` or ``int8``; of a tensor that stays on the host any of NumPy's, such as
        ``float32``, and then scale and zero point mean nothing.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    @property
    def is_codes(self) -> bool:
        return self.dtype in CODES


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

    Max: the largest code of the window, padding left out. Average, in float32 as ONNX Runtime
    computes it, so that halves fall as they do there: the values ``(code - zero point) *
    scale`` of each column of the window are added from top to bottom, these sums from left to
    right, and divided by the number of elements counted: those inside the input, or all of
    the kernel with ``count_include_pad``. The mean over the output's scale is rounded, halves
    to even, and clamped with the output's zero point.

    Where ``multiplier`` and ``shift`` are given, axis n, an average is that of a machine without
    floating point instead: the sum of ``code - zero point`` over the window, times
    ``multiplier[n]``, over ``2**shift[n]``, halves to even, plus the output's zero point,
    clamped; n is the number of elements counted, and index 0 is unused.
    """

    input: str
    output: TensorInfo
    kind: PoolingKind
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    count_include_pad: bool
    multiplier: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shift: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Addition:
    """Residual addition.

    ``clamp(round(sum over inputs of (code - zero point) * multiplier[i] / 2**shift) + output
    zero point, low, high)``, exact in 64 bits, halves to even; magnitudes of multipliers are
    below 2**31.
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
class Product:
    """Product of two tensors; the second may have one pixel, which then scales channels.

    ``clamp(round((code - zero point) * (code - zero point) * multiplier / 2**shift) + output
    zero point, low, high)``, exact in 64 bits, halves to even; multiplier below 2**31.
    """

    inputs: tuple[str, str]
    output: TensorInfo
    multiplier: int
    shift: int
    low: int
    high: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """A function of each code, such as an activation.

    Parameters
    ----------
    codes : ndarray of the output's dtype, axes channel or 1, code
        ``codes[channel, code - lowest code]``, the lowest being 0 or -128.
    """

    input: str
    output: TensorInfo
    codes: NDArray[np.int8 | np.uint8]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rearrangement:
    """Elements of one tensor in other places: slices, shuffles, borders, repeated pixels.

    Parameters
    ----------
    index : ndarray of int32, axes y, x, channel of the output
        Flat index of the input's element, or -1 where ``fill`` stands.
    fill : int
        A code.
    """

    input: str
    output: TensorInfo
    index: NDArray[np.int32]
    fill: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Constant:
    """A tensor that does not depend on the input; codes have axes y, x, channel."""

    output: TensorInfo
    codes: NDArray[np.int8 | np.uint8]

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class HostNode:
    """An operator that neither the machine nor a vector node can do.

    Parameters
    ----------
    inputs : tuple of str
        Tensors that it reads, codes or not; they are the inputs of ``graph``, in order.
    output : TensorInfo
    operator : str
        ONNX's name of it.
    name : str
        The node's name in the model.
    reason : str
        Why it is here.
    graph : bytes
        An ONNX model that makes the output, as an array of its shape and dtype, of the inputs.
    macs : int
        Its multiply-accumulates, where it is a convolution or a matrix product.
    """

    inputs: tuple[str, ...]
    output: TensorInfo
    operator: str
    name: str
    reason: str
    graph: bytes
    macs: int = 0


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


Node = (
    Convolution
    | Pooling
    | Addition
    | Product
    | Rescaling
    | Table
    | Concatenation
    | Padding
    | Rearrangement
    | Constant
    | HostNode
)


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
        Name of the tensor that is the network's (first) result.
    channel_density : dict of str to ndarray of float64, axis channel
        For each convolution's input tensor (by tensor name), the expected share of
        non-zero codes of each channel, from calibration; may be empty.
    accuracy : dict of str to float
        Stated accuracies, such as ``float``, ``pruned``, ``int8``; may be empty.
    synthetic_inputs : dict of str to ndarray of int8 or uint8, axes y, x, channel
        Codes that stand in for what a tensor (by name) would hold: who runs the network takes
        them as the input of the convolutions that read that tensor and computes nothing. Empty
        but for networks that are known by their published densities alone.
    further_inputs : tuple of TensorInfo
        Inputs besides ``input``, where a model has several. An image is then a record of one
        array an input (``dtype.names`` are the inputs' names).
    further_outputs : tuple of str
        Results besides ``output``.
    """

    name: str
    source: str
    input: TensorInfo
    nodes: tuple[Node, ...]
    output: str
    channel_density: dict[str, NDArray[np.float64]]
    accuracy: dict[str, float]
    synthetic_inputs: dict[str, NDArray[np.int8 | np.uint8]] = field(
        default_factory=lambda: dict[str, NDArray[np.int8 | np.uint8]]()
    )
    further_inputs: tuple[TensorInfo, ...] = ()
    further_outputs: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return (self.input, *self.further_inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output, *self.further_outputs)

    @property
    def host_nodes(self) -> tuple[HostNode, ...]:
        return tuple(node for node in self.nodes if isinstance(node, HostNode))

    @property
    def machine_share(self) -> float:
        """Share of the dense multiply-accumulates that runs on the machine, 0 to 1."""
        machine = sum(node.layer.dense_macs for node in self.convolutions)
        whole = machine + sum(node.macs for node in self.host_nodes)
        return machine / whole if whole else 0.0

    def input_values(self, image: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each input's array, by name, of an image or of a record of them."""
        if image.dtype.names is None:
            return {self.input.name: image}
        return {info.name: image[info.name] for info in self.inputs}

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Convolution))

    def tensor(self, name: str) -> TensorInfo:
        """Return a tensor's description by name; KeyError where there is none."""
        for info in self.inputs:
            if info.name == name:
                return info
        return next(node.output for node in self.nodes if node.output.name == name)

    def validate(self) -> Network:
        """Return self; raise FormatError (graph) or CapacityError (accumulator) by name."""
        known: dict[str, TensorInfo] = {}
        for info in self.inputs:
            if info.name in known:
                raise FormatError(f"Input {info.name} appears twice")
            _validate_tensor(info)
            known[info.name] = info
        layers: set[str] = set()
        for node in self.nodes:
            for name in node.inputs:
                if name not in known:
                    raise FormatError(f"Node {node.output.name} reads {name}, not made before it")
            if node.output.name in known:
                raise FormatError(f"Tensor {node.output.name} is made twice")
            _validate_tensor(node.output)
            _validate_node(node, tuple(known[name] for name in node.inputs))
            if isinstance(node, Convolution):
                _validate_convolution(node, known[node.input], layers)
            known[node.output.name] = node.output
        for name in self.outputs:
            if name not in known:
                raise FormatError(f"The network's output {name} is made by no node")
        for name, density in self.channel_density.items():
            if not np.all((density >= 0) & (density <= 1)):
                raise FormatError(f"Channel densities of {name} must be from 0 to 1")
        for name, codes in self.synthetic_inputs.items():
            if name not in known:
                raise FormatError(f"Synthetic input {name} must be a tensor of the network")
            if codes.shape != known[name].shape or codes.dtype != np.dtype(known[name].dtype):
                raise FormatError(
                    f"Synthetic input {name} must be {known[name].dtype} of shape "
                    f"{known[name].shape}, not {codes.dtype} of shape {codes.shape}"
                )
        return self


def _validate_tensor(info: TensorInfo) -> None:
    if not info.is_codes:
        return
    if len(info.shape) != 3 or min(info.shape) < 1:
        raise FormatError(f"Tensor {info.name} must have sizes y, x, channel, not {info.shape}")
    if not (math.isfinite(info.scale) and info.scale > 0):
        raise FormatError(f"Tensor {info.name}: scale must be positive, not {info.scale}")
    least = -128 if info.dtype == "int8" else 0
    if not least <= info.zero_point <= least + 255:
        raise FormatError(
            f"Tensor {info.name}: zero point must fit {info.dtype}, not be {info.zero_point}"
        )


def _validate_node(node: Node, sources: tuple[TensorInfo, ...]) -> None:
    """Check what vector nodes must hold to; host nodes are data."""
    if isinstance(node, HostNode):
        return
    name = node.output.name
    if not (node.output.is_codes and all(source.is_codes for source in sources)):
        raise FormatError(f"Node {name} must read and make 8-bit codes")
    shape = node.output.shape
    if isinstance(node, Table):
        if node.codes.shape not in ((1, 256), (shape[2], 256)):
            raise FormatError(f"Node {name}: a table must have 256 codes, not {node.codes.shape}")
        fits = node.codes.dtype == node.output.dtype and sources[0].shape == shape
    elif isinstance(node, Constant):
        fits = node.codes.shape == shape and node.codes.dtype == node.output.dtype
    elif isinstance(node, Product):
        fits = sources[0].shape == shape and sources[1].shape in (shape, (1, 1, shape[2]))
    elif isinstance(node, Addition | Rescaling):
        fits = all(source.shape == shape for source in sources)
    elif isinstance(node, Concatenation):
        fits = {source.shape[:2] for source in sources} == {shape[:2]}
        fits = fits and sum(source.shape[2] for source in sources) == shape[2]
    elif isinstance(node, Padding):
        top, left, bottom, right = node.pads
        height, width, channels = sources[0].shape
        fits = min(node.pads) >= 0
        fits = fits and (height + top + bottom, width + left + right, channels) == shape
    elif isinstance(node, Pooling):
        fits = _pooling_fits(node, sources[0].shape)
    elif isinstance(node, Rearrangement):
        size = math.prod(sources[0].shape)
        fits = node.index.shape == shape and sources[0].dtype == node.output.dtype
        fits = fits and -1 <= int(node.index.min()) <= int(node.index.max()) < size
    else:
        return
    if isinstance(node, Addition | Product | Rescaling):
        _validate_range(f"Node {name}", node.low, node.high, node.output)
    if not fits:
        raise FormatError(f"Node {name} must fit the shapes and types of what it reads")


def _pooling_fits(node: Pooling, source: tuple[int, ...]) -> bool:
    """Whether every window of a pooling begins within the padded input."""
    top, left, bottom, right = node.pads
    if min(*node.kernel, *node.stride) < 1 or min(node.pads) < 0:
        return False
    padded = (source[0] + top + bottom, source[1] + left + right)
    ends = zip(node.output.shape[:2], node.stride, padded, strict=True)
    return source[2] == node.output.shape[2] and all(
        (n - 1) * step < size for n, step, size in ends
    )


def _validate_range(what: str, low: int, high: int, output: TensorInfo) -> None:
    least = -128 if output.dtype == "int8" else 0
    if not least <= low <= high <= least + 255:
        raise FormatError(
            f"{what}: codes must lie within {least}..{least + 255} of {output.dtype}, "
            f"not {low}..{high}"
        )


def _validate_requantisation(node: Convolution) -> None:
    what, how = f"Layer {node.layer.name}", node.requantisation
    _validate_range(what, how.low, how.high, node.output)
    if how.signed != (node.output.dtype == "int8"):
        raise FormatError(f"{what}: codes must be {node.output.dtype}, as its output is")
    for name, values, low, high in (
        ("shift", how.shift, 1, SHIFT_MAX),
        ("multiplier", how.multiplier, 0, 1 << MULTIPLIER_BITS),
        ("weight scale", node.weight_scales, 0, math.inf),
    ):
        bad = values[~((values >= low) & (values <= high) & (values < math.inf))]
        if bad.size:
            raise FormatError(
                f"{what}: each {name} must be finite and within {low}..{high}, not {bad[0]}"
            )


def _validate_convolution(node: Convolution, source: TensorInfo, layers: set[str]) -> None:
    layer = node.layer
    if layer.name in layers:
        raise FormatError(f"Layer {layer.name} appears twice")
    layers.add(layer.name)
    _validate_requantisation(node)
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
