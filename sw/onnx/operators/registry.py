"""Every operator that machine and vector nodes do, by name; what is not here runs on the host."""

from __future__ import annotations

from sw.onnx.graph.protocol import Handler
from sw.onnx.operators.elementwise import ELEMENTWISE
from sw.onnx.operators.layers import LAYERS
from sw.onnx.operators.movement import MOVEMENT
from sw.onnx.operators.pooling import POOLING
from sw.onnx.operators.quantised import QUANTISED

__all__ = ["OPERATORS", "QUANTISED"]

#: Handlers of operators on reals.
OPERATORS: dict[str, Handler] = {**ELEMENTWISE, **LAYERS, **MOVEMENT, **POOLING}
