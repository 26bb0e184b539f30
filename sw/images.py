"""Images for calibration and for runs: read, checked, and turned into codes.

A model with several inputs takes a mapping of arrays, one an input; their codes are an array
of records, one an image, whose fields are the inputs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from golden.files import read_bytes
from golden.foreign import foreign
from golden.network import Network, TensorInfo

__all__ = [
    "Images",
    "check_images",
    "image_codes",
    "images_by_input",
    "load_images",
    "network_codes",
]

#: What a model takes: an array, or one an input.
Images = NDArray[Any] | Mapping[str, NDArray[Any]]

#: Bytes of a file's arrays at most.
BYTES_MAX = 1 << 33


def load_images(path: str | os.PathLike[str]) -> Images:
    """Read images from a ``.npy`` file, or one array an input from a ``.npz`` file.

    Returns
    -------
    ndarray, axes n, c, y, x (or n, c), or dict of str to ndarray
        As the ONNX model takes them, preprocessing done; floats as float32.

    Raises
    ------
    UserError
        The file can't be read, is not NumPy's, or ``check_images`` refuses an array.
    """
    name = f"Images {path}"
    data = read_bytes(path, name)
    is_archive = Path(path).suffix == ".npz"
    kind = "one array an input in a .npz file" if is_archive else "an array in a .npy file"
    if is_archive:
        with foreign(f"{name} must be {kind}"), np.load(io.BytesIO(data)) as archive:
            entries = archive.zip.infolist()
            if sum(entry.file_size for entry in entries) > BYTES_MAX:
                raise FormatError(f"{name} must hold {BYTES_MAX:,} bytes at most")
            arrays = {key: archive[key] for key in archive.files}
        if not arrays:
            raise FormatError(f"{name} must be {kind}, not an empty one")
        return {key: check_images(array, None) for key, array in arrays.items()}
    if data[:4] == b"PK\x03\x04":
        raise FormatError(f"{name} must be {kind}, not an archive: name that .npz")
    _check_header(name, data)
    with foreign(f"{name} must be {kind}"):
        array = np.load(io.BytesIO(data), allow_pickle=False)
    return check_images(array, None)


def _check_header(name: str, data: bytes) -> None:
    """Refuse what a header claims and the file does not hold, before memory is taken for it."""
    words = f"{name} must be an array in a .npy file"
    stream = io.BytesIO(data)
    with foreign(words):
        version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        return
    try:
        with foreign(words):
            shape, _, dtype = read(stream)
    except FormatError:
        # NumPy repeats the header, or what Python's own reader says of it.
        raise FormatError(f"{words}: its header is damaged") from None
    if dtype.hasobject:
        raise FormatError(f"{name} must be an array of numbers in a .npy file")
    with foreign(words):
        claimed = dtype.itemsize
        for size in shape:
            claimed *= int(size)
        held = len(data) - stream.tell()
    if claimed != held:
        raise FormatError(
            f"{name} must be an array in a .npy file: its header speaks of {claimed:,} bytes, "
            f"but {held:,} follow"
        )


def check_images(images: NDArray[Any], shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Return images as the model takes them; UserError where they are not acceptable.

    Parameters
    ----------
    shape : tuple of int, axes c, y, x (or c), or None
        Shape of one image; None accepts every one.

    Returns
    -------
    ndarray
        Floats as float32; integers as they are.
    """
    images = np.asarray(images)
    if not images.dtype.isnative:
        images = images.astype(images.dtype.newbyteorder("="))
    if images.ndim and not len(images):
        raise UserError("Images must be one or more, not 0")
    if images.dtype.kind in "iub":
        narrow = images
    elif images.dtype in (np.float16, np.float32, np.float64):
        if not images.size or not np.all(np.isfinite(images)):
            raise UserError("Images must be finite, but hold NaN or infinite values")
        with np.errstate(over="ignore"):
            narrow = images.astype(np.float32)
        if not np.all(np.isfinite(narrow)):
            raise UserError("Images must fit float32, but hold larger values")
    else:
        raise UserError(f"Images must be floats or integers, not {images.dtype}")
    if images.ndim < 2:
        raise UserError(f"Images must have axes n, c, y, x (or n, c), not shape {images.shape}")
    if shape is not None and images.shape[1:] != shape:
        axes = ", ".join("ncyx"[: len(shape) + 1]) if len(shape) in (1, 3) else "n, ..."
        raise UserError(f"Images must have shape {('n', *shape)} (axes {axes}), not {images.shape}")
    return narrow


