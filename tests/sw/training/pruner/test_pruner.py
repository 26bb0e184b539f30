"""The pruner in a loop: what stays zero, what comes back, and what a checkpoint holds."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import Pruner  # noqa: E402
from sw.training.pruner.pruner import PruningWarning  # noqa: E402
from tests.sw.training.toys import SHAPE, ToyNet, toy_images, toy_net  # noqa: E402

IMAGES, LABELS = toy_images(64)
METHODS = ("magnitude", "taylor", "snip", "movement", "wanda")


def train(model: nn.Module, optimiser: Any, pruner: Pruner, steps: range) -> None:
    model.train()
    for step in steps:
        batch = slice(8 * (step % 8), 8 * (step % 8) + 8)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(IMAGES[batch]), LABELS[batch]).backward()
        optimiser.step()
        pruner.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-2)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.ndim > 1}


def share(model: nn.Module) -> float:
    each = weights(model).values()
    return sum(int(w.count_nonzero()) for w in each) / sum(w.numel() for w in each)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [sgd, lambda m: torch.optim.AdamW(m.parameters(), 0.01)])
def test_masked_weights_stay_zero_whatever_the_optimiser_does(method: str, make: Any) -> None:
    model = toy_net()
    pruner = Pruner(model, IMAGES, method, 0.2, schedule="one-shot")
    optimiser = make(model)
    train(model, optimiser, pruner, range(1))
    zeros = {name: w == 0 for name, w in weights(model).items()}
    before = {name: w.clone() for name, w in weights(model).items()}
    train(model, optimiser, pruner, range(1, 6))
    for name, w in weights(model).items():
        assert not torch.any(w[zeros[name]])
        assert bool((w[~zeros[name]] != before[name][~zeros[name]]).all())
        assert not torch.any(model.get_parameter(name).grad[zeros[name]])
    assert share(model) == pytest.approx(0.2, abs=0.008)


@pytest.mark.parametrize("schedule", ["cubic", "iterative", "one-shot"])
def test_schedules_end_at_the_density_and_density_falls_on_the_way(schedule: str) -> None:
    model = toy_net()
    pruner = Pruner(model, IMAGES, density=0.1, steps=40, schedule=schedule)
    optimiser, seen = sgd(model), []
    for step in range(40):
        train(model, optimiser, pruner, range(step, step + 1))
        seen.append(share(model))
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) >= {"cubic": 20, "iterative": 5, "one-shot": 1}[schedule]
    assert pruner.finish().density == seen[-1] == round(0.1 * 998) / 998


def test_density_is_of_all_weights_and_says_when_it_is_out_of_reach() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 20), nn.Linear(20, 6))

    tokens = torch.zeros(2, dtype=torch.int64)
    pruner = Pruner(make(), tokens, density=0.4, schedule="one-shot")
    pruner.step()
    result = pruner.finish()
    assert result.density == round(0.4 * 360) / 360
    assert sum(each.kept for each in result.layers) == 144 - 80
    with pytest.raises(UserError, match=r"at least 0\.2278, not 0\.1: 80 of 360 .*\(0\.weight\)"):
        Pruner(make(), tokens, density=0.1, schedule="one-shot")


def test_a_sparse_checkpoint_stays_sparse() -> None:
    model = toy_net()
    with torch.no_grad():
        for w in weights(model).values():
            w[torch.rand(w.shape) < 0.9] = 0
    before, zeros = share(model), {name: w == 0 for name, w in weights(model).items()}
    assert before < 0.15
    with pytest.warns(PruningWarning, match=rf"has density {before:.4f} already"):
        pruner = Pruner(model, IMAGES, density=0.5, steps=20)
    train(model, sgd(model), pruner, range(20))
    assert share(model) == before
    for name, w in weights(model).items():
        assert not torch.any(w[zeros[name]])


def test_a_sparse_checkpoint_is_pruned_further_and_no_layer_grows() -> None:
    model = toy_net()
    with torch.no_grad():
        model.fc.weight[torch.rand(model.fc.weight.shape) < 0.8] = 0
    zeros = model.fc.weight == 0
    pruner = Pruner(model, IMAGES, "movement", 0.3, steps=20)
    train(model, sgd(model), pruner, range(20))
    assert share(model) <= 0.301
    assert not torch.any(model.fc.weight[zeros])


def test_a_tensor_that_began_as_zeros_is_trained() -> None:
    model = toy_net()
    nn.init.zeros_(model.fc.weight)
    pruner = Pruner(model, IMAGES, density=0.5, steps=20, begin=0.5)
    train(model, sgd(model), pruner, range(20))
    assert torch.any(model.fc.weight != 0)


def test_movement_brings_weights_back_with_the_value_that_they_had() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    pruner = Pruner(model, torch.zeros(1, 4), "movement", 0.5, steps=4, end=1.0, every=1)
    signs = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    for step in range(4):
        model.weight.grad = None
        # Gradients that first push the first two weights towards zero, then away from it.
        (model(torch.ones(1, 4) * (signs if step < 2 else -9 * signs))).sum().backward()
        pruner.step()
        if step == 1:
            assert model.weight.tolist() == [[1.0, 0.0, 3.0, 4.0]]
    assert model.weight.tolist() == [[1.0, 2.0, 0.0, 0.0]]


def test_a_layer_that_would_be_emptied_is_warned_of_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 64))
    optimiser = torch.optim.SGD(model.parameters(), 0.0)
    pruner = Pruner(model, torch.ones(1, 8), "taylor", 0.1, steps=8, every=1)

    def step() -> None:
        optimiser.zero_grad()
        # The first layer's gradients are ten thousand times smaller.
        hidden = model[0](torch.ones(1, 8))
        (model[1](hidden.detach()).sum() + 1e-4 * model[1](hidden).sum()).backward()
        optimiser.step()
        pruner.step()

    with pytest.warns(PruningWarning) as caught:  # noqa: PT031
        for _ in range(8):
            step()
    assert [str(each.message)[:35] for each in caught] == ["Layer 0.weight would have been empt"]
    assert int(model[0].weight.count_nonzero()) == 1


def test_dropout_and_dead_neurons_follow_han() -> None:
    model = toy_net(dropout=0.5)
    pruner = Pruner(
        model, IMAGES, density=0.02, schedule="one-shot", rescale_dropout=True, dead_neurons=True
    )
    train(model, sgd(model), pruner, range(1))
    kept = int(model.fc.weight.count_nonzero())
    assert model.dropout.p == pytest.approx(0.5 * math.sqrt(kept / 512))
    maps = model.features[3].weight.flatten(1).any(1)
    read = model.fc.weight.reshape(4, 8, 16).any(2).any(0)
    assert maps.tolist() == read.tolist()
    assert not maps.all()
    assert pruner.density < round(0.02 * 998) / 998


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_it_ends_in_the_same_weights(method: str) -> None:
    def begin() -> tuple[ToyNet, Any, Pruner]:
        model = toy_net()
        options: dict[str, Any] = {"steps": 24, "end": 1.0, "every": 2}
        return model, sgd(model), Pruner(model, IMAGES, method, 0.15, **options)

    whole, optimiser, pruner = begin()
    train(whole, optimiser, pruner, range(24))
    killed, optimiser, pruner = begin()
    train(killed, optimiser, pruner, range(13))
    file = io.BytesIO()
    state = {"model": killed, "optimiser": optimiser, "pruner": pruner}
    torch.save({key: each.state_dict() for key, each in state.items()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed, optimiser, pruner = begin()
    resumed.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    pruner.load_state_dict(saved["pruner"])
    train(resumed, optimiser, pruner, range(13, 24))
    for name, w in weights(whole).items():
        assert torch.equal(w, weights(resumed)[name])
    assert share(resumed) == pytest.approx(0.15, abs=0.01)
    # Without the pruner's state the weights are others.
    resumed, optimiser, pruner = begin()
    resumed.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(resumed, optimiser, pruner, range(13, 24))
    assert any(not torch.equal(w, weights(resumed)[name]) for name, w in weights(whole).items())


def test_states_of_others_are_refused() -> None:
    state = Pruner(toy_net(), IMAGES, density=0.5, steps=9).state_dict()
    with pytest.raises(UserError, match=r"density 0\.5, not 0\.2"):
        Pruner(toy_net(), IMAGES, density=0.2, steps=9).load_state_dict(state)
    with pytest.raises(UserError, match="must be one that state_dict returned"):
        Pruner(toy_net(), IMAGES, steps=9).load_state_dict(toy_net().state_dict())
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(UserError, match="must have the weights of this model"):
        Pruner(other, IMAGES, density=0.5, steps=9).load_state_dict(state)


def test_it_finishes_with_a_network_and_its_cycles() -> None:
    model = toy_net()
    pruner = Pruner(model, IMAGES, density=0.2, steps=16)
    train(model, sgd(model), pruner, range(16))

    def pairs(network: Any, images: Any) -> float:
        assert images.shape == (64, *SHAPE)
        return float(sum(np.count_nonzero(node.weights) for node in network.convolutions))

    result = pruner.finish(cycles=pairs)
    assert {node.op_type for node in result.onnx.graph.node} >= {"Conv", "Gemm"}
    codes = sum(int((node.weights != 0).sum()) for node in result.network.convolutions)
    assert 0.9 * 0.2 * 998 < codes <= round(0.2 * 998)
    assert result.cycles == codes
    with pytest.raises(UserError, match="must not be stepped after finish"):
        pruner.step()
    assert type(model.fc.weight) is nn.Parameter
    assert not model.fc.weight._backward_hooks


def test_it_says_when_it_is_finished_too_early() -> None:
    pruner = Pruner(toy_net(), IMAGES, density=0.2, steps=16)
    pruner.step()
    with pytest.warns(PruningWarning, match=r"go on to step 12, and is finished after 1 at"):
        pruner.finish()


def test_a_replaced_parameter_is_noticed() -> None:
    model = toy_net()
    pruner = Pruner(model, IMAGES, density=0.2, schedule="one-shot")
    model.fc.weight = nn.Parameter(torch.ones(4, 128))
    with pytest.raises(UserError, match=r"fc\.weight must stay the object"):
        pruner.step()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "lottery"}, "Method must be one of magnitude, taylor, snip, movement, wanda"),
        ({"method": 3}, "or have the members of a Score, not int, which lacks name"),
        ({"density": 0.0}, "above 0 and at most 1, not 0"),
        ({"density": "0.1"}, "above 0 and at most 1, not '0.1'"),
        ({"density": float("nan")}, "above 0 and at most 1, not nan"),
        ({"ignore": "head"}, "Layer to leave alone must be one of .*, not 'head'"),
        ({"density": 0.001}, r"at least 0\.0030, not 0\.001"),
        ({"spread": "even"}, "one of global, layer, row, not 'even'"),
        ({"pattern": "1,16,1,1", "spread": "row"}, "global or layer for blocks"),
        ({"pattern": "2:4", "density": 0.1}, "left out with pattern 2:4, or 0.5, not 0.1"),
        ({"ignore": ["features", "fc"]}, "can be pruned; all are left alone"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Pruner(toy_net(), IMAGES, schedule="one-shot", **options)


def test_an_example_that_the_model_does_not_take_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"must be what ToyNet takes, not a tensor of shape \(2,"):
        Pruner(toy_net(), torch.zeros(2, 3), steps=9)
    model = toy_net()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Pruner(model, torch.ones(2, *SHAPE), steps=9)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
