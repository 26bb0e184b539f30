"""Images and labels as batches, in an order that PyTorch's generator decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sw.training.dataset import Dataset

__all__ = ["ImageBatches", "Split", "split"]


class ImageBatches:
    """Batches of images, float32 of axes n, c, y, x from 0 to 1, and labels.

    Parameters
    ----------
    images : ndarray of uint8, axes n, y, x or n, y, x, c
    labels : ndarray of int64, axis n
    batch : int
        Images of a batch. While training, what is left over by the last is left out.
    training : bool
        Draw the order, and mirror half of the images.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        batch: int = 128,
        *,
        training: bool = False,
    ) -> None:
        self.images = torch.from_numpy(_floats(images))
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.batch = batch
        self.training = training

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch)
        return whole + (rest > 0 and not self.training)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not self.training:
            for start in range(0, len(self.images), self.batch):
                chosen = slice(start, start + self.batch)
                yield self.images[chosen], self.labels[chosen]
            return
        order = torch.randperm(len(self.images))
        for index in range(len(self)):
            drawn = order[index * self.batch : (index + 1) * self.batch]
            mirrored = torch.rand(len(drawn)) < 0.5
            batch = self.images[drawn]
            batch = torch.where(mirrored[:, None, None, None], batch.flip(3), batch)
            yield batch, self.labels[drawn]


@dataclass(frozen=True, eq=False)
class Split:
    """Training, validation and test batches; calibration images, axes n, c, y, x; a name."""

    train: ImageBatches
    validation: ImageBatches
    test: ImageBatches
    calibration: NDArray[np.float32]
    name: str = "a data set"


def split(
    data: Dataset, images: int | None = None, validation: int = 5000, batch: int = 128
) -> Split:
    """Split a data set: the last training images are for validation, the test set is kept apart.

    Parameters
    ----------
    images : int, optional
        Use only so many of the other training images, the first ones.
    validation : int
        Images for validation; at most a tenth of the training images.
    batch : int
        Images of a training batch.
    """
    validation = min(validation, max(1, len(data.train_images) // 10))
    end = len(data.train_images) - validation
    used = slice(0, end if images is None else min(images, end))
    train, held = data.train_images[used], data.train_images[end:]
    return Split(
        ImageBatches(train, data.train_labels[used], batch, training=True),
        ImageBatches(held, data.train_labels[end:], 500),
        ImageBatches(data.test_images, data.test_labels, 500),
        _floats(train[:512]),
        data.name,
    )


def _floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images with axes n, c, y, x, scaled to 0..1, so that the background stays zero."""
    channels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return channels.astype(np.float32, order="C") / np.float32(255)
