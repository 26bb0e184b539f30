"""Trained codebooks: folding, fine-tuning, the study, and `accel compress` of a .pt model."""

import gzip
import json
import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from accel.studies.study import StudyTask  # noqa: E402
from golden.errors import UserError  # noqa: E402
from sw.coding import coded_file  # noqa: E402
from sw.coding.codebook import CodebookOptions  # noqa: E402
from sw.training import codebooks, masks  # noqa: E402
from sw.training.data.batches import split  # noqa: E402
from sw.training.data.dataset import Dataset  # noqa: E402
from sw.training.loop.objective import accuracy  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.models import save_model  # noqa: E402
from sw.training.networks import LENET_300_100, RESNET_8  # noqa: E402
from sw.training.pipeline import start  # noqa: E402

SMALL = CodebookOptions(convolution_bits=3, connected_bits=2)


@pytest.fixture(scope="module")
def dataset():
    """300 images of 10 classes: a bright row each, noise over all."""
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 10
    images = rng.integers(0, 40, (300, 28, 28))
    images[np.arange(300), 2 * labels + 4] += 200
    images = images.astype(np.uint8)
    return Dataset(
        images[:240], labels[:240], images[240:], labels[240:], mirrored=True, shuffled=True
    )


@pytest.fixture
def data(dataset):
    return split(dataset, batch=32)


def lenet(seed=1, density=0.08):
    """A small LeNet-300-100 pruned without training: most of its outputs are wrong."""
    start(seed)
    model = LENET_300_100.make((40, 20))
    kept = {
        name: torch.rand(masks.weight(layer).shape) < density
        for name, layer in masks.layers(model).items()
    }
    masks.mask(model, kept)
    return model


@pytest.fixture
def trained(data):
    """The same trained for a little while, its zeros kept."""
    model = lenet(density=0.3)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    for _ in range(20):
        for inputs, labels in data.train:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
    return model


@torch.no_grad()
def loss_of(model, batches):
    return sum(
        float(torch.nn.functional.cross_entropy(model(inputs), labels, reduction="sum"))
        for inputs, labels in batches
    )


