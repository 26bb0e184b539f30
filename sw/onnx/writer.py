"""Writing a network node by node: names, what is written already, and in which codes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from numpy.typing import NDArray

from golden.errors import UserError
from golden.network import Node, Rescaling, TensorInfo
from sw.fixed_point import common_multipliers
from sw.onnx.values import Codes, Quantisation, Real

__all__ = ["Source", "Target", "Writer", "rescale"]


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


class Source:
    """Where a real tensor comes from."""

    @property
    def grid(self) -> Quantisation | None:
        """Codes that hold the tensor exactly, where there are any."""
        return None

    def write(self, writer: Writer, target: Target) -> TensorInfo:
        """Append the nodes that make the tensor, and return it."""
        raise NotImplementedError


class Writer:
    """Collects the nodes of a network.

    Attributes
    ----------
    nodes : list of Node
    input : TensorInfo or None
        The network's input, once its codes are known.
    notes : list of str
        What was left out or rearranged.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.input: TensorInfo | None = None
        self.notes: list[str] = []
        self._names: set[str] = set()
        self._layers: set[str] = set()
        self._claimed: list[NDArray] = []
        self._written: dict[tuple[Source, Quantisation, int, int], TensorInfo] = {}

    def write(
        self,
        real: Real,
        quantisation: Quantisation,
        name: str = "",
        low: int | None = None,
        high: int | None = None,
    ) -> TensorInfo:
        """Write a real in codes, within ``low`` and ``high`` if given; once if asked twice."""
        least, most = quantisation.code(real.low), quantisation.code(real.high)
        if low is not None and high is not None:
            least, most = min(max(least, low), high), min(max(most, low), high)
        key = (real.source, quantisation, least, most)
        if key not in self._written:
            target = Target(name or real.name, quantisation, least, most)
            self._written[key] = real.source.write(self, target)
        return self._written[key]

    def exact(self, real: Real, where: str) -> Codes:
        """Return the codes that hold a real exactly; UserError where there are none."""
        grid = real.grid
        if grid is None:
            raise UserError(
                f"{where} reads {real.name}, which must be quantised: "
                f"no QuantizeLinear gives it a scale"
            )
        return Codes(real.name, self.write(real, grid), grid, real.view)

    def tensor(self, target: Target, shape: tuple[int, int, int]) -> TensorInfo:
        """Describe a new tensor under a name that is still free."""
        how = target.quantisation
        stem = re.sub(r"_(quantized|QuantizeLinear_(Input|Output))$", "", target.name)
        name = _free(stem, self._names)
        return TensorInfo(
            name=name, shape=shape, dtype=how.dtype, scale=how.scale, zero_point=how.zero_point
        )

    def append(self, node: Node) -> TensorInfo:
        self.nodes.append(node)
        return node.output

    def layer(self, name: str, weights: NDArray) -> str:
        """Return a name for a layer that is still free; UserError where its weights ran already."""
        if any(weights is claimed for claimed in self._claimed):
            raise UserError(f"Layer {name}: its result must be quantised once, not in two ways")
        self._claimed.append(weights)
        return _free(name, self._layers)


def _free(name: str, taken: set[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def rescale(writer: Writer, source: TensorInfo, target: Target) -> TensorInfo:
    """Append a rescaling of a tensor in codes."""
    ratio = source.scale / target.quantisation.scale
    (multiplier,), shift = common_multipliers(target.name, (ratio,))
    return writer.append(
        Rescaling(
            input=source.name,
            output=writer.tensor(target, source.shape),
            multiplier=multiplier,
            shift=shift,
            low=target.low,
            high=target.high,
        )
    )
