"""ONNX Runtime behind one door: no telemetry, silent, its failures in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from golden.errors import FormatError, UserError
from golden.files import temporary_folder
from golden.foreign import foreign

# Telemetry writes an identity under the user's home and opens connections; it is too late to
# switch it off once the library is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

__all__ = ["load_session", "optimise", "quiet", "run_node", "run_session"]

_FATAL = 4


@contextmanager
def quiet(words: str, error: type[UserError] = FormatError) -> Iterator[None]:
    """Let ONNX Runtime work: its hints to developers stay off the terminal.

    Raises
    ------
    UserError
        Of type ``error``, with ``words`` before the reason.
    """
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        with foreign(words, error):
            yield
    finally:
        onnxruntime.set_default_logger_severity(2)


def _options(optimise: bool = False) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Without it processors that lack VNNI saturate pairs of products at 16 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def load_session(model: ModelProto, optimise: bool = False) -> Any:
    """Return a session of a model.

    Parameters
    ----------
    optimise : bool
        Let ONNX Runtime fuse operators into integer kernels. The codes that this project's are
        compared with are those without: each operator as the model has it.

    Raises
    ------
    FormatError
        ONNX Runtime can't load it.
    """
    with quiet("Model can't be loaded by ONNX Runtime"):
        return onnxruntime.InferenceSession(
            model.SerializeToString(), _options(optimise), providers=["CPUExecutionProvider"]
        )


def run_session(
    session: Any, wanted: Sequence[str] | None, feeds: Mapping[str, NDArray]
) -> list[NDArray]:
    """Run a session; UserError where ONNX Runtime fails."""
    with quiet("Model can't be run by ONNX Runtime", UserError):
        return [np.asarray(value) for value in session.run(wanted, dict(feeds))]


def run_node(
    node: NodeProto, feeds: Mapping[str, NDArray], opsets: Sequence[Any], words: str
) -> list[NDArray]:
    """Compute one node on arrays; ``words`` begin the message where that fails."""
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", inputs, outputs)
    model = helper.make_model(graph, opset_imports=list(opsets), ir_version=8)
    with quiet(words, UserError):
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
        return [np.asarray(value) for value in session.run(None, dict(feeds))]


def optimise(model: ModelProto) -> ModelProto:
    """Run ONNX Runtime's basic optimisations, which stay within ONNX's own operators."""
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with temporary_folder() as folder, quiet("Model can't be loaded by ONNX Runtime"):
        path = folder / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return ModelProto.FromString(path.read_bytes())
