"""A network's nodes as layers of the chip: what is fused, and where tensors lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from golden.arithmetic import quantise_scale
from golden.chip.formats import VectorOp
from golden.errors import CapacityError, UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig
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

__all__ = ["Layer", "Part", "Vector", "chip_layers", "code_range", "find_parts"]


@dataclass(frozen=True, kw_only=True)
class Vector:
    """What the vector unit does to a layer's tiles: ``docs/chip.md``, *Addressing*.

    Parameters
    ----------
    window, stride : tuple of int
        Rows and columns.
    pads : tuple of int
        Top and left.
    residual : str, optional
        The second operand's tensor.
    table : tuple of (multiplier, shift)
        Of an average, by the number of elements.
    """

    op: VectorOp = VectorOp.COPY
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    residual: str | None = None
    residual_signed: bool = False
    multiplier: int = 0
    residual_multiplier: int = 0
    operand_zero: int = 0
    residual_zero: int = 0
    shift: int = 1
    zero: int = 0
    low: int = 0
    high: int = 0
    pad_value: int = 0
    include_pad: bool = False
    table: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A layer of the chip.

    Parameters
    ----------
    name : str
    node : Convolution, optional
        None for an operation of the vector unit alone.
    shape : LayerShape, optional
        The convolution as the chip runs it: never im2row; with ``windows`` 1 x 1 over windows.
    windows : bool
        It reads a map of windows of the network's input.
    source : TensorInfo
        The tensor that is read.
    operand : TensorInfo
        The tensor in front of the vector unit.
    vector : Vector
    output : TensorInfo
        The tensor that is written.
    """

    name: str
    node: Convolution | None
    shape: LayerShape | None
    windows: bool
    source: TensorInfo
    operand: TensorInfo
    vector: Vector
    output: TensorInfo


@dataclass(frozen=True)
class Part:
    """Where a tensor lies: the map that it is a part of, and its first channel there."""

    whole: str
    channel: int


def code_range(info: TensorInfo) -> tuple[int, int]:
    """Return the least and the greatest code of a tensor's type."""
    limits = np.iinfo(info.dtype)
    return int(limits.min), int(limits.max)


def chip_layers(
    network: Network, config: AcceleratorConfig, can_pool: Callable[[LayerShape, int], bool]
) -> list[Layer]:
    """Return a network's layers in the order in which the chip runs them.

    Parameters
    ----------
    can_pool : callable
        Says whether a tile of a convolution can be so many rows high.

    Raises
    ------
    UserError, CapacityError
        The chip can't run a node.
    """
    if network.synthetic_inputs:
        raise UserError(
            f"Network {network.name} must have activations of its own on a chip, "
            "not synthetic inputs"
        )
    readers = Counter(name for node in network.nodes for name in node.inputs)
    readers[network.output] += 1
    fused = _fused(network, readers, can_pool)
    followers = {id(node) for node in fused.values()}
    parts = find_parts(network)
    layers: list[Layer] = []
    for node in network.nodes:
        if id(node) in followers:
            continue
        if isinstance(node, Concatenation):
            layers += _copies(network, node, parts)
        elif isinstance(node, Convolution):
            layers.append(_convolution(network, node, config, fused.get(node.output.name)))
        else:
            source = network.tensor(node.inputs[0])
            layers.append(
                Layer(
                    name=node.output.name,
                    node=None,
                    shape=None,
                    windows=False,
                    source=source,
                    operand=source,
                    vector=_vector(network, node, node.inputs[0]),
                    output=node.output,
                )
            )
    return layers


def _fused(
    network: Network, readers: Counter[str], can_pool: Callable[[LayerShape, int], bool]
) -> dict[str, Node]:
    """Return the vector operations that follow a convolution on the way out, by its output."""
    made = {network.input.name: -1}
    made |= {node.output.name: at for at, node in enumerate(network.nodes)}
    convolutions = {node.output.name: node for node in network.convolutions}
    result: dict[str, Node] = {}
    for node in network.nodes:
        alone = [n for n in node.inputs if n in convolutions and readers[n] == 1]
        if isinstance(node, Addition) and len(node.inputs) == 2:
            # The other operand must have been stored when the convolution runs.
            latest = max(node.inputs, key=lambda name: made[name])
            if latest in alone:
                result[latest] = node
        elif isinstance(node, Rescaling) and alone:
            result[alone[0]] = node
        elif isinstance(node, Pooling) and alone and node.kind is PoolingKind.MAX:
            apart = node.kernel == node.stride and not any(node.pads)
            if apart and can_pool(convolutions[alone[0]].layer, node.kernel[0]):
                result[alone[0]] = node
    return result


