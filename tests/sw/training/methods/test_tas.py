"""Transformable architecture search on small ResNets and images that a narrow one tells apart."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from golden.errors import UserError  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.loop.distillation import Distillation  # noqa: E402
from sw.training.loop.objective import accuracy  # noqa: E402
from sw.training.loop.session import Phase, Session  # noqa: E402
from sw.training.methods import METHODS, Task, make  # noqa: E402
from sw.training.methods.narrowing.tas import Tas, cost_loss  # noqa: E402
from sw.training.models import load_model, save_model, to_onnx  # noqa: E402
from sw.training.networks import DEFINITIONS, LENET_5, VGG_SMALL, Definition, Recipe  # noqa: E402
from sw.training.networks.resnet import ResNet  # noqa: E402
from sw.training.search.elastic import (  # noqa: E402
    Architecture,
    Supernet,
    _Drawn,
    _Stage,
    draw_two,
    resize_channels,
)

SHAPE = (1, 8, 8)
#: Between the blocks of three stages, then inside two blocks each.
WIDTHS = (8, 8, 16, 8, 8, 8, 8, 16, 16)
SHARES = (0.25, 0.5, 0.75, 1.0)


class OneWidth(torch.nn.Module):
    """A convolution whose width is free, and a classifier."""

    def __init__(self, widths: tuple[int, ...] = (4,)) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, widths[0], 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(widths[0])
        self.fc = torch.nn.Linear(widths[0], 10)

    def forward(self, x: Any) -> Any:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


def _define(make: Any, widths: tuple[int, ...]) -> Definition:
    recipe = Recipe(epochs=3, rate=0.05, retrain_rate=0.01)
    return Definition(
        name="tiny", summary="", make=make, recipe=recipe, input_shape=SHAPE, widths=widths
    )


def _tiny_resnet(widths: tuple[int, ...] = WIDTHS) -> ResNet:
    return ResNet(2, widths)


TINY = _define(_tiny_resnet, WIDTHS)
FLAT = _define(OneWidth, (4,))


class Batches:
    """Four textures under noise, which are the labels; an epoch too many is an interruption."""

    def __init__(self, epochs: int | None = None) -> None:
        generator = torch.Generator().manual_seed(5)
        y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        textures = torch.stack([y % 2, x % 2, (x + y) % 2, 0 * x])[:, None]
        self.labels = torch.arange(128) % 4
        self.images = 0.2 * torch.rand((128, *SHAPE), generator=generator) + textures[self.labels]
        self.left = epochs

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        if self.left is not None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
        order = torch.randperm(128)
        for chosen in order.split(32):
            yield self.images[chosen], self.labels[chosen]


def _dense() -> ResNet:
    torch.manual_seed(2)
    return _tiny_resnet()


def _flat() -> OneWidth:
    torch.manual_seed(2)
    return OneWidth()


def _prune(
    model: Any, folder: Path, batches: Batches | None = None, teacher: Any = None, **options: Any
) -> Any:
    definition = FLAT if isinstance(model, OneWidth) else TINY
    batches = batches or Batches()
    session = Session(batches, batches, folder, seed=3, teacher=teacher)
    task = Task(
        session=session,
        recipe=definition.recipe,
        input_shape=SHAPE,
        epochs=2,
        definition=definition,
    )
    pruned = Tas(**{"search_epochs": 2, "shares": SHARES, **options}).prune(model, task)
    assert session.teacher is teacher
    return pruned


def _supernet() -> Supernet:
    torch.manual_seed(4)
    return Supernet(_dense(), TINY, SHAPE, SHARES)


# -- interpolation and sampling ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "channels", "expected"),
    [
        ([1, 2], 3, [1, 1.5, 2]),
        ([1, 2, 5], 4, [1, 1.5, 3.5, 5]),
        ([1, 2, 5], 3, [1, 2, 5]),
        ([1, 3, 5, 7], 2, [2, 6]),
    ],
)
def test_channels_are_interpolated_by_averages_of_neighbours(
    values: list[float], channels: int, expected: list[float]
) -> None:
    x = torch.tensor(values, dtype=torch.float)[None, :, None, None] * torch.ones(2, 1, 2, 3)
    resized = resize_channels(x, channels)
    assert resized.shape == (2, channels, 2, 3)
    assert torch.allclose(resized[1, :, 1, 2], torch.tensor(expected, dtype=torch.float))


def test_two_sizes_are_drawn_and_their_logits_get_gradients() -> None:
    torch.manual_seed(0)
    logits = torch.nn.Parameter(torch.zeros(5))
    indices, shares = draw_two(logits, 2.0)
    assert len(set(indices)) == 2
    assert float(shares.sum().detach()) == pytest.approx(1)
    shares[0].backward()
    first, second = (float(logits.grad[index]) for index in indices)
    assert first > 0.01
    assert second == pytest.approx(-first)  # the shares add up to 1
    others = [float(logits.grad[index]) for index in range(5) if index not in indices]
    assert others == pytest.approx([0, 0, 0], abs=1e-7)


def test_hot_noise_mixes_evenly_and_cold_noise_nearly_chooses() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 0.0, 3.0])
    hot = [draw_two(logits, 50.0) for _ in range(200)]
    assert max(float(shares.max()) for _, shares in hot) < 0.6
    cold = [draw_two(logits, 0.05) for _ in range(200)]
    assert sum(float(shares.max()) > 0.99 for _, shares in cold) > 180
    # exp(3) / (exp(3) + 2) = 0.91: how often the third size is the larger share of the two.
    largest = [indices[int(shares.argmax())] for indices, shares in cold]
    assert 0.83 < largest.count(2) / 200 < 0.98


def test_a_stage_returns_the_mean_of_its_blocks_outputs() -> None:
    class Add(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + 1

    depth = _Drawn((1, 2, 3))
    depth.indices, depth.shares = [0, 1, 2], torch.tensor([0.5, 0.25, 0.25])
    stage = _Stage([Add(), Add(), Add()], depth)
    assert stage(torch.tensor([10.0])).tolist() == [11.75]  # 11 / 2 + 12 / 4 + 13 / 4
    depth.indices, depth.shares = [1], torch.ones(1)
    assert stage(torch.tensor([10.0])).tolist() == [12]


def test_a_half_of_the_batch_is_for_the_weights_the_other_for_the_architecture() -> None:
    images = torch.rand((16, *SHAPE))
    for half, of_weights in ((slice(0, 8), True), (slice(8, 16), False)):
        supernet = _supernet().train()
        supernet(images)[half].square().sum().backward()
        for parameters, expected in (
            (supernet.network.parameters(), of_weights),
            ([*supernet.alphas, *supernet.betas], not of_weights),
        ):
            found = [p.grad is not None and bool(p.grad.any()) for p in parameters]
            assert any(found) == expected
    assert all(parameter.requires_grad for parameter in supernet.parameters())


# -- cost ----------------------------------------------------------------------------------------


def test_expected_cost_is_the_mean_over_sizes() -> None:
    supernet = Supernet(OneWidth(), FLAT, SHAPE, (0.5, 1.0))
    with torch.no_grad():
        supernet.alphas[0].copy_(torch.tensor([0.0, 0.0]))
    # Three channels on average: 9 weights at 64 places each, and 10 classes.
    assert float(supernet.expected_macs().detach()) == pytest.approx(9 * 64 * 3 + 10 * 3)


def test_expected_cost_of_sure_sizes_is_that_of_the_network_made() -> None:
    supernet = _supernet()
    generator = torch.Generator().manual_seed(1)
    seen = set()
    for _ in range(4):
        with torch.no_grad():
            for logits in (*supernet.alphas, *supernet.betas):
                logits.zero_()
                logits[int(torch.randint(len(logits), (1,), generator=generator))] = 100
        architecture = supernet.most_probable()
        expected = macs(supernet.make(architecture), SHAPE)
        assert supernet.macs(architecture) == expected
        assert float(supernet.expected_macs().detach()) == pytest.approx(expected, rel=1e-5)
        seen.add(architecture)
    assert len(seen) == 4
    assert any(1 in architecture.depths for architecture in seen)


def test_the_loss_of_cost_pulls_towards_the_target() -> None:
    def slope(cost: float) -> float:
        expected = torch.tensor(200.0, requires_grad=True)
        loss = cost_loss(expected, cost, 100, 0.05)
        return float(torch.autograd.grad(loss, expected)[0]) if loss.requires_grad else 0.0

    assert slope(106) == pytest.approx(1 / 200)
    assert slope(94) == pytest.approx(-1 / 200)
    assert [slope(cost) for cost in (95, 100, 105)] == [0, 0, 0]


def test_a_network_that_misses_the_budget_is_moved_by_what_costs_least_probability() -> None:
    supernet = Supernet(OneWidth(), FLAT, SHAPE, (0.25, 0.5, 0.75, 1.0))
    with torch.no_grad():
        supernet.alphas[0].copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    channel = 9 * 64 + 10
    for most, width in ((4 * channel, 4), (3 * channel, 3), (2.5 * channel, 2)):
        assert supernet.fit((0, most)).widths == (width,)
    with torch.no_grad():
        supernet.alphas[0].copy_(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    assert supernet.fit((2.5 * channel, 3.5 * channel)).widths == (3,)
    assert supernet.fit((2.5 * channel, 2.7 * channel)).widths == (2,)


def test_the_least_probability_a_multiplication_decides_which_width_moves() -> None:
    supernet = _supernet()
    with torch.no_grad():
        for logits in (*supernet.alphas, *supernet.betas):
            logits.copy_(torch.arange(len(logits)) * 50.0)
        supernet.alphas[6].copy_(torch.tensor([0.0, 0.0, 0.0, 0.1]))
    full = supernet.macs(supernet.most_probable())
    assert full == macs(_dense(), SHAPE)
    assert supernet.fit((0, full - 1)).widths == (*WIDTHS[:6], 6, *WIDTHS[7:])


# -- the network found ---------------------------------------------------------------------------


def test_a_supernet_of_sure_sizes_computes_what_that_network_does() -> None:
    dense = _dense()
    torch.manual_seed(6)
    for module in dense.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                torch.nn.init.normal_(tensor)
    supernet = Supernet(copy.deepcopy(dense), TINY, SHAPE, SHARES).eval()
    architecture = Architecture((2, 4, 8, 2, 4, 6, 8, 12, 16), (1, 2, 1))
    sizes = (*architecture.widths, *architecture.depths)
    for each, size in zip((*supernet.widths, *supernet.depths), sizes, strict=True):
        each.indices, each.shares = [each.sizes.index(size)], torch.ones(1)
    made = supernet.make(architecture).eval()
    assert isinstance(made.block2, torch.nn.Identity)
    full = dense.state_dict()
    made.load_state_dict(
        {
            key: full[key][tuple(slice(length) for length in value.shape)]
            for key, value in made.state_dict().items()
        }
    )
    images = torch.rand((8, *SHAPE))
    with torch.no_grad():
        assert torch.allclose(made(images), supernet.network(images), atol=1e-5)


def test_of_vgg_small_the_widths_are_searched() -> None:
    supernet = Supernet(VGG_SMALL.make(), VGG_SMALL, VGG_SMALL.input_shape, (0.5, 1.0))
    assert (len(supernet.alphas), len(supernet.betas)) == (6, 0)
    small = Architecture((8, 16, 16, 32, 32, 64), ())
    assert supernet.macs(small) == macs(supernet.make(small), VGG_SMALL.input_shape)


def test_a_network_with_a_block_less_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEFINITIONS, "tiny", TINY)
    made = _supernet().make(Architecture((2, 4, 8, 2, 4, 6, 8, 12, 16), (1, 2, 1))).eval()
    save_model(made, "tiny", tmp_path / "tiny.pt", {"test": 0.5})
    read, name, _ = load_model(tmp_path / "tiny.pt")
    images = torch.rand((3, *SHAPE))
    with torch.no_grad():
        assert torch.equal(read(images), made(images))
    assert name == "tiny"
    assert isinstance(read.block2, torch.nn.Identity)
    names = {node.name for node in to_onnx(read, SHAPE, "tiny").graph.node}
    assert "block1.conv1" in names
    assert not any(name.startswith(("block2.", "block6.")) for name in names)


# -- the whole method ----------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0.25, 0.7])
def test_the_search_comes_to_the_budget_and_the_network_found_is_smaller(
    tmp_path: Path, budget: float
) -> None:
    dense = macs(_dense(), SHAPE)
    pruned = _prune(
        _dense(),
        tmp_path,
        budget=budget,
        search_epochs=5,
        architecture_rate=0.3,
        epochs=12,
        mixing=0,
    )
    found = json.loads((tmp_path / "architecture.json").read_text())
    assert abs(macs(pruned, SHAPE) / dense - budget) <= 0.05 * budget
    assert found["macs"] == macs(pruned, SHAPE)
    # Without being moved there, the search alone comes near it.
    assert abs(found["most_probable_macs"] / dense - budget) <= 0.15
    weights = sum(p.numel() for p in pruned.parameters())
    assert weights < sum(p.numel() for p in _dense().parameters())
    assert accuracy(pruned, Batches()) > 0.8


def test_the_dense_network_teaches_unless_another_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[Any] = []
    call = Distillation.__call__

    def seen(self: Distillation, *arguments: Any) -> Any:
        teachers.append((self.teacher, self.temperature, self.mixing))
        return call(self, *arguments)

    monkeypatch.setattr(Distillation, "__call__", seen)
    dense = _flat()
    taught = _prune(dense, tmp_path / "taught")
    assert teachers == [(dense, 4.0, 0.9)] * 12  # three epochs of the network found, no search
    assert all(torch.equal(v, _flat().state_dict()[k]) for k, v in dense.state_dict().items())
    alone = _prune(_flat(), tmp_path / "alone", mixing=0)
    assert len(teachers) == 12
    assert not torch.equal(taught.fc.weight, alone.fc.weight)
    other = Distillation(OneWidth(), 2.0, 0.5)
    _prune(_flat(), tmp_path / "other", teacher=other)
    assert teachers[12:] == [(other.teacher, 2.0, 0.5)] * 12


def test_of_the_search_only_the_sizes_are_kept(tmp_path: Path) -> None:
    # There is one size: searches of any length and rate find it.
    short, long = (
        _prune(_flat(), tmp_path / str(epochs), search_epochs=epochs, shares=[0.5])
        for epochs in (1, 3)
    )
    searched = [
        torch.load(tmp_path / name / "search.pt", weights_only=True)["model"] for name in "13"
    ]
    assert short.conv.weight.shape[0] == 2
    assert any(not torch.equal(value, searched[1][key]) for key, value in searched[0].items())
    found = long.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in short.state_dict().items())


def test_the_network_found_is_trained_as_the_dense_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: dict[str, tuple[int, float]] = {}
    train = Session.train

    def seen(self: Session, model: Any, phase: Phase, **options: Any) -> None:
        phases[phase.name] = phase.epochs, phase.rate
        train(self, model, phase, **options)

    monkeypatch.setattr(Session, "train", seen)
    _prune(_flat(), tmp_path / "recipe")
    assert phases == {"search": (2, 0.05), "scratch": (3, 0.05)}
    _prune(_flat(), tmp_path / "option", epochs=1)
    assert phases["scratch"] == (1, 0.05)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(tmp_path: Path, epochs: int) -> None:
    # Three epochs of searching, three of training what was found.
    whole = _prune(_flat(), tmp_path / "whole", search_epochs=3).state_dict()
    with pytest.raises(KeyboardInterrupt):
        _prune(_flat(), tmp_path / "broken", Batches(epochs), search_epochs=3)
    resumed = _prune(_flat(), tmp_path / "broken", search_epochs=3).state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    logits = [
        torch.load(tmp_path / name / "search.pt", weights_only=True)["model"]["alphas.0"]
        for name in ("whole", "broken")
    ]
    assert torch.equal(*logits)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0}, "Budget must be above 0 and at most 1, not 0"),
        ({"tolerance": 1}, "Tolerance must be at least 0 and below 1, not 1"),
        ({"shares": [0.5, 1.5]}, r"Shares must be .* not \[0.5, 1.5\]"),
        ({"search_epochs": 0}, "Epochs of the search must be 1 at least, not 0"),
        ({"cost_weight": -1}, "Weight of the cost must be above 0, not -1"),
        ({"hottest": 0.01}, "Hottest temperature must be at least the coldest, 0.1, not 0.01"),
        ({"epochs": 0}, "Epochs must be 1 at least, not 0"),
        ({"mixing": 2}, "Mixing must be from 0 to 1, not 2"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    assert METHODS["tas"] is Tas
    with pytest.raises(UserError, match=words):
        make("tas", options)


def test_networks_that_can_not_be_searched_are_refused(tmp_path: Path) -> None:
    batches = Batches()

    def prune(model: Any, definition: Definition | None, **options: Any) -> None:
        session = Session(batches, batches, tmp_path, seed=3)
        shape = definition.input_shape if definition else SHAPE
        task = Task(session=session, recipe=TINY.recipe, input_shape=shape, definition=definition)
        Tas(**options).prune(model, task)

    with pytest.raises(UserError, match="must have channels that can be removed"):
        prune(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), None)
    with pytest.raises(UserError, match=r"batch normalisation .* lenet5 has not"):
        prune(LENET_5.make(), LENET_5)
    with pytest.raises(UserError, match="must be a tiny of full size"):
        prune(_tiny_resnet((4, *WIDTHS[1:])), TINY)
    with pytest.raises(UserError, match=r"Budget of tiny must be 0\.\d+ at least .* not 0\.01"):
        prune(_dense(), TINY, budget=0.01)
    assert not list(tmp_path.glob("*.pt"))
