"""`accel prune FILE.py:NAME`: a user's own network, checked, pruned, written; what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sw.storage import container  # noqa: E402

SOURCE = '''
"""A stranger's file."""
import functools
import warnings
import torch
from torch import nn
from beside import WIDTH


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3), nn.BatchNorm2d(2 * WIDTH), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * WIDTH, 4),
        )

    def forward(self, x):
        return self.layers(x)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 4)

    def forward(self, x):
        return self.out(x.flatten(1) * torch.linalg.svdvals(x.flatten(1)).sum())


def without_warnings(make):
    """Call without PyTorch's warnings of what it will drop."""

    @functools.wraps(make)
    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()

    return call


def heat():
    return nn.Conv2d(1, 1, 3, padding=1)


def broken():
    raise RuntimeError("no luck\\nat all")


@without_warnings
def compiled():
    return torch.jit.script(Net())


@without_warnings
def prepared():
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    model = Net().train()
    model.qconfig = get_default_qat_qconfig("x86")
    return prepare_qat(model)


def map_of_classes():
    return nn.Conv2d(1, 4, 3, padding=1)


number = 3
state = Net().state_dict()
'''


class Evil:
    """Makes a file where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("owned"),)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the file and a data set of four classes."""
    (tmp_path / "my.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    data = tmp_path / "data"
    data.mkdir()
    generator = np.random.default_rng(1)
    for name, count in (("train", 200), ("test", 40)):
        labels = generator.integers(0, 4, count)
        images = generator.integers(0, 120, (count, 8, 8))
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 2)
            image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 120
        np.save(data / f"{name}-images.npy", images)
        np.save(data / f"{name}-labels.npy", labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_is_pruned_with_its_own_weights_and_data(accel, own: Path) -> None:
    common = ("my.py:Net", "--data", "data", "--epochs", "1", "--batch", "32", "--preset", "toy")
    status, out, err = accel("prune", *common, "--dense-epochs", "1", "--density", "0.5",
                             "--rounds", "1", "-o", "first")  # fmt: skip
    assert status == 0, err
    state = torch.load(own / "first" / "Net-magnitude.pt", weights_only=True)
    kept = sum(int(state[f"layers.{i}.weight"].count_nonzero()) for i in (0, 4, 8))
    assert kept == round(0.5 * (54 + 648 + 192))
    assert "layers.4" in out

    # From these weights, by a method that removes channels, to a share of the weights.
    slim = ("--method", "slimming", "--density", "0.3", "--weights", "first/Net-magnitude.pt")
    status, out, err = accel("prune", *common, *slim, "-o", "second")
    assert status == 0, err
    network = container.load(own / "second" / "Net-slimming.safetensors")
    sizes = [node.weights.size for node in network.convolutions]
    assert 0.1 * 894 < sum(sizes) <= 0.3 * 894
    assert network.convolutions[0].weights.shape[0] < 6


def test_a_check_tells_what_would_come_of_it(accel, own: Path) -> None:
    arguments = ("--input-shape", "1,1,8,8", "--preset", "toy", "--density", "0.2")
    status, out, _ = accel("prune", "--check", "my.py:Net", *arguments)
    assert status == 0
    words = " ".join(out.split())
    assert "layers.4.weight 648" in words
    assert "all weights 894 179 20.0" in words
    assert "Prunable: yes. Convertible: yes. Cycles an image: " in words
    assert accel("prune", "--check", "my.py:Net", *arguments)[1] == out
    status, out, _ = accel("prune", "--check", "my.py:Odd", "--data", "data")
    assert status == 1
    assert "Convertible: no. " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("my.py",), "must be named FILE.py:NAME, not 'my.py'"),
        (("no.py:Net",), "there is no no.py"),
        (("my.py:Gone",), "File my.py must define Gone, which it does not"),
        (("my.py:broken",), "Network my.py:broken can't be made: RuntimeError: no luck"),
        (("my.py:number",), "must be a module, its class or a function that returns one, not int"),
        (("my.py:state",), "function that returns one, not OrderedDict"),
        (("my.py:compiled", "--dense-epochs", "1"), "Module RecursiveScriptModule must be one of"),
        (
            ("my.py:compiled", "--method", "slimming", "--dense-epochs", "1"),
            "Module RecursiveScriptModule must be one of Python",
        ),
        (("my.py:prepared", "--dense-epochs", "1"), "must not be prepared for quantisation"),
        (("my.py:map_of_classes",), "Network map_of_classes must return classes, axes n, class"),
        (("wrong.py:Net",), "File wrong.py can't be run: SyntaxError"),
        (("my.py:heat",), "Network heat must return classes, axes n, class"),
        (("my.py:Net", "--weights", "gone.pt"), "Weights gone.pt must be a file"),
        (("my.py:Net", "--weights", "pickle.pt"), "must hold tensors alone, not pickled objects"),
        (("my.py:Net", "--weights", "evil.pt"), "must hold tensors alone, not pickled objects"),
        (("my.py:Net", "--weights", "text.pt"), "must be a file that torch.save wrote: "),
        (("my.py:Net", "--weights", "other.pt"), "must be those of my.py:Net: Missing key(s)"),
        (("my.py:Net", "--weights", "list.pt"), "must hold a state dict, not list"),
        (("my.py:Net", "--input-shape", "8,8"), "must be 1,channels,rows,columns, not '8,8'"),
        (("my.py:Net", "--check"), "Size of the inputs must be given by --input-shape 1,C,Y,X"),
        (
            ("lenet5", "--input-shape", "1,1,28,28"),
            "must be left out for lenet5, a network of",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(accel, own: Path, arguments, words: str) -> None:
    (own / "wrong.py").write_text("def :\n")
    torch.save(torch.nn.Linear(2, 2), own / "pickle.pt")
    (own / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (own / "text.pt").write_text("hello")
    torch.save({"a": torch.zeros(2)}, own / "other.pt")
    torch.save([torch.zeros(2)], own / "list.pt")
    data = () if "--check" in arguments else ("--data", "data")
    status, _, err = accel("prune", *arguments, *data, "-o", "out")
    assert status == 2
    assert words in err
    assert err.count("\n") == 1
    assert not (own / "owned").exists()
