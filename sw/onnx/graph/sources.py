"""Sources of real tensors: each writes its nodes once it knows in which codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation, quantise_scale
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Constant,
    Convolution,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Table,
    TensorInfo,
)
from sw.fixed_point import common_multipliers
from sw.onnx.graph.values import Quantisation, Real, Source, Target, Writing
from sw.onnx.graph.writer import rescale

__all__ = [
    "Accumulation",
    "Average",
    "Dequantised",
    "Fixed",
    "Function",
    "GraphInput",
    "Joined",
    "Largest",
    "Moved",
    "Multiplied",
    "Padded",
    "Sum",
]

#: A bias is kept below 2**BIAS_BITS steps of a filter without weights, whose scale is free.
BIAS_BITS = 20


@dataclass(frozen=True, eq=False)
class GraphInput(Source):
    """The network's input; its codes are those of whoever quantises it first."""

    name: str
    shape: tuple[int, int, int]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        return writer.read(self, target)


@dataclass(frozen=True, eq=False)
class Dequantised(Source):
    """Codes read as reals."""

    tensor: TensorInfo
    quantisation: Quantisation

    @property
    def grid(self) -> Quantisation:
        return self.quantisation

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        if target.quantisation == self.quantisation and not target.is_clipped:
            return self.tensor
        return rescale(writer, self.tensor, target)


