"""Which layers read a dropout: by the flow of data, not by the order of definition."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sw.training import masks  # noqa: E402
from sw.training.pruner import dropout  # noqa: E402


class _Turned(nn.Module):
    """Defined in another order than it runs, with branches, a skip and dropout of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.drop_units = nn.Dropout(0.4)
        self.left = nn.Conv2d(2, 2, 1)
        self.right = nn.Conv2d(2, 2, 1)
        self.drop_maps = nn.Dropout2d(0.2)
        self.skip = nn.Conv2d(2, 2, 1)
        self.stem = nn.Conv2d(1, 2, 1)
        self.unused = nn.Dropout(0.3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = self.stem(images)
        dropped = self.drop_maps(stem)
        x = torch.cat([self.left(dropped.relu()), self.right(dropped)], 1)[:, :2]
        x = x + self.skip(stem)
        return self.last(self.drop_units(x.mean((2, 3)).repeat(1, 2)))


def test_readers_are_found_through_branches_and_stop_at_layers() -> None:
    model = _Turned()
    reading = dropout.readers(model, torch.zeros(1, 1, 3, 3), masks.layers(model))
    assert reading == {"drop_units": ("last",), "drop_maps": ("left", "right"), "unused": ()}


def test_rates_fall_with_the_root_of_the_density_of_all_readers() -> None:
    model = _Turned()
    rates = dropout.rates(model)
    reading = {"drop_units": ("last",), "drop_maps": ("left", "right"), "unused": ()}
    counts = {"last": (2, 8), "left": (1, 4), "right": (0, 4)}
    dropout.rescale(model, rates, reading, counts.__getitem__)
    assert model.drop_units.p == pytest.approx(0.4 * 0.5)
    assert model.drop_maps.p == pytest.approx(0.2 * (1 / 8) ** 0.5)
    assert model.unused.p == 0.3
