"""A network on disk: one safetensors file, weights as bit masks and values.

The header's metadata hold ``format``, ``version``, ``checksum`` (``sw.storage.tensor_file``) and
``network``, JSON: everything but the arrays, which it names. Weights have one row a filter,
axes r, s, c in order, in chunks of 128 positions (``golden.tensor``); pointers are not stored,
they follow from the masks.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.errors import ConfigError, FormatError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Convolution,
    Network,
    Node,
    Padding,
    Pooling,
    PoolingKind,
    Rescaling,
    TensorInfo,
)
from golden.tensor import BitmaskTensor, pack, popcount, unpack
from sw.storage import tensor_file
from sw.storage.tensor_file import Arrays

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "innerjoin-network"
VERSION = 1
FILE = tensor_file.Kind(title="Container", format=FORMAT, version=VERSION)

_CHUNK = 128


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network; the file appears whole or not at all.

    Raises
    ------
    UserError
        The folder can't be written.
    """
    arrays: Arrays = {}
    metadata = {"network": json.dumps(_describe(network, arrays), allow_nan=False)}
    tensor_file.save(Path(path), arrays, metadata, FILE)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network.

    Raises
    ------
    UserError
        The file can't be read.
    FormatError
        It is no container, of another version, or damaged.
    CapacityError
        A layer's accumulator could overflow.
    """
    path = Path(path)
    arrays, metadata = tensor_file.load(path, FILE)
    try:
        network = _restore(json.loads(metadata["network"]), arrays)
    except (FormatError, ConfigError) as error:
        raise FormatError(f"Container {path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(
            f"Container {path} must describe a network: {type(error).__name__}: {error}"
        ) from None
    return network.validate()


# -- description ----------------------------------------------------------------------------------


def _describe(network: Network, arrays: Arrays) -> dict[str, Any]:
    """Return what JSON can say; the rest goes into ``arrays``."""
    for name, values in network.channel_density.items():
        arrays[f"channel_density/{name}"] = np.ascontiguousarray(values, dtype=np.float64)
    for name, codes in network.synthetic_inputs.items():
        _pack(f"synthetic_inputs/{name}", codes.reshape(1, -1), arrays)
    return {
        "name": network.name,
        "source": network.source,
        "input": asdict(network.input),
        "output": network.output,
        "nodes": [_describe_node(node, arrays) for node in network.nodes],
        "channel_density": list(network.channel_density),
        "synthetic_inputs": list(network.synthetic_inputs),
        "accuracy": network.accuracy,
    }


def _describe_node(node: Node, arrays: Arrays) -> dict[str, Any]:
    common: dict[str, Any] = {
        "kind": type(node).__name__,
        "inputs": list(node.inputs),
        "output": asdict(node.output),
    }
    stem = f"nodes/{node.output.name}"
    match node:
        case Convolution():
            how = node.requantisation
            _pack(f"{stem}/weights", node.weights.reshape(len(node.weights), -1), arrays)
            arrays[f"{stem}/weight_scales"] = np.asarray(node.weight_scales, dtype=np.float64)
            for key in ("bias", "multiplier", "shift"):
                arrays[f"{stem}/{key}"] = np.asarray(getattr(how, key), dtype=np.int64)
            return common | {
                "layer": asdict(node.layer),
                "requantisation": {
                    "low": how.low,
                    "high": how.high,
                    "signed": how.signed,
                    "zero_point": how.zero_point,
                },
            }
        case Pooling():
            for key in ("multiplier", "shift"):
                arrays[f"{stem}/{key}"] = np.asarray(getattr(node, key), dtype=np.int64)
            return common | {
                "pooling": node.kind.value,
                "kernel": list(node.kernel),
                "stride": list(node.stride),
                "pads": list(node.pads),
                "count_include_pad": node.count_include_pad,
            }
        case Addition():
            return common | {
                "multipliers": list(node.multipliers),
                "shift": node.shift,
                "low": node.low,
                "high": node.high,
            }
        case Rescaling():
            return common | {
                "multiplier": node.multiplier,
                "shift": node.shift,
                "low": node.low,
                "high": node.high,
            }
        case Padding():
            return common | {"pads": list(node.pads), "value": node.value}
        case Concatenation():
            return common
    raise FormatError(f"Node {node!r} must be of a known kind")


def _restore(data: dict[str, Any], arrays: Arrays) -> Network:
    source = _tensor(data["input"])
    nodes = tuple(_restore_node(item, arrays) for item in data["nodes"])
    tensors = {source.name: source} | {node.output.name: node.output for node in nodes}
    synthetic = {
        name: _unpack(
            f"synthetic_inputs/{name}", (1, int(np.prod(tensors[name].shape))), arrays
        ).reshape(tensors[name].shape)
        for name in data["synthetic_inputs"]
    }
    density = {
        name: _array(arrays, f"channel_density/{name}", np.float64, (tensors[name].shape[2],))
        for name in data["channel_density"]
    }
    return Network(
        name=str(data["name"]),
        source=str(data["source"]),
        input=source,
        nodes=nodes,
        output=str(data["output"]),
        channel_density=density,
        accuracy={str(key): float(value) for key, value in data["accuracy"].items()},
        synthetic_inputs=synthetic,
    )


def _restore_node(item: dict[str, Any], arrays: Arrays) -> Node:
    output, inputs = _tensor(item["output"]), tuple(map(str, item["inputs"]))
    stem = f"nodes/{output.name}"
    match item["kind"]:
        case "Convolution":
            return _restore_convolution(item, output, inputs[0], arrays)
        case "Pooling":
            kind = PoolingKind(item["pooling"])
            kernel = _integers(item["kernel"], 2)
            count = kernel[0] * kernel[1] + 1 if kind is PoolingKind.AVERAGE else 0
            return Pooling(
                input=inputs[0],
                output=output,
                kind=kind,
                kernel=kernel,
                stride=_integers(item["stride"], 2),
                pads=_integers(item["pads"], 4),
                count_include_pad=bool(item["count_include_pad"]),
                multiplier=_array(arrays, f"{stem}/multiplier", np.int64, (count,)),
                shift=_array(arrays, f"{stem}/shift", np.int64, (count,)),
            )
        case "Addition":
            return Addition(
                inputs=inputs,
                output=output,
                multipliers=_integers(item["multipliers"], len(inputs)),
                shift=int(item["shift"]),
                low=int(item["low"]),
                high=int(item["high"]),
            )
        case "Rescaling":
            return Rescaling(
                input=inputs[0],
                output=output,
                multiplier=int(item["multiplier"]),
                shift=int(item["shift"]),
                low=int(item["low"]),
                high=int(item["high"]),
            )
        case "Concatenation":
            return Concatenation(inputs=inputs, output=output)
        case "Padding":
            pads = _integers(item["pads"], 4)
            return Padding(input=inputs[0], output=output, pads=pads, value=int(item["value"]))
    raise FormatError(f"Node {output.name} must be of a known kind, not {item['kind']!r}")


def _restore_convolution(
    item: dict[str, Any], output: TensorInfo, source: str, arrays: Arrays
) -> Convolution:
    layer = LayerShape(**item["layer"])
    stem, count = f"nodes/{output.name}", layer.out_channels
    how = item["requantisation"]
    bias, multiplier, shift = (
        _array(arrays, f"{stem}/{key}", np.int64, (count,))
        for key in ("bias", "multiplier", "shift")
    )
    weights = _unpack(f"{stem}/weights", (count, layer.taps * layer.group_channels), arrays)
    if weights.dtype != np.int8:
        raise FormatError(f"Array {stem}/weights/values must be int8, not {weights.dtype}")
    return Convolution(
        input=source,
        output=output,
        layer=layer,
        weights=np.asarray(weights, dtype=np.int8).reshape(layer.weights_shape),
        weight_scales=_array(arrays, f"{stem}/weight_scales", np.float64, (count,)),
        requantisation=Requantisation(
            bias=bias,
            multiplier=multiplier,
            shift=shift,
            low=int(how["low"]),
            high=int(how["high"]),
            signed=bool(how["signed"]),
            zero_point=int(how["zero_point"]),
        ),
    )


def _tensor(item: dict[str, Any]) -> TensorInfo:
    height, width, channels = _integers(item["shape"], 3)
    if item["dtype"] not in ("int8", "uint8"):
        raise FormatError(f"Tensor {item['name']} must be int8 or uint8, not {item['dtype']!r}")
    return TensorInfo(
        name=str(item["name"]),
        shape=(height, width, channels),
        dtype=item["dtype"],
        scale=float(item["scale"]),
        zero_point=int(item["zero_point"]),
    )


def _integers(values: list[int], count: int) -> Any:
    if len(values) != count:
        raise FormatError(f"Sizes must be {count}, not {values!r}")
    return tuple(int(value) for value in values)


def _array(arrays: Arrays, name: str, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.shape != shape:
        raise FormatError(
            f"Array {name} must be {np.dtype(dtype)} of shape {shape}, "
            f"not {array.dtype} of shape {array.shape}"
        )
    return array


def _pack(name: str, rows: NDArray[np.int8 | np.uint8], arrays: Arrays) -> None:
    tensor = pack(rows, _CHUNK)
    arrays[f"{name}/masks"] = tensor.masks
    arrays[f"{name}/values"] = tensor.values


def _unpack(name: str, shape: tuple[int, int], arrays: Arrays) -> NDArray[np.int8 | np.uint8]:
    masks, values = arrays[f"{name}/masks"], arrays[f"{name}/values"]
    if masks.dtype != np.uint64 or masks.ndim != 3:
        raise FormatError(f"Array {name}/masks must be uint64 of 3 axes, not {masks.dtype}")
    pointers = np.zeros(masks.shape[0] * masks.shape[1] + 1, dtype=np.int64)
    np.cumsum(popcount(masks).ravel(), out=pointers[1:])
    return unpack(BitmaskTensor(shape, _CHUNK, masks, pointers, values).validate())
