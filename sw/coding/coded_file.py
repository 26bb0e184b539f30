"""Coded weights on disk: bit streams, codebooks and scales in one safetensors file.

A layer's arrays are ``NAME/stream``, uint8: what ``encode_codes`` writes, eight bits a byte,
the last one filled up with zeros; ``NAME/counts``, uint8, and ``NAME/values``, float32 or int8:
the codebooks' lengths and their values in a row; ``NAME/scales``, float32, of an int8 layer.
The metadata's ``weights``, JSON, have the rest. Nothing in a file is trusted: whatever it
holds, ``load`` returns weights or raises FormatError.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bitarray import bitarray
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from sw.coding import relative_index
from sw.coding.codebook import MAXIMUM_BITS, VALUE_BITS, CodedWeights
from sw.coding.relative_index import IndexBits
from sw.coding.stages import ENTROPY_CODERS, LayerCodes, decode_codes, encode_codes
from sw.storage import tensor_file
from sw.storage.tensor_file import Arrays

__all__ = ["FILE", "MAXIMUM_WEIGHTS", "CodedFile", "load", "save"]

FILE = tensor_file.Kind(title="Coded weights", format="innerjoin-coded-weights", version=2)

#: Weights of a file at most: zeros after a layer's last non-zero take no bits, so that a few
#: bytes could ask for any memory. VGG-16 has 138 million.
MAXIMUM_WEIGHTS = 1 << 28


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedFile:
    """What a file holds.

    Parameters
    ----------
    name, source : str
        Of the network.
    index_bits : IndexBits
        Bits of a run of zeros, by kind of layer.
    entropy : str
        One of ``sw.coding.stages.ENTROPY_CODERS``.
    layers : sequence of LayerCodes
        Names differ.
    """

    name: str
    source: str
    index_bits: IndexBits
    entropy: str
    layers: Sequence[LayerCodes]


def save(file: CodedFile, path: str | os.PathLike[str]) -> int:
    """Write a file and return the bytes of its arrays; the rest of it is the header.

    They are what ``measure`` states of the layers, each stream filled up to whole bytes.

    Raises
    ------
    UserError
        The layers have too many weights together, two of them one name, or the folder can't
        be written. Also as ``encode_codes``.
    """
    names = [layer.name for layer in file.layers]
    if len(set(names)) < len(names):
        raise UserError(f"Layers to write must have different names, not {names}")
    _check_size(sum(layer.coded.codes.size for layer in file.layers))
    arrays: Arrays = {}
    described = []
    for layer in file.layers:
        coded = layer.coded
        index_bits = file.index_bits.of(layer.connected)
        stream = encode_codes(coded.codes, coded.bits, index_bits, file.entropy)
        arrays[f"{layer.name}/stream"] = np.frombuffer(stream.tobytes(), dtype=np.uint8)
        if coded.values:
            kind = np.float32 if coded.value_bits == VALUE_BITS else np.int8
            counts = [len(values) for values in coded.values]
            arrays[f"{layer.name}/counts"] = np.array(counts, dtype=np.uint8)
            arrays[f"{layer.name}/values"] = np.concatenate(coded.values).astype(kind)
        if layer.scales is not None:
            arrays[f"{layer.name}/scales"] = layer.scales.astype(np.float32)
        described.append(
            {
                "name": layer.name,
                "connected": layer.connected,
                "shape": list(coded.codes.shape),
                "bits": coded.bits,
                "region_filters": coded.region_filters,
                "stream_bits": len(stream),
            }
        )
    weights = {
        "name": file.name,
        "source": file.source,
        "index_bits": list(file.index_bits),
        "entropy": file.entropy,
        "layers": described,
    }
    tensor_file.save(Path(path), arrays, {"weights": json.dumps(weights)}, FILE)
    return sum(array.nbytes for array in arrays.values())


def load(path: str | os.PathLike[str]) -> CodedFile:
    """Read a file.

    Raises
    ------
    UserError
        It can't be read.
    FormatError
        It is no such file, of another version, damaged or contradictory.
    """
    path = Path(path)
    arrays, metadata = tensor_file.load(path, FILE)
    try:
        return _restore(json.loads(metadata["weights"]), arrays)
    except UserError as error:
        raise FormatError(f"{FILE.title} {path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"{FILE.title} {path} must describe layers: {type(error).__name__}: {error}"
        ) from None


# -- reading --------------------------------------------------------------------------------------


def _restore(weights: dict[str, Any], arrays: Arrays) -> CodedFile:
    shapes = [_shape(item["shape"]) for item in weights["layers"]]
    _check_size(sum(map(math.prod, shapes)))
    convolution, connected = weights["index_bits"]
    index_bits = IndexBits(
        _integer(convolution, 1, relative_index.MAXIMUM_BITS, "Index bits"),
        _integer(connected, 1, relative_index.MAXIMUM_BITS, "Index bits"),
    )
    file = CodedFile(
        name=_text(weights["name"]),
        source=_text(weights["source"]),
        index_bits=index_bits,
        entropy=_text(weights["entropy"]),
        layers=tuple(
            _layer(item, shape, arrays, index_bits, weights["entropy"])
            for item, shape in zip(weights["layers"], shapes, strict=True)
        ),
    )
    names = {layer.name for layer in file.layers}
    if len(names) < len(file.layers):
        raise FormatError("Layers must have different names")
    if arrays:
        raise FormatError(f"Arrays must belong to layers, not {min(arrays)!r}")
    return file


def _layer(
    item: dict[str, Any],
    shape: tuple[int, ...],
    arrays: Arrays,
    index_bits: IndexBits,
    entropy: str,
) -> LayerCodes:
    """Take a layer's arrays away and return the layer."""
    name = _text(item["name"])
    if entropy not in ENTROPY_CODERS:
        raise FormatError(f"Entropy coder must be one of {', '.join(ENTROPY_CODERS)}")
    if not isinstance(item["connected"], bool):
        raise FormatError(f"Layer {name} must be fully connected or not")
    bits = _integer(item["bits"], 1, MAXIMUM_BITS, "Code bits")
    filters = _integer(item["region_filters"], 1, shape[0], "Filters of a region")
    stream = _array(arrays, f"{name}/stream", (np.uint8,))
    codes = decode_codes(
        _unpack(stream, _integer(item["stream_bits"], 0, 8 * stream.size, "Stream bits")),
        shape,
        bits,
        index_bits.of(item["connected"]),
        entropy,
    )
    values, value_bits = (), 8
    if f"{name}/counts" in arrays:
        counts = _array(arrays, f"{name}/counts", (np.uint8,)).astype(np.int64)
        every = _array(arrays, f"{name}/values", (np.float32, np.int8))
        value_bits = 8 * every.itemsize
        values = _books(name, counts, every, -(-shape[0] // filters))
        _check_codes(name, codes, values, filters)
    elif bits != 8:
        raise FormatError(f"Layer {name} must have a codebook, or int8 weights of 8 bits")
    scales = None
    if f"{name}/scales" in arrays:
        scales = _array(arrays, f"{name}/scales", (np.float32,))
        if len(scales) != shape[0] or not np.all(np.isfinite(scales)):
            raise FormatError(f"Layer {name} must have {shape[0]} finite scales")
    return LayerCodes(
        name=name,
        connected=item["connected"],
        coded=CodedWeights(bits, codes, values, filters, value_bits),
        scales=scales,
    )


def _books(
    name: str, counts: NDArray[np.int64], every: NDArray[Any], regions: int
) -> tuple[NDArray[np.float32], ...]:
    if len(counts) != regions or counts.sum() != len(every):
        raise FormatError(
            f"Layer {name} must have {regions} codebooks of {int(counts.sum())} values together, "
            f"not {len(counts)} of {len(every)}"
        )
    if not np.all(np.isfinite(every)):
        raise FormatError(f"Codebooks of layer {name} must be finite")
    return tuple(np.split(every.astype(np.float32), np.cumsum(counts)[:-1]))


def _check_codes(
    name: str, codes: NDArray[np.uint8], values: Sequence[NDArray[np.float32]], filters: int
) -> None:
    for region, book in enumerate(values):
        largest = int(codes[region * filters : (region + 1) * filters].max(initial=0))
        if largest > len(book):
            raise FormatError(
                f"Codes of layer {name} must be at most {len(book)} in region {region}, "
                f"not {largest}"
            )


def _unpack(stream: NDArray[np.uint8], size: int) -> bitarray:
    bits = bitarray()
    bits.frombytes(stream.tobytes())
    if len(bits) - size >= 8 or bits[size:].any():
        raise FormatError(f"Stream must end after {size} bits and zeros to a whole byte")
    return bits[:size]


def _array(arrays: Arrays, name: str, kinds: Sequence[type]) -> NDArray[Any]:
    array = arrays.pop(name)
    if array.dtype not in kinds or array.ndim != 1:
        wanted = " or ".join(np.dtype(kind).name for kind in kinds)
        raise FormatError(f"Array {name} must be {wanted} with an axis, not {array.dtype}")
    return array


def _shape(found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or len(found) != 4:
        raise FormatError(f"Shape must have axes k, r, s, c, not {found!r}")
    return tuple(_integer(size, 1, MAXIMUM_WEIGHTS, "Sizes of a shape") for size in found)


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise FormatError(f"Names must be text, not {found!r}")
    return found


def _integer(found: Any, low: int, high: int, of: str) -> int:
    if type(found) is not int or not low <= found <= high:
        raise FormatError(f"{of} must be an integer of {low} to {high}, not {found!r}")
    return found


def _check_size(weights: int) -> None:
    if weights > MAXIMUM_WEIGHTS:
        raise FormatError(f"Weights must be at most {MAXIMUM_WEIGHTS}, not {weights}")
