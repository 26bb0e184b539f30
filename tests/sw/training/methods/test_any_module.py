"""Every method on a residual network that is not ours, written as a stranger would."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.methods import METHODS, Task, make  # noqa: E402
from sw.training.models import to_network  # noqa: E402
from sw.training.networks.definition import Recipe  # noqa: E402
from sw.training.search.narrow import narrowable  # noqa: E402
from tests.sw.training.narrow import INPUT, Batches  # noqa: E402

RECIPE = Recipe(epochs=1, rate=0.1, retrain_rate=0.05)


class Stranger(nn.Module):
    """A bottleneck block with a projection, then a plain one; pooled, and two layers more."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.reduce = nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.convolve = nn.Sequential(
            nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.expand = nn.Sequential(nn.Conv2d(4, 12, 1), nn.BatchNorm2d(12))
        self.project = nn.Sequential(nn.Conv2d(8, 12, 1, stride=2), nn.BatchNorm2d(12))
        self.plain = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)
        )

    def forward(self, images):
        x = self.begin(images)
        x = torch.relu(self.expand(self.convolve(self.reduce(x))) + self.project(x))
        return self.head(torch.relu(self.plain(x) + x))


def stranger() -> Stranger:
    torch.manual_seed(0)
    return Stranger()


#: Little of each.
OPTIONS = {
    "magnitude": {"density": 0.3, "rounds": 1},
    "coarse": {"density": 0.5, "rounds": 1},
    "slimming": {"channels": 0.5},
    "meta": {"generations": 1, "population": 2, "budget": 0.7, "hidden": 4},
    "tas": {"search_epochs": 1, "epochs": 1},
    "scratch-e": {"options": {"channels": 0.5}},
    "scratch-b": {"finder": "uniform"},
    "uniform": {"channels": 0.5},
    "balance": {"density": 0.3, "rounds": 1, "chunk": 8},
    "cycles": {"budget": 0.6, "rounds": 1, "images": 32},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_makes_a_strangers_network_smaller(name: str, tmp_path: Path) -> None:
    model = stranger()
    weights, before = sum(x.numel() for x in model.parameters()), macs(model, INPUT)
    session = Session(Batches(), Batches(), tmp_path)

    def layer_cost(model: nn.Module) -> dict[str, float]:
        layers = masks.layers(model)
        return {key: float(masks.weight(each).count_nonzero()) for key, each in layers.items()}

    task = Task(
        session=session,
        recipe=RECIPE,
        input_shape=INPUT,
        epochs=1,
        cost=lambda model: sum(layer_cost(model).values()),
        layer_cost=layer_cost,
    )
    pruned = make(name, OPTIONS[name]).prune(model, task)
    if "channels" in METHODS[name].removes:
        assert macs(pruned, INPUT) < 0.95 * before
        assert sum(x.numel() for x in pruned.parameters()) < weights
    else:
        assert masks.density(pruned) < 0.75
    images = torch.cat([images for images, _ in Batches().batches])
    assert to_network(pruned, images[:4].numpy(), name).convolutions


def prepared() -> nn.Module:
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    model = stranger().train()
    model.qconfig = get_default_qat_qconfig("x86")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepare_qat(model)


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="script"):
        return torch.jit.script(stranger())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_refuses_what_none_can_prune(name: str, tmp_path: Path) -> None:
    session = Session(Batches(), Batches(), tmp_path)
    task = Task(
        session=session, recipe=RECIPE, input_shape=INPUT, epochs=1, layer_cost=lambda _: {}
    )
    for model, words in (
        (stranger().state_dict(), "must be a torch.nn.Module, not a dict of weights"),
        (scripted(), "must be one of Python, not compiled"),
        (prepared(), "must not be prepared for quantisation"),
    ):
        method = make(name, OPTIONS[name])
        with pytest.raises(UserError, match=words):
            method.check(model, task)
        with pytest.raises(UserError, match=words):
            method.prune(model, task)


def test_widths_are_the_channels_that_can_go() -> None:
    model = stranger()
    definition = narrowable(model, INPUT, RECIPE)
    # begin, reduce, convolve; expand with project and plain; the first layer of the head.
    assert definition.widths == (8, 4, 4, 12, 6)
    narrow = definition.make((5, 4, 3, 7, 2))
    assert narrow.project[0].weight.shape == (7, 5, 1, 1)
    assert narrow.plain[0].weight.shape == (7, 7, 3, 3)
    assert narrow.convolve[0].weight.shape == (3, 4, 3, 3)
    assert narrow.head[2].weight.shape == (2, 7)
    assert narrow(torch.rand(2, *INPUT)).shape == (2, 2)
    assert model.plain[0].weight.shape == (12, 12, 3, 3)
    torch.manual_seed(3)
    first = definition.make()
    torch.manual_seed(3)
    same = definition.make()
    assert torch.equal(first.plain[0].weight, same.plain[0].weight)
    assert not torch.equal(first.plain[0].weight, model.plain[0].weight)
    with pytest.raises(UserError, match="Widths must be from 1 to"):
        definition.make((9, 4, 3, 7, 2))


def test_a_module_without_channels_that_can_go_is_refused() -> None:
    with pytest.raises(UserError, match="must have channels that can be removed, and has none"):
        narrowable(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), INPUT, RECIPE)
