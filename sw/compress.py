"""From a float ONNX model to a compressed network: fold, prune, quantise, import, calibrate."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, helper

from golden.errors import FormatError, UserError
from golden.network import Network, Padding
from sw.images import check_images
from sw.onnx.file import fix_input_shape, is_quantised, load_model, model_input
from sw.onnx.importer import OnnxCodes, import_codes
from sw.onnx.prepare import prepare
from sw.prune import prune
from sw.quantise import quantise

__all__ = ["channel_density", "compress", "compress_quantised", "onnx_activations"]

#: What makes the codes of a network's tensors, by name, for one image of axes n, c, y, x.
Runner = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.int8 | np.uint8]]]


def compress(
    model: ModelProto | str | os.PathLike[str],
    images: NDArray[np.float32],
    density: float | None = None,
    densities: Mapping[str, float] | None = None,
    *,
    name: str | None = None,
    source: str | None = None,
    keep_first: bool = False,
    input_shape: tuple[int, ...] | None = None,
    method: str = "minmax",
) -> Network:
    """Make a network of a model.

    A model that comes quantised is taken as it is.

    Parameters
    ----------
    model : ModelProto or path
    images : ndarray of float32, axes n, c, y, x (or n, c)
        Calibration images, as the model takes them.
    density, densities, keep_first
        How much to prune (``sw.prune.magnitude_masks``); nothing by default.
    name : str, optional
        What reports call the network; the file's stem where None.
    source : str, optional
        What reports state as the origin of weights and activations.
    input_shape : tuple of int, axes n, c, y, x, optional
        Shape to fix where the model leaves its input's open.
    method : str
        Calibration method (``sw.quantise.quantise``).

    Raises
    ------
    UserError
        As ``sw.onnx.file.load_model``, ``sw.onnx.prepare.prepare``, ``sw.prune.prune``,
        ``sw.quantise.quantise`` and ``sw.onnx.importer.import_onnx``; or a quantised model is
        to be pruned.
    """
    if not isinstance(model, ModelProto):
        path = Path(model)
        model, name = load_model(path, input_shape), name or path.stem
        source = source or path.name
    name, source = name or model.graph.name, source or "an ONNX model"
    if is_quantised(model):
        if density is not None or densities:
            raise UserError("Model to prune must be float, not quantised already")
        quantised = ModelProto()
        quantised.CopyFrom(model)
        fix_input_shape(quantised, input_shape)
        steps = ["quantised as it came"]
    else:
        prepared = prepare(model, input_shape)
        steps = [f"int8 by ONNX Runtime's static quantisation ({method}, {len(images)} images)"]
        if dropped := {item.key: item.value for item in prepared.metadata_props}.get("dropped"):
            steps.append(f"final {dropped} left out")
        if density is not None or densities:
            prepared = prune(prepared, density, densities, keep_first)
            steps.insert(0, "pruned by magnitude in one shot, without retraining")
        quantised = quantise(prepared, images, method)
    return compress_quantised(quantised, images, name, "; ".join([source, *steps]))


def compress_quantised(
    model: ModelProto, images: NDArray[np.float32], name: str, source: str
) -> Network:
    """Make a network of a quantised model, with the channels' densities on images.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c)
    name, source : str
        What reports call the network, and state as its origin.
    """
    network, codes = import_codes(model, name, source)
    densities = channel_density(network, images, onnx_activations(model, codes))
    network.channel_density.update(densities)
    return network


def onnx_activations(
    model: ModelProto, codes: Mapping[str, OnnxCodes], optimise: bool = False
) -> Runner:
    """Return a function that runs a quantised model with ONNX Runtime.

    Parameters
    ----------
    codes : mapping of str to OnnxCodes
        Which tensors of the network are which of the model's (``import_codes``).
    optimise : bool
        Let ONNX Runtime fuse operators into integer kernels.
    """
    watched = ModelProto()
    watched.CopyFrom(model)
    feed = model_input(watched).name
    stated = {item.name for item in watched.graph.output}
    for item in codes.values():
        if item.name != feed and item.name not in stated:
            watched.graph.output.append(helper.make_empty_tensor_value_info(item.name))
            stated.add(item.name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Without it processors that lack VNNI saturate pairs of products at 16 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(
            watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime's exceptions share no base but Exception.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"Model can't be loaded by ONNX Runtime: {reason}") from None
    wanted = sorted({item.name for item in codes.values() if item.name != feed})

    def run(image: NDArray[np.float32]) -> Mapping[str, NDArray[np.int8 | np.uint8]]:
        results = [np.asarray(value) for value in session.run(wanted, {feed: image})]
        values = {feed: image, **dict(zip(wanted, results, strict=True))}
        return {key: item.to_network(values[item.name]) for key, item in codes.items()}

    return run


def channel_density(
    network: Network, images: NDArray[np.float32], runner: Runner
) -> dict[str, NDArray[np.float64]]:
    """Measure the share of non-zero codes in each channel of each convolution's input.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c)
    runner : function
        Makes the network's codes for one image with its batch axis; borders may be missing.

    Returns
    -------
    dict of str to ndarray of float64, axis channel
        By tensor name (``Network.channel_density``).
    """
    images = check_images(images, None)
    paddings = {node.output.name: node for node in network.nodes if isinstance(node, Padding)}
    wanted = list(dict.fromkeys(layer.input for layer in network.convolutions))
    counts = {key: np.zeros(network.tensor(key).shape[2]) for key in wanted}
    for image in images:
        found = dict(runner(image[None]))
        for key in wanted:
            if key not in found and key in paddings:
                node = paddings[key]
                top, left, bottom, right = node.pads
                border = ((top, bottom), (left, right), (0, 0))
                found[key] = np.pad(found[node.input], border, constant_values=node.value)
            counts[key] += np.count_nonzero(found[key], axis=(0, 1))
    return {
        key: count / (len(images) * np.prod(network.tensor(key).shape[:2]))
        for key, count in counts.items()
    }
