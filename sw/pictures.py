"""Images as a user has them, made into what a model takes: arrays, or a folder of pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from golden.files import read_bytes
from golden.foreign import foreign
from sw.images import BYTES_MAX, Images, load_images

__all__ = [
    "LAYOUTS",
    "PICTURES",
    "ImageOptions",
    "InputShape",
    "picture_shape",
    "read_images",
    "read_picture",
]

#: How axes of an array of images may be ordered.
LAYOUTS = ("nchw", "nhwc")
#: Endings of pictures.
PICTURES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
#: Pixels of a picture at most.
_PIXELS_MAX = 1 << 27
#: What a pixel of a picture is divided by where no scale is given and the model takes floats.
_SCALE = 255.0


@dataclass(frozen=True)
class InputShape:
    """What a network's (first) input is.

    Parameters
    ----------
    height, width, channels : int
    takes_integers : bool
        It takes integers as they are.
    """

    height: int
    width: int
    channels: int
    takes_integers: bool = False

    @classmethod
    def of(cls, sizes: tuple[int, ...], *, takes_integers: bool = False) -> InputShape | None:
        """Return the shape for axes c, y, x or y, x, c of a model; None where it has others."""
        if len(sizes) != 3:
            return None
        first, last = sizes[0], sizes[2]
        if last < first and last in (1, 3):
            return cls(sizes[0], sizes[1], last, takes_integers)
        return cls(sizes[1], sizes[2], first, takes_integers)


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images become what a model takes: ``(pixel - mean) / scale``.

    Parameters
    ----------
    layout : str, optional
        Order of an array's axes, one of ``LAYOUTS``; found by the sizes where None.
    mean, scale : tuple of float, optional
        One for all channels, or one for each.

    Raises
    ------
    UserError
        The layout is unknown, or a value is not finite or a scale 0.
    """

    layout: str | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise UserError(f"Layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        for name, values in (("Mean", self.mean), ("Scale", self.scale)):
            if values is not None and not (values and np.all(np.isfinite(values))):
                raise UserError(f"{name} of images must be finite numbers, not {values}")
        if self.scale is not None and 0 in self.scale:
            raise UserError(f"Scale of images must not be 0, as one of {self.scale} is")

    @property
    def is_plain(self) -> bool:
        """Whether arrays stay as they are."""
        return self == ImageOptions()

    def apply(self, images: Images) -> Images:
        """Return an array with axes n, c, y, x where a layout is given, scaled."""
        if self.is_plain:
            return images
        if isinstance(images, Mapping):
            raise UserError(
                "Layout, mean and scale of images must be left out where a file has one array an "
                "input"
            )
        images = np.asarray(images)
        if self.layout is not None and images.ndim != 4:
            raise UserError(f"Layout must be left out for images of {images.ndim} axes")
        if self.layout == "nhwc":
            images = images.transpose(0, 3, 1, 2)
        if self.mean is None and self.scale is None:
            return images
        if images.dtype.kind not in "iuf":
            raise UserError(f"Images must be floats or integers, not {images.dtype}")
        mean, scale = self.mean or (0.0,), self.scale or (1.0,)
        with np.errstate(all="ignore"):  # who takes the images refuses what is not finite
            scaled = (images - _along(mean, "Mean", images)) / _along(scale, "Scale", images)
            return scaled.astype(np.float32)


def _along(values: tuple[float, ...], name: str, images: NDArray[Any]) -> NDArray[np.floating]:
    """Lay values of channels along the channels' axis, the first or the last."""
    array = np.array(values)
    if np.all(np.abs(array) <= np.finfo(np.float32).max):
        array = array.astype(np.float32)
    if array.size == 1:
        return array
    if images.ndim == 4:
        for axis in (1, 3):
            if images.shape[axis] == array.size:
                return array.reshape([array.size if each == axis else 1 for each in range(4)])
    raise UserError(
        f"{name} of images must be one number, or one for each channel of shape {images.shape}, "
        f"not {array.size}"
    )


def read_images(
    path: str | os.PathLike[str], options: ImageOptions, shape: InputShape | None
) -> Images:
    """Read images from a ``.npy`` or ``.npz`` file, or from a folder of pictures.

    Pictures are read by Pillow in the order of their names, turned as their camera says, made
    grey or RGB, resized so as to cover the input's height and width, and cut in the middle.
    Floats lie in 0..1 where neither mean nor scale is given.

    Parameters
    ----------
    shape : InputShape, optional
        The network's input; a folder needs it.

    Returns
    -------
    ndarray, axes n, c, y, x (or those of the file), or dict of str to ndarray

    Raises
    ------
    UserError
        A file can't be read, there is none, or an option does not fit it.
    """
    if not Path(path).is_dir():
        return options.apply(load_images(path))
    if shape is None or shape.channels not in (1, 3):
        raise UserError(
            f"Images {path} must be a .npy file: the network does not take pictures of 1 or 3 "
            f"channels"
        )
    if options.layout is not None:
        raise UserError("Layout must be left out for pictures")
    pixels = _read_folder(Path(path), shape)
    if options.mean is None and options.scale is None:
        return pixels if shape.takes_integers else pixels.astype(np.float32) / np.float32(_SCALE)
    return options.apply(pixels)


def _read_folder(folder: Path, shape: InputShape) -> NDArray[np.uint8]:
    """Return all pictures of a folder, axes n, c, y, x."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    except OSError as error:
        raise UserError(f"Images {folder} can't be read: {error.strerror}") from None
    if not paths:
        raise UserError(f"Images {folder} must hold pictures ({', '.join(PICTURES)})")
    size = shape.channels * shape.height * shape.width
    if size * len(paths) > BYTES_MAX:
        raise UserError(
            f"Images {folder} must take {BYTES_MAX:,} bytes at most, not {size * len(paths):,}"
        )
    return np.stack([read_picture(path, shape) for path in paths])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a picture, if Pillow is there."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UserError(
            "Pictures need Pillow, which is not installed: pip install 'innerjoin[pictures]'"
        ) from None
    name = f"Picture {path}"
    data = read_bytes(path, name)
    with foreign(f"{name} can't be read"):
        try:
            picture = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            raise FormatError(f"{name} must be a picture: it is something else") from None
        except Image.DecompressionBombError:
            raise FormatError(f"{name} must have {_PIXELS_MAX:,} pixels at most") from None
        if picture.width * picture.height > _PIXELS_MAX:
            raise FormatError(
                f"{name} must have {_PIXELS_MAX:,} pixels at most, "
                f"not {picture.width * picture.height:,}"
            )
        with picture:
            yield picture


def picture_shape(path: Path) -> InputShape:
    """Return a picture's own size; one channel where it is grey.

    Raises
    ------
    UserError
        As ``read_picture``.
    """
    with _opened(path) as picture:
        height, width = picture.height, picture.width
        return InputShape(height, width, 1 if picture.mode in ("1", "L", "I", "F") else 3)


def read_picture(path: Path, shape: InputShape) -> NDArray[np.uint8]:
    """Return a picture as ``read_images`` has it, axes c, y, x.

    Raises
    ------
    UserError
        It can't be read, or Pillow is not installed.
    """
    with _opened(path) as picture:
        from PIL import Image, ImageOps

        turned = ImageOps.exif_transpose(picture).convert("L" if shape.channels == 1 else "RGB")
        fitted = ImageOps.fit(turned, (shape.width, shape.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(fitted, dtype=np.uint8)
    return pixels.reshape(shape.height, shape.width, shape.channels).transpose(2, 0, 1)
