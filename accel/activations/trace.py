"""The activations of every layer for an image: computed once, and kept on disk by content.

A trace depends on the network, the image and the arithmetic, and on no machine: whoever counts
cycles reads it. It is found again by a digest of all three. A trace on disk is a ``.npz`` file,
whose members carry check sums; one that is damaged is made again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from accel.activations.functional import quantise_images, run_nodes
from golden.files import cache_folder
from golden.layer import LayerShape
from golden.network import Convolution, Network
from golden.program import Codes

__all__ = ["LayerTrace", "Trace", "content_digest", "count_effectual_pairs", "trace_folder"]

#: Bytes of all traces on disk together; the ones that were read longest ago go first.
CACHE_BYTES_MAX = 2 << 30
#: A temporary file of a process that was killed goes after so long.
_LEFTOVER_SECONDS = 3600
#: Sources that decide what a trace holds.
_ARITHMETIC = (
    ("accel.activations", "functional.py"),
    ("accel.activations", "host.py"),
    ("accel.activations", "trace.py"),
    ("golden", "arithmetic.py"),
)


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """A convolution of one image with what it reads and makes.

    Parameters
    ----------
    image : int
        The image's number.
    node : Convolution
    activations : ndarray of int8 or uint8, axes y, x, channel
    output : ndarray of int8 or uint8, axes p, q, k
    effectual_pairs : int
        Multiplications with neither a zero weight nor a zero activation.
    """

    image: int
    node: Convolution
    activations: Codes
    output: Codes
    effectual_pairs: int


class Trace:
    """What a network's layers read and make for some images.

    Parameters
    ----------
    network : Network
    images : ndarray, axes n, y, x, channel
        Codes of the network's input, or floats, which are quantised.
    keep : bool
        Read from and write to the cache on disk.

    Raises
    ------
    UserError
        Images are not what the network takes.
    """

    def __init__(self, network: Network, images: NDArray[Any], *, keep: bool = True) -> None:
        self.network = network
        self.images: Codes = quantise_images(network, images)
        self._folder = trace_folder() if keep else None
        # Inputs that stand in for tensors belong to the network, so they are not kept again.
        self._kept = {node.output.name for node in network.convolutions} | {
            node.input
            for node in network.convolutions
            if node.input not in network.synthetic_inputs
            and node.input not in {info.name for info in network.inputs}
        }

    def __len__(self) -> int:
        """Layers of all images."""
        return len(self.images) * len(self.network.convolutions)

    def __iter__(self) -> Iterator[LayerTrace]:
        """Yield layer after layer, image after image."""
        for number in range(len(self.images)):
            path = None if self._folder is None else self._folder / f"{self._digest(number)}.npz"
            if path is not None and (read := _Reader.open(path)) is not None:
                with read:
                    yield from self._read(number, read)
            else:
                yield from self._compute(number, path)

    def _digest(self, number: int) -> str:
        """Return the key of one image's trace."""
        digest = hashlib.blake2b(_arithmetic_digest(), digest_size=16)
        digest.update(self._network_digest)
        _feed(digest, self.network.input_values(self.images[number]))
        return digest.hexdigest()

    @property
    def _network_digest(self) -> bytes:
        return _network_digest(self.network)

    def _compute(self, number: int, path: Path | None) -> Iterator[LayerTrace]:
        """Compute one image's layers, and write them where they are to be kept."""
        writer = None if path is None else _Writer.open(path)
        whole = False
        try:
            for node, inputs, output in run_nodes(self.network, self.images[number]):
                if writer and node.output.name in self._kept:
                    writer.add(node.output.name, output)
                if isinstance(node, Convolution):
                    pairs = count_effectual_pairs(node.layer, node.weights, inputs[0])
                    if writer:
                        writer.pairs.append(pairs)
                    yield LayerTrace(number, node, inputs[0], output, pairs)
            whole = True
        finally:
            if writer:
                writer.close(whole)

    def _read(self, number: int, read: _Reader) -> Iterator[LayerTrace]:
        network = self.network
        inputs = network.input_values(self.images[number])
        for index, node in enumerate(network.convolutions):
            if node.input in network.synthetic_inputs:
                activations = network.synthetic_inputs[node.input]
            elif node.input in inputs:
                activations = inputs[node.input]
            else:
                activations = read.tensor(node.input)
            output = read.tensor(node.output.name)
            yield LayerTrace(number, node, activations, output, read.pairs[index])


def count_effectual_pairs(layer: LayerShape, weights: NDArray[np.int8], activations: Codes) -> int:
    """Count the multiplications of a layer with neither a zero weight nor a zero activation.

    A tap of a channel meets each of its non-zero weights at every output position where its
    activation is not zero.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel
    """
    by_tap = np.count_nonzero(
        weights.reshape(layer.groups, layer.group_filters, *weights.shape[1:]), axis=1
    )  # axes g, r, s, c
    nonzero = activations != 0
    total = 0
    for r in range(layer.kernel_height):
        rows = _tap_places(r, layer.stride_height, layer.pad_top, layer.in_height,
                           layer.out_height)  # fmt: skip
        for s in range(layer.kernel_width):
            columns = _tap_places(s, layer.stride_width, layer.pad_left, layer.in_width,
                                  layer.out_width)  # fmt: skip
            met = nonzero[rows, columns].reshape(-1, layer.groups, layer.group_channels)
            # A sum over bytes is much faster in numpy than a count along an axis.
            places = met.sum(axis=0, dtype=np.int64)
            total += int((places * by_tap[:, r, s]).sum())
    return total


