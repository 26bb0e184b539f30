"""Trained models on disk, as ONNX, as networks; data in batches; multiplications."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402
from torch import nn  # noqa: E402

from accel.activations.functional import run_nodes  # noqa: E402
from golden.errors import FormatError, UserError  # noqa: E402
from golden.network import Convolution  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.data.batches import Augmentation, ImageBatches, split  # noqa: E402
from sw.training.data.dataset import Dataset  # noqa: E402
from sw.training.models import load_model, reshape, save_model, to_network, to_onnx  # noqa: E402
from sw.training.networks import DEFINITIONS, find  # noqa: E402
from sw.training.tensors import layer_tensors  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_images, toy_net  # noqa: E402


def test_a_model_in_onnx_gives_the_same_outputs_and_keeps_its_names() -> None:
    model = toy_net()
    masks.mask(model, {"fc": torch.rand(model.fc.weight.shape) < 0.3})
    proto = to_onnx(model, SHAPE, "toy")
    names = [node.name for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    assert names == ["features.0", "features.3", "fc"]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    images = toy_images(3)[0]
    for image in images:
        (outputs,) = session.run(None, {"images": image[None].numpy()})
        assert np.allclose(outputs, model(image[None]).detach().numpy(), atol=1e-5)


def test_a_network_has_the_models_zeros() -> None:
    model = toy_net()
    kept = {"fc": torch.rand(model.fc.weight.shape) < 0.3}
    masks.mask(model, kept)
    network = to_network(model, toy_images(16)[0].numpy(), "toy")
    (fc,) = (node for node in network.convolutions if node.layer.name == "fc")
    weights = fc.weights.transpose(0, 3, 1, 2).reshape(4, -1)
    assert not np.any(weights[~kept["fc"].numpy()])
    assert np.count_nonzero(weights) > 0.9 * int(kept["fc"].sum())


def test_layer_tensors_have_the_shapes_and_nearly_the_zeros_of_the_network() -> None:
    model = toy_net().eval()
    images = toy_images(16)[0]
    network = to_network(model, images.numpy(), "toy")
    info = network.input
    codes = np.round(images[0].numpy().transpose(1, 2, 0) / info.scale) + info.zero_point
    inputs = {
        node.layer.name: read[0]
        for node, read, _ in run_nodes(network, codes.astype(info.dtype))
        if isinstance(node, Convolution)
    }
    tensors = layer_tensors(model, images[0])
    assert [each.layer.name for each in tensors] == list(inputs)
    for each, node in zip(tensors, network.convolutions, strict=True):
        # A fully connected layer has its inputs as channels here, as a map in the network.
        assert each.layer.dense_macs == node.layer.dense_macs
        assert each.layer.positions == node.layer.positions
        exact = np.count_nonzero(inputs[each.layer.name])
        assert (
            abs(np.count_nonzero(each.activations) - exact) <= 0.05 * inputs[each.layer.name].size
        )


class _Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).real


def test_a_module_that_cannot_be_traced_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), _Branching()))
    with pytest.raises(UserError, match=r"Module 1\.1 can't be exported"):
        to_onnx(model, SHAPE, "toy")


def test_a_saved_model_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = find("lenet-300-100").make()
    masks.mask(model, {"fc1": torch.rand(300, 784) < 0.1})
    path = tmp_path / "model.pt"
    save_model(model, "lenet-300-100", path, {"test": 0.5})
    loaded, name, accuracy = load_model(path)
    assert (name, accuracy) == ("lenet-300-100", {"test": 0.5})
    image = torch.rand(1, 1, 28, 28)
    assert torch.equal(loaded(image), model.eval()(image))


def test_a_model_with_fewer_channels_is_read_back(tmp_path: Path) -> None:
    definition = find("resnet8")
    model = definition.make(widths=(8, 16, 20, 3, 5, 7))
    path = tmp_path / "model.pt"
    save_model(model, "resnet8", path, {})
    loaded, _, _ = load_model(path)
    image = torch.rand(2, 1, 28, 28)
    assert torch.equal(loaded(image), model.eval()(image))
    assert macs(loaded, (1, 28, 28)) < macs(definition.make(), (1, 28, 28))


def test_models_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with pytest.raises(UserError, match="must be a file"):
        load_model(path)
    for data, words in ((b"nothing", "wrote: "), (b"", "wrote: it is cut short")):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=words):
            load_model(path)
    torch.save(toy_net().state_dict(), path)
    with pytest.raises(FormatError, match="not a plain state dict, which names no network"):
        load_model(path)
    torch.save({"state": {}}, path)
    with pytest.raises(FormatError, match="must be one that `accel prune` wrote"):
        load_model(path)
    torch.save({"format": 1, "network": "lenet5", "accuracy": {}, "state": {"x": 1}}, path)
    with pytest.raises(FormatError, match="does not fit lenet5"):
        load_model(path)
    state = find("lenet5").make().state_dict()
    for accuracy in ({"test": 1e308}, {"test": "high"}, {1: 0.5}):
        torch.save({"format": 1, "network": "lenet5", "accuracy": accuracy, "state": state}, path)
        with pytest.raises(FormatError, match="must have accuracies from 0 to 1"):
            load_model(path)
    state["conv1.weight"] = torch.zeros(3)
    torch.save({"format": 1, "network": "lenet5", "accuracy": {}, "state": state}, path)
    with pytest.raises(FormatError, match=r"conv1.weight must have 4 axes, not 1"):
        load_model(path)


@pytest.mark.parametrize("field", ["network", "accuracy", "state"])
def test_models_that_lack_a_field_are_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "model.pt"
    state = find("lenet5").make().state_dict()
    whole = {"format": 1, "network": "lenet5", "accuracy": {}, "state": state}
    torch.save({key: value for key, value in whole.items() if key != field}, path)
    with pytest.raises(FormatError, match=f"must have the field {field}"):
        load_model(path)


class _Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_pickles_are_refused_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for content in (toy_net(), _Opens(tmp_path / "ran")):
        torch.save(content, path)
        with pytest.raises(FormatError, match="it holds something else than weights"):
            load_model(path)
    assert not (tmp_path / "ran").exists()


def test_reshape_takes_channels_of_all_kinds_of_layers() -> None:
    def make(first: int, second: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, first, 3),
            nn.BatchNorm2d(first),
            nn.Conv2d(first, first, 3, groups=first),
            nn.Conv2d(first, second, 1),
            nn.Flatten(),
            nn.Linear(second * 16, 5),
        )

    small = make(4, 2).eval()
    large = make(8, 6).eval()
    reshape(large, small.state_dict())
    large.load_state_dict(small.state_dict())
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(large(image), small(image))


def test_definitions_have_the_sizes_of_the_papers() -> None:
    sizes = {}
    for name in ("lenet-300-100", "lenet5"):
        model = DEFINITIONS[name].make()
        weights = sum(each.weight.numel() for each in masks.layers(model).values())
        sizes[name] = weights, macs(model, (1, 28, 28))
    # Han et al., NeurIPS 2015, Table 1: 267K and 431K parameters, biases included.
    assert sizes["lenet-300-100"] == (784 * 300 + 300 * 100 + 100 * 10,) * 2
    assert sizes["lenet5"][0] == 430_500
    assert sizes["lenet5"][1] == 20 * 25 * 576 + 50 * 500 * 64 + 800 * 500 + 5000


def test_resnets_have_their_depth() -> None:
    for name, depth in (("resnet8", 8), ("resnet20", 20)):
        layers = masks.layers(DEFINITIONS[name].make())
        assert len([each for each in layers if "shortcut" not in each]) == depth


def test_batches_of_training_are_drawn_and_mirrored() -> None:
    images = np.zeros((10, 2, 2), dtype=np.uint8)
    images[:, 0, 0] = 25 * np.arange(10)
    labels = np.arange(10)
    mirror = Augmentation(mirror=True)
    batches = ImageBatches(images, labels, 4, training=True, augmentation=mirror)
    torch.manual_seed(0)
    seen, mirrored = [], 0
    for inputs, chosen in batches:
        assert inputs.shape == (4, 1, 2, 2)
        for image, label in zip(inputs, chosen.tolist(), strict=True):
            left, right = image[0, 0].tolist()
            assert max(left, right) == pytest.approx(25 * label / 255)
            mirrored += right > left
        seen += chosen.tolist()
    assert len(seen) == len(set(seen)) == 8
    assert seen != sorted(seen)
    assert 0 < mirrored < 8
    assert [len(chosen) for _, chosen in ImageBatches(images, labels, 4)] == [4, 4, 2]


def test_validation_and_test_data_are_not_trained_with() -> None:
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1)
    data = Dataset(images, np.arange(100), images[:7] + 100, np.arange(7), shuffled=True)
    parts = split(data, images=50)
    assert parts.train.labels.tolist() == list(range(50))
    assert parts.validation.labels.tolist() == list(range(90, 100))
    assert len(parts.test.labels) == 7
    assert parts.calibration.shape == (50, 1, 1, 1)
