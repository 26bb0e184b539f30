"""Masks, and magnitude pruning in rounds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import masks  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.methods import Task, make  # noqa: E402
from sw.training.methods.masking.magnitude import keep_largest  # noqa: E402
from sw.training.networks.definition import Recipe  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_loader, toy_net  # noqa: E402

RECIPE = Recipe(epochs=1, rate=0.05, retrain_rate=0.05)


def _prune(folder: Path, model: nn.Module, **options: object) -> nn.Module:
    session = Session(toy_loader(), toy_loader(64, seed=1), folder)
    task = Task(session=session, recipe=RECIPE, input_shape=SHAPE, epochs=1)
    return make("magnitude", options).prune(model, task)


def test_masked_weights_are_zero_and_stay_zero_while_the_others_are_trained() -> None:
    model = toy_net()
    kept = {"fc": torch.rand(model.fc.weight.shape) < 0.5}
    masks.mask(model, kept)
    before = masks.weight(model.fc).clone()
    assert torch.equal(before != 0, kept["fc"])
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2)
    for inputs, labels in toy_loader():
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    after = masks.weight(model.fc)
    assert not torch.any(after[~kept["fc"]])
    assert bool((after[kept["fc"]] != before[kept["fc"]]).all())
    masks.fix(model)
    assert type(model.fc.weight) is nn.Parameter
    assert torch.equal(model.fc.weight, after)


def test_a_mask_of_another_shape_or_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"one of features.*, fc, not 'conv9'"):
        masks.mask(toy_net(), {"conv9": torch.ones(1, dtype=torch.bool)})
    with pytest.raises(UserError, match=r"must have shape \(4, 128\), not \(1,\)"):
        masks.mask(toy_net(), {"fc": torch.ones(1, dtype=torch.bool)})


def test_the_largest_are_kept_and_of_equal_ones_the_earlier() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [2.0, 5.0, 2.0]])
    assert keep_largest(scores, 0.5).tolist() == [[True, False, True], [False, True, False]]
    assert int(keep_largest(scores, 0.001).sum()) == 1


def test_density_is_that_of_the_whole_network(tmp_path: Path) -> None:
    model = _prune(tmp_path, toy_net(), density=0.2, rounds=2)
    kept = {name: masks.weight(layer) != 0 for name, layer in masks.layers(model).items()}
    total = sum(each.numel() for each in kept.values())
    assert sum(int(each.sum()) for each in kept.values()) == round(0.2 * total)
    assert masks.density(model) == pytest.approx(0.2, abs=0.5 / total)


def test_densities_of_layers_are_kept_to(tmp_path: Path) -> None:
    model = _prune(tmp_path, toy_net(), density=0.5, densities={"fc": 0.25}, spread="uniform")
    counts = {n: int((masks.weight(each) != 0).sum()) for n, each in masks.layers(model).items()}
    assert counts == {"features.0": 27, "features.3": 216, "fc": 128}


def test_rounds_prune_by_equal_factors(tmp_path: Path) -> None:
    _prune(tmp_path, toy_net(), density=0.0625, spread="uniform", rounds=4)
    kept = []
    for number in range(1, 5):
        state = torch.load(tmp_path / f"round-{number}.pt", weights_only=True)["model"]
        (mask,) = (v for k, v in state.items() if k.startswith("fc.") and k.endswith("kept"))
        kept.append(int(mask.sum()))
    assert kept == [256, 128, 64, 32]


def test_quality_is_in_standard_deviations_of_a_layer(tmp_path: Path) -> None:
    model = toy_net()
    with torch.no_grad():
        model.fc.weight.copy_(torch.arange(1.0, 513.0).reshape(4, 128))
    limit = 0.5 * torch.arange(1.0, 513.0).std()
    pruned = _prune(tmp_path, model, quality=0.5, rounds=1)
    kept = masks.masks(pruned)["fc"]
    assert torch.equal(kept, torch.arange(1.0, 513.0).reshape(4, 128) > limit)


def test_quality_is_of_the_deviation_before_all_pruning(tmp_path: Path) -> None:
    model = toy_net()
    first = float(model.fc.weight.detach().std())
    pruned = _prune(tmp_path, model, quality=1.2, rounds=3)
    kept = masks.weight(pruned.fc)
    # Of what is left after two rounds the deviation is larger by half, and more would go.
    state = torch.load(tmp_path / "round-2.pt", weights_only=True)["model"]
    key = next(k for k in state if k.startswith("fc.") and k.endswith("original"))
    mask = next(v for k, v in state.items() if k.startswith("fc.") and k.endswith("kept"))
    before = state[key] * mask
    assert torch.equal(masks.masks(pruned)["fc"], before.abs() > 1.2 * first)
    assert float(before[before != 0].std()) > 1.3 * first
    assert bool((kept != 0).any())


def test_dropout_falls_with_the_root_of_the_next_layers_density(tmp_path: Path) -> None:
    model = _prune(tmp_path, toy_net(dropout=0.5), densities={"fc": 0.25}, rounds=1)
    assert model.dropout.p == pytest.approx(0.5 * math.sqrt(0.25))


def test_zeros_of_a_checkpoint_stay_through_the_rounds(tmp_path: Path) -> None:
    model = toy_net()
    with torch.no_grad():
        for layer in masks.layers(model).values():
            layer.weight[torch.rand(layer.weight.shape) < 0.9] = 0
    before = {name: masks.weight(layer) == 0 for name, layer in masks.layers(model).items()}
    share = masks.density(model)
    pruned = _prune(tmp_path, model, density=0.5, rounds=2)
    assert masks.density(pruned) == share
    for name, zeros in before.items():
        assert not torch.any(masks.weight(masks.layers(pruned)[name])[zeros])


def test_the_retraining_rate_can_be_a_share_of_the_dense_networks(tmp_path: Path) -> None:
    rates = []
    session = Session(toy_loader(), toy_loader(64, seed=1), tmp_path)
    session.train = lambda model, phase, **_: rates.append(phase.rate)  # type: ignore[method-assign]
    recipe = Recipe(epochs=1, rate=0.5, retrain_rate=0.03)
    task = Task(session=session, recipe=recipe, input_shape=SHAPE, epochs=1)
    make("magnitude", {"rounds": 2, "rate_share": 0.1}).prune(toy_net(), task)
    make("magnitude", {"rounds": 1}).prune(toy_net(), task)
    assert rates == [0.05, 0.05, 0.03]


def test_dead_neurons_lose_their_weights(tmp_path: Path) -> None:
    options = {"density": 0.03, "rounds": 1, "dead_neurons": True}
    model = _prune(tmp_path, toy_net(), **options)
    maps = masks.weight(model.features[3]).flatten(1).any(1)
    assert maps.tolist() == masks.weight(model.fc).reshape(4, 8, 16).any(2).any(0).tolist()
    assert 0 < int(maps.sum()) < 8


def test_layers_that_masks_do_not_know_are_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.Sequential(
        nn.Flatten(2), nn.Conv1d(1, 4, 5, stride=8), nn.Flatten(), nn.Linear(32, 4)
    )
    pruned = _prune(tmp_path, model, density=0.25, rounds=1)
    assert "left dense: 1.weight" in caplog.text
    assert masks.density(pruned) == (20 + 32) / (20 + 128)
    with pytest.raises(UserError, match="must have a Conv2d or Linear layer to prune"):
        _prune(tmp_path / "none", nn.Sequential(nn.Conv1d(1, 4, 5)))


def test_a_pruned_run_is_repeated_from_its_checkpoints(tmp_path: Path) -> None:
    first = _prune(tmp_path, toy_net(), density=0.1, rounds=3)
    (tmp_path / "round-3.pt").unlink()
    second = _prune(tmp_path, toy_net(), density=0.1, rounds=3)
    for name, layer in masks.layers(first).items():
        assert torch.equal(masks.weight(layer), masks.weight(masks.layers(second)[name]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0.0}, "above 0 and at most 1, not 0.0"),
        ({"density": 1.5}, "above 0 and at most 1, not 1.5"),
        ({"densities": {"fc": -1}}, "Density of layer fc"),
        ({"quality": 0.0}, "Quality must be above 0"),
        ({"spread": "random"}, "global or uniform, not 'random'"),
        ({"rounds": 0}, "Rounds must be at least 1"),
        ({"rate_share": 0.0}, "Share of the rate must be above 0"),
        ({"dead_neurons": "yes"}, "must be true or false, not 'yes'"),
        ({"blocks": 3}, "must be among density, .*, not 'blocks'"),
        ({"density": "low"}, "Option density of method magnitude must be a number, not 'low'"),
        ({"density": True}, "must be a number, not True"),
        ({"rounds": 2.5}, "must be an integer, not 2.5"),
        ({"quality": "high"}, "must be a number or left out, not 'high'"),
        ({"densities": [0.5]}, "must be a table or left out, not"),
        ({"densities": {"fc": "all"}}, "Each of option densities .* a number, not 'all'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make("magnitude", options)


def test_a_compiled_module_is_refused_and_not_reported_as_pruned(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="trace"):
        model = torch.jit.trace(toy_net().eval(), torch.zeros(1, *SHAPE))
    with pytest.raises(UserError, match=r"must be one of Python, not compiled by torch\.jit"):
        _prune(tmp_path, model, density=0.5)
    assert not list(tmp_path.glob("*.pt"))


def test_unknown_methods_and_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be one of magnitude"):
        make("nonsense", {})
    with pytest.raises(UserError, match=r"must be one of features.*, not 'conv7'"):
        _prune(tmp_path, toy_net(), densities={"conv7": 0.5})