def _tap_places(tap: int, stride: int, pad: int, size: int, outputs: int) -> slice:
    """Return the input places inside the plane that one tap reads along an axis."""
    first = tap - pad
    low = -(-max(0, -first) // stride)
    high = min(outputs, -(-(size - first) // stride))
    return slice(first + low * stride, max(first + low * stride, first + (high - 1) * stride + 1),
                 stride)  # fmt: skip


# -- on disk --------------------------------------------------------------------------------


def trace_folder() -> Path | None:
    """Return the folder that keeps traces; None where it can't be written."""
    folder = cache_folder() / "traces"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


class _Reader:
    """A trace on disk, whose every member was checked against its check sum."""

    def __init__(self, file: zipfile.ZipFile, pairs: list[int]) -> None:
        self._file = file
        self.pairs = pairs

    @classmethod
    def open(cls, path: Path) -> _Reader | None:
        """Open a trace; None where there is none, or a damaged one, which is removed."""
        try:
            file = zipfile.ZipFile(path)
        except FileNotFoundError:
            return None
        except (OSError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return None
        try:
            if file.testzip() is not None:
                raise zipfile.BadZipFile
            pairs = _member(file, "effectual_pairs").tolist()
            os.utime(path)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            file.close()
            path.unlink(missing_ok=True)
            return None
        return cls(file, pairs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def tensor(self, name: str) -> Codes:
        return _member(self._file, _member_name(name))


class _Writer:
    """A trace on its way to disk: it takes its name when it is whole."""

    def __init__(self, path: Path, beside: Path) -> None:
        self._path, self._beside = path, beside
        self._file = zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED)
        self.pairs: list[int] = []

    @classmethod
    def open(cls, path: Path) -> _Writer | None:
        """Begin a trace; None where it can't be written."""
        try:
            handle, beside = tempfile.mkstemp(prefix=".trace-", dir=path.parent)
            os.close(handle)
            return cls(path, Path(beside))
        except OSError:
            return None

    def add(self, name: str, tensor: Codes) -> None:
        self._write(_member_name(name), tensor)

    def _write(self, member: str, array: NDArray[Any]) -> None:
        try:
            with self._file.open(f"{member}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array))
        except OSError:  # a full disk
            self._path = None

    def close(self, whole: bool) -> None:
        """Give the trace its name where it is whole; remove it elsewhere."""
        self._write("effectual_pairs", np.array(self.pairs, dtype=np.int64))
        try:
            self._file.close()
            if whole and self._path is not None:
                _make_room(self._path.parent, self._beside.stat().st_size)
                self._beside.replace(self._path)
        except OSError:
            pass
        finally:
            self._beside.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Remove the traces that were read longest ago, and what killed processes left."""
    now = time.time()
    kept: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process removed it
            continue
        if path.name.startswith(".trace-") and now - stat.st_mtime > _LEFTOVER_SECONDS:
            path.unlink(missing_ok=True)
        elif path.suffix == ".npz":
            kept.append((stat.st_mtime, stat.st_size, path))
    total = size + sum(size for _, size, _ in kept)
    for _, freed, path in sorted(kept):
        if total <= CACHE_BYTES_MAX:
            break
        path.unlink(missing_ok=True)
        total -= freed


def _member_name(tensor: str) -> str:
    """Return a name for a tensor that any archive takes."""
    return hashlib.blake2b(tensor.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _member(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with file.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


@cache
def _arithmetic_digest() -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for package, name in _ARITHMETIC:
        digest.update((resources.files(package) / name).read_bytes())
    return digest.digest()


def _network_digest(network: Network) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, network.input)
    _feed(digest, network.nodes)
    _feed(digest, network.synthetic_inputs)
    return digest.digest()


def content_digest(*values: object) -> str:
    """Return a digest of arrays, dataclasses, containers and plain values, by what they hold."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, values)
    return digest.hexdigest()


def _feed(digest: hashlib.blake2b, value: object) -> None:
    """Add a value to a digest, so that different values never look alike."""
    if isinstance(value, np.ndarray):
        array: NDArray[Any] = np.ascontiguousarray(cast("NDArray[Any]", value))
        digest.update(f"array {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data)
    elif is_dataclass(value):
        digest.update(f"{type(value).__qualname__} ".encode())
        for field in fields(value):
            _feed(digest, field.name)
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, dict):
        items = cast("dict[object, object]", value)
        digest.update(f"dict {len(items)} ".encode())
        for pair in items.items():
            _feed(digest, pair)
    elif isinstance(value, (tuple, list)):
        parts = cast("Sequence[object]", value)
        digest.update(f"sequence {len(parts)} ".encode())
        for part in parts:
            _feed(digest, part)
    elif isinstance(value, bytes):
        digest.update(f"bytes {len(value)} ".encode() + value)
    else:
        text = str(value.value) if isinstance(value, Enum) else repr(value)
        digest.update(
            f"{type(value).__name__} {len(text)} {text} ".encode("utf-8", "surrogatepass")
        )
