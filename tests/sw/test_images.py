"""Images: types, shapes, ranges, and the codes they become."""

import numpy as np
import pytest

from golden.errors import UserError
from golden.network import TensorInfo
from sw.images import check_images, image_codes, load_images

INPUT = TensorInfo(name="in", shape=(2, 3, 1), dtype="uint8", scale=0.5)
SIGNED = TensorInfo(name="in", shape=(1, 1, 4), dtype="int8", scale=0.25)


def test_codes_by_hand_ties_to_even_saturated_and_channels_last():
    images = np.array([[[[0, 0.25, 0.75], [1.25, 127.5, 200]]]], np.float32)
    codes = image_codes(images, INPUT)
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[[[0], [0], [2]], [[2], [255], [255]]]]


def test_channels_move_behind_the_pixels():
    images = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    tensor = TensorInfo(name="in", shape=(2, 2, 3), dtype="int8", scale=1.0)
    assert image_codes(images, tensor)[0, 1, 0].tolist() == [2, 6, 10]


def test_vectors_become_one_pixel():
    codes = image_codes(np.array([[-32, -1, 0, 31.75]]), SIGNED)
    assert codes.shape == (1, 1, 1, 4)
    assert codes.reshape(-1).tolist() == [-128, -4, 0, 127]


def test_zero_point_is_added():
    tensor = TensorInfo(name="in", shape=(1, 1, 4), dtype="uint8", scale=0.25, zero_point=100)
    assert image_codes(np.array([[-25, -1, 0, 30.0]]), tensor).reshape(-1).tolist() == [
        0, 96, 100, 220]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 1, 2, 3), complex), "must be floats or integers, not complex128"),
        (np.zeros(6, np.float32), r"must have axes n, c, y, x .* not shape \(6,\)"),
        (
            np.zeros((1, 2, 3, 2), np.float32),
            r"must have shape \('n', 1, 2, 3\) \(axes n, c, y, x\), not",
        ),
        (np.zeros((0, 1, 2, 3), np.float32), "must be one or more, not 0"),
        (np.full((1, 1, 2, 3), np.nan), "must be finite"),
        (np.full((1, 1, 2, 3), -np.inf), "must be finite"),
        (np.full((1, 1, 2, 3), 1e300), "must fit float32"),
        (np.full((1, 1, 2, 3), 256.0), r"must lie within about 0\.\.127\.5, .* not 256\.\.256"),
        (np.full((1, 1, 2, 3), -128.0), "must lie within"),
    ],
)
def test_bad_images_are_refused_by_name(images, words):
    with pytest.raises(UserError, match=f"Images {words}"):
        image_codes(images, INPUT)


def test_channels_may_come_last_and_images_be_integers():
    images = np.arange(12).reshape(1, 3, 2, 2)
    tensor = TensorInfo(name="in", shape=(2, 2, 3), dtype="uint8", scale=1.0)
    codes = image_codes(images, tensor)
    assert codes[0, 1, 0].tolist() == [2, 6, 10]
    np.testing.assert_array_equal(image_codes(images.transpose(0, 2, 3, 1), tensor), codes)


def test_sequences_and_floats():
    tensor = TensorInfo(name="in", shape=(1, 3, 2), dtype="float32")
    values = np.arange(6.0).reshape(1, 2, 3)  # n, c, x
    assert image_codes(values, tensor).tolist() == [[[[0, 3], [1, 4], [2, 5]]]]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,), }", "40,000,000,000"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2", "its header is damaged"),
        ("(" * 9000 + ")" * 9000, "its header is damaged"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "an array of numbers"),
    ],
)
def test_headers_are_checked_before_memory_is_taken(header, words, tmp_path):
    text = header.encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        load_images(tmp_path / "x.npy")
    assert len(str(caught.value)) <= 300


def test_file_of_images(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((2, 1, 2, 3)))
    images = load_images(path)
    assert (images.dtype, images.shape) == (np.float32, (2, 1, 2, 3))


@pytest.mark.parametrize("data", [b"", b"no numpy", b"\x93NUMPY\x01\x00"])
def test_file_that_is_no_npy_is_refused(tmp_path, data):
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"Images .*x\.npy must be an array in a \.npy file"):
        load_images(path)


def test_file_of_objects_an_archive_and_no_file_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="must be an array"):
        load_images(tmp_path / "o.npy")
    np.savez(tmp_path / "a.npz", a=np.ones((2, 3)), b=np.ones((2, 1), np.int64))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npz").read_bytes())
    with pytest.raises(UserError, match=r"not an archive: name that \.npz"):
        load_images(tmp_path / "a.npy")
    assert list(load_images(tmp_path / "a.npz")) == ["a", "b"]
    with pytest.raises(UserError, match="can't be read: No such file"):
        load_images(tmp_path / "none.npy")


def test_check_without_shape_accepts_every_one():
    assert check_images(np.ones((1, 3, 5, 5)), None).shape == (1, 3, 5, 5)
