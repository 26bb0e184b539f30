"""Images and labels on disk: Fashion-MNIST as Debian packages it, or a folder of the user's.

``python -m sw.training.data.dataset FILE`` writes the test images that come with the project.
"""

from __future__ import annotations

import gzip
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError

if TYPE_CHECKING:
    from sw.training.data.image_files import ImageFiles

    #: uint8 with axes n, y, x or n, y, x, c: in memory, mapped from a file, or files.
    Images = NDArray[np.uint8] | ImageFiles

__all__ = [
    "CLASSES",
    "FOLDER",
    "Dataset",
    "find_folder",
    "load_dataset",
    "spread",
    "write_test_images",
]

#: Where the Debian package ``dataset-fashion-mnist`` puts its files.
FOLDER = Path("/usr/share/datasets/fashion-mnist")

LICENCE = "Fashion-MNIST, test images 0 to 63. The MIT License. Copyright 2017 Zalando SE."

#: Names of the labels 0 to 9.
CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

#: Stems of the files of each split: MNIST's names.
_SPLITS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (uint8, axes n, y, x, or n, y, x, c in colour) and labels (int64, axis n).

    Parameters
    ----------
    name : str
        What networks that are trained with them state.
    mirrored : bool
        A mirrored image is as good as the image: not so of digits and text.
    shuffled : bool
        Their order says nothing about their labels.
    """

    train_images: Images
    train_labels: NDArray[np.int64]
    test_images: Images
    test_labels: NDArray[np.int64]
    name: str = "a data set"
    mirrored: bool = False
    shuffled: bool = False


def find_folder(data: str | Path | None) -> Path:
    """Return the folder of a data set: where Debian puts Fashion-MNIST, by its name too."""
    if data is None or (str(data) == FOLDER.name and not Path(data).is_dir()):
        return FOLDER
    return Path(data)


def load_dataset(folder: Path = FOLDER) -> Dataset:
    """Open training and test images with their labels in a folder.

    It has files of MNIST's names, ``train-images-idx3-ubyte`` and so on, which may be gzipped;
    or ``train-images.npy``, ``train-labels.npy``, ``test-images.npy``, ``test-labels.npy``, whose
    images are read when they are needed; or, as files that Pillow reads, ``train/CLASS/...`` and
    ``test/CLASS/...``, or ``CLASS/...`` alone, of which a tenth is for tests. Images in colour,
    axes n, y, x, c, are ``.npy`` or files.

    Raises
    ------
    UserError
        A file is missing (the message names the Debian package that has Fashion-MNIST), there
        are no images, or labels don't match them.
    FormatError
        A file is not what its name says.
    """
    if not folder.is_dir():
        raise UserError(f"Data folder {folder} must be a folder; {_HINT}")
    if any(each.is_dir() for each in folder.iterdir()):
        from sw.training.data.image_files import load_image_files

        return load_image_files(folder)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, stem in _SPLITS.items():
        images = _read(folder, f"{split}-images", f"{stem}-images-idx3-ubyte", 3)
        labels = _read(folder, f"{split}-labels", f"{stem}-labels-idx1-ubyte", 1)
        if not len(images):
            raise UserError(f"Data folder {folder} must have {split} images, not 0")
        if len(images) != len(labels):
            raise UserError(
                f"Data folder {folder} must have a label for each of {len(images)} {split} "
                f"images, not {len(labels)} labels"
            )
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    train, test = arrays["train_images"], arrays["test_images"]
    if train.shape[1:] != test.shape[1:]:
        raise UserError(
            f"Test images of {folder} must be of the training images' size {train.shape[1:]}, "
            f"not {test.shape[1:]}"
        )
    return Dataset(
        train,
        arrays["train_labels"].astype(np.int64),
        test,
        arrays["test_labels"].astype(np.int64),
        folder.resolve().name,
        mirrored=folder.resolve().name == FOLDER.name,
        shuffled=folder.resolve().name == FOLDER.name,
    )


def spread(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return an order, always the same, in which each class is spread evenly, shuffled within."""
    generator = np.random.default_rng(0)
    places = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        places[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(places, kind="stable")


def write_test_images(path: Path, data: Dataset, count: int = 64) -> None:
    """Write the first test images and labels, as uint8, with their licence."""
    np.savez_compressed(
        path,
        images=data.test_images[np.arange(count)],
        labels=data.test_labels[:count].astype(np.uint8),
        licence=np.array(LICENCE),
    )


_HINT = "Fashion-MNIST: apt-get install dataset-fashion-mnist, or give its folder with --data"


def _read(folder: Path, npy: str, idx: str, axes: int) -> NDArray[np.uint8]:
    """Read the first that is there: ``NPY.npy``, ``IDX.gz``, ``IDX``."""
    if (path := folder / f"{npy}.npy").exists():
        return _read_npy(path, (3, 4) if axes == 3 else (axes,))
    if (path := folder / f"{idx}.gz").exists():
        try:
            with gzip.open(path) as file:
                return _parse_idx(path, file.read(), axes)
        except (OSError, EOFError) as error:
            raise FormatError(f"Data set {path} must be a gzip file: {error}") from None
    if (path := folder / idx).exists():
        return _parse_idx(path, path.read_bytes(), axes)
    raise UserError(
        f"Data folder {folder} must have {npy}.npy or {idx}, gzipped or not; it has none. {_HINT}"
    )


def _read_npy(path: Path, axes: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r" if len(axes) > 1 else None)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"Data set {path} must be a .npy file: {error}") from None
    integers = array.dtype == np.uint8 or (
        array.dtype.kind in "ui" and (not array.size or 0 <= array.min() <= array.max() < 256)
    )
    if array.ndim not in axes or not integers:
        raise FormatError(
            f"Data set {path} must have {' or '.join(map(str, axes))} axes and integers 0..255, "
            f"not shape {array.shape} of {array.dtype}"
        )
    return array if array.dtype == np.uint8 else array.astype(np.uint8)


def _parse_idx(path: Path, data: bytes, axes: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes: 0, 0, 8, axes, the big-endian sizes, the data."""
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes((0, 0, 8, axes)):
        raise FormatError(f"Data set {path} must be an idx file of bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != int(np.prod(shape)):
        raise FormatError(f"Data set {path} must hold {shape} bytes, not {len(data) - header}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


if __name__ == "__main__":
    write_test_images(Path(sys.argv[1]), load_dataset())
