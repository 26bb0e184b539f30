"""A network on disk: one safetensors file, weights as bit masks and values.

The header's metadata hold ``format``, ``version``, ``checksum`` (``sw.storage.tensor_file``) and
``network``, JSON: everything but the arrays, which it names. Weights have one row a filter,
axes r, s, c in order, in chunks of 128 positions (``golden.tensor``); pointers are not stored,
they follow from the masks.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import SHIFT_MAX, Requantisation
from golden.errors import CapacityError, FormatError, UserError, one_line
from golden.foreign import foreign
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Constant,
    Convolution,
    HostNode,
    Network,
    Node,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Rescaling,
    Table,
    TensorInfo,
)
from golden.tensor import BitmaskTensor, pack, popcount, unpack
from sw.storage import tensor_file
from sw.storage.tensor_file import Arrays

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "innerjoin-network"
VERSION = 2
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
        with foreign(f"Container {path} must describe a network"):
            return _restore(json.loads(metadata["network"]), arrays).validate()
    except CapacityError:
        raise
    except UserError as error:
        words = str(error)
        raise FormatError(
            words if words.startswith("Container") else f"Container {path}: {words}"
        ) from None


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
        "inputs": [asdict(info) for info in network.inputs],
        "outputs": list(network.outputs),
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
                # A network's layers may all be laid out im2row; only a chip forbids it.
                "layer": {k: v for k, v in asdict(node.layer).items() if k != "im2row"},
                "requantisation": {
                    "low": how.low,
                    "high": how.high,
                    "signed": how.signed,
                    "zero_point": how.zero_point,
                },
            }
        case Pooling():
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
        case Rescaling() | Product():
            return common | {
                "multiplier": node.multiplier,
                "shift": node.shift,
                "low": node.low,
                "high": node.high,
            }
        case Table() | Constant():
            arrays[f"{stem}/codes"] = np.ascontiguousarray(node.codes)
            return common
        case Rearrangement():
            arrays[f"{stem}/index"] = np.ascontiguousarray(node.index, dtype=np.int32)
            return common | {"fill": node.fill}
        case HostNode():
            arrays[f"{stem}/graph"] = np.frombuffer(node.graph, dtype=np.uint8)
            return common | {
                "operator": node.operator,
                "name": node.name,
                "reason": node.reason,
                "macs": node.macs,
            }
        case Padding():
            return common | {"pads": list(node.pads), "value": node.value}
        case Concatenation():
            return common
    raise FormatError(f"Node {node!r} must be of a known kind")


def _restore(data: dict[str, Any], arrays: Arrays) -> Network:
    inputs = [_tensor(item) for item in data["inputs"]]
    outputs = [_text(item) for item in data["outputs"]]
    if not inputs or not outputs:
        raise FormatError("Network must have an input and an output")
    nodes = tuple(_restore_node(item, arrays) for item in data["nodes"])
    tensors = {info.name: info for info in inputs}
    tensors |= {node.output.name: node.output for node in nodes}
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
        name=_text(data["name"]),
        source=_text(data["source"]),
        input=inputs[0],
        nodes=nodes,
        output=outputs[0],
        channel_density=density,
        accuracy={_text(key): _real(value) for key, value in data["accuracy"].items()},
        synthetic_inputs=synthetic,
        further_inputs=tuple(inputs[1:]),
        further_outputs=tuple(outputs[1:]),
    )


def _restore_node(item: dict[str, Any], arrays: Arrays) -> Node:
    output, inputs = _tensor(item["output"]), tuple(map(_text, item["inputs"]))
    stem = f"nodes/{output.name}"
    match item["kind"]:
        case "Convolution":
            return _restore_convolution(item, output, inputs[0], arrays)
        case "Pooling":
            return Pooling(
                input=inputs[0],
                output=output,
                kind=PoolingKind(item["pooling"]),
                kernel=_integers(item["kernel"], 2),
                stride=_integers(item["stride"], 2),
                pads=_integers(item["pads"], 4),
                count_include_pad=_flag(item["count_include_pad"]),
            )
        case "Addition":
            multipliers = _integers(item["multipliers"], len(inputs), 1 << 31)
            return Addition(inputs=inputs, output=output, multipliers=multipliers, **_scaling(item))
        case "Rescaling":
            multiplier = _integer(item["multiplier"], 1 << 31)
            return Rescaling(
                input=inputs[0], output=output, multiplier=multiplier, **_scaling(item)
            )
        case "Product":
            multiplier = _integer(item["multiplier"], 1 << 31)
            first, second = inputs
            return Product(
                inputs=(first, second), output=output, multiplier=multiplier, **_scaling(item)
            )
        case "Table":
            return Table(input=inputs[0], output=output, codes=arrays[f"{stem}/codes"])
        case "Constant":
            return Constant(output=output, codes=arrays[f"{stem}/codes"])
        case "Rearrangement":
            index = _array(arrays, f"{stem}/index", np.int32, output.shape)
            fill = _integer(item["fill"], 256)
            return Rearrangement(input=inputs[0], output=output, index=index, fill=fill)
        case "HostNode":
            return HostNode(
                inputs=inputs,
                output=output,
                operator=_text(item["operator"]),
                name=_text(item["name"]),
                reason=_text(item["reason"]),
                graph=arrays[f"{stem}/graph"].astype(np.uint8).tobytes(),
                macs=_count(item["macs"]),
            )
        case "Concatenation":
            return Concatenation(inputs=inputs, output=output)
        case "Padding":
            pads, value = _integers(item["pads"], 4), _integer(item["value"], 256)
            return Padding(input=inputs[0], output=output, pads=pads, value=value)
    raise FormatError(f"Node {output.name} must be of a known kind, not {item['kind']!r}")


def _restore_convolution(
    item: dict[str, Any], output: TensorInfo, source: str, arrays: Arrays
) -> Convolution:
    sizes: dict[str, Any] = {
        key: _integer(value) for key, value in item["layer"].items() if key != "name"
    }
    layer = LayerShape(name=_text(item["layer"]["name"]), **sizes)
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
            low=_integer(how["low"], 256),
            high=_integer(how["high"], 256),
            signed=_flag(how["signed"]),
            zero_point=_integer(how["zero_point"], 256),
        ),
    )


#: Types of tensors; those that are no codes stay on the host.
_TYPES = ("int8", "uint8", "float32", "float64", "float16", "int64", "int32", "bool")


def _tensor(item: dict[str, Any]) -> TensorInfo:
    name, dtype = _text(item["name"]), item["dtype"]
    if dtype not in _TYPES:
        raise FormatError(f"Tensor {name} must be int8 or uint8, not {dtype!r}")
    return TensorInfo(
        name=name,
        shape=tuple(_integer(size) for size in item["shape"]),
        dtype=dtype,
        scale=_real(item["scale"]),
        zero_point=_integer(item["zero_point"], 256),
    )


def _scaling(item: dict[str, Any]) -> dict[str, int]:
    """Return shift and limits of a node in fixed-point arithmetic."""
    shift = _integer(item["shift"], SHIFT_MAX + 1)
    if shift < 1:
        raise FormatError(f"Shift must be at least 1, not {shift}")
    return {
        "shift": shift,
        "low": _integer(item["low"], 256),
        "high": _integer(item["high"], 256),
    }


def _text(value: Any) -> str:
    """Return text that can be printed as it is."""
    if not isinstance(value, str):
        raise FormatError(f"Name must be a text, not {type(value).__name__}")
    return one_line(value)


def _integer(value: Any, limit: int = 1 << 31) -> int:
    """Return an integer whose magnitude is below ``limit``."""
    if type(value) is not int or abs(value) >= limit:
        raise FormatError(f"Number must be an integer below {limit}, not {value!r}")
    return value


def _count(value: Any) -> int:
    if _integer(value, 1 << 62) < 0:
        raise FormatError(f"Number must not be negative, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"Flag must be true or false, not {value!r}")
    return value


def _real(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise FormatError(f"Number must be finite, not {value!r}")
    return float(value)


def _integers(values: list[int], count: int, limit: int = 1 << 31) -> Any:
    if not isinstance(values, list) or len(values) != count:
        raise FormatError(f"Sizes must be {count}, not {values!r}")
    return tuple(_integer(value, limit) for value in values)


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
