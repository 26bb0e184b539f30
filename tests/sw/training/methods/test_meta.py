"""MetaPruning: generated weights, their cropping, the search of widths, the whole method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training.cost import macs  # noqa: E402
from sw.training.loop.objective import accuracy  # noqa: E402
from sw.training.loop.session import Phase, Session  # noqa: E402
from sw.training.methods import Task, make  # noqa: E402
from sw.training.methods.narrowing.meta import MetaPruning  # noqa: E402
from sw.training.networks import LENET_5, RESNET_8, Definition, Recipe  # noqa: E402
from sw.training.search.evolution import Candidate, Evolution, Widths, best  # noqa: E402
from sw.training.search.pruning_net import LayerGenerator, PruningNet, recalibrate  # noqa: E402

CLASSES = 4


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Toy(nn.Module):
    """Convolution, batch normalisation, flatten, two fully connected layers; 8 x 8 pixels."""

    def __init__(self, widths: Widths = (8, 12)) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = nn.Conv2d(1, first, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.fc1 = nn.Linear(16 * first, second)
        self.fc2 = nn.Linear(second, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.norm(self.conv1(images)).relu(), 2)
        return self.fc2(self.fc1(torch.flatten(x, 1)).relu())


TOY = Definition(
    name="toy",
    summary="",
    make=Toy,
    recipe=Recipe(epochs=3, rate=0.05, retrain_rate=0.05),
    input_shape=(1, 8, 8),
    classes=CLASSES,
    widths=(8, 12),
)
QUICK: dict[str, Any] = {"generations": 2, "population": 4, "parents": 2, "hidden": 4}


def _batches(seed: int, count: int = 8, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    """Noise with a bright quarter, which is the label."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        images = torch.rand((size, 1, 8, 8), generator=generator)
        labels = torch.randint(CLASSES, (size,), generator=generator)
        for image, label in zip(images[:, 0], labels.tolist(), strict=True):
            image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 1
        batches.append((images, labels))
    return batches


def _task(folder: Path, **changes: Any) -> Task:
    session = Session(_batches(1), _batches(2, 4), folder)
    defaults: dict[str, Any] = {
        "session": session,
        "recipe": TOY.recipe,
        "input_shape": TOY.input_shape,
        "epochs": 3,
        "definition": TOY,
    }
    return Task(**(defaults | changes))


def _cycles(model: nn.Module) -> float:
    """Count only the convolution, whatever the fully connected layers."""
    return 100.0 * len(model.conv1.weight)  # type: ignore[arg-type, union-attr]


# -- generated weights --------------------------------------------------------------------------


def test_generated_weights_follow_the_encoding_of_all_widths() -> None:
    torch.manual_seed(1)
    net = PruningNet(TOY)
    one = net.network((8, 12)).conv1.weight  # type: ignore[union-attr]
    other = net.network((8, 3)).conv1.weight  # type: ignore[union-attr]
    assert one.shape == other.shape == (8, 1, 3, 3)
    assert not torch.allclose(one, other)  # type: ignore[arg-type]


def test_every_generator_gets_gradients_from_a_narrow_network() -> None:
    torch.manual_seed(1)
    net = PruningNet(TOY)
    images, labels = _batches(1)[0]
    nn.functional.cross_entropy(net.run((3, 5), images), labels).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.count_nonzero() > 0, name


def test_a_step_moves_generated_weights_about_as_far_as_plain_ones() -> None:
    torch.manual_seed(1)
    generator = LayerGenerator(nn.Linear(50, 20), 6, 32)
    encoding, gradient = torch.rand(6), torch.randn(20, 50)
    optimiser = torch.optim.SGD(generator.parameters(), 1e-3)
    before = generator(encoding)
    (before * gradient).sum().backward()
    optimiser.step()
    step = (generator(encoding) - before).norm() / (1e-3 * gradient).norm()
    assert 1 <= step <= 2.5  # plain weights: 1


