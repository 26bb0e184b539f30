"""Images in whatever form: pictures, both orders of axes, means and scales."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import accel
from golden.errors import UserError
from sw.images import check_images
from sw.pictures import ImageOptions, InputShape, read_images
from tests.sw.graphs import Graph

Image = pytest.importorskip("PIL.Image")

SHAPE = InputShape(4, 6, 3)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_pictures_are_read_in_the_order_of_their_names(tmp_path):
    arrays = [picture(4, 6), 255 - picture(4, 6)]
    Image.fromarray(arrays[1]).save(tmp_path / "b.PNG")
    Image.fromarray(arrays[0]).save(tmp_path / "a.bmp")
    (tmp_path / "notes.txt").write_text("no picture")
    options = ImageOptions(mean=(1, 2, 3), scale=(2,))
    expected = (np.stack(arrays).astype(np.float32) - np.float32([1, 2, 3])) / 2
    found = read_images(tmp_path, options, SHAPE)
    np.testing.assert_array_equal(found, expected.transpose(0, 3, 1, 2))
    plain = read_images(tmp_path, ImageOptions(), SHAPE)
    np.testing.assert_allclose(plain[0], arrays[0].transpose(2, 0, 1) / 255, rtol=1e-6)
    codes = read_images(tmp_path, ImageOptions(), InputShape(4, 6, 3, takes_integers=True))
    assert codes.dtype == np.uint8


def test_pictures_are_cut_in_the_middle_and_grey_where_one_channel_is_taken(tmp_path):
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 2:8] = picture(4, 6)
    Image.fromarray(wide).save(tmp_path / "a.png")
    found = read_images(tmp_path, ImageOptions(scale=(1,)), SHAPE)
    np.testing.assert_array_equal(found[0], picture(4, 6).transpose(2, 0, 1))
    grey = read_images(tmp_path, ImageOptions(), InputShape(4, 6, 1))
    assert grey.shape == (1, 1, 4, 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "chwn"}, "Layout must be one of nchw, nhwc"),
        ({"scale": (0.0,)}, "Scale of images must not be 0"),
        ({"mean": (np.nan,)}, "Mean of images must be finite"),
        ({"mean": (1, 2)}, "one number, or one for each channel"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        ImageOptions(**options).apply(np.zeros((1, 3, 4, 6), np.float32))


def test_folders_that_hold_no_usable_picture_are_refused(tmp_path):
    with pytest.raises(UserError, match="must hold pictures"):
        read_images(tmp_path, ImageOptions(), SHAPE)
    with pytest.raises(UserError, match="does not take pictures of 1 or 3"):
        read_images(tmp_path, ImageOptions(), InputShape(4, 6, 8))
    with pytest.raises(UserError, match="Layout must be left out for pictures"):
        read_images(tmp_path, ImageOptions(layout="nchw"), SHAPE)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(UserError, match=r"Picture .*a.png must be a picture"):
        read_images(tmp_path, ImageOptions(), SHAPE)
    Image.fromarray(picture(50, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    with pytest.raises(UserError, match=r"Picture .*a.png can't be read"):
        read_images(tmp_path, ImageOptions(), SHAPE)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"Picture .*a.png must be a regular file"):
        read_images(tmp_path, ImageOptions(), SHAPE)


def test_values_beyond_floats_are_refused_without_a_warning():
    for options in ({"mean": (1e300,)}, {"scale": (1e-300,)}):
        images = ImageOptions(**options).apply(np.ones((1, 3, 4, 6), np.float32))
        with pytest.raises(UserError, match="Images must be finite"):
            check_images(images, None)


def test_a_model_runs_on_either_order_of_axes_and_on_pictures(tmp_path):
    graph = Graph((1, 3, 8, 8), 2)
    onnx.save(graph.model(graph.conv("image", 3, 4)), tmp_path / "model.onnx")
    pixels = picture(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.save(tmp_path / "x.npy", pixels[None])
    given = {"mean": (127.0,), "scale": (128.0,)}
    model = tmp_path / "model.onnx"
    first = accel.load(model, tmp_path / "x.npy", layout="nhwc", **given)
    second = accel.load(model, tmp_path, **given)
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.shape == (1, 8, 8, 3)
    third = accel.load(model, pixels.transpose(2, 0, 1)[None], layout="nchw", **given)
    np.testing.assert_array_equal(first.images, third.images)
