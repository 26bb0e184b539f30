"""Images in files, a folder for each class, read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from sw.training.dataset import Dataset, spread

__all__ = ["ImageFiles", "load_image_files"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
#: Share of the images that are for tests where a folder does not say which.
TEST_SHARE = 0.1


class ImageFiles:
    """Files that are indexed as an array of uint8, axes n, y, x, or n, y, x, c in colour.

    Parameters
    ----------
    paths : sequence of Path
    sides : tuple of int
        Rows and columns; images of another size are resized to them.
    colour : bool
        Red, green and blue; else grey.
    """

    def __init__(self, paths: Sequence[Path], sides: tuple[int, int], colour: bool) -> None:
        self.paths = list(paths)
        self.shape: tuple[int, ...] = (len(paths), *sides, *((3,) if colour else ()))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._read(self.paths[place]) for place in places.tolist()])

    def _read(self, path: Path) -> NDArray[np.uint8]:
        rows, columns = self.shape[1:3]
        image = _open(path).convert("RGB" if len(self.shape) == 4 else "L")
        if image.size != (columns, rows):
            image = image.resize((columns, rows), _pillow().Resampling.BILINEAR)
        return np.asarray(image)


def load_image_files(folder: Path) -> Dataset:
    """Find a folder's images and their classes: numbers of the folders' names, sorted.

    Parameters
    ----------
    folder : Path
        With ``train/CLASS/...`` and ``test/CLASS/...``, or ``CLASS/...``.

    Raises
    ------
    UserError
        There are no images, a class of the tests was not trained, or Pillow is not installed.
    FormatError
        The first image can't be read.
    """
    parts = {name: folder / name for name in ("train", "test")}
    if all(part.is_dir() for part in parts.values()):
        classes = _classes(parts["train"])
        if unknown := sorted(set(_classes(parts["test"])) - set(classes)):
            raise UserError(
                f"Class {unknown[0]} of {parts['test']} must be one of {parts['train']} too"
            )
        found = {name: _listed(part, classes) for name, part in parts.items()}
    else:
        paths, labels = _listed(folder, _classes(folder))
        order = spread(labels)
        end = len(order) - max(1, round(TEST_SHARE * len(order)))
        found = {
            name: ([paths[place] for place in chosen.tolist()], labels[chosen])
            for name, chosen in (("train", order[:end]), ("test", order[end:]))
        }
    for name, (paths, _) in found.items():
        if not paths:
            raise UserError(f"Data folder {folder} must have {name} images, not 0")
    first = _open(found["train"][0][0])
    sides, colour = (first.size[1], first.size[0]), first.mode not in ("1", "L", "I", "F")
    train, test = ((ImageFiles(paths, sides, colour), labels) for paths, labels in found.values())
    return Dataset(*train, *test, folder.resolve().name)


def _classes(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _listed(folder: Path, classes: Sequence[str]) -> tuple[list[Path], NDArray[np.int64]]:
    paths, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in ENDINGS:
                paths.append(path)
                labels.append(label)
    return paths, np.array(labels, dtype=np.int64)


def _open(path: Path) -> Any:
    try:
        image = _pillow().open(path)
        image.load()
    except OSError as error:
        raise FormatError(f"Image {path} can't be read: {error}") from None
    return image


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UserError(
            "Images in files need Pillow, which is not installed: pip install pillow"
        ) from None
    return Image
