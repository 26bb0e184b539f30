"""Convolutions pruned first, then fully connected layers on features that are computed once."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.loop.parts import Features, Head  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.methods import Task, make  # noqa: E402
from sw.training.networks.definition import Recipe  # noqa: E402
from tests.sw.training.toys import CLASSES, SHAPE, toy_images, toy_loader  # noqa: E402


class TwoParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.fc1 = nn.Linear(96, 16)
        self.fc2 = nn.Linear(16, CLASSES)
        self.seen = 0

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return nn.functional.max_pool2d(self.norm(self.conv(images)).relu(), 2)

    def classify(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.flatten(1)).relu())

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))


def run(folder: Path, **options: object) -> tuple[TwoParts, Session]:
    torch.manual_seed(0)
    model = TwoParts()
    session = Session(toy_loader(), toy_loader(seed=1), folder)
    recipe = Recipe(epochs=2, rate=0.05, retrain_rate=0.05)
    task = Task(session=session, recipe=recipe, input_shape=SHAPE, epochs=3)
    return make("magnitude", options).prune(model, task), session  # type: ignore[return-value]


def test_each_part_is_retrained_while_the_other_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = TwoParts()
    model, session = run(tmp_path, density=0.25, rounds=2, convolution_rounds=1)
    kept = {name: float((masks.weight(each) != 0).float().mean()) for name, each in
            masks.layers(model).items()}  # fmt: skip
    assert kept["conv"] == pytest.approx(0.25, abs=0.01)
    connected = kept["fc1"] * 96 * 16 + kept["fc2"] * 16 * CLASSES
    assert connected == pytest.approx(400)
    first, last = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True)["model"]
        for name in ("convolutions-round-1", "round-2")
    )
    for name, value in first.items():
        if name.startswith("fc"):
            assert torch.equal(value, start.state_dict()[name])
        elif name.startswith(("conv", "norm")):
            assert torch.equal(value, last[f"model.{name}"])
    assert not torch.equal(first["norm.weight"], start.norm.weight)
    assert session.accuracy(model) > 0.35  # a quarter by chance


def test_convolutions_can_be_pruned_without_retraining(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = TwoParts().conv.weight.detach()
    model, _ = run(tmp_path, density=0.5, rounds=1, convolution_rounds=1, convolution_epochs=0)
    found = masks.weight(model.conv)
    assert int(found.count_nonzero()) == 27
    assert torch.equal(found, start * (found != 0))


def test_features_are_computed_once_and_drawn_anew() -> None:
    torch.manual_seed(0)
    model = TwoParts().train()
    images, labels = toy_images(40)
    batches = [(images[i : i + 8], labels[i : i + 8]) for i in range(0, 40, 8)]
    features = Features(model, batches, seed=0)
    assert model.seen == 0
    epochs = [list(features) for _ in range(3)]
    assert model.seen == 40
    assert len(features) == len(epochs[0]) == 5
    assert model.training
    assert model.norm.training
    orders = [torch.cat([label for _, label in epoch]).tolist() for epoch in epochs]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(labels.tolist())
    model.eval()
    wanted = {tuple(row) for row in model(images).detach().round(decimals=4).tolist()}
    found = torch.cat([Head(model)(x) for x, _ in epochs[0]]).detach().round(decimals=4)
    assert {tuple(row) for row in found.tolist()} == wanted


def test_features_have_batches_of_their_own(tmp_path: Path) -> None:
    images, labels = toy_images(40)
    batches = [(images[i : i + 8], labels[i : i + 8]) for i in range(0, 40, 8)]
    features = Features(TwoParts(), batches, 0, batch=16)
    assert [len(found) for _, found in features] == [16, 16, 8]
    assert len(features) == 3
    steps: list[int] = []

    def count(model: nn.Module, progress: float) -> None:
        steps.append(1)

    session = Session(toy_loader(), toy_loader(), tmp_path)  # 5 batches of 32
    plain = session.train

    def train(*arguments: object, **options: object) -> None:
        plain(*arguments, before_step=count, **options)  # type: ignore[arg-type]

    session.train = train  # type: ignore[method-assign]
    recipe = Recipe(epochs=1, rate=0.05, retrain_rate=0.05)
    task = Task(session=session, recipe=recipe, input_shape=SHAPE, epochs=1)
    options = {"rounds": 1, "convolution_rounds": 1, "connected_batch": 40}
    make("magnitude", options).prune(TwoParts(), task)
    assert len(steps) == 5 + 4
    with pytest.raises(UserError, match="fully connected layers must be at least 1, not 0"):
        make("magnitude", {"connected_batch": 0})


def test_a_network_that_is_not_in_two_parts_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    session = Session(toy_loader(), toy_loader(), tmp_path)
    recipe = Recipe(epochs=1, rate=0.1, retrain_rate=0.1)
    task = Task(session=session, recipe=recipe, input_shape=SHAPE)
    with pytest.raises(UserError, match="must have methods features and classify"):
        make("magnitude", {"convolution_rounds": 1}).prune(model, task)
