"""Pruning by cycles: which layer goes first, and that the budget is met."""

import json

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from accel import api  # noqa: E402
from accel.run import count_cycles  # noqa: E402
from golden.errors import UserError  # noqa: E402
from sw.training import masks, methods  # noqa: E402
from sw.training.loop.session import Session  # noqa: E402
from sw.training.methods.masking.cycles import Cycles, choose  # noqa: E402
from sw.training.models import to_network  # noqa: E402
from sw.training.tensors import layer_tensors  # noqa: E402
from tests.sw.training.small_pictures import MACHINE, Small, split, task  # noqa: E402

GRID = [1.0, 0.5, 0.25]


class Two(nn.Module):
    """``hot`` has few weights, each of 100 cycles; ``wide`` has ten times as many, of one each."""

    def __init__(self):
        super().__init__()
        self.hot = nn.Linear(8, 8, bias=False)
        self.wide = nn.Linear(8, 80, bias=False)
        torch.manual_seed(0)
        for layer in (self.hot, self.wide):
            # Half of the weights are too small to matter.
            size = layer.weight.numel()
            values = torch.where(torch.arange(size) % 2 == 0, 1e-7, torch.randn(size))
            layer.weight.data = values.reshape(layer.weight.shape)

    def forward(self, x):
        return self.wide(self.hot(x))


def two_cost(model):
    return {
        name: float(each * masks.weight(layer).count_nonzero())
        for (name, layer), each in zip(masks.layers(model).items(), (100, 1), strict=True)
    }


def two_task(folder, layer_cost=two_cost, **changes):
    torch.manual_seed(1)
    inputs = torch.randn(40, 8)
    data = [(inputs, Two()(inputs).argmax(1).detach())]
    return task(folder, data=data, shape=(8,), epochs=0, layer_cost=layer_cost, **changes)


def densities(model):
    return {
        name: int(masks.weight(layer).count_nonzero()) / layer.weight.numel()
        for name, layer in masks.layers(model).items()
    }


# -- the choice, by curves written down here --------------------------------------------------


def test_layer_that_saves_most_for_the_loss_goes_first():
    loss = {"a": [1.0, 1.1, 1.2], "b": [1.0, 1.1, 1.2]}
    cost = {"a": [100, 50, 25], "b": [60, 30, 15]}
    # a to 0.5 saves 50, more than b's 30: 160 becomes 110.
    assert choose(GRID, loss, cost, cost, 110 / 160) == {"a": 0.5, "b": 1.0}
    # Then b to 0.5 saves 30 for 0.1, a to 0.25 only 25.
    assert choose(GRID, loss, cost, cost, 80 / 160) == {"a": 0.5, "b": 0.5}
    # Where a minds four times as much, b is first.
    loss["a"] = [1.0, 1.4, 1.8]
    assert choose(GRID, loss, cost, cost, 130 / 160) == {"a": 1.0, "b": 0.5}


def test_last_step_is_cut_short_so_that_the_budget_is_met_exactly():
    loss, cost = {"a": [0, 1, 2]}, {"a": [100, 60, 30]}
    assert choose(GRID, loss, cost, cost, 0.8)["a"] == pytest.approx(0.75)
    assert choose(GRID, loss, cost, cost, 0.45)["a"] == pytest.approx(0.375)
    assert choose(GRID, loss, cost, cost, 1) == {"a": 1.0}


def test_step_that_saves_nothing_is_taken_for_what_lies_behind_it():
    loss = {"a": [0, 0.1, 0.2], "b": [0, 0.1, 0.2]}
    cost = {"a": [100, 100, 10], "b": [40, 30, 20]}
    assert choose(GRID, loss, cost, cost, 50 / 140) == {"a": 0.25, "b": 1.0}


def test_loss_that_falls_counts_as_unchanged():
    # Without that a would be free to its second step, by its luck at the first.
    loss = {"a": [1.0, 1.2, 1.0], "b": [1.0, 1.1, 1.1]}
    cost = {"a": [10, 5, 4], "b": [10, 5, 4]}
    assert choose(GRID, loss, cost, cost, 15 / 20) == {"a": 1.0, "b": 0.5}


def test_budget_that_can_not_be_met_is_refused():
    with pytest.raises(UserError, match=r"Budget must be at least 0\.3000, .* to 0\.25 leaves"):
        choose(GRID, {"a": [0, 1, 2]}, {"a": [100, 60, 30]}, {"a": [100, 60, 30]}, 0.29)


# -- the method -------------------------------------------------------------------------------


def test_cycles_prune_the_hot_layer_and_weights_the_wide_one(tmp_path):
    # Dense: 6400 + 640 = 7040 cycles, 64 + 640 = 704 weights.
    by_cycles = Cycles(budget=0.6, rounds=1).prune(Two(), two_task(tmp_path / "c"))
    found = densities(by_cycles)
    assert found["wide"] == 1
    assert found["hot"] < 0.6
    assert sum(two_cost(by_cycles).values()) == pytest.approx(0.6 * 7040, abs=100)
    by_weights = Cycles(budget=0.6, by="weights", of="weights", rounds=1)
    model = by_weights.prune(Two(), two_task(tmp_path / "w"))
    found = densities(model)
    assert found["hot"] == 1
    assert found["wide"] < 0.6
    assert sum(masks.weight(x).count_nonzero() for x in masks.layers(model).values()) == 422