def images_by_input(images: Images, inputs: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return one array for each input of an ONNX model, of its type and shape.

    Parameters
    ----------
    images : ndarray or mapping of str to ndarray
        Of a model with one input that takes images, channels may be the first or last axis,
        whichever the model has.
    inputs : sequence of ValueInfoProto
        With batch 1.
    """
    from onnx import helper

    names = [item.name for item in inputs]
    if isinstance(images, Mapping):
        if not set(names) <= set(images):
            raise UserError(
                f"Images must have arrays {', '.join(names)}, one an input of the model, "
                f"not {', '.join(images)}"
            )
        given = dict(images)
    elif len(names) == 1:
        given = {names[0]: images}
    else:
        raise UserError(
            f"Images must be a .npz file with arrays {', '.join(names)}, one an input of the model"
        )
    result, counts = {}, set()
    for item in inputs:
        kind = item.type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)[1:]
        array = check_images(given[item.name], None)
        if array.shape[1:] != shape:
            array = check_images(_other_layout(array, shape), shape)
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if dtype.kind == "b":
            array = array != 0
        elif dtype.kind in "iu":
            limits = np.iinfo(dtype)
            array = np.clip(np.rint(array), limits.min, limits.max)
        elif array.dtype.kind != "f":
            raise UserError(f"Images must be float32, as the model takes them, not {array.dtype}")
        result[item.name] = array.astype(dtype, copy=False)
        counts.add(len(array))
    if len(counts) > 1:
        raise UserError(f"Images must be equally many for each input, not {sorted(counts)}")
    return result


def _other_layout(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Move channels from first to last or back, where that gives the shape."""
    if array.ndim == 4 and len(shape) == 3:
        for axes in ((0, 3, 1, 2), (0, 2, 3, 1)):
            if array.transpose(axes).shape[1:] == shape:
                return array.transpose(axes)
    return array


def network_codes(images: Images, network: Network) -> NDArray[Any]:
    """Turn images into what a network takes: codes, or records of one array an input."""
    if len(network.inputs) == 1 and not isinstance(images, Mapping):
        return image_codes(images, network.input)
    names = [info.name for info in network.inputs]
    if not isinstance(images, Mapping) or not set(names) <= set(images):
        raise UserError(
            f"Images must be a .npz file with arrays {', '.join(names)}, one an input of "
            f"network {network.name}"
        )
    parts = {info.name: image_codes(images[info.name], info) for info in network.inputs}
    counts = {len(part) for part in parts.values()}
    if len(counts) > 1:
        raise UserError(f"Images must be equally many for each input, not {sorted(counts)}")
    if len(names) == 1:
        return parts[names[0]]
    kinds = [(name, part.dtype, part.shape[1:]) for name, part in parts.items()]
    records = np.empty(counts.pop(), dtype=np.dtype(kinds))
    for name, part in parts.items():
        records[name] = part
    return records


def image_codes(images: NDArray[Any], tensor: TensorInfo) -> NDArray[Any]:
    """Quantise images as an input of a network: nearest, ties to even, saturated.

    Parameters
    ----------
    images : ndarray, axes n, c, y, x (or n, y, x, c; n, c, x; n, c)
    tensor : TensorInfo
        The input; one that is not quantised takes floats as they are.

    Returns
    -------
    ndarray, axes n, y, x, channel

    Raises
    ------
    UserError
        As ``check_images``; or values lie beyond what the input's codes hold by more than
        the whole of their range, so that the images are not scaled as the model takes them.
    """
    images = _channels_last(check_images(images, None), tensor)
    if not tensor.is_codes:
        return np.ascontiguousarray(images.astype(tensor.dtype))
    ends = (-128, 127) if tensor.dtype == "int8" else (0, 255)
    low, high = ((end - tensor.zero_point) * tensor.scale for end in ends)
    span = high - low
    if images.min() < low - span or images.max() > high + span:
        raise UserError(
            f"Images must lie within about {low:.4g}..{high:.4g}, as calibration images did, "
            f"not {images.min():.4g}..{images.max():.4g}"
        )
    # float32 throughout, as QuantizeLinear divides.
    steps = np.rint(images.astype(np.float32) / np.float32(tensor.scale))
    codes = np.clip(steps + np.float32(tensor.zero_point), *ends).astype(tensor.dtype)
    return np.ascontiguousarray(codes)


def _channels_last(images: NDArray[Any], tensor: TensorInfo) -> NDArray[Any]:
    """Bring images to axes n, y, x, channel, from whichever a model may have."""
    shape = images.shape[1:]
    if tensor.dtype not in ("int8", "uint8", "float32"):
        return check_images(images, tensor.shape[1:]).reshape(-1, *tensor.shape)
    height, width, channels = tensor.shape
    if shape == (channels, height, width):
        return images.transpose(0, 2, 3, 1)
    if shape == (height, width, channels):
        return images
    if height == 1 and shape == (channels, width):
        return images.transpose(0, 2, 1)[:, None]
    if (height, width) == (1, 1) and int(np.prod(shape)) == channels:
        return images.reshape(-1, 1, 1, channels)
    return check_images(images, (channels, height, width))
