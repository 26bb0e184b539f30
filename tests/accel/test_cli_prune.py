"""`accel prune` and `accel study` from the command line: what they write, what they refuse."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sw.storage import container  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.methods import METHODS  # noqa: E402
from sw.training.models import load_model  # noqa: E402
from sw.training.networks import DEFINITIONS  # noqa: E402

#: Little of everything.
FAST = ("--dense-epochs", "1", "--epochs", "1", "--rounds", "2", "--density", "0.1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder of images whose brightest quarter tells the class."""
    folder = tmp_path / "data"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name, count in (("train", 400), ("test", 100)):
        labels = generator.integers(0, 4, count)
        images = generator.integers(0, 120, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 2)
            image[14 * row : 14 * row + 14, 14 * column : 14 * column + 14] += 120
        np.save(folder / f"{name}-images.npy", images)
        np.save(folder / f"{name}-labels.npy", labels)
    return folder


def _prune(accel, data: Path, output: Path, *more: str):
    return accel("prune", "lenet-300-100", *FAST, "--data", str(data), "-o", str(output), *more)


def test_a_network_is_trained_pruned_and_written(accel, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    status, out, err = _prune(accel, data, output)
    assert status == 0, err
    for words in ("accuracy on test data", "26,620", "10.00 %", "over dense", "wrote"):
        assert words in out
    model, name, _ = load_model(output / "lenet-300-100-magnitude.pt")
    assert name == "lenet-300-100"
    weights = {key: masks.weight(layer) for key, layer in masks.layers(model).items()}
    assert sum(int(each.count_nonzero()) for each in weights.values()) == 26_620
    network = container.load(output / "lenet-300-100-magnitude.safetensors")
    for node in network.convolutions:
        pruned = (weights[node.layer.name] == 0).sum()
        assert node.weights.size - np.count_nonzero(node.weights) >= int(pruned)
    status, out, _ = accel(
        "run", str(output / "lenet-300-100-magnitude.safetensors"), "--preset", "toy",
        "--images", str(_codes(tmp_path)), "--json", "-",
    )  # fmt: skip
    assert status == 0
    (machine,) = json.loads(out)["machines"]
    assert [layer["layer"] for layer in machine["layers"][::4]] == ["fc1", "fc2", "fc3"]


def _codes(folder: Path) -> Path:
    np.save(folder / "images.npy", np.random.default_rng(2).random((1, 1, 28, 28), np.float32))
    return folder / "images.npy"


def test_a_second_run_goes_on_and_other_options_need_another_folder(
    accel, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert _prune(accel, data, output)[0] == 0
    dense = (output / "dense.pt").stat().st_mtime_ns
    first = (output / "lenet-300-100-magnitude.onnx").read_bytes()
    (output / "round-2.pt").unlink()
    status, _, _ = _prune(accel, data, output)
    assert status == 0
    assert (output / "dense.pt").stat().st_mtime_ns == dense
    assert (output / "lenet-300-100-magnitude.onnx").read_bytes() == first
    status, out, err = _prune(accel, data, output, "--seed", "2")
    assert (status, out) == (2, "")
    assert "is of a run with seed 1, not 2" in err


def test_a_teacher_and_a_dense_model_can_be_given(accel, data: Path, tmp_path: Path) -> None:
    assert _prune(accel, data, tmp_path / "first")[0] == 0
    dense = str(tmp_path / "first" / "lenet-300-100-dense.pt")
    status, _, err = _prune(accel, data, tmp_path / "second", "--dense", dense, "--teacher", dense)
    assert status == 0, err
    assert not (tmp_path / "second" / "dense.pt").exists()
    alone = torch.load(tmp_path / "first" / "round-1.pt", weights_only=True)["model"]
    taught = torch.load(tmp_path / "second" / "round-1.pt", weights_only=True)["model"]
    assert any(not torch.equal(alone[key], taught[key]) for key in alone)


def test_a_machine_that_is_too_small_loses_no_training(
    accel, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accel.studies import pruning
    from golden.errors import UserError

    def too_small(*_: object) -> None:
        raise UserError("Layer fc1 needs more")

    monkeypatch.setattr(pruning, "measure_on", lambda *_: too_small)
    status, out, err = _prune(accel, data, tmp_path / "run", "--epochs", "0")
    assert status == 0, err
    assert "26,620" in out
    assert "cycles" not in out


def test_lists(accel) -> None:
    status, out, _ = accel("prune", "--list")
    assert status == 0
    words = out.split()
    assert set(METHODS) | set(DEFINITIONS) <= set(words)
    assert "Han et al., NeurIPS" in out
    assert max(map(len, out.splitlines())) <= 80
    status, out, _ = accel("study")
    assert status == 0
    assert "distillation" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "must be given"),
        (("resnet9",), "must be one of lenet-300-100"),
        (("lenet5", "--method", "magic"), "must be one of magnitude"),
        (("lenet5", "--density", "0"), "above 0 and at most 1, not 0.0"),
        (("lenet5", "--density", "1.01"), "above 0 and at most 1, not 1.01"),
        (("lenet5", "--set", "quality"), "must be key=value"),
        (("lenet5", "--set", "size=3"), "not 'size'"),
        (("lenet5", "--epochs", "-1"), "--epochs must be at least 0"),
        (("lenet5", "--batch", "0"), "--batch must be at least 1"),
        (("lenet5", "--augment", "flip"), "none, mirror or shift=PIXELS, not 'flip'"),
        (("vgg16-hed", "--data", "x"), "vgg16-hed brings its own data: leave out --data"),
        (("lenet5", "--dense", "no.pt"), "Model no.pt must be a file"),
        (("lenet5", "--data", "nowhere"), "nowhere must be a folder"),
        (("lenet5", "--seed", "x"), "seed"),
        (("lenet5", "--name", "../mine"), "without a folder, not '../mine'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(accel, arguments, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = accel("prune", *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "densities={fc9=0.1}"), "Layer to prune must be one of fc1, fc2, fc3, not"),
        (("--method", "slimming"), "Model to slim must have batch normalisation"),
        (("--method", "scratch-e"), "Model to slim must have batch normalisation"),
        (("--method", "tas"), "Network for method tas must have widths"),
        (("--method", "meta", "--set", "budget=0.001"), "Budget must be at least"),
    ],
)
def test_what_a_network_lacks_is_said_before_it_is_trained(
    accel, data: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    common = ("--dense-epochs", "1", "--data", str(data), "-o", str(tmp_path / "run"))
    status, _, err = accel("prune", "lenet-300-100", *common, *options)
    assert status == 2
    assert words in err
    assert "epoch" not in err
    assert list((tmp_path / "run").iterdir()) == []


def test_a_teacher_with_other_outputs_is_refused(accel, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "teacher.pt"
    torch.save({"format": 1, "network": "lenet5", "accuracy": {}, "state": {}}, path)
    status, _, err = _prune(accel, data, tmp_path / "run", "--teacher", str(path))
    assert status == 2
    assert "does not fit lenet5" in err


def test_data_that_do_not_fit_are_refused(accel, data: Path, tmp_path: Path) -> None:
    np.save(data / "train-labels.npy", np.zeros(7, dtype=np.int64))
    status, _, err = _prune(accel, data, tmp_path / "run")
    assert status == 2
    assert "a label for each of 400 train images, not 7 labels" in err


def test_a_study_writes_rows_and_a_page(accel, data: Path, tmp_path: Path, monkeypatch) -> None:
    from accel.studies import training as studies
    from accel.studies.study import Plot, Study
    from sw.training.methods import make
    from sw.training.networks import find

    def rows(task):
        definition = find("lenet-300-100")
        result = []
        for seed in task.seeds:
            for density in (0.5, 0.1):
                method = make("magnitude", {"density": density, "rounds": 1})
                label = f"{density:g}"
                result.append(task.prune(definition, method, seed, label, epochs=1)[1])
        return result

    toy = Study(
        name="toy",
        question="Does it work?",
        rows=rows,
        columns=("accuracy", "density", "cycles"),
        plots=(Plot(x="density", y="accuracy", series="network"),),
    )
    monkeypatch.setitem(studies.STUDIES, "toy", toy)
    page, sheet = tmp_path / "page.html", tmp_path / "rows.csv"
    arguments = ("study", "toy", "--seeds", "2", "--scale", "0.1", "--data", str(data))
    places = ("-o", str(tmp_path / "work"), "--plot", str(page), "--csv", str(sheet))
    status, out, err = accel(*arguments, *places)
    assert status == 0, err
    assert "Does it work?" in out
    assert "±" in out
    found = list(csv.DictReader(io.StringIO(sheet.read_text())))
    assert [(row["label"], row["seed"]) for row in found] == [
        ("0.5", "1"), ("0.1", "1"), ("0.5", "2"), ("0.1", "2"),
    ]  # fmt: skip
    assert float(found[1]["density"]) == pytest.approx(0.1, abs=1e-4)
    assert float(found[1]["cycles"]) < float(found[0]["cycles"])
    assert "Does it work?" in page.read_text()


def test_studies_refuse_nonsense(accel, tmp_path: Path) -> None:
    for arguments, words in (
        (("magic",), "must be one of sparsity"),
        (("sparsity", "--seeds", "0"), "Seeds must be at least 1"),
        (("sparsity", "--csv", str(tmp_path / "no" / "x.csv")), "must lie in a folder"),
    ):
        status, out, err = accel("study", *arguments)
        assert (status, out) == (2, "")
        assert words in err
