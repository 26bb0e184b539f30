"""Writing a network node by node: names, what is written already, and in which codes."""

from __future__ import annotations

import re
from dataclasses import replace

from numpy.typing import NDArray

from golden.errors import UserError, one_line
from golden.network import Node, Rescaling, TensorInfo
from sw.fixed_point import common_multipliers
from sw.onnx.graph.values import Codes, GraphTensor, Quantisation, Real, Source, Target, Writing

__all__ = ["Writer", "rescale"]


class Writer:
    """Collects the nodes of a network.

    Attributes
    ----------
    nodes : list of Node
    inputs : dict of str to TensorInfo
        The network's inputs by the graph's names, once their codes are known.
    notes : list of str
        What was rearranged.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: dict[str, TensorInfo] = {}
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

    def read(self, source: GraphTensor, target: Target) -> TensorInfo:
        """Return an input of the graph in codes; whoever quantises it first says which."""
        how = target.quantisation
        if source.name not in self.inputs:
            plain = replace(target, name=source.name, low=how.low, high=how.high)
            self.inputs[source.name] = self.tensor(plain, source.shape)
        known = self.inputs[source.name]
        if (known.scale, known.zero_point, known.dtype) != (how.scale, how.zero_point, how.dtype):
            raise UserError(f"Input {source.name} must be quantised once, not in two ways")
        return rescale(self, known, target) if target.is_clipped else known

    def read_floats(self, source: GraphTensor) -> TensorInfo:
        """Return an input of the graph as it is, for the host."""
        if source.name not in self.inputs:
            name = _free(one_line(source.name, 120), self._names)
            self.inputs[source.name] = TensorInfo(name=name, shape=source.shape, dtype="float32")
        return self.inputs[source.name]

    def name(self, wanted: str) -> str:
        """Return a name for a tensor that is still free."""
        stem = re.sub(r"_(quantized|QuantizeLinear_(Input|Output))$", "", wanted)
        return _free(one_line(stem, 120), self._names)

    def tensor(self, target: Target, shape: tuple[int, ...]) -> TensorInfo:
        """Describe a new tensor of codes under a name that is still free."""
        how = target.quantisation
        return TensorInfo(
            name=self.name(target.name),
            shape=shape,
            dtype=how.dtype,
            scale=how.scale,
            zero_point=how.zero_point,
        )

    def append(self, node: Node) -> TensorInfo:
        self.nodes.append(node)
        return node.output

    def layer(self, name: str, weights: NDArray) -> str:
        """Return a name for a layer that is still free; UserError where its weights ran already."""
        if any(weights is claimed for claimed in self._claimed):
            raise UserError(f"Layer {name}: its result must be quantised once, not in two ways")
        self._claimed.append(weights)
        return _free(one_line(name, 120), self._layers)


def _free(name: str, taken: set[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def rescale(writer: Writing, source: TensorInfo, target: Target) -> TensorInfo:
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
