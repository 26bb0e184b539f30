"""From a float ONNX model to a compressed network: fold, prune, quantise, import, calibrate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from golden.errors import UserError
from golden.network import Concatenation, Network, Padding, Rearrangement
from sw.images import Images, images_by_input
from sw.onnx.check import model_kind
from sw.onnx.convert import modernise
from sw.onnx.file import fix_shapes, is_quantised, load_model, model_inputs
from sw.onnx.floats import to_floats
from sw.onnx.importer import OnnxCodes, import_codes
from sw.onnx.prepare import prepare
from sw.onnx.runtime import load_session, run_session
from sw.onnx.shapes import check_sizes
from sw.prune import prune
from sw.quantise import quantise

__all__ = ["WithoutLayer", "channel_density", "compress", "compress_quantised", "onnx_activations"]

_AS_IT_CAME = "quantised as it came"

#: What makes the codes of a network's tensors, by name, for one image with its batch axis, or a
#: mapping of one an input.
Runner = Callable[[Any], Mapping[str, NDArray[np.int8 | np.uint8]]]


class WithoutLayer(UserError):
    """Nothing of a model can run on the machine."""


def compress(
    model: ModelProto | str | os.PathLike[str],
    images: Images,
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
    images : ndarray of float32, axes n, c, y, x (or n, c), or a mapping of one an input
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
        to be pruned; or nothing of the model can run on the machine.
    """
    if not isinstance(model, ModelProto):
        path = Path(model)
        model, name = load_model(path, input_shape), name or path.stem
        source = source or path.name
    name, source = name or model.graph.name or "model", source or "an ONNX model"
    if is_quantised(model):
        if density is not None or densities:
            raise UserError("Model to prune must be float, not quantised already")
        quantised = ModelProto()
        quantised.CopyFrom(model)
        quantised = modernise(quantised)
        fix_shapes(quantised, input_shape)
        check_sizes(quantised)
        steps = [_AS_IT_CAME]
    else:
        prepared = prepare(model, input_shape)
        feeds = images_by_input(images, model_inputs(prepared))
        count = len(next(iter(feeds.values())))
        steps = [f"int8 by ONNX Runtime's static quantisation ({method}, {count} images)"]
        if density is not None or densities:
            prepared = prune(prepared, density, densities, keep_first)
            steps.insert(0, "pruned by magnitude in one shot, without retraining")
        quantised = quantise(prepared, images, method)
    try:
        return compress_quantised(quantised, images, name, "; ".join([source, *steps]))
    except WithoutLayer:
        floats = to_floats(quantised) if steps[0] == _AS_IT_CAME else None
        if floats is None:
            raise
    origin = f"{source}; its own codes have no form on the machine and were made anew"
    return compress(floats, images, name=name, source=origin, method=method)


def compress_quantised(model: ModelProto, images: Images, name: str, source: str) -> Network:
    """Make a network of a quantised model, with the channels' densities on images.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c)
    name, source : str
        What reports call the network, and state as its origin.
    """
    network, codes = import_codes(model, name, source)
    if not network.convolutions:
        found = {node.operator: node.reason for node in reversed(network.host_nodes)}
        kinds = "; ".join(f"{kind}: {reason}" for kind, reason in sorted(found.items()))
        raise WithoutLayer(
            f"Model {name}, {model_kind(model)}, must have a convolution or matrix product that "
            f"fits the machine; what would run on the host: {kinds or 'nothing'}"
        )
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
    feeds = {item.name for item in model_inputs(watched)}
    stated = {item.name for item in watched.graph.output}
    for item in codes.values():
        if item.name not in feeds and item.name not in stated:
            watched.graph.output.append(helper.make_empty_tensor_value_info(item.name))
            stated.add(item.name)
    session = load_session(watched, optimise)
    wanted = sorted({item.name for item in codes.values() if item.name not in feeds})
    inputs = model_inputs(watched)

    def run(image: Images) -> Mapping[str, NDArray[np.int8 | np.uint8]]:
        fed = images_by_input(image, inputs)
        results = run_session(session, wanted, fed) if wanted else []
        values = {**fed, **dict(zip(wanted, results, strict=True))}
        return {key: item.to_network(values[item.name]) for key, item in codes.items()}

    return run


def channel_density(
    network: Network, images: Images, runner: Runner
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
    makers = {node.output.name: node for node in network.nodes}
    wanted = list(dict.fromkeys(layer.input for layer in network.convolutions))
    counts: dict[str, NDArray[np.float64]] = {}
    total = 0
    for image in _one_by_one(images):
        found = dict(runner(image))
        total += 1
        for key in wanted:
            codes = _derive(key, found, makers)
            if codes is not None:
                nonzeros = np.count_nonzero(codes, axis=(0, 1))
                counts[key] = counts.get(key, np.zeros(len(nonzeros))) + nonzeros
    return {
        key: count / (total * np.prod(network.tensor(key).shape[:2]))
        for key, count in counts.items()
    }


def _one_by_one(images: Images) -> Iterator[Images]:
    """Return images one by one, each with its batch axis."""
    if not isinstance(images, Mapping):
        yield from (image[None] for image in images)
        return
    for index in range(len(next(iter(images.values())))):
        yield {name: values[index : index + 1] for name, values in images.items()}


def _derive(
    name: str, found: dict[str, NDArray[np.int8 | np.uint8]], makers: Mapping[str, Any]
) -> NDArray[np.int8 | np.uint8] | None:
    """Return a tensor's codes, made of others where the model has none like it, or None."""
    if name in found:
        return found[name]
    node = makers.get(name)
    if not isinstance(node, Padding | Rearrangement | Concatenation):
        return None
    parts = [part for source in node.inputs if (part := _derive(source, found, makers)) is not None]
    if len(parts) != len(node.inputs):
        return None
    if isinstance(node, Concatenation):
        codes = np.concatenate(parts, axis=2)
    elif isinstance(node, Padding):
        top, left, bottom, right = node.pads
        border = ((top, bottom), (left, right), (0, 0))
        codes = np.pad(parts[0], border, constant_values=node.value)
    else:
        codes = np.where(node.index < 0, node.fill, parts[0].reshape(-1)[node.index])
    found[name] = codes.astype(node.output.dtype)
    return found[name]
