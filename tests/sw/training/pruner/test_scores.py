"""Scores by hand, on a linear layer whose gradients are known."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training import Pruner  # noqa: E402
from sw.training.pruner.pruner import PruningWarning  # noqa: E402

#: Weights, and two inputs: the loss is the sum of outputs, so that the gradient of w[k, c] is x[c].
WEIGHTS = [[1.0, -2.0, 3.0, -4.0], [0.5, 0.5, -0.75, 8.0]]
INPUTS = [[4.0, 1.0, -1.0, 0.5], [-4.5, 1.0, 1.5, 0.5]]


def stepped(method: str, density: float, **options: object) -> list[list[bool]]:
    model = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(WEIGHTS))
    pruner = Pruner(model, torch.zeros(1, 4), method, density, schedule="one-shot", **options)  # type: ignore[arg-type]
    for row in INPUTS:
        model(torch.tensor([row])).sum().backward()
    pruner.step()
    return pruner.masks["weight"].tolist()


def best(scores: list[list[float]], count: int) -> list[list[bool]]:
    limit = sorted((s for row in scores for s in row), reverse=True)[count - 1]
    return [[s >= limit for s in row] for row in scores]


def test_magnitude_keeps_the_largest() -> None:
    assert stepped("magnitude", 0.5) == best([[abs(w) for w in row] for row in WEIGHTS], 4)


def test_taylor_sums_squares_of_first_order_changes_over_batches() -> None:
    scores = [[sum((w * x[c]) ** 2 for x in INPUTS) for c, w in enumerate(row)] for row in WEIGHTS]
    assert stepped("taylor", 0.5) == best(scores, 4)


def test_snip_takes_the_change_of_the_loss_of_all_batches() -> None:
    scores = [[abs(sum(w * x[c] for x in INPUTS)) for c, w in enumerate(row)] for row in WEIGHTS]
    assert stepped("snip", 0.5) == best(scores, 4)
    assert stepped("snip", 0.5) != stepped("taylor", 0.5)


def test_movement_keeps_what_grows() -> None:
    scores = [[-sum(w * x[c] for x in INPUTS) for c, w in enumerate(row)] for row in WEIGHTS]
    assert stepped("movement", 0.5) == best(scores, 4)


def test_wanda_compares_weights_times_norms_of_inputs_within_a_filter() -> None:
    norms = [sum(x[c] ** 2 for x in INPUTS) ** 0.5 for c in range(4)]
    expected = [best([[abs(w) * n for w, n in zip(row, norms, strict=True)]], 2)[0]
                for row in WEIGHTS]  # fmt: skip
    assert stepped("wanda", 0.5) == expected
    assert expected != [best([[abs(w) for w in row]], 2)[0] for row in WEIGHTS]


class _Seeing(nn.Module):
    """Layers whose inputs are seen in other ways."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, groups=2)
        self.up = nn.ConvTranspose2d(4, 2, 3, groups=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.up(self.conv(images))


def test_wanda_takes_the_norm_of_each_channel_of_each_group() -> None:
    torch.manual_seed(0)
    model = _Seeing()
    pruner = Pruner(model, torch.zeros(1, 4, 5, 5), "wanda", 0.5, schedule="one-shot")
    before = model.conv.weight.detach().clone()
    images = torch.randn(3, 4, 5, 5) * torch.tensor([9.0, 0.1, 1.0, 5.0]).reshape(1, 4, 1, 1)
    model(images).sum().backward()
    norms = [float(images[:, c].square().sum().sqrt()) for c in range(4)]
    pruner.step()
    kept = pruner.masks["conv.weight"]
    for k in range(4):
        scores = {
            (c, r, s): abs(float(before[k, c, r, s])) * norms[2 * (k // 2) + c]
            for c in range(2)
            for r in range(3)
            for s in range(3)
        }
        expected = set(sorted(scores, key=scores.__getitem__, reverse=True)[:9])
        assert {place for place in scores if kept[(k, *place)]} == expected


def test_inputs_that_are_not_seen_are_named() -> None:
    model = nn.LSTM(4, 3)
    with pytest.warns(PruningWarning, match="Inputs of weight_hh_l0 are not seen"):
        Pruner(model, torch.zeros(2, 1, 4), "wanda", 0.5, schedule="one-shot")


def test_a_method_that_needs_gradients_says_so() -> None:
    model = nn.Linear(4, 2)
    pruner = Pruner(model, torch.zeros(1, 4), "taylor", 0.5, schedule="one-shot")
    with pytest.raises(UserError, match="taylor must see gradients before it prunes"):
        pruner.step()


def test_an_overflowed_batch_counts_for_nothing() -> None:
    model = nn.Linear(4, 2)
    pruner = Pruner(model, torch.zeros(1, 4), "taylor", 0.5, schedule="one-shot")
    model(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    (model(torch.full((1, 4), float("inf"))).sum() * 2).backward()
    pruner.step()
    assert int(pruner.masks["weight"].sum()) == 4


def test_weights_that_are_not_finite_are_named() -> None:
    model = nn.Linear(4, 2)
    pruner = Pruner(model, torch.zeros(1, 4), density=0.5, schedule="one-shot")
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="Weights of weight must be finite"):
        pruner.step()


def test_what_was_seen_before_a_change_counts_no_more() -> None:
    model = nn.Linear(4, 1, bias=False)
    nn.init.ones_(model.weight)
    pruner = Pruner(
        model, torch.zeros(1, 4), "taylor", 0.25, steps=4, schedule="iterative", rounds=2
    )
    for row in ([9.0, 5.0, 1.0, 1.0], [1.0, 2.0, 9.0, 9.0], [1.0, 2.0, 9.0, 9.0]):
        model(torch.tensor([row])).sum().backward()
        pruner.step()
    # The first change keeps the first two; of these the second has mattered more since.
    assert pruner.masks["weight"].tolist() == [[False, True, False, False]]
