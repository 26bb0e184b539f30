"""The data set that a command names, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden.errors import UserError

if TYPE_CHECKING:
    from sw.training.data.batches import Split
    from sw.training.networks.definition import Definition

__all__ = ["DataOptions"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data set, and how much of it.

    Parameters
    ----------
    folder : str or path, optional
        Folder of a data set, or ``fashion-mnist``, which it is by default.
    train_images, test_images : int, optional
        Use only so many.
    batch : int, optional
        Images of a training batch.
    augment : str, optional
        As ``sw.training.data.batches.parse_augmentation`` reads it; by the data set where left out.

    Raises
    ------
    UserError
        A number is out of range.
    """

    folder: str | Path | None = None
    train_images: int | None = None
    test_images: int | None = None
    batch: int | None = None
    augment: str | None = None

    def __post_init__(self) -> None:
        for option in ("train_images", "test_images", "batch"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UserError(
                    f"Option --{option.replace('_', '-')} must be at least 1, not {value}"
                )

    def split(
        self, definition: Definition | None = None, size: tuple[int, int, int] | None = None
    ) -> Split:
        """Return the data, for a network perhaps, or with images of a size, axes c, y, x.

        Raises
        ------
        UserError
            They can't be read, or the network brings its own.
        """
        from sw.training.data.batches import parse_augmentation, split
        from sw.training.data.dataset import find_folder, load_dataset

        batch = {} if self.batch is None else {"batch": self.batch}
        if definition is not None and definition.data is not None:
            if self.folder is not None or self.test_images is not None or self.augment is not None:
                raise UserError(
                    f"Network {definition.name} brings its own data: leave out --data, "
                    "--test-images and --augment"
                )
            return definition.data(self.train_images, **batch)
        return split(
            load_dataset(find_folder(self.folder)),
            self.train_images,
            **batch,
            test_images=self.test_images,
            size=definition.input_shape if definition and definition.any_images else size,
            augmentation=None if self.augment is None else parse_augmentation(self.augment),
        )

    def settings(self) -> dict[str, Any]:
        """Return what trained weights depend on, as JSON."""
        return {
            "images": self.train_images,
            "folder": None if self.folder is None else str(self.folder),
            **{
                key: value
                for key in ("batch", "augment")
                if (value := getattr(self, key)) is not None
            },
        }
