"""What handlers of operators ask of the graph that is being imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from sw.onnx.graph.values import Codes, Quantisation, Real, View, Weights

__all__ = ["Graph", "Handler"]


class Graph(Protocol):
    """The graph's values; ``sw.onnx.importer.Importer`` is one.

    Methods that take a node and an index look at that operand, and raise ``NotOnMachine``
    where it is not what they return.
    """

    values: dict[str, Any]
    opsets: tuple[Any, ...]

    def note(self, words: str) -> None:
        """Add to what reports state of the network's origin."""
        ...

    def is_constant(self, name: str) -> bool: ...

    def real(self, node: NodeProto, index: int) -> Real:
        """Return an operand as a real tensor."""
        ...

    def real_of(self, codes: Codes) -> Real:
        """Read codes as reals."""
        ...

    def exact(self, real: Real, node: NodeProto) -> Codes:
        """Return the codes that hold a real exactly."""
        ...

    def codes_as(self, node: NodeProto, index: int, scale: int, zero_point: int) -> Codes:
        """Return an integer operand, whose scale and zero point are further operands."""
        ...

    def weights(self, node: NodeProto, index: int) -> Weights: ...

    def packed_weights(
        self, node: NodeProto, index: int, scale: int, zero_point: int, axis: int = 0
    ) -> Weights:
        """Return constant codes, whose scale and zero point are further operands."""
        ...

    def array(self, node: NodeProto, index: int) -> NDArray:
        """Return a constant operand as it is."""
        ...

    def optional(self, node: NodeProto, index: int) -> NDArray | None:
        """Return a constant operand as it is, or None where it is not given."""
        ...

    def constant(self, node: NodeProto, index: int) -> NDArray[np.float64] | None:
        """Return a constant operand's values, or None where it is not given."""
        ...

    def integers(self, node: NodeProto, index: int) -> list[int] | None:
        """Return a constant operand of sizes or axes, or None where it is not given."""
        ...

    def zero_point(self, node: NodeProto, index: int, dtype: str) -> NDArray: ...

    def quantisation(
        self, node: NodeProto, scale: int, zero_point: int, dtype: str = "uint8"
    ) -> Quantisation: ...

    def quantise(self, node: NodeProto, real: Real, how: Quantisation) -> Codes:
        """Write a real in the codes that a node says."""
        ...

    def image(self, node: NodeProto, real: Real) -> Real:
        """Return a real whose view is n, c, y, x, moved there where it was not."""
        ...

    def moved(self, real: Real, index: NDArray[np.int64], view: View, value: float = 0.0) -> Real:
        """Return a real whose tensor is made of another's elements, axes y, x, channel."""
        ...


Handler = Callable[[Graph, NodeProto, dict[str, Any]], Any]
