"""Fashion-MNIST (Xiao et al., arXiv:1708.07747; MIT licence) as Debian packages it.

``python -m sw.training.dataset FILE`` writes the test images that come with the project.
"""

from __future__ import annotations

import gzip
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError

__all__ = ["CLASSES", "FOLDER", "Dataset", "load_fashion_mnist", "write_test_images"]

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


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (uint8, axes n, y, x) and labels (int64, axis n)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def load_fashion_mnist(folder: Path = FOLDER) -> Dataset:
    """Read the 60,000 training and 10,000 test images.

    Raises
    ------
    UserError
        A file is missing; the message names the Debian package that has it.
    FormatError
        A file is not what its name says.
    """
    return Dataset(
        _read_idx(folder / "train-images-idx3-ubyte.gz", 3),
        _read_idx(folder / "train-labels-idx1-ubyte.gz", 1).astype(np.int64),
        _read_idx(folder / "t10k-images-idx3-ubyte.gz", 3),
        _read_idx(folder / "t10k-labels-idx1-ubyte.gz", 1).astype(np.int64),
    )


def write_test_images(path: Path, data: Dataset, count: int = 64) -> None:
    """Write the first test images and labels, as uint8, with their licence."""
    np.savez_compressed(
        path,
        images=data.test_images[:count],
        labels=data.test_labels[:count].astype(np.uint8),
        licence=np.array(LICENCE),
    )


def _read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read an idx file of bytes: 0, 0, 8, axes, the big-endian sizes, the data."""
    try:
        with gzip.open(path) as file:
            data = file.read()
    except FileNotFoundError:
        raise UserError(
            f"Fashion-MNIST must be installed to train, not found at {path}: "
            "apt-get install dataset-fashion-mnist, or give its folder with --data"
        ) from None
    except (OSError, EOFError) as error:
        raise FormatError(f"Data set {path} must be a gzip file: {error}") from None
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes((0, 0, 8, axes)):
        raise FormatError(f"Data set {path} must be an idx file of bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != int(np.prod(shape)):
        raise FormatError(f"Data set {path} must hold {shape} bytes, not {len(data) - header}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


if __name__ == "__main__":
    write_test_images(Path(sys.argv[1]), load_fashion_mnist())
