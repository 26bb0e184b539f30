"""Which weights stay, against plain loops."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training.pruner.selection import parse_pattern, select, top  # noqa: E402
from sw.training.pruner.weights import Weight, find  # noqa: E402


def weights_of(*layers: nn.Module) -> list[Weight]:
    return find(nn.Sequential(*layers))[0]


def scores_of(weights: list[Weight], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # Few values, so that many are equal.
    return {
        w.name: torch.randint(9, w.parameter.shape, generator=generator).float() for w in weights
    }


def all_of(weights: list[Weight]) -> dict[str, torch.Tensor]:
    return {w.name: torch.ones_like(w.parameter, dtype=torch.bool) for w in weights}


def test_the_largest_stay_and_of_equal_ones_the_earlier() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [2.0, 5.0, 2.0]])
    assert top(scores, 3).tolist() == [[True, False, True], [False, True, False]]
    assert top(scores, 0).sum() == 0
    assert top(scores, 6).all()
    random = torch.randint(5, (200,)).float()
    for count in (1, 17, 100, 199):
        order = sorted(range(200), key=lambda place: (-float(random[place]), place))[:count]
        assert torch.nonzero(top(random, count)).flatten().tolist() == sorted(order)


def test_all_layers_are_ranked_together_and_disallowed_weights_never_come() -> None:
    weights = weights_of(nn.Conv2d(2, 3, 3), nn.Linear(4, 5))
    scores, allowed = scores_of(weights), all_of(weights)
    allowed["0.weight"][0] = False
    kept, emptied = select(weights, scores, allowed, 20, "global", parse_pattern(None))
    assert sum(int(each.sum()) for each in kept.values()) == 20
    assert not emptied
    assert not kept["0.weight"][0].any()
    least = min(float(scores[name][mask].min()) for name, mask in kept.items())
    out = [scores[n][allowed[n] & ~mask].max() for n, mask in kept.items()]
    assert max(map(float, out)) <= least


def test_a_layer_that_would_be_emptied_keeps_its_best_and_is_named() -> None:
    weights = weights_of(nn.Linear(4, 5), nn.Linear(5, 6))
    scores = {"0.weight": torch.arange(20.0).reshape(5, 4), "1.weight": torch.full((6, 5), 99.0)}
    kept, emptied = select(weights, scores, all_of(weights), 10, "global", parse_pattern(None))
    assert emptied == ["0.weight"]
    assert torch.nonzero(kept["0.weight"]).tolist() == [[4, 3]]


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(6, 3, 2), nn.Linear(10, 4), nn.ConvTranspose2d(8, 4, 2, groups=2)]
)
def test_n_of_each_m_input_channels_stay(layer: nn.Module) -> None:
    weights = weights_of(layer)
    scores = scores_of(weights)["0.weight"]
    kept, _ = select(weights, {"0.weight": scores}, all_of(weights), weights[0].size // 2, "row",
                     parse_pattern("2:4"))  # fmt: skip
    mask, score = weights[0].to_krsc(kept["0.weight"]), weights[0].to_krsc(scores)
    filters, rows, columns, channels = mask.shape
    for k in range(filters):
        for r in range(rows):
            for s in range(columns):
                for first in range(0, channels, 4):
                    group = range(first, min(first + 4, channels))
                    best = sorted(group, key=lambda c: (-float(score[k, r, s, c]), c))[:2]
                    stay = [c for c in group if mask[k, r, s, c]]
                    assert stay == sorted(best)


def test_blocks_stay_or_go_as_a_whole_by_their_means() -> None:
    weights = weights_of(nn.Conv2d(4, 8, 3), nn.Linear(8, 16))
    scores = scores_of(weights)
    pattern = parse_pattern("2,4,1,1")
    kept, _ = select(weights, scores, all_of(weights), 104, "global", pattern)
    means = []
    for weight in weights:
        mask, score = weight.to_krsc(kept[weight.name]), weight.to_krsc(scores[weight.name])
        for k in range(0, mask.shape[0], 4):
            for r in range(mask.shape[1]):
                for s in range(mask.shape[2]):
                    for c in range(0, mask.shape[3], 2):
                        block = mask[k : k + 4, r, s, c : c + 2]
                        assert block.all() or not block.any()
                        mean = float(score[k : k + 4, r, s, c : c + 2].mean())
                        means.append((mean, bool(block.all())))
    assert sum(stays for _, stays in means) == 13
    assert min(m for m, stays in means if stays) >= max(m for m, stays in means if not stays)


def test_rows_keep_the_same_count() -> None:
    weights = weights_of(nn.Conv2d(4, 8, 3))
    kept, _ = select(weights, scores_of(weights), all_of(weights), 72, "row", parse_pattern(None))
    assert kept["0.weight"].flatten(1).sum(1).tolist() == [9] * 8


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("4:2", "0 < N < M, not 4:2"), ("0:4", "0 < N < M"), ("rows", "Block must be four")],
)
def test_patterns_that_are_none_are_refused(pattern: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_pattern(pattern)
