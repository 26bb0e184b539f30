"""What of a model runs where, in seconds and before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from golden.layer import LayerShape
from golden.network import Convolution, HostNode, Network
from sw.onnx.file import is_quantised, load_model, model_inputs
from sw.onnx.floats import to_floats
from sw.onnx.importer import import_onnx
from sw.onnx.prepare import prepare
from sw.quantise import quantise

__all__ = ["ModelCheck", "check_model", "model_kind"]


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """Where the parts of a model run.

    Parameters
    ----------
    network : Network
        The model as it would be imported. Scales of a float model are those of one drawn
        image: shapes and places are right, codes are not.
    kind : str
        What the model is, in words (``model_kind``).
    is_quantised : bool
        The model came with codes; otherwise calibration images will give them.
    """

    network: Network
    kind: str
    is_quantised: bool

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Layers on the machine; whether they fit one is for its configuration to say."""
        return tuple(node.layer for node in self.network.convolutions)

    @property
    def host_nodes(self) -> tuple[HostNode, ...]:
        return self.network.host_nodes

    @property
    def host_operators(self) -> dict[str, tuple[str, ...]]:
        """All operators on the host, and the reasons why."""
        found: dict[str, dict[str, None]] = {}
        for node in self.host_nodes:
            found.setdefault(node.operator, {})[node.reason] = None
        return {operator: tuple(reasons) for operator, reasons in sorted(found.items())}

    @property
    def machine_share(self) -> float:
        """Share of the multiply-accumulates on the machine, 0 to 1."""
        return self.network.machine_share

    def rows(self) -> list[dict[str, str | int]]:
        """Return a row for each node, in order: name, operator, place, MACs, and why there."""
        keys = ("name", "operator", "place", "macs", "reason")
        rows: list[dict[str, str | int]] = []
        for node in self.network.nodes:
            if isinstance(node, HostNode):
                row = (node.name, node.operator, "host", node.macs, node.reason)
            elif isinstance(node, Convolution):
                row = (node.layer.name, "Conv", "machine", node.layer.dense_macs, "")
            else:
                row = (node.output.name, type(node).__name__, "vector", 0, "")
            rows.append(dict(zip(keys, row, strict=True)))
        return rows


def check_model(
    model: ModelProto | str | os.PathLike[str],
    name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> ModelCheck:
    """Say what of a model runs on the machine and what on the host.

    Parameters
    ----------
    model : ModelProto or path
    name : str, optional
        What reports call the network; the file's stem, or the graph's name, where None.
    input_shape : tuple of int, axes n, c, y, x, optional
        Shape to fix where the model leaves its input's open.

    Raises
    ------
    UserError
        As ``sw.onnx.file.load_model``, ``sw.onnx.prepare.prepare`` and
        ``sw.onnx.importer.import_onnx``.
    """
    if not isinstance(model, ModelProto):
        name = name or Path(model).stem
        model = load_model(model, input_shape)
    came_quantised = is_quantised(model)
    kind = model_kind(model)
    called = name or model.graph.name or "model"
    network = None
    if came_quantised:
        network = import_onnx(model, called, "checked only", input_shape)
        # Where none of its codes fit, they are made anew, as ``sw.compress`` does.
        floats = None if network.convolutions else to_floats(model)
        network, model = (network, model) if floats is None else (None, floats)
    if network is None:
        ready = prepare(model, input_shape)
        network = import_onnx(quantise(ready, _drawn_images(ready)), called, "checked only")
    return ModelCheck(network=network, kind=kind, is_quantised=came_quantised)


def model_kind(model: ModelProto) -> str:
    """Call a model by what it is: recurrent, attention, or convolutions of 1 to 3 axes."""
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"LSTM", "GRU", "RNN"}:
        return "a recurrent network"
    weights = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        passes_on = node.op_type in ("Cast", "Clip", "DequantizeLinear", "QuantizeLinear")
        if passes_on and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    mixes = any(all(name not in weights for name in node.input) for node in products)
    if (mixes and "Softmax" in kinds) or kinds & {"Attention", "MultiHeadAttention"}:
        return "a network with attention"
    ranks = {
        weights[name] - 2
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "QLinearConv")
        for name in node.input[1:4]
        if weights.get(name, 0) > 2
    }
    if not ranks:
        return "a network of matrix products" if products or "Gemm" in kinds else "a network"
    return f"a network of {max(ranks)}-D convolutions"


def _drawn_images(model: ModelProto) -> dict[str, NDArray] | NDArray:
    """Draw one image for each input."""
    generator, images = np.random.default_rng(0), {}
    for item in model_inputs(model):
        kind = item.type.tensor_type
        shape = (1, *(dim.dim_value for dim in kind.shape.dim[1:]))
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if dtype.kind == "f":
            images[item.name] = generator.normal(0, 1, shape).astype(dtype)
        elif dtype in (np.int8, np.uint8):
            limits = np.iinfo(dtype)
            images[item.name] = generator.integers(limits.min, limits.max, shape).astype(dtype)
        else:
            images[item.name] = np.zeros(shape, dtype)
    return images if len(images) > 1 else next(iter(images.values()))