def test_weights_may_be_weighed_until_cycles_are_few_enough(tmp_path):
    model = Cycles(budget=0.6, by="weights", rounds=1).prune(Two(), two_task(tmp_path))
    # The wide layer, at little use for cycles, is pruned before the hot one.
    assert densities(model)["wide"] <= 0.5
    assert sum(two_cost(model).values()) == pytest.approx(0.6 * 7040, abs=100)


class Deep(Small):
    """As small, with so many channels that the multiplications take longer than the outputs."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 8, 3, padding=1)


def test_simulated_cycles_meet_the_budget(tmp_path):
    torch.manual_seed(3)
    model, image = Deep(), torch.from_numpy(split().calibration[0])
    machine = api.machine(MACHINE.replace(collector_width=4))

    def cost(each):
        return {k: float(v) for k, v in count_cycles(machine, layer_tensors(each, image)).items()}

    dense = sum(cost(model).values())
    model = Cycles(budget=0.75, rounds=1).prune(model, task(tmp_path, epochs=0, layer_cost=cost))
    # Not exactly: curves are of one layer's pruning, and linear between their points.
    assert sum(cost(model).values()) == pytest.approx(0.75 * dense, rel=0.03)


def test_finished_run_is_repeated_without_searching_or_training(tmp_path):
    calls = []

    def cost(model):
        calls.append(1)
        return two_cost(model)

    first = Cycles(budget=0.5, rounds=2).prune(Two(), two_task(tmp_path, cost))
    assert calls
    searched = len(calls)
    second = Cycles(budget=0.5, rounds=2).prune(Two(), two_task(tmp_path, cost))
    assert len(calls) == searched
    for name, layer in masks.layers(first).items():
        assert torch.equal(masks.weight(layer), masks.weight(masks.layers(second)[name]))
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert curves["cycles"]["hot"][0] == 6400
    assert curves["weights"]["wide"][0] == 640
    # Half of the weights do nothing, so the loss hardly moves until they are gone.
    assert curves["loss"]["hot"][2] == pytest.approx(curves["loss"]["hot"][0], abs=1e-4)
    assert curves["loss"]["hot"][-1] > curves["loss"]["hot"][0] + 0.01


def test_interrupted_run_ends_as_an_unbroken_one(tmp_path):
    class Stopped(Exception):
        pass

    class Fragile(Session):
        def train(self, model, phase, **more):
            if phase.name == "round-2":
                raise Stopped
            super().train(model, phase, **more)

    def start():
        torch.manual_seed(4)
        return Small()

    method = Cycles(budget=0.5, by="weights", of="weights", rounds=2)
    whole = method.prune(start(), task(tmp_path / "whole"))
    with pytest.raises(Stopped):
        method.prune(start(), task(tmp_path / "broken", kind=Fragile))
    again = method.prune(start(), task(tmp_path / "broken"))
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    # Training went on, and pruned weights stayed zero.
    assert not torch.equal(whole.conv2.bias, start().conv2.bias)
    assert masks.density(whole) == pytest.approx(0.5, abs=0.01)


def test_bad_options_and_missing_cycles_are_refused(tmp_path):
    for options, message in (
        ({"budget": 0}, "Budget must be above 0 and at most 1, not 0"),
        ({"by": "macs"}, "By must be cycles or weights, not 'macs'"),
        ({"of": 1}, "Option of of method cycles must be a word, not 1"),
        ({"smallest": 2.0}, "Smallest density must be above 0"),
        ({"rounds": 0}, "Rounds must be 1 at least, not 0"),
        ({"images": 0}, "Images must be 1 at least, not 0"),
    ):
        with pytest.raises(UserError, match=message):
            methods.make("cycles", options)
    with pytest.raises(UserError, match="must be given the cycles of each layer"):
        Cycles().prune(Two(), two_task(tmp_path, None))


# -- what the search sees is what is reported -------------------------------------------------


def test_flattened_layers_are_laid_out_as_in_the_final_network():
    torch.manual_seed(3)
    model, images = Small(), split().calibration
    network = to_network(model, images, "small")
    final = {node.layer.name: node.layer.weights_shape for node in network.convolutions}
    searched = layer_tensors(model, torch.from_numpy(images[0]))
    assert {each.layer.name: each.layer.weights_shape for each in searched} == final
    assert final["fc"] == (2, 4, 4, 8)
    codes = {node.layer.name: node.weights for node in network.convolutions}
    for each in searched:
        assert abs(each.weights.astype(int) - codes[each.layer.name]).max() <= 1
