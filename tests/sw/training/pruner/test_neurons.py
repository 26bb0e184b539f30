"""Dead neurons, and what goes with them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sw.training import masks  # noqa: E402
from sw.training.search.neurons import links, without_dead  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_images, toy_net  # noqa: E402


def ones(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.ones_like(masks.weight(layer), dtype=torch.bool)
        for name, layer in masks.layers(model).items()
    }


def test_both_sides_of_a_dead_neuron_lose_their_weights_and_so_do_those_behind() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    kept = ones(model)
    kept["0"][1] = False  # nothing leads to neuron 1
    kept["4"][:, 3] = False  # nothing reads neuron 3 of the next layer
    kept["2"][2] = False
    kept["2"][2, 1] = True  # neuron 2 reads neuron 1 alone
    found = without_dead(links(model, (3,)), kept)
    assert torch.nonzero(~found["0"].any(1)).flatten().tolist() == [1]
    assert torch.nonzero(~found["2"].any(0)).flatten().tolist() == [1]
    assert torch.nonzero(~found["2"].any(1)).flatten().tolist() == [2, 3]
    assert torch.nonzero(~found["4"].any(0)).flatten().tolist() == [2, 3]
    assert int(kept["2"][2].sum()) == 1  # those given are left


def test_weights_to_neurons_that_nothing_reads_change_no_output() -> None:
    model = toy_net().eval()
    kept = ones(model)
    kept["fc"].view(4, 8, 16)[:, 5] = False
    masks.mask(model, kept)
    images = toy_images(4)[0]
    before = model(images)
    linked = links(model, SHAPE)
    found = without_dead(linked, kept)
    assert not found["features.3"][5].any()
    assert int((~found["features.3"]).sum()) == 6 * 9
    masks.mask(model, found)
    assert torch.allclose(model(images), before, atol=1e-6)


def test_a_layer_is_never_removed_as_a_whole() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    kept = ones(model)
    kept["0"][:] = False
    found = without_dead(links(model, (3,)), kept)
    assert found["2"].all()