def _convolution(
    network: Network, node: Convolution, config: AcceleratorConfig, follower: Node | None
) -> Layer:
    layer = node.layer
    windows = node.input == network.input.name and layer.groups == 1 and layer.layout(config).im2row
    if windows:
        shape = LayerShape(
            name=layer.name,
            in_channels=layer.taps * layer.in_channels,
            in_height=layer.out_height,
            in_width=layer.out_width,
            out_channels=layer.out_channels,
            kernel_height=1,
            kernel_width=1,
        )
    else:
        shape = replace(layer, im2row=False)
    return Layer(
        name=layer.name,
        node=node,
        shape=shape,
        windows=windows,
        source=network.tensor(node.input),
        operand=node.output,
        vector=_vector(network, follower, node.output.name) if follower else Vector(),
        output=follower.output if follower else node.output,
    )


def _average_table(node: Pooling, scale: float) -> tuple[tuple[int, int], ...]:
    """Return multiplier and shift of a mean by the number of its elements, from 0 on.

    The network's means are float32; the chip's end in the same code but for sums that lie
    within rounding of a half.
    """
    counts = np.arange(1, node.kernel[0] * node.kernel[1] + 1)
    multiplier, shift = quantise_scale(scale / node.output.scale / counts)
    return ((0, 1), *zip(multiplier.tolist(), shift.tolist(), strict=True))


def _vector(network: Network, node: Node, operand: str) -> Vector:
    """Return the operation of a node whose first operand is given."""
    first = network.tensor(operand)
    low, high = code_range(node.output)
    if isinstance(node, Padding):
        top, left = node.pads[:2]
        return Vector(pads=(top, left), pad_value=node.value)
    if isinstance(node, Pooling):
        average = node.kind is PoolingKind.AVERAGE
        return Vector(
            op=VectorOp.AVERAGE if average else VectorOp.MAX,
            window=node.kernel,
            stride=node.stride,
            pads=(node.pads[0], node.pads[1]),
            operand_zero=first.zero_point,
            zero=node.output.zero_point,
            low=low,
            high=high,
            include_pad=node.count_include_pad,
            table=_average_table(node, first.scale) if average else (),
        )
    if isinstance(node, Rescaling):
        return Vector(
            op=VectorOp.SCALE, multiplier=node.multiplier, operand_zero=first.zero_point,
            shift=node.shift, zero=node.output.zero_point, low=node.low, high=node.high,
        )  # fmt: skip
    if isinstance(node, Addition):
        if len(node.inputs) != 2:
            raise CapacityError(
                f"Addition {node.output.name} must have two inputs on a chip, not "
                f"{len(node.inputs)}: add in turns"
            )
        at = node.inputs.index(operand)
        residual = network.tensor(node.inputs[1 - at])
        return Vector(
            op=VectorOp.SCALE,
            residual=residual.name,
            residual_signed=residual.dtype == "int8",
            multiplier=node.multipliers[at],
            residual_multiplier=node.multipliers[1 - at],
            operand_zero=first.zero_point,
            residual_zero=residual.zero_point,
            shift=node.shift,
            zero=node.output.zero_point,
            low=node.low,
            high=node.high,
        )
    raise UserError(f"Node {node.output.name} must be one that the chip has, not a {type(node)}")


def find_parts(network: Network) -> dict[str, Part]:
    """Say which tensors are written straight into a concatenation.

    They are those that nothing else reads; the others are copied there, under the name
    ``whole[channel]``.
    """
    readers = Counter(name for node in network.nodes for name in node.inputs)
    readers[network.output] += 1
    parent: dict[str, Part] = {}
    for node in network.nodes:
        if not isinstance(node, Concatenation):
            continue
        channel = 0
        for name in node.inputs:
            alone = readers[name] == 1 and name != network.input.name
            part = name if alone else f"{node.output.name}[{channel}]"
            parent[part] = Part(node.output.name, channel)
            channel += network.tensor(name).shape[2]
    return {name: _outermost(part, parent) for name, part in parent.items()}


def _outermost(part: Part, parent: dict[str, Part]) -> Part:
    """Follow concatenations of concatenations."""
    while part.whole in parent:
        outer = parent[part.whole]
        part = Part(outer.whole, outer.channel + part.channel)
    return part


def _copies(network: Network, node: Concatenation, parts: dict[str, Part]) -> list[Layer]:
    """Return the copies into a concatenation of tensors that are read elsewhere too."""
    layers, channel = [], 0
    for name in node.inputs:
        source = network.tensor(name)
        target = f"{node.output.name}[{channel}]"
        if target in parts:
            layers.append(
                Layer(
                    name=target, node=None, shape=None, windows=False, source=source,
                    operand=source, vector=Vector(), output=replace(source, name=target),
                )
            )  # fmt: skip
        channel += source.shape[2]
    return layers
