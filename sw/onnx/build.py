"""A small writer of float ONNX graphs: one method an operator, layers named as in the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GraphBuilder"]

#: Operator set of the models written here, and the file format version that goes with it.
OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Build a float ONNX model of batch 1, operator by operator.

    Every method takes names of tensors and returns the name of its output, which is the
    node's name as well. Nothing here knows shapes: ONNX infers them on ``build``.

    Parameters
    ----------
    name : str
        Name of the graph.
    shape : tuple of int
        Shape of the input ``images``, axes n, c, y, x.
    """

    input = "images"

    def __init__(self, name: str, shape: tuple[int, int, int, int]) -> None:
        self._name = name
        self._shape = shape
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []

    def convolution(
        self,
        source: str,
        name: str,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        pad: int = 0,
    ) -> str:
        """Convolve, stride 1; weights have axes k, c, r, s."""
        parameters = [self._constant(f"{name}.weight", weights)]
        if bias is not None:
            parameters.append(self._constant(f"{name}.bias", bias))
        return self._add(
            "Conv",
            [source, *parameters],
            name,
            kernel_shape=list(weights.shape[2:]),
            pads=[pad] * 4,
        )

    def relu(self, source: str, name: str) -> str:
        return self._add("Relu", [source], name)

    def max_pool(self, source: str, name: str, size: int = 2) -> str:
        """Take the largest of each ``size`` x ``size`` window, side by side."""
        return self._add("MaxPool", [source], name, kernel_shape=[size, size], strides=[size, size])

    def build(self, output: str) -> Any:
        """Return the checked ``onnx.ModelProto`` whose result is the tensor ``output``."""
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(self.input, TensorProto.FLOAT, self._shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            producer_name="innerjoin",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _constant(self, name: str, values: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        array = np.ascontiguousarray(values, dtype=np.float32)
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name