@dataclass(frozen=True, eq=False)
class Accumulation(Source):
    """A convolution or fully connected layer.

    Parameters
    ----------
    layer : LayerShape
    input : TensorInfo
    weights : ndarray of int8, axes k, r, s, c
    weight_scales : ndarray of float64, axis k
        A scale of 0 makes its filter zero.
    bias : ndarray of float64, axis k
        As reals.
    """

    layer: LayerShape
    input: TensorInfo
    weights: NDArray[np.int8]
    weight_scales: NDArray[np.float64]
    bias: NDArray[np.float64]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        name = writer.layer(self.layer.name, self.weights)
        how, zero = target.quantisation, self.input.zero_point
        weights, weight_scales = self._settle_scales()
        steps = np.rint(self.bias / (self.input.scale * weight_scales))
        # Beyond int32 the proof of the accumulator refuses the layer by name.
        bias = np.clip(steps, -(2.0**40), 2.0**40).astype(np.int64)
        bias -= zero * weights.sum(axis=(1, 2, 3), dtype=np.int64)
        multiplier, shift = quantise_scale(self.input.scale * weight_scales / how.scale)
        layer = replace(self.layer, name=name)
        source = self.input
        pads = (layer.pad_top, layer.pad_left, layer.pad_bottom, layer.pad_right)
        if zero and any(pads):
            source = self._pad(writer, pads)
            layer = replace(
                layer,
                in_height=source.shape[0],
                in_width=source.shape[1],
                pad_top=0,
                pad_left=0,
                pad_bottom=0,
                pad_right=0,
            )
        shape = (layer.out_height, layer.out_width, layer.out_channels)
        return writer.append(
            Convolution(
                input=source.name,
                output=writer.tensor(target, shape),
                layer=layer,
                weights=weights,
                weight_scales=weight_scales,
                requantisation=Requantisation(
                    bias=bias,
                    multiplier=multiplier,
                    shift=shift,
                    low=target.low,
                    high=target.high,
                    signed=how.dtype == "int8",
                    zero_point=how.zero_point,
                ),
            )
        )

    def _settle_scales(self) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Give filters without weights a scale in which their bias fits."""
        zero = ~self.weights.any(axis=(1, 2, 3)) | (self.weight_scales == 0)
        weights = np.where(zero[:, None, None, None], np.int8(0), self.weights)
        steps = np.abs(self.bias) / self.input.scale
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            fits = steps / self.weight_scales < 1 << BIAS_BITS  # False for 0 / 0
        scales = np.where(steps > 0, steps / (1 << BIAS_BITS), 1.0)
        return weights, np.where(zero & ~fits, scales, self.weight_scales)

    def _pad(self, writer: Writing, pads: tuple[int, int, int, int]) -> TensorInfo:
        how = Quantisation(self.input.scale, self.input.zero_point, self.input.dtype)
        target = Target(f"{self.input.name}_padded", how, how.low, how.high)
        return _border(writer, self.input, pads, how.zero_point, target)


def _border(
    writer: Writing,
    source: TensorInfo,
    pads: tuple[int, int, int, int],
    value: int,
    target: Target,
) -> TensorInfo:
    height, width, channels = source.shape
    top, left, bottom, right = pads
    shape = (height + top + bottom, width + left + right, channels)
    return writer.append(
        Padding(input=source.name, output=writer.tensor(target, shape), pads=pads, value=value)
    )


@dataclass(frozen=True, eq=False)
class Sum(Source):
    """An addition of tensors in codes; a sign of -1 subtracts one."""

    parts: tuple[TensorInfo, ...]
    signs: tuple[int, ...]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        ratios = tuple(part.scale / target.quantisation.scale for part in self.parts)
        multipliers, shift = common_multipliers(target.name, ratios)
        return writer.append(
            Addition(
                inputs=tuple(part.name for part in self.parts),
                output=writer.tensor(target, self.parts[0].shape),
                multipliers=tuple(
                    sign * multiplier
                    for sign, multiplier in zip(self.signs, multipliers, strict=True)
                ),
                shift=shift,
                low=target.low,
                high=target.high,
            )
        )


@dataclass(frozen=True, eq=False)
class Multiplied(Source):
    """A product of two tensors in codes; the second may have one pixel."""

    first: TensorInfo
    second: TensorInfo

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        ratio = self.first.scale * self.second.scale / target.quantisation.scale
        (multiplier,), shift = common_multipliers(target.name, (ratio,))
        return writer.append(
            Product(
                inputs=(self.first.name, self.second.name),
                output=writer.tensor(target, self.first.shape),
                multiplier=multiplier,
                shift=shift,
                low=target.low,
                high=target.high,
            )
        )


@dataclass(frozen=True, eq=False)
class Function(Source):
    """A function of each code of a tensor.

    Parameters
    ----------
    values : ndarray of float32, axes channel or 1, code
        From the lowest code on.
    """

    part: TensorInfo
    values: NDArray[np.float32]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        how = target.quantisation
        # As QuantizeLinear computes it, in float32; what is no number becomes code 0's.
        with np.errstate(all="ignore"):
            steps = np.rint(self.values / np.float32(how.scale)) + np.float32(how.zero_point)
        steps = np.nan_to_num(steps, nan=how.zero_point, posinf=how.high, neginf=how.low)
        codes = np.clip(steps, target.low, target.high).astype(how.dtype)
        if np.all(codes == codes[:1]):
            codes = codes[:1]
        return writer.append(
            Table(input=self.part.name, output=writer.tensor(target, self.part.shape), codes=codes)
        )


@dataclass(frozen=True, eq=False)
class Average(Source):
    """Average pooling of a tensor in codes."""

    part: TensorInfo
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    count_include_pad: bool

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        how = target.quantisation
        plain = replace(target, low=how.low, high=how.high)
        pooled = writer.append(
            Pooling(
                input=self.part.name,
                output=writer.tensor(
                    plain, pooled_shape(self.part.shape, self.kernel, self.stride, self.pads)
                ),
                kind=PoolingKind.AVERAGE,
                kernel=self.kernel,
                stride=self.stride,
                pads=self.pads,
                count_include_pad=self.count_include_pad,
            )
        )
        return rescale(writer, pooled, target) if target.is_clipped else pooled


@dataclass(frozen=True, eq=False)
class Largest(Source):
    """Max pooling; it commutes with every quantisation, so its operand is written first."""

    part: Real
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def grid(self) -> Quantisation | None:
        return self.part.grid

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        source = writer.write(self.part, target.quantisation, "", target.low, target.high)
        return writer.append(
            Pooling(
                input=source.name,
                output=writer.tensor(
                    target, pooled_shape(source.shape, self.kernel, self.stride, self.pads)
                ),
                kind=PoolingKind.MAX,
                kernel=self.kernel,
                stride=self.stride,
                pads=self.pads,
                count_include_pad=False,
            )
        )


def pooled_shape(
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
) -> tuple[int, int, int]:
    """Shape of a pooling's output, axes y, x, channel; pads are top, left, bottom, right."""
    height, width, channels = shape
    return (
        (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1,
        (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1,
        channels,
    )


@dataclass(frozen=True, eq=False)
class Padded(Source):
    """A border of one value."""

    part: Real
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    value: float

    @property
    def grid(self) -> Quantisation | None:
        grid = self.part.grid
        return grid if grid is not None and grid.holds(self.value) else None

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        source = writer.write(self.part, target.quantisation, "", target.low, target.high)
        value = min(max(target.quantisation.code(self.value), target.low), target.high)
        return _border(writer, source, self.pads, value, target)


@dataclass(frozen=True, eq=False)
class Moved(Source):
    """Elements of a tensor in other places.

    Parameters
    ----------
    part : Real
        Its view does not matter.
    index : ndarray of int32, axes y, x, channel
        Flat index into the part's tensor, or -1 where ``value`` stands.
    """

    part: Real
    index: NDArray[np.int32]
    value: float = 0.0

    @property
    def grid(self) -> Quantisation | None:
        grid = self.part.grid
        return grid if grid is not None and grid.holds(self.value) else None

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        how = target.quantisation
        source = writer.write(self.part, how, "", target.low, target.high)
        height, width, channels = self.index.shape
        return writer.append(
            Rearrangement(
                input=source.name,
                output=writer.tensor(target, (height, width, channels)),
                index=self.index,
                fill=min(max(how.code(self.value), target.low), target.high),
            )
        )


@dataclass(frozen=True, eq=False)
class Fixed(Source):
    """A constant, axes y, x, channel; it takes whatever codes are wanted."""

    values: NDArray[np.float64]

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        how = target.quantisation
        height, width, channels = self.values.shape
        steps = np.rint(self.values / how.scale) + how.zero_point
        codes = np.clip(steps, target.low, target.high).astype(how.dtype)
        output = writer.tensor(target, (height, width, channels))
        return writer.append(Constant(output=output, codes=codes))


@dataclass(frozen=True, eq=False)
class Joined(Source):
    """A concatenation along channels; every operand is written in the codes of the whole."""

    parts: tuple[Real, ...]

    @property
    def grid(self) -> Quantisation | None:
        grids = {part.grid for part in self.parts}
        return grids.pop() if len(grids) == 1 else None

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        sources = []
        for part in self.parts:
            name = part.name if part.grid is None else f"{part.name}_rescaled"
            sources.append(writer.write(part, target.quantisation, name, target.low, target.high))
        height, width = sources[0].shape[:2]
        channels = sum(source.shape[2] for source in sources)
        return writer.append(
            Concatenation(
                inputs=tuple(source.name for source in sources),
                output=writer.tensor(target, (height, width, channels)),
            )
        )