def test_batch_norms_are_folded_and_zeros_stay():
    start(1)
    model = RESNET_8.make()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
    masks.mask(model, {"stem": torch.rand(16, 1, 3, 3) < 0.5})
    folded = codebooks.fold(model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert set(masks.layers(folded)) == set(masks.layers(model))
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(folded(images), model.eval()(images), rtol=1e-4, atol=1e-5)
    kept, before = masks.weight(folded.stem), masks.weight(model.stem)
    assert torch.equal(kept == 0, before == 0)
    # The model given still works, and can be folded again.
    torch.testing.assert_close(codebooks.fold(model)(images), folded(images))


def test_what_cannot_be_traced_is_refused():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(1)

        def forward(self, x):
            return self.norm(x) if x.sum() > 0 else x

    with pytest.raises(UserError, match="Batch norms of the model can't be folded"):
        codebooks.fold(Model())


def test_fine_tuning_lowers_the_loss_and_keeps_codes_and_zeros(trained, data, tmp_path):
    model = codebooks.fold(trained)
    assert codebooks.share(model, SMALL) == []
    before, coded = loss_of(model, data.train), codebooks.coded_layers(model)
    fixed = {name: masks.weight(layer) for name, layer in masks.layers(model).items()}
    session = Session(data.train, data.validation, tmp_path)
    codebooks.fine_tune(model, session, 5)
    assert loss_of(model, data.train) < 0.9 * before
    for old, new in zip(coded, codebooks.coded_layers(model), strict=True):
        np.testing.assert_array_equal(old.coded.codes, new.coded.codes)
        assert not np.array_equal(old.coded.values[0], new.coded.values[0])
        weights = masks.weight(masks.layers(model)[new.name])
        assert torch.equal(weights == 0, fixed[new.name] == 0)
        # A value for each code, the two-bit codebooks' three at most.
        assert weights.unique().numel() <= 4
        np.testing.assert_array_equal(new.coded.decode()[:, 0, 0], weights.numpy())


def test_all_stages_and_a_second_run_without_training(trained, data, tmp_path):
    path = tmp_path / "model.pt"
    save_model(trained, "lenet-300-100", path, {})
    runs = [
        codebooks.compress(path, SMALL, data, tmp_path / "checkpoints", epochs=2) for _ in range(2)
    ]
    first, again = runs
    assert list(first.accuracy) == ["as trained", "codebook", "fine-tuned", "int8"]
    assert first.accuracy["as trained"] == accuracy(trained, data.test)
    assert first.accuracy["fine-tuned"] >= first.accuracy["codebook"]
    assert abs(first.accuracy["int8"] - first.accuracy["fine-tuned"]) <= 0.05
    assert first.network.accuracy == first.accuracy
    for old, new in zip(first.layers, again.layers, strict=True):
        assert old.coded.decode().tobytes() == new.coded.decode().tobytes()
    # The machine's weights have the zeros of the codes, or more: small values may round to 0.
    for node, layer in zip(first.network.convolutions, first.layers, strict=True):
        kept, codes = node.weights.reshape(len(node.weights), -1), layer.coded.codes[:, 0, 0]
        assert not np.any(kept[codes == 0])
        assert np.mean(kept[codes != 0] != 0) > 0.9
    for changed in ({"epochs": 3}, {"epochs": 2, "rate": 0.5}):
        with pytest.raises(UserError, match="of a run with"):
            codebooks.compress(path, SMALL, data, tmp_path / "checkpoints", **changed)
    save_model(lenet(2), "lenet-300-100", path, {})
    with pytest.raises(UserError, match="of a run with model"):
        codebooks.compress(path, SMALL, data, tmp_path / "checkpoints", epochs=2)


def test_the_study_states_every_stage(data, tmp_path, monkeypatch):
    from accel.studies.training import deep_compression, find

    monkeypatch.setattr(deep_compression, "EPOCHS", {LENET_300_100: 1})
    monkeypatch.setattr(deep_compression, "BITS", {LENET_300_100: ((3, 2),)})
    monkeypatch.setattr(deep_compression, "ROUNDS", 2)
    task = StudyTask(
        data=data,
        folder=tmp_path,
        seeds=(1,),
        measure=lambda network: {"cycles": float(len(network.convolutions))},
        cost=lambda model: 0.0,
        scale=0.1,
    )
    rows = find("deep-compression").rows(task)
    found = {row["label"]: row for row in rows}
    assert list(found) == [
        "dense", "P", "P+Q, not trained: 3, 2", "P+Q: 3, 2", "P+Q+H: 3, 2",
        "fc1: 3, 2", "fc2: 3, 2", "fc3: 3, 2", "int8 of 3, 2",
    ]  # fmt: skip
    coded = found["P+Q+H: 3, 2"]
    assert (found["dense"]["size_percent"], found["dense"]["lost_points"]) == (100, 0)
    sizes = [found[label]["size_percent"] for label in ("P", "P+Q: 3, 2", "P+Q+H: 3, 2")]
    assert sizes == sorted(sizes, reverse=True)
    # 8 % of weights in 32 + 5 bits, a few fillers more.
    assert 8 * 37 / 32 < sizes[0] < 8 * 37 / 32 * 1.15
    assert coded["times_smaller"] == pytest.approx(100 / coded["size_percent"])
    layers = [row for label, row in found.items() if label.startswith("fc")]
    assert sum(row["weights"] for row in layers) == coded["weights"] == 266200
    assert coded["kept_percent"] == pytest.approx(8, abs=0.01)
    assert sum(row["weights"] * row["size_percent"] for row in layers) == pytest.approx(
        266200 * coded["size_percent"]
    )
    assert found["P"]["cycles"] == found["int8 of 3, 2"]["cycles"] == 3


# -- the command ------------------------------------------------------------------------------


@pytest.fixture
def model(trained, tmp_path):
    save_model(trained, "lenet-300-100", tmp_path / "small.pt", {})
    return tmp_path / "small.pt"


@pytest.fixture
def folder(dataset, tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    for stem, images, labels in (
        ("train", dataset.train_images, dataset.train_labels),
        ("t10k", dataset.test_images, dataset.test_labels),
    ):
        head = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)
        with gzip.open(place / f"{stem}-images-idx3-ubyte.gz", "wb") as file:
            file.write(head + images.tobytes())
        head = struct.pack(">4BI", 0, 0, 8, 1, len(labels))
        with gzip.open(place / f"{stem}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(head + labels.astype(np.uint8).tobytes())
    return place


@pytest.fixture
def accel(capfd):
    from accel.cli.app import main

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capfd.readouterr()
        return stop.value.code, output.out, output.err

    return run


def test_a_pt_model_is_taken_like_an_onnx_one(accel, model, folder, tmp_path):
    out = tmp_path / "out.safetensors"
    status, text, err = accel("compress", model, "--data", folder, "--codebook", "3,2", "-o", out)
    assert (status, err) == (0, "")
    assert "Codebook of 3 and 2 bits" in " ".join(text.split())
    assert "int8, decoded as the machine holds them" in text
    from sw.storage import container

    plain = tmp_path / "plain.safetensors"
    assert accel("compress", model, "--data", folder, "-o", plain)[0] == 0
    # A codebook of three values leaves a filter four int8 weights; int8 alone has more.
    few = [container.load(path).convolutions[0].weights[0] for path in (out, plain)]
    assert np.unique(few[0]).size <= 4 < np.unique(few[1]).size
    shapes = [node.weights.shape for node in container.load(out).convolutions]
    assert [(shape[0], int(np.prod(shape[1:]))) for shape in shapes] == [
        (40, 784), (20, 40), (10, 20),
    ]  # fmt: skip


def test_fine_tuned_sizes_accuracies_and_file(accel, model, folder, tmp_path, trained):
    written, document = tmp_path / "coded.safetensors", tmp_path / "sizes.json"
    arguments = (
        "compress", model, "--data", folder, "--codebook", "3,2", "--fine-tune", 2,
        "--checkpoints", tmp_path / "checkpoints", "--coded", written,
    )  # fmt: skip
    status, text, _ = accel(*arguments)
    assert status == 0
    assert "fine-tuned" in text
    assert accel(*arguments, "--json", document)[0] == 0
    found = json.loads(document.read_text())
    assert list(found["accuracy"]) == ["as trained", "codebook", "fine-tuned", "int8"]
    file = coded_file.load(written)
    assert [layer.name for layer in file.layers] == ["fc1", "fc2", "fc3"]
    weights = file.layers[0].coded.decode()[:, 0, 0]
    before = masks.weight(trained.fc1).numpy()
    np.testing.assert_array_equal(weights == 0, before == 0)
    assert 0 < np.abs(weights - before).max() < 1
    total = found["representations"][0]["layers"][-1]
    size = written.stat().st_size
    header = 8 + int.from_bytes(written.read_bytes()[:8], "little")
    assert 0 <= size - header - total["coded_bits"] / 8 < 3
    assert f"{written}: {size - header} bytes of weights ({total['coded_bits']} bits" in " ".join(
        text.split()
    )


def test_bad_fine_tuning_is_refused(accel, model, tmp_path):
    for arguments, words in (
        (["lenet5", "--codebook", "8,5", "--fine-tune", 1], "must be a .pt"),
        ([model, "--fine-tune", 1], "--codebook"),
        ([model, "--codebook", "8,5", "--fine-tune", 0], "at least 1, not 0"),
        ([model, "--codebook", "8,5", "--fine-tune", 1, "--rate", 0], "above 0, not 0.0"),
        ([model, "--codebook", "8,5", "--fine-tune", 1, "--density", 0.5], "--density must be"),
        ([model, "--codebook", "8,5", "-o", "x.safetensors"], "--images or --data"),
        ([model, "--coded", "x.bin", "--codebook", "8,5"], "must end in .safetensors"),
        ([tmp_path / "no.pt", "--codebook", "8,5"], "no.pt must be a file"),
        ([tmp_path / "no.pt", "--codebook", "8,5", "--fine-tune", 1], "no.pt must be a file"),
        (["lenet5", "--data", tmp_path], "only a .pt model takes it"),
    ):
        status, out, err = accel("compress", *arguments)
        assert (status, out) == (2, ""), arguments
        assert words in err
