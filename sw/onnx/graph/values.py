"""What a tensor of an ONNX graph stands for while the graph is imported.

A quantised graph alternates between integers (codes) and reals. Codes are a tensor of the
network, seen through a ``View``. A real is not written down until a ``QuantizeLinear``
says in which codes: until then it is a ``Real``, a recipe with a ``Source``
(``sw.onnx.graph.sources``) and a range that ReLUs and clips have narrowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from golden.errors import FormatError, UserError
from golden.network import Node, TensorInfo

__all__ = [
    "CODE_RANGE",
    "Codes",
    "HostTensor",
    "Quantisation",
    "RawInput",
    "Real",
    "Source",
    "Target",
    "View",
    "Weights",
    "Writing",
]

#: Ranges of codes by type.
CODE_RANGE = {"uint8": (0, 255), "int8": (-128, 127)}


@dataclass(frozen=True)
class Quantisation:
    """How a real is written as codes of the network.

    Parameters
    ----------
    offset : int
        Code of the network minus code of the ONNX tensor; see ``from_onnx``.
    """

    scale: float
    zero_point: int
    dtype: str
    offset: int = field(default=0, compare=False)

    @classmethod
    def from_onnx(cls, where: str, scale: NDArray, zero_point: NDArray) -> Quantisation:
        """Take an ONNX scale and zero point, and move the zero point to 0 where that is exact.

        uint8 around 128 becomes int8 around 0, and int8 from -128 on becomes uint8 from 0.
        """
        if scale.size != 1 or zero_point.size != 1:
            raise UserError(f"{where}: activations must have one scale, not {scale.size}")
        value, zero = float(scale.reshape(-1)[0]), int(zero_point.reshape(-1)[0])
        dtype = str(zero_point.dtype)
        if dtype not in CODE_RANGE:
            raise UserError(f"{where}: activations must be uint8 or int8, not {dtype}")
        if not (math.isfinite(value) and value > 0):
            raise FormatError(f"{where}: scale must be positive and finite, not {value:g}")
        if (dtype, zero) == ("uint8", 128):
            return cls(value, 0, "int8", -128)
        if (dtype, zero) == ("int8", -128):
            return cls(value, 0, "uint8", 128)
        return cls(value, zero, dtype)

    @property
    def low(self) -> int:
        return CODE_RANGE[self.dtype][0]

    @property
    def high(self) -> int:
        return CODE_RANGE[self.dtype][1]

    def code(self, value: float) -> int:
        """Quantise one value as ONNX does: nearest, ties to even, saturated."""
        steps = value / self.scale
        if not math.isfinite(steps):
            return self.high if steps > 0 else self.low
        return min(max(round(steps) + self.zero_point, self.low), self.high)

    @property
    def values(self) -> NDArray[np.float32]:
        """What each code stands for, in float32 as ``DequantizeLinear`` computes it."""
        codes = np.arange(self.low, self.high + 1, dtype=np.float32)
        return (codes - np.float32(self.zero_point)) * np.float32(self.scale)

    def holds(self, value: float) -> bool:
        """Whether a value is exactly one of the codes' values."""
        return (self.code(value) - self.zero_point) * self.scale == value


