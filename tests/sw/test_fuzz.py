"""Damaged files of every format that is read: taken, or refused in one line; never a trace back.

Each begins as a valid file, in which bytes are flipped, cut, repeated and inserted.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import golden
from golden.errors import LINE_CHARACTERS, UserError
from golden.machines.cluster.config import AcceleratorConfig
from sw.compress import compress
from sw.images import load_images
from sw.onnx.check import check_model
from sw.onnx.prepare import prepare
from sw.pictures import InputShape, read_picture
from sw.quantise import quantise
from sw.storage import container
from tests.sw.graphs import Graph, images

FEW, MANY = 300, 5000


def _model() -> Graph:
    graph = Graph((1, 2, 6, 6))
    x = graph.op("Relu", graph.conv("image", 2, 4))
    graph.last = graph.gemm(graph.op("Flatten", x), 64, 3)
    return graph


def _onnx(folder: Path) -> bytes:
    return _model().model(_model().last).SerializeToString()


def _quantised_onnx(folder: Path) -> bytes:
    model = _model().model(_model().last)
    return quantise(prepare(model), images(model)).SerializeToString()


def _npy(folder: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    return stream.getvalue()


def _npz(folder: Path) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(24.0).reshape(2, 12), b=np.ones((2, 3), np.uint8))
    return stream.getvalue()


def _png(folder: Path) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def _jpeg(folder: Path) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(_png(folder))).save(stream, "jpeg")
    return stream.getvalue()


def _container(folder: Path) -> bytes:
    model = _model().model(_model().last)
    container.save(compress(model, images(model)), folder / "whole.safetensors")
    return (folder / "whole.safetensors").read_bytes()


def _torch(folder: Path) -> bytes:
    torch = pytest.importorskip("torch")
    from sw.training.models import save_model
    from sw.training.networks import find

    torch.manual_seed(1)
    save_model(find("lenet5").make(), "lenet5", folder / "whole.pt", {"test": 0.5})
    # The weights are megabytes of noise: keep what says how they lie, and four of them.
    state = torch.load(folder / "whole.pt", weights_only=True)
    state["state"] = {name: value[:1].clone() for name, value in list(state["state"].items())[:4]}
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def _config(folder: Path) -> bytes:
    return (Path(golden.__file__).parent / "presets/cluster/small.toml").read_bytes()


def _read_torch(path: Path) -> object:
    from sw.training.models import load_model

    return load_model(path)


class Format(NamedTuple):
    """A format: the name of a file, a valid one, and what reads it."""

    name: str
    whole: Callable[[Path], bytes]
    read: Callable[[Path], object]


SHAPE = InputShape(8, 8, 3)
FORMATS = {
    "model": Format("m.onnx", _onnx, check_model),
    "quantised model": Format("m.onnx", _quantised_onnx, check_model),
    "array": Format("x.npy", _npy, load_images),
    "arrays": Format("x.npz", _npz, load_images),
    "container": Format("net.safetensors", _container, container.load),
    "torch": Format("net.pt", _torch, _read_torch),
    "png": Format("x.png", _png, lambda path: read_picture(path, SHAPE)),
    "jpeg": Format("x.jpg", _jpeg, lambda path: read_picture(path, SHAPE)),
    "configuration": Format("c.toml", _config, AcceleratorConfig.from_toml),
}


def mutated(whole: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    """Flip, cut, repeat and insert bytes of a valid file."""
    data = bytearray(whole)
    for kind, place, value in edits:
        place %= len(data) + 1
        if kind == 0 and place < len(data):
            data[place] = value
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[: value % 40]
        else:
            data[place:place] = bytes([value])
    return bytes(data)


EDITS = st.lists(
    # Cutting, which leaves little to damage, is one kind in ten.
    st.tuples(
        st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2, 3, 3)),
        st.integers(0, 1 << 20),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def fuzz(name: str, folder: Path, count: int) -> None:
    """Read ``count`` damaged files of a format, and a whole one first."""
    made = FORMATS[name]
    whole, path = made.whole(folder), folder / made.name
    path.write_bytes(whole)
    if name != "torch":  # whose file is cut down
        made.read(path)
    run = 0

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(EDITS)
    def survives(edits):
        nonlocal run
        run += 1
        path.write_bytes(mutated(whole, edits))
        try:
            made.read(path)
        except UserError as error:
            line = str(error)
            assert line.isprintable()
            assert 0 < len(line) <= LINE_CHARACTERS
            assert "np." not in line

    survives()
    assert run >= count


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name, tmp_path, capfd):
    fuzz(name, tmp_path, FEW)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files(name, tmp_path, capfd):
    fuzz(name, tmp_path, MANY)
    assert capfd.readouterr() == ("", "")