@pytest.mark.parametrize(
    ("definition", "widths"),
    [(LENET_5, (7, 11, 90)), (RESNET_8, (5, 20, 33, 9, 14, 64))],
    ids=["flattened", "residual"],
)
def test_a_cropped_network_is_the_full_one_with_the_other_channels_off(
    definition: Definition, widths: Widths
) -> None:
    torch.manual_seed(1)
    net = PruningNet(definition, hidden=2).train()
    with torch.no_grad():
        for generator in net.generators:
            if generator.bias is not None:
                generator.bias.normal_()
    encoding = torch.tensor([w / f for w, f in zip(widths, net.full, strict=True)])
    wide = definition.make()
    if definition is LENET_5:
        outer = dict(zip(("conv1", "conv2", "fc1"), widths, strict=True))
    else:
        a, b, c, d, e, f = widths
        outer = {"stem": a, "block1.conv1": d, "block1.conv2": a, "block2.conv1": e}
        outer |= {"block2.conv2": b, "block2.shortcut": b, "block3.conv1": f}
        outer |= {"block3.conv2": c, "block3.shortcut": c}
    modules = [m for m in wide.named_modules() if isinstance(m[1], (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for generator, (name, module) in zip(net.generators, modules, strict=True):
            module.weight.copy_(generator(encoding))  # type: ignore[operator, arg-type]
            module.weight[outer.get(name, 10) :] = 0  # type: ignore[index]
            if module.bias is not None:
                module.bias.copy_(generator.bias)  # type: ignore[operator, arg-type]
                module.bias[outer.get(name, 10) :] = 0  # type: ignore[index]
    images = torch.rand(4, 1, 28, 28)
    # In training both normalise by the batch: a channel of zeros stays zero.
    with torch.no_grad():
        expected, found = wide.train()(images), net.run(widths, images)
        plain = net.network(widths).train()(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-4)


def test_training_makes_generated_networks_of_several_widths_better(tmp_path: Path) -> None:
    task = _task(tmp_path)
    torch.manual_seed(1)
    net = PruningNet(TOY)
    chosen = [(3, 6), (5, 8), (8, 12)]

    def scores() -> list[float]:
        networks = [net.network(widths) for widths in chosen]
        for network in networks:
            recalibrate(network, task.session.train_batches)
        return [task.session.accuracy(network) for network in networks]

    before = scores()
    task.session.train(net, Phase(name="net", epochs=8, rate=0.05))
    after = scores()
    assert max(before) < 0.6
    assert min(after) > 0.8


def test_drawn_widths_cover_the_range_and_no_more() -> None:
    torch.manual_seed(1)
    net = PruningNet(TOY, smallest=0.3)
    drawn = {net.draw() for _ in range(400)}
    assert {first for first, _ in drawn} == set(range(3, 9))  # 0.3 * 8 = 2.4
    assert {second for _, second in drawn} == set(range(4, 13))  # 0.3 * 12 = 3.6


def test_recalibrated_statistics_are_the_means_over_the_batches_taken() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3))
    batches = _batches(3)
    network(batches[7][0])  # something to forget
    recalibrate(network, batches, 3)
    means = torch.stack([images.mean() for images, _ in batches[:3]])
    variances = torch.stack([images.var() for images, _ in batches[:3]])
    torch.testing.assert_close(network[0].running_mean, means.mean()[None])
    torch.testing.assert_close(network[0].running_var, variances.mean()[None])
    assert network[0].momentum == 0.3


# -- search -------------------------------------------------------------------------------------

FULL: Widths = (16, 16, 32, 32, 64, 64)
WANTED = np.array((3, 14, 20, 6, 11, 50)) / FULL
LIMIT = 110


def _fitness(widths: Widths) -> float:
    return -float(np.square(np.array(widths) / FULL - WANTED).sum())


def _evolution(**changes: Any) -> Evolution:
    settings: dict[str, Any] = {
        "narrowest": (1,) * 6,
        "full": FULL,
        "fits": lambda widths: sum(widths) <= LIMIT,
        "population": 20,
        "parents": 8,
        "mutation": 0.2,
    }
    return Evolution(**(settings | changes))


def test_the_search_beats_as_many_random_draws_for_every_seed() -> None:
    evolution = _evolution()
    searched: list[float] = []
    drawn: list[float] = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        known: list[Candidate] = []
        for _ in range(8):
            proposed = evolution.propose(known, generator)
            assert all(sum(widths) <= LIMIT for widths in proposed)
            known += [Candidate(widths, _fitness(widths)) for widths in proposed]
        assert len({each.widths for each in known}) == len(known) == 160
        searched.append(best(known, 1)[0].accuracy)
        scores: list[float] = []
        while len(scores) < 160:
            widths = tuple(generator.integers(1, FULL, endpoint=True).tolist())
            if sum(widths) <= LIMIT:
                scores.append(_fitness(widths))
        drawn.append(max(scores))
    assert all(one > other for one, other in zip(searched, drawn, strict=True))
    assert sum(searched) > sum(drawn) / 2  # half of the squared distance


def test_children_take_each_width_from_parents_or_the_range() -> None:
    evolution = _evolution(mutation=1e-9, parents=2, population=10)
    known = [Candidate((1, 2, 3, 4, 5, 6), 0.9), Candidate((7, 8, 9, 10, 11, 12), 0.8)]
    known.append(Candidate((13,) * 6, 0.1))
    # Mutations of no width are known already: crossovers of the two best take their places.
    for widths in evolution.propose(known, np.random.default_rng(1)):
        assert all(w in (i + 1, i + 7) for i, w in enumerate(widths))


def test_a_tight_budget_is_met_by_the_first_generation() -> None:
    evolution = _evolution(fits=lambda widths: sum(widths) <= 12)
    found = evolution.propose([], np.random.default_rng(1))
    assert len(found) == 20
    assert all(sum(widths) <= 12 for widths in found)


def test_a_space_that_is_used_up_gives_fewer() -> None:
    evolution = _evolution(narrowest=(1, 1), full=(2, 2), fits=lambda widths: True)
    found = evolution.propose([Candidate((1, 1), 0.5)], np.random.default_rng(1))
    assert sorted(found) == [(1, 2), (2, 1), (2, 2)]


# -- the method ---------------------------------------------------------------------------------


def test_by_macs_a_trained_network_within_the_budget_comes_back(tmp_path: Path) -> None:
    task = _task(tmp_path)
    dense = TOY.make()
    found = make("meta", {"budget": 0.3, **QUICK}).prune(dense, task)
    assert macs(found, TOY.input_shape) <= 0.3 * macs(dense, TOY.input_shape)
    assert accuracy(found, task.session.validation_batches) > 0.8
    remembered = [path.name for path in sorted(tmp_path.glob("generation-*.json"))]
    assert remembered == ["generation-1.json", "generation-2.json"]


def test_by_cycles_only_what_costs_cycles_is_limited(tmp_path: Path) -> None:
    seen: list[int] = []

    def cost(model: nn.Module) -> float:
        seen.append(len(model.conv1.weight))  # type: ignore[arg-type, union-attr]
        return _cycles(model)

    method = MetaPruning(budget=0.4, by="cycles", **QUICK)
    found = method.prune(TOY.make(), _task(tmp_path, cost=cost))
    assert len(found.conv1.weight) <= 3  # type: ignore[arg-type, union-attr]  # 0.4 * 8
    assert max(seen[2:]) > 3  # some were rejected


def test_an_interrupted_search_goes_on_and_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    method = MetaPruning(budget=0.6, by="cycles", **QUICK)
    calls: list[int] = []

    def cost(model: nn.Module) -> float:
        calls.append(len(model.conv1.weight))  # type: ignore[arg-type, union-attr]
        return _cycles(model)

    unbroken = method.prune(TOY.make(), _task(tmp_path / "unbroken", cost=cost))
    whole = len(calls)

    def failing(model: nn.Module) -> float:
        if (tmp_path / "broken" / "generation-1.json").exists():
            raise KeyboardInterrupt
        return _cycles(model)

    with pytest.raises(KeyboardInterrupt):
        method.prune(TOY.make(), _task(tmp_path / "broken", cost=failing))
    calls.clear()
    found = method.prune(TOY.make(), _task(tmp_path / "broken", cost=cost))
    assert 2 < len(calls) < whole  # the first generation was not searched again
    calls.clear()
    again = method.prune(TOY.make(), _task(tmp_path / "broken", cost=cost))
    assert calls == [1, 8]  # only whether the narrowest fits: no search
    for model in (found, again):
        for one, other in zip(
            unbroken.state_dict().values(), model.state_dict().values(), strict=True
        ):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0.0}, "Budget must be above 0"),
        ({"smallest": 1.5}, "Smallest must be above 0"),
        ({"by": "energy"}, "By must be macs or cycles, not 'energy'"),
        ({"mutation": 0.0}, "Mutation must be above 0"),
        ({"population": 0}, "population must be 1 at least, not 0"),
        ({"net_epochs": 0}, "net_epochs must be 1 at least, not 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make("meta", options)


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"by": "cycles"}, {}, "must have a machine"),
        ({"budget": 0.05, "smallest": 0.5}, {}, "Budget must be at least 0.4"),
    ],
)
def test_tasks_that_lack_something_are_refused(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        MetaPruning(**QUICK, **options).prune(TOY.make(), _task(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_networks_without_widths_or_of_unknown_layers_are_refused() -> None:
    common: dict[str, Any] = {"name": "odd", "summary": "", "recipe": TOY.recipe}
    with pytest.raises(UserError, match="Network must have widths to choose, odd has none"):
        PruningNet(Definition(make=Toy, **common))
    with pytest.raises(UserError, match="batch normalisation, not LSTM"):
        PruningNet(Definition(make=lambda: nn.LSTM(4, 4), widths=(4,), **common))
