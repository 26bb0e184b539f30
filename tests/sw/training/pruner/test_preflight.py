"""The report before any training."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import check, masks  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_net  # noqa: E402

IMAGES = torch.rand(4, *SHAPE)


def test_a_model_that_is_ready_says_what_stays_and_is_left_as_it_is() -> None:
    model = toy_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = check(model, IMAGES, 0.1, cycles=lambda network, images: 1234.0)
    assert report.ready
    assert report.density == 100 / 998
    assert sum(each.kept for each in report.layers) == 100
    assert report.cycles == 1234
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "prunable: yes" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["ready"] is True


class SingularValues(nn.Module):
    """Scale by what ONNX has no operator for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.linalg.svdvals(x.flatten(1)).sum()


def test_what_is_wrong_is_in_one_report() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, dilation=2, bias=False),
        SingularValues(),
        nn.Flatten(),
        nn.Linear(64, 8),
    )
    with torch.no_grad():
        model[0].weight[:] = 0.1
        model[0].weight[::2] = -0.1
    report = check(model, IMAGES, 0.1)
    assert not report.convertible
    assert report.refused is None
    assert not report.ready
    assert "\n" not in str(report.unconvertible)
    assert any("0.weight would have been emptied" in each for each in report.warnings)
    assert "warning: Layer 0.weight" in str(report)


def test_a_budget_out_of_reach_is_reported_beside_all_else() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(16, 3))
    report = check(model, torch.zeros(2, 4, dtype=torch.int64), 0.2)
    assert report.refused is not None
    assert report.refused.startswith("Density must be at least 0.4405, not 0.2: 36 of 84 weights")
    assert report.density == 1
    assert [each.name for each in report.left_alone] == ["0.weight"]
    assert report.unconvertible is not None
    assert "must be one float tensor" in report.unconvertible


def test_a_masked_model_is_left_masked() -> None:
    model = toy_net()
    kept = torch.rand(model.fc.weight.shape) < 0.5
    masks.mask(model, {"fc": kept})
    report = check(model, IMAGES, 0.2)
    assert report.density == pytest.approx(0.2, abs=0.001)
    assert torch.equal(masks.masks(model)["fc"], kept)
    assert torch.equal(model.fc.weight != 0, kept)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(UserError, match=r"must be a torch\.nn\.Module, not a dict"):
        check(toy_net().state_dict(), IMAGES)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="must be what ToyNet takes"):
        check(toy_net(), torch.zeros(1, 5))
