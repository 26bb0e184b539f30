"""Images in files, a folder for each class, read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.errors import UserError
from sw.pictures import PICTURES, InputShape, picture_shape, read_picture
from sw.training.data.dataset import Dataset, spread

__all__ = ["ImageFiles", "load_image_files"]

#: Share of the images that are for tests where a folder does not say which.
TEST_SHARE = 0.1


class ImageFiles:
    """Pictures that are indexed as an array of uint8, axes n, y, x, or n, y, x, c in colour.

    Parameters
    ----------
    paths : sequence of Path
    picture : InputShape
        That all are made (``sw.pictures.read_picture``).
    """

    def __init__(self, paths: Sequence[Path], picture: InputShape) -> None:
        self.paths, self.picture = list(paths), picture
        sizes = (picture.height, picture.width, picture.channels)
        self.shape: tuple[int, ...] = (len(paths), *sizes[: 2 if picture.channels == 1 else 3])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._read(self.paths[place]) for place in places.tolist()])

    def _read(self, path: Path) -> NDArray[np.uint8]:
        pixels = read_picture(path, self.picture)
        return pixels[0] if self.picture.channels == 1 else pixels.transpose(1, 2, 0)


def load_image_files(folder: Path) -> Dataset:
    """Find a folder's images and their classes: numbers of the folders' names, sorted.

    Parameters
    ----------
    folder : Path
        With ``train/CLASS/...`` and ``test/CLASS/...``, or ``CLASS/...``.

    Raises
    ------
    UserError
        There are no images, a class of the tests was not trained, the first image can't be read,
        or Pillow is not installed.
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
    first = picture_shape(found["train"][0][0])
    train, test = ((ImageFiles(paths, first), labels) for paths, labels in found.values())
    return Dataset(*train, *test, folder.resolve().name)


def _classes(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _listed(folder: Path, classes: Sequence[str]) -> tuple[list[Path], NDArray[np.int64]]:
    paths, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in PICTURES:
                paths.append(path)
                labels.append(label)
    return paths, np.array(labels, dtype=np.int64)
