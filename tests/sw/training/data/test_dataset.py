"""The data set's reader."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from golden.errors import FormatError, UserError
from sw.training.data.dataset import load_dataset

IMAGES = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3)) + bytes(range(12))
LABELS = bytes((0, 0, 8, 1, 0, 0, 0, 2, 7, 9))


def _write(folder: Path, images: bytes = IMAGES) -> None:
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(LABELS))


def test_idx_files_are_read(tmp_path: Path) -> None:
    _write(tmp_path)
    data = load_dataset(tmp_path)
    assert data.test_images.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert data.train_labels.tolist() == [7, 9]


def test_a_missing_data_set_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="apt-get install dataset-fashion-mnist"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[:-1], "must hold"),
        (b"\x00\x00\x0d" + IMAGES[3:], "must be an idx file of bytes with 3 axes"),
        (IMAGES[:9], "must be an idx file"),
    ],
)
def test_a_damaged_data_set_is_refused(tmp_path: Path, images: bytes, words: str) -> None:
    _write(tmp_path, images)
    with pytest.raises(FormatError, match=words):
        load_dataset(tmp_path)


def test_a_data_set_that_is_not_gzip_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(LABELS)
    with pytest.raises(FormatError, match="must be a gzip file"):
        load_dataset(tmp_path)
