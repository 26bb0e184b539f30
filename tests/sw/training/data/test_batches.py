"""Batches of images: read when they are needed, resized, augmented, split by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from golden.errors import FormatError, UserError

torch = pytest.importorskip("torch")

from sw.training.data.batches import (  # noqa: E402
    Augmentation,
    ImageBatches,
    parse_augmentation,
    split,
)
from sw.training.data.dataset import Dataset, find_folder, load_dataset, spread  # noqa: E402


class Watched:
    """An array that notes which images were read."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape, self.read = images, images.shape, []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        self.read += places.tolist()
        return self.images[places]


def test_only_the_images_of_a_batch_are_read() -> None:
    images = Watched(np.arange(10, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2))
    batches = ImageBatches(images, np.arange(10), 4, chosen=np.array([9, 2, 5, 7, 1]))
    assert images.read == []
    first, labels = next(iter(batches))
    assert images.read == labels.tolist() == [9, 2, 5, 7]
    assert (first[:, 0, 0, 0] * 255).round().tolist() == [9, 2, 5, 7]
    assert batches.count == 5


def test_images_are_resized_and_a_channel_is_repeated() -> None:
    image = np.array([[[0, 200], [0, 200]]], dtype=np.uint8)
    ((found, _),) = ImageBatches(image, np.zeros(1, dtype=np.int64), size=(3, 4, 4))
    assert found.shape == (1, 3, 4, 4)
    # Bilinear, pixel centres at one half: a quarter and three quarters of the way.
    assert (found[0, 2, 1] * 255).round().tolist() == [0, 50, 150, 200]
    with pytest.raises(UserError, match="must have 1 channels or one, not 3"):
        ImageBatches(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int64), size=(1, 2, 2))


def test_a_shift_moves_images_and_zeros_come_in() -> None:
    torch.manual_seed(1)
    images = torch.zeros(64, 1, 5, 5)
    images[:, :, 2, 2] = 1
    moved = Augmentation(shift=1).apply(images)
    places = {tuple(each.nonzero()[0, 1:].tolist()) for each in moved}
    assert places == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(64))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("none", Augmentation()),
        ("mirror", Augmentation(mirror=True)),
        ("mirror,shift=2", Augmentation(mirror=True, shift=2)),
    ],
)
def test_augmentations_are_read(text: str, found: Augmentation) -> None:
    assert parse_augmentation(text) == found
    assert str(found) == text


@pytest.mark.parametrize("text", ["", "flip", "mirror=1", "shift", "shift=-1"])
def test_other_augmentations_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="Augmentation must be none, mirror or shift=PIXELS"):
        parse_augmentation(text)


def dataset(**more: bool) -> Dataset:
    """Return 90 dark images of class 0, then 10 bright ones of class 1: in no good order."""
    labels = np.array([0] * 90 + [1] * 10)
    images = (labels * 200).astype(np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    return Dataset(images, labels, images, labels, **more)


def test_every_part_of_a_split_has_the_classes_in_their_shares() -> None:
    order = spread(dataset().train_labels)
    assert sorted(order.tolist()) == list(range(100))
    for part in np.split(order, 5):
        assert (part >= 90).sum() == 2
    data = split(dataset(), images=50, test_images=20)
    assert [int(each.labels.sum()) for each in (data.train, data.validation, data.test)] == [
        5, 1, 2,
    ]  # fmt: skip
    ((images, labels),) = data.validation
    assert torch.equal(images[:, 0, 0, 0] > 0.5, labels == 1)
    assert data.classes == 2


def test_images_that_are_shuffled_keep_their_order() -> None:
    data = split(dataset(shuffled=True))
    assert data.train.labels.sum() == 0
    assert data.validation.labels.sum() == 10


def test_images_are_mirrored_only_where_the_data_set_says_so() -> None:
    assert split(dataset()).train.augmentation == Augmentation()
    assert split(dataset(mirrored=True)).train.augmentation == Augmentation(mirror=True)
    asked = split(dataset(mirrored=True), augmentation=Augmentation())
    assert asked.train.augmentation == Augmentation()


# -- files --------------------------------------------------------------------------------------


def write_images(folder: Path, counts: dict[str, int]) -> None:
    from PIL import Image

    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.full((4 + index % 2, 6), 50 * number + index, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:02}.png")


def test_a_folder_for_each_class_is_a_data_set(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    write_images(tmp_path / "data", {"cat": 20, "dog": 20})
    data = load_dataset(tmp_path / "data")
    assert (len(data.train_images), len(data.test_images)) == (36, 4)
    assert data.test_labels.sum() == 2
    assert data.train_images.shape == (36, *data.train_images.shape[1:])
    pixels = data.train_images[np.arange(36)]
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[:, 0, 0] >= 50, data.train_labels == 1)
    assert not data.mirrored
    assert not data.shuffled


def test_folders_of_training_and_of_tests_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    write_images(tmp_path / "data" / "train", {"a": 3, "b": 2})
    write_images(tmp_path / "data" / "test", {"b": 2})
    data = load_dataset(tmp_path / "data")
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1]
    assert data.test_labels.tolist() == [1, 1]
    write_images(tmp_path / "data" / "test" / "more", {"c": 1})
    with pytest.raises(UserError, match=r"Class more of .* must be one of"):
        load_dataset(tmp_path / "data")


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    (tmp_path / "data" / "a").mkdir(parents=True)
    for index in range(2):
        (tmp_path / "data" / "a" / f"{index}.png").write_bytes(b"no")
    with pytest.raises(FormatError, match=r"Picture .*png must be a picture: it is something else"):
        load_dataset(tmp_path / "data")


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}-images.npy", np.zeros((3, 2, 2), np.uint8))
        np.save(tmp_path / f"{name}-labels.npy", np.arange(3))
    assert isinstance(load_dataset(tmp_path).train_images, np.memmap)


def test_fashion_mnist_has_a_name() -> None:
    assert find_folder("fashion-mnist") == find_folder(None)
    assert find_folder("mine") == Path("mine")
