"""Nodes of a network that ONNX Runtime runs, because neither machine nor vector nodes can."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from golden.foreign import foreign
from golden.network import HostNode

__all__ = ["run_host"]

_sessions: WeakKeyDictionary[HostNode, Any] = WeakKeyDictionary()


def run_host(node: HostNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Run a host node on the arrays that it reads; its session is kept as long as the node.

    Raises
    ------
    UserError
        ONNX Runtime can't run it.
    """
    with foreign(f"Node {node.name} ({node.operator}) can't be run by ONNX Runtime", UserError):
        session = _sessions.get(node)
        if session is None:
            session = _sessions[node] = _load(node.graph)
        feeds = {item.name: array for item, array in zip(session.get_inputs(), inputs, strict=True)}
        (result,) = session.run(None, feeds)
    made, wanted = np.asarray(result), node.output
    if made.shape != wanted.shape or made.dtype != np.dtype(wanted.dtype):
        raise FormatError(
            f"Node {node.name} ({node.operator}) must make {wanted.dtype} of shape {wanted.shape}, "
            f"not {made.dtype} of shape {made.shape}"
        )
    return made


def _load(graph: bytes) -> Any:
    # It has to stand before the first import: telemetry writes to the user's home.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
