"""AlexNet and VGG-16 by published counts; images in colour; data of another size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.errors import FormatError, UserError
from golden.layer import LayerShape
from sw.networks.published import published_layers

torch = pytest.importorskip("torch")

from sw.networks import vgg16  # noqa: E402
from sw.onnx.build import GraphBuilder  # noqa: E402
from sw.training import masks, networks, pipeline  # noqa: E402
from sw.training.cost import macs, run_layers  # noqa: E402
from sw.training.data.batches import ImageBatches, split  # noqa: E402
from sw.training.data.dataset import Dataset, load_dataset  # noqa: E402
from sw.training.methods.masking.magnitude import Magnitude  # noqa: E402
from sw.training.networks.imagenet import (  # noqa: E402
    ALEXNET,
    VGG_16,
    VGG_WIDTHS,
    AlexNet,
    Vgg16,
    load_hed,
)
from sw.training.networks.lenet import LENET_5  # noqa: E402
from sw.training.pruner import dropout  # noqa: E402


def shapes(name: str) -> dict[str, LayerShape]:
    return {each.shape.name: each.shape for each in published_layers(name)}


@pytest.mark.parametrize(
    ("name", "weights", "parameters", "multiplications"),
    [
        # 96 + 256 + 384 + 384 + 256 scales and shifts of batch norms more than published.
        ("alexnet", 60_954_656, 60_965_224 + 2 * 1376, 724_406_816),
        ("vgg16", 138_344_128, 138_357_544, 15_470_264_320),
    ],
)
def test_counts_are_the_published_ones(name, weights, parameters, multiplications) -> None:
    definition = networks.find(name)
    with torch.device("meta"):
        model = definition.make()
        assert macs(model, definition.input_shape) == multiplications
    assert sum(masks.weight(each).numel() for each in masks.layers(model).values()) == weights
    assert sum(each.numel() for each in model.parameters()) == parameters


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_every_layer_has_its_published_shape(name) -> None:
    definition = networks.find(name)
    with torch.device("meta"):
        runs = run_layers(definition.make(), torch.zeros(definition.input_shape))
    expected = shapes(name)
    assert [run.name for run in runs if run.name in expected] == list(expected)
    assert {run.name for run in runs} - set(expected) == (
        set() if name == "alexnet" else {"fc1", "fc2", "fc3"}
    )
    for run in runs:
        if run.name not in expected:
            continue
        shape = expected[run.name]
        assert masks.weight(run.layer).numel() == int(np.prod(shape.weights_shape))
        assert run.inputs.numel() == shape.in_channels * shape.in_height * shape.in_width
        outputs = (shape.out_channels, shape.out_height, shape.out_width)
        assert run.outputs.numel() == int(np.prod(outputs))
        if run.inputs.ndim == 3:
            assert run.outputs.shape == outputs
            assert run.layer.groups == shape.groups


def test_narrow_networks_start_and_compute_as_they_should() -> None:
    torch.manual_seed(1)
    narrow = (4, 8, 8, 8, 4, 16, 16)
    alexnet = AlexNet(narrow, classes=5)
    assert alexnet(torch.rand(2, 3, 227, 227)).shape == (2, 5)
    assert not any(float(each.bias.detach().abs().max()) for each in masks.layers(alexnet).values())
    assert float(alexnet.fc1.weight.detach().std()) == pytest.approx(0.005, rel=0.1)
    # He et al.: 2 over the 4 x 3 x 3 inputs of a filter.
    assert float(alexnet.conv4.weight.detach().std()) == pytest.approx((2 / 36) ** 0.5, rel=0.2)
    vgg = Vgg16((2,) * 13 + (16, 16), classes=5)
    assert vgg(torch.rand(2, 3, 224, 224)).shape == (2, 5)
    assert list(masks.layers(vgg))[-4:] == ["conv5_3", "fc1", "fc2", "fc3"]
    with pytest.raises(UserError, match="must be even, for its groups, not"):
        AlexNet((4, 8, 7, 8, 4, 16, 16))


def test_dropout_falls_with_the_density_of_the_layer_after_it() -> None:
    model = AlexNet((2,) * 7)
    rates = dropout.rates(model)
    assert rates == {"dropout1": 0.5, "dropout2": 0.5}
    reading = dropout.readers(model, torch.zeros(1, 3, 227, 227), masks.layers(model))
    kept = torch.tensor([[True, False], [False, False]])
    masks.mask(model, {"fc2": kept, "fc1": torch.zeros(2, 72, dtype=torch.bool)})
    weights = {name: masks.weight(layer) for name, layer in masks.layers(model).items()}
    dropout.rescale(
        model,
        rates,
        reading,
        lambda name: (int(weights[name].count_nonzero()), weights[name].numel()),
    )
    assert (model.dropout1.p, model.dropout2.p) == (0.25, 0.5)


def grey(count: int = 20) -> Dataset:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 28, 28)).astype(np.uint8)
    labels = np.arange(count) % 10
    return Dataset(pixels, labels, pixels, labels)


@pytest.mark.parametrize("definition", [ALEXNET, VGG_16], ids=lambda each: each.name)
def test_images_of_another_size_are_refused_before_anything_is_written(
    definition, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    words = rf"must have shape \(3, {definition.input_shape[1]}.* not \(1, 28, 28\)"
    with pytest.raises(UserError, match=words):
        pipeline.prune(definition, Magnitude(), split(grey()), folder)
    assert not folder.exists()


def test_labels_beyond_the_networks_classes_are_refused() -> None:
    data = split(grey())
    pipeline.check_data(LENET_5, data)
    with pytest.raises(UserError, match="Labels must be below 9 for network lenet5, not 9"):
        pipeline.check_data(replace(LENET_5, classes=9), data)


def test_images_in_colour_become_channels(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3).astype(np.uint8)
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}-images.npy", pixels)
        np.save(tmp_path / f"{name}-labels.npy", np.array([0, 1]))
    data = load_dataset(tmp_path)
    ((batch, _),) = ImageBatches(data.train_images, data.train_labels)
    assert batch.shape == (2, 3, 3, 4)
    # Pixel y=1, x=2 of the second image is the 36 + 12 + 6th number; red, green, blue follow.
    assert (batch[1, :, 1, 2] * 255).round().tolist() == [54, 55, 56]
    assert split(data).calibration.shape == (1, 3, 3, 4)
    np.save(tmp_path / "test-images.npy", pixels[..., None])
    with pytest.raises(FormatError, match="must have 3 or 4 axes and integers"):
        load_dataset(tmp_path)


def test_heds_convolutions_are_loaded_by_name(monkeypatch) -> None:
    """With a file of two layers in place of HED's: these are loaded, the others are fresh."""
    rng = np.random.default_rng(1)
    graph, wanted, x = GraphBuilder("x", (1, 3, 224, 224)), {}, "images"
    for name, shape in shapes("vgg16").items():
        kernel = rng.random((shape.out_channels, shape.in_channels, 3, 3), dtype=np.float32)
        wanted[name] = kernel, rng.random(shape.out_channels, dtype=np.float32)
        x = graph.convolution(x, name, *wanted[name], pad=1)
        if name == "conv1_2":
            break
    proto = graph.build(x)
    monkeypatch.setattr(vgg16, "float_model", lambda: proto)
    model = Vgg16((*VGG_WIDTHS[:13], 8, 8))
    load_hed(model)
    for name, (kernel, bias) in wanted.items():
        layer = model.get_submodule(name)
        assert np.array_equal(layer.weight.detach(), kernel)
        assert np.array_equal(layer.bias.detach(), bias)
    assert not torch.any(model.conv5_3.bias)