@dataclass(frozen=True, eq=False)
class View:
    """An ONNX tensor as elements of a network tensor, each once, several times or not at all.

    Parameters
    ----------
    tensor : tuple of int
        Shape of the network tensor, axes y, x, channel.
    shape : tuple of int
        Shape of the ONNX tensor.
    order : ndarray of int64 of that shape, or None
        For each element of the ONNX tensor the flat index of the network tensor's; None
        stands for the elements in the order channel, y, x.
    """

    tensor: tuple[int, int, int]
    shape: tuple[int, ...]
    order: NDArray[np.int64] | None = None

    @classmethod
    def image(cls, tensor: tuple[int, int, int]) -> View:
        """Axes n, c, y, x."""
        height, width, channels = tensor
        return cls(tensor, (1, channels, height, width))

    @classmethod
    def vector(cls, tensor: tuple[int, int, int], rank: int = 2) -> View:
        """Axes n, c, of a tensor of one pixel; more axes of 1 in front for a higher rank."""
        return cls(tensor, (*(1,) * (rank - 1), tensor[2]))

    @classmethod
    def flat(cls, shape: tuple[int, ...]) -> View:
        """Any axes, of a tensor of one pixel that has the elements in ONNX's order."""
        size = math.prod(shape)
        return cls((1, 1, size), shape, np.arange(size, dtype=np.int64).reshape(shape))

    @property
    def elements(self) -> NDArray[np.int64]:
        """``order``, made explicit."""
        if self.order is not None:
            return self.order
        flat = np.arange(math.prod(self.tensor), dtype=np.int64).reshape(self.tensor)
        return flat.transpose(2, 0, 1).reshape(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether this is n, c, y, x of the network tensor, as convolutions and pooling need."""
        image = View.image(self.tensor)
        return self.shape == image.shape and (
            self.order is None or np.array_equal(self.order, image.elements)
        )

    @property
    def is_whole(self) -> bool:
        """Whether every element of the network tensor is there, once."""
        if self.order is None:
            return True
        size = math.prod(self.tensor)
        return self.order.size == size and bool(
            np.all(np.bincount(self.order.reshape(-1), minlength=size) == 1)
        )

    def reshape(self, shape: tuple[int, ...]) -> View:
        return View(self.tensor, shape, self.elements.reshape(shape))

    def transpose(self, axes: tuple[int, ...]) -> View:
        order = self.elements.transpose(axes)
        return View(self.tensor, order.shape, order)

    def matches(self, other: View) -> bool:
        return (
            self.tensor == other.tensor
            and self.shape == other.shape
            and (self.order is other.order or np.array_equal(self.elements, other.elements))
        )

    def channel_vector(self, values: NDArray) -> NDArray[np.float64] | None:
        """Turn a constant that broadcasts to this tensor into one value a channel, or None."""
        try:
            spread = np.broadcast_to(values, self.shape)
        except ValueError:
            return None
        if not self.is_whole:
            return None
        placed = np.empty(math.prod(self.tensor), dtype=np.float64)
        placed[self.elements.reshape(-1)] = spread.reshape(-1)
        pixels = placed.reshape(-1, self.tensor[2])
        return pixels[0].copy() if np.all(pixels == pixels[0]) else None


@dataclass(frozen=True)
class Target:
    """In which codes a source is to be written, and under which name."""

    name: str
    quantisation: Quantisation
    low: int
    high: int

    @property
    def is_clipped(self) -> bool:
        return (self.low, self.high) != (self.quantisation.low, self.quantisation.high)


class Writing(Protocol):
    """What a source asks of the writer (``sw.onnx.graph.writer``)."""

    def write(
        self,
        real: Real,
        quantisation: Quantisation,
        name: str = "",
        low: int | None = None,
        high: int | None = None,
    ) -> TensorInfo: ...

    def read(self, source: GraphTensor, target: Target) -> TensorInfo: ...

    def tensor(self, target: Target, shape: tuple[int, ...]) -> TensorInfo: ...

    def append(self, node: Node) -> TensorInfo: ...

    def layer(self, name: str, weights: NDArray) -> str: ...


class GraphTensor(Protocol):
    """An input of the graph: its name, and its shape as a network has it."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...


class Source:
    """Where a real tensor comes from."""

    @property
    def grid(self) -> Quantisation | None:
        """Codes that hold the tensor exactly, where there are any."""
        return None

    def write(self, writer: Writing, target: Target) -> TensorInfo:
        """Append the nodes that make the tensor, and return it."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Real:
    """A real tensor, not written in codes yet.

    Parameters
    ----------
    name : str
        The ONNX tensor's.
    low, high : float
        Range to which ReLUs and clips have narrowed it.
    """

    name: str
    source: Source
    view: View
    low: float = -math.inf
    high: float = math.inf

    def clip(self, name: str, low: float, high: float) -> Real:
        """Narrow the range, as a clip of this tensor does."""
        return Real(
            name,
            self.source,
            self.view,
            min(max(self.low, low), high),
            min(max(self.high, low), high),
        )

    def seen(self, name: str, view: View) -> Real:
        """Return the same elements under another name and view."""
        return Real(name, self.source, view, self.low, self.high)

    @property
    def is_clipped(self) -> bool:
        return self.low > -math.inf or self.high < math.inf

    @property
    def grid(self) -> Quantisation | None:
        """Codes that hold this tensor exactly, where there are any."""
        grid = self.source.grid
        if grid is None:
            return None
        bounds = [bound for bound in (self.low, self.high) if math.isfinite(bound)]
        # A bound beyond the codes never acts.
        ends = [(code - grid.zero_point) * grid.scale for code in (grid.low, grid.high)]
        inside = [bound for bound in bounds if ends[0] < bound < ends[1]]
        return grid if all(grid.holds(bound) for bound in inside) else None


@dataclass(frozen=True, eq=False)
class Codes:
    """An integer tensor: a tensor of the network."""

    name: str
    tensor: TensorInfo
    quantisation: Quantisation
    view: View


@dataclass(frozen=True, eq=False)
class RawInput:
    """The graph's input where it is integer: its scale is what its first reader says."""

    name: str
    view: View
    dtype: str


@dataclass(frozen=True, eq=False)
class HostTensor:
    """A tensor that stays on the host: integers, truth values, what is never quantised."""

    info: TensorInfo


@dataclass(frozen=True, eq=False)
class HostValue(HostTensor):
    """What no network tensor can be: a sequence, strings, codes of a number that images decide.

    Nodes that read it make it anew; its ``dtype`` is ONNX Runtime's word for it.
    """

    node: NodeProto
    output: str


@dataclass(frozen=True, eq=False)
class Weights:
    """A constant in codes, as a ``DequantizeLinear`` gives it.

    Parameters
    ----------
    codes : ndarray of integers
    scale, zero_point : ndarray
        One value, or one for each index of ``axis``.
    """

    codes: NDArray
    scale: NDArray
    zero_point: NDArray
    axis: int

    @property
    def real(self) -> NDArray[np.float64]:
        """The values it stands for."""
        centred = self.codes.astype(np.int64) - self._spread(self.zero_point).astype(np.int64)
        return centred * self._spread(self.scale).astype(np.float64)

    @property
    def floats(self) -> NDArray[np.float32]:
        """The values in float32, as ``DequantizeLinear`` computes them."""
        centred = self.codes.astype(np.int64) - self._spread(self.zero_point).astype(np.int64)
        return centred.astype(np.float32) * self._spread(self.scale).astype(np.float32)

    def centred(self, where: str, out_axis: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
        """Return codes around 0, and one scale for each index of ``out_axis``.

        Codes around a zero point of their own have 9 bits, -255 to 255; where those of a filter
        share a divisor it is taken into the scale, which keeps most of them within int8.

        Raises
        ------
        UserError
            Codes have more than 8 bits, scales run along another axis, or a scale is negative
            or not finite.
        """
        if str(self.codes.dtype) not in ("int8", "uint8", "int4", "uint4", "int2", "uint2"):
            raise UserError(f"{where}: weights must be int8 or uint8, not {self.codes.dtype}")
        count = self.codes.shape[out_axis]
        scale = self.scale.reshape(-1).astype(np.float64)
        if scale.size > 1 and (self.scale.ndim != 1 or self.axis != out_axis):
            raise UserError(
                f"{where}: weights must have one scale, or one for each output channel "
                f"(axis {out_axis}), not {self.scale.shape} on axis {self.axis}"
            )
        if scale.size not in (1, count):
            raise UserError(f"{where}: weights must have 1 or {count} scales, not {scale.size}")
        if not np.all(np.isfinite(scale)) or np.any(scale < 0):
            raise UserError(f"{where}: weight scales must be finite and not negative")
        centred = self.codes.astype(np.int16) - self._spread(self.zero_point).astype(np.int16)
        scales = np.broadcast_to(scale, (count,)).copy()
        if centred.size and (centred.min() < -128 or centred.max() > 127):
            filters = np.moveaxis(centred, out_axis, 0)
            divisors = np.maximum(np.gcd.reduce(filters.reshape(count, -1), axis=1), 1)
            filters //= divisors.reshape(-1, *(1,) * (filters.ndim - 1))
            scales *= divisors
        return centred, scales

    def _spread(self, values: NDArray) -> NDArray:
        """Line one value for each index of ``axis`` up with ``codes``."""
        if values.size == 1:
            return values.reshape(-1)[0]
        shape = [1] * self.codes.ndim
        shape[self.axis] = values.size
        return values.reshape(shape)
