"""Photos that packages carry, as crops to train with and as whole images to measure with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from golden.errors import UserError
from sw.networks import vgg16
from sw.training.data.batches import Split

__all__ = ["SIDE", "TRAINED", "Crops", "photo_split"]

#: Rows and columns of a crop, and of a photo that is measured with.
CROP, SIDE = 112, vgg16.SIZE
#: Photos to train with, by the package that carries them. ``sw.networks.vgg16.PHOTOS`` are others.
TRAINED = {
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
    "skimage.data": (
        "motorcycle_left.png", "retina.jpg", "hubble_deep_field.jpg", "ihc.png", "camera.png",
        "coins.png", "moon.png", "brick.png", "grass.png", "gravel.png",
    ),
}  # fmt: skip
#: Crops of an epoch, and of validation.
CROPS, VALIDATION = 64, 8


class Crops:
    """Batches of random crops, blue, green, red less their means; the labels are the crops.

    Parameters
    ----------
    photos : sequence of Tensor, axes c, y, x
        Of which each has the same chance.
    count : int
        Crops of an epoch.
    seed : int, optional
        The same crops each time; by PyTorch's generator, and half of them mirrored, if left out.
    """

    def __init__(
        self, photos: list[Tensor], count: int, batch: int, seed: int | None = None
    ) -> None:
        self._photos, self.count, self.batch, self._seed = photos, count, batch, seed

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = None
        if self._seed is not None:
            generator = torch.Generator().manual_seed(self._seed)
        for start in range(0, self.count, self.batch):
            crops = [self._crop(generator) for _ in range(min(self.batch, self.count - start))]
            images = torch.stack(crops)
            yield images, images

    def _crop(self, generator: torch.Generator | None) -> Tensor:
        def draw(end: int) -> int:
            return int(torch.randint(end, (), generator=generator))

        photo = self._photos[draw(len(self._photos))]
        rows, columns = photo.shape[1:]
        top, left = draw(rows - CROP + 1), draw(columns - CROP + 1)
        crop = photo[:, top : top + CROP, left : left + CROP]
        return crop.flip(2) if self._seed is None and draw(2) else crop


class _Whole:
    """The photos that are not trained with, one a batch; the labels are the photos."""

    def __init__(self, photos: NDArray[np.float32]) -> None:
        self._photos, self.count = torch.from_numpy(photos), len(photos)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for photo in self._photos.split(1):
            yield photo, photo


def photo_split(images: int | None = None, batch: int = 2) -> Split:
    """Return crops to train with, others of the same photos, and four photos that are neither.

    Calibration images are middle squares of those that are trained with.

    Parameters
    ----------
    images : int, optional
        Crops of an epoch.

    Raises
    ------
    UserError
        A package that carries photos is missing.
    """
    photos = [_resized(_read(place, name)) for place, names in TRAINED.items() for name in names]
    squares = []
    for photo in photos:
        top, left = ((side - SIDE) // 2 for side in photo.shape[1:])
        squares.append(photo[:, top : top + SIDE, left : left + SIDE])
    test: Any = _Whole(vgg16.photos().transpose(0, 3, 1, 2).copy())
    train: Any = Crops(photos, CROPS if images is None else images, batch)
    held: Any = Crops(photos, VALIDATION, 1, seed=0)
    return Split(train, held, test, torch.stack(squares).numpy(), "crops of photos", classes=0)


def _read(place: str, name: str) -> NDArray[np.uint8]:
    try:
        from skimage import io

        with resources.as_file(resources.files(place) / name) as path:
            return np.asarray(io.imread(path))
    except (ImportError, FileNotFoundError):
        package = "scikit-learn" if place.startswith("sklearn") else "scikit-image"
        raise UserError(
            f"Photos to train with need {package}, which is not installed: pip install {package}"
        ) from None


def _resized(image: NDArray[np.uint8]) -> Tensor:
    """Return blue, green, red less their means, axes c, y, x, the shorter side ``SIDE``."""
    pixels = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image[..., :3]
    channels = torch.tensor(pixels[..., ::-1].astype(np.float32)).permute(2, 0, 1)
    factor = SIDE / min(channels.shape[1:])
    sides = [max(SIDE, round(factor * side)) for side in channels.shape[1:]]
    found = torch.nn.functional.interpolate(
        channels[None], sides, mode="bilinear", align_corners=False, antialias=True
    )[0]
    return found.round() - torch.tensor(vgg16.MEANS)[:, None, None]
