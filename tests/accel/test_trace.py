"""Traces: the same tensors however they come, one digest for one content, a cache that lasts."""

from __future__ import annotations

import multiprocessing
import os
import time
import zipfile

import numpy as np
import pytest

from accel.activations import trace as module
from accel.activations.trace import Trace, count_effectual_pairs
from golden import reference
from golden.layer import LayerShape
from golden.network import Convolution
from sw.networks import zoo


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Keep traces in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "innerjoin" / "traces"


@pytest.fixture(scope="module")
def network():
    return zoo.load("resnet8")


@pytest.fixture(scope="module")
def images():
    return zoo.images("resnet8")[:2]


def files(folder):
    return sorted(folder.glob("*.npz"))


def steps(trace):
    return [(s.image, s.node.layer.name, s.activations, s.output, s.effectual_pairs) for s in trace]


def assert_same(found, expected):
    assert [s[:2] for s in found] == [s[:2] for s in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert np.array_equal(mine[2], theirs[2]), mine[1]
        assert np.array_equal(mine[3], theirs[3]), mine[1]
        assert mine[2].dtype == theirs[2].dtype
        assert mine[4] == theirs[4]


def test_layers_are_the_references(network, images):
    expected = [reference.run_network(network, image) for image in images]
    found = list(Trace(network, images))
    assert len(found) == len(Trace(network, images)) == 2 * len(network.convolutions)
    for step in found:
        tensors = expected[step.image]
        assert np.array_equal(step.output, tensors[step.node.output.name])
        assert np.array_equal(step.activations, tensors[step.node.input])


def test_what_is_kept_is_what_was_computed(network, images, folder, monkeypatch):
    computed = steps(Trace(network, images))
    assert len(files(folder)) == 2
    monkeypatch.setattr(module, "run_nodes", None)  # computing again would fail
    assert_same(steps(Trace(network, images)), computed)


def test_nothing_is_written_where_nothing_is_kept(network, images, folder):
    assert_same(steps(Trace(network, images, keep=False)), steps(Trace(network, images)))
    for path in files(folder):
        path.unlink()
    list(Trace(network, images, keep=False))
    assert not files(folder)


def test_one_code_or_weight_makes_another_trace(network, images, folder):
    list(Trace(network, images[:1]))
    changed = images[:1].copy()
    changed[0, 0, 0, 0] ^= 1
    list(Trace(network, changed))
    assert len(files(folder)) == 2
    first, *others = network.nodes
    assert isinstance(first, Convolution)
    weights = first.weights.copy()
    weights[0, 0, 0, 0] += 1
    from dataclasses import replace

    other = replace(network, nodes=(replace(first, weights=weights), *others))
    list(Trace(other, images[:1]))
    assert len(files(folder)) == 3
    # A name is no content.
    list(Trace(replace(network, name="another", source="elsewhere"), images[:1]))
    assert len(files(folder)) == 3


@pytest.mark.parametrize("where", [0.1, 0.5, 0.999])
def test_a_damaged_trace_is_made_again(network, images, folder, where):
    expected = steps(Trace(network, images[:1]))
    (path,) = files(folder)
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 0xFF
    path.write_bytes(content)
    assert_same(steps(Trace(network, images[:1])), expected)
    (path,) = files(folder)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive"])
def test_what_is_no_trace_is_made_again(network, images, folder, content):
    expected = steps(Trace(network, images[:1]))
    (path,) = files(folder)
    path.write_bytes(content)
    assert_same(steps(Trace(network, images[:1])), expected)
    assert path.stat().st_size > len(content)


def test_a_trace_that_is_left_half_way_is_not_kept(network, images, folder):
    iterator = iter(Trace(network, images[:1]))
    next(iterator)
    iterator.close()
    assert list(folder.iterdir()) == []


def test_the_ones_read_longest_ago_go(network, images, folder, monkeypatch):
    list(Trace(network, images[:1]))
    (first,) = files(folder)
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", first.stat().st_size * 5 // 2)
    os.utime(first, (1, 1))
    changed = images[:1].copy()
    for value in range(3):
        changed[0, 0, 0, 0] = value
        list(Trace(network, changed))
    assert len(files(folder)) == 2
    assert not first.exists()


def test_leftovers_of_killed_processes_go(network, images, folder):
    folder.mkdir(parents=True)
    old, new = folder / ".trace-old", folder / ".trace-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    list(Trace(network, images[:1]))
    assert not old.exists()
    assert new.exists()  # somebody may be writing it


def _write(arguments):
    folder, number = arguments
    os.environ["XDG_CACHE_HOME"] = str(folder)
    found = list(Trace(zoo.load("lenet5"), zoo.images("lenet5")[:1]))
    return number, sum(int(step.output.sum(dtype=np.int64)) for step in found)


def test_several_writers_leave_one_whole_trace(tmp_path, folder):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = {total for _, total in pool.map(_write, [(tmp_path, i) for i in range(6)])}
    assert len(sums) == 1
    (path,) = files(folder)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
    assert list(folder.iterdir()) == [path]


def test_a_home_that_cannot_be_written_keeps_nothing(network, images, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert module.trace_folder() is None
    assert len(list(Trace(network, images[:1]))) == len(network.convolutions)


@pytest.mark.parametrize("seed", range(12))
def test_effectual_pairs_are_those_of_the_definition(seed):
    random = np.random.default_rng(seed)
    groups = int(random.choice([1, 2, 3]))
    layer = LayerShape(
        name="layer",
        in_channels=groups * int(random.integers(1, 4)),
        in_height=int(random.integers(1, 8)),
        in_width=int(random.integers(1, 8)),
        out_channels=groups * int(random.integers(1, 4)),
        kernel_height=int(random.integers(1, 4)),
        kernel_width=int(random.integers(1, 4)),
        stride_height=int(random.integers(1, 4)),
        stride_width=int(random.integers(1, 4)),
        pad_top=int(random.integers(0, 3)),
        pad_left=int(random.integers(0, 3)),
        pad_bottom=int(random.integers(2, 4)),
        pad_right=int(random.integers(2, 4)),
        groups=groups,
    )
    weights = random.integers(-1, 2, layer.weights_shape).astype(np.int8)
    shape = (layer.in_height, layer.in_width, layer.in_channels)
    inputs = random.integers(0, 2, shape).astype(np.uint8)
    padded = np.pad(
        inputs, ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
    )
    expected = 0
    for p, q, k in np.ndindex(layer.out_height, layer.out_width, layer.out_channels):
        y, x = p * layer.stride_height, q * layer.stride_width
        first = k // layer.group_filters * layer.group_channels
        window = padded[
            y : y + layer.kernel_height,
            x : x + layer.kernel_width,
            first : first + layer.group_channels,
        ]
        expected += int(np.count_nonzero(window.astype(bool) & (weights[k] != 0)))
    assert count_effectual_pairs(layer, weights, inputs) == expected
