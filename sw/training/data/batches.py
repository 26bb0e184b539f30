"""Images and labels as batches, in an order that PyTorch's generator decides.

Images stay where they are, in memory or on disk, as bytes: they become floats of a network's size
a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from golden.errors import UserError
from sw.training.data.dataset import Dataset, spread

if TYPE_CHECKING:
    from sw.training.data.dataset import Images

__all__ = ["Augmentation", "ImageBatches", "Split", "parse_augmentation", "split"]

#: Values of a batch that is not trained with, and of the calibration images, at most.
BATCH_VALUES, CALIBRATION_VALUES = 2**24, 2**23


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is drawn anew for each image each time that it is trained with.

    Parameters
    ----------
    mirror : bool
        Half of the images are mirrored. Digits and text must not be.
    shift : int
        Pixels of the network's input by which an image moves at most, up or down and left or
        right; zeros come in.

    Raises
    ------
    UserError
        The shift is below 0.
    """

    mirror: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise UserError(f"Shift of images must be at least 0 pixels, not {self.shift}")

    def __str__(self) -> str:
        parts = ["mirror"] * self.mirror + [f"shift={self.shift}"] * bool(self.shift)
        return ",".join(parts) or "none"

    def apply(self, images: Tensor) -> Tensor:
        """Return images, axes n, c, y, x, as they are drawn."""
        if self.mirror:
            mirrored = torch.rand(len(images)) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.shift:
            rows, columns = images.shape[2:]
            wide = torch.nn.functional.pad(images, (self.shift,) * 4)
            down, right = torch.randint(0, 2 * self.shift + 1, (2, len(images))).tolist()
            images = torch.stack(
                [
                    each[:, y : y + rows, x : x + columns]
                    for each, y, x in zip(wide, down, right, strict=True)
                ]
            )
        return images


def parse_augmentation(text: str) -> Augmentation:
    """Read ``mirror``, ``shift=2``, ``mirror,shift=2`` or ``none``.

    Raises
    ------
    UserError
        It is something else.
    """
    found: dict[str, int] = {}
    for part in () if text == "none" else text.split(","):
        name, _, value = part.strip().partition("=")
        if name == "mirror" and not value:
            found["mirror"] = True
        elif name == "shift" and value.isdecimal():
            found["shift"] = int(value)
        else:
            raise UserError(f"Augmentation must be none, mirror or shift=PIXELS, not {part!r}")
    return Augmentation(mirror=bool(found.get("mirror")), shift=found.get("shift", 0))


class ImageBatches:
    """Batches of images, float32 of axes n, c, y, x from 0 to 1, and labels.

    Parameters
    ----------
    images : ndarray of uint8, axes n, y, x or n, y, x, c; or what is indexed as one
        Perhaps on disk: only the images of a batch are read.
    labels : ndarray of int64, axis n
    batch : int
        Images of a batch. While training, what is left over by the last is left out.
    training : bool
        Draw the order, and augment.
    chosen : ndarray of int64, optional
        Images to take, in order; all by default.
    size : tuple of int, axes c, y, x, optional
        Of a network's inputs: images are resized to it, and a channel is repeated.
    augmentation : Augmentation
        While training.

    Raises
    ------
    UserError
        Images have other channels than ``size``.
    """

    def __init__(
        self,
        images: Images,
        labels: NDArray[np.int64],
        batch: int = 128,
        *,
        training: bool = False,
        chosen: NDArray[np.int64] | None = None,
        size: tuple[int, int, int] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        channels = images.shape[3] if len(images.shape) == 4 else 1
        if size is not None and channels not in (1, size[0]):
            raise UserError(f"Images must have {size[0]} channels or one, not {channels}")
        self.shape = size or (channels, *images.shape[1:3])
        self.chosen = np.arange(len(images)) if chosen is None else chosen
        self.labels = torch.from_numpy(labels[self.chosen].astype(np.int64))
        self.batch = batch
        self.training = training
        self.augmentation = augmentation or Augmentation()
        self._images = images

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.chosen)

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch)
        return whole + (rest > 0 and not self.training)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(self.count) if self.training else torch.arange(self.count)
        for index in range(len(self)):
            drawn = order[index * self.batch : (index + 1) * self.batch]
            images = self.read(drawn.numpy())
            if self.training:
                images = self.augmentation.apply(images)
            yield images, self.labels[drawn]

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """Return images, axes n, c, y, x, by their places among those chosen."""
        images = self._images[self.chosen[places]]
        # The background stays zero.
        found = torch.from_numpy(images.astype(np.float32) / np.float32(255))
        found = found[:, None] if found.ndim == 3 else found.permute(0, 3, 1, 2).contiguous()
        channels, *sides = self.shape
        if list(found.shape[2:]) != sides:
            found = torch.nn.functional.interpolate(
                found, sides, mode="bilinear", align_corners=False, antialias=True
            )
        return found if found.shape[1] == channels else found.repeat(1, channels, 1, 1)


@dataclass(frozen=True, eq=False)
class Split:
    """Training, validation and test batches; calibration images, axes n, c, y, x; a name.

    ``classes`` is one more than the highest label.
    """

    train: ImageBatches
    validation: ImageBatches
    test: ImageBatches
    calibration: NDArray[np.float32]
    name: str = "a data set"
    classes: int = 0


def split(
    data: Dataset,
    images: int | None = None,
    validation: int = 5000,
    batch: int = 128,
    *,
    test_images: int | None = None,
    size: tuple[int, int, int] | None = None,
    augmentation: Augmentation | None = None,
) -> Split:
    """Split a data set: the last training images are for validation, the test set is kept apart.

    Images that are not shuffled already are first put into an order of which every part has the
    classes in their shares.

    Parameters
    ----------
    images : int, optional
        Use only so many of the other training images, the first ones.
    validation : int
        Images for validation; at most a tenth of the training images.
    batch : int
        Images of a training batch.
    test_images : int, optional
        Use only so many of the test images, the first ones.
    size : tuple of int, axes c, y, x, optional
        Of a network's inputs; that of the images by default.
    augmentation : Augmentation, optional
        Mirrors images by default where the data set says that this changes nothing.
    """
    if augmentation is None:
        augmentation = Augmentation(mirror=data.mirrored)
    train, test = (
        np.arange(len(labels)) if data.shuffled else spread(labels)
        for labels in (data.train_labels, data.test_labels)
    )
    validation = min(validation, max(1, len(train) // 10))
    end = len(train) - validation
    used, held = train[: end if images is None else min(images, end)], train[end:]

    def batches(of: str, chosen: NDArray[np.int64], count: int, training: bool) -> ImageBatches:
        return ImageBatches(
            getattr(data, f"{of}_images"),
            getattr(data, f"{of}_labels"),
            count,
            training=training,
            chosen=chosen,
            size=size,
            augmentation=augmentation,
        )

    trained = batches("train", used, batch, True)
    values = int(np.prod(trained.shape))
    measured = max(1, min(500, BATCH_VALUES // values))
    calibration = min(512, max(1, CALIBRATION_VALUES // values), trained.count)
    return Split(
        trained,
        batches("train", held, measured, False),
        batches("test", test[:test_images], measured, False),
        trained.read(np.arange(calibration)).numpy(),
        data.name,
        1 + int(max(data.train_labels.max(), data.test_labels.max())),
    )
