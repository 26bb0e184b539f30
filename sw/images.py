"""Images for calibration and for runs: read, checked, and turned into codes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.errors import UserError
from golden.network import TensorInfo

__all__ = ["check_images", "image_codes", "load_images"]


def load_images(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read images from a ``.npy`` file.

    Returns
    -------
    ndarray of float32, axes n, c, y, x (or n, c)
        As the ONNX model takes them, preprocessing done.

    Raises
    ------
    UserError
        The file can't be read, is not ``.npy``, or ``check_images`` refuses it.
    """
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"Images {path} can't be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"Images {path} must be an array in a .npy file: {error}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"Images {path} must be one array in a .npy file, not an archive")
    return check_images(array, None)


def check_images(
    images: NDArray[np.floating], shape: tuple[int, ...] | None
) -> NDArray[np.float32]:
    """Return images as float32; UserError where type, shape or a value is not acceptable.

    Parameters
    ----------
    shape : tuple of int, axes c, y, x (or c), or None
        Shape of one image; None accepts every one.
    """
    images = np.asarray(images)
    if images.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(f"Images must be float32, as the model takes them, not {images.dtype}")
    if images.ndim not in (2, 4):
        raise UserError(f"Images must have axes n, c, y, x (or n, c), not shape {images.shape}")
    if not len(images):
        raise UserError("Images must be one or more, not 0")
    if shape is not None and images.shape[1:] != tuple(shape):
        raise UserError(f"Images must have shape {('n', *shape)}, not {images.shape}")
    if not images.size or not np.all(np.isfinite(images)):
        raise UserError("Images must be finite, but hold NaN or infinite values")
    with np.errstate(over="ignore"):
        narrow = images.astype(np.float32)
    if not np.all(np.isfinite(narrow)):
        raise UserError("Images must fit float32, but hold larger values")
    return narrow


def image_codes(images: NDArray[np.floating], tensor: TensorInfo) -> NDArray[np.int8 | np.uint8]:
    """Quantise images as the network's input: nearest, ties to even, saturated.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c)
    tensor : TensorInfo
        The network's input.

    Returns
    -------
    ndarray of int8 or uint8, axes n, y, x, channel

    Raises
    ------
    UserError
        As ``check_images``; or values lie beyond what the input's codes hold by more than
        the whole of their range, so that the images are not scaled as the model takes them.
    """
    height, width, channels = tensor.shape
    images = np.asarray(images)
    vector = images.ndim == 2 and (height, width) == (1, 1)
    images = check_images(images, (channels,) if vector else (channels, height, width))
    ends = (-128, 127) if tensor.dtype == "int8" else (0, 255)
    low, high = ((end - tensor.zero_point) * tensor.scale for end in ends)
    span = high - low
    if images.min() < low - span or images.max() > high + span:
        raise UserError(
            f"Images must lie within about {low:.4g}..{high:.4g}, as calibration images did, "
            f"not {images.min():.4g}..{images.max():.4g}"
        )
    # float32 throughout, as QuantizeLinear divides.
    steps = np.rint(images / np.float32(tensor.scale)) + np.float32(tensor.zero_point)
    codes = np.clip(steps, *ends).astype(tensor.dtype)
    if vector:
        return codes.reshape(-1, 1, 1, channels)
    return np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
